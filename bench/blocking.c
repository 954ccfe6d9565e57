/* SPDX-License-Identifier: MIT
 *
 * What does it cost to have something done on a thread that may block? A call that a job waits for,
 * one after the other and many at once; jobs that nobody waits for; and the wake-up of a thread
 * that has slept. Beside it libuv's thread pool, used as a loop uses it, and a textbook pool with
 * the same number of threads. What is called does nothing.
 */
/* link: -luv */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "engine.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

enum { ROUND_TRIPS = 20000, MANY = 256, EACH = 400, BURST = 50000, WAKES = 300 };
#define REST_NS 1000000

static unsigned threads = 4; /* of every pool; libuv's own number */
static int64_t elapsed_ns;
static _Atomic unsigned left;

static unsigned scaled(unsigned n)
{
        return bench.quick ? n / 20 : n;
}

static void check(int result, const char *what)
{
        if (result < 0)
                bench_wrong("%s: %d", what, result);
}

static struct skua *start(unsigned workers)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct skua *rt = NULL;

        options.workers = workers;
        options.flags = bench.pin ? SKUA_PIN : 0;
        options.blocking_max = threads;
        check(skua_start(&rt, &options), "skua_start");
        return rt;
}

/* ---------------------------------------------------------------- one after the other */

static int nothing(void *arg)
{
        (void)arg;
        return 0;
}

static void call_in_turn(struct skua_worker *self, void *arg)
{
        unsigned n = scaled(ROUND_TRIPS);
        int64_t begun = bench_now_ns();

        (void)arg;
        for (unsigned i = 0; i < n; i++)
                check(skua_await_blocking(self, nothing, NULL), "skua_await_blocking");
        elapsed_ns = bench_now_ns() - begun;
}

static void trips_skua(const struct bench_contestant *c, struct bench_result *r)
{
        struct skua *rt = start(c->workers);

        skua_run(rt, call_in_turn, NULL);
        bench_add(r, (double)elapsed_ns / 1e3 / scaled(ROUND_TRIPS));
        skua_stop(rt, SKUA_DRAIN);
}

static void uv_nothing(uv_work_t *work)
{
        (void)work;
}

static void uv_done(uv_work_t *work, int status)
{
        (void)work;
        check(status, "uv_queue_work");
}

static void trips_uv(const struct bench_contestant *c, struct bench_result *r)
{
        unsigned n = scaled(ROUND_TRIPS);
        int64_t begun = bench_now_ns();
        uv_loop_t loop;
        uv_work_t work;

        (void)c;
        check(uv_loop_init(&loop), "uv_loop_init");
        for (unsigned i = 0; i < n; i++) {
                check(uv_queue_work(&loop, &work, uv_nothing, uv_done), "uv_queue_work");
                uv_run(&loop, UV_RUN_DEFAULT);
        }
        bench_add(r, (double)(bench_now_ns() - begun) / 1e3 / n);
        uv_loop_close(&loop);
}

static void pool_nothing(struct pool_job *job)
{
        (void)job;
}

static void trips_mutex(const struct bench_contestant *c, struct bench_result *r)
{
        struct pool *p = mutex_pool.start(threads, bench.pin);
        unsigned n = scaled(ROUND_TRIPS);
        int64_t begun = bench_now_ns();

        (void)c;
        for (unsigned i = 0; i < n; i++)
                mutex_pool.run(p, pool_nothing);
        bench_add(r, (double)(bench_now_ns() - begun) / 1e3 / n);
        mutex_pool.stop(p);
}

/* ---------------------------------------------------------------- many at once */

static void call_each(struct skua_worker *self, struct skua_job *job)
{
        unsigned n = scaled(EACH);

        (void)job;
        for (unsigned i = 0; i < n; i++)
                check(skua_await_blocking(self, nothing, NULL), "skua_await_blocking");
}

