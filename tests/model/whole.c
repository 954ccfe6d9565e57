/* SPDX-License-Identifier: MIT
 *
 * Whole runtimes: skua_start to skua_stop with workers that search, park and steal as they do
 * everywhere. Nothing here looks inside.
 */
#include <errno.h>
#include <string.h>

#include "machine/machine.h"
#include "scenario.h"
#include "task.h"

enum { TASKS = 6 };

static struct skua *rt;
static struct task tasks[TASKS];
static int results[TASKS];
static struct skua_group group;

static void start(unsigned workers, size_t limit)
{
        struct skua_options options = SKUA_OPTIONS_INIT;

        options.workers = workers;
        options.spin_ns = (unsigned)SKUA_NONE;
        options.stack_bytes = 16384;
        options.queue_limit = limit;
        options.flags = SKUA_NO_PIN;
        model_check(!skua_start(&rt, &options), "start");
}

static void begin(unsigned workers, unsigned nodes, size_t limit)
{
        machine_begin(nodes);
        start(workers, limit);
        shared_new(&group, sizeof group);
        skua_group_init(&group);
}

static void stop(enum skua_stop_how how)
{
        model_check(!skua_stop(rt, how), "stop");
}

static void submitter(void *arg)
{
        unsigned i = (unsigned)(uintptr_t)arg;

        task_init(&tasks[i], task_run);
        results[i] = skua_submit(rt, &tasks[i].job);
}

static unsigned start_submitter(void (*entry)(void *arg), unsigned i)
{
        return 1u << model_thread_start(entry, (void *)(uintptr_t)i);
}

static void check_tasks(unsigned count)
{
        for (unsigned i = 0; i < count; i++) {
                model_check(results[i] == 0 || results[i] == -ESHUTDOWN, "submit's result");
                task_done(&tasks[i], results[i] == 0);
        }
}

static void start_stop(void)
{
        begin(2, 1, 0);
        stop(SKUA_DRAIN);
}

/* Jobs from outside, before the stop. */
static void submits(unsigned nodes, size_t limit, unsigned count)
{
        unsigned set = 0;

        begin(2, nodes, limit);
        for (unsigned i = 0; i < count; i++)
                set |= start_submitter(submitter, i);
        model_threads_join(set);
        stop(SKUA_DRAIN);
        for (unsigned i = 0; i < count; i++)
                model_check(!results[i], "submit");
        check_tasks(count);
}

static void two_submitters(void)
{
        submits(1, 0, 2);
}

static void two_nodes(void)
{
        submits(2, 0, 2);
}

static void full(void)
{
        submits(1, 1, 3);
}

/* Jobs from outside, against the stop. */
static void submit_against(enum skua_stop_how how, size_t limit)
{
        unsigned set;

        begin(2, 1, limit);
        set = start_submitter(submitter, 0) | start_submitter(submitter, 1);
        stop(how);
        model_threads_join(set);
        check_tasks(2);
}

static void submit_stop(void)
{
        submit_against(SKUA_DRAIN, 0);
}

static void submit_cancel(void)
{
        submit_against(SKUA_CANCEL, 1);
}

/* A job that is submitted when all sleep, and waited for through its group. */
static void group_submitter(void *arg)
{
        unsigned i = (unsigned)(uintptr_t)arg;

        task_init(&tasks[i], task_run);
        results[i] = skua_group_submit(rt, &group, &tasks[i].job);
}

static void wait_group(void)
{
        unsigned set;

        begin(2, 1, 0);
        set = start_submitter(group_submitter, 0);
        group_submitter((void *)1);
        model_check(!skua_group_wait(&group, -1), "wait");
        task_done(&tasks[1], 1);
        model_threads_join(set);
        model_check(!skua_group_wait(&group, -1), "wait");
        shared_gone(&group, sizeof group);
        task_done(&tasks[0], 1);
        stop(SKUA_DRAIN);
}

/* One job after the other: each finds the workers asleep, or on the way to it. */
static void one_by_one(void)
{
        begin(2, 1, 0);
        for (uintptr_t i = 0; i < 3; i++) {
                group_submitter((void *)i);
                model_check(!skua_group_wait(&group, -1), "wait");
                task_done(&tasks[i], 1);
        }
        stop(SKUA_DRAIN);
}

/* ------------------------------------------------------------------ forks */

static bool fork_and_join(struct skua_worker *self, struct task *t, void (*middle)(void))
{
        bool left;

        task_init(t, task_run);
        skua_fork(self, &t->job, task_run);
        if (middle)
                middle();
        left = skua_join(self, &t->job);
        if (left)
                task_ran(t);
        task_done(t, 1);
        return left;
}

static void forks_in(struct skua_worker *self, void *arg)
{
        (void)arg;
        for (unsigned i = 0; i < 3; i++) {
                task_init(&tasks[i], task_run);
                skua_fork(self, &tasks[i].job, task_run);
        }
        for (unsigned i = 3; i--;) {
                if (skua_join(self, &tasks[i].job))
                        task_ran(&tasks[i]);
                task_done(&tasks[i], 1);
        }
        fork_and_join(self, &tasks[0], NULL);
}

static void forks(void)
{
        begin(2, 1, 0);
        model_check(!skua_run(rt, forks_in, NULL), "run");
        stop(SKUA_DRAIN);
}

/* The thief has to wait in its turn: both suspend. */
static void deep_run(struct skua_worker *self, struct skua_job *job)
{
        struct task *t = task_of(job);

        fork_and_join(self, t + 1, NULL);
        task_ran(t);
}

