/* SPDX-License-Identifier: MIT
 *
 * Workers with a ring: sleeping in it, completions that come meanwhile, operations that complete
 * several times, and early ends. A device completes operations when the search likes.
 */
#include <errno.h>
#include <string.h>

#include "io/io.h"
#include "stand.h"

enum { TASKS = 6, OPERATIONS = 3, SHOTS = 3, DATA = 8 };

/* An operation that is watched. */
struct call {
        struct skua_io io;
        unsigned completions;
        int32_t last;
};

static struct skua *rt;
static struct task tasks[TASKS];
static int results[TASKS];
static struct skua_group group;
static struct call calls[OPERATIONS];
static struct word32 handled; /* completions */
static unsigned data;         /* plain: by the device, then by who handles the completion */
static int fd;
static struct word32 parts; /* of those who still need an operation: the last one ends it */

/* ------------------------------------------------------------------ whole runtimes */

static void prepare(void)
{
        shared_new(&group, sizeof group);
        shared_new(&handled, sizeof handled);
        shared_new(&parts, sizeof parts);
        shared_new(&data, sizeof data);
        shared_new(calls, sizeof calls);
        memset(calls, 0, sizeof calls);
        skua_group_init(&group);
        handled.value_ = parts.value_ = 0;
        data = 0;
        fd = MACHINE_DEVICE;
        model_name(&handled, sizeof handled, "handled");
        model_name(calls, sizeof calls, "calls");
}

static void begin(unsigned workers, bool futex, bool deferred)
{
        struct skua_options options = SKUA_OPTIONS_INIT;

        machine_begin(1);
        machine_io = (struct machine_io){.ring = true, .futex = futex, .deferred = deferred};
        options.workers = workers;
        options.spin_ns = (unsigned)SKUA_NONE;
        options.stack_bytes = 16384;
        options.flags = SKUA_NO_PIN;
        prepare();
        model_check(!skua_start(&rt, &options), "start");
}

static void begin_any(unsigned workers)
{
        begin(workers, model_any(2), model_any(2));
}

static void stop(enum skua_stop_how how)
{
        model_check(!skua_stop(rt, how), "stop");
}

static void send_to(unsigned i, unsigned worker, skua_fn *run)
{
        struct skua_target target = SKUA_TARGET_INIT;

        target.worker = SKUA_WORKER(worker);
        target.group = &group;
        task_init(&tasks[i], run);
        results[i] = skua_submit_to(rt, &tasks[i].job, &target);
}

static void wait_group(void)
{
        model_check(!skua_group_wait(&group, -1), "wait");
}

static unsigned start(void (*entry)(void *arg), unsigned i)
{
        return 1u << model_thread_start(entry, (void *)(uintptr_t)i);
}

/* ------------------------------------------------------------------ operations */

static struct call *call_of(struct skua_job *job)
{
        return skua_container(job, struct call, io.job);
}

static void part_with(struct call *c)
{
        if (fetch_add_acq_rel_u32(&parts, -(uint32_t)1) == 1)
                shared_gone(&c->io, sizeof c->io);
}

static void completed(struct skua_worker *self, struct skua_job *job)
{
        struct call *c = call_of(job);

        (void)self;
        shared_read(&c->io.res, sizeof c->io.res);
        shared_write(&c->completions, sizeof c->completions);
        model_check(!c->completions++, "an operation has completed twice");
        c->last = c->io.res;
        if (c->last == DATA) {
                shared_read(&data, sizeof data);
                model_check(data == 1, "what the device wrote was not seen");
        }
        part_with(c);
        fetch_add_acq_rel_u32(&handled, 1);
        model_futex_wake(&handled, 1);
}

static void call_done(struct call *c)
{
        shared_read(&c->completions, sizeof c->completions);
        model_check(c->completions, "an operation has not completed");
}

/* A job of worker i: an operation that completes at once, so that it has a ring. */
static void nothing_run(struct skua_worker *self, struct skua_job *job)
{
        struct call *c = &calls[task_of(job) - tasks];
        struct skua_target target = SKUA_TARGET_INIT;

        target.group = &group;
        io_uring_prep_nop(skua_io_prepare_to(self, &c->io, completed, &target));
        task_run(self, job);
}

