/* SPDX-License-Identifier: MIT
 *
 * Executions: one from a seed, many for a search, one again for its trace; and mutants.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "state.h"

enum { STALE = 12, STEPS = 20000, CALIBRATIONS = 16, DISTINCT = 1 << 22, CLOCK_ROUNDS = 64 };

struct model model;

extern struct model_site __start_model_site_list[], __stop_model_site_list[];

/* ------------------------------------------------------------------ one execution */

static uint64_t mix(uint64_t x)
{
        x += 0x9e3779b97f4a7c15u;
        x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
        x = (x ^ x >> 27) * 0x94d049bb133111ebu;
        return x ^ x >> 31;
}

static void run_scenario(void *arg)
{
        const struct model_scenario *scenario = arg;

        scenario->run();
}

/* What kind of execution it is to be. */
static void draw_manner(const struct model_scenario *scenario, uint64_t seed, unsigned length)
{
        static const unsigned stay[] = {1, 3, 7, 31};
        static const int64_t clock_steps_ns[] = {300, 1100, 5000, 30000};
        unsigned stale = scenario->stale ? scenario->stale : STALE;

        model.random = mix(seed) | 1;
        model.search = scenario->search;
        if (model.search == MODEL_EXHAUSTIVE) {
                model_threads[0].stale = model.early = UINT16_MAX;
                model.whims = 0;
                model.clock_step_ns = 30000;
                return;
        }
        if (model.search == MODEL_MIXED)
                model.search = model_draw() >> 20 & 1 ? MODEL_PCT : MODEL_RANDOM;
        model.stay_mask = stay[model_draw() >> 20 & 3] << 8;
        model_threads[0].stale = model_draw() >> 20 & 3 ? stale : 0;
        model.early = (unsigned)(model_draw() >> 20 & 3);
        model.whims = (unsigned)(model_draw() >> 20 & 3);
        model.clock_step_ns = clock_steps_ns[model_draw() >> 20 & 3];
        model.change_count = (unsigned)(model_draw() >> 20 & 3);
        for (unsigned i = 0; i < model.change_count; i++)
                model.changes[i] = 1 + (unsigned)((model_draw() >> 20) % length);
}

static void execute(const struct model_scenario *scenario, uint64_t seed, unsigned length)
{
        model_memory_begin();
        model_plain_begin();
        model.run++;
        model.slots = model.steps = model.idle_rounds = model.threads = 0;
        model.alive = model.ready = model.spinning = model.timed = 0;
        model.lowest = 0;
        model.hash = 0;
        model.now_ns = 1000000;
        model.path_length = model.preemptions = 0;
        model.preemptions_max = scenario->preemptions;
        model.whimsical = scenario->whimsical;
        model.steps_max = scenario->steps_max ? scenario->steps_max : STEPS;
        model.failed = model.in_kernel = false;
        model.home_self = self_get();
        model.home_pool = pool_get();
        draw_manner(scenario, seed, length);
        model.current = NULL;
        model_thread_start(run_scenario, (void *)(uintptr_t)scenario);
        model.current = &model_threads[0];
        self_set(NULL);
        pool_set(NULL);
        model.running = true;
        arch_switch(&model.home, &model_threads[0].context);
        model.running = false;
        if (!model.failed && scenario->after)
                scenario->after();
}

/* ------------------------------------------------------------------ crashes */

static void on_crash(int number)
{
        if (!model.running) {
                signal(number, SIG_DFL);
                raise(number);
                return;
        }
        snprintf(model.reason, sizeof model.reason, "crash: %s", strsignal(number));
        model.failed = true;
        model_leave();
}

static void prepare(void)
{
        static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT};
        static char alternate[64 << 10];
        struct sigaction action = {.sa_handler = on_crash, .sa_flags = SA_NODEFER | SA_ONSTACK};
        stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};

        if (model_threads[0].stack)
                return;
        for (unsigned i = 0; i < MODEL_THREADS; i++) {
                char *low = mmap(NULL, MODEL_STACK_BYTES + 4096, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

                if (low == MAP_FAILED || mprotect(low, 4096, PROT_NONE))
                        abort();
                model_threads[i].stack = low + 4096;
        }
        sigaltstack(&stack, NULL);
        for (unsigned i = 0; i < sizeof crashes / sizeof *crashes; i++)
                sigaction(crashes[i], &action, NULL);
}

/* ------------------------------------------------------------------ a search */

static uint64_t seen[DISTINCT];

/* Is the schedule a new one? */
static bool is_new(uint64_t hash)
{
        unsigned i = (unsigned)(hash >> 40) % DISTINCT;

        hash |= 1;
        for (unsigned tries = 0; tries < 64; tries++, i = (i + 1) % DISTINCT) {
                if (seen[i] == hash)
                        return false;
                if (!seen[i]) {
                        seen[i] = hash;
                        return true;
                }
        }
        return false;
}

