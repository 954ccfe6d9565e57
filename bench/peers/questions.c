/* SPDX-License-Identifier: MIT
 *
 * The program of a contestant: reads the question from the command line, asks, and prints the
 * medians. The questions of one kind each are here: computations by fork and join, idleness,
 * creation; those about jobs are in jobs.c and stream.c.
 */
#include "questions.h"
#include "work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
        WARM_RUNS = 20,
        FIB_FULL = 38,
        FIB_QUICK = 22,
        ROUNDS_MAX = 20, /* of one computation, while ROUNDS_NS lasts */
        CREATIONS = 100
};
#define ROUNDS_NS INT64_C(500000000)

struct question {
        const char *name;
        question_fn *ask;
        unsigned kind;
        bool extra; /* has a second figure */
};

struct computation {
        enum peer_work work;
        int size, size_quick;
        long expected, expected_quick;
};

/* What `kind` means to compute(). */
enum { FIB, NQUEENS, SKYNET, UTS_T1, UTS_T3, MATMUL, COMPUTATIONS };

static const struct computation computations[COMPUTATIONS] = {
        [NQUEENS] = {PEER_NQUEENS, 13, 9, 73712, 352},
        [SKYNET] = {PEER_SKYNET, 6, 4, 499999500000, 49995000},
        [UTS_T1] = {PEER_UTS, 1, 0, 4130071, 16000},
        [UTS_T3] = {PEER_UTS, 3, 0, 4112897, 16000},
        [MATMUL] = {PEER_MATMUL, 1024, 256, 1024, 256},
};

static bool wrong;

/* ---------------------------------------------------------------- for all questions */

_Noreturn void skip(const char *why)
{
        printf("skip: %s\n", why ? why : "no reason given");
        exit(77);
}

void need_submit(const struct asked *a)
{
        if (a->peer->submit == NULL)
                skip(a->peer->no_submit);
}

void *begin_pool(const struct asked *a)
{
        void *pool = a->peer->start(a->workers);

        for (int i = 0; i < WARM_RUNS; i++)
                a->peer->run(pool);
        return pool;
}

size_t how_many(const struct asked *a, size_t full)
{
        return (bench.quick ? full / 10 : full) / (a->peer->slower ? a->peer->slower : 1);
}

void expect(const char *what, long value, long expected)
{
        if (value == expected)
                return;
        fprintf(stderr, "WRONG: %s: %ld, not %ld\n", what, value, expected);
        wrong = true;
}

/* ---------------------------------------------------------------- fork and join */

/* Fibonacci numbers, and how often fib(n) forks: once in each call that is not a leaf. */
static long fib_value(int n)
{
        long a = 0, b = 1;

        while (n-- > 0) {
                long next = a + b;
                a = b;
                b = next;
        }
        return a;
}

static long fib_forks(int n)
{
        return fib_value(n + 1) - 1;
}

static struct computation computation_of(const struct asked *a)
{
        int size = a->peer->fib_size ? a->peer->fib_size : FIB_FULL;

        if (a->kind != FIB)
                return computations[a->kind];
        return (struct computation){PEER_FIB, size, FIB_QUICK, fib_value(size),
                                    fib_value(FIB_QUICK)};
}

/* Returns the time that it took. */
static int64_t compute_once(const struct asked *a, void *pool, const struct computation *c,
                            bool quick)
{
        int size = quick ? c->size_quick : c->size;

        if (c->work == PEER_MATMUL)
                matmul_begin(size);
        int64_t start = bench_now_ns();
        long value = a->peer->work[c->work](pool, size);
        int64_t ns = bench_now_ns() - start;
        expect("result", value, quick ? c->expected_quick : c->expected);
        if (c->work == PEER_MATMUL)
                expect("wrong rows", matmul_errors(size), 0);
        return ns;
}

/* A small run for warming up; then a short computation is repeated, a long one is not. */
static void compute(const struct asked *a)
{
        const struct computation c = computation_of(a);
        int rounds = 0, size = bench.quick ? c.size_quick : c.size;
        double unit_ns = a->kind == FIB ? (double)fib_forks(size) : 1e6;

        if (a->peer->work[c.work] == NULL)
                skip(a->peer->no_work);
        void *pool = begin_pool(a);
        compute_once(a, pool, &c, true);
        int64_t end = bench_now_ns() + (bench.quick ? 0 : ROUNDS_NS);
        do {
                bench_add(a->result, (double)compute_once(a, pool, &c, bench.quick) / unit_ns);
        } while (++rounds < ROUNDS_MAX && bench_now_ns() < end);
        a->peer->stop(pool);
}

