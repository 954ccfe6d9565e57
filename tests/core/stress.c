/* SPDX-License-Identifier: MIT
 *
 * Everything at once: submissions of every kind, spawns, forks, awaits, groups, cancels and stops,
 * with more workers than CPUs and threads that are moved about. Counted: what is accepted is
 * entered, once.
 */
#include <dirent.h>

#include "core/crew.h"

enum { CHECKS = 4, PRODUCERS = 3, DEPTH = 5, AHEAD = 300 };

struct storm {
        struct skua *rt;
        struct skua_group top;
        atomic_bool stop;
        _Alignas(128) atomic_ulong accepted;
        _Alignas(128) atomic_ulong entered;
        _Alignas(128) atomic_ulong wrong;
        atomic_ulong cancelled, awaited, forked;
};

struct task {
        struct skua_job job;
        struct storm *storm;
        struct skua_group *group;
        uint64_t random;
        unsigned depth;
};

static void task_run(struct skua_worker *self, struct skua_job *job);

static struct task *task_new(struct storm *storm, struct skua_group *group, uint64_t random,
                             unsigned depth)
{
        struct task *task = calloc(1, sizeof *task);

        skua_job_init(&task->job, task_run);
        task->storm = storm;
        task->group = group;
        task->random = random | 1;
        task->depth = depth;
        return task;
}

/* ------------------------------------------------------------------ what jobs do */

struct fork {
        struct skua_job job;
        unsigned n, value;
};

static unsigned fibonacci(struct skua_worker *self, unsigned n);

static void fork_run(struct skua_worker *self, struct skua_job *job)
{
        struct fork *fork = skua_container(job, struct fork, job);

        fork->value = fibonacci(self, fork->n);
}

static unsigned fibonacci(struct skua_worker *self, unsigned n)
{
        struct fork fork;
        unsigned first;

        if (n < 2)
                return n;
        fork.n = n - 2;
        skua_fork(self, &fork.job, fork_run);
        first = fibonacci(self, n - 1);
        return first + (skua_join(self, &fork.job) ? fibonacci(self, n - 2) : fork.value);
}

static void spawn_child(struct skua_worker *self, struct task *task)
{
        uint64_t r = tap_random(&task->random) >> 32;
        struct task *child = task_new(task->storm, NULL, r, task->depth - 1);

        atomic_fetch_add(&task->storm->accepted, 1);
        if (r & 1)
                skua_spawn(self, &child->job);
        else
                skua_group_spawn(self, &task->storm->top, &child->job);
}

/* A group of its own under the storm's, awaited, sometimes cancelled, with a fork outstanding. */
static void await_children(struct skua_worker *self, struct task *task)
{
        uint64_t r = tap_random(&task->random) >> 32;
        unsigned count = 1 + r % 4, index = skua_worker_index(self);
        struct storm *storm = task->storm;
        struct skua_group group;
        struct fork fork;
        int result;

        fork.n = 6;
        skua_fork(self, &fork.job, fork_run);
        skua_group_init_under(&group, &storm->top);
        atomic_fetch_add(&storm->accepted, count);
        for (unsigned i = 0; i < count; i++) {
                struct task *child = task_new(storm, &group, r + i, task->depth - 1);

                if (i & 1)
                        skua_group_submit(storm->rt, &group, &child->job);
                else
                        skua_group_spawn(self, &group, &child->job);
        }
        if (r % 16 == 0)
                skua_group_cancel(&group);
        result = skua_await_group(self, &group);
        if (result && result != -ECANCELED && result != -EIO)
                atomic_fetch_add(&storm->wrong, 1);
        if (skua_worker_index(self) != index || skua_self() != self)
                atomic_fetch_add(&storm->wrong, 1);
        if (skua_join(self, &fork.job))
                fork.value = fibonacci(self, 6);
        if (fork.value != 8)
                atomic_fetch_add(&storm->wrong, 1);
        atomic_fetch_add(&storm->awaited, 1);
}

