/* SPDX-License-Identifier: MIT
 *
 * For the tests of the blocking pool: jobs that keep its threads until they are let go.
 */
#ifndef TESTS_LIMITS_HELD_H
#define TESTS_LIMITS_HELD_H

#include "core/crew.h"
#include "limits/pool.h"

enum { HELD_MOST = 64 };

struct held {
        struct skua_job job;
        struct hold *hold;
        struct skua_worker *self;
        bool cancelled, alone; /* cancelled when it began; no worker's thread */
};

struct hold {
        struct tally entered, leave, left;
        struct skua_group group;
        struct held jobs[HELD_MOST];
        unsigned count; /* submitted */
        atomic_uint order[HELD_MOST], orders;
};

static inline void held_run(struct skua_worker *self, struct skua_job *job)
{
        struct held *h = skua_container(job, struct held, job);
        struct hold *hold = h->hold;

        h->self = self;
        h->cancelled = skua_cancelled(self);
        h->alone = !skua_self() && pool_thread_self();
        atomic_store(&hold->order[atomic_fetch_add(&hold->orders, 1)], (unsigned)(h - hold->jobs));
        tally_add(&hold->entered, 1);
        tally_wait(&hold->leave, 1);
        tally_add(&hold->left, 1);
}

static inline void hold_init(struct hold *hold)
{
        memset(hold, 0, sizeof *hold);
        skua_group_init(&hold->group);
        for (unsigned i = 0; i < HELD_MOST; i++) {
                skua_job_init(&hold->jobs[i].job, held_run);
                hold->jobs[i].hold = hold;
        }
}

static inline struct skua_target blocking_target(struct hold *hold, unsigned flags)
{
        struct skua_target where = SKUA_TARGET_INIT;

        where.flags = SKUA_BLOCKING | flags;
        where.group = hold ? &hold->group : NULL;
        return where;
}

/* The next ones; all of them are accepted, or the result says why not. */
static inline int hold_more(struct skua *rt, struct hold *hold, unsigned count, unsigned flags)
{
        struct skua_target where = blocking_target(hold, flags);
        int result = 0;

        for (unsigned i = 0; i < count && !result; i++)
                if (!(result = skua_submit_to(rt, &hold->jobs[hold->count].job, &where)))
                        hold->count++;
        return result;
}

/* Lets them go and waits for all: the group's result. */
static inline int hold_end(struct hold *hold)
{
        tally_add(&hold->leave, 1);
        return skua_group_wait(&hold->group, -1);
}

static inline struct skua *pool_start_with(unsigned workers, unsigned most, size_t limit)
{
        struct skua_options options = SKUA_OPTIONS_INIT;

        options.blocking_max = most;
        options.blocking_queue_limit = limit;
        return rig_start(workers, &options);
}

static inline uint64_t pool_threads(struct skua *rt)
{
        return stats_of(rt).blocking_threads;
}

static inline uint64_t pool_queued(struct skua *rt)
{
        return stats_of(rt).blocking_queued;
}

static inline void until_threads(struct skua *rt, uint64_t count)
{
        while (pool_threads(rt) != count)
                sched_yield();
}

static inline void until_queued(struct skua *rt, uint64_t count)
{
        while (pool_queued(rt) != count)
                sched_yield();
}

/* Until so many threads sleep, waiting for work. */
static inline void until_idle_threads(struct skua *rt, unsigned count)
{
        struct pool *p = &runtime_of(rt)->pool;
        unsigned idle;

        do {
                sched_yield();
                /* The lock, as the pool takes it when it is free. */
                uint32_t found = 0;

                idle = UINT_MAX;
                if (!cas_acquire_u32(&p->lock, &found, 1))
                        continue;
                idle = 0;
                for (struct pool_thread *t = p->idle; t; t = t->next)
                        idle++;
                if (exchange_acq_rel_u32(&p->lock, 0) == 2)
                        kernel_futex_wake(&p->lock, 1);
        } while (idle != count);
}

#endif