/* ---------------------------------------------------------------- idleness */

/* It begins 50 ms after the last job: who still spins by then is not idle. */
static void idle(const struct asked *a)
{
        double seconds = bench.quick ? 0.1 : 1.0;
        void *pool = begin_pool(a);

        bench_sleep_ns(50000000);
        struct bench_usage process = bench_usage_process(), thread = bench_usage_thread();
        bench_sleep_ns((int64_t)(seconds * 1e9));
        double cpu_ns = (double)(bench_usage_process().cpu_ns - process.cpu_ns);
        bench_add(a->result, cpu_ns / 1e3 / seconds);
        bench_extra(a->result, "switches",
                    (double)bench_switches_of_others(&process, &thread) / seconds);
        a->peer->stop(pool);
}

/* ---------------------------------------------------------------- creation */

static void create(const struct asked *a)
{
        unsigned repeats = bench.quick ? CREATIONS / 5 : CREATIONS;

        if (a->peer->no_create != NULL)
                skip(a->peer->no_create);
        for (unsigned i = 0; i < (a->peer->once ? 1 : repeats); i++) {
                int64_t start = bench_now_ns();
                void *pool = a->peer->start(a->workers);
                a->peer->run(pool);
                int64_t running = bench_now_ns();
                bench_sleep_ns(500000);
                int64_t stopping = bench_now_ns();
                a->peer->stop(pool);
                bench_add(a->result, (double)(running - start) / 1e3);
                bench_extra(a->result, "us", (double)(bench_now_ns() - stopping) / 1e3);
        }
}

/* ---------------------------------------------------------------- the program */

static const struct question questions[] = {
        {"fib", compute, FIB, false},
        {"nqueens", compute, NQUEENS, false},
        {"skynet", compute, SKYNET, false},
        {"uts-t1", compute, UTS_T1, false},
        {"uts-t3", compute, UTS_T3, false},
        {"matmul", compute, MATMUL, false},
        {"round-trip", round_trip, 0, false},
        {"wake", wake, 0, true},
        {"burst", burst, 0, true},
        {"million", at_once, 0, true},
        {"producers-1", stream, 1, true},
        {"producers-2", stream, 2, true},
        {"producers-4", stream, 4, true},
        {"inside", inside, 0, true},
        {"job-1ms", computing, 0, false},
        {"idle", idle, 0, true},
        {"create", create, 0, true},
};

enum { QUESTIONS = sizeof questions / sizeof questions[0] };

static const struct question *find(const char *name)
{
        for (unsigned i = 0; i < QUESTIONS; i++)
                if (strcmp(questions[i].name, name) == 0)
                        return &questions[i];
        return NULL;
}

static int usage(const char *program)
{
        fprintf(stderr, "usage: %s QUESTION WORKERS [quick]; questions:", program);
        for (unsigned i = 0; i < QUESTIONS; i++)
                fprintf(stderr, " %s", questions[i].name);
        fprintf(stderr, "\n");
        return 1;
}

static int ask(const struct peer *peer, const struct question *q, unsigned workers)
{
        struct asked a = {.peer = peer, .workers = workers, .kind = q->kind};

        a.result = bench_row(q->name, peer->name, BENCH_BASELINE, "");
        q->ask(&a);
        if (wrong)
                return 1;
        printf("value %.6g\n", bench_median(a.result));
        if (q->extra)
                printf("extra %.6g\n", bench_extra_median(a.result));
        return 0;
}

int peer_main(const struct peer *peer, int argc, char **argv)
{
        if (argc == 1) {
                printf("%s %s\n", peer->name, peer->version);
                return 0;
        }
        const struct question *q = find(argv[1]);
        int workers = argc > 2 ? atoi(argv[2]) : 0;

        if (q == NULL || workers < 1 || argc > 4 || (argc == 4 && strcmp(argv[3], "quick") != 0))
                return usage(argv[0]);
        bench.quick = argc == 4;
        return ask(peer, q, (unsigned)workers);
}
