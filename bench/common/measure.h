/* SPDX-License-Identifier: MIT
 *
 * What every benchmark needs: the options, the clock, samples with median and p99, and one form of
 * output. A program asks questions; a question has contestants, which are measured in turns
 * (A B C A B C ...) in the same process, so that drift of the machine hits all of them alike.
 *
 *   bench_begin(argc, argv, "what the program asks");
 *   bench_measure("question", "unit", contestants, count);   any number of times
 *   bench_print();
 *   return bench_end();
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* From the command line: -n rounds, -q, -p, -t text. */
struct bench_options {
        unsigned rounds;  /* measured turns of each contestant; at least 5 unless -q */
        bool quick;       /* smaller inputs, no warm-up turn: does it work? */
        bool pin;         /* SKUA_PIN, and the baselines' threads bound in the same way */
        const char *only; /* run only the questions that contain this text */
};
extern struct bench_options bench;

enum bench_side { BENCH_BASELINE, BENCH_SKUA };

/* The samples of one contestant on one question, and optionally of a second quantity. */
struct bench_result;
void bench_add(struct bench_result *r, double value);
void bench_extra(struct bench_result *r, const char *unit, double value);
void bench_note(struct bench_result *r, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
double bench_median(const struct bench_result *r);
double bench_p99(const struct bench_result *r);
double bench_extra_median(const struct bench_result *r);

struct bench_contestant {
        const char *name;
        enum bench_side side;
        void (*measure)(const struct bench_contestant *self, struct bench_result *r);
        const void *what;            /* for measure */
        unsigned workers;            /* for measure */
        struct bench_result *result; /* set by bench_measure() */
};

/* Prints the machine and the settings. Exits on a wrong option. */
void bench_begin(int argc, char **argv, const char *question);
bool bench_wanted(const char *question);

/* Calls each contestant's measure() once for warming up, then in turns, `rounds` times each. */
void bench_measure(const char *question, const char *unit, struct bench_contestant *list,
                   size_t count);

/* A row that is computed from others instead of measured in turns. */
struct bench_result *bench_row(const char *question, const char *name, enum bench_side side,
                               const char *unit);

void bench_print(void); /* the rows since the last call; JSON lines to $SKUA_BENCH_JSON */
void bench_remark(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A wrong result: printed at once, and the program's exit status will be 1. */
void bench_wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));
int bench_end(void);

/* ---------------------------------------------------------------- time and usage */

int64_t bench_now_ns(void);
void bench_sleep_ns(int64_t ns);
void bench_spin_ns(int64_t ns); /* burns the time */
void bench_pause(void);         /* about 100 ns that leave the memory bus alone */

struct bench_usage {
        int64_t cpu_ns;
        int64_t voluntary;   /* context switches: went to sleep */
        int64_t involuntary; /* context switches: preempted */
};
struct bench_usage bench_usage_process(void);
struct bench_usage bench_usage_thread(void); /* the calling thread */

/* Voluntary context switches of all other threads since the caller took these two. */
int64_t bench_switches_of_others(const struct bench_usage *process,
                                 const struct bench_usage *thread);

unsigned bench_cpus(void);
void bench_pin_thread(unsigned index); /* to the index-th CPU that the process may use */

/* Touched memory on huge pages where the kernel gives them; never freed. */
void *bench_memory(size_t bytes);

#endif
