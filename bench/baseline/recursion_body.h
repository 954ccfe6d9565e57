/* SPDX-License-Identifier: MIT
 *
 * The computations of benchmark `fork` as plain recursion, as one would write them without a
 * runtime. Included by recursion_o2.c and recursion_o3.c, which define RECURSION(name) and are
 * compiled at that level; the better of the two is the baseline.
 */
#include "work.h"

#include <string.h>

static long fib(int n)
{
        return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

long RECURSION(fib)(int size)
{
        return fib(size);
}

static long nqueens(const signed char *column, int rows, int size)
{
        signed char next[QUEENS_MAX];
        long solutions = 0;

        if (rows == size)
                return 1;
        memcpy(next, column, sizeof next);
        for (int i = 0; i < size; i++) {
                next[rows] = (signed char)i;
                if (queens_safe(next, rows + 1))
                        solutions += nqueens(next, rows + 1, size);
        }
        return solutions;
}

long RECURSION(nqueens)(int size)
{
        signed char none[QUEENS_MAX] = {0};

        return nqueens(none, 0, size);
}

static long skynet(long number, long leaves)
{
        long sum = 0;

        if (leaves == 1)
                return number;
        leaves /= SKYNET_CHILDREN;
        for (int i = 0; i < SKYNET_CHILDREN; i++)
                sum += skynet(number + i * leaves, leaves);
        return sum;
}

long RECURSION(skynet)(int size)
{
        return skynet(0, skynet_leaves(size));
}

static long uts(const struct uts_tree *t, const struct uts_node *node)
{
        int children = uts_children(t, node);
        long count = 1;

        for (int i = 0; i < children; i++) {
                struct uts_node child;
                uts_child(node, i, &child);
                count += uts(t, &child);
        }
        return count;
}

long RECURSION(uts)(int size)
{
        struct uts_node root;

        uts_root(uts_tree(size), &root);
        return uts(uts_tree(size), &root);
}

static void matmul(double *c, double *a, double *b, int size)
{
        int half = size / 2;

        if (size == MATMUL_LEAF) {
                matmul_leaf(c, a, b);
                return;
        }
        for (int k = 0; k < 2; k++)
                for (int i = 0; i < 2; i++)
                        for (int j = 0; j < 2; j++)
                                matmul(matmul_part(c, half, i, j), matmul_part(a, half, i, k),
                                       matmul_part(b, half, k, j), half);
}

long RECURSION(matmul)(int size)
{
        const struct matmul *m = matmul_matrices();

        matmul(m->c, m->a, m->b, size);
        return size;
}