static void many_skua(const struct bench_contestant *c, struct bench_result *r)
{
        static struct skua_job jobs[MANY];
        struct skua_target where = SKUA_TARGET_INIT;
        struct skua *rt = start(c->workers);
        struct skua_group group;
        int64_t begun;

        skua_group_init(&group);
        where.group = &group;
        for (unsigned i = 0; i < MANY; i++)
                skua_job_init(&jobs[i], call_each);
        begun = bench_now_ns();
        check((int)skua_submit_array(rt, jobs, MANY, sizeof jobs[0], &where), "submit");
        check(skua_group_wait(&group, -1), "skua_group_wait");
        bench_add(r, (double)(bench_now_ns() - begun) / MANY / scaled(EACH));
        skua_stop(rt, SKUA_DRAIN);
}

struct uv_chain {
        uv_work_t work; /* first */
        unsigned left;
};

static void uv_again(uv_work_t *work, int status)
{
        struct uv_chain *chain = (struct uv_chain *)work;

        check(status, "uv_queue_work");
        if (--chain->left)
                check(uv_queue_work(work->loop, work, uv_nothing, uv_again), "uv_queue_work");
}

static void many_uv(const struct bench_contestant *c, struct bench_result *r)
{
        static struct uv_chain chains[MANY];
        int64_t begun = bench_now_ns();
        uv_loop_t loop;

        (void)c;
        check(uv_loop_init(&loop), "uv_loop_init");
        for (unsigned i = 0; i < MANY; i++) {
                chains[i].left = scaled(EACH);
                check(uv_queue_work(&loop, &chains[i].work, uv_nothing, uv_again), "uv_queue_work");
        }
        uv_run(&loop, UV_RUN_DEFAULT);
        bench_add(r, (double)(bench_now_ns() - begun) / MANY / scaled(EACH));
        uv_loop_close(&loop);
}

/* ---------------------------------------------------------------- jobs that nobody waits for */

static void count_down(void)
{
        atomic_fetch_sub_explicit(&left, 1, memory_order_release);
}

static void count_skua(struct skua_worker *self, struct skua_job *job)
{
        (void)self, (void)job;
        count_down();
}

static void count_pool(struct pool_job *job)
{
        (void)job;
        count_down();
}

static void wait_for_all(void)
{
        while (atomic_load_explicit(&left, memory_order_acquire) != 0)
                bench_pause();
}

static void burst_skua(const struct bench_contestant *c, struct bench_result *r)
{
        static struct skua_job jobs[BURST];
        struct skua_target where = SKUA_TARGET_INIT;
        struct skua *rt = start(c->workers);
        unsigned n = scaled(BURST);
        int64_t begun;

        where.flags = SKUA_BLOCKING;
        for (unsigned i = 0; i < n; i++)
                skua_job_init(&jobs[i], count_skua);
        atomic_store(&left, n);
        begun = bench_now_ns();
        for (unsigned i = 0; i < n; i++)
                check(skua_submit_to(rt, &jobs[i], &where), "skua_submit_to");
        wait_for_all();
        bench_add(r, (double)(bench_now_ns() - begun) / n);
        skua_stop(rt, SKUA_DRAIN);
}

static void burst_mutex(const struct bench_contestant *c, struct bench_result *r)
{
        static struct pool_job jobs[BURST];
        struct pool *p = mutex_pool.start(threads, bench.pin);
        unsigned n = scaled(BURST);
        int64_t begun;

        (void)c;
        atomic_store(&left, n);
        begun = bench_now_ns();
        for (unsigned i = 0; i < n; i++) {
                jobs[i].run = count_pool;
                mutex_pool.submit(p, &jobs[i]);
        }
        wait_for_all();
        bench_add(r, (double)(bench_now_ns() - begun) / n);
        mutex_pool.stop(p);
}

/* ---------------------------------------------------------------- after a rest */