static void send_child(struct skua_worker *self, struct task *task)
{
        struct skua_target where = SKUA_TARGET_INIT;
        struct storm *storm = task->storm;
        uint64_t r = tap_random(&task->random) >> 32;
        struct task *child = task_new(storm, NULL, r, task->depth - 1);
        int result;

        atomic_fetch_add(&storm->accepted, 1);
        where.worker = SKUA_WORKER(r % skua_workers(storm->rt));
        if (skua_submit_to(storm->rt, &child->job, &where))
                atomic_fetch_add(&storm->wrong, 1);
        child = task_new(storm, NULL, r + 1, task->depth - 1);
        atomic_fetch_add(&storm->accepted, 1);
        result = skua_await_submit(self, &child->job, NULL);
        if (!result)
                return;
        /* Who is cancelled does not wait for room. */
        if (result != -ECANCELED || !skua_cancelled(self))
                atomic_fetch_add(&storm->wrong, 1);
        atomic_fetch_sub(&storm->accepted, 1);
        free(child);
}

static void task_run(struct skua_worker *self, struct skua_job *job)
{
        struct task *task = skua_container(job, struct task, job);
        struct storm *storm = task->storm;
        uint64_t r = tap_random(&task->random) >> 32;

        atomic_fetch_add(&storm->entered, 1);
        if (skua_cancelled(self))
                atomic_fetch_add(&storm->cancelled, 1);
        if (r % 64 == 0)
                skua_fail(self, -EIO);
        if (task->depth) {
                switch (r / 64 % 5) {
                case 0:
                        spawn_child(self, task);
                        break;
                case 1:
                        await_children(self, task);
                        break;
                case 2:
                        send_child(self, task);
                        break;
                case 3:
                        if (fibonacci(self, 10) != 55)
                                atomic_fetch_add(&storm->wrong, 1);
                        atomic_fetch_add(&storm->forked, 1);
                        break;
                default:
                        break;
                }
        }
        free(task);
}

/* ------------------------------------------------------------------ who submits */

static void posted(struct skua_worker *self, void *arg)
{
        struct storm *storm = *(struct storm **)arg;

        (void)self;
        atomic_fetch_add(&storm->entered, 1);
}

static int submit_somehow(struct storm *storm, struct task *task, uint64_t r)
{
        struct skua_target where = SKUA_TARGET_INIT;

        switch (r % 5) {
        case 0:
                return skua_submit(storm->rt, &task->job);
        case 1:
                return skua_try_submit(storm->rt, &task->job);
        case 2:
                return skua_group_submit(storm->rt, &storm->top, &task->job);
        case 3:
                where.worker = SKUA_WORKER(r / 8 % skua_workers(storm->rt));
                where.group = &storm->top;
                return skua_submit_to(storm->rt, &task->job, &where);
        default:
                return skua_submit_array(storm->rt, task, 1, 0, NULL) == 1 ? 0 : -ESHUTDOWN;
        }
}

static void *produce(void *arg)
{
        struct storm *storm = arg;
        uint64_t random = (uint64_t)(uintptr_t)&random ^ tap_seed_;

        while (!atomic_load(&storm->stop)) {
                uint64_t r = tap_random(&random) >> 32;
                struct task *task;
                int result;

                /* What goes to one worker is bound by nothing else. */
                if (atomic_load(&storm->accepted) > atomic_load(&storm->entered) + AHEAD) {
                        sched_yield();
                        continue;
                }
                if (r % 8 == 0) {
                        result = skua_post(storm->rt, posted, &storm, sizeof storm);
                } else {
                        task = task_new(storm, NULL, r, DEPTH);
                        result = submit_somehow(storm, task, r / 8);
                        if (result)
                                free(task);
                }
                if (result == 0)
                        atomic_fetch_add(&storm->accepted, 1);
                else if (result == -ESHUTDOWN)
                        break;
                else if (result != -EAGAIN)
                        atomic_fetch_add(&storm->wrong, 1);
        }
        return NULL;
}

/* Moves every thread of the process to some CPU, and lets it go again. */
static void move_threads(const cpu_set_t *all, uint64_t *random)
{
        DIR *tasks = opendir("/proc/self/task");
        struct dirent *entry;

        while (tasks && (entry = readdir(tasks))) {
                uint64_t r = tap_random(random) >> 32;
                pid_t id = (pid_t)atoi(entry->d_name);
                unsigned cpu = r % CPU_SETSIZE;
                cpu_set_t one;

                if (!id || id == getpid())
                        continue;
                while (!CPU_ISSET(cpu, all))
                        cpu = (cpu + 1) % CPU_SETSIZE;
                CPU_ZERO(&one);
                CPU_SET(cpu, &one);
                sched_setaffinity(id, sizeof one, r >> 16 & 1 ? &one : all);
        }
        if (tasks)
                closedir(tasks);
}

