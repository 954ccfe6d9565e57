/* SPDX-License-Identifier: MIT
 *
 * The rows as measure.c collects and table.c prints them. Private to the two.
 */
#ifndef BENCH_TABLE_H
#define BENCH_TABLE_H

#include "measure.h"

enum { ROWS_MAX = 512, FEW_SAMPLES = 100 };

struct samples {
        double *values;
        size_t count, capacity;
        bool sorted;
};
double samples_quantile(struct samples *s, double q);

struct bench_result {
        char question[48];
        char name[32];
        enum bench_side side;
        const char *unit;
        const char *extra_unit; /* NULL: no second quantity */
        struct samples main, extra;
        char note[96];
};

void table_begin(const char *program, const char *question);
void table_print(struct bench_result *rows, size_t count);
void table_end(void);

#endif
