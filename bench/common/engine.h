/* SPDX-License-Identifier: MIT
 *
 * Skua and the baseline pools behind one small interface, so that a benchmark does the same to all
 * of them. Loops over jobs are inside the engines: no indirect call per job.
 */
#ifndef BENCH_ENGINE_H
#define BENCH_ENGINE_H

#include <skua.h>

#include "measure.h"
#include "pool.h"

/* 64 bytes for every engine: all touch the same amount of memory per job. */
union engine_job {
        struct skua_job skua;
        struct pool_job pool;
};

/* What a job does, in the forms of both kinds; defined by ENGINE_BODY(function). */
struct engine_body {
        skua_fn *skua;
        pool_fn *pool;
};

#define ENGINE_BODY(fn)                                                       \
        static void fn##_skua(struct skua_worker *self, struct skua_job *job) \
        {                                                                     \
                (void)self;                                                   \
                fn((union engine_job *)(void *)job);                          \
        }                                                                     \
        static void fn##_pool(struct pool_job *job)                           \
        {                                                                     \
                fn((union engine_job *)(void *)job);                          \
        }                                                                     \
        static const struct engine_body fn##_body = {fn##_skua, fn##_pool}

struct engine {
        const char *name;
        enum bench_side side;
        const struct pool_kind *pool; /* NULL: Skua */
        void *(*start)(const struct engine *e, unsigned workers);
        void (*prepare)(union engine_job *job, const struct engine_body *body); /* once per job */
        void (*submit)(const struct engine *e, void *handle, union engine_job *jobs, size_t count);
        void (*spawn)(const struct engine *e, void *handle, union engine_job *jobs, size_t count);
        void (*run)(const struct engine *e, void *handle); /* a no-op, and wait for it */
        void (*stop)(const struct engine *e, void *handle);
        unsigned slower; /* about how many times: long loops are that much shorter */
};

extern const struct engine engine_skua;       /* skua_submit one by one; skua_run */
extern const struct engine engine_skua_array; /* skua_submit_array */
extern const struct engine engine_skua_group; /* run: skua_group_submit, skua_group_wait */
extern const struct engine engine_ring, engine_mutex, engine_threads;

struct skua *engine_start_skua(unsigned workers); /* with the settings of `bench` */

#endif
