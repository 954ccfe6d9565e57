/* SPDX-License-Identifier: MIT
 *
 * Workers that sleep in their rings: every kind of wake-up reaches them, by the futex in the ring
 * and by the event that takes its place on older kernels; and asleep they cost nothing.
 */
#include "io/ops.h"

enum { CHECKS = 17 };

static bool by_event; /* as if the ring could not wait for a futex */

static void first_op(struct skua_worker *self, void *arg)
{
        struct worker *w = worker_of(self);
        struct word32 *event = &w->gate->event;
        struct io *io = io_have(w);

        (void)arg;
        if (!by_event)
                return;
        io->ring.futex = false;
        if (!load_relaxed_u32(event)) /* relaxed: own */
                store_relaxed_u32(event, (uint32_t)kernel_event_open());
}

/* Every worker has a ring, and so sleeps in it. */
static struct skua *start(unsigned workers)
{
        struct skua *rt = rig_start(workers, NULL);

        for (unsigned i = 0; i < workers; i++)
                run_on(rt, i, first_op, NULL);
        return rt;
}

/* ------------------------------------------------------------------ from outside */

static void nothing(struct skua_worker *self, void *arg)
{
        (void)self;
        tally_add(arg, 1);
}

static void test_outside(unsigned workers)
{
        struct skua *rt = start(workers);
        struct tally runs = {0};
        unsigned rounds = rig_rounds(3000);

        for (unsigned i = 1; i <= rounds; i++) {
                skua_run(rt, nothing, &runs);
                if (i % 4 == 0)
                        run_on(rt, i / 4 % workers, nothing, &runs);
                if (i % 16 == 0)
                        wait_parked(rt);
        }
        rig_stop(rt);
        tap_ok(tally_read(&runs) == rounds + rounds / 4, "submissions wake, %u workers", workers);
}

/* ------------------------------------------------------------------ completions */

/* Reads a byte and answers it, again and again. */
struct echo {
        struct op op;
        int fds[2];
};

static void echo_read(struct skua_worker *self, struct echo *e);

static void echo_done(struct skua_worker *self, struct skua_job *job)
{
        struct echo *e = skua_container(job, struct echo, op.io.job);

        if (e->op.io.res != 1) {
                tally_add(e->op.tally, 1);
                return;
        }
        if (write(e->fds[0], e->op.data, 1) != 1)
                printf("# write: %s\n", strerror(errno));
        echo_read(self, e);
}

static void echo_read(struct skua_worker *self, struct echo *e)
{
        io_uring_prep_recv(skua_io_prepare(self, &e->op.io, echo_done), e->fds[0], e->op.data, 1,
                           0);
}

static void echo_begin(struct skua_worker *self, void *arg)
{
        echo_read(self, arg);
}

static void test_completions(unsigned workers, bool both)
{
        struct skua *rt = start(workers);
        struct echo echoes[4];
        struct tally ended = {0}, runs = {0};
        unsigned wrong = 0, rounds = rig_rounds(3000);
        char byte;

        for (unsigned i = 0; i < workers; i++) {
                op_init(&echoes[i].op, &ended);
                pair_make(echoes[i].fds);
                run_on(rt, i, echo_begin, &echoes[i]);
        }
        for (unsigned i = 0; i < rounds; i++) {
                int fd = echoes[i % workers].fds[1];

                wrong += write(fd, "x", 1) != 1;
                if (both)
                        skua_run(rt, nothing, &runs);
                wrong += read(fd, &byte, 1) != 1;
        }
        for (unsigned i = 0; i < workers; i++)
                close(echoes[i].fds[1]);
        tally_wait(&ended, workers);
        rig_stop(rt);
        for (unsigned i = 0; i < workers; i++)
                close(echoes[i].fds[0]);
        tap_ok(!wrong, "completions wake%s, %u workers", both ? " while submissions do" : "",
               workers);
}

/* ------------------------------------------------------------------ groups */

struct waiter_job {
        struct skua_job job;
        struct skua_group group;
        struct tally *woken;
};

static void wait_run(struct skua_worker *self, struct skua_job *job)
{
        struct waiter_job *w = skua_container(job, struct waiter_job, job);

        skua_await_group(self, &w->group);
        tally_add(w->woken, 1);
}

