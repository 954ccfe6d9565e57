/* SPDX-License-Identifier: MIT
 *
 * The one form in which all benchmarks print: the machine, the settings, then a row for each
 * contestant with median, tail, unit, and for Skua the ratio to the best baseline of the same
 * question and unit (below 1: Skua is better). The tail is the 99th percentile, or the maximum if
 * there are fewer than 100 samples. The same rows go as JSON lines to the end of the file that
 * SKUA_BENCH_JSON names.
 */
#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

static FILE *json;
static const char *program_name;

static void cpu_model(char *model, size_t size)
{
        FILE *f = fopen("/proc/cpuinfo", "r");
        char line[256];

        snprintf(model, size, "unknown");
        if (f == NULL)
                return;
        while (fgets(line, sizeof line, f) != NULL) {
                char *colon = strchr(line, ':');
                if (colon != NULL && strncmp(line, "model name", 10) == 0) {
                        snprintf(model, size, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
                        break;
                }
        }
        fclose(f);
}

/* Strings from the system and from the programs: only quotes and backslashes need care. */
static void json_string(const char *key, const char *value, const char *end)
{
        fprintf(json, "\"%s\":\"", key);
        for (; *value != '\0'; value++)
                if ((unsigned char)*value >= ' ')
                        fprintf(json, *value == '"' || *value == '\\' ? "\\%c" : "%c", *value);
        fprintf(json, "\"%s", end);
}

static const char *compiler(void)
{
        static char text[96];
#ifdef __clang__
        snprintf(text, sizeof text, "%s", __VERSION__);
#else
        snprintf(text, sizeof text, "gcc %s", __VERSION__);
#endif
        return text;
}

/* Time of all CPUs since boot, in ticks: the total, and what of it was not idle. */
static bool cpu_ticks(double *total, double *busy)
{
        double user, nice, system, idle, iowait;
        FILE *f = fopen("/proc/stat", "r");

        if (f == NULL)
                return false;
        bool read = fscanf(f, "cpu %lf %lf %lf %lf %lf", &user, &nice, &system, &idle, &iowait) ==
                    5;
        fclose(f);
        *busy = user + nice + system;
        *total = *busy + idle + iowait;
        return read;
}

/* How busy others keep the machine before anything is measured, in percent. */
static double others_busy(void)
{
        double total, busy, total_after, busy_after;

        if (!cpu_ticks(&total, &busy))
                return 0;
        bench_sleep_ns(200000000);
        if (!cpu_ticks(&total_after, &busy_after) || total_after <= total)
                return 0;
        return (busy_after - busy) / (total_after - total) * 100;
}

static void json_begin(const char *question, const char *model, const struct utsname *system,
                       double others)
{
        const char *path = getenv("SKUA_BENCH_JSON");

        if (path == NULL || *path == '\0')
                return;
        json = fopen(path, "a");
        if (json == NULL) {
                perror(path);
                exit(1);
        }
        fputs("{", json);
        json_string("program", program_name, ",");
        json_string("asks", question, ",");
        json_string("cpu", model, ",");
        fprintf(json, "\"cpus\":%u,", bench_cpus());
        json_string("kernel", system->release, ",");
        json_string("machine", system->machine, ",");
        json_string("compiler", compiler(), ",");
        fprintf(json, "\"pin\":%s,\"quick\":%s,\"rounds\":%u,\"others_busy_percent\":%.0f}\n",
                bench.pin ? "true" : "false", bench.quick ? "true" : "false", bench.rounds, others);
}

void table_begin(const char *program, const char *question)
{
        const char *slash = strrchr(program, '/');
        struct utsname system;
        char model[128];

        program_name = slash != NULL ? slash + 1 : program;
        uname(&system);
        cpu_model(model, sizeof model);
        printf("# %s: %s\n", program_name, question);
        printf("# machine   %s, %u CPUs, %s, Linux %s\n", model, bench_cpus(), system.machine,
               system.release);
        printf("# compiler  %s\n", compiler());
        printf("# settings  SKUA_PIN %s, %u turns%s\n", bench.pin ? "yes" : "no", bench.rounds,
               bench.quick ? ", quick: small inputs, the figures mean little" : "");
        double others = others_busy();
        printf("# others    %.0f%% of the CPUs were busy before the start%s\n", others,
               others > 5 ? ": NOT QUIET, the figures are disturbed" : "");
        json_begin(question, model, &system, others);
}

/* The best median of a baseline of the same question and unit, 0 if there is none. */
static double best_baseline(struct bench_result *rows, size_t count, const struct bench_result *of)
{
        double best = 0;

        for (size_t i = 0; i < count; i++) {
                struct bench_result *r = &rows[i];
                if (r->side != BENCH_BASELINE || r->main.count == 0 ||
                    strcmp(r->question, of->question) != 0 || strcmp(r->unit, of->unit) != 0)
                        continue;
                double median = samples_quantile(&r->main, 0.5);
                if (best == 0 || median < best)
                        best = median;
        }
        return best;
}

static const char *number(char *text, size_t size, double value)
{
        double magnitude = value < 0 ? -value : value;

        snprintf(text, size, "%.*f", magnitude >= 1000 ? 0 : magnitude >= 10 ? 1 : 2, value);
        return text;
}

static void print_row(struct bench_result *r, double ratio)
{
        bool few = r->main.count < FEW_SAMPLES;
        char median[32], tail[32], extra[32];

        printf("%-26s %-22s %10s %10s %-3s %-8s", r->question, r->name,
               number(median, sizeof median, samples_quantile(&r->main, 0.5)),
               number(tail, sizeof tail, samples_quantile(&r->main, few ? 1 : 0.99)),
               few ? "max" : "p99", r->unit);
        if (ratio > 0)
                printf(" %6.2f", ratio);
        else
                printf(" %6s", r->side == BENCH_SKUA ? "-" : "");
        if (r->extra_unit != NULL)
                printf("  %s %s", number(extra, sizeof extra, samples_quantile(&r->extra, 0.5)),
                       r->extra_unit);
        printf("%s%s\n", r->note[0] ? "  " : "", r->note);
}

static void json_row(struct bench_result *r, double ratio)
{
        if (json == NULL)
                return;
        fputs("{", json);
        json_string("program", program_name, ",");
        json_string("question", r->question, ",");
        json_string("name", r->name, ",");
        json_string("side", r->side == BENCH_SKUA ? "skua" : "baseline", ",");
        json_string("unit", r->unit, ",");
        fprintf(json, "\"samples\":%zu,\"median\":%.6g,\"p99\":%.6g,\"max\":%.6g", r->main.count,
                samples_quantile(&r->main, 0.5), samples_quantile(&r->main, 0.99),
                samples_quantile(&r->main, 1));
        if (ratio > 0)
                fprintf(json, ",\"ratio\":%.4g", ratio);
        if (r->extra_unit != NULL) {
                fputs(",", json);
                json_string("extra_unit", r->extra_unit, ",");
                fprintf(json, "\"extra\":%.6g", samples_quantile(&r->extra, 0.5));
        }
        if (r->note[0]) {
                fputs(",", json);
                json_string("note", r->note, "");
        }
        fputs("}\n", json);
}

void table_print(struct bench_result *rows, size_t count)
{
        printf("\n%-26s %-22s %10s %10s %-3s %-8s %6s\n", "question", "contestant", "median",
               "tail", "", "unit", "ratio");
        for (size_t i = 0; i < count; i++) {
                struct bench_result *r = &rows[i];
                if (r->main.count == 0)
                        continue;
                double best = r->side == BENCH_SKUA ? best_baseline(rows, count, r) : 0;
                double ratio = best > 0 ? samples_quantile(&r->main, 0.5) / best : 0;
                print_row(r, ratio);
                json_row(r, ratio);
        }
}

void table_end(void)
{
        printf("\n");
        if (json != NULL)
                fclose(json);
}
