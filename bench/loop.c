/* SPDX-License-Identifier: MIT
 *
 * What do skua_for and skua_reduce cost over a plain loop? 10^8 cheap iterations and 1,000 of them;
 * the plain loop is one call of the same body over the whole range. Sums are checked.
 */
#include "engine.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { SMALL = 1000, SMALL_REPEATS = 1000, WORKERS_MAX = 64 };

static size_t count; /* iterations */
static unsigned repeats;
static struct skua *runtimes[2]; /* of one and of two workers */

/* Too cheap to hide anything, and not to be folded into a formula. */
__attribute__((noinline)) static uint64_t fold(size_t begin, size_t end)
{
        uint64_t sum = 0;

        for (size_t i = begin; i < end; i++) {
                uint64_t x = i * UINT64_C(0x9e3779b97f4a7c15);
                sum += x ^ x >> 29;
        }
        return sum;
}

static uint64_t expected;

static void check(const char *who, uint64_t sum)
{
        if (sum != expected)
                bench_wrong("%s: sum %llx, not %llx", who, (unsigned long long)sum,
                            (unsigned long long)expected);
}

static void report(struct bench_result *r, int64_t ns)
{
        bench_add(r, (double)ns / 1e3 / repeats);
}

/* ---------------------------------------------------------------- plain */

/* Through a pointer that the compiler does not know: a call of a body, as in the loops. */
static uint64_t (*volatile fold_pointer)(size_t begin, size_t end) = fold;

static void plain(const struct bench_contestant *c, struct bench_result *r)
{
        int64_t start = bench_now_ns();
        uint64_t sum = 0;

        for (unsigned i = 0; i < repeats; i++)
                sum = fold_pointer(0, count);
        report(r, bench_now_ns() - start);
        check(c->name, sum);
}

/* ---------------------------------------------------------------- skua_for */

static struct {
        _Alignas(128) uint64_t sum;
} by_worker[WORKERS_MAX];

static void for_body(struct skua_worker *self, size_t begin, size_t end, void *arg)
{
        (void)arg;
        by_worker[skua_worker_index(self)].sum += fold(begin, end);
}

struct call {
        const size_t *grain;
        int64_t ns;
        uint64_t sum;
        int error;
};

static void call_for(struct skua_worker *self, void *arg)
{
        struct call *c = arg;
        int64_t start = bench_now_ns();

        for (unsigned i = 0; i < repeats; i++) {
                memset(by_worker, 0, 2 * sizeof by_worker[0]);
                c->error |= skua_for(self, 0, count, *c->grain, for_body, NULL);
        }
        c->ns = bench_now_ns() - start;
        c->sum = by_worker[0].sum + by_worker[1].sum;
}

/* ---------------------------------------------------------------- skua_reduce */

static void reduce_body(struct skua_worker *self, size_t begin, size_t end, void *acc, void *arg)
{
        (void)self;
        (void)arg;
        *(uint64_t *)acc += fold(begin, end);
}

static void reduce_combine(void *acc, const void *other, void *arg)
{
        (void)arg;
        *(uint64_t *)acc += *(const uint64_t *)other;
}

static void call_reduce(struct skua_worker *self, void *arg)
{
        struct skua_reduction reduction = {sizeof(uint64_t), NULL, reduce_body, reduce_combine,
                                           NULL};
        struct call *c = arg;
        int64_t start = bench_now_ns();

        for (unsigned i = 0; i < repeats; i++)
                c->error |= skua_reduce(self, 0, count, *c->grain, &reduction, &c->sum);
        c->ns = bench_now_ns() - start;
}

/* ---------------------------------------------------------------- the questions */

static void in_job(const struct bench_contestant *c, struct bench_result *r,
                   void (*fn)(struct skua_worker *self, void *arg))
{
        struct call call = {.grain = c->what};
        int error = skua_run(runtimes[c->workers - 1], fn, &call);

        if (error != 0 || call.error != 0)
                bench_wrong("%s: error", c->name);
        report(r, call.ns);
        check(c->name, call.sum);
}

static void run_for(const struct bench_contestant *c, struct bench_result *r)
{
        in_job(c, r, call_for);
}

static void run_reduce(const struct bench_contestant *c, struct bench_result *r)
{
        in_job(c, r, call_reduce);
}

static void ask(const char *question, size_t iterations, unsigned times)
{
        static const size_t automatic = 0, thousand = 1000;
        struct bench_contestant list[] = {
                {"plain loop", BENCH_BASELINE, plain, NULL, 0, NULL},
                {"for, 1 worker", BENCH_SKUA, run_for, &automatic, 1, NULL},
                {"for, 2 workers", BENCH_SKUA, run_for, &automatic, 2, NULL},
                {"for, grain 1,000, 1w", BENCH_SKUA, run_for, &thousand, 1, NULL},
                {"for, grain 1,000, 2w", BENCH_SKUA, run_for, &thousand, 2, NULL},
                {"reduce, 1 worker", BENCH_SKUA, run_reduce, &automatic, 1, NULL},
                {"reduce, 2 workers", BENCH_SKUA, run_reduce, &automatic, 2, NULL},
        };
        size_t n = sizeof list / sizeof list[0];

        if (!bench_wanted(question))
                return;
        count = iterations;
        repeats = times;
        expected = fold(0, count);
        bench_measure(question, "us", list, n);
        double base = bench_median(list[0].result);
        for (size_t i = 1; i < n; i++) {
                double ideal = base / list[i].workers;
                bench_note(list[i].result, "%+.1f%% over ideal, speed-up %.2f",
                           (bench_median(list[i].result) / ideal - 1) * 100,
                           base / bench_median(list[i].result));
        }
        bench_print();
}

int main(int argc, char **argv)
{
        bench_begin(argc, argv, "what do skua_for and skua_reduce cost over a plain loop?");
        for (unsigned i = 0; i < 2; i++)
                runtimes[i] = engine_start_skua(i + 1);
        ask("10^8 iterations", bench.quick ? 3000000 : 100000000, 1);
        ask("1,000 iterations", SMALL, SMALL_REPEATS);
        for (unsigned i = 0; i < 2; i++)
                skua_stop(runtimes[i], SKUA_DRAIN);
        return bench_end();
}
