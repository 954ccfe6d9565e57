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

/* Jobs from outside, against the stop. Who is cancelled sees why. */
static unsigned why;

static void reasonable_run(struct skua_worker *self, struct skua_job *job)
{
        if (skua_cancelled(self)) {
                shared_read(&why, sizeof why);
                model_check(why == 1, "why it was cancelled");
        }
        task_run(self, job);
}

static void reasonable_submitter(void *arg)
{
        unsigned i = (unsigned)(uintptr_t)arg;

        task_init(&tasks[i], reasonable_run);
        results[i] = skua_submit(rt, &tasks[i].job);
}

static void submit_against(enum skua_stop_how how, size_t limit)
{
        unsigned set;

        begin(2, 1, limit);
        shared_new(&why, sizeof why);
        set = start_submitter(reasonable_submitter, 0) | start_submitter(reasonable_submitter, 1);
        why = 1;
        shared_write(&why, sizeof why);
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

/* ------------------------------------------------------------------ jobs that need each other */

/* Jobs that go on only when both run: what one worker has at hand must reach the other, be it
 * asleep. */
static struct word32 met;

static void begin_meeting(void)
{
        begin(2, 1, 0);
        shared_new(&met, sizeof met);
        met.value_ = 0;
}

static void meet_run(struct skua_worker *self, struct skua_job *job)
{
        fetch_add_acq_rel_u32(&met, 1);
        while (load_relaxed_u32(&met) < 2)
                spin_hint();
        task_run(self, job);
}

static void meet_array(void)
{
        begin_meeting();
        submitter((void *)0);
        task_init(&tasks[1], meet_run);
        task_init(&tasks[2], meet_run);
        model_check(skua_submit_array(rt, &tasks[1], 2, sizeof *tasks, NULL) == 2, "submit_array");
        results[1] = results[2] = 0;
        stop(SKUA_DRAIN);
        check_tasks(3);
}

static void meet_spawn_in(struct skua_worker *self, struct skua_job *job)
{
        task_init(&tasks[1], meet_run);
        skua_spawn(self, &tasks[1].job);
        meet_run(self, job);
}

static void meet_spawn(void)
{
        begin_meeting();
        task_init(&tasks[0], meet_spawn_in);
        model_check(!skua_submit(rt, &tasks[0].job), "submit");
        results[0] = results[1] = 0;
        stop(SKUA_DRAIN);
        check_tasks(2);
}

static void meet_node_in(struct skua_worker *self, struct skua_job *job)
{
        struct skua_target target = SKUA_TARGET_INIT;

        target.node = SKUA_NODE(0);
        task_init(&tasks[1], meet_run);
        model_check(!skua_submit_to(rt, &tasks[1].job, &target), "submit_to");
        meet_run(self, job);
}

static void meet_node(void)
{
        begin_meeting();
        task_init(&tasks[0], meet_node_in);
        model_check(!skua_submit(rt, &tasks[0].job), "submit");
        results[0] = results[1] = 0;
        stop(SKUA_DRAIN);
        check_tasks(2);
}

/* Forks of a suspended stack go on with the other worker, although their owner is busy. */
static void meet_forks_in(struct skua_worker *self, void *arg)
{
        (void)arg;
        for (unsigned i = 0; i < 2; i++) {
                task_init(&tasks[i], meet_run);
                skua_fork(self, &tasks[i].job, meet_run);
        }
        model_check(!skua_await_group(self, &group), "await");
        for (unsigned i = 2; i--;) {
                model_check(!skua_join(self, &tasks[i].job), "it has been called");
                task_done(&tasks[i], 1);
        }
}

static void meet_forks_thread(void *arg)
{
        (void)arg;
        while (load_relaxed_u32(&met) < 2)
                spin_hint();
        skua_group_release(&group, 0);
}

static void meet_forks(void)
{
        unsigned set;

        begin_meeting();
        skua_group_hold(&group, 1);
        set = start_submitter(meet_forks_thread, 0);
        model_check(!skua_run(rt, meet_forks_in, NULL), "run");
        stop(SKUA_DRAIN);
        model_threads_join(set);
}

/* A job that waits for what a thread does. */
static void await_in(struct skua_worker *self, void *arg)
{
        (void)arg;
        model_check(!skua_await_group(self, &group), "await");
        shared_gone(&group, sizeof group);
}

static void release_thread(void *arg)
{
        (void)arg;
        skua_group_release(&group, 0);
}

static void await_thread(void)
{
        unsigned set;

        begin(2, 1, 0);
        skua_group_hold(&group, 1);
        set = start_submitter(release_thread, 0);
        model_check(!skua_run(rt, await_in, NULL), "run");
        stop(SKUA_DRAIN);
        model_threads_join(set);
}

/* The same while the runtime is stopped: a drain waits for what is suspended. */
static void await_run(struct skua_worker *self, struct skua_job *job)
{
        await_in(self, NULL);
        task_run(self, job);
}

static void await_submitter(void *arg)
{
        (void)arg;
        task_init(&tasks[0], await_run);
        results[0] = skua_submit(rt, &tasks[0].job);
}

static void await_stop(void)
{
        unsigned set;

        begin(2, 1, 0);
        skua_group_hold(&group, 1);
        set = start_submitter(release_thread, 0) | start_submitter(await_submitter, 0);
        stop(SKUA_DRAIN);
        model_threads_join(set);
        check_tasks(1);
}

/* A job after a group that is empty, when the runtime may have ended: it runs there or never. */
static struct skua *meant;

static void meant_run(struct skua_worker *self, struct skua_job *job)
{
        model_check(skua_runtime(self) == meant, "a job of another runtime");
        task_run(self, job);
}

static void late_then_thread(void *arg)
{
        (void)arg;
        task_init(&tasks[0], meant_run);
        skua_group_then(meant, &group, &tasks[0].job);
}

static void late_then(void)
{
        unsigned set;

        begin(1, 1, 0);
        meant = rt;
        set = start_submitter(late_then_thread, 0);
        stop(SKUA_DRAIN);
        start(1, 0);
        stop(SKUA_DRAIN);
        model_threads_join(set);
}

/* Jobs that wait for room, as their stacks. */
static void await_submit_in(struct skua_worker *self, void *arg)
{
        (void)arg;
        for (unsigned i = 0; i < 3; i++) {
                task_init(&tasks[i], task_run);
                results[i] = skua_await_submit(self, &tasks[i].job, NULL);
        }
}

static void await_submit(void)
{
        unsigned set;

        begin(2, 1, 1);
        set = start_submitter(submitter, 3);
        model_check(!skua_run(rt, await_submit_in, NULL), "run");
        model_threads_join(set);
        stop(SKUA_DRAIN);
        check_tasks(4);
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
        {.name = "whole: an array of jobs that meet", .run = meet_array},
        {.name = "whole: a spawned job that meets its spawner", .run = meet_spawn},
        {.name = "whole: a job for a node that meets its submitter", .run = meet_node},
        {.name = "whole: forks that meet while their owner waits", .run = meet_forks},
        {.name = "whole: a job that waits for a thread", .run = await_thread},
        {.name = "whole: a job that waits for a thread, against stop", .run = await_stop},
        {.name = "whole: a late job after a group, and the next runtime", .run = late_then},
        {.name = "whole: a job that waits for room", .run = await_submit},
        {.name = "whole: targeted jobs against stop", .run = targets},
        {.name = "whole: a job after a group, against stop", .run = then},
        {.name = "whole: a late submitter and the next runtime", .run = next_runtime},
};

int main(int argc, char **argv)
{
        return scenarios_main(argc, argv, scenarios, sizeof scenarios / sizeof *scenarios);
}
