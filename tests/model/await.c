/* SPDX-License-Identifier: MIT
 *
 * Jobs that wait: their wake-up against everything that may end a wait early, which are cancelling
 * the group, one above it, at once or at a time; a deadline; and the two ways to stop. Workers sleep
 * on their word or in their ring, as the search likes. What they wait for is a bell: one word, for
 * one who waits.
 */
#include <errno.h>
#include <string.h>

#include "io/io.h"
#include "machine/machine.h"
#include "scenario.h"
#include "task.h"
#include "wait/await.h"

enum { TASKS = 4, GROUPS = 3, OWN = GROUPS - 1 };
#define SOON_NS 2000
#define FAR_NS  ((int64_t)1 << 50)

static struct skua *rt;
static struct task tasks[TASKS];
static int results[TASKS]; /* of submitting */
/* each in the one before */
static struct skua_group groups[GROUPS];
static unsigned data;   /* plain: by who rings, then by who has been woken */
static unsigned reason; /* plain: by who cancels, then by who has been cancelled */

/* ------------------------------------------------------------------ bells */

struct bell {
        struct wordptr state; /* NULL, the await, or RUNG */
};

#define RUNG ((void *)1)

struct bell_wait {
        struct await await;
        struct bell *bell;
};

static struct bell bells[TASKS];

static void ring(unsigned i)
{
        /* As in any object: the last touch comes before the wake-up. */
        struct await *await = exchange_acq_rel_ptr(&bells[i].state, RUNG);

        if (await && (void *)await != RUNG)
                waiter_wake(&await->waiter);
}

static bool bell_withdraw(struct worker *w, struct await *a)
{
        struct bell *bell = skua_container(a, struct bell_wait, await)->bell;
        void *expected = a;

        (void)w;
        return cas_acq_rel_ptr(&bell->state, &expected, NULL);
}

static int await_bell(struct skua_worker *self, unsigned i, int64_t until_ns)
{
        struct worker *w = worker_of(self);
        struct bell_wait wait = {.bell = &bells[i]};
        void *nobody = NULL;
        int result;

        if (load_acquire_ptr(&bells[i].state) == RUNG)
                return 0;
        if ((result = await_refused(w, until_ns)))
                return result;
        await_begin(w, &wait.await, bell_withdraw);
        if (!cas_acq_rel_ptr(&bells[i].state, &nobody, &wait.await)) {
                load_acquire_ptr(&bells[i].state);
                return waiter_end(&wait.await.waiter);
        }
        return await_suspend(w, &wait.await, until_ns);
}

/* ------------------------------------------------------------------ a runtime */

static int64_t until[TASKS]; /* of the bell's await, from when it begins; 0: none */
static bool masked[TASKS], reasoned; /* there is one who cancels, and writes why */
static int ends[TASKS]; /* of the bell's await */

static void start_runtime(unsigned workers)
{
        struct skua_options options = SKUA_OPTIONS_INIT;

        options.workers = workers;
        options.spin_ns = (unsigned)SKUA_NONE;
        options.stack_bytes = 16384;
        options.flags = SKUA_NO_PIN;
        model_check(!skua_start(&rt, &options), "start");
}

/* With a ring a worker sleeps in it from then on. */
static void give_ring(struct skua_worker *self, void *arg)
{
        (void)arg;
        model_check(io_have(worker_of(self)), "a ring");
}

static void prepare(void)
{
        shared_new(groups, sizeof groups);
        shared_new(bells, sizeof bells);
        shared_new(&data, sizeof data);
        shared_new(&reason, sizeof reason);
        memset(bells, 0, sizeof bells);
        memset(until, 0, sizeof until);
        memset(masked, 0, sizeof masked);
        reasoned = false;
        for (unsigned i = 0; i < TASKS; i++)
                ends[i] = results[i] = 1;
        data = reason = 0;
        skua_group_init(&groups[0]);
        for (unsigned i = 1; i < GROUPS; i++)
                skua_group_init_under(&groups[i], &groups[i - 1]);
        model_name(groups, sizeof groups, "groups");
        model_name(bells, sizeof bells, "bells");
}

static void begin(unsigned workers)
{
        unsigned how = model_any(3);

        machine_begin(1);
        machine_io = (struct machine_io){
                .ring = how, .futex = how == 1, .deferred = how && model_any(2)};
        prepare();
        start_runtime(workers);
        if (how)
                model_check(!skua_run(rt, give_ring, NULL), "run");
}