static void give_rings(unsigned workers)
{
        if (!workers)
                return;
        for (unsigned i = 0; i < workers; i++)
                send_to(i, i, nothing_run);
        wait_group();
        for (unsigned i = 0; i < workers; i++) {
                task_done(&tasks[i], 1);
                call_done(&calls[i]);
                model_check(!calls[i].last, "nothing's result");
                calls[i].completions = 0;
        }
        /* relaxed: the next job publishes it. */
        store_relaxed_u32(&handled, 0);
}

/* A job that reads from the device. */
static void read_run(struct skua_worker *self, struct skua_job *job)
{
        struct skua_target target = SKUA_TARGET_INIT;

        target.group = &group;
        io_uring_prep_read(skua_io_prepare_to(self, &calls[2].io, completed, &target), fd, NULL, 0,
                           0);
        task_run(self, job);
}

static void device(void *arg)
{
        (void)arg;
        data = 1;
        shared_write(&data, sizeof data);
        machine_device(DATA, false);
}

/* ------------------------------------------------------------------ asleep in the ring */

static void submitter(void *arg)
{
        unsigned i = (unsigned)(uintptr_t)arg;

        task_init(&tasks[i], task_run);
        results[i] = skua_group_submit(rt, &group, &tasks[i].job);
}

static void sender(void *arg)
{
        send_to((unsigned)(uintptr_t)arg, 0, task_run);
}

static void submits(unsigned workers, bool futex, bool deferred, void (*entry)(void *arg))
{
        unsigned set;

        begin(workers, futex, deferred);
        give_rings(workers);
        skua_group_hold(&group, 2);
        set = start(entry, 0) | start(entry, 1);
        model_threads_join(set);
        skua_group_release(&group, 0);
        skua_group_release(&group, 0);
        wait_group();
        task_done(&tasks[0], 1);
        task_done(&tasks[1], 1);
        entry((void *)2);
        wait_group();
        task_done(&tasks[2], 1);
        stop(SKUA_DRAIN);
}

static void submits_futex(void)
{
        submits(1, true, model_any(2), submitter);
}

static void submits_event(void)
{
        submits(1, false, model_any(2), submitter);
}

static void sends_futex(void)
{
        submits(2, true, model_any(2), sender);
}

static void sends_event(void)
{
        submits(2, false, model_any(2), sender);
}

/* A completion and a job from outside, at once; then a job more. */
static void completion(unsigned workers, bool futex)
{
        unsigned set;

        begin(workers, futex, model_any(2));
        send_to(0, 0, read_run);
        set = start(device, 0);
        send_to(1, 0, task_run);
        wait_group();
        model_threads_join(set);
        call_done(&calls[2]);
        model_check(calls[2].last == DATA, "the operation's result");
        task_done(&tasks[0], 1);
        task_done(&tasks[1], 1);
        send_to(2, 0, task_run);
        wait_group();
        task_done(&tasks[2], 1);
        stop(SKUA_DRAIN);
}

static void completion_futex(void)
{
        completion(1, true);
}

static void completion_event(void)
{
        completion(1, false);
}

static void completion_two(void)
{
        completion(2, model_any(2));
}

/* A delayed job from outside: its time is for the ring's sleep to end at. */
static void delayed(void)
{
        struct skua_target target = SKUA_TARGET_INIT;

        begin_any(1);
        give_rings(1);
        target.delay_ns = 1000;
        target.group = &group;
        task_init(&tasks[0], task_run);
        model_check(!skua_submit_to(rt, &tasks[0].job, &target), "submit_to");
        wait_group();
        task_done(&tasks[0], 1);
        stop(SKUA_DRAIN);
}

/* ------------------------------------------------------------------ early ends */

static void cancel_run(struct skua_worker *self, struct skua_job *job)
{
        skua_io_cancel(self, &calls[2].io);
        part_with(&calls[2]);
        task_run(self, job);
}

static void read_and_send_run(struct skua_worker *self, struct skua_job *job)
{
        read_run(self, job);
        send_to(1, 1, cancel_run);
}

