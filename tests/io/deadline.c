/* SPDX-License-Identifier: MIT
 *
 * Operations with a deadline: what comes in time wins, what does not ends with -ETIMEDOUT, and what
 * is late from the beginning is not done at all.
 */
/* link: -luring */
#include "ops.h"
#include "release.h"

#include <sys/ioctl.h>

enum { OPS = 50, SOON_NS = 3000000, CHECKS = 9, RUNS = 4 };
#define FAR_NS 3600000000000

struct scene {
        struct op ops[OPS];
        struct skua_group group;
        struct tally tally;
        int pipe[2], pair[2];
        int64_t deadline_ns;
        unsigned cancel; /* so many are cancelled at once */
};

static void prepare(struct skua_worker *self, struct op *op, struct scene *s,
                    struct io_uring_sqe **sqe)
{
        struct skua_target where = SKUA_TARGET_INIT;

        op_init(op, &s->tally);
        where.group = &s->group;
        where.deadline_ns = s->deadline_ns;
        *sqe = skua_io_prepare_to(self, &op->io, op_done, &where);
}

static void reads(struct skua_worker *self, void *arg)
{
        struct scene *s = arg;
        struct io_uring_sqe *sqe;

        for (unsigned i = 0; i < OPS; i++) {
                prepare(self, &s->ops[i], s, &sqe);
                io_uring_prep_read(sqe, s->pipe[0], s->ops[i].data, 1, 0);
        }
        for (unsigned i = 0; i < s->cancel; i++)
                skua_io_cancel(self, &s->ops[i].io);
}

static void late_write(struct skua_worker *self, void *arg)
{
        struct scene *s = arg;
        struct io_uring_sqe *sqe;

        s->deadline_ns = skua_now_ns() - 1;
        prepare(self, &s->ops[0], s, &sqe);
        io_uring_prep_write(sqe, s->pipe[1], "x", 1, 0);
}

/* A poll that goes on until its deadline. */
static void multishot(struct skua_worker *self, void *arg)
{
        struct scene *s = arg;
        struct io_uring_sqe *sqe;

        prepare(self, &s->ops[0], s, &sqe);
        io_uring_prep_poll_multishot(sqe, s->pair[0], POLLIN);
}

/* How many ended with this result. */
static unsigned ended(struct scene *s, int res)
{
        unsigned count = 0;

        for (unsigned i = 0; i < OPS; i++)
                count += atomic_load(&s->ops[i].res) == res && atomic_load(&s->ops[i].ends) == 1;
        return count;
}

static void play(struct skua *rt, struct scene *s, void (*fn)(struct skua_worker *, void *),
                 int64_t from_now_ns)
{
        tally_reset(&s->tally);
        s->deadline_ns = skua_now_ns() + from_now_ns;
        skua_group_init(&s->group);
        skua_group_hold(&s->group, 1);
        skua_run(rt, fn, s);
}

static void wait_all(struct scene *s)
{
        skua_group_release(&s->group, 0);
        skua_group_wait(&s->group, -1);
}

