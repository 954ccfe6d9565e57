/* SPDX-License-Identifier: MIT
 *
 * The blocking pool of whole runtimes: what is submitted, awaited, waits for room or submits in its
 * turn, against the ways to stop and to cancel.
 */
#include <errno.h>

#include "machine/machine.h"
#include "scenario.h"
#include "task.h"

enum { TASKS = 4 };

static struct skua *rt;
static struct task tasks[TASKS];
static int results[TASKS];
static struct skua_group group;

struct shape {
        unsigned least, most;
        size_t limit;
};

static void begin(struct shape shape)
{
        struct skua_options options = SKUA_OPTIONS_INIT;

        machine_begin(1);
        options.workers = 1;
        options.spin_ns = (unsigned)SKUA_NONE;
        options.stack_bytes = 16384;
        options.flags = SKUA_NO_PIN;
        options.blocking_min = shape.least;
        options.blocking_max = shape.most;
        options.blocking_queue_limit = shape.limit;
        model_check(!skua_start(&rt, &options), "start");
        shared_new(&group, sizeof group);
        skua_group_init(&group);
}

static void stop(enum skua_stop_how how)
{
        model_check(!skua_stop(rt, how), "stop");
}

static void pool_run(struct skua_worker *self, struct skua_job *job)
{
        model_check(!self, "a blocking job on a worker");
        task_run(self, job);
}

static int submit_blocking(unsigned i, unsigned flags, struct skua_group *g)
{
        struct skua_target where = SKUA_TARGET_INIT;

        where.flags = SKUA_BLOCKING | flags;
        where.group = g;
        return skua_submit_to(rt, &tasks[i].job, &where);
}

static void submitter(void *arg)
{
        unsigned i = (unsigned)(uintptr_t)arg;

        task_init(&tasks[i], pool_run);
        results[i] = submit_blocking(i, 0, NULL);
}

static unsigned start_thread(void (*entry)(void *arg), unsigned i)
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

/* From two threads, before the stop. */
static void two_submitters(struct shape shape)
{
        unsigned set;

        begin(shape);
        set = start_thread(submitter, 0) | start_thread(submitter, 1);
        model_threads_join(set);
        stop(SKUA_DRAIN);
        model_check(!results[0] && !results[1], "submit");
        check_tasks(2);
}

static void submits(void)
{
        two_submitters((struct shape){1, 2, 0});
}

static void submits_full(void)
{
        two_submitters((struct shape){1, 1, 1});
}

/* Threads end when they have been idle, and come again. */
static void submits_idle(void)
{
        two_submitters((struct shape){0, 1, 0});
}

static void against(enum skua_stop_how how, size_t limit)
{
        unsigned set;

        begin((struct shape){1, 1, limit});
        set = start_thread(submitter, 0) | start_thread(submitter, 1);
        stop(how);
        model_threads_join(set);
        check_tasks(2);
}

static void submit_stop(void)
{
        against(SKUA_DRAIN, 0);
}

static void submit_cancel(void)
{
        against(SKUA_CANCEL, 1);
}

/* A job of the pool gives another one to the workers, while the runtime drains. */
static void giving_run(struct skua_worker *self, struct skua_job *job)
{
        task_init(&tasks[1], task_run);
        results[1] = skua_submit(rt, &tasks[1].job);
        pool_run(self, job);
}

static void gives(void)
{
        begin((struct shape){1, 1, 0});
        task_init(&tasks[0], giving_run);
        results[0] = submit_blocking(0, 0, NULL);
        stop(SKUA_DRAIN);
        model_check(!results[0] && !results[1], "submit");
        check_tasks(2);
}

/* A job that blocks its thread until something has come about. */
static struct skua_group met;

static void blocks_run(struct skua_worker *self, struct skua_job *job)
{
        model_check(!skua_group_wait(&met, -1), "what a job waits for");
        pool_run(self, job);
}

static void begin_meeting(struct shape shape)
{
        begin(shape);
        shared_new(&met, sizeof met);
        skua_group_init(&met);
        task_init(&tasks[0], blocks_run);
        task_init(&tasks[1], pool_run);
}

/* For the next job: there must be a thread for each. */
static void meets(unsigned least)
{
        begin_meeting((struct shape){least, 2, 0});
        skua_group_hold(&met, 1);
        results[0] = submit_blocking(0, 0, NULL);
        results[1] = submit_blocking(1, 0, &met);
        skua_group_release(&met, 0);
        stop(SKUA_DRAIN);
        model_check(!results[0] && !results[1], "submit");
        check_tasks(2);
}

static void meet_new(void)
{
        meets(1);
}

static void meet_idle(void)
{
        meets(2);
}

/* Until somebody who waits for room has gone. */
static void leaver(void *arg)
{
        submitter(arg);
        skua_group_release(&met, 0);
}