static void device_or_off(void *arg)
{
        (void)arg;
        data = 1;
        shared_write(&data, sizeof data);
        machine_device(DATA, false);
}

static void end_early(skua_fn *run, int where, int how_it_ends)
{
        unsigned set;

        begin_any(2);
        fd = where;
        parts.value_ = run == read_and_send_run ? 2 : 1;
        set = start(device_or_off, 0);
        send_to(0, 0, run);
        wait_group();
        machine_device_off();
        model_threads_join(set);
        call_done(&calls[2]);
        model_check(calls[2].last == how_it_ends ||
                            (where == MACHINE_DEVICE && calls[2].last == DATA),
                    "the operation's result");
        task_done(&tasks[0], 1);
        stop(SKUA_DRAIN);
}

static void cancel_silent(void)
{
        end_early(read_and_send_run, MACHINE_SILENT, -ECANCELED);
        task_done(&tasks[1], 1);
}

static void cancel_device(void)
{
        end_early(read_and_send_run, MACHINE_DEVICE, -ECANCELED);
        task_done(&tasks[1], 1);
}

static void deadline_run(struct skua_worker *self, struct skua_job *job)
{
        struct skua_target target = SKUA_TARGET_INIT;

        target.group = &group;
        target.deadline_ns = model_now_ns() + 50000;
        io_uring_prep_read(skua_io_prepare_to(self, &calls[2].io, completed, &target), fd, NULL, 0,
                           0);
        task_run(self, job);
}

static void deadline_silent(void)
{
        end_early(deadline_run, MACHINE_SILENT, -ETIMEDOUT);
}

static void deadline_device(void)
{
        end_early(deadline_run, MACHINE_DEVICE, -ETIMEDOUT);
}

/* ------------------------------------------------------------------ stops */

static void accept_run(struct skua_worker *self, struct skua_job *job)
{
        io_uring_prep_accept(skua_io_prepare(self, &calls[2].io, completed), MACHINE_SILENT, NULL,
                             NULL, 0);
        task_run(self, job);
}

static void accepter(void *arg)
{
        struct skua_target target = SKUA_TARGET_INIT;

        (void)arg;
        target.worker = SKUA_WORKER(0);
        task_init(&tasks[5], accept_run);
        results[5] = skua_submit_to(rt, &tasks[5].job, &target);
}

/* Something that would go on for ever is begun while the runtime stops. */
static void endless(bool ring_before, enum skua_stop_how how)
{
        unsigned set;

        begin_any(2);
        if (ring_before)
                give_rings(1);
        set = start(accepter, 0);
        stop(how);
        model_threads_join(set);
        model_check(results[5] == 0 || results[5] == -ESHUTDOWN, "submit's result");
        task_done(&tasks[5], !results[5]);
        if (results[5])
                return;
        call_done(&calls[2]);
        model_check(calls[2].last == -ECANCELED, "the operation's result");
}

static void endless_first(void)
{
        endless(false, SKUA_DRAIN);
}

static void endless_drain(void)
{
        endless(true, SKUA_DRAIN);
}

static void endless_cancel(void)
{
        endless(true, SKUA_CANCEL);
}

/* A read that nobody answers, while the runtime is cancelled. */
static void read_submitter(void *arg)
{
        (void)arg;
        task_init(&tasks[5], read_run);
        results[5] = skua_submit(rt, &tasks[5].job);
}

static void read_cancel(void)
{
        unsigned set;

        begin_any(2);
        fd = MACHINE_SILENT;
        set = start(read_submitter, 0);
        stop(SKUA_CANCEL);
        model_threads_join(set);
        task_done(&tasks[5], !results[5]);
        if (results[5])
                return;
        call_done(&calls[2]);
        model_check(calls[2].last == -ECANCELED, "the operation's result");
}

/* ------------------------------------------------------------------ several completions */

