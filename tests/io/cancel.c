/* SPDX-License-Identifier: MIT
 *
 * Early ends: an operation that is cancelled comes back once for the last time, whatever it is
 * doing, wherever it was issued and whoever asks; and closing a descriptor ends what is on it.
 */
#include <mqueue.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "io/ops.h"

enum { CHECKS = 34, MANY = 64 };

struct many {
        struct op ops[MANY];
        struct skua_group group;
        struct skua_buffers buffers;
        int fds[2];
        atomic_uint first, last; /* a range to be cancelled */
};

static void receive_all(struct skua_worker *self, void *arg)
{
        struct many *m = arg;

        for (unsigned i = 0; i < MANY; i++)
                io_uring_prep_recv(op_in(self, &m->ops[i], op_done, &m->group), m->fds[0],
                                   m->ops[i].data, 1, 0);
}

static void cancel_all(struct skua_worker *self, void *arg)
{
        struct many *m = arg;

        for (unsigned i = 0; i < MANY; i++)
                skua_io_cancel(self, &m->ops[i].io);
}

static void receive_and_cancel(struct skua_worker *self, void *arg)
{
        receive_all(self, arg);
        cancel_all(self, arg);
        cancel_all(self, arg);
}

static struct many *many_new(void)
{
        struct many *m = calloc(1, sizeof *m);

        for (unsigned i = 0; i < MANY; i++)
                op_init(&m->ops[i], NULL);
        skua_group_init(&m->group);
        pair_make(m->fds);
        return m;
}

static unsigned many_wrong(const struct many *m, int res)
{
        unsigned wrong = 0;

        for (unsigned i = 0; i < MANY; i++)
                wrong += m->ops[i].calls != 1 || m->ops[i].res != res;
        return wrong;
}

static void many_free(struct many *m)
{
        pair_close(m->fds);
        free(m);
}

/* ------------------------------------------------------------------ plain */

static void test_plain(unsigned workers, unsigned entries)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        unsigned wrong = 0;
        struct skua *rt;

        options.ring_entries = entries;
        rt = rig_start(workers, &options);
        for (unsigned i = 0; i < 20; i++) {
                struct many *m = many_new();

                if (i & 1) {
                        run_on(rt, 0, receive_and_cancel, m);
                } else {
                        run_on(rt, 0, receive_all, m);
                        if (i & 2)
                                wait_parked(rt);
                        run_on(rt, i / 4 % workers, cancel_all, m);
                }
                wrong += skua_group_wait(&m->group, -1) != 0;
                wrong += many_wrong(m, -ECANCELED);
                many_free(m);
        }
        rig_stop(rt);
        tap_is(wrong, 0, "unsent and in flight, by the own and another worker");
}

/* ------------------------------------------------------------------ races */

/* An operation that completes while it is cancelled, from two sides. The operation stays until both
 * have called. */
struct race {
        struct op op;
        struct skua_group group;
        int fds[2];
        bool multi;
};

static void race_begin(struct skua_worker *self, void *arg)
{
        struct race *r = arg;
        struct io_uring_sqe *sqe = op_in(self, &r->op, op_done, &r->group);

        if (r->multi)
                io_uring_prep_poll_multishot(sqe, r->fds[0], POLLIN);
        else
                io_uring_prep_recv(sqe, r->fds[0], r->op.data, 1, 0);
}

static void race_cancel(struct skua_worker *self, struct skua_job *job)
{
        struct call *call = skua_container(job, struct call, job);

        skua_io_cancel(self, call->arg);
}

static void test_races(unsigned workers, bool multi)
{
        struct skua *rt = rig_start(workers, NULL);
        unsigned rounds = rig_rounds(1500), wrong = 0, cancelled = 0;

        for (unsigned i = 0; i < rounds; i++) {
                struct race r = {.multi = multi};
                struct call call = {.arg = &r.op.io};
                struct skua_group both;
                struct skua_target where = SKUA_TARGET_INIT;

                op_init(&r.op, NULL);
                skua_group_init(&r.group);
                skua_group_init(&both);
                pair_make(r.fds);
                run_on(rt, i % workers, race_begin, &r);
                skua_job_init(&call.job, race_cancel);
                where.worker = SKUA_WORKER(i / 2 % workers);
                where.group = &both;
                if (i & 1)
                        wrong += write(r.fds[1], "x", 1) != 1;
                skua_submit_to(rt, &call.job, &where);
                if (!(i & 1))
                        wrong += write(r.fds[1], "x", 1) != 1;
                skua_group_wait(&both, -1);
                skua_group_wait(&r.group, -1);
                wrong += r.op.ends != 1 || r.op.calls > 3 ||
                         (r.op.res != -ECANCELED && (multi || r.op.res != 1));
                cancelled += r.op.res == -ECANCELED;
                pair_close(r.fds);
        }
        rig_stop(rt);
        tap_ok(wrong == 0, "%s that completes while it is cancelled: one end, %u workers",
               multi ? "a poll" : "a receive", workers);
        printf("# %u of %u cancelled\n", cancelled, rounds);
}