static void closed(void)
{
        unsigned set;

        begin_meeting((struct shape){1, 1, 1});
        skua_group_hold(&met, 1);
        results[0] = submit_blocking(0, 0, NULL);
        results[1] = submit_blocking(1, 0, NULL);
        set = start_thread(leaver, 2);
        skua_close(rt);
        model_threads_join(set);
        stop(SKUA_DRAIN);
        model_check(!results[0] && !results[1] && results[2] == -ESHUTDOWN, "submit");
        check_tasks(3);
}

/* ------------------------------------------------------------------ calls */

static unsigned called, given;
static int awaited;

static int call(void *arg)
{
        shared_read(&given, sizeof given);
        model_check(given == 1, "what was given to a call was not seen");
        shared_write(&called, sizeof called);
        called++;
        return (int)(uintptr_t)arg;
}

static void awaiting_run(struct skua_worker *self, struct skua_job *job)
{
        (void)job;
        given = 1;
        shared_write(&given, sizeof given);
        awaited = skua_await_blocking(self, call, (void *)7);
        shared_read(&called, sizeof called);
        model_check((awaited == 7 && called == 1) || (awaited == -ECANCELED && !called),
                    "a call gives its result, or has not been made");
}

static struct skua_job waiting;

static void begin_call(struct shape shape)
{
        begin(shape);
        shared_new(&called, sizeof called);
        shared_new(&given, sizeof given);
        called = given = 0;
        shared_write(&called, sizeof called);
        shared_new(&waiting, sizeof waiting);
        skua_job_init(&waiting, awaiting_run);
}

static void call_and_wait(void)
{
        begin_call((struct shape){1, 1, 0});
        model_check(!skua_group_submit(rt, &group, &waiting), "submit");
        model_check(!skua_group_wait(&group, -1) && awaited == 7, "an awaited call");
        stop(SKUA_DRAIN);
}

static void call_cancelled(void)
{
        begin_call((struct shape){1, 1, 0});
        model_check(!skua_group_submit(rt, &group, &waiting), "submit");
        skua_group_cancel(&group);
        model_check(skua_group_wait(&group, -1) == -ECANCELED, "a cancelled group");
        stop(SKUA_DRAIN);
}

static void call_stopped(void)
{
        begin_call((struct shape){1, 1, 0});
        model_check(!skua_group_submit(rt, &group, &waiting), "submit");
        stop(SKUA_CANCEL);
        model_check(!skua_group_wait(&group, 0), "the job has ended");
}

/* ------------------------------------------------------------------ a job in the line */

static void lined_run(struct skua_worker *self, struct skua_job *job)
{
        struct skua_target where = SKUA_TARGET_INIT;

        (void)job;
        where.flags = SKUA_BLOCKING;
        for (unsigned i = 0; i < 2; i++) {
                task_init(&tasks[i], pool_run);
                results[i] = skua_await_submit(self, &tasks[i].job, &where);
        }
}

static void lined(void)
{
        begin_call((struct shape){1, 1, 1});
        skua_job_init(&waiting, lined_run);
        model_check(!skua_group_submit(rt, &group, &waiting), "submit");
        model_check(!skua_group_wait(&group, -1), "a job that waits for room");
        stop(SKUA_DRAIN);
        for (unsigned i = 0; i < 2; i++) {
                model_check(!results[i], "room");
                task_done(&tasks[i], 1);
        }
}

/* It is cancelled while it waits, or before, or after. */
static void lined_cancelled(void)
{
        begin_call((struct shape){1, 1, 1});
        skua_job_init(&waiting, lined_run);
        model_check(!skua_group_submit(rt, &group, &waiting), "submit");
        skua_group_cancel(&group);
        skua_group_wait(&group, -1);
        stop(SKUA_DRAIN);
        for (unsigned i = 0; i < 2; i++) {
                model_check(!results[i] || results[i] == -ECANCELED, "room, or cancelled");
                task_done(&tasks[i], !results[i]);
        }
}

static const struct model_scenario scenarios[] = {
        {.name = "blocking: two submitters", .run = submits},
        {.name = "blocking: two submitters and room for one", .run = submits_full},
        {.name = "blocking: two submitters, threads that end", .run = submits_idle},
        {.name = "blocking: submit against stop", .run = submit_stop},
        {.name = "blocking: submit against cancel, room for one", .run = submit_cancel},
        {.name = "blocking: a job that submits while all drains", .run = gives},
        {.name = "blocking: jobs that meet, a thread more", .run = meet_new},
        {.name = "blocking: jobs that meet, an idle thread", .run = meet_idle},
        {.name = "blocking: who waits for room, and a closed door", .run = closed},
        {.name = "blocking: a call", .run = call_and_wait},
        {.name = "blocking: a call against its group's cancellation", .run = call_cancelled},
        {.name = "blocking: a call against a cancelling stop", .run = call_stopped},
        {.name = "blocking: a job that waits for room", .run = lined},
        {.name = "blocking: a job that waits for room, cancelled", .run = lined_cancelled},
};

int main(int argc, char **argv)
{
        return scenarios_main(argc, argv, scenarios, sizeof scenarios / sizeof *scenarios);
}
