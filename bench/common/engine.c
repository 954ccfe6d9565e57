/* SPDX-License-Identifier: MIT
 *
 * The contestants: Skua in three ways of calling it, and the pools; see engine.h.
 */
#include "engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(union engine_job) == 64, "jobs fill a cache line each");

static void check(ssize_t result, const char *call)
{
        if (result >= 0)
                return;
        fprintf(stderr, "%s: %s\n", call, strerror((int)-result));
        exit(1);
}

/* ---------------------------------------------------------------- Skua */

struct skua *engine_start_skua(unsigned workers)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct skua *rt;

        options.workers = workers;
        options.flags = bench.pin ? SKUA_PIN : 0;
        check(skua_start(&rt, &options), "skua_start");
        return rt;
}

static void *start_skua(const struct engine *e, unsigned workers)
{
        (void)e;
        return engine_start_skua(workers);
}

static void prepare_skua(union engine_job *job, const struct engine_body *body)
{
        skua_job_init(&job->skua, body->skua);
}

static void submit_skua(const struct engine *e, void *handle, union engine_job *jobs, size_t count)
{
        int failed = 0;

        (void)e;
        for (size_t i = 0; i < count; i++)
                failed |= skua_submit(handle, &jobs[i].skua);
        check(failed, "skua_submit");
}

static void submit_skua_array(const struct engine *e, void *handle, union engine_job *jobs,
                              size_t count)
{
        ssize_t n = skua_submit_array(handle, jobs, count, sizeof *jobs, NULL);

        (void)e;
        check(n, "skua_submit_array");
        if ((size_t)n != count)
                bench_wrong("skua_submit_array took %zd of %zu", n, count);
}

static void spawn_skua(const struct engine *e, void *handle, union engine_job *jobs, size_t count)
{
        struct skua_worker *self = skua_self();

        (void)e;
        (void)handle;
        for (size_t i = 0; i < count; i++)
                skua_spawn(self, &jobs[i].skua);
}

static void nothing(struct skua_worker *self, void *arg)
{
        (void)self;
        (void)arg;
}

static void run_skua(const struct engine *e, void *handle)
{
        (void)e;
        check(skua_run(handle, nothing, NULL), "skua_run");
}

static void nothing_job(struct skua_worker *self, struct skua_job *job)
{
        (void)self;
        (void)job;
}

static void run_skua_group(const struct engine *e, void *handle)
{
        struct skua_group group;
        struct skua_job job;

        (void)e;
        skua_group_init(&group);
        skua_job_init(&job, nothing_job);
        check(skua_group_submit(handle, &group, &job), "skua_group_submit");
        check(skua_group_wait(&group, -1), "skua_group_wait");
}

static void stop_skua(const struct engine *e, void *handle)
{
        (void)e;
        check(skua_stop(handle, SKUA_DRAIN), "skua_stop");
}

const struct engine engine_skua = {.name = "skua",
                                   .side = BENCH_SKUA,
                                   .start = start_skua,
                                   .prepare = prepare_skua,
                                   .submit = submit_skua,
                                   .spawn = spawn_skua,
                                   .run = run_skua,
                                   .stop = stop_skua,
                                   .slower = 1};

const struct engine engine_skua_array = {.name = "skua, array",
                                         .side = BENCH_SKUA,
                                         .start = start_skua,
                                         .prepare = prepare_skua,
                                         .submit = submit_skua_array,
                                         .spawn = spawn_skua,
                                         .run = run_skua,
                                         .stop = stop_skua,
                                         .slower = 1};

const struct engine engine_skua_group = {.name = "skua, group",
                                         .side = BENCH_SKUA,
                                         .start = start_skua,
                                         .prepare = prepare_skua,
                                         .submit = submit_skua,
                                         .spawn = spawn_skua,
                                         .run = run_skua_group,
                                         .stop = stop_skua,
                                         .slower = 1};

/* ---------------------------------------------------------------- the pools */

static void *start_pool(const struct engine *e, unsigned workers)
{
        return e->pool->start(workers, bench.pin);
}

static void prepare_pool(union engine_job *job, const struct engine_body *body)
{
        job->pool.run = body->pool;
}

static void submit_pool(const struct engine *e, void *handle, union engine_job *jobs, size_t count)
{
        e->pool->submit_many(handle, jobs, count, sizeof *jobs);
}

static void nothing_pool(struct pool_job *job)
{
        (void)job;
}

static void run_pool(const struct engine *e, void *handle)
{
        e->pool->run(handle, nothing_pool);
}

static void stop_pool(const struct engine *e, void *handle)
{
        e->pool->stop(handle);
}

#define ENGINE_OF_POOL(kind, title, times)                                                 \
        {                                                                                  \
                .name = title, .side = BENCH_BASELINE, .pool = &kind, .start = start_pool, \
                .prepare = prepare_pool, .submit = submit_pool, .spawn = submit_pool,      \
                .run = run_pool, .stop = stop_pool, .slower = times                        \
        }

const struct engine engine_ring = ENGINE_OF_POOL(ring_pool, "ring pool (yardstick)", 1);
const struct engine engine_mutex = ENGINE_OF_POOL(mutex_pool, "mutex pool", 10);
const struct engine engine_threads = ENGINE_OF_POOL(thread_spawn, "pthread per job", 500);
