/* SPDX-License-Identifier: MIT
 *
 * What do fork and join cost, and what do they gain? Five computations as plain recursion (best of
 * -O2 and -O3) and with a fork at every call, on one and on two workers. Results are checked.
 *
 * fib: two-way recursion and nothing else. nqueens: a board is copied at each fork. skynet: 10^6
 * leaves, ten children per node. UTS: unbalanced trees, node counts as published; T3L is 17,844
 * deep and runs on default settings, also on more workers than processors. matmul: halves, down to
 * blocks of 64.
 */
#include "engine.h"
#include "work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct work {
        const char *name;
        int size, size_quick;
        unsigned repeat; /* of one measurement: its figures are per round */
        long expected;   /* at full size */
        work_serial_fn *serial_o2, *serial_o3;
        work_forked_fn *forked;
        double forks; /* at full size, to tell what one costs; 0: not told */
};

/* fib(40) forks once in every call that is not a leaf. */
static const struct work works[] = {
        {"fib 40", 40, 27, 1, 102334155, fib_o2, fib_o3, fib_forked, 165580140},
        {"nqueens 13", 13, 9, 1, 73712, nqueens_o2, nqueens_o3, nqueens_forked, 0},
        {"skynet 10^6", 6, 4, 20, 499999500000, skynet_o2, skynet_o3, skynet_forked, 1111110 * 0.9},
        {"UTS T1", UTS_T1, UTS_SMALL, 1, 4130071, uts_o2, uts_o3, uts_forked, 0},
        {"UTS T3", UTS_T3, UTS_SMALL, 1, 4112897, uts_o2, uts_o3, uts_forked, 0},
        {"matmul 1024", 1024, 256, 1, 1024, matmul_o2, matmul_o3, matmul_forked, 0},
};

/* It takes a quarter of a minute, so each has one turn. */
static const struct work deep = {"UTS T3L", UTS_T3L, UTS_SMALL,  1, 111345631,
                                 uts_o2,    uts_o3,  uts_forked, 0};

static const struct work *work; /* that is being measured */
static int size;
static long expected;
static struct skua *runtimes[8]; /* by workers: of one, of two, and for a while of eight */

static void check(const char *who, long value)
{
        if (value != expected)
                bench_wrong("%s, %s: %ld, not %ld", work->name, who, value, expected);
        if (work->forked == matmul_forked && matmul_errors(size) != 0)
                bench_wrong("%s, %s: %ld rows differ", work->name, who, matmul_errors(size));
}

static void begin(void)
{
        if (work->forked == matmul_forked)
                matmul_begin(size);
}

static void serial(const struct bench_contestant *c, struct bench_result *r)
{
        work_serial_fn *fn = c->workers == 2 ? work->serial_o2 : work->serial_o3;
        long value = 0;

        begin();
        int64_t start = bench_now_ns();
        for (unsigned i = 0; i < work->repeat; i++)
                value = fn(size);
        bench_add(r, (double)(bench_now_ns() - start) / 1e6 / work->repeat);
        check(c->name, value);
}

struct call {
        long value;
        int64_t ns;
};

static void call(struct skua_worker *self, void *arg)
{
        struct call *result = arg;
        int64_t start = bench_now_ns();

        for (unsigned i = 0; i < work->repeat; i++)
                result->value = work->forked(self, size);
        result->ns = bench_now_ns() - start;
}

static void forked(const struct bench_contestant *c, struct bench_result *r)
{
        struct call result = {0, 0};

        begin();
        int error = skua_run(runtimes[c->workers - 1], call, &result);

        if (error != 0)
                bench_wrong("skua_run: %s", strerror(-error));
        bench_add(r, (double)result.ns / 1e6 / work->repeat);
        check(c->name, result.value);
}

static double best(double a, double b)
{
        return a < b ? a : b;
}

/* What one fork and join cost beyond the calls that they replace, from the medians. */
static void cost_of_fork(const char *question, double serial_ms, double one_ms)
{
        struct bench_result *r = bench_row(question, "skua, 1 worker", BENCH_SKUA, "ns/fork");

        bench_add(r, (one_ms - serial_ms) * 1e6 / work->forks);
        bench_note(r, "fork + join over plain recursion");
}

static void compare(void)
{
        struct bench_contestant list[] = {
                {"recursion -O2", BENCH_BASELINE, serial, NULL, 2, NULL},
                {"recursion -O3", BENCH_BASELINE, serial, NULL, 3, NULL},
                {"skua, 1 worker", BENCH_SKUA, forked, NULL, 1, NULL},
                {"skua, 2 workers", BENCH_SKUA, forked, NULL, 2, NULL},
        };

        bench_measure(work->name, "ms", list, 4);
        double plain = best(bench_median(list[0].result), bench_median(list[1].result));
        double one = bench_median(list[2].result), two = bench_median(list[3].result);
        bench_note(list[2].result, "speed-up %.2f over recursion", plain / one);
        bench_note(list[3].result, "speed-up %.2f over recursion, %.2f over 1 worker", plain / two,
                   one / two);
        if (work->forks > 0 && !bench.quick)
                cost_of_fork(work->name, plain, one);
        bench_print();
}

static void begin_work(const struct work *next)
{
        work = next;
        size = bench.quick ? work->size_quick : work->size;
        begin();
        expected = bench.quick ? work->serial_o2(size) : work->expected;
}

static void go_deep(void)
{
        static const struct bench_contestant list[] = {
                {"recursion -O2", BENCH_BASELINE, serial, NULL, 2, NULL},
                {"skua, 1 worker", BENCH_SKUA, forked, NULL, 1, NULL},
                {"skua, 2 workers", BENCH_SKUA, forked, NULL, 2, NULL},
                {"skua, 8 workers", BENCH_SKUA, forked, NULL, 8, NULL},
        };

        begin_work(&deep);
        runtimes[7] = engine_start_skua(8);
        for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
                const struct bench_contestant *c = &list[i];

                c->measure(c, bench_row(work->name, c->name, c->side, "ms"));
        }
        skua_stop(runtimes[7], SKUA_DRAIN);
        bench_print();
}

int main(int argc, char **argv)
{
        bench_begin(argc, argv, "what do fork and join cost, and what do they gain?");
        for (unsigned i = 0; i < 2; i++)
                runtimes[i] = engine_start_skua(i + 1);
        for (size_t i = 0; i < sizeof works / sizeof works[0]; i++) {
                if (!bench_wanted(works[i].name))
                        continue;
                begin_work(&works[i]);
                compare();
        }
        if (bench_wanted(deep.name))
                go_deep();
        printf("\n");
        bench_remark("pthread per job, mutex pool, yardstick: left out. A join would block their "
                     "thread,");
        bench_remark("and 165 million threads are no contestant; see spread for a tree of 16.");
        for (unsigned i = 0; i < 2; i++)
                skua_stop(runtimes[i], SKUA_DRAIN);
        return bench_end();
}