static void call_after_rest(struct skua_worker *self, void *arg)
{
        struct bench_result *r = arg;
        unsigned n = scaled(WAKES);

        for (unsigned i = 0; i < n; i++) {
                int64_t begun;

                check(skua_await_sleep(self, REST_NS), "skua_await_sleep");
                begun = bench_now_ns();
                check(skua_await_blocking(self, nothing, NULL), "skua_await_blocking");
                bench_add(r, (double)(bench_now_ns() - begun) / 1e3);
        }
}

static void rest_skua(const struct bench_contestant *c, struct bench_result *r)
{
        struct skua *rt = start(c->workers);

        skua_run(rt, call_after_rest, r);
        skua_stop(rt, SKUA_DRAIN);
}

static void rest_uv(const struct bench_contestant *c, struct bench_result *r)
{
        unsigned n = scaled(WAKES);
        uv_loop_t loop;
        uv_work_t work;

        (void)c;
        check(uv_loop_init(&loop), "uv_loop_init");
        for (unsigned i = 0; i < n; i++) {
                int64_t begun;

                bench_sleep_ns(REST_NS);
                begun = bench_now_ns();
                check(uv_queue_work(&loop, &work, uv_nothing, uv_done), "uv_queue_work");
                uv_run(&loop, UV_RUN_DEFAULT);
                bench_add(r, (double)(bench_now_ns() - begun) / 1e3);
        }
        uv_loop_close(&loop);
}

static void rest_mutex(const struct bench_contestant *c, struct bench_result *r)
{
        struct pool *p = mutex_pool.start(threads, bench.pin);
        unsigned n = scaled(WAKES);

        (void)c;
        for (unsigned i = 0; i < n; i++) {
                int64_t begun;

                bench_sleep_ns(REST_NS);
                begun = bench_now_ns();
                mutex_pool.run(p, pool_nothing);
                bench_add(r, (double)(bench_now_ns() - begun) / 1e3);
        }
        mutex_pool.stop(p);
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
        struct bench_contestant trips[] = {
                {"mutex pool", BENCH_BASELINE, trips_mutex, NULL, 1, 0},
                {"libuv", BENCH_BASELINE, trips_uv, NULL, 1, 0},
                {"skua, one worker", BENCH_SKUA, trips_skua, NULL, 1, 0},
                {"skua, two workers", BENCH_SKUA, trips_skua, NULL, 2, 0},
        };
        struct bench_contestant many[] = {
                {"libuv", BENCH_BASELINE, many_uv, NULL, 1, 0},
                {"skua, one worker", BENCH_SKUA, many_skua, NULL, 1, 0},
                {"skua, two workers", BENCH_SKUA, many_skua, NULL, 2, 0},
        };
        struct bench_contestant burst[] = {
                {"mutex pool", BENCH_BASELINE, burst_mutex, NULL, 1, 0},
                {"skua", BENCH_SKUA, burst_skua, NULL, 1, 0},
        };
        struct bench_contestant rest[] = {
                {"mutex pool", BENCH_BASELINE, rest_mutex, NULL, 1, 0},
                {"libuv", BENCH_BASELINE, rest_uv, NULL, 1, 0},
                {"skua, one worker", BENCH_SKUA, rest_skua, NULL, 1, 0},
                {"skua, two workers", BENCH_SKUA, rest_skua, NULL, 2, 0},
        };
        char number[16];

        snprintf(number, sizeof number, "%u", threads);
        setenv("UV_THREADPOOL_SIZE", number, 1);
        bench_begin(argc, argv, "what does a call on a thread that may block cost?");
        printf("# threads   %u in each pool; libuv %s\n", threads, uv_version_string());
        ask("call and wait for it", "us", trips, 4);
        ask("256 call and wait, all the time", "ns each", many, 3);
        ask("50,000 jobs at once", "ns each", burst, 2);
        ask("call after 1 ms of rest", "us", rest, 4);
        return bench_end();
}
