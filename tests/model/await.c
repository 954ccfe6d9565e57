/* SPDX-License-Identifier: MIT
 *
 * Jobs that wait, and cancelling: of their group or one above it, at once or at a time, by threads,
 * jobs and signal handlers, beside the begin of the wait and beside the wake-up.
 */
#include "bell.h"

/* Nobody else ends it. */
static void cancelled_by(void (*entry)(void *arg), unsigned group)
{
        unsigned set;

        begin(1);
        reasoned = entry == canceller;
        set = start(entry, group);
        submit(0, &groups[OWN], bell_run);
        finish(set, 1);
        was_cancelled(0);
}

static void cancelled(void)
{
        cancelled_by(canceller, OWN);
}

static void cancelled_above(void)
{
        cancelled_by(canceller, 0);
}

static void cancelled_at(void)
{
        cancelled_by(late_canceller, OWN);
}

static void cancelled_at_above(void)
{
        cancelled_by(late_canceller, 0);
}

/* Beside its wake-up from a thread, or by a job of any worker. */
static void woken_beside(void (*entry)(void *arg), unsigned group)
{
        unsigned set;

        begin(1);
        reasoned = entry == canceller;
        set = start(entry, group) | start(ringer, 0);
        submit(0, &groups[OWN], bell_run);
        finish(set, 1);
        is_one_of(ends[0], 0, -ECANCELED);
}

static void woken_cancelled(void)
{
        woken_beside(canceller, OWN);
}

static void woken_cancelled_above(void)
{
        woken_beside(canceller, 0);
}

static void woken_cancelled_at(void)
{
        woken_beside(late_canceller, OWN);
}

static void woken_far(void)
{
        woken_beside(far_canceller, OWN);
        model_check(!ends[0] || skua_now_ns() >= FAR_NS, "cancelled before its time");
}

static void woken_far_above(void)
{
        woken_beside(far_canceller, 0);
        model_check(!ends[0] || skua_now_ns() >= FAR_NS, "cancelled before its time");
}

static void by_workers(unsigned group, skua_fn *second, skua_fn *third)
{
        begin(2);
        which = group;
        submit(0, &groups[OWN], bell_run);
        submit(1, NULL, second);
        if (third)
                submit(2, NULL, third);
        finish(0, third ? 3 : 2);
        is_one_of(ends[0], third ? 0 : -ECANCELED, -ECANCELED);
}

static void workers_cancel(void)
{
        by_workers(OWN, cancel_run, NULL);
}

static void workers_cancel_above(void)
{
        by_workers(1, cancel_run, NULL);
}

static void workers_wake_and_cancel(void)
{
        by_workers(OWN, ring_run, cancel_run);
}

static void two_cancel(void)
{
        unsigned set;

        begin(1);
        set = start(canceller, OWN) | start(timeless_canceller, OWN) | start(timeless_canceller, 0);
        submit(0, &groups[OWN], bell_run);
        finish(set, 1);
        was_cancelled(0);
}

/* Times given at once: one of them holds in the end. */
static void near_canceller(void *arg)
{
        skua_group_cancel_at(rt, &groups[(uintptr_t)arg], skua_now_ns() + 2 * SOON_NS);
}

static void two_times(void)
{
        unsigned set;

        begin(1);
        set = start(late_canceller, OWN) | start(near_canceller, OWN);
        submit(0, &groups[OWN], bell_run);
        finish(set, 1);
        was_cancelled(0);
}

/* Two jobs of the group, on any workers: both end, be one listed while the other is asked. */
static void two_jobs(void)
{
        unsigned set;

        begin(2);
        set = start(canceller, OWN);
        submit(0, &groups[OWN], bell_run);
        submit(1, &groups[OWN], bell_run);
        finish(set, 2);
        was_cancelled(0);
        was_cancelled(1);
}

static void two_jobs_one_woken(void)
{
        unsigned set;

        begin(1);
        set = start(canceller, OWN) | start(ringer, 0);
        submit(0, &groups[OWN], bell_run);
        submit(1, &groups[OWN], bell_run);
        finish(set, 2);
        is_one_of(ends[0], 0, -ECANCELED);
        was_cancelled(1);
}

/* A job that waits again: its first wake-up takes the group's list away under who cancels. */
static void twice_run(struct skua_worker *self, struct skua_job *job)
{
        bell_wait(self, 0);
        bell_wait(self, 1);
        task_run(self, job);
}

static void twice(void (*entry)(void *arg), unsigned group)
{
        unsigned set;

        begin(1);
        reasoned = entry == canceller;
        set = start(entry, group) | start(ringer, 0);
        submit(0, &groups[OWN], twice_run);
        finish(set, 1);
        is_one_of(ends[0], 0, -ECANCELED);
        was_cancelled(1);
}

static void twice_cancelled(void)
{
        twice(canceller, OWN);
}

static void twice_cancelled_above(void)
{
        twice(canceller, 0);
}

/* A stolen fork, whose scope is its parent's: what ends the one ends the other. */
static void fork_run(struct skua_worker *self, struct skua_job *job)
{
        bell_wait(self, 1);
        task_run(self, job);
}

