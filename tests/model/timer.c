/* SPDX-License-Identifier: MIT
 *
 * Timers of whole runtimes: armed from outside while the worker parks, cancelled and moved beside
 * their expiry, and against the stop.
 */
#include <errno.h>
#include <string.h>

#include "machine/machine.h"
#include "scenario.h"
#include "task.h"

enum { TASKS = 3, SOON_NS = 1000, LATER_NS = 100000000 };

static struct skua *rt;
static struct task tasks[TASKS];
static int results[TASKS];
static int64_t delays[TASKS];
static struct skua_group group;

static void begin(unsigned workers)
{
        struct skua_options options = SKUA_OPTIONS_INIT;

        machine_begin(1);
        options.workers = workers;
        options.spin_ns = (unsigned)SKUA_NONE;
        options.stack_bytes = 16384;
        options.flags = SKUA_NO_PIN;
        model_check(!skua_start(&rt, &options), "start");
        shared_new(&group, sizeof group);
        skua_group_init(&group);
        for (unsigned i = 0; i < TASKS; i++)
                delays[i] = SOON_NS;
}

static void stop(enum skua_stop_how how)
{
        model_check(!skua_stop(rt, how), "stop");
}

static unsigned start_thread(void (*entry)(void *arg), unsigned i)
{
        return 1u << model_thread_start(entry, (void *)(uintptr_t)i);
}

/* ------------------------------------------------------------------ delayed jobs */

static void submitter(void *arg)
{
        unsigned i = (unsigned)(uintptr_t)arg;
        struct skua_target where = SKUA_TARGET_INIT;

        where.delay_ns = delays[i];
        where.group = &group;
        task_init(&tasks[i], task_run);
        results[i] = skua_submit_to(rt, &tasks[i].job, &where);
}

static void delayed(unsigned workers, unsigned count)
{
        unsigned set = 0;

        begin(workers);
        delays[1] = LATER_NS;
        for (unsigned i = 0; i < count; i++)
                set |= start_thread(submitter, i);
        model_threads_join(set);
        model_check(!skua_group_wait(&group, -1), "wait");
        for (unsigned i = 0; i < count; i++) {
                model_check(!results[i], "submit");
                model_check(!tasks[i].cancelled, "cancelled without a stop");
                task_done(&tasks[i], 1);
        }
        stop(SKUA_DRAIN);
}

static void one_delayed(void)
{
        delayed(1, 1);
}

static void two_delayed(void)
{
        delayed(1, 2);
}

static void two_delayed_two_workers(void)
{
        delayed(2, 2);
}

static void delayed_against_stop(void)
{
        unsigned set;

        begin(2);
        delays[1] = LATER_NS;
        set = start_thread(submitter, 0) | start_thread(submitter, 1);
        stop(SKUA_DRAIN);
        model_threads_join(set);
        for (unsigned i = 0; i < 2; i++) {
                model_check(results[i] == 0 || results[i] == -ESHUTDOWN, "submit's result");
                task_done(&tasks[i], results[i] == 0);
        }
}

/* ------------------------------------------------------------------ timers */

static struct skua_timer timer;
static struct word32 calls, stops;
static unsigned seen; /* plain: by who starts the timer, then by its job */
static bool taken_back;

static void timer_job(struct skua_worker *self, struct skua_job *job)
{
        (void)job;
        shared_read(&seen, sizeof seen);
        model_check(seen == 1, "what the timer's starter wrote");
        fetch_add_acq_rel_u32(&calls, 1);
        if (skua_cancelled(self))
                fetch_add_acq_rel_u32(&stops, 1);
}

static void begin_timer(unsigned workers)
{
        begin(workers);
        calls.value_ = stops.value_ = 0;
        shared_new(&calls, sizeof calls);
        shared_new(&stops, sizeof stops);
        shared_new(&seen, sizeof seen);
        skua_timer_init(&timer, timer_job);
}

static void move_timer(struct skua_worker *self, void *arg)
{
        skua_timer_start(self, &timer, skua_now_ns() + (int64_t)(uintptr_t)arg);
}

static void arm_timer(struct skua_worker *self, void *arg)
{
        seen = 1;
        shared_write(&seen, sizeof seen);
        move_timer(self, arg);
}

static void cancel_timer(struct skua_worker *self, void *arg)
{
        (void)arg;
        taken_back = skua_timer_cancel(self, &timer);
}

static void run(void (*fn)(struct skua_worker *self, void *arg), uintptr_t arg)
{
        model_check(!skua_run(rt, fn, (void *)arg), "run");
}

static void cancel_against_expiry(void)
{
        begin_timer(2);
        run(arm_timer, SOON_NS);
        run(cancel_timer, 0);
        stop(SKUA_DRAIN);
        model_check(load_relaxed_u32(&calls) == !taken_back, "called or cancelled");
}

/* Started anew while it expires, also on the other worker: called once or twice, and not more. */
static void move_against_expiry(void)
{
        begin_timer(2);
        run(arm_timer, SOON_NS);
        run(move_timer, SOON_NS);
        stop(SKUA_DRAIN);
        model_check(load_relaxed_u32(&calls) >= 1 && load_relaxed_u32(&calls) <= 2, "calls");
}

static void arm_thread(void *arg)
{
        results[0] = skua_run(rt, arm_timer, arg);
}

/* Far away, armed before the stop or after: called as cancelled. */
static void arm_against_stop(void)
{
        unsigned set;

        begin_timer(1);
        set = start_thread(arm_thread, LATER_NS);
        stop(SKUA_DRAIN);
        model_threads_join(set);
        model_check(results[0] == 0 || results[0] == -ESHUTDOWN, "run's result");
        model_check(load_relaxed_u32(&calls) == (results[0] == 0), "called in the end");
}

static const struct model_scenario scenarios[] = {
        {.name = "timer: a delayed job, one worker", .run = one_delayed},
        {.name = "timer: two delayed jobs, one worker", .run = two_delayed},
        {.name = "timer: two delayed jobs, two workers", .run = two_delayed_two_workers},
        {.name = "timer: delayed jobs against stop", .run = delayed_against_stop},
        {.name = "timer: cancel against expiry", .run = cancel_against_expiry},
        {.name = "timer: move against expiry", .run = move_against_expiry},
        {.name = "timer: arm against stop", .run = arm_against_stop},
};

int main(int argc, char **argv)
{
        return scenarios_main(argc, argv, scenarios, sizeof scenarios / sizeof *scenarios);
}
