/* SPDX-License-Identifier: MIT
 *
 * Jobs that wait, and time: deadlines beside the wake-up, sleeping, yielding; and the two ways to
 * stop beside all of it.
 */
#include "bell.h"

/* ------------------------------------------------------------------ deadlines */

static void out_of_time(void)
{
        begin(1);
        until[0] = SOON_NS;
        submit(0, &groups[OWN], bell_run);
        finish(0, 1);
        model_check(ends[0] == -ETIMEDOUT, "its time is up");
}

static void woken_in_time(void)
{
        unsigned set;

        begin(1);
        until[0] = SOON_NS;
        set = start(ringer, 0);
        submit(0, &groups[OWN], bell_run);
        finish(set, 1);
        is_one_of(ends[0], 0, -ETIMEDOUT);
}

/* By the job's own deadline. */
static void limited(void)
{
        struct skua_target target = SKUA_TARGET_INIT;

        begin(1);
        target.group = &groups[OWN];
        target.deadline_ns = skua_now_ns() + SOON_NS;
        task_init(&tasks[0], bell_run);
        model_check(!skua_submit_to(rt, &tasks[0].job, &target), "submit_to");
        finish(0, 1);
        was_cancelled(0);
}

/* Its timer expires by another worker's hand, as by that of the sentinel. */
static void serve_run(struct skua_worker *self, struct skua_job *job)
{
        struct worker *w = worker_of(self);

        for (unsigned i = 0; i < 2; i++)
                timers_serve(w->runtime->workers[0], w, skua_now_ns());
        task_run(self, job);
}

static void served(void)
{
        struct skua_target target = SKUA_TARGET_INIT;
        unsigned set;

        begin(2);
        until[0] = SOON_NS;
        set = start(ringer, 0);
        target.group = &groups[OWN];
        target.worker = SKUA_WORKER(0);
        task_init(&tasks[0], bell_run);
        model_check(!skua_submit_to(rt, &tasks[0].job, &target), "submit_to");
        target.worker = SKUA_WORKER(1);
        task_init(&tasks[1], serve_run);
        model_check(!skua_submit_to(rt, &tasks[1].job, &target), "submit_to");
        finish(set, 2);
        is_one_of(ends[0], 0, -ETIMEDOUT);
}

/* Waiting for a group, which is not cancelled: by its last release or the clock. */
static void group_run(struct skua_worker *self, struct skua_job *job)
{
        ends[0] = skua_await_group_until(self, &groups[1], skua_now_ns() + SOON_NS);
        if (ends[0])
                ends[1] = skua_await_group(self, &groups[1]);
        shared_read(&data, sizeof data);
        model_check(data == 1, "what was written before the release");
        task_run(self, job);
}

static void releaser(void *arg)
{
        write_data();
        skua_group_release(&groups[(uintptr_t)arg], 0);
}

static void group_until(void)
{
        struct skua_group of_job;
        unsigned set;

        begin(1);
        shared_new(&of_job, sizeof of_job);
        skua_group_init(&of_job);
        skua_group_hold(&groups[1], 1);
        set = start(releaser, 1);
        submit(0, &of_job, group_run);
        skua_group_cancel(&of_job);
        skua_group_wait(&of_job, -1);
        shared_gone(&of_job, sizeof of_job);
        finish(set, 1);
        is_one_of(ends[0], 0, -ETIMEDOUT);
        model_check(!ends[0] || !ends[1], "the second time it waits as long as it takes");
}

/* ------------------------------------------------------------------ yields and sleeps */

static void yield_run(struct skua_worker *self, struct skua_job *job)
{
        unsigned i = (unsigned)(task_of(job) - tasks);

        for (unsigned k = 0; k < 2; k++)
                if ((ends[i] = skua_await_yield(self)))
                        break;
        task_run(self, job);
}

static void yields(void)
{
        unsigned set;

        begin(1);
        set = start(canceller, 1) | start(ringer, 2);
        submit(0, &groups[OWN], yield_run);
        submit(1, &groups[0], yield_run);
        submit(2, NULL, bell_run);
        finish(set, 2);
        task_done(&tasks[2], 1);
        is_one_of(ends[0], 0, -ECANCELED);
        model_check(!ends[1] && !ends[2], "nobody has cancelled these");
}