/* ------------------------------------------------------------------ one storm */

static struct storm total;

static void sum_up(const struct storm *storm, bool stopped_by_cancel)
{
        atomic_fetch_add(&total.accepted, atomic_load(&storm->accepted));
        atomic_fetch_add(&total.entered, atomic_load(&storm->entered));
        atomic_fetch_add(&total.awaited, atomic_load(&storm->awaited));
        atomic_fetch_add(&total.forked, atomic_load(&storm->forked));
        atomic_fetch_add(&total.cancelled, atomic_load(&storm->cancelled));
        atomic_fetch_add(&total.wrong,
                         atomic_load(&storm->wrong) + (storm->accepted != storm->entered));
        if (storm->accepted != storm->entered)
                printf("# accepted %lu, entered %lu, %s\n", storm->accepted, storm->entered,
                       stopped_by_cancel ? "cancelled" : "drained");
}

static void run_storm(unsigned workers, unsigned round, uint64_t *random)
{
        static struct storm storm;
        struct skua_options options = SKUA_OPTIONS_INIT;
        pthread_t threads[PRODUCERS];
        cpu_set_t all;
        int result;

        memset((void *)&storm, 0, sizeof storm);
        sched_getaffinity(0, sizeof all, &all);
        skua_group_init(&storm.top);
        options.queue_limit = round % 3 ? 1 + (tap_random(random) >> 32) % 200 : 0;
        options.spin_ns = round & 1 ? (unsigned)SKUA_NONE : 0;
        options.stack_max = round % 4 == 3 ? 8 : 0;
        options.stack_bytes = RIG_ASAN || RIG_TSAN ? 0 : 65536;
        storm.rt = rig_start(workers, &options);
        for (unsigned i = 0; i < PRODUCERS; i++)
                threads[i] = go(produce, &storm);
        for (unsigned i = 0; i < rig_rounds(20); i++) {
                unsigned long before = atomic_load(&storm.entered);

                move_threads(&all, random);
                if (i == 7)
                        skua_group_cancel(&storm.top);
                while (atomic_load(&storm.entered) < before + 1000)
                        sched_yield();
                skua_group_wait(&storm.top, 0);
        }
        if (round & 2)
                atomic_store(&storm.stop, true);
        result = round % 5 == 0   ? skua_stop_within(storm.rt, 100000)
                 : round % 5 == 1 ? skua_stop(storm.rt, SKUA_CANCEL)
                                  : skua_stop(storm.rt, SKUA_DRAIN);
        atomic_store(&storm.stop, true);
        for (unsigned i = 0; i < PRODUCERS; i++)
                join(threads[i]);
        atomic_fetch_add(&storm.wrong, result < 0);
        atomic_fetch_add(&storm.wrong, skua_group_wait(&storm.top, 0) == -ETIMEDOUT);
        sum_up(&storm, round % 5 < 2);
}

int main(void)
{
        unsigned rounds = 24;
        uint64_t random = 0;

        tap_plan(CHECKS, 180);
        for (unsigned i = 0; i < rounds; i++)
                run_storm(1 + (tap_random(&random) >> 32) % 8, i, &random);
        tap_is((long long)atomic_load(&total.entered), (long long)atomic_load(&total.accepted),
               "what was accepted was entered");
        tap_is((long long)atomic_load(&total.wrong), 0, "in each storm, and nothing went wrong");
        tap_ok(atomic_load(&total.awaited) && atomic_load(&total.forked), "%lu awaits, %lu forks",
               atomic_load(&total.awaited), atomic_load(&total.forked));
        tap_ok(atomic_load(&total.entered) >= rounds * 1000, "%lu jobs, %lu of them cancelled",
               atomic_load(&total.entered), atomic_load(&total.cancelled));
        return tap_done();
}
