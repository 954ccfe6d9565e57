/* SPDX-License-Identifier: MIT
 *
 * Running a scenario on the modelled machine, as often as wished, each time under another schedule
 * and with other values read. A scenario is a function: it runs as the first virtual thread, and
 * starts others. Everything it does must depend on nothing but what it reads, so that a seed names
 * an execution.
 *
 *   search     random; by priorities with one to three changes (PCT, Burckhardt et al., ASPLOS
 *              2010); or exhaustive, depth first, with a bound on preemptions
 *   failure    a check, a race, a use of memory that has gone, no thread that can go on, no end;
 *              the trace of the execution is printed
 */
#ifndef ARCH_MODEL_H
#define ARCH_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MODEL_THREADS = 8 };

enum model_search { MODEL_MIXED, MODEL_RANDOM, MODEL_PCT, MODEL_EXHAUSTIVE };

struct model_scenario {
        const char *name;
        void (*run)(void);
        void (*after)(void); /* after an execution that did not fail, outside of it */
        enum model_search search;
        unsigned preemptions; /* exhaustive: at most so many; 0: no bound */
        unsigned steps_max;   /* more is "no end"; 0: 20,000 */
        unsigned stale;       /* old values shown to each thread; 0: 12 */
        unsigned share;       /* of the time, against other scenarios; 0: 1 */
        bool whimsical;       /* exhaustive: see fence_seq_cst_after_rmw in memory.c */
};

struct model_report {
        uint64_t executions, distinct, steps;
        double seconds;
        bool failed, complete; /* complete: exhaustive search has seen everything */
        uint64_t seed;         /* of the execution that failed */
        char reason[256];
};

struct model_limits {
        uint64_t seed, executions;
        double seconds;
        bool quiet; /* no trace of a failure */
};

void model_explore(const struct model_scenario *scenario, const struct model_limits *limits,
                   struct model_report *report);

/* One execution again, with its trace. */
void model_replay(const struct model_scenario *scenario, uint64_t seed,
                  struct model_report *report);

/* ---- inside a scenario */

unsigned model_thread_start(void (*entry)(void *arg), void *arg); /* its number */
void model_threads_join(unsigned set);                            /* a bit for each number */

/* Ends the execution as a failure if the condition does not hold. */
#define model_check(condition, what) \
        ((condition) ? (void)0 : model_fail("%s (%s:%d)", what, __FILE__, __LINE__))
__attribute__((format(printf, 1, 2))) _Noreturn void model_fail(const char *format, ...);

/* A name for the trace; static text. */
void model_name(const void *address, size_t bytes, const char *name);

/* One of 0 .. count - 1, the search's choice. */
unsigned model_any(unsigned count);

/* Between these the operations are plain accesses and no steps: for preparing memory that nobody
 * else has seen. */
void model_pause(void);
void model_resume(void);

/* ---- the modelled kernel */

int64_t model_now_ns(void);
int model_futex_wait(const void *word, uint32_t expected, int64_t deadline_ns);
void model_futex_wake(const void *word, int count);

/* The handler runs on that thread before its next step; a sleep ends with -EINTR. */
void model_signal(unsigned thread, void (*handler)(int number));

/* Between these the kernel works for the current thread: what it does is one step for the others.
 * It may wake, and may not sleep. */
void model_kernel_enter(void);
void model_kernel_leave(void);

/* The newest value of a word of four bytes, as the kernel reads it for the current thread, whose
 * own loads are no older from then on; with the order of an acquire, or with none. */
uint32_t model_kernel_load(const void *word, bool acquire);

/* Zeroed memory that goes with the execution. */
void *model_memory(size_t bytes);

/* ---- mutants: FILE:LINE:none|acquire|release|acq_rel|relaxed; 0: no such site */
unsigned model_mutate(const char *mutant);
/* All of them, and how often each was a step since the last call. */
void model_sites(void (*each)(const char *file, unsigned line, const char *operation,
                              unsigned order, unsigned long visits));

#endif
