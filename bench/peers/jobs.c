/* SPDX-License-Identifier: MIT
 *
 * Jobs handed to a pool: one and wait for it, one to a sleeping pool, 1,000 and 10^6 at once, 10^6
 * from inside, and 64 that compute. A job fills a cache line and counts itself (count.h); the
 * arrays are touched before the clock starts. Context switches are the voluntary ones of all
 * threads but the one that asks.
 */
#include "count.h"
#include "questions.h"
#include "work.h"

#include <stdio.h>
#include <stdlib.h>

enum {
        MILLION = 1000000,
        ROUND_TRIPS = 1000,
        WAKES = 300,
        REST_NS = 1000000,
        BURST_JOBS = 1000,
        BURSTS = 40,
        PARK_NS = 2000000, /* all are asleep again, unless they spin on */
        COMPUTING_JOBS = 64,
        COMPUTING_TURNS = 5
};

_Static_assert(sizeof(struct peer_job) == 64, "jobs fill a cache line each");

static void count_first(struct peer_job *job)
{
        (void)job;
        count_one(0);
}

static struct peer_job *prepare(size_t count, void (*run)(struct peer_job *job))
{
        struct peer_job *jobs = bench_memory(sizeof *jobs * count);

        for (size_t i = 0; i < count; i++)
                jobs[i].run = run;
        return jobs;
}

/* Sleeps while the end is far, so that the workers have the processors for themselves. */
static void wait_for_many(uint64_t count)
{
        while (count_sum(0) < count - count / 20)
                bench_sleep_ns(200000);
        count_wait(0, count);
}

static double switches_per_1000(const struct bench_usage *process, const struct bench_usage *thread,
                                size_t count)
{
        return (double)bench_switches_of_others(process, thread) * 1e3 / (double)count;
}

/* ---------------------------------------------------------------- one job */

void round_trip(const struct asked *a)
{
        need_submit(a);
        void *pool = begin_pool(a);

        for (int i = 0; i < (bench.quick ? ROUND_TRIPS / 10 : ROUND_TRIPS); i++) {
                int64_t start = bench_now_ns();
                a->peer->run(pool);
                bench_add(a->result, (double)(bench_now_ns() - start) / 1e3);
        }
        a->peer->stop(pool);
}

static _Atomic int64_t entered_ns; /* 0: not yet */

static void stamp(struct peer_job *job)
{
        (void)job;
        atomic_store_explicit(&entered_ns, bench_now_ns(), memory_order_release);
}

void wake(const struct asked *a)
{
        unsigned wakes = bench.quick ? WAKES / 5 : WAKES;

        need_submit(a);
        struct peer_job *job = prepare(1, stamp);
        void *pool = begin_pool(a);

        bench_sleep_ns(5000000);
        int64_t cpu_ns = bench_usage_process().cpu_ns;
        for (unsigned i = 0; i < wakes; i++) {
                int64_t entered;
                atomic_store(&entered_ns, 0);
                int64_t start = bench_now_ns();
                a->peer->submit(pool, job, 1);
                do {
                        bench_sleep_ns(REST_NS);
                        entered = atomic_load_explicit(&entered_ns, memory_order_acquire);
                } while (entered == 0);
                bench_add(a->result, (double)(entered - start) / 1e3);
        }
        cpu_ns = bench_usage_process().cpu_ns - cpu_ns;
        bench_extra(a->result, "us", (double)cpu_ns / 1e3 / wakes);
        a->peer->stop(pool);
}

/* ---------------------------------------------------------------- many from outside */

void burst(const struct asked *a)
{
        unsigned bursts = bench.quick ? BURSTS / 4 : BURSTS;

        need_submit(a);
        struct peer_job *jobs = prepare(BURST_JOBS, count_first);
        void *pool = begin_pool(a);

        bench_sleep_ns(PARK_NS);
        struct bench_usage process = bench_usage_process(), thread = bench_usage_thread();
        for (unsigned i = 1; i <= bursts; i++) {
                int64_t start = bench_now_ns();
                a->peer->submit(pool, jobs, BURST_JOBS);
                count_wait(0, (uint64_t)i * BURST_JOBS);
                bench_add(a->result, (double)(bench_now_ns() - start) / BURST_JOBS);
                bench_sleep_ns(PARK_NS);
        }
        bench_extra(a->result, "switches",
                    (double)bench_switches_of_others(&process, &thread) / bursts);
        expect("jobs", (long)count_sum(0), (long)bursts * BURST_JOBS);
        a->peer->stop(pool);
}

