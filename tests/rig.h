/* SPDX-License-Identifier: MIT
 *
 * For tests of a running runtime: start, stop, waiting for what must come. Nothing here measures
 * time: what must come is waited for, and the watchdog of tap.h ends what never does.
 */
#ifndef TESTS_RIG_H
#define TESTS_RIG_H

#include <sched.h>
#include <stdatomic.h>

#include "core/runtime.h"
#include "skua.h"
#include "tap.h"

#ifndef __has_feature
#define __has_feature(name) 0
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define RIG_TSAN 1
#else
#define RIG_TSAN 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define RIG_ASAN 1
#else
#define RIG_ASAN 0
#endif

enum { RIG_WORKERS_MAX = 8 };

/* How many rounds of something: fewer where everything is slow. */
static inline unsigned rig_rounds(unsigned rounds)
{
        const char *slow = getenv("TAP_SLOW");
        unsigned times = (slow && atoi(slow) > 1 ? 2 * (unsigned)atoi(slow) : 1) *
                         (RIG_TSAN || RIG_ASAN ? 5 : 1);

        return rounds > times ? rounds / times : 1;
}

/* A runtime that the test cannot do without. `options` may be NULL. */
static inline struct skua *rig_start(unsigned workers, const struct skua_options *options)
{
        struct skua_options o = SKUA_OPTIONS_INIT;
        struct skua *rt;
        int result;

        if (options)
                o = *options;
        o.workers = workers;
        result = skua_start(&rt, &o);
        if (result) {
                printf("Bail out! skua_start: %s\n", strerror(-result));
                exit(3);
        }
        return rt;
}

static inline void rig_stop(struct skua *rt)
{
        int result = skua_stop(rt, SKUA_DRAIN);

        if (result) {
                printf("Bail out! skua_stop: %s\n", strerror(-result));
                exit(3);
        }
}

/* Blocks the thread, not only the job, until the flag has reached the value. */
static inline void rig_until(const atomic_uint *flag, unsigned value)
{
        while (atomic_load(flag) < value)
                sched_yield();
}

/* Until so many workers are in the idle set and none searches. */
static inline void rig_until_idle(struct skua *rt, unsigned count)
{
        const struct runtime *runtime = runtime_of(rt);
        uint64_t summary;

        do {
                sched_yield();
                summary = load_acquire_u64(&runtime->summary);
        } while (park_idle_of(summary) != count || park_searching_of(summary));
}

/* Until so many workers have nothing to do, parked or not yet. */
static inline void rig_until_hungry(struct skua *rt, unsigned count)
{
        uint64_t summary;

        do {
                sched_yield();
                summary = load_acquire_u64(&runtime_of(rt)->summary);
        } while (park_searching_of(summary) + park_idle_of(summary) != count);
}

static inline uint64_t rig_suspended(struct skua *rt)
{
        struct skua_stats stats;

        stats.size = sizeof stats;
        return skua_stats_read(rt, &stats) ? UINT64_MAX : stats.suspended;
}

static inline void rig_until_suspended(struct skua *rt, uint64_t count)
{
        while (rig_suspended(rt) != count)
                sched_yield();
}

/* Forks that were published, or taken from others, so far. */
static inline uint64_t rig_forked(struct skua *rt)
{
        uint64_t sum = 0;

        for (unsigned i = 0; i < skua_workers(rt); i++) {
                struct skua_worker_stats stats;

                stats.size = sizeof stats;
                skua_stats_worker(rt, i, &stats);
                sum += stats.forked;
        }
        return sum;
}

static inline uint64_t rig_stolen(struct skua *rt)
{
        uint64_t sum = 0;

        for (unsigned i = 0; i < skua_workers(rt); i++) {
                struct skua_worker_stats stats;

                stats.size = sizeof stats;
                skua_stats_worker(rt, i, &stats);
                sum += stats.stolen_local + stats.stolen_remote;
        }
        return sum;
}

/* A fixed function of what it is given, for trees that must not depend on who walks them. */
static inline uint64_t rig_mix(uint64_t x)
{
        x += 0x9e3779b97f4a7c15u;
        x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
        x = (x ^ x >> 27) * 0x94d049bb133111ebu;
        return x ^ x >> 31;
}

#endif
