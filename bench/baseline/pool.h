/* SPDX-License-Identifier: MIT
 *
 * The pools that Skua is measured beside. Each is complete and written for the purpose: what a
 * program would use that has no runtime. A job is intrusive, as Skua's are: no pool allocates.
 */
#ifndef BENCH_POOL_H
#define BENCH_POOL_H

#include <stdbool.h>
#include <stddef.h>

struct pool; /* of one of the kinds below */

struct pool_job {
        void (*run)(struct pool_job *job);
        struct pool_job *next;
};
typedef void pool_fn(struct pool_job *job);

struct pool_kind {
        const char *name;
        struct pool *(*start)(unsigned threads, bool pin); /* exits if it cannot */
        void (*submit)(struct pool *p, struct pool_job *job);
        void (*submit_many)(struct pool *p, void *first, size_t count, size_t stride);
        void (*run)(struct pool *p, pool_fn *fn); /* one job, from outside, and wait for it */
        void (*stop)(struct pool *p);             /* after all jobs have run */
};

extern const struct pool_kind mutex_pool;   /* textbook: a list, a mutex, a condition */
extern const struct pool_kind ring_pool;    /* the yardstick: see ring_pool.c */
extern const struct pool_kind thread_spawn; /* no pool: one pthread_create per job */

#endif
