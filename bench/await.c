/* SPDX-License-Identifier: MIT
 *
 * What does waiting in straight-line code cost, on one worker? A turn given away and got back; an
 * await of what is there already; an operation of I/O that is awaited, beside one whose completion
 * is a job.
 */
/* link: -luring */
#include "engine.h"

#include <liburing.h>
#include <string.h>

enum { YIELDS = 400000, READY = 2000000, OPERATIONS = 200000 };

static unsigned times(unsigned n)
{
        return bench.quick ? n / 20 : n;
}

/* ---------------------------------------------------------------- yielding */

static struct {
        struct skua_group group;
        unsigned jobs, here;
        int64_t start_ns;
} turns;

static void yielder(struct skua_worker *self, struct skua_job *job)
{
        (void)job;
        turns.here++;
        while (turns.here < turns.jobs)
                skua_await_yield(self);
        if (!turns.start_ns)
                turns.start_ns = bench_now_ns();
        for (unsigned i = 0, n = times(YIELDS); i < n; i++)
                skua_await_yield(self);
}

static void yields(const struct bench_contestant *c, struct bench_result *r)
{
        struct skua *rt = engine_start_skua(1);
        struct skua_job jobs[64];

        turns.jobs = *(const unsigned *)c->what;
        turns.here = 0;
        turns.start_ns = 0;
        skua_group_init(&turns.group);
        for (unsigned i = 0; i < turns.jobs; i++) {
                skua_job_init(&jobs[i], yielder);
                skua_group_submit(rt, &turns.group, &jobs[i]);
        }
        if (skua_group_wait(&turns.group, -1))
                bench_wrong("the jobs failed");
        bench_add(r, (double)(bench_now_ns() - turns.start_ns) / times(YIELDS) / turns.jobs);
        skua_stop(rt, SKUA_DRAIN);
}

/* ---------------------------------------------------------------- what is there */

static struct bench_result *ready_result;

static void ready_loop(struct skua_worker *self, void *arg)
{
        struct skua_group empty;
        int64_t start = bench_now_ns();
        unsigned n = times(READY);

        (void)arg;
        skua_group_init(&empty);
        for (unsigned i = 0; i < n; i++)
                if (skua_await_group(self, &empty))
                        bench_wrong("an empty group failed");
        bench_add(ready_result, (double)(bench_now_ns() - start) / n);
}

static void ready(const struct bench_contestant *c, struct bench_result *r)
{
        struct skua *rt = engine_start_skua(c->workers);

        ready_result = r;
        skua_run(rt, ready_loop, NULL);
        skua_stop(rt, SKUA_DRAIN);
}

/* ---------------------------------------------------------------- I/O */

static struct {
        struct skua_io io;
        struct skua_group group;
        unsigned left;
} trip;

static void done(struct skua_worker *self, struct skua_job *job)
{
        (void)job;
        if (--trip.left)
                io_uring_prep_nop(skua_io_prepare(self, &trip.io, done));
        else
                skua_group_release(&trip.group, 0);
}

static void by_job(struct skua_worker *self, void *arg)
{
        (void)arg;
        io_uring_prep_nop(skua_io_prepare(self, &trip.io, done));
}

static void by_await(struct skua_worker *self, void *arg)
{
        (void)arg;
        while (trip.left--) {
                io_uring_prep_nop(skua_io_prepare(self, &trip.io, NULL));
                if (skua_await_io(self, &trip.io))
                        bench_wrong("a NOP failed");
        }
        skua_group_release(&trip.group, 0);
}

static void operations(const struct bench_contestant *c, struct bench_result *r)
{
        struct skua *rt = engine_start_skua(c->workers);
        int64_t start;

        trip.left = times(OPERATIONS);
        skua_group_init(&trip.group);
        skua_group_hold(&trip.group, 1);
        start = bench_now_ns();
        if (skua_run(rt, c->what ? by_await : by_job, NULL) || skua_group_wait(&trip.group, -1))
                bench_wrong("no operations");
        bench_add(r, (double)(bench_now_ns() - start) / times(OPERATIONS));
        skua_stop(rt, SKUA_DRAIN);
}

int main(int argc, char **argv)
{
        static const unsigned one = 1, two = 2, many = 64;
        struct bench_contestant turn[] = {
                {"skua, 1 job", BENCH_SKUA, yields, &one, 1, NULL},
                {"skua, 2 jobs", BENCH_SKUA, yields, &two, 1, NULL},
                {"skua, 64 jobs", BENCH_SKUA, yields, &many, 1, NULL},
        };
        struct bench_contestant there = {"skua", BENCH_SKUA, ready, NULL, 1, NULL};
        struct bench_contestant io[] = {
                {"skua, completion as a job", BENCH_BASELINE, operations, NULL, 1, NULL},
                {"skua, awaited", BENCH_SKUA, operations, &one, 1, NULL},
        };

        bench_begin(argc, argv, "what does waiting in straight-line code cost?");
        if (bench_wanted("yield"))
                bench_measure("yield", "ns", turn, 3);
        if (bench_wanted("await of what is there"))
                bench_measure("await of what is there", "ns", &there, 1);
        if (bench_wanted("NOP, 1 in flight"))
                bench_measure("NOP, 1 in flight", "ns", io, 2);
        bench_print();
        return bench_end();
}
