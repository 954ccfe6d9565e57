/* SPDX-License-Identifier: MIT
 *
 * The lines of the counting threads; see count.h.
 */
#include "count.h"
#include "measure.h"

#include <sched.h>
#include <string.h>

enum { LINES_MAX = 512 };

static struct count_line lines[LINES_MAX];
static _Atomic unsigned lines_used;
_Thread_local struct count_line *count_mine;

/* Threads beyond the lines share the last one, by an atomic addition. */
void count_slow(unsigned producer)
{
        unsigned index = atomic_load(&lines_used);

        while (index < LINES_MAX - 1)
                if (atomic_compare_exchange_weak(&lines_used, &index, index + 1)) {
                        count_mine = &lines[index];
                        count_one(producer);
                        return;
                }
        atomic_fetch_add(&lines[LINES_MAX - 1].by_producer[producer], 1);
}

void count_reset(void)
{
        memset(lines, 0, sizeof lines);
        atomic_store(&lines_used, 0);
        count_mine = NULL;
}

uint64_t count_sum(unsigned producer)
{
        unsigned used = atomic_load_explicit(&lines_used, memory_order_acquire);
        uint64_t sum = atomic_load_explicit(&lines[LINES_MAX - 1].by_producer[producer],
                                            memory_order_acquire);

        for (unsigned i = 0; i < used; i++)
                sum += atomic_load_explicit(&lines[i].by_producer[producer], memory_order_acquire);
        return sum;
}

void count_wait(unsigned producer, uint64_t sum)
{
        for (unsigned tries = 0; count_sum(producer) < sum; tries++) {
                bench_pause();
                if (tries > 100)
                        sched_yield();
        }
}