static void deep_in(struct skua_worker *self, void *arg)
{
        (void)arg;
        for (unsigned i = 0; i < 4; i += 2) {
                task_init(&tasks[i], deep_run);
                skua_fork(self, &tasks[i].job, deep_run);
        }
        for (unsigned i = 4; i; i -= 2) {
                if (skua_join(self, &tasks[i - 2].job))
                        deep_run(self, &tasks[i - 2].job);
                task_done(&tasks[i - 2], 1);
        }
}

static void deep_forks(void)
{
        begin(2, 1, 0);
        model_check(!skua_run(rt, deep_in, NULL), "run");
        stop(SKUA_DRAIN);
}

/* More forks than the ring holds, and the oldest is waited for with the others outstanding. */
static void release_run(struct skua_worker *self, struct skua_job *job)
{
        task_run(self, job);
        skua_group_release(&group, 0);
}

static void crowd_in(struct skua_worker *self, void *arg)
{
        (void)arg;
        skua_group_hold(&group, 1);
        task_init(&tasks[0], release_run);
        skua_fork(self, &tasks[0].job, release_run);
        for (unsigned i = 1; i < TASKS; i++) {
                task_init(&tasks[i], task_run);
                skua_fork(self, &tasks[i].job, task_run);
        }
        model_check(!skua_await_group(self, &group), "await");
        for (unsigned i = TASKS; i--;) {
                if (skua_join(self, &tasks[i].job))
                        task_ran(&tasks[i]);
                task_done(&tasks[i], 1);
        }
}

static void crowded(void)
{
        begin(2, 1, 0);
        model_check(!skua_run(rt, crowd_in, NULL), "run");
        stop(SKUA_DRAIN);
}

static void isolated_in(struct skua_worker *self, void *arg)
{
        skua_isolated(self, forks_in, arg);
}

static void isolated(void)
{
        begin(2, 1, 0);
        model_check(!skua_run(rt, isolated_in, NULL), "run");
        stop(SKUA_DRAIN);
}

/* ------------------------------------------------------------------ spawns */

static void spawn_in(struct skua_worker *self, void *arg)
{
        (void)arg;
        for (unsigned i = 0; i < TASKS; i++) {
                task_init(&tasks[i], task_run);
                skua_group_spawn(self, &group, &tasks[i].job);
        }
        model_check(!skua_await_group(self, &group), "await");
        for (unsigned i = 0; i < TASKS; i++)
                task_done(&tasks[i], 1);
}

static void spawns_on(unsigned nodes)
{
        begin(2, nodes, 0);
        model_check(!skua_run(rt, spawn_in, NULL), "run");
        stop(SKUA_DRAIN);
}

static void spawns(void)
{
        spawns_on(1);
}

static void spawns_far(void)
{
        spawns_on(2);
}

/* To one worker each, from outside, against a stop. */
static void target_submitter(void *arg)
{
        unsigned i = (unsigned)(uintptr_t)arg;
        struct skua_target target = SKUA_TARGET_INIT;

        target.worker = SKUA_WORKER(i & 1);
        task_init(&tasks[i], task_run);
        results[i] = skua_submit_to(rt, &tasks[i].job, &target);
}

static void targets(void)
{
        unsigned set;

        begin(2, 1, 0);
        set = start_submitter(target_submitter, 0) | start_submitter(target_submitter, 1);
        target_submitter((void *)2);
        stop(SKUA_DRAIN);
        model_threads_join(set);
        check_tasks(3);
}

/* A job after a group, against the last release and the stop. */
static void then_thread(void *arg)
{
        (void)arg;
        skua_group_release(&group, 0);
}

static void then(void)
{
        unsigned set;

        begin(2, 1, 0);
        skua_group_hold(&group, 1);
        task_init(&tasks[0], task_run);
        set = start_submitter(then_thread, 0);
        skua_group_then(rt, &group, &tasks[0].job);
        stop(SKUA_DRAIN);
        task_done(&tasks[0], 1);
        model_threads_join(set);
}

/* A runtime in the slot of one before, with a submitter that comes late. */
static void next_runtime(void)
{
        unsigned set;

        begin(1, 1, 0);
        set = start_submitter(submitter, 0);
        stop(SKUA_DRAIN);
        start(1, 0);
        stop(SKUA_DRAIN);
        model_threads_join(set);
        check_tasks(1);
}

static const struct model_scenario scenarios[] = {
        {.name = "whole: start and stop", .run = start_stop},
        {.name = "whole: two submitters", .run = two_submitters},
        {.name = "whole: two nodes", .run = two_nodes},
        {.name = "whole: three submitters and room for one", .run = full},
        {.name = "whole: submit against stop", .run = submit_stop},
        {.name = "whole: submit against cancel, room for one", .run = submit_cancel},
        {.name = "whole: submit and wait for the group", .run = wait_group},
        {.name = "whole: one job after the other", .run = one_by_one},
        {.name = "whole: forks", .run = forks},
        {.name = "whole: forks of forks", .run = deep_forks},
        {.name = "whole: more forks than slots, and a wait", .run = crowded},
        {.name = "whole: forks of an isolated job", .run = isolated},
        {.name = "whole: spawns", .run = spawns},
        {.name = "whole: spawns on two nodes", .run = spawns_far},
        {.name = "whole: targeted jobs against stop", .run = targets},
        {.name = "whole: a job after a group, against stop", .run = then},
        {.name = "whole: a late submitter and the next runtime", .run = next_runtime},
};

int main(int argc, char **argv)
{
        return scenarios_main(argc, argv, scenarios, sizeof scenarios / sizeof *scenarios);
}