static void sleep_run(struct skua_worker *self, struct skua_job *job)
{
        int64_t now = skua_now_ns();

        ends[0] = skua_await_sleep(self, SOON_NS);
        model_check(ends[0] || skua_now_ns() >= now + SOON_NS, "too early");
        task_run(self, job);
}

static void drain_sleeper(void)
{
        begin(2);
        submit(0, NULL, sleep_run);
        stop(SKUA_DRAIN);
        task_done(&tasks[0], 1);
        model_check(!ends[0], "a drain lets it sleep");
}

static void sleep_cancelled(void)
{
        unsigned set;

        begin(1);
        set = start(canceller, OWN);
        submit(0, &groups[OWN], sleep_run);
        finish(set, 1);
        is_one_of(ends[0], 0, -ECANCELED);
}

/* ------------------------------------------------------------------ stop */

static void submitter(void *arg)
{
        submit((unsigned)(uintptr_t)arg, NULL, bell_run);
}

static void check_stopped(unsigned count)
{
        for (unsigned i = 0; i < count; i++) {
                model_check(results[i] == 0 || results[i] == -ESHUTDOWN, "submit's result");
                task_done(&tasks[i], results[i] == 0);
                if (!results[i])
                        was_cancelled(i);
        }
}

static void stop_cancels(void)
{
        unsigned set;

        begin(2);
        masked[1] = true;
        set = start(submitter, 0) | start(submitter, 1);
        stop(SKUA_CANCEL);
        model_threads_join(set);
        check_stopped(2);
}

static void stop_cancels_submitted(void)
{
        begin(1);
        submit(0, NULL, bell_run);
        stop(SKUA_CANCEL);
        check_stopped(1);
}

/* A drain that is raised, by its own thread or another. */
static void drain_then_cancel(void)
{
        begin(1);
        submit(0, NULL, bell_run);
        model_check(skua_stop_within(rt, SOON_NS) >= 0, "stop_within");
        check_stopped(1);
}

static void raiser(void *arg)
{
        int result;

        (void)arg;
        result = skua_stop(rt, SKUA_CANCEL);
        model_check(result == 0 || result == -EALREADY, "stop");
}

static void drain_raised(void)
{
        unsigned set;

        begin(1);
        submit(0, NULL, bell_run);
        set = start(raiser, 0);
        is_one_of(skua_stop(rt, SKUA_DRAIN), 0, -EALREADY);
        model_threads_join(set);
        check_stopped(1);
}

/* Who cancels a group above asks all runtimes, also one that has been stopped meanwhile, and the
 * next one in its place. */
static void next_runtime(void)
{
        unsigned set;

        begin(1);
        set = start(canceller, 0) | start(ringer, 0);
        submit(0, &groups[OWN], bell_run);
        skua_group_wait(&groups[0], -1);
        task_done(&tasks[0], 1);
        is_one_of(ends[0], 0, -ECANCELED);
        stop(SKUA_DRAIN);
        start_runtime(1);
        submit(1, NULL, sleep_run);
        stop(SKUA_DRAIN);
        model_threads_join(set);
        task_done(&tasks[1], 1);
        model_check(!ends[0], "what asks the runtime before cancels nothing of this one");
        shared_gone(groups, sizeof groups);
}

#define SCENARIO(text, function)                          \
        {                                                 \
                .name = "pause: " text, .run = (function) \
        }

static const struct model_scenario scenarios[] = {
        SCENARIO("out of time", out_of_time),
        SCENARIO("wake-up beside its deadline", woken_in_time),
        SCENARIO("the deadline of the job", limited),
        SCENARIO("a deadline served by another worker", served),
        SCENARIO("a group that takes too long", group_until),
        SCENARIO("yields beside a cancel", yields),
        SCENARIO("drain beside a sleeper", drain_sleeper),
        SCENARIO("a sleeper is cancelled", sleep_cancelled),
        SCENARIO("stop with cancel", stop_cancels),
        SCENARIO("stop with cancel after a submission", stop_cancels_submitted),
        SCENARIO("a drain that takes too long", drain_then_cancel),
        SCENARIO("a drain that is raised", drain_raised),
        SCENARIO("a late cancel and the next runtime", next_runtime),
};

int main(int argc, char **argv)
{
        return scenarios_main(argc, argv, scenarios, sizeof scenarios / sizeof *scenarios);
}
