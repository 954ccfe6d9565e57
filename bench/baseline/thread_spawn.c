/* SPDX-License-Identifier: MIT
 *
 * One pthread_create per job: what a program without a pool does. Threads are detached and have
 * small stacks; at most LIVE_MAX exist at once, then submit yields.
 */
#include "pool.h"
#include "measure.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { LIVE_MAX = 256, STACK_BYTES = 64 * 1024 };

struct pool {
        pthread_attr_t detached, joinable;
        _Atomic unsigned live;
};

/* The argument of a detached thread travels in the job's own memory: next is free. */
static void *run_one(void *arg)
{
        struct pool_job *job = arg;
        struct pool *p = (struct pool *)(void *)job->next;

        job->run(job);
        atomic_fetch_sub(&p->live, 1);
        return NULL;
}

static struct pool *thread_spawn_start(unsigned threads, bool pin)
{
        struct pool *p = calloc(1, sizeof *p);

        (void)threads;
        (void)pin;
        if (p == NULL)
                abort();
        pthread_attr_init(&p->detached);
        pthread_attr_setdetachstate(&p->detached, PTHREAD_CREATE_DETACHED);
        pthread_attr_setstacksize(&p->detached, STACK_BYTES);
        pthread_attr_init(&p->joinable);
        pthread_attr_setstacksize(&p->joinable, STACK_BYTES);
        return p;
}

static void thread_spawn_submit(struct pool *p, struct pool_job *job)
{
        pthread_t id;

        job->next = (struct pool_job *)(void *)p;
        while (atomic_load(&p->live) >= LIVE_MAX)
                sched_yield();
        atomic_fetch_add(&p->live, 1);
        while (pthread_create(&id, &p->detached, run_one, job) != 0)
                sched_yield();
}

static void thread_spawn_submit_many(struct pool *p, void *first, size_t count, size_t stride)
{
        for (size_t i = 0; i < count; i++)
                thread_spawn_submit(p, (struct pool_job *)(void *)((char *)first + i * stride));
}

static void *run_joined(void *arg)
{
        struct pool_job *job = arg;

        job->run(job);
        return NULL;
}

static void thread_spawn_run(struct pool *p, pool_fn *fn)
{
        struct pool_job job = {.run = fn};
        pthread_t id;

        if (pthread_create(&id, &p->joinable, run_joined, &job) != 0)
                abort();
        pthread_join(id, NULL);
}

static void thread_spawn_stop(struct pool *p)
{
        while (atomic_load(&p->live) != 0)
                bench_sleep_ns(20000);
        pthread_attr_destroy(&p->detached);
        pthread_attr_destroy(&p->joinable);
        free(p);
}

const struct pool_kind thread_spawn = {"pthread per job",   thread_spawn_start,
                                       thread_spawn_submit, thread_spawn_submit_many,
                                       thread_spawn_run,    thread_spawn_stop};
