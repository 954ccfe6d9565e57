/* SPDX-License-Identifier: MIT
 *
 * How long from the submission to a worker that has been parked for 1 ms until the first
 * instruction of the job, and how much processor time does one such wake-up take? Also when the
 * workers sleep in their rings, as they do once there has been I/O. The floor is a bare futex
 * between two threads. The processor time is that of the whole process, with the sleeping and
 * submitting main thread in it: what counts is the difference to the bare futex.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "engine.h"

#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { WAKES = 300, REST_NS = 1000000 };

static _Atomic int64_t entered_ns; /* 0: not yet */

static void stamp(void)
{
        atomic_store_explicit(&entered_ns, bench_now_ns(), memory_order_release);
}

/* ---------------------------------------------------------------- the floor */

static struct {
        _Atomic uint32_t word;
        _Atomic bool stopping;
        pthread_t thread;
} floor_futex;

static long futex(_Atomic uint32_t *word, int operation, uint32_t value)
{
        return syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

static void *sleep_in_futex(void *arg)
{
        if (bench.pin)
                bench_pin_thread(0);
        for (uint32_t seen = 0;; seen++) {
                while (atomic_load(&floor_futex.word) == seen)
                        futex(&floor_futex.word, FUTEX_WAIT, seen);
                if (atomic_load(&floor_futex.stopping))
                        return arg;
                stamp();
        }
}

static void wake_floor(void)
{
        atomic_fetch_add(&floor_futex.word, 1);
        futex(&floor_futex.word, FUTEX_WAKE, 1);
}

/* ---------------------------------------------------------------- the contestants */

static void stamp_job(union engine_job *job)
{
        (void)job;
        stamp();
}
ENGINE_BODY(stamp_job);

static void make_ring(struct skua_worker *self, struct skua_job *job)
{
        (void)job;
        skua_fail(self, skua_io_reserve(self, 1));
}

/* Skua, whose workers have done I/O. */
static void *start_with_rings(const struct engine *e, unsigned workers)
{
        struct skua_target where = SKUA_TARGET_INIT;
        struct skua *rt = engine_start_skua(workers);
        struct skua_group group;
        struct skua_job job;

        (void)e;
        where.group = &group;
        for (unsigned i = 0; i < workers; i++) {
                skua_group_init(&group);
                skua_job_init(&job, make_ring);
                where.worker = SKUA_WORKER(i);
                if (skua_submit_to(rt, &job, &where) != 0 || skua_group_wait(&group, -1) != 0)
                        bench_wrong("no ring");
        }
        return rt;
}

static struct engine engine_in_ring; /* engine_skua with that start */

struct sleeper {
        const struct engine *e; /* NULL: the bare futex */
        void *handle;
        union engine_job job;
};

static void sleeper_start(struct sleeper *s, const struct engine *e, unsigned workers)
{
        s->e = e;
        if (e != NULL) {
                s->handle = e->start(e, workers);
                e->prepare(&s->job, &stamp_job_body);
                return;
        }
        atomic_store(&floor_futex.word, 0);
        atomic_store(&floor_futex.stopping, false);
        if (pthread_create(&floor_futex.thread, NULL, sleep_in_futex, NULL) != 0)
                bench_wrong("no thread");
}

static void sleeper_stop(struct sleeper *s)
{
        if (s->e != NULL) {
                s->e->stop(s->e, s->handle);
                return;
        }
        atomic_store(&floor_futex.stopping, true);
        wake_floor();
        pthread_join(floor_futex.thread, NULL);
}

static void wake(const struct bench_contestant *c, struct bench_result *r)
{
        unsigned wakes = bench.quick ? WAKES / 5 : WAKES;
        struct sleeper s;

        sleeper_start(&s, c->what, c->workers);
        bench_sleep_ns(5000000);
        int64_t cpu_ns = bench_usage_process().cpu_ns;
        for (unsigned i = 0; i < wakes; i++) {
                atomic_store(&entered_ns, 0);
                int64_t start = bench_now_ns();
                if (s.e != NULL)
                        s.e->submit(s.e, s.handle, &s.job, 1);
                else
                        wake_floor();
                bench_sleep_ns(REST_NS);
                int64_t entered;
                while ((entered = atomic_load(&entered_ns)) == 0)
                        bench_sleep_ns(REST_NS);
                bench_add(r, (double)(entered - start) / 1e3);
        }
        cpu_ns = bench_usage_process().cpu_ns - cpu_ns;
        bench_extra(r, "us CPU per wake-up", (double)cpu_ns / 1e3 / wakes);
        sleeper_stop(&s);
}

static void ask(unsigned workers)
{
        struct bench_contestant list[] = {
                {"bare futex", BENCH_BASELINE, wake, NULL, workers, 0},
                {"ring pool (yardstick)", BENCH_BASELINE, wake, &engine_ring, workers, 0},
                {"mutex pool", BENCH_BASELINE, wake, &engine_mutex, workers, 0},
                {"pthread per job", BENCH_BASELINE, wake, &engine_threads, workers, 0},
                {"skua", BENCH_SKUA, wake, &engine_skua, workers, 0},
                {"skua, in its ring", BENCH_SKUA, wake, &engine_in_ring, workers, 0},
        };
        size_t count = sizeof list / sizeof list[0];
        char question[48];

        snprintf(question, sizeof question, "wake after 1 ms, w%u", workers);
        if (!bench_wanted(question))
                return;
        bench_measure(question, "us", list, count);
        double futex_us = bench_extra_median(list[0].result);
        for (size_t i = 1; i < count; i++)
                bench_note(list[i].result, "%+.1f us to the futex; p50 %.2f of it, p99 %.2f",
                           bench_extra_median(list[i].result) - futex_us,
                           bench_median(list[i].result) / bench_median(list[0].result),
                           bench_p99(list[i].result) / bench_p99(list[0].result));
        bench_print();
}

int main(int argc, char **argv)
{
        bench_begin(argc, argv, "how fast does a parked worker begin, and at what cost?");
        engine_in_ring = engine_skua;
        engine_in_ring.start = start_with_rings;
        ask(1);
        ask(2);
        return bench_end();
}
