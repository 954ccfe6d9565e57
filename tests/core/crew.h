/* SPDX-License-Identifier: MIT
 *
 * For the tests of the core's doors and of its life cycle: numbers that threads sleep on, threads,
 * jobs that keep a worker. As in rig.h nothing here measures time.
 */
#ifndef TESTS_CORE_CREW_H
#define TESTS_CORE_CREW_H

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>

#include "rig.h"

/* A number that only grows, and a wait for it to reach a value. */
struct tally {
        _Alignas(128) atomic_uint value;
};

static inline void tally_add(struct tally *tally, unsigned n)
{
        atomic_fetch_add(&tally->value, n);
        syscall(SYS_futex, &tally->value, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT_MAX, NULL, NULL, 0);
}

static inline unsigned tally_read(struct tally *tally)
{
        return atomic_load(&tally->value);
}

static inline void tally_wait(struct tally *tally, unsigned least)
{
        unsigned value;

        while ((value = atomic_load(&tally->value)) < least)
                syscall(SYS_futex, &tally->value, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, value, NULL,
                        NULL, 0);
}

static inline void tally_reset(struct tally *tally)
{
        atomic_store(&tally->value, 0);
}

static inline pthread_t go(void *(*fn)(void *), void *arg)
{
        pthread_t thread;

        if (pthread_create(&thread, NULL, fn, arg)) {
                printf("Bail out! no thread\n");
                exit(3);
        }
        return thread;
}

static inline void *join(pthread_t thread)
{
        void *result;

        pthread_join(thread, &result);
        return result;
}

static inline struct skua_stats stats_of(struct skua *rt)
{
        struct skua_stats stats = {.size = sizeof stats};

        if (skua_stats_read(rt, &stats))
                printf("# skua_stats_read failed\n");
        return stats;
}

static inline uint64_t parks_of(struct skua *rt)
{
        uint64_t sum = 0;

        for (unsigned i = 0; i < skua_workers(rt); i++) {
                struct skua_worker_stats stats = {.size = sizeof stats};

                skua_stats_worker(rt, i, &stats);
                sum += stats.parks;
        }
        return sum;
}

/* Until there was a moment at which every worker slept in the kernel: seen asleep one by one,
 * twice, and none slept anew between. A wake-up that one of them had sent before may still be on
 * its way then, so some may be up again for a look when this returns. */
static inline void wait_parked(struct skua *rt)
{
        uint64_t parks;

        do {
                while (parks = parks_of(rt), stats_of(rt).workers_active)
                        sched_yield();
        } while (stats_of(rt).workers_active || parks_of(rt) != parks);
}

/* Until submissions from outside are refused: somebody has begun to close or stop rt. The job
 * counts its runs in `entered`, which nobody else does. */
static inline void wait_closed(struct skua *rt, struct skua_job *job, struct tally *entered)
{
        unsigned runs = tally_read(entered);

        while (skua_try_submit(rt, job) == 0)
                tally_wait(entered, ++runs);
}

/* A job that keeps its worker until it is let go. */
struct gatekeeper {
        struct skua_job job;
        struct tally entered, leave;
};

static inline void gatekeeper_run(struct skua_worker *self, struct skua_job *job)
{
        struct gatekeeper *keeper = skua_container(job, struct gatekeeper, job);

        (void)self;
        tally_add(&keeper->entered, 1);
        tally_wait(&keeper->leave, 1);
}

/* Occupies one worker; returns when it is. */
static inline void keep(struct skua *rt, struct gatekeeper *keeper, unsigned worker)
{
        struct skua_target where = SKUA_TARGET_INIT;

        memset(keeper, 0, sizeof *keeper);
        skua_job_init(&keeper->job, gatekeeper_run);
        where.worker = SKUA_WORKER(worker);
        skua_submit_to(rt, &keeper->job, &where);
        tally_wait(&keeper->entered, 1);
}

static inline void let_go(struct gatekeeper *keeper)
{
        tally_add(&keeper->leave, 1);
}

#endif
