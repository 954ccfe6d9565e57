/* SPDX-License-Identifier: MIT
 *
 * The computations of benchmark `fork` with a fork wherever the plain recursion calls itself, down
 * to the leaves: no cut-off by hand. Jobs lie on the stack of who forks and are not zeroed.
 */
#include "work.h"

#include <string.h>

/* ---------------------------------------------------------------- fib */

struct fib {
        struct skua_job job;
        int n;
        long value;
};

static long fib(struct skua_worker *self, int n);

static void fib_stolen(struct skua_worker *self, struct skua_job *job)
{
        struct fib *f = skua_container(job, struct fib, job);

        f->value = fib(self, f->n);
}

static long fib(struct skua_worker *self, int n)
{
        struct fib f;

        if (n < 2)
                return n;
        f.n = n - 2;
        skua_fork(self, &f.job, fib_stolen);
        long a = fib(self, n - 1);
        long b = skua_join(self, &f.job) ? fib(self, n - 2) : f.value;
        return a + b;
}

long fib_forked(struct skua_worker *self, int size)
{
        return fib(self, size);
}

/* ---------------------------------------------------------------- n queens */

struct queens {
        struct skua_job job;
        signed char column[QUEENS_MAX];
        int rows, size;
        long solutions;
};

static long nqueens(struct skua_worker *self, const signed char *column, int rows, int size);

static void queens_stolen(struct skua_worker *self, struct skua_job *job)
{
        struct queens *q = skua_container(job, struct queens, job);

        q->solutions = nqueens(self, q->column, q->rows, q->size);
}

static long nqueens(struct skua_worker *self, const signed char *column, int rows, int size)
{
        struct queens next[QUEENS_MAX];
        long solutions = 0;
        int forks = 0;

        if (rows == size)
                return 1;
        for (int i = 0; i < size; i++) {
                struct queens *q = &next[forks];
                memcpy(q->column, column, sizeof q->column);
                q->column[rows] = (signed char)i;
                if (!queens_safe(q->column, rows + 1))
                        continue;
                q->rows = rows + 1;
                q->size = size;
                skua_fork(self, &q->job, queens_stolen);
                forks++;
        }
        while (forks-- > 0) {
                struct queens *q = &next[forks];
                solutions += skua_join(self, &q->job) ? nqueens(self, q->column, rows + 1, size)
                                                      : q->solutions;
        }
        return solutions;
}

long nqueens_forked(struct skua_worker *self, int size)
{
        signed char none[QUEENS_MAX] = {0};

        return nqueens(self, none, 0, size);
}

/* ---------------------------------------------------------------- skynet */

struct skynet {
        struct skua_job job;
        long number, leaves, sum;
};

static long skynet(struct skua_worker *self, long number, long leaves);

static void skynet_stolen(struct skua_worker *self, struct skua_job *job)
{
        struct skynet *s = skua_container(job, struct skynet, job);

        s->sum = skynet(self, s->number, s->leaves);
}

static long skynet(struct skua_worker *self, long number, long leaves)
{
        struct skynet child[SKYNET_CHILDREN - 1];

        if (leaves == 1)
                return number;
        leaves /= SKYNET_CHILDREN;
        for (int i = 0; i < SKYNET_CHILDREN - 1; i++) {
                child[i].number = number + i * leaves;
                child[i].leaves = leaves;
                skua_fork(self, &child[i].job, skynet_stolen);
        }
        long sum = skynet(self, number + (SKYNET_CHILDREN - 1) * leaves, leaves);
        for (int i = SKYNET_CHILDREN - 2; i >= 0; i--)
                sum += skua_join(self, &child[i].job) ? skynet(self, number + i * leaves, leaves)
                                                      : child[i].sum;
        return sum;
}

long skynet_forked(struct skua_worker *self, int size)
{
        return skynet(self, 0, skynet_leaves(size));
}

/* ---------------------------------------------------------------- unbalanced tree search */

struct uts {
        struct skua_job job;
        const struct uts_tree *tree;
        const struct uts_node *parent;
        int index;
        long count;
};

static long uts(struct skua_worker *self, const struct uts_tree *t, const struct uts_node *node);

static long uts_nth(struct skua_worker *self, const struct uts_tree *t,
                    const struct uts_node *parent, int index)
{
        struct uts_node node;

        uts_child(parent, index, &node);
        return uts(self, t, &node);
}

static void uts_stolen(struct skua_worker *self, struct skua_job *job)
{
        struct uts *u = skua_container(job, struct uts, job);

        u->count = uts_nth(self, u->tree, u->parent, u->index);
}

static long uts_forks(struct skua_worker *self, const struct uts_tree *t,
                      const struct uts_node *node, int children)
{
        struct uts child[children];
        long count = 1;

        for (int i = 0; i < children; i++) {
                child[i].tree = t;
                child[i].parent = node;
                child[i].index = i;
                skua_fork(self, &child[i].job, uts_stolen);
        }
        for (int i = children - 1; i >= 0; i--)
                count += skua_join(self, &child[i].job) ? uts_nth(self, t, node, i)
                                                        : child[i].count;
        return count;
}

static long uts(struct skua_worker *self, const struct uts_tree *t, const struct uts_node *node)
{
        int children = uts_children(t, node);

        return children == 0 ? 1 : uts_forks(self, t, node, children);
}

long uts_forked(struct skua_worker *self, int size)
{
        struct uts_node root;

        uts_root(uts_tree(size), &root);
        return uts(self, uts_tree(size), &root);
}

/* ---------------------------------------------------------------- matrix multiplication */

struct product {
        struct skua_job job;
        double *c, *a, *b;
        int size;
};

static void matmul(struct skua_worker *self, const struct product *p);

static void matmul_stolen(struct skua_worker *self, struct skua_job *job)
{
        matmul(self, skua_container(job, struct product, job));
}

/* c += a b: four independent products, and when they are done four more. */
static void matmul(struct skua_worker *self, const struct product *p)
{
        struct product part[4];
        int half = p->size / 2;

        if (p->size == MATMUL_LEAF) {
                matmul_leaf(p->c, p->a, p->b);
                return;
        }
        for (int k = 0; k < 2; k++) {
                for (int i = 0; i < 4; i++) {
                        part[i].c = matmul_part(p->c, half, i / 2, i % 2);
                        part[i].a = matmul_part(p->a, half, i / 2, k);
                        part[i].b = matmul_part(p->b, half, k, i % 2);
                        part[i].size = half;
                        if (i < 3)
                                skua_fork(self, &part[i].job, matmul_stolen);
                }
                matmul(self, &part[3]);
                for (int i = 2; i >= 0; i--)
                        if (skua_join(self, &part[i].job))
                                matmul(self, &part[i]);
        }
}

long matmul_forked(struct skua_worker *self, int size)
{
        const struct matmul *m = matmul_matrices();
        struct product all;

        all.c = m->c;
        all.a = m->a;
        all.b = m->b;
        all.size = size;
        matmul(self, &all);
        return size;
}