/* In order, one at a time, and after the last one it is the caller's. */
static void shot(struct skua_worker *self, struct skua_job *job)
{
        struct call *c = call_of(job);
        bool more = c->io.flags & SKUA_IO_MORE;

        (void)self;
        shared_read(&c->io.res, sizeof c->io.res);
        shared_write(&c->completions, sizeof c->completions);
        model_check(c->io.res == (int32_t)++c->completions, "completions out of order");
        model_check(more == (c->completions < SHOTS), "not the last one");
        if (!more)
                shared_gone(c, sizeof *c);
        fetch_add_acq_rel_u32(&handled, 1);
        model_futex_wake(&handled, 2);
}

static void begin_shots(struct skua_worker *self)
{
        struct skua_target target = SKUA_TARGET_INIT;

        target.group = &group;
        io_uring_prep_poll_multishot(skua_io_prepare_to(self, &calls[0].io, shot, &target),
                                     MACHINE_DEVICE, 1);
}

static void shots_device(void *arg)
{
        (void)arg;
        for (int i = 1; i <= SHOTS; i++)
                machine_device(i, i < SHOTS);
}

static void shots_run(struct skua_worker *self, struct skua_job *job)
{
        begin_shots(self);
        task_run(self, job);
}

static void shots(void)
{
        unsigned set;

        begin_any(2);
        set = start(shots_device, 0);
        send_to(0, 0, shots_run);
        wait_group();
        model_threads_join(set);
        task_done(&tasks[0], 1);
        model_check(load_relaxed_u32(&handled) == SHOTS, "completions were lost");
        stop(SKUA_DRAIN);
}

static void wait_shots(void)
{
        uint32_t n;

        while ((n = load_acquire_u32(&handled)) < SHOTS)
                model_futex_wait(&handled, n, 0);
}

/* Their worker is busy until the last one has been handled: the other must take them. */
static void busy_run(struct skua_worker *self, struct skua_job *job)
{
        begin_shots(self);
        skua_io_flush(self);
        wait_shots();
        task_run(self, job);
}

static void busy_with(unsigned rings)
{
        unsigned set;

        begin_any(2);
        machine_io.watch = true;
        machine_io.deferred = false;
        give_rings(rings);
        set = start(shots_device, 0);
        send_to(0, 0, busy_run);
        wait_group();
        model_threads_join(set);
        task_done(&tasks[0], 1);
        stop(SKUA_DRAIN);
}

static void keep_run(struct skua_worker *self, struct skua_job *job)
{
        wait_shots();
        task_run(self, job);
}

/* The worker is asleep as they come, or not, and is woken by them or for the job that keeps it. */
static void woken(void)
{
        unsigned set;

        begin_any(2);
        machine_io.watch = true;
        machine_io.deferred = false;
        give_rings(2);
        skua_group_hold(&group, 1);
        send_to(0, 0, shots_run);
        set = start(shots_device, 0);
        send_to(1, 0, keep_run);
        skua_group_release(&group, 0);
        wait_group();
        model_threads_join(set);
        task_done(&tasks[0], 1);
        task_done(&tasks[1], 1);
        stop(SKUA_DRAIN);
}

static void busy(void)
{
        busy_with(2);
}

/* Who looks after it may be asleep since before there was a ring. */
static void busy_first(void)
{
        busy_with(0);
}

/* ------------------------------------------------------------------ taken by two */

/* Workers without a loop of their own, of which the second takes the first one's completions
 * whenever it likes. */
static unsigned wanted;

static void stand(bool futex, bool deferred)
{
        stand_begin(2, 0);
        machine_io = (struct machine_io){.ring = true, .futex = futex, .deferred = deferred};
        rt = stand_->handle;
        prepare();
}

static void run_batch(struct worker *w)
{
        struct skua_job *job;

        while ((job = queue_take(&w->batch)) || (job = queue_pop(&w->run, false)))
                job->run_(&w->face, job);
}

static void shots_owner(void *arg)
{
        struct worker *w = stand_worker(0);

        (void)arg;
        self_set(w);
        begin_shots(&w->face);
        io_send(w->io);
        while (load_acquire_u32(&handled) < SHOTS) {
                io_turn(w);
                run_batch(w);
                spin_hint();
        }
}

/* A few times; what it leaves alone must not be lost. */
static void helper(void *arg)
{
        struct worker *w = stand_worker(1);

        (void)arg;
        self_set(w);
        for (unsigned i = 0; i < 3; i++) {
                machine_rescue(w, stand_worker(0));
                run_batch(w);
                spin_hint();
        }
}

