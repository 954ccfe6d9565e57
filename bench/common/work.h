/* SPDX-License-Identifier: MIT
 *
 * The computations of benchmark `fork`, in three forms that share what is below: plain recursion
 * compiled at -O2 and at -O3 (baseline/recursion_body.h), and forks and joins (forked.c). Each
 * takes one size and returns a number that is checked.
 */
#ifndef BENCH_WORK_H
#define BENCH_WORK_H

#include <skua.h>

typedef long work_serial_fn(int size);
typedef long work_forked_fn(struct skua_worker *self, int size);

work_serial_fn fib_o2, nqueens_o2, skynet_o2, uts_o2, matmul_o2;
work_serial_fn fib_o3, nqueens_o3, skynet_o3, uts_o3, matmul_o3;
work_forked_fn fib_forked, nqueens_forked, skynet_forked, uts_forked, matmul_forked;

/* ---------------------------------------------------------------- n queens */

enum { QUEENS_MAX = 16 };

/* May the last of `rows` queens stand where it stands? */
static inline bool queens_safe(const signed char *column, int rows)
{
        int last = column[rows - 1];

        for (int i = 0; i < rows - 1; i++) {
                int distance = last - column[i];
                int away = rows - 1 - i;
                if (distance == 0 || distance == away || distance == -away)
                        return false;
        }
        return true;
}

/* ---------------------------------------------------------------- skynet */

enum { SKYNET_CHILDREN = 10 };

static inline long skynet_leaves(int digits)
{
        long n = 1;

        while (digits-- > 0)
                n *= SKYNET_CHILDREN;
        return n;
}

/* ---------------------------------------------------------------- unbalanced tree search */

/* After Olivier et al., "UTS: An Unbalanced Tree Search Benchmark" (LCPC 2006). A node is a SHA-1
 * digest; child i is the digest of the parent's and i; the digest decides how many children. */
struct uts_node {
        uint8_t state[20];
        int depth;
};

struct uts_tree {
        bool binomial; /* else geometric with a fixed shape */
        double b0;     /* children of the root, or expected children of every node */
        int depth_max; /* geometric */
        int m;         /* binomial: m children with probability q, else none */
        double q;
        uint32_t seed;
};

enum { UTS_SMALL = 0, UTS_T1 = 1, UTS_T3 = 3, UTS_T3L = 4 };
const struct uts_tree *uts_tree(int size);
void uts_root(const struct uts_tree *t, struct uts_node *node);
void uts_child(const struct uts_node *parent, int index, struct uts_node *child);
int uts_children(const struct uts_tree *t, const struct uts_node *node);

/* ---------------------------------------------------------------- matrix multiplication */

/* c += a * b by halves; rows are MATMUL_STRIDE doubles apart, which is odd in cache lines. */
enum { MATMUL_MAX = 1024, MATMUL_STRIDE = MATMUL_MAX + 8, MATMUL_LEAF = 64 };

struct matmul {
        double *a, *b, *c;
};

void matmul_begin(int size); /* inputs filled, c zeroed: not timed */
const struct matmul *matmul_matrices(void);
long matmul_errors(int size); /* rows of c that are wrong */
void matmul_leaf(double *c, const double *a, const double *b);

/* The block of a matrix whose halves are `half` wide. */
static inline double *matmul_part(double *m, int half, int row, int column)
{
        return m + (size_t)row * (size_t)half * MATMUL_STRIDE + (size_t)column * (size_t)half;
}

/* ---------------------------------------------------------------- SHA-1 */

/* Of a message of up to 55 bytes, in one block. */
void sha1_short(const uint8_t *message, unsigned bytes, uint8_t digest[20]);

#endif