/* ------------------------------------------------------------------ waiting for a buffer */

static void receive_buffered(struct skua_worker *self, void *arg)
{
        struct many *m = arg;

        for (unsigned i = 0; i < MANY; i++) {
                struct io_uring_sqe *sqe = op_in(self, &m->ops[i], op_done, &m->group);

                if (i & 1)
                        io_uring_prep_recv_multishot(sqe, m->fds[0], NULL, 0, 0);
                else
                        io_uring_prep_recv(sqe, m->fds[0], NULL, 0, 0);
                skua_buffers_use(self, &m->buffers, &m->ops[i].io, sqe);
        }
}

static void return_one(struct skua_worker *self, void *arg)
{
        struct many *m = arg;

        for (unsigned i = 0; i < MANY; i++) {
                uint32_t number;

                if (m->ops[i].calls && skua_buffers_data(&m->buffers, &m->ops[i].io, &number) &&
                    !m->ops[i].fd) {
                        m->ops[i].fd = 1;
                        skua_buffers_return(self, &m->buffers, number);
                        return;
                }
        }
}

/* One buffer, data for many: all but one wait. Some are cancelled while the buffer comes back. */
static void test_waiting(unsigned workers)
{
        struct skua *rt = rig_start(workers, NULL);
        unsigned wrong = 0;

        for (unsigned i = 0; i < rig_rounds(40); i++) {
                struct many *m = many_new();
                struct call call = {.fn = cancel_all, .arg = m};
                struct skua_target where = SKUA_TARGET_INIT;

                wrong += skua_buffers_init(rt, &m->buffers, 1, 1) != 0;
                wrong += write(m->fds[1], "0123456789", 10) != 10;
                run_on(rt, 0, receive_buffered, m);
                wait_parked(rt);
                skua_job_init(&call.job, call_run);
                where.worker = SKUA_WORKER(workers - 1);
                where.group = &m->group;
                skua_submit_to(rt, &call.job, &where);
                if (i & 1)
                        run_on(rt, i / 2 % workers, return_one, m);
                wrong += skua_group_wait(&m->group, -1) != 0;
                for (unsigned k = 0; k < MANY; k++)
                        if (m->ops[k].ends != 1 ||
                            (m->ops[k].res != -ECANCELED && m->ops[k].res != 1)) {
                                printf("# operation %u: %u ends, %d\n", k, m->ops[k].ends,
                                       m->ops[k].res);
                                wrong++;
                        }
                skua_buffers_fini(&m->buffers);
                many_free(m);
        }
        rig_stop(rt);
        tap_ok(wrong == 0, "cancelled while waiting for a buffer, %u workers", workers);
}

/* ------------------------------------------------------------------ close */

struct closing {
        struct op ops[RIG_WORKERS_MAX];
        struct skua_group group;
        struct op close;
        struct tally closed;
        int fds[2];
        unsigned begun, early, bytes;
        char *data;
        struct skua_job awaiting;
        bool awaits;
};

static void closing_receive(struct skua_worker *self, void *arg)
{
        struct closing *c = arg;
        struct op *op = &c->ops[c->begun++];

        io_uring_prep_recv(op_in(self, op, op_done, &c->group), c->fds[0], op->data, 1, 0);
}

static void closing_read(struct skua_worker *self, void *arg)
{
        struct closing *c = arg;
        struct io_uring_sqe *sqe = op_in(self, &c->ops[0], op_done, &c->group);

        io_uring_prep_read(sqe, c->fds[0], c->data, c->bytes, 0);
        sqe->flags |= IOSQE_ASYNC;
}

/* When it has been closed, the ends of the others are at least queued. */
static void closing_closed(struct skua_worker *self, struct skua_job *job)
{
        struct closing *c = skua_container(job, struct closing, close.io.job);
        struct runtime *rt = worker_of(self)->runtime;

        for (unsigned i = 0; i < rt->worker_count; i++) {
                const struct worker_count *count = &rt->workers[i]->count;

                c->early += load_relaxed_u64(&count->io_begun) !=
                            load_relaxed_u64(&count->io_ended);
        }
        op_count(&c->close);
}

