/* SPDX-License-Identifier: MIT
 *
 * Straight-line I/O: the completion of an operation that a job awaits, from a device, against
 * cancelling, deadlines, stops, and another worker that takes it. Whatever ends the await, the
 * operation is the job's own again then.
 */
#include "bell.h"

enum { DATA = 8 };

static struct skua_io op;
static int fd;
static bool at_once; /* the kernel has it before the job waits */

static void begin_io(unsigned workers)
{
        begin_with(workers, SLEEP_FUTEX + model_any(2));
        shared_new(&op, sizeof op);
        memset(&op, 0, sizeof op);
        fd = MACHINE_DEVICE;
        at_once = model_any(2);
}

static void device(void *arg)
{
        (void)arg;
        write_data();
        machine_device(DATA, false);
}

static void read_run(struct skua_worker *self, struct skua_job *job)
{
        io_uring_prep_read(skua_io_prepare(self, &op, NULL), fd, NULL, 0, 0);
        if (at_once)
                skua_io_flush(self);
        ends[0] = skua_await_io_until(self, &op, until[0] ? skua_now_ns() + until[0] : 0);
        if (ends[0] == DATA) {
                shared_read(&data, sizeof data);
                model_check(data == 1, "what the device wrote was not seen");
        }
        shared_gone(&op, sizeof op);
        task_run(self, job);
}

/* The device may find nothing any more. */
static void finish_io(unsigned set, unsigned devices, unsigned count)
{
        skua_group_wait(&groups[OWN], -1);
        machine_device_off();
        finish(set | devices, count);
}

static void completed(void)
{
        unsigned set;

        begin_io(1);
        set = start(device, 0);
        submit(0, &groups[OWN], read_run);
        finish_io(0, set, 1);
        model_check(ends[0] == DATA, "its result");
}

static void cancelled_by(void (*entry)(void *arg), unsigned group)
{
        unsigned set;

        begin_io(1);
        fd = MACHINE_SILENT;
        set = start(entry, group);
        submit(0, &groups[OWN], read_run);
        finish_io(set, 0, 1);
        model_check(ends[0] == -ECANCELED, "it has been cancelled");
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

static void completed_beside(void (*entry)(void *arg), unsigned group)
{
        unsigned set, devices;

        begin_io(1);
        devices = start(device, 0);
        set = start(entry, group);
        submit(0, &groups[OWN], read_run);
        finish_io(set, devices, 1);
        is_one_of(ends[0], DATA, -ECANCELED);
}

static void completed_cancelled(void)
{
        completed_beside(canceller, OWN);
}

static void completed_cancelled_above(void)
{
        completed_beside(canceller, 0);
}

static void out_of_time(void)
{
        begin_io(1);
        fd = MACHINE_SILENT;
        until[0] = SOON_NS;
        submit(0, &groups[OWN], read_run);
        finish_io(0, 0, 1);
        model_check(ends[0] == -ETIMEDOUT, "its time is up");
}

/* Two reasons: one of them is told. */
static void out_of_time_cancelled(void)
{
        unsigned set;

        begin_io(1);
        fd = MACHINE_SILENT;
        until[0] = SOON_NS;
        set = start(canceller, OWN);
        submit(0, &groups[OWN], read_run);
        finish_io(set, 0, 1);
        is_one_of(ends[0], -ETIMEDOUT, -ECANCELED);
}

static void completed_in_time(void)
{
        unsigned devices;

        begin_io(1);
        until[0] = SOON_NS;
        devices = start(device, 0);
        submit(0, &groups[OWN], read_run);
        finish_io(0, devices, 1);
        is_one_of(ends[0], DATA, -ETIMEDOUT);
}

static void stop_cancels(void)
{
        begin_io(1);
        fd = MACHINE_SILENT;
        submit(0, NULL, read_run);
        stop(SKUA_CANCEL);
        task_done(&tasks[0], 1);
        model_check(ends[0] == -ECANCELED, "it has been cancelled");
}

static void drain_waits(void)
{
        unsigned devices;

        begin_io(1);
        devices = start(device, 0);
        submit(0, NULL, read_run);
        stop(SKUA_DRAIN);
        model_threads_join(devices);
        task_done(&tasks[0], 1);
        model_check(ends[0] == DATA, "its result");
}

/* A few times by another worker, as by the sentinel; what it leaves alone must not be lost. */
static void rescue_run(struct skua_worker *self, struct skua_job *job)
{
        struct worker *w = worker_of(self);

        for (unsigned i = 0; i < 3; i++)
                machine_rescue(w, w->runtime->workers[0]);
        task_run(self, job);
}

static void rescued(void)
{
        struct skua_target target = SKUA_TARGET_INIT;
        unsigned set, devices;

        begin_io(2);
        machine_io.deferred = false;
        devices = start(device, 0);
        set = start(canceller, OWN);
        target.group = &groups[OWN];
        target.worker = SKUA_WORKER(0);
        task_init(&tasks[0], read_run);
        model_check(!skua_submit_to(rt, &tasks[0].job, &target), "submit_to");
        target.worker = SKUA_WORKER(1);
        task_init(&tasks[1], rescue_run);
        model_check(!skua_submit_to(rt, &tasks[1].job, &target), "submit_to");
        finish_io(set, devices, 2);
        is_one_of(ends[0], DATA, -ECANCELED);
}

#define SCENARIO(text, function)                             \
        {                                                    \
                .name = "straight: " text, .run = (function) \
        }

static const struct model_scenario scenarios[] = {
        SCENARIO("a completion", completed),
        SCENARIO("a cancel", cancelled),
        SCENARIO("a cancel above", cancelled_above),
        SCENARIO("a time to cancel", cancelled_at),
        SCENARIO("completion beside a cancel", completed_cancelled),
        SCENARIO("completion beside a cancel above", completed_cancelled_above),
        SCENARIO("out of time", out_of_time),
        SCENARIO("out of time beside a cancel", out_of_time_cancelled),
        SCENARIO("completion beside its deadline", completed_in_time),
        SCENARIO("stop with cancel", stop_cancels),
        SCENARIO("drain", drain_waits),
        SCENARIO("completion taken by another worker", rescued),
};

int main(int argc, char **argv)
{
        return scenarios_main(argc, argv, scenarios, sizeof scenarios / sizeof *scenarios);
}
