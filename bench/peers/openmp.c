/* SPDX-License-Identifier: MIT
 *
 * Contestant: OpenMP tasks, built with gcc and its libgomp, and with clang and its libomp. Tasks
 * exist inside a parallel region only, and the thread that opens it is one of its workers: a pool
 * is the number of threads, "submit" is a region in which one thread makes the tasks and that ends
 * when all have run. Where somebody else is to be woken, or several threads submit to one pool,
 * OpenMP has no answer, and the question is not asked.
 */
#include "peer.h"
#include "work.h"

#include <omp.h>
#include <stdio.h>
#include <string.h>

/* Tasks of one thread are calls; more than a million of others' take long. */
enum { FIB_SIZE = 30 };

static unsigned threads_of(void *pool)
{
        return *(unsigned *)pool;
}

/* The threads are made by the first region. */
static void *start(unsigned workers)
{
        static unsigned threads;

        threads = workers;
        omp_set_dynamic(0);
        return &threads;
}

static void stop(void *pool)
{
        (void)pool;
        omp_pause_resource_all(omp_pause_hard);
}

/* ---------------------------------------------------------------- jobs */

static void spawn(void *pool, struct peer_job *jobs, size_t count)
{
        (void)pool;
        for (size_t i = 0; i < count; i++) {
                struct peer_job *job = &jobs[i];
#pragma omp task firstprivate(job)
                job->run(job);
        }
}

static void submit(void *pool, struct peer_job *jobs, size_t count)
{
#pragma omp parallel num_threads(threads_of(pool))
#pragma omp single
        spawn(pool, jobs, count);
}

static void nothing(struct peer_job *job)
{
        (void)job;
}

static void run(void *pool)
{
        struct peer_job job = {.run = nothing};

        submit(pool, &job, 1);
}

/* ---------------------------------------------------------------- fork and join */

static long fib(int n)
{
        long a, b;

        if (n < 2)
                return n;
#pragma omp task shared(b) firstprivate(n)
        b = fib(n - 2);
        a = fib(n - 1);
#pragma omp taskwait
        return a + b;
}

static long run_fib(void *pool, int size)
{
        long value = 0;

#pragma omp parallel num_threads(threads_of(pool))
#pragma omp single
        value = fib(size);
        return value;
}

struct queens {
        signed char column[QUEENS_MAX];
        long solutions;
};

static long nqueens(const signed char *column, int rows, int size)
{
        struct queens next[QUEENS_MAX];
        long solutions = 0;
        int count = 0;

        if (rows == size)
                return 1;
        for (int i = 0; i < size; i++) {
                struct queens *q = &next[count];
                memcpy(q->column, column, sizeof q->column);
                q->column[rows] = (signed char)i;
                if (!queens_safe(q->column, rows + 1))
                        continue;
                count++;
#pragma omp task firstprivate(q, rows, size)
                q->solutions = nqueens(q->column, rows + 1, size);
        }
#pragma omp taskwait
        for (int i = 0; i < count; i++)
                solutions += next[i].solutions;
        return solutions;
}

static long run_nqueens(void *pool, int size)
{
        static const signed char none[QUEENS_MAX];
        long value = 0;

#pragma omp parallel num_threads(threads_of(pool))
#pragma omp single
        value = nqueens(none, 0, size);
        return value;
}

static long skynet(long number, long leaves)
{
        long sums[SKYNET_CHILDREN], sum = 0;

        if (leaves == 1)
                return number;
        leaves /= SKYNET_CHILDREN;
        for (int i = 0; i < SKYNET_CHILDREN; i++) {
#pragma omp task shared(sums) firstprivate(i, number, leaves)
                sums[i] = skynet(number + i * leaves, leaves);
        }
#pragma omp taskwait
        for (int i = 0; i < SKYNET_CHILDREN; i++)
                sum += sums[i];
        return sum;
}

static long run_skynet(void *pool, int size)
{
        long value = 0;

#pragma omp parallel num_threads(threads_of(pool))
#pragma omp single
        value = skynet(0, skynet_leaves(size));
        return value;
}

static long uts(const struct uts_tree *t, const struct uts_node *node);

static long uts_nth(const struct uts_tree *t, const struct uts_node *parent, int index)
{
        struct uts_node node;

        uts_child(parent, index, &node);
        return uts(t, &node);
}

static long uts_forks(const struct uts_tree *t, const struct uts_node *node, int children)
{
        long counts[children], count = 1;
        long *to = counts;

        for (int i = 0; i < children; i++) {
#pragma omp task firstprivate(to, i, t, node)
                to[i] = uts_nth(t, node, i);
        }
#pragma omp taskwait
        for (int i = 0; i < children; i++)
                count += counts[i];
        return count;
}

static long uts(const struct uts_tree *t, const struct uts_node *node)
{
        int children = uts_children(t, node);

        return children == 0 ? 1 : uts_forks(t, node, children);
}

static long run_uts(void *pool, int size)
{
        struct uts_node root;
        long value = 0;

        uts_root(uts_tree(size), &root);
#pragma omp parallel num_threads(threads_of(pool))
#pragma omp single
        value = uts(uts_tree(size), &root);
        return value;
}

static void matmul(double *c, double *a, double *b, int size)
{
        int half = size / 2;

        if (size == MATMUL_LEAF) {
                matmul_leaf(c, a, b);
                return;
        }
        for (int k = 0; k < 2; k++) {
                for (int i = 0; i < 4; i++) {
                        double *to = matmul_part(c, half, i / 2, i % 2);
                        double *left = matmul_part(a, half, i / 2, k);
                        double *right = matmul_part(b, half, k, i % 2);
#pragma omp task firstprivate(to, left, right, half)
                        matmul(to, left, right, half);
                }
#pragma omp taskwait
        }
}

static long run_matmul(void *pool, int size)
{
        const struct matmul *m = matmul_matrices();

#pragma omp parallel num_threads(threads_of(pool))
#pragma omp single
        matmul(m->c, m->a, m->b, size);
        return size;
}

/* ---------------------------------------------------------------- the program */

#ifdef __clang__
#define COMPILER "clang"
#define VERSION  __clang_version__
#else
#define COMPILER "gcc"
#define VERSION  __VERSION__
#endif

static const char *const no_answer[][2] = {
        {"round-trip", "a region takes its caller as a worker: nothing is handed over"},
        {"wake", "a region takes its caller as a worker: nobody need be woken"},
        {"producers-1", "a region ends with its tasks: no stream"},
        {"producers-2", "each thread that opens regions has threads of its own"},
        {"producers-4", "each thread that opens regions has threads of its own"},
};

int main(int argc, char **argv)
{
        struct peer openmp = {
                .name = "openmp-" COMPILER,
                .version = VERSION,
                .start = start,
                .stop = stop,
                .submit = submit,
                .spawn = spawn,
                .run = run,
                .work = {run_fib, run_nqueens, run_skynet, run_uts, run_matmul},
                .fib_size = FIB_SIZE,
                .slower = 4,
        };

        for (size_t i = 0; argc > 1 && i < sizeof no_answer / sizeof no_answer[0]; i++)
                if (strcmp(argv[1], no_answer[i][0]) == 0) {
                        openmp.submit = NULL;
                        openmp.no_submit = no_answer[i][1];
                }
        return peer_main(&openmp, argc, argv);
}