static void stop(enum skua_stop_how how)
{
        model_check(!skua_stop(rt, how), "stop");
}

static unsigned start(void (*entry)(void *arg), unsigned i)
{
        return 1u << model_thread_start(entry, (void *)(uintptr_t)i);
}

/* ------------------------------------------------------------------ jobs and threads */

static void bell_wait(struct skua_worker *self, unsigned i)
{
        int64_t until_ns = until[i] ? skua_now_ns() + until[i] : 0;

        ends[i] = await_bell(self, i, until_ns);
        if (!ends[i]) {
                shared_read(&data, sizeof data);
                model_check(data == 1, "what was written before the bell rang");
        }
        if (ends[i] == -ECANCELED && reasoned) {
                shared_read(&reason, sizeof reason);
                model_check(reason == 1, "why it was cancelled");
        }
        if (ends[i] == -ETIMEDOUT)
                model_check(until_ns && skua_now_ns() >= until_ns, "before its time");
}

static void bell_run(struct skua_worker *self, struct skua_job *job)
{
        unsigned i = (unsigned)(task_of(job) - tasks);

        if (masked[i])
                skua_cancel_mask(self, true);
        bell_wait(self, i);
        task_run(self, job);
}

static void submit(unsigned i, struct skua_group *group, skua_fn *run)
{
        struct skua_target target = SKUA_TARGET_INIT;

        target.group = group;
        task_init(&tasks[i], run);
        results[i] = skua_submit_to(rt, &tasks[i].job, &target);
}

static void write_data(void)
{
        data = 1;
        shared_write(&data, sizeof data);
}

static void ringer(void *arg)
{
        write_data();
        ring((unsigned)(uintptr_t)arg);
}

static void canceller(void *arg)
{
        reason = 1;
        shared_write(&reason, sizeof reason);
        skua_group_cancel(&groups[(uintptr_t)arg]);
}

static void late_canceller(void *arg)
{
        skua_group_cancel_at(rt, &groups[(uintptr_t)arg], skua_now_ns() + SOON_NS);
}

static void far_canceller(void *arg)
{
        skua_group_cancel_at(rt, &groups[(uintptr_t)arg], FAR_NS);
}

/* By a job of any worker. */
static unsigned which;

static void cancel_run(struct skua_worker *self, struct skua_job *job)
{
        skua_group_cancel(&groups[which]);
        task_run(self, job);
}

static void ring_run(struct skua_worker *self, struct skua_job *job)
{
        ringer(0);
        task_run(self, job);
}

/* All jobs have ended: the frames have gone, and so may the groups. */
static void finish(unsigned set, unsigned count)
{
        for (unsigned i = GROUPS; i-- > 0;)
                skua_group_wait(&groups[i], -1);
        model_threads_join(set);
        stop(SKUA_DRAIN);
        for (unsigned i = 0; i < count; i++)
                task_done(&tasks[i], 1);
        shared_gone(groups, sizeof groups);
}

static void was_cancelled(unsigned i)
{
        model_check(ends[i] == -ECANCELED, "it has been cancelled");
        model_check(bells[i].state.value_ == NULL, "it is still at the bell");
}

static void is_one_of(int end, int a, int b)
{
        model_check(end == a || end == b, "how the await ended");
}

/* ------------------------------------------------------------------ cancelled */

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
        set = start(canceller, OWN) | start(far_canceller, 0) | start(far_canceller, OWN);
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

static void forks(void)
{
        unsigned set;

        begin(2);
        set = start(canceller, 1);
        submit(0, &groups[OWN], parent_run);
        finish(set, 2);
        was_cancelled(0);
        was_cancelled(1);
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

/* The job's own deadline, beside one of the await that is far away. */
static void limited(void)
{
        struct skua_target target = SKUA_TARGET_INIT;

        begin(1);
        until[0] = FAR_NS;
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

#define SCENARIO(text, function) {.name = "await: " text, .run = (function)}

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
        SCENARIO("two awaits of a job and a cancel", twice_cancelled),
        SCENARIO("two awaits of a job and a cancel above", twice_cancelled_above),
        SCENARIO("a fork and its parent", forks),
        SCENARIO("a group above used again", again_above),
        SCENARIO("the mask", mask),
        SCENARIO("a signal handler cancels", signal_cancels),
        SCENARIO("a signal handler cancels above", signal_cancels_above),
        SCENARIO("a signal handler cancels beside the wake-up", signal_beside_the_bell),
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
