/* SPDX-License-Identifier: MIT
 *
 * Contestant: oneTBB. Two arenas over the same threads: in one, all slots are for workers and jobs
 * are enqueued from outside; in the other the caller takes part, as it does in every algorithm of
 * TBB's. Computations fork by parallel_invoke() where the number of branches is known, else by
 * task_group.
 */
/* link: -ltbb */
#include "peer.h"

#include <skua.h>

extern "C" {
#include "work.h"
}

#include <tbb/global_control.h>
#include <tbb/parallel_invoke.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>
#include <tbb/version.h>

#include <cstring>
#include <future>
#include <new>

namespace
{

struct pool {
        tbb::task_scheduler_handle handle;
        tbb::global_control *threads; /* the workers, and the caller */
        tbb::task_arena *jobs, *forks;
};

} // namespace

static void *start(unsigned workers)
{
        auto *p = new pool;
        int n = static_cast<int>(workers);

        p->handle = tbb::task_scheduler_handle(tbb::attach());
        p->threads = new tbb::global_control(tbb::global_control::max_allowed_parallelism, n + 1);
        p->jobs = new tbb::task_arena(n, 0);
        p->forks = new tbb::task_arena(n, 1);
        return p;
}

/* Not before finalize() has returned are the threads gone. */
static void stop(void *handle)
{
        auto *p = static_cast<pool *>(handle);

        delete p->jobs;
        delete p->forks;
        delete p->threads;
        tbb::finalize(p->handle);
        delete p;
}

/* ---------------------------------------------------------------- jobs */

static void submit(void *handle, peer_job *jobs, size_t count)
{
        auto *p = static_cast<pool *>(handle);

        for (size_t i = 0; i < count; i++)
                p->jobs->enqueue([job = &jobs[i]] { job->run(job); });
}

static void spawn(void *, peer_job *jobs, size_t count)
{
        tbb::task_group group;

        for (size_t i = 0; i < count; i++)
                group.run([job = &jobs[i]] { job->run(job); });
        group.wait();
}

static void run(void *handle)
{
        auto *p = static_cast<pool *>(handle);
        std::promise<void> done;

        p->jobs->enqueue([&done] { done.set_value(); });
        done.get_future().wait();
}

/* ---------------------------------------------------------------- fork and join */

static long fib(int n)
{
        long a, b;

        if (n < 2)
                return n;
        tbb::parallel_invoke([&] { a = fib(n - 1); }, [&] { b = fib(n - 2); });
        return a + b;
}

static long run_fib(void *handle, int size)
{
        return static_cast<pool *>(handle)->forks->execute([=] { return fib(size); });
}

struct queens {
        signed char column[QUEENS_MAX];
        long solutions;
};

static long nqueens(const signed char *column, int rows, int size)
{
        queens next[QUEENS_MAX];
        long solutions = 0;
        int count = 0;

        if (rows == size)
                return 1;
        tbb::task_group group;
        for (int i = 0; i < size; i++) {
                queens *q = &next[count];
                memcpy(q->column, column, sizeof q->column);
                q->column[rows] = static_cast<signed char>(i);
                if (!queens_safe(q->column, rows + 1))
                        continue;
                count++;
                group.run([=] { q->solutions = nqueens(q->column, rows + 1, size); });
        }
        group.wait();
        for (int i = 0; i < count; i++)
                solutions += next[i].solutions;
        return solutions;
}

static long run_nqueens(void *handle, int size)
{
        static const signed char none[QUEENS_MAX] = {};

        return static_cast<pool *>(handle)->forks->execute([=] { return nqueens(none, 0, size); });
}

static long skynet(long number, long leaves)
{
        long sums[SKYNET_CHILDREN], sum = 0;

        if (leaves == 1)
                return number;
        leaves /= SKYNET_CHILDREN;
        tbb::task_group group;
        for (int i = 0; i < SKYNET_CHILDREN - 1; i++)
                group.run([=, &sums] { sums[i] = skynet(number + i * leaves, leaves); });
        sums[SKYNET_CHILDREN - 1] = skynet(number + (SKYNET_CHILDREN - 1) * leaves, leaves);
        group.wait();
        for (long part : sums)
                sum += part;
        return sum;
}

static long run_skynet(void *handle, int size)
{
        return static_cast<pool *>(handle)->forks->execute(
                [=] { return skynet(0, skynet_leaves(size)); });
}

static long uts(const struct uts_tree *t, const uts_node *node);

static long uts_nth(const struct uts_tree *t, const uts_node *parent, int index)
{
        uts_node node;

        uts_child(parent, index, &node);
        return uts(t, &node);
}

static long uts_forks(const struct uts_tree *t, const uts_node *node, int children)
{
        auto *counts = static_cast<long *>(__builtin_alloca(sizeof(long) * children));
        long count = 1;
        tbb::task_group group;

        for (int i = 0; i < children; i++)
                group.run([=] { counts[i] = uts_nth(t, node, i); });
        group.wait();
        for (int i = 0; i < children; i++)
                count += counts[i];
        return count;
}

static long uts(const struct uts_tree *t, const struct uts_node *node)
{
        int children = uts_children(t, node);

        return children == 0 ? 1 : uts_forks(t, node, children);
}

static long run_uts(void *handle, int size)
{
        uts_node root;

        uts_root(uts_tree(size), &root);
        return static_cast<pool *>(handle)->forks->execute(
                [&] { return uts(uts_tree(size), &root); });
}

static void matmul(double *c, double *a, double *b, int size)
{
        int half = size / 2;

        if (size == MATMUL_LEAF) {
                matmul_leaf(c, a, b);
                return;
        }
        for (int k = 0; k < 2; k++) {
                auto part = [=](int row, int column) {
                        matmul(matmul_part(c, half, row, column), matmul_part(a, half, row, k),
                               matmul_part(b, half, k, column), half);
                };
                tbb::parallel_invoke([=] { part(0, 0); }, [=] { part(0, 1); }, [=] { part(1, 0); },
                                     [=] { part(1, 1); });
        }
}

static long run_matmul(void *handle, int size)
{
        const struct matmul *m = matmul_matrices();

        static_cast<pool *>(handle)->forks->execute([=] { matmul(m->c, m->a, m->b, size); });
        return size;
}

int main(int argc, char **argv)
{
        peer contestant = {};

        contestant.name = "oneTBB";
        contestant.version = TBB_VERSION_STRING;
        contestant.start = start;
        contestant.stop = stop;
        contestant.submit = submit;
        contestant.spawn = spawn;
        contestant.run = run;
        contestant.work[PEER_FIB] = run_fib;
        contestant.work[PEER_NQUEENS] = run_nqueens;
        contestant.work[PEER_SKYNET] = run_skynet;
        contestant.work[PEER_UTS] = run_uts;
        contestant.work[PEER_MATMUL] = run_matmul;
        contestant.fib_size = 34;
        contestant.slower = 2;

        return peer_main(&contestant, argc, argv);
}
