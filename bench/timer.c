/* SPDX-License-Identifier: MIT
 *
 * What does a timer cost, alone and beside a million others, and how late does it wake a sleeper?
 * The kernel adds its timer slack to a sleeper's deadline (prctl(2), 50 us unless changed); the
 * floor is a bare futex with the same deadline and the same slack.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "engine.h"

#include <linux/futex.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MANY = 1000000, PAIRS = 1000000, EXPIRE = 100000, WAKES = 300 };
#define HOUR_NS 3600000000000
#define REST_NS 1000000

static struct skua_timer *timers;
static struct skua_timer one;
static unsigned count;
static _Atomic unsigned left;
static _Atomic int64_t called_ns;
static int64_t elapsed_ns, cancel_ns;

static uint64_t random_next(void)
{
        static uint64_t state = 88172645463325252u;

        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return state;
}

static void nothing(struct skua_worker *self, struct skua_job *job)
{
        (void)self, (void)job;
        atomic_fetch_sub_explicit(&left, 1, memory_order_relaxed);
}

static void stamp(struct skua_worker *self, struct skua_job *job)
{
        (void)self, (void)job;
        atomic_store(&called_ns, bench_now_ns());
}

static void run(struct skua *rt, void (*fn)(struct skua_worker *self, void *arg))
{
        if (skua_run(rt, fn, NULL) != 0)
                bench_wrong("skua_run");
}

/* ---------------------------------------------------------------- arm and cancel */

/* Within an hour, at random; then cancelled in the same order. */
static void arm_all(struct skua_worker *self, void *arg)
{
        int64_t start;

        (void)arg;
        for (unsigned i = 0; i < count; i++)
                skua_timer_init(&timers[i], nothing);
        start = bench_now_ns();
        for (unsigned i = 0; i < count; i++)
                skua_timer_start(self, &timers[i],
                                 start + REST_NS + HOUR_NS + (int64_t)(random_next() % HOUR_NS));
        elapsed_ns = bench_now_ns() - start;
}

static void cancel_all(struct skua_worker *self, void *arg)
{
        int64_t start = bench_now_ns();
        unsigned cancelled = 0;

        (void)arg;
        for (unsigned i = 0; i < count; i++)
                cancelled += skua_timer_cancel(self, &timers[i]);
        cancel_ns = bench_now_ns() - start;
        if (cancelled != count)
                bench_wrong("a timer was not armed");
}

static void pairs(struct skua_worker *self, void *arg)
{
        unsigned n = bench.quick ? PAIRS / 20 : PAIRS, cancelled = 0;
        int64_t start = bench_now_ns();

        (void)arg;
        skua_timer_init(&one, nothing);
        for (unsigned i = 0; i < n; i++) {
                skua_timer_start(self, &one, start + HOUR_NS + (int64_t)(random_next() % HOUR_NS));
                cancelled += skua_timer_cancel(self, &one);
        }
        elapsed_ns = bench_now_ns() - start;
        if (cancelled != n)
                bench_wrong("a timer was not armed");
}

static void pair(const struct bench_contestant *c, struct bench_result *r)
{
        struct skua *rt = engine_start_skua(c->workers);

        count = c->what ? *(const unsigned *)c->what : 0;
        run(rt, arm_all);
        run(rt, pairs);
        bench_add(r, (double)elapsed_ns / (bench.quick ? PAIRS / 20 : PAIRS));
        run(rt, cancel_all);
        skua_stop(rt, SKUA_DRAIN);
}

static void each(const struct bench_contestant *c, struct bench_result *r)
{
        struct skua *rt = engine_start_skua(c->workers);

        count = *(const unsigned *)c->what;
        run(rt, arm_all);
        run(rt, cancel_all);
        bench_add(r, (double)(elapsed_ns + cancel_ns) / count);
        skua_stop(rt, SKUA_DRAIN);
}

/* ---------------------------------------------------------------- arm and expire */

static void arm_near(struct skua_worker *self, void *arg)
{
        int64_t start = bench_now_ns();

        (void)arg;
        for (unsigned i = 0; i < count; i++) {
                skua_timer_init(&timers[i], nothing);
                skua_timer_start(self, &timers[i], start + (int64_t)(random_next() % REST_NS));
        }
}