static void shots_helper(void *arg)
{
        struct worker *w = stand_worker(1);

        (void)arg;
        self_set(w);
        while (load_acquire_u32(&handled) < SHOTS) {
                machine_rescue(w, stand_worker(0));
                run_batch(w);
                spin_hint();
        }
}

static void two_takers(void)
{
        unsigned set;

        stand(true, model_any(2));
        set = start(shots_owner, 0);
        stand_worker(0)->thread.id = 1;
        set |= start(shots_helper, 0) | start(shots_device, 0);
        model_threads_join(set);
        model_check(load_relaxed_u32(&handled) == SHOTS, "completions were lost");
}

/* The second takes also what is to end the first one's sleep. */
static void addressee(void *arg)
{
        struct worker *w = stand_worker(0);
        unsigned got = 0;

        (void)arg;
        self_set(w);
        io_have(w);
        park_search(w);
        while (got < wanted) {
                struct skua_job *job = exchange_acq_rel_ptr(&w->gate->jobs, NULL), *next;

                io_turn(w);
                if (!job)
                        park(w);
                for (; job; job = next) {
                        shared_read(&job->next_, sizeof job->next_);
                        next = job->next_;
                        task_ran(task_of(job));
                        got++;
                }
        }
        fetch_add_acq_rel_u64(&w->runtime->summary, -PARK_SEARCH_ONE);
        io_close(w);
}

static void sleeper(bool futex, bool deferred)
{
        unsigned set;

        stand(futex, deferred);
        wanted = 3;
        stand_->summary.value_ += PARK_SEARCH_ONE;
        set = start(addressee, 0);
        stand_worker(0)->thread.id = 1;
        set |= start(helper, 0);
        for (unsigned i = 0; i < wanted; i++)
                send_to(i, 0, task_run);
        model_threads_join(set);
        for (unsigned i = 0; i < wanted; i++)
                task_done(&tasks[i], 1);
}

static void sleeper_futex(void)
{
        sleeper(true, model_any(2));
}

static void sleeper_event(void)
{
        sleeper(false, model_any(2));
}

static const struct model_scenario scenarios[] = {
        {.name = "ring: submits, woken by the futex", .run = submits_futex},
        {.name = "ring: submits, woken by the eventfd", .run = submits_event},
        {.name = "ring: targeted jobs, woken by the futex", .run = sends_futex},
        {.name = "ring: targeted jobs, woken by the eventfd", .run = sends_event},
        {.name = "ring: a completion and a job, futex", .run = completion_futex},
        {.name = "ring: a completion and a job, eventfd", .run = completion_event},
        {.name = "ring: a completion and a job, two workers", .run = completion_two},
        {.name = "ring: a delayed job", .run = delayed},
        {.name = "ring: cancelled by the other worker", .run = cancel_silent},
        {.name = "ring: cancelled by the other worker, or completed", .run = cancel_device},
        {.name = "ring: a deadline", .run = deadline_silent},
        {.name = "ring: a deadline, or completed", .run = deadline_device},
        {.name = "ring: an endless operation against stop", .run = endless_first},
        {.name = "ring: an endless operation in a ring against stop", .run = endless_drain},
        {.name = "ring: an endless operation against cancel", .run = endless_cancel},
        {.name = "ring: an operation against cancel", .run = read_cancel},
        {.name = "ring: several completions", .run = shots},
        {.name = "ring: several completions of a busy worker", .run = busy},
        {.name = "ring: several completions of a busy worker's first operation", .run = busy_first},
        {.name = "ring: several completions as their worker gets a long job", .run = woken},
        {.name = "ring: several completions, taken by two", .run = two_takers},
        {.name = "ring: asleep with a helper, futex", .run = sleeper_futex, .share = 4},
        {.name = "ring: asleep with a helper, eventfd", .run = sleeper_event, .share = 4},
};

int main(int argc, char **argv)
{
        return scenarios_main(argc, argv, scenarios, sizeof scenarios / sizeof *scenarios);
}