static void closing_close(struct skua_worker *self, void *arg)
{
        struct closing *c = arg;

        skua_io_close(self, &c->close.io, c->fds[0], closing_closed);
}

/* A receive on each worker, and one that closes. */
static void closing_begin(struct closing *c, struct skua *rt, unsigned workers, unsigned closer)
{
        skua_group_init(&c->group);
        pair_make(c->fds);
        op_init(&c->close, &c->closed);
        for (unsigned k = 0; k < workers; k++)
                run_on(rt, k, closing_receive, c);
        run_on(rt, closer, closing_close, c);
}

static unsigned closing_not_cancelled(struct closing *c, unsigned workers)
{
        unsigned wrong = 0;

        for (unsigned k = 0; k < workers; k++)
                wrong += c->ops[k].calls != 1 || c->ops[k].res != -ECANCELED;
        return wrong;
}

static void test_close(unsigned workers)
{
        struct skua *rt = rig_start(workers, NULL);
        unsigned wrong = 0, early = 0;

        for (unsigned i = 0; i < rig_rounds(200); i++) {
                struct closing *c = calloc(1, sizeof *c);

                closing_begin(c, rt, workers, i % workers);
                tally_wait(&c->closed, 1);
                wrong += skua_group_wait(&c->group, -1) != 0;
                wrong += closing_not_cancelled(c, workers);
                wrong += c->close.res != 0 || fcntl(c->fds[0], F_GETFD) >= 0;
                early += c->early;
                close(c->fds[1]);
                free(c);
        }
        rig_stop(rt);
        tap_ok(wrong == 0, "closed with receives on %u workers", workers);
        tap_ok(early == 0, "which have ended before: %u have not", early);
}

/* What a thread of the kernel's is at cannot be cancelled, or only now and then. */
static void test_close_busy(unsigned workers)
{
        enum { BYTES = 64 << 20 };
        struct skua *rt = rig_start(workers, NULL);
        char *data = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        unsigned wrong = 0, early = 0;

        for (unsigned i = 0; i < rig_rounds(20); i++) {
                struct closing *c = calloc(1, sizeof *c);

                skua_group_init(&c->group);
                c->fds[0] = open("/dev/zero", O_RDONLY | O_CLOEXEC);
                c->data = data;
                c->bytes = BYTES;
                op_init(&c->close, &c->closed);
                __atomic_store_n(data, 1, __ATOMIC_RELAXED);
                run_on(rt, 0, closing_read, c);
                while (__atomic_load_n(data, __ATOMIC_RELAXED))
                        sched_yield(); /* before it runs, the kernel does not know its file */
                run_on(rt, workers - 1, closing_close, c);
                tally_wait(&c->closed, 1);
                wrong += skua_group_wait(&c->group, -1) != 0 || c->ops[0].calls != 1;
                wrong += c->close.res != 0;
                early += c->early;
                free(c);
        }
        rig_stop(rt);
        munmap(data, BYTES);
        tap_ok(!wrong && !early, "closed during a long read, by worker %u: %u and %u wrong",
               workers - 1, wrong, early);
}

/* The runtime ends while it closes: by then the descriptor is closed, and nothing under way. */
static void test_close_stop(unsigned workers)
{
        unsigned wrong = 0, early = 0;

        for (unsigned i = 0; i < rig_rounds(100); i++) {
                struct skua *rt = rig_start(workers, NULL);
                struct closing *c = calloc(1, sizeof *c);

                closing_begin(c, rt, workers, i % workers);
                wrong += skua_stop(rt, SKUA_CANCEL) != 0;
                wrong += closing_not_cancelled(c, workers);
                wrong += c->close.calls != 1 || c->close.res != 0;
                wrong += fcntl(c->fds[0], F_GETFD) >= 0;
                early += c->early;
                close(c->fds[1]);
                free(c);
        }
        tap_ok(wrong == 0, "closed while the runtime is stopped, %u workers", workers);
        tap_ok(early == 0, "and after what it has cancelled: %u have not ended", early);
}

static void settle(struct skua_worker *self, unsigned turns)
{
        struct skua_group group;
        struct op nop;

        while (turns--) {
                op_init(&nop, NULL);
                io_uring_prep_nop(op_in(self, &nop, op_done, group_new(&group)));
                skua_await_group(self, &group);
        }
}