/* A suspended stack is resumed on its worker, which sleeps in its ring. */
static void test_groups(unsigned workers)
{
        struct skua *rt = start(workers);
        struct waiter_job w;
        struct tally woken = {0};
        unsigned rounds = rig_rounds(1000);

        w.woken = &woken;
        skua_job_init(&w.job, wait_run);
        for (unsigned i = 1; i <= rounds; i++) {
                struct skua_target where = SKUA_TARGET_INIT;

                skua_group_init(&w.group);
                skua_group_hold(&w.group, 1);
                where.worker = SKUA_WORKER(i % workers);
                skua_submit_to(rt, &w.job, &where);
                if (i & 1)
                        rig_until_suspended(rt, 1);
                skua_group_release(&w.group, 0);
                tally_wait(&woken, i);
        }
        rig_stop(rt);
        tap_ok(true, "groups wake what waits, %u workers", workers);
}

/* ------------------------------------------------------------------ one after another */

static void test_lives(void)
{
        unsigned rounds = rig_rounds(300);
        struct tally ended = {0};

        for (unsigned i = 0; i < rounds; i++) {
                struct skua *rt = start(1 + i % 3);
                struct echo e;
                char byte = 0;

                op_init(&e.op, &ended);
                pair_make(e.fds);
                run_on(rt, 0, echo_begin, &e);
                if (write(e.fds[1], "x", 1) != 1 || read(e.fds[1], &byte, 1) != 1)
                        printf("# no echo\n");
                close(e.fds[1]);
                if (i & 1)
                        wait_parked(rt);
                rig_stop(rt);
                close(e.fds[0]);
        }
        tap_is(tally_read(&ended), rounds, "many runtimes, one after another");
}

/* ------------------------------------------------------------------ asleep */

struct cost {
        unsigned long switches, ticks;
};

static void thread_id(struct skua_worker *self, void *arg)
{
        (void)self;
        *(pid_t *)arg = gettid();
}

static struct cost cost_of(pid_t thread)
{
        struct cost cost = {0, 0};
        unsigned long number;
        char path[64], line[256];
        FILE *in;

        snprintf(path, sizeof path, "/proc/self/task/%d/status", thread);
        if (!(in = fopen(path, "r")))
                return cost;
        while (fgets(line, sizeof line, in))
                if (sscanf(line, "voluntary_ctxt_switches: %lu", &number) == 1 ||
                    sscanf(line, "nonvoluntary_ctxt_switches: %lu", &number) == 1)
                        cost.switches += number;
        fclose(in);
        snprintf(path, sizeof path, "/proc/self/task/%d/stat", thread);
        if (!(in = fopen(path, "r")))
                return cost;
        if (fscanf(in, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &number,
                   &cost.ticks) == 2)
                cost.ticks += number;
        fclose(in);
        return cost;
}

/* With operations in flight. The pause is no synchronisation: a longer one only shows more. What
 * was on its way when all were asleep may come once more. */
static void test_idle(unsigned workers)
{
        struct skua *rt = start(workers);
        struct echo echoes[4];
        struct cost before[4], after;
        struct tally ended = {0};
        struct timespec moment = {0, 20000000}, pause = {0, 400000000};
        unsigned long switches = 0, ticks = 0;
        pid_t threads[4];

        for (unsigned i = 0; i < workers; i++) {
                op_init(&echoes[i].op, &ended);
                pair_make(echoes[i].fds);
                run_on(rt, i, echo_begin, &echoes[i]);
                run_on(rt, i, thread_id, &threads[i]);
        }
        wait_parked(rt);
        nanosleep(&moment, NULL);
        for (unsigned i = 0; i < workers; i++)
                before[i] = cost_of(threads[i]);
        nanosleep(&pause, NULL);
        for (unsigned i = 0; i < workers; i++) {
                after = cost_of(threads[i]);
                switches += after.switches - before[i].switches;
                ticks += after.ticks - before[i].ticks;
        }
        for (unsigned i = 0; i < workers; i++)
                close(echoes[i].fds[1]);
        tally_wait(&ended, workers);
        rig_stop(rt);
        for (unsigned i = 0; i < workers; i++)
                close(echoes[i].fds[0]);
        printf("# %lu switches, %lu ticks\n", switches, ticks);
        tap_ok(switches <= workers && ticks <= workers, "asleep with I/O in flight, %u workers",
               workers);
}

int main(void)
{
        need_ring();
        tap_plan(CHECKS, 120);
        for (unsigned event = 0; event < 2; event++) {
                by_event = event;
                printf("# woken by %s\n", event ? "an event" : "a futex");
                test_outside(1);
                test_outside(4);
                test_completions(1, false);
                test_completions(4, false);
                test_completions(2, true);
                test_groups(2);
                test_idle(3);
                test_lives();
        }
        test_completions(4, true);
        return tap_done();
}
