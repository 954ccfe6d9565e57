/* SPDX-License-Identifier: MIT
 *
 * What does an idle runtime take? Processor time and context switches of its threads in 5 s, from
 * /proc/self/task: all contestants idle at the same time, and only their own threads are counted.
 */
#include "engine.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TASKS_MAX = 256, CONTESTANTS = 6 };

struct task_usage {
        double cpu_us;
        long switches;
        unsigned tasks;
};

/* The threads that each contestant's start has added. */
struct contestant {
        const struct engine *e;
        unsigned workers;
        void *handle;
        int tasks[TASKS_MAX];
        unsigned task_count;
};

static unsigned list_tasks(int *tasks)
{
        DIR *d = opendir("/proc/self/task");
        struct dirent *entry;
        unsigned n = 0;

        if (d == NULL) {
                perror("/proc/self/task");
                exit(1);
        }
        while ((entry = readdir(d)) != NULL && n < TASKS_MAX)
                if (entry->d_name[0] != '.')
                        tasks[n++] = atoi(entry->d_name);
        closedir(d);
        return n;
}

static bool contains(const int *tasks, unsigned count, int task)
{
        for (unsigned i = 0; i < count; i++)
                if (tasks[i] == task)
                        return true;
        return false;
}

static void start(struct contestant *c)
{
        int before[TASKS_MAX], after[TASKS_MAX];
        unsigned before_count = list_tasks(before);

        c->handle = c->e->start(c->e, c->workers);
        for (int i = 0; i < 10; i++)
                c->e->run(c->e, c->handle);
        unsigned after_count = list_tasks(after);
        for (unsigned i = 0; i < after_count; i++)
                if (!contains(before, before_count, after[i]))
                        c->tasks[c->task_count++] = after[i];
        if (c->task_count < c->workers)
                bench_wrong("%s: %u threads for %u workers", c->e->name, c->task_count, c->workers);
}

/* schedstat begins with the time on a processor, in nanoseconds. */
static void add_task(struct task_usage *u, int task)
{
        char path[64], line[128];
        unsigned long long ns;
        FILE *f;

        snprintf(path, sizeof path, "/proc/self/task/%d/schedstat", task);
        if ((f = fopen(path, "r")) != NULL) {
                if (fscanf(f, "%llu", &ns) == 1)
                        u->cpu_us += (double)ns / 1e3;
                fclose(f);
        }
        snprintf(path, sizeof path, "/proc/self/task/%d/status", task);
        if ((f = fopen(path, "r")) == NULL)
                return;
        while (fgets(line, sizeof line, f) != NULL) {
                char *at = strstr(line, "voluntary_ctxt_switches:");
                if (at != NULL) /* of both kinds */
                        u->switches += atol(strchr(at, ':') + 1);
        }
        fclose(f);
        u->tasks++;
}

static struct task_usage usage_of(const struct contestant *c)
{
        struct task_usage u = {0, 0, 0};

        for (unsigned i = 0; i < c->task_count; i++)
                add_task(&u, c->tasks[i]);
        if (u.tasks != c->task_count)
                bench_wrong("%s: a thread has gone", c->e->name);
        return u;
}

static void watch(struct contestant *list, struct bench_result **rows, double seconds)
{
        struct task_usage before[CONTESTANTS];

        for (int i = 0; i < CONTESTANTS; i++)
                before[i] = usage_of(&list[i]);
        bench_sleep_ns((int64_t)(seconds * 1e9));
        for (int i = 0; i < CONTESTANTS; i++) {
                struct task_usage after = usage_of(&list[i]);
                bench_add(rows[i], (after.cpu_us - before[i].cpu_us) / seconds);
                bench_extra(rows[i], "switches per s",
                            (double)(after.switches - before[i].switches) / seconds);
        }
}

int main(int argc, char **argv)
{
        struct contestant list[CONTESTANTS] = {
                {.e = &engine_ring, .workers = 2},   {.e = &engine_mutex, .workers = 2},
                {.e = &engine_skua, .workers = 2},   {.e = &engine_ring, .workers = 64},
                {.e = &engine_mutex, .workers = 64}, {.e = &engine_skua, .workers = 64},
        };
        struct bench_result *rows[CONTESTANTS];

        bench_begin(argc, argv, "what does an idle runtime take?");
        double seconds = (bench.quick ? 0.5 : 5.0) / bench.rounds;
        for (int i = 0; i < CONTESTANTS; i++) {
                char question[48];
                snprintf(question, sizeof question, "idle, w%u", list[i].workers);
                start(&list[i]);
                rows[i] = bench_row(question, list[i].e->name, list[i].e->side, "us/s");
        }
        bench_sleep_ns(50000000); /* all are parked */
        for (unsigned i = 0; i < bench.rounds; i++)
                watch(list, rows, seconds);
        bench_print();
        bench_remark("CPU time per second of all threads together; watched for %g s in all",
                     seconds * bench.rounds);
        for (int i = 0; i < CONTESTANTS; i++)
                list[i].e->stop(list[i].e, list[i].handle);
        return bench_end();
}