void at_once(const struct asked *a)
{
        size_t count = how_many(a, MILLION);

        need_submit(a);
        struct peer_job *jobs = prepare(count, count_first);
        void *pool = begin_pool(a);

        struct bench_usage process = bench_usage_process(), thread = bench_usage_thread();
        int64_t start = bench_now_ns();
        a->peer->submit(pool, jobs, count);
        wait_for_many(count);
        bench_add(a->result, (double)(bench_now_ns() - start) / (double)count);
        bench_extra(a->result, "switches", switches_per_1000(&process, &thread, count));
        expect("jobs", (long)count_sum(0), (long)count);
        a->peer->stop(pool);
}

/* ---------------------------------------------------------------- from inside */

static struct {
        const struct asked *a;
        void *pool;
        struct peer_job *jobs;
        size_t count;
        int64_t start_ns;
} inside_call;

static void spawn_all(struct peer_job *job)
{
        (void)job;
        inside_call.start_ns = bench_now_ns();
        inside_call.a->peer->spawn(inside_call.pool, inside_call.jobs, inside_call.count);
        count_one(1);
}

void inside(const struct asked *a)
{
        size_t count = how_many(a, MILLION);

        need_submit(a);
        if (a->peer->spawn == NULL)
                skip(a->peer->no_spawn);
        inside_call.a = a;
        inside_call.jobs = prepare(count, count_first);
        inside_call.count = count;
        struct peer_job *root = prepare(1, spawn_all);
        void *pool = inside_call.pool = begin_pool(a);

        struct bench_usage process = bench_usage_process(), thread = bench_usage_thread();
        a->peer->submit(pool, root, 1);
        wait_for_many(count);
        int64_t end = bench_now_ns();
        count_wait(1, 1);
        bench_add(a->result, (double)(end - inside_call.start_ns) / (double)count);
        bench_extra(a->result, "switches", switches_per_1000(&process, &thread, count));
        expect("jobs", (long)count_sum(0), (long)count);
        a->peer->stop(pool);
}

/* ---------------------------------------------------------------- jobs that compute */

static unsigned digests; /* of one job */

static void digest(void)
{
        uint8_t state[20] = {0};

        for (unsigned i = 0; i < digests; i++)
                sha1_short(state, sizeof state, state);
        __asm__ volatile("" ::"r"(state) : "memory");
}

static void compute_job(struct peer_job *job)
{
        (void)job;
        digest();
        count_one(0);
}

static int64_t serial_ns(unsigned jobs)
{
        int64_t start = bench_now_ns();

        for (unsigned i = 0; i < jobs; i++)
                digest();
        return bench_now_ns() - start;
}

/* The least of some attempts: one that was interrupted would make jobs too short. */
static void calibrate(int64_t job_ns)
{
        int64_t least = INT64_MAX;

        digests = 1000;
        for (int i = 0; i < 10; i++) {
                int64_t ns = serial_ns(1);
                least = ns < least ? ns : least;
        }
        digests = (unsigned)(job_ns * digests / least);
}

/* Who waits only sleeps: the pool may have all the processors. */
static int64_t pool_ns(const struct asked *a, void *pool, struct peer_job *jobs, uint64_t done)
{
        int64_t start = bench_now_ns();

        a->peer->submit(pool, jobs, COMPUTING_JOBS);
        while (count_sum(0) < done)
                bench_sleep_ns(50000);
        return bench_now_ns() - start;
}

/* The ideal is the same work by the one who asks, just before, divided by the processors. */
void computing(const struct asked *a)
{
        unsigned cpus = bench_cpus(), turns = bench.quick ? 1 : COMPUTING_TURNS;

        need_submit(a);
        cpus = a->workers < cpus ? a->workers : cpus;
        struct peer_job *jobs = prepare(COMPUTING_JOBS, compute_job);
        calibrate(bench.quick ? 500000 : 1000000);
        void *pool = begin_pool(a);

        for (uint64_t i = 1; i <= turns; i++) {
                double ideal = (double)serial_ns(COMPUTING_JOBS) / cpus;
                bench_add(a->result, (double)pool_ns(a, pool, jobs, i * COMPUTING_JOBS) / ideal);
        }
        expect("jobs", (long)count_sum(0), (long)turns * COMPUTING_JOBS);
        a->peer->stop(pool);
}