/* The next path in order. False: there is none. */
static bool next_path(void)
{
        unsigned n = model.path_length;

        while (n && model.path[n - 1] + 1 == model.path_of[n - 1])
                n--;
        model.path_known = n;
        if (n)
                model.path[n - 1]++;
        return n > 0;
}

/* How long executions are: the same answer each time, so that a seed alone names an execution. */
static unsigned measure(const struct model_scenario *scenario)
{
        struct model_scenario s = *scenario;
        unsigned longest = 16;

        s.search = MODEL_RANDOM;
        for (unsigned i = 0; i < CALIBRATIONS; i++) {
                execute(&s, i, longest);
                if (model.steps > longest)
                        longest = model.steps;
        }
        return longest;
}

static double now_s(void)
{
        struct timespec now;

        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
        return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void again(const struct model_scenario *scenario, uint64_t seed, unsigned length)
{
        char reason[sizeof model.reason];

        memcpy(reason, model.reason, sizeof reason);
        model_trace_begin();
        model.tracing = true;
        execute(scenario, seed, length);
        model.tracing = false;
        printf("# %s, SEED=%llu: %s\n", scenario->name, (unsigned long long)seed,
               model.failed ? model.reason : "passes");
        model_trace_print();
        if (*reason && (!model.failed || strcmp(reason, model.reason)))
                printf("# but the first time: %s\n", reason);
}

void model_explore(const struct model_scenario *scenario, const struct model_limits *limits,
                   struct model_report *report)
{
        bool exhaustive = scenario->search == MODEL_EXHAUSTIVE;
        double begin = now_s();
        unsigned length;

        prepare();
        *report = (struct model_report){0};
        memset(seen, 0, sizeof seen);
        length = exhaustive ? 1 : measure(scenario);
        model.path_known = 0;
        for (uint64_t i = 0; i < limits->executions && !report->complete; i++) {
                uint64_t seed = exhaustive ? i : mix(limits->seed + i) >> 16;

                if (i % CLOCK_ROUNDS == 0 && limits->seconds > 0 &&
                    now_s() - begin > limits->seconds)
                        break;
                execute(scenario, seed, length);
                report->executions++;
                report->steps += model.steps;
                report->distinct += exhaustive || is_new(model.hash);
                if (model.failed) {
                        report->failed = true;
                        report->seed = seed;
                        memcpy(report->reason, model.reason, sizeof report->reason);
                        if (!limits->quiet)
                                again(scenario, seed, length);
                        break;
                }
                report->complete = exhaustive && !next_path();
        }
        report->seconds = now_s() - begin;
}

void model_replay(const struct model_scenario *scenario, uint64_t seed, struct model_report *report)
{
        unsigned length;

        prepare();
        *report = (struct model_report){.executions = 1, .seed = seed};
        length = scenario->search == MODEL_EXHAUSTIVE ? 1 : measure(scenario);
        model.path_known = 0;
        if (scenario->search == MODEL_EXHAUSTIVE)
                for (uint64_t i = 0; i < seed; i++) {
                        execute(scenario, i, length);
                        if (!next_path())
                                break;
                }
        model.reason[0] = 0;
        again(scenario, seed, length);
        report->failed = model.failed;
}

/* ------------------------------------------------------------------ sites */

static unsigned weakened(const struct model_site *site, const char *how, bool *off)
{
        *off = !strcmp(how, "none");
        return !strcmp(how, "acquire")   ? MODEL_ACQUIRE
               : !strcmp(how, "release") ? MODEL_RELEASE
               : !strcmp(how, "acq_rel") ? MODEL_ACQ_REL
               : !strcmp(how, "relaxed") ? 0
                                         : site->full;
}

unsigned model_mutate(const char *mutant)
{
        const char *line = strchr(mutant, ':'), *how = line ? strchr(line + 1, ':') : NULL;
        size_t length = line ? (size_t)(line - mutant) : 0;
        unsigned count = 0;

        for (struct model_site *site = __start_model_site_list; site < __stop_model_site_list;
             site++) {
                bool off = false;

                if (!how || strlen(site->file) != length || memcmp(site->file, mutant, length) ||
                    site->line != (unsigned)atoi(line + 1))
                        continue;
                site->order = (unsigned char)weakened(site, how + 1, &off);
                site->off = off;
                count++;
        }
        return count;
}

void model_sites(void (*each)(const char *file, unsigned line, const char *operation,
                              unsigned order, unsigned long visits))
{
        for (struct model_site *site = __start_model_site_list; site < __stop_model_site_list;
             site++) {
                each(site->file, site->line, site->operation, site->full, site->visits);
                site->visits = 0;
        }
}