/* The kernel's only thread for this ring hangs in opening a pipe that nobody writes. */
static void closing_behind(struct skua_worker *self, void *arg)
{
        struct closing *c = arg;
        unsigned most[2] = {1, 1};
        struct io_uring_sqe *sqe;

        settle(self, 1);
        io_uring_register_iowq_max_workers(&worker_of(self)->io->ring.uring, most);
        sqe = op_in(self, &c->ops[0], op_done, &c->group);
        io_uring_prep_openat(sqe, AT_FDCWD, c->data, O_RDONLY | O_CLOEXEC, 0);
        sqe->flags |= IOSQE_ASYNC;
        settle(self, 2);
        if (c->awaits)
                skua_spawn(self, &c->awaiting);
        else
                skua_io_close(self, &c->close.io, c->fds[0], closing_closed);
        settle(self, 20);
}

static void closing_await(struct skua_worker *self, struct skua_job *job)
{
        struct closing *c = skua_container(job, struct closing, awaiting);

        c->close.io.res = skua_await_close(self, c->fds[0]);
        op_count(&c->close);
}

/* A file with something to flush is closed by a thread of the kernel's, when there is one. */
static void test_close_flush(bool awaits)
{
        struct closing *c = calloc(1, sizeof *c);
        char name[48], path[64];
        struct skua *rt;

        snprintf(name, sizeof name, "/skua-close-%d", (int)getpid());
        snprintf(path, sizeof path, "/tmp%s", name);
        c->fds[0] = mq_open(name, O_RDONLY | O_CREAT | O_CLOEXEC, 0600, NULL);
        if (c->fds[0] < 0 || mkfifo(path, 0600)) {
                tap_skip(3, "no message queue or no pipe to be had");
                free(c);
                return;
        }
        mq_unlink(name);
        rt = rig_start(1, NULL);
        c->data = path;
        c->awaits = awaits;
        skua_job_init(&c->awaiting, closing_await);
        skua_group_init(&c->group);
        op_init(&c->close, &c->closed);
        run_on(rt, 0, closing_behind, c);
        tap_ok(c->close.calls == 0, "a close that has not begun%s", awaits ? ", awaited" : "");
        skua_stop(rt, SKUA_CANCEL);
        unlink(path);
        tap_ok(c->close.calls == 1 && c->close.res == 0 && fcntl(c->fds[0], F_GETFD) < 0,
               "closes, cancelled or not: %d", (int)c->close.res);
        tap_is(c->ops[0].res, -ECANCELED, "what it waited for has been cancelled");
        free(c);
}

/* ------------------------------------------------------------------ registered */

static void use_registered(struct skua_worker *self, void *arg)
{
        struct op in, out;
        struct iovec memory = {in.data, sizeof in.data};
        struct io_uring_sqe *sqe;
        struct skua_group g;
        int fds[2];

        (void)arg;
        pair_make(fds);
        op_init(&in, NULL);
        op_init(&out, NULL);
        skua_group_init(&g);
        tap_ok(!skua_io_register_files(self, fds, 2) && !skua_io_register_buffers(self, &memory, 1),
               "files and memory are registered");
        sqe = op_in(self, &in, op_done, &g);
        io_uring_prep_read_fixed(sqe, 0, in.data, 4, 0, 0);
        sqe->flags |= IOSQE_FIXED_FILE;
        sqe = op_in(self, &out, op_done, &g);
        io_uring_prep_write(sqe, 1, "egg", 4, 0);
        sqe->flags |= IOSQE_FIXED_FILE;
        skua_await_group(self, &g);
        tap_ok(in.res == 4 && !strcmp(in.data, "egg"), "and used");
        tap_ok(!skua_io_register_files(self, NULL, 0) && !skua_io_register_buffers(self, NULL, 0),
               "and given back");
        tap_ok(skua_io_register_files(self, NULL, 0) == -ENXIO, "once");
        pair_close(fds);
}

int main(void)
{
        struct skua *rt;

        need_ring();
        tap_plan(CHECKS, 120);
        test_plain(1, 0);
        test_plain(2, 4);
        test_plain(RIG_WORKERS_MAX, 4);
        test_races(1, false);
        test_races(2, false);
        test_races(4, false);
        test_races(1, true);
        test_races(4, true);
        test_waiting(1);
        test_waiting(2);
        test_close(1);
        test_close(2);
        test_close(RIG_WORKERS_MAX);
        test_close_busy(1);
        test_close_busy(2);
        test_close_stop(1);
        test_close_stop(2);
        test_close_stop(RIG_WORKERS_MAX);
        test_close_flush(false);
        test_close_flush(true);
        rt = rig_start(2, NULL);
        run_on(rt, 1, use_registered, NULL);
        rig_stop(rt);
        return tap_done();
}
