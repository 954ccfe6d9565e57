/* SPDX-License-Identifier: MIT
 *
 * Operations from prepare to done: each comes once, with the kernel's result, whatever the ring's
 * size, whoever runs it and whatever the preparing job does next.
 */
#include "io/ops.h"
#include "io/release.h"

#include <sys/stat.h>

enum { CHECKS = 29, MANY = 6000 };

static struct skua *start(unsigned workers, unsigned entries)
{
        struct skua_options options = SKUA_OPTIONS_INIT;

        options.ring_entries = entries;
        return rig_start(workers, &options);
}

/* ------------------------------------------------------------------ many at once */

static struct op *ops;
static struct skua_group all;

static void prepare_many(struct skua_worker *self, void *arg)
{
        unsigned count = *(unsigned *)arg;

        for (unsigned i = 0; i < count; i++)
                io_uring_prep_nop(op_in(self, &ops[i], op_done, &all));
}

static void test_many(unsigned workers, unsigned entries)
{
        struct skua *rt = start(workers, entries);
        unsigned count = rig_rounds(MANY), wrong = 0;

        ops = calloc(count, sizeof *ops);
        skua_group_init(&all);
        run_on(rt, workers - 1, prepare_many, &count);
        tap_is(skua_group_wait(&all, -1), 0, "a group of many operations");
        rig_stop(rt);
        for (unsigned i = 0; i < count; i++)
                wrong += ops[i].calls != 1 || ops[i].ends != 1 || ops[i].res != 0;
        tap_ok(wrong == 0, "%u NOPs from one job, %u workers, %u entries: each once", count,
               workers, entries);
        free(ops);
}

/* ------------------------------------------------------------------ results */

static int await_op(struct skua_worker *self, struct op *op, struct skua_group *group)
{
        return skua_await_group(self, group) ? -EPROTO : atomic_load(&op->res);
}