static void check_all(unsigned workers, unsigned flags)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        static struct scene s;
        char bytes[OPS] = {0};
        int left = -1;
        struct skua *rt;

        options.flags = flags;
        rt = rig_start(workers, &options);
        printf("# %u workers%s\n", workers, flags ? ", without io_uring" : "");
        pair_make(s.pair);
        if (pipe(s.pipe))
                printf("# no pipe\n");

        play(rt, &s, reads, SOON_NS);
        wait_all(&s);
        tap_is(ended(&s, -ETIMEDOUT), OPS, "nothing comes: all time out");
        tap_ok(skua_now_ns() >= s.deadline_ns, "and not before the deadline");

        play(rt, &s, reads, FAR_NS);
        tap_is(write(s.pipe[1], bytes, OPS), OPS, "what they wait for comes");
        wait_all(&s);
        tap_is(ended(&s, 1), OPS, "in time: the result wins");

        s.cancel = OPS / 2;
        play(rt, &s, reads, SOON_NS);
        wait_all(&s);
        s.cancel = 0;
        tap_ok(ended(&s, -ECANCELED) + ended(&s, -ETIMEDOUT) == OPS &&
                       ended(&s, -ETIMEDOUT) >= OPS - OPS / 2,
               "half of them cancelled: %u", ended(&s, -ECANCELED));

        play(rt, &s, late_write, 0);
        wait_all(&s);
        tap_is(atomic_load(&s.ops[0].res), -ETIMEDOUT, "late from the beginning");
        if (ioctl(s.pipe[0], FIONREAD, &left))
                printf("# FIONREAD: %s\n", strerror(errno));
        tap_is(left, 0, "and not done");

        play(rt, &s, multishot, SOON_NS);
        wait_all(&s);
        tap_is(atomic_load(&s.ops[0].res), -ETIMEDOUT, "a multishot operation ends so, too");

        play(rt, &s, reads, FAR_NS);
        close(s.pair[0]);
        close(s.pair[1]);
        skua_group_release(&s.group, 0);
        skua_stop(rt, SKUA_CANCEL);
        tap_is(ended(&s, -ECANCELED), OPS,
               "stopped long before: cancelled, and the timers are gone");
        close(s.pipe[0]);
        close(s.pipe[1]);
}

/* A job goes on for so long that the sentinel takes its worker's timers; cancelling is left to the
 * worker. */
static void read_and_stay(struct skua_worker *self, void *arg)
{
        struct worker *w = worker_of(self);
        struct scene *s = arg;
        struct io_uring_sqe *sqe;
        int64_t give_up_ns;

        prepare(self, &s->ops[0], s, &sqe);
        io_uring_prep_read(sqe, s->pipe[0], s->ops[0].data, 1, 0);
        skua_io_flush(self);
        give_up_ns = s->deadline_ns + 500000000;
        /* relaxed: until somebody else has served it, or nobody does here. */
        while (load_relaxed_u64(&w->timers.count) && skua_now_ns() < give_up_ns)
                sched_yield();
}

/* The same before it has said that it has filled it in. */
static void poll_and_stay(struct skua_worker *self, void *arg)
{
        struct scene *s = arg;
        struct io_uring_sqe *sqe;
        int64_t end_ns = s->deadline_ns + SOON_NS;

        prepare(self, &s->ops[0], s, &sqe);
        io_uring_prep_poll_multishot(sqe, s->pair[0], POLLIN);
        while (skua_now_ns() < end_ns)
                sched_yield();
}

static void check_unsealed(void)
{
        static struct scene s;
        struct skua *rt = rig_start(2, NULL);
        unsigned wrong = 0;

        pair_make(s.pair);
        for (unsigned i = 0; i < rig_rounds(20); i++) {
                play(rt, &s, poll_and_stay, SOON_NS);
                wait_all(&s);
                wrong += atomic_load(&s.ops[0].res) != -ETIMEDOUT;
        }
        rig_stop(rt);
        pair_close(s.pair);
        tap_is(wrong, 0, "a deadline passes while the operation is being filled in");
}

static void check_rescued(void)
{
        static struct scene s;
        struct skua *rt = rig_start(2, NULL);
        unsigned wrong = 0;

        if (pipe(s.pipe))
                printf("# no pipe\n");
        for (unsigned i = 0; i < rig_rounds(20); i++) {
                play(rt, &s, read_and_stay, SOON_NS);
                wait_all(&s);
                wrong += atomic_load(&s.ops[0].res) != -ETIMEDOUT;
        }
        rig_stop(rt);
        close(s.pipe[0]);
        close(s.pipe[1]);
        tap_is(wrong, 0, "a deadline passes while the worker is in a job");
}

int main(void)
{
        need_ring();
        tap_plan(CHECKS * RUNS + 2, 120);
        check_all(2, SKUA_NO_RING);
        if (kernel_is_old()) {
                tap_skip(CHECKS * (RUNS - 1) + 2,
                         "Linux before 6.7 cancels shared reads by itself");
                return tap_done();
        }
        check_all(1, 0);
        check_all(2, 0);
        check_all(8, 0);
        check_rescued();
        check_unsealed();
        return tap_done();
}