static void parent_run(struct skua_worker *self, struct skua_job *job)
{
        task_init(&tasks[1], fork_run);
        skua_fork(self, &tasks[1].job, fork_run);
        bell_wait(self, 0);
        if (skua_join(self, &tasks[1].job))
                fork_run(self, &tasks[1].job);
        task_run(self, job);
}

/* The parent takes its mask off while the fork may wait under it. */
static void masked_parent_run(struct skua_worker *self, struct skua_job *job)
{
        skua_cancel_mask(self, true);
        task_init(&tasks[1], fork_run);
        skua_fork(self, &tasks[1].job, fork_run);
        skua_await_yield(self);
        skua_cancel_mask(self, false);
        bell_wait(self, 0);
        if (skua_join(self, &tasks[1].job))
                fork_run(self, &tasks[1].job);
        task_run(self, job);
}

static void forks_by(skua_fn *parent, unsigned group)
{
        unsigned set;

        begin(2);
        set = start(canceller, group);
        submit(0, &groups[OWN], parent);
        finish(set, 2);
        was_cancelled(0);
        was_cancelled(1);
}

static void forks(void)
{
        forks_by(parent_run, 1);
}

static void mask_taken_off(void)
{
        forks_by(masked_parent_run, OWN);
}

/* The group above is empty between two jobs, and fresh: what it knew of awaits below it has gone
 * with that. */
static void again_above(void)
{
        unsigned set;

        begin(1);
        set = start(ringer, 0);
        submit(0, &groups[OWN], bell_run);
        model_check(!skua_group_wait(&groups[0], -1), "wait");
        set |= start(canceller, 0);
        submit(1, &groups[OWN], bell_run);
        finish(set, 2);
        model_check(!ends[0], "the first has been woken");
        was_cancelled(1);
}

/* The mask keeps everything off but the bell. */
static void mask(void)
{
        unsigned set;

        begin(1);
        masked[0] = true;
        set = start(canceller, 0) | start(late_canceller, OWN) | start(ringer, 0);
        submit(0, &groups[OWN], bell_run);
        finish(set, 1);
        model_check(!ends[0], "the mask was on");
}

/* ------------------------------------------------------------------ by a signal handler */

static struct word32 handled;

static void on_signal(int number)
{
        (void)number;
        skua_group_cancel(&groups[which]);
        store_release_u32(&handled, 1);
}

static void signaller(void *arg)
{
        (void)arg;
        model_signal((unsigned)runtime_of(rt)->workers[0]->thread.id, on_signal);
        while (!load_acquire_u32(&handled))
                spin_hint();
}

/* On the very thread that lists and unlists the await. */
static void signalled(unsigned group, bool rung)
{
        unsigned set;

        begin(1);
        shared_new(&handled, sizeof handled);
        handled.value_ = 0;
        which = group;
        set = start(signaller, 0);
        if (rung)
                set |= start(ringer, 0);
        submit(0, &groups[OWN], bell_run);
        finish(set, 1);
        is_one_of(ends[0], rung ? 0 : -ECANCELED, -ECANCELED);
}

static void signal_cancels(void)
{
        signalled(OWN, false);
}

static void signal_cancels_above(void)
{
        signalled(0, false);
}

static void signal_beside_the_bell(void)
{
        signalled(OWN, true);
}

#define SCENARIO(text, function)                          \
        {                                                 \
                .name = "await: " text, .run = (function) \
        }

static const struct model_scenario scenarios[] = {
        SCENARIO("a cancel", cancelled),
        SCENARIO("a cancel above", cancelled_above),
        SCENARIO("a time to cancel", cancelled_at),
        SCENARIO("a time to cancel above", cancelled_at_above),
        SCENARIO("wake-up beside a cancel", woken_cancelled),
        SCENARIO("wake-up beside a cancel above", woken_cancelled_above),
        SCENARIO("wake-up beside a time to cancel", woken_cancelled_at),
        SCENARIO("wake-up beside a time far away", woken_far),
        SCENARIO("wake-up beside a time far away above", woken_far_above),
        SCENARIO("a cancel by a job", workers_cancel),
        SCENARIO("a cancel above by a job", workers_cancel_above),
        SCENARIO("wake-up and cancel by jobs", workers_wake_and_cancel),
        SCENARIO("several cancel", two_cancel),
        SCENARIO("two times to cancel", two_times),
        SCENARIO("two jobs and a cancel", two_jobs),
        SCENARIO("two jobs, one woken, and a cancel", two_jobs_one_woken),
        SCENARIO("two awaits of a job and a cancel", twice_cancelled),
        SCENARIO("two awaits of a job and a cancel above", twice_cancelled_above),
        SCENARIO("a fork and its parent", forks),
        SCENARIO("a group above used again", again_above),
        SCENARIO("the mask", mask),
        SCENARIO("a mask taken off while a fork waits", mask_taken_off),
        SCENARIO("a signal handler cancels", signal_cancels),
        SCENARIO("a signal handler cancels above", signal_cancels_above),
        SCENARIO("a signal handler cancels beside the wake-up", signal_beside_the_bell),
};

int main(int argc, char **argv)
{
        return scenarios_main(argc, argv, scenarios, sizeof scenarios / sizeof *scenarios);
}
