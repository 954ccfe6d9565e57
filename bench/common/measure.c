/* SPDX-License-Identifier: MIT
 *
 * Options, turns, and samples. The output is in table.c.
 */
#include "table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct bench_options bench = {.rounds = 5};

static struct bench_result rows[ROWS_MAX];
static size_t row_count, printed_count;
static bool wrong;
static bool warming; /* samples are dropped */

/* ---------------------------------------------------------------- samples */

static void samples_add(struct samples *s, double value)
{
        if (s->count == s->capacity) {
                s->capacity = s->capacity ? 2 * s->capacity : 16;
                s->values = realloc(s->values, s->capacity * sizeof *s->values);
                if (s->values == NULL)
                        abort();
        }
        s->values[s->count++] = value;
        s->sorted = false;
}

static int compare(const void *a, const void *b)
{
        double x = *(const double *)a, y = *(const double *)b;

        return (x > y) - (x < y);
}

double samples_quantile(struct samples *s, double q)
{
        if (s->count == 0)
                return 0;
        if (!s->sorted)
                qsort(s->values, s->count, sizeof *s->values, compare);
        s->sorted = true;
        if (q == 0.5 && s->count % 2 == 0)
                return (s->values[s->count / 2 - 1] + s->values[s->count / 2]) / 2;
        size_t index = (size_t)(q * (double)s->count);
        return s->values[index < s->count ? index : s->count - 1];
}

void bench_add(struct bench_result *r, double value)
{
        if (!warming)
                samples_add(&r->main, value);
}

void bench_extra(struct bench_result *r, const char *unit, double value)
{
        r->extra_unit = unit;
        if (!warming)
                samples_add(&r->extra, value);
}

void bench_note(struct bench_result *r, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vsnprintf(r->note, sizeof r->note, format, args);
        va_end(args);
}

double bench_median(const struct bench_result *r)
{
        return samples_quantile((struct samples *)&r->main, 0.5);
}

double bench_p99(const struct bench_result *r)
{
        return samples_quantile((struct samples *)&r->main, 0.99);
}

double bench_extra_median(const struct bench_result *r)
{
        return samples_quantile((struct samples *)&r->extra, 0.5);
}

/* ---------------------------------------------------------------- questions */

bool bench_wanted(const char *question)
{
        return bench.only == NULL || strstr(question, bench.only) != NULL;
}

struct bench_result *bench_row(const char *question, const char *name, enum bench_side side,
                               const char *unit)
{
        if (row_count == ROWS_MAX) {
                fprintf(stderr, "bench: more than %d rows\n", ROWS_MAX);
                exit(1);
        }
        struct bench_result *r = &rows[row_count++];
        snprintf(r->question, sizeof r->question, "%s", question);
        snprintf(r->name, sizeof r->name, "%s", name);
        r->side = side;
        r->unit = unit;
        return r;
}

void bench_measure(const char *question, const char *unit, struct bench_contestant *list,
                   size_t count)
{
        for (size_t i = 0; i < count; i++)
                list[i].result = bench_row(question, list[i].name, list[i].side, unit);
        warming = !bench.quick;
        for (size_t i = 0; i < count && warming; i++)
                list[i].measure(&list[i], list[i].result);
        warming = false;
        for (unsigned round = 0; round < bench.rounds; round++)
                for (size_t i = 0; i < count; i++)
                        list[i].measure(&list[i], list[i].result);
}

void bench_print(void)
{
        if (row_count > printed_count)
                table_print(&rows[printed_count], row_count - printed_count);
        printed_count = row_count;
}

void bench_remark(const char *format, ...)
{
        va_list args;

        printf("  ");
        va_start(args, format);
        vprintf(format, args);
        va_end(args);
        printf("\n");
}

void bench_wrong(const char *format, ...)
{
        va_list args;

        fprintf(stderr, "WRONG: ");
        va_start(args, format);
        vfprintf(stderr, format, args);
        va_end(args);
        fprintf(stderr, "\n");
        wrong = true;
}

/* ---------------------------------------------------------------- the program */

static void usage_exit(const char *program)
{
        fprintf(stderr,
                "usage: %s [-n rounds] [-p] [-q] [-t text]\n"
                "  -n  measured turns of each contestant (default 5)\n"
                "  -p  SKUA_PIN; the baselines' threads are bound in the same way\n"
                "  -q  quick: small inputs, no warm-up, two turns\n"
                "  -t  only questions that contain this text\n",
                program);
        exit(2);
}

void bench_begin(int argc, char **argv, const char *question)
{
        unsigned rounds = 0;
        int option;

        while ((option = getopt(argc, argv, "n:pqt:")) != -1) {
                if (option == 'n' && atoi(optarg) > 0)
                        rounds = (unsigned)atoi(optarg);
                else if (option == 'p')
                        bench.pin = true;
                else if (option == 'q')
                        bench.quick = true;
                else if (option == 't')
                        bench.only = optarg;
                else
                        usage_exit(argv[0]);
        }
        bench.rounds = rounds ? rounds : bench.quick ? 2 : 5;
        setvbuf(stdout, NULL, _IOLBF, 0);
        table_begin(argv[0], question);
}

int bench_end(void)
{
        bench_print();
        table_end();
        return wrong ? 1 : 0;
}