static void expire(const struct bench_contestant *c, struct bench_result *r)
{
        struct skua *rt = engine_start_skua(c->workers);
        int64_t start;

        count = bench.quick ? EXPIRE / 20 : EXPIRE;
        atomic_store(&left, count);
        start = bench_now_ns();
        run(rt, arm_near);
        while (atomic_load(&left) != 0)
                bench_sleep_ns(20000);
        bench_add(r, (double)(bench_now_ns() - start) / count);
        skua_stop(rt, SKUA_DRAIN);
}

/* ---------------------------------------------------------------- lateness */

static void arm_one(struct skua_worker *self, void *arg)
{
        skua_timer_init(&one, stamp);
        skua_timer_start(self, &one, *(int64_t *)arg);
}

static void late(const struct bench_contestant *c, struct bench_result *r)
{
        struct skua *rt = engine_start_skua(c->workers);
        unsigned wakes = bench.quick ? WAKES / 10 : WAKES;

        for (unsigned i = 0; i < wakes; i++) {
                int64_t deadline = bench_now_ns() + REST_NS, called;

                atomic_store(&called_ns, 0);
                if (skua_run(rt, arm_one, &deadline) != 0)
                        bench_wrong("skua_run");
                while ((called = atomic_load(&called_ns)) == 0)
                        bench_sleep_ns(REST_NS);
                if (called < deadline)
                        bench_wrong("early");
                bench_add(r, (double)(called - deadline) / 1e3);
        }
        skua_stop(rt, SKUA_DRAIN);
}

static void late_futex(const struct bench_contestant *c, struct bench_result *r)
{
        static _Atomic uint32_t word;
        unsigned wakes = bench.quick ? WAKES / 10 : WAKES;

        (void)c;
        for (unsigned i = 0; i < wakes; i++) {
                int64_t deadline = bench_now_ns() + REST_NS;
                struct timespec until = {deadline / 1000000000, deadline % 1000000000};

                while (bench_now_ns() < deadline)
                        syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, 0, &until,
                                NULL, FUTEX_BITSET_MATCH_ANY);
                bench_add(r, (double)(bench_now_ns() - deadline) / 1e3);
        }
}

/* ---------------------------------------------------------------- */

static void ask(const char *question, const char *unit, struct bench_contestant *list, size_t n)
{
        if (!bench_wanted(question))
                return;
        bench_measure(question, unit, list, n);
        bench_print();
}

int main(int argc, char **argv)
{
        static unsigned none, many = MANY;
        struct bench_contestant pair_list[] = {
                {"skua, one worker", BENCH_SKUA, pair, &none, 1, 0},
                {"skua, one worker, a million armed", BENCH_SKUA, pair, &many, 1, 0},
                {"skua, two workers, a million armed", BENCH_SKUA, pair, &many, 2, 0},
        };
        struct bench_contestant each_list[] = {
                {"skua, one worker", BENCH_SKUA, each, &many, 1, 0},
                {"skua, two workers", BENCH_SKUA, each, &many, 2, 0},
        };
        struct bench_contestant expire_list[] = {
                {"skua, one worker", BENCH_SKUA, expire, NULL, 1, 0},
                {"skua, two workers", BENCH_SKUA, expire, NULL, 2, 0},
        };
        struct bench_contestant late_list[] = {
                {"bare futex", BENCH_BASELINE, late_futex, NULL, 1, 0},
                {"skua, one worker", BENCH_SKUA, late, NULL, 1, 0},
                {"skua, two workers", BENCH_SKUA, late, NULL, 2, 0},
        };

        bench_begin(argc, argv, "what does a timer cost, and how late is it?");
        printf("# slack     %d ns\n", prctl(PR_GET_TIMERSLACK));
        if (bench.quick)
                many /= 20;
        timers = bench_memory(MANY * sizeof *timers);
        ask("arm and cancel one timer", "ns", pair_list, 3);
        ask("arm a million, then cancel them", "ns each", each_list, 2);
        ask("arm 100,000 within 1 ms, all expire", "ns each", expire_list, 2);
        ask("late after 1 ms of sleep", "us", late_list, 3);
        return bench_end();
}
