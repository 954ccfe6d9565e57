/* SPDX-License-Identifier: MIT
 *
 * What does a job take that waits? Memory that it has touched and page tables, from /proc/self, and
 * the time to come to wait and to go on, with 10^5 jobs on default settings and 10^6 with a larger
 * stack_max. All await one group, in a function of ordinary size called by the job's.
 */
#include "measure.h"

#include <skua.h>

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_COUNT = 100000, QUICK_COUNT = 10000, MANY_COUNT = 1000000 };

/* Of the whole process, in KiB. */
struct memory {
        double touched, tables;
};

static double status_kib(const char *path, const char *name)
{
        FILE *f = fopen(path, "r");
        char line[256];
        double kib = -1;

        while (f && fgets(line, sizeof line, f) != NULL)
                if (strncmp(line, name, strlen(name)) == 0)
                        kib = atof(line + strlen(name));
        if (f)
                fclose(f);
        if (kib < 0)
                bench_wrong("%s has no %s", path, name);
        return kib;
}

static struct memory memory_now(void)
{
        struct memory m = {status_kib("/proc/self/smaps_rollup", "Anonymous:"),
                           status_kib("/proc/self/status", "VmPTE:")};
        return m;
}

struct waiting {
        struct skua_job job;
        int result;
};

static struct skua_group gate;

static __attribute__((noinline)) int wait_for(struct skua_worker *self, struct skua_group *group)
{
        char buffer[256];

        __asm__ volatile("" ::"r"(buffer) : "memory");
        int result = skua_await_group(self, group);
        __asm__ volatile("" ::"r"(buffer) : "memory");
        return result;
}

static void run(struct skua_worker *self, struct skua_job *job)
{
        struct waiting *w = skua_container(job, struct waiting, job);

        w->result = wait_for(self, &gate);
}

static struct skua *start(size_t count, unsigned workers)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct skua *rt;
        int error;

        options.workers = workers;
        if (count > DEFAULT_COUNT)
                options.stack_max = 2 * count;
        error = skua_start(&rt, &options);
        if (error) {
                fprintf(stderr, "skua_start: %s\n", strerror(-error));
                exit(1);
        }
        return rt;
}

static void until_suspended(struct skua *rt, size_t count)
{
        struct skua_stats stats;

        do {
                bench_sleep_ns(200000);
                stats.size = sizeof stats;
                skua_stats_read(rt, &stats);
        } while (stats.suspended != count);
        if (stats.stacks_beyond)
                bench_wrong("%llu stacks beyond the bound",
                            (unsigned long long)stats.stacks_beyond);
}

struct rows {
        struct bench_result *memory, *suspend, *resume;
};

static void once(struct skua *rt, struct waiting *jobs, size_t count, const struct rows *rows)
{
        struct memory before = memory_now(), during;
        struct skua_target where = SKUA_TARGET_INIT;
        struct skua_group all;
        size_t wrong = 0;

        skua_group_init(&gate);
        skua_group_hold(&gate, 1);
        skua_group_init(&all);
        where.group = &all;
        int64_t begin = bench_now_ns();
        if (skua_submit_array(rt, jobs, count, sizeof *jobs, &where) != (ssize_t)count)
                bench_wrong("not all jobs were accepted");
        until_suspended(rt, count);
        int64_t suspended = bench_now_ns();
        during = memory_now();
        int64_t opened = bench_now_ns();
        skua_group_release(&gate, 0);
        skua_group_wait(&all, -1);
        int64_t resumed = bench_now_ns();
        for (size_t i = 0; i < count; i++)
                wrong += jobs[i].result != 0;
        if (wrong)
                bench_wrong("%zu waits have failed", wrong);
        bench_add(rows->memory, (during.touched - before.touched) / (double)count);
        bench_extra(rows->memory, "KiB of page tables",
                    (during.tables - before.tables) / (double)count);
        bench_add(rows->suspend, (double)(suspended - begin) / (double)count);
        bench_add(rows->resume, (double)(resumed - opened) / (double)count);
}

/* Each round with a runtime of its own, whose stacks are new. */
static void ask(size_t count, unsigned workers, unsigned rounds)
{
        struct waiting *jobs = bench_memory(count * sizeof *jobs);
        char question[48], name[32];
        struct rows rows;

        snprintf(question, sizeof question, "waiting, %zu jobs", count);
        snprintf(name, sizeof name, "skua, %u worker%s", workers, workers > 1 ? "s" : "");
        if (!bench_wanted(question))
                return;
        rows.memory = bench_row(question, name, BENCH_SKUA, "KiB/job");
        rows.suspend = bench_row("until it waits", name, BENCH_SKUA, "ns/job");
        rows.resume = bench_row("until it has gone on", name, BENCH_SKUA, "ns/job");
        for (size_t i = 0; i < count; i++)
                skua_job_init(&jobs[i].job, run);
        for (unsigned i = 0; i < rounds; i++) {
                struct skua *rt = start(count, workers);

                once(rt, jobs, count, &rows);
                skua_stop(rt, SKUA_DRAIN);
        }
        bench_print();
}

int main(int argc, char **argv)
{
        /* What a million take is 8 KiB each with their page tables, and what the jobs themselves
         * take. */
        const double needed_kib = MANY_COUNT * 12.0;

        bench_begin(argc, argv, "what does a job take that waits?");
        for (unsigned workers = 1; workers <= 2; workers++)
                ask(bench.quick ? QUICK_COUNT : DEFAULT_COUNT, workers, bench.rounds);
        if (bench.quick)
                return bench_end();
        if (status_kib("/proc/meminfo", "MemAvailable:") > needed_kib)
                ask(MANY_COUNT, 2, 2);
        else
                bench_remark("10^6 jobs: left out, less than 12 GB of memory are free");
        return bench_end();
}
