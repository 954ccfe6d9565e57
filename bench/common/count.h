/* SPDX-License-Identifier: MIT
 *
 * Counting executed jobs at almost no cost: each thread that runs jobs has a line of its own with
 * one counter per producer, written with plain stores. Who waits for the end reads the sums. Every
 * contestant's jobs count in this way, so the price is the same for all of them.
 */
#ifndef BENCH_COUNT_H
#define BENCH_COUNT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { COUNT_PRODUCERS_MAX = 8 };

struct count_line {
        _Alignas(128) _Atomic uint64_t by_producer[COUNT_PRODUCERS_MAX];
};

extern _Thread_local struct count_line *count_mine;
void count_slow(unsigned producer); /* this thread has no line yet */

/* Only while no thread that has counted is alive, except the caller. */
void count_reset(void);

uint64_t count_sum(unsigned producer);

/* Blocks, giving the processor away, until the sum is reached. */
void count_wait(unsigned producer, uint64_t sum);

static inline void count_one(unsigned producer)
{
        if (count_mine == NULL) {
                count_slow(producer);
                return;
        }
        _Atomic uint64_t *n = &count_mine->by_producer[producer];

        /* Release: who has seen the count may use the job's memory again. */
        atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1,
                              memory_order_release);
}

#endif
