/* SPDX-License-Identifier: MIT
 *
 * The leaf of the matrix multiplication, its inputs and its check. All contestants call this leaf;
 * vectors of two doubles are what every processor has.
 */
#include "measure.h"
#include "work.h"

#include <string.h>

typedef double vec __attribute__((vector_size(16), aligned(8), may_alias));

enum { LANES = 2, ROWS = 4, VECS = 2 };

/* Four rows by four columns of c stay in registers. */
static inline void tile(double *c, const double *a, const double *b)
{
        vec sum[ROWS][VECS];

        for (int r = 0; r < ROWS; r++)
                for (int v = 0; v < VECS; v++)
                        sum[r][v] = *(vec *)(c + r * MATMUL_STRIDE + v * LANES);
        for (int k = 0; k < MATMUL_LEAF; k++) {
                const double *row = b + k * MATMUL_STRIDE;
                for (int r = 0; r < ROWS; r++)
                        for (int v = 0; v < VECS; v++)
                                sum[r][v] += a[r * MATMUL_STRIDE + k] *
                                             *(const vec *)(row + v * LANES);
        }
        for (int r = 0; r < ROWS; r++)
                for (int v = 0; v < VECS; v++)
                        *(vec *)(c + r * MATMUL_STRIDE + v * LANES) = sum[r][v];
}

void matmul_leaf(double *c, const double *a, const double *b)
{
        for (int j = 0; j < MATMUL_LEAF; j += VECS * LANES)
                for (int i = 0; i < MATMUL_LEAF; i += ROWS)
                        tile(c + i * MATMUL_STRIDE + j, a + i * MATMUL_STRIDE, b + j);
}

/* Small whole numbers: every sum is exact, whatever its order. */
static double input(int row, int column, int salt)
{
        return (double)((row * 7 + column * 13 + salt * 5) % 17 - 8);
}

static struct matmul matrices;

void matmul_begin(int size)
{
        size_t bytes = sizeof(double) * MATMUL_MAX * MATMUL_STRIDE;

        if (matrices.a == NULL) {
                matrices.a = bench_memory(bytes);
                matrices.b = bench_memory(bytes);
                matrices.c = bench_memory(bytes);
                for (int i = 0; i < MATMUL_MAX; i++)
                        for (int j = 0; j < MATMUL_MAX; j++) {
                                matrices.a[i * MATMUL_STRIDE + j] = input(i, j, 1);
                                matrices.b[i * MATMUL_STRIDE + j] = input(i, j, 2);
                        }
        }
        for (int i = 0; i < size; i++)
                memset(matrices.c + (size_t)i * MATMUL_STRIDE, 0, sizeof(double) * (size_t)size);
}

const struct matmul *matmul_matrices(void)
{
        return &matrices;
}

static void times_vector(const double *m, const double *x, double *y, int size)
{
        for (int i = 0; i < size; i++) {
                y[i] = 0;
                for (int j = 0; j < size; j++)
                        y[i] += m[i * MATMUL_STRIDE + j] * x[j];
        }
}

/* Freivalds: c x must be a (b x). */
long matmul_errors(int size)
{
        static double x[MATMUL_MAX], bx[MATMUL_MAX], abx[MATMUL_MAX], cx[MATMUL_MAX];
        long errors = 0;

        for (int i = 0; i < size; i++)
                x[i] = (double)(i * 31 % 23 - 11);
        times_vector(matrices.b, x, bx, size);
        times_vector(matrices.a, bx, abx, size);
        times_vector(matrices.c, x, cx, size);
        for (int i = 0; i < size; i++)
                errors += cx[i] != abx[i];
        return errors;
}
