/* SPDX-License-Identifier: MIT
 *
 * Do jobs spread over all workers? One job forks 16 leaves that sleep 10 ms each; the ideal is 40
 * ms on 4 workers and 20 ms on 8, whatever the number of processors. A runtime that keeps forks
 * private, or wakes too few workers, shows here.
 */
#include "engine.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { LEAVES = 16, LEAF_MS = 10 };

static _Atomic unsigned executed;

static void leaf(void)
{
        bench_sleep_ns(LEAF_MS * INT64_C(1000000));
        atomic_fetch_add(&executed, 1);
}

static void check_executed(const char *who)
{
        unsigned n = atomic_exchange(&executed, 0);

        if (n != LEAVES)
                bench_wrong("%s: %u leaves of %d ran", who, n, LEAVES);
}

static void report(const struct bench_contestant *c, struct bench_result *r, int64_t ns)
{
        double ideal_ms = (double)LEAVES / c->workers * LEAF_MS;

        bench_add(r, (double)ns / 1e6);
        bench_extra(r, "x ideal", (double)ns / 1e6 / ideal_ms);
        check_executed(c->name);
}

/* ---------------------------------------------------------------- Skua */

static void leaf_stolen(struct skua_worker *self, struct skua_job *job)
{
        (void)self;
        (void)job;
        leaf();
}

/* As fork(a); fork(b); ... d(); the last leaf is run by who forked the others. */
static void fork_leaves(struct skua_worker *self, void *arg)
{
        struct skua_job jobs[LEAVES - 1];

        (void)arg;
        for (int i = 0; i < LEAVES - 1; i++)
                skua_fork(self, &jobs[i], leaf_stolen);
        leaf();
        for (int i = LEAVES - 2; i >= 0; i--)
                if (skua_join(self, &jobs[i]))
                        leaf();
}

static void spread_forks(const struct bench_contestant *c, struct bench_result *r)
{
        struct skua *rt = engine_start_skua(c->workers);

        bench_sleep_ns(2000000); /* all are parked */
        int64_t start = bench_now_ns();
        int error = skua_run(rt, fork_leaves, NULL);
        int64_t end = bench_now_ns();
        if (error != 0)
                bench_wrong("skua_run: %s", strerror(-error));
        report(c, r, end - start);
        skua_stop(rt, SKUA_DRAIN);
}

/* ---------------------------------------------------------------- jobs from outside */

static void leaf_job(union engine_job *job)
{
        (void)job;
        leaf();
}
ENGINE_BODY(leaf_job);

static void spread_jobs(const struct bench_contestant *c, struct bench_result *r)
{
        const struct engine *e = c->what;
        void *handle = e->start(e, c->workers);
        union engine_job jobs[LEAVES];

        for (int i = 0; i < LEAVES; i++)
                e->prepare(&jobs[i], &leaf_job_body);
        bench_sleep_ns(2000000);
        int64_t start = bench_now_ns();
        e->submit(e, handle, jobs, LEAVES);
        while (atomic_load(&executed) < LEAVES)
                bench_sleep_ns(20000);
        report(c, r, bench_now_ns() - start);
        e->stop(e, handle);
}

static void ask(unsigned workers)
{
        struct bench_contestant list[] = {
                {"ring pool (yardstick)", BENCH_BASELINE, spread_jobs, &engine_ring, workers, 0},
                {"mutex pool", BENCH_BASELINE, spread_jobs, &engine_mutex, workers, 0},
                {"skua, forks", BENCH_SKUA, spread_forks, NULL, workers, 0},
                {"skua, submitted", BENCH_SKUA, spread_jobs, &engine_skua, workers, 0},
        };
        char question[48];

        snprintf(question, sizeof question, "16 x 10 ms, w%u", workers);
        if (bench_wanted(question))
                bench_measure(question, "ms", list, sizeof list / sizeof list[0]);
        bench_print();
}

static void ask_threads(void)
{
        struct bench_contestant threads = {"pthread per job", BENCH_BASELINE, spread_jobs,
                                           &engine_threads,   LEAVES,         0};

        if (bench_wanted("16 x 10 ms, 16 threads"))
                bench_measure("16 x 10 ms, 16 threads", "ms", &threads, 1);
}

int main(int argc, char **argv)
{
        bench_begin(argc, argv, "do 16 sleeping leaves spread over all workers?");
        ask(4);
        ask(8);
        ask_threads();
        return bench_end();
}