static void use_file(struct skua_worker *self, void *arg)
{
        char path[] = "/tmp/skua-ring-XXXXXX", back[6] = "";
        struct skua_group g;
        struct op op;
        struct stat st;
        int fd, made = mkstemp(path);

        (void)arg;
        close(made);
        op_init(&op, NULL);
        skua_group_init(&g);
        io_uring_prep_openat(op_in(self, &op, op_done, &g), AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
        fd = await_op(self, &op, &g);
        tap_ok(fd >= 0, "openat");
        io_uring_prep_write(op_in(self, &op, op_done, &g), fd, "skuas", 5, 3);
        tap_is(await_op(self, &op, &g), 5, "write");
        io_uring_prep_fsync(op_in(self, &op, op_done, &g), fd, 0);
        tap_is(await_op(self, &op, &g), 0, "fsync");
        io_uring_prep_read(op_in(self, &op, op_done, &g), fd, back, 5, 3);
        tap_ok(await_op(self, &op, &g) == 5 && !strcmp(back, "skuas"), "read");
        tap_ok(!fstat(fd, &st) && st.st_size == 8, "size of the file");
        io_uring_prep_close(op_in(self, &op, op_done, &g), fd);
        tap_is(await_op(self, &op, &g), 0, "close");
        /* No such number; the one that has been closed may be somebody else's by now. */
        io_uring_prep_read(op_in(self, &op, op_done, &g), INT16_MAX, back, 5, 0);
        tap_is(await_op(self, &op, &g), -EBADF, "an error is the result");
        unlink(path);
}

/* Both ends in one job: neither completes before the other is sent. */
static void use_pair(struct skua_worker *self, int from, int to, const char *name)
{
        struct skua_group g;
        struct op in, out;

        op_init(&in, NULL);
        op_init(&out, NULL);
        skua_group_init(&g);
        io_uring_prep_read(op_in(self, &in, op_done, &g), from, in.data, sizeof in.data, 0);
        io_uring_prep_write(op_in(self, &out, op_done, &g), to, "parasite", 9, 0);
        skua_await_group(self, &g);
        tap_ok(in.res == 9 && out.res == 9 && !strcmp(in.data, "parasite"), "%s", name);
}

static void use_sockets(struct skua_worker *self, void *arg)
{
        struct sockaddr_in address;
        int fds[2], listener;
        struct skua_group g;
        struct op here, there;

        (void)arg;
        if (kernel_is_old()) {
                tap_skip(1,
                         "Linux 6.1 now and then lets a read of a pipe wait though it is written");
        } else {
                if (pipe2(fds, O_CLOEXEC))
                        fds[0] = fds[1] = -1;
                use_pair(self, fds[0], fds[1], "a pipe");
                pair_close(fds);
        }
        pair_make(fds);
        use_pair(self, fds[0], fds[1], "a socket pair");
        pair_close(fds);
        listener = listener_make(&address);
        fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        op_init(&here, NULL);
        op_init(&there, NULL);
        skua_group_init(&g);
        io_uring_prep_accept(op_in(self, &there, op_done, &g), listener, NULL, NULL, SOCK_CLOEXEC);
        io_uring_prep_connect(op_in(self, &here, op_done, &g), fds[0], (struct sockaddr *)&address,
                              sizeof address);
        skua_await_group(self, &g);
        tap_ok(here.res == 0 && there.res >= 0, "connect and accept");
        fds[1] = there.res;
        use_pair(self, fds[0], fds[1], "TCP");
        pair_close(fds);
        close(listener);
}

/* ------------------------------------------------------------------ chains */

static void use_chains(struct skua_worker *self, void *arg)
{
        struct op a[4], filler[64];
        struct io_uring_sqe *sqe;
        struct skua_group g;
        unsigned wrong = 0;
        int fds[2];

        (void)arg;
        skua_group_init(&g);
        tap_ok(skua_io_reserve(self, 5) == -EINVAL && skua_io_reserve(self, 4) == 0,
               "reserving more than there is, and all");
        pair_make(fds);
        for (unsigned k = 0; k < 64; k++) { /* at every place of the ring */
                op_init(&filler[k], NULL);
                for (unsigned i = 0; i < 4; i++)
                        op_init(&a[i], NULL);
                io_uring_prep_nop(op_in(self, &filler[k], op_done, &g));
                wrong += skua_io_reserve(self, 4) != 0;
                sqe = op_in(self, &a[0], op_done, &g);
                io_uring_prep_write(sqe, fds[0], "abc", 3, 0);
                sqe->flags |= IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS;
                sqe = op_in(self, &a[1], op_done, &g);
                io_uring_prep_read(sqe, fds[1], a[1].data, 3, 0);
                sqe->flags |= IOSQE_IO_LINK;
                sqe = op_in(self, &a[2], op_done, &g);
                io_uring_prep_read(sqe, -1, a[2].data, 3, 0);
                sqe->flags |= IOSQE_IO_LINK;
                io_uring_prep_nop(op_in(self, &a[3], op_done, &g));
                skua_await_group(self, &g);
                wrong += a[0].res != 3 || a[1].res != 3 || memcmp(a[1].data, "abc", 3) ||
                         a[2].res != -EBADF || a[3].res != -ECANCELED || filler[k].calls != 1;
        }
        tap_is(wrong, 0, "chains in a ring of 4: whole, and cut where one fails");
        pair_close(fds);
}

/* What must not be done keeps its place in a chain. */
static void use_wishes(struct skua_worker *self, void *arg)
{
        struct skua_target where = SKUA_TARGET_INIT;
        struct skua_group g;
        struct op op, next;
        struct io_uring_sqe *sqe;

        (void)arg;
        where.group = group_new(&g);
        where.worker = SKUA_WORKER(0);
        op_init(&op, NULL);
        op_init(&next, NULL);
        skua_io_reserve(self, 2);
        sqe = skua_io_prepare_to(self, &op.io, op_done, &where);
        io_uring_prep_read(sqe, -1, NULL, 1, 0);
        sqe->flags |= IOSQE_IO_LINK;
        io_uring_prep_nop(op_in(self, &next, op_done, &g));
        tap_is(skua_await_group(self, &g), 0, "the group of a refused operation");
        tap_ok(op.res == -EINVAL && op.calls == 1 && next.calls == 1, "a wish that I/O has not");
        sqe = op_in(self, &op, op_done, &g);
        io_uring_prep_nop(sqe);
        sqe->flags |= IOSQE_IO_DRAIN;
        skua_await_group(self, &g);
        tap_is(op.res, -EINVAL, "to wait for all that has been issued before");
}

/* ------------------------------------------------------------------ in done */

struct again {
        struct op op;
        unsigned left;
        struct tally *ended;
};

static void again_done(struct skua_worker *self, struct skua_job *job)
{
        struct again *again = skua_container(job, struct again, op.io.job);

        if (--again->left) {
                io_uring_prep_nop(skua_io_prepare(self, &again->op.io, again_done));
                return;
        }
        tally_add(again->ended, 1);
        memset((void *)again, 0x5a, sizeof *again);
        free(again);
}

static void again_begin(struct skua_worker *self, void *arg)
{
        for (unsigned i = 0; i < 32; i++) {
                struct again *again = malloc(sizeof *again);

                again->left = rig_rounds(500);
                again->ended = arg;
                io_uring_prep_nop(skua_io_prepare(self, &again->op.io, again_done));
        }
}

static void test_again(unsigned workers)
{
        struct skua *rt = start(workers, 8);
        struct tally ended = {0};

        run_on(rt, 0, again_begin, &ended);
        rig_stop(rt);
        tap_ok(tally_read(&ended) == 32, "prepared again and freed in done, %u workers", workers);
}

/* ------------------------------------------------------------------ together */

static struct tally meeting;

static void meet(struct skua_worker *self, struct skua_job *job)
{
        (void)self, (void)job;
        tally_add(&meeting, 1);
        tally_wait(&meeting, 2); /* blocks the worker */
}

static void prepare_two(struct skua_worker *self, void *arg)
{
        struct op *two = arg;

        tally_reset(&meeting);
        for (unsigned i = 0; i < 2; i++)
                io_uring_prep_nop(skua_io_prepare(self, &two[i].io, meet));
}

/* The other worker sleeps when both come at once. */
static void test_together(void)
{
        struct skua *rt = start(2, 0);
        struct op two[2];

        for (unsigned i = 0; i < rig_rounds(100); i++) {
                wait_parked(rt);
                run_on(rt, i & 1, prepare_two, two);
                tally_wait(&meeting, 2);
        }
        rig_stop(rt);
        tap_ok(true, "somebody is woken for what comes together");
}

/* ------------------------------------------------------------------ forks */

static void fork_body(struct skua_worker *self, struct skua_job *job)
{
        (void)self, (void)job;
}

static void prepare_and_fork(struct skua_worker *self, void *arg)
{
        struct op *op = arg;
        struct skua_job fork;
        unsigned taken = 0;

        for (unsigned i = 0; i < rig_rounds(1000); i++) {
                struct skua_group g;

                skua_group_init(&g);
                op_init(op, NULL);
                io_uring_prep_nop(op_in(self, op, op_done, &g));
                skua_fork(self, &fork, fork_body);
                skua_await_group(self, &g);
                taken += !skua_join(self, &fork);
                op->fd += op->calls != 1;
        }
        tap_ok(op->fd == 0, "awaited with forks outstanding");
        printf("# %u forks were taken\n", taken);
}

static void test_forks(unsigned workers)
{
        struct skua *rt = start(workers, 0);
        struct op op;

        op_init(&op, NULL);
        run_on(rt, 0, prepare_and_fork, &op);
        rig_stop(rt);
}

int main(void)
{
        struct skua *rt;

        need_ring();
        tap_plan(CHECKS, 60);
        test_many(1, 0);
        test_many(1, 4);
        test_many(2, 4);
        test_many(RIG_WORKERS_MAX, 1);
        rt = start(2, 4);
        skua_run(rt, use_file, NULL);
        skua_run(rt, use_sockets, NULL);
        skua_run(rt, use_chains, NULL);
        skua_run(rt, use_wishes, NULL);
        rig_stop(rt);
        test_again(1);
        test_again(2);
        test_again(RIG_WORKERS_MAX);
        test_together();
        test_forks(2);
        return tap_done();
}
