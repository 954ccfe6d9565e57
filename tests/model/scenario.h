/* SPDX-License-Identifier: MIT
 *
 * The main program of scenarios: each is searched for a while and is one TAP test.
 *
 *   SCENARIO=name   only those whose name contains it
 *   SEED=n          that one execution, with its trace if it fails; TRACE=n so many steps of it
 *   DEEP=n          n times as long; EXECUTIONS=n so many of each, however long
 *   MUTANT=file:line:relaxed|acquire|release|acq_rel|none   with that site weakened
 *   --mutants       every weakening of every site that the scenarios reach; those that stand in
 *                   the file $SKIP, one in a line, are left out
 */
#ifndef MODEL_SCENARIO_H
#define MODEL_SCENARIO_H

#include <sys/wait.h>

#include "arch.h"
#include "model.h"
#include "tap.h"

enum { SCENARIO_COVER = 1500, SCENARIO_SITES = 4096 };
#define SCENARIO_SECONDS 0.6

struct scenario_site {
        char name[96]; /* file:line */
        const char *operation;
        unsigned order;
        uint64_t scenarios; /* which of the list reach it */
};

static struct scenario_site scenario_sites_[SCENARIO_SITES];
static unsigned scenario_site_count_, scenario_now_;

static inline uint64_t scenario_number_(const char *name, uint64_t normal)
{
        const char *text = getenv(name);

        return text && *text ? strtoull(text, NULL, 0) : normal;
}

static inline void scenario_test_(const struct model_scenario *s)
{
        struct model_limits limits = {.seed = tap_seed_};
        struct model_report r;

        limits.executions = scenario_number_("EXECUTIONS", UINT64_MAX);
        if (limits.executions == UINT64_MAX)
                limits.seconds = SCENARIO_SECONDS * (s->share ? s->share : 1) *
                                 (double)scenario_number_("DEEP", 1);
        if (getenv("SEED") && *getenv("SEED")) {
                model_replay(s, scenario_number_("SEED", 0), &r);
                tap_ok(!r.failed, "%s", s->name);
                return;
        }
        model_explore(s, &limits, &r);
        tap_ok(!r.failed, "%s: %llu executions%s, %llu schedules, %.0f steps, %.0f/s", s->name,
               (unsigned long long)r.executions, r.complete ? " (all)" : "",
               (unsigned long long)r.distinct, (double)r.steps / (double)r.executions,
               (double)r.executions / r.seconds);
        if (r.failed)
                printf("# again: make model SCENARIO='%s' SEED=%llu\n", s->name,
                       (unsigned long long)r.seed);
}

/* ------------------------------------------------------------------ mutants */

static inline void scenario_collect_(const char *file, unsigned line, const char *operation,
                                     unsigned order, unsigned long visits)
{
        uint64_t bit = (uint64_t)1 << scenario_now_;
        struct scenario_site site = {.operation = operation, .order = order, .scenarios = bit};

        if (!visits || !order || strncmp(file, "runtime/", 8))
                return;
        snprintf(site.name, sizeof site.name, "%s:%u", file, line);
        for (unsigned i = 0; i < scenario_site_count_; i++)
                if (!strcmp(scenario_sites_[i].name, site.name)) {
                        scenario_sites_[i].scenarios |= bit;
                        return;
                }
        if (scenario_site_count_ < SCENARIO_SITES)
                scenario_sites_[scenario_site_count_++] = site;
}

static inline bool scenario_skip_(const char *mutant)
{
        const char *name = getenv("SKIP");
        FILE *in = name ? fopen(name, "r") : NULL;
        bool found = false;
        char line[160];

        while (in && !found && fgets(line, sizeof line, in)) {
                line[strcspn(line, " \n")] = 0;
                found = !strcmp(line, mutant);
        }
        if (in)
                fclose(in);
        return found;
}

/* In a process of its own: a mutant may do anything. Prints one line; true: it was caught. */
static inline bool scenario_mutant_(const struct model_scenario *list, unsigned count,
                                    const struct scenario_site *site, const char *how)
{
        struct model_limits limits = {.seed = 1, .quiet = true};
        uint64_t total = 0;
        char mutant[160];
        int status;
        pid_t child;

        snprintf(mutant, sizeof mutant, "%s:%s", site->name, how);
        if (scenario_skip_(mutant))
                return true;
        limits.executions = scenario_number_("EXECUTIONS", 20000);
        fflush(stdout);
        child = fork();
        if (child) {
                if (waitpid(child, &status, 0) < 0 || !WIFEXITED(status))
                        printf("%s caught 0 crash\n", mutant);
                return !WIFEXITED(status) || WEXITSTATUS(status);
        }
        alarm(600);
        model_mutate(mutant);
        for (unsigned i = 0; i < count; i++) {
                struct model_report r;

                if (!(site->scenarios >> i & 1))
                        continue;
                model_explore(&list[i], &limits, &r);
                total += r.executions;
                if (!r.failed)
                        continue;
                printf("%s caught %llu %s: %s\n", mutant, (unsigned long long)total, list[i].name,
                       r.reason);
                fflush(stdout);
                _exit(1);
        }
        printf("%s survived %llu\n", mutant, (unsigned long long)total);
        fflush(stdout);
        _exit(0);
}

static inline void scenario_weaken_(const struct model_scenario *list, unsigned count,
                                    const struct scenario_site *site)
{
        if (strstr(site->operation, "fence")) {
                if (!scenario_mutant_(list, count, site, "none"))
                        return;
                if (site->order & MODEL_SEQ_CST)
                        scenario_mutant_(list, count, site, "acq_rel");
                return;
        }
        /* What survives as relaxed survives with more. */
        if (!scenario_mutant_(list, count, site, "relaxed") || site->order != MODEL_ACQ_REL)
                return;
        scenario_mutant_(list, count, site, "acquire");
        scenario_mutant_(list, count, site, "release");
}

static inline int scenario_mutants_(const struct model_scenario *list, unsigned count)
{
        struct model_limits limits = {.seed = 1, .executions = SCENARIO_COVER, .quiet = true};
        struct model_report r;

        for (unsigned i = 0; i < count; i++) {
                model_explore(&list[i], &limits, &r);
                if (r.failed)
                        printf("# %s fails without a mutant: %s\n", list[i].name, r.reason);
                scenario_now_ = i;
                model_sites(scenario_collect_);
        }
        for (unsigned i = 0; i < scenario_site_count_; i++)
                scenario_weaken_(list, count, &scenario_sites_[i]);
        return 0;
}

static inline int scenarios_main(int argc, char **argv, const struct model_scenario *list,
                                 unsigned count)
{
        const char *wanted = getenv("SCENARIO"), *mutant = getenv("MUTANT");
        unsigned chosen = 0;

        if (argc > 1 && !strcmp(argv[1], "--mutants"))
                return scenario_mutants_(list, count);
        for (unsigned i = 0; i < count; i++)
                chosen += !wanted || strstr(list[i].name, wanted);
        if (!chosen)
                tap_skip_all("no such scenario here");
        tap_plan(chosen, 60 + chosen * 10 * (unsigned)scenario_number_("DEEP", 1));
        if (mutant && *mutant)
                printf("# mutant at %u sites\n", model_mutate(mutant));
        for (unsigned i = 0; i < count; i++)
                if (!wanted || strstr(list[i].name, wanted))
                        scenario_test_(&list[i]);
        return tap_done();
}

#endif
