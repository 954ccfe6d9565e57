/* SPDX-License-Identifier: MIT
 *
 * Stopping with I/O under way: what never ends by itself is cancelled, everything comes back once,
 * nothing is touched and nothing is left behind afterwards.
 */
#include "core/runtime.h"
#include "io/ops.h"

enum { CHECKS = 24, PAIRS = 8, EACH = 4 };

/* Some connections, on each some operations, begun on all workers. */
struct bench {
        int fds[PAIRS][2];
        struct op ops[PAIRS][EACH];
        struct op late;
        struct skua_buffers buffers;
        struct skua_group group;
        atomic_uint next;
        bool endless; /* only what a drain ends */
        bool cancel;  /* and some of it is asked to end before */
};

static void bench_done(struct skua_worker *self, struct skua_job *job)
{
        struct op *op = op_of(job);
        struct bench *b = op->arg;
        uint32_t number;

        if (skua_buffers_data(&b->buffers, &op->io, &number))
                skua_buffers_return(self, &b->buffers, number);
        if (op->io.res >= 0 && op->fd) /* of an accept or openat: nothing is left open */
                close(op->io.res);
        op_count(op);
}

static void begin_endless(struct skua_worker *self, struct bench *b, unsigned k)
{
        struct op *op = b->ops[k];
        struct io_uring_sqe *sqe;

        sqe = op_in(self, &op[0], bench_done, &b->group);
        io_uring_prep_recv_multishot(sqe, b->fds[k][0], NULL, 0, 0);
        skua_buffers_use(self, &b->buffers, &op[0].io, sqe);
        sqe = op_in(self, &op[1], bench_done, &b->group);
        io_uring_prep_poll_multishot(sqe, b->fds[k][0], POLLIN);
        if (b->cancel)
                skua_io_cancel(self, &op[k & 1].io);
}

static void begin_waiting(struct skua_worker *self, struct bench *b, unsigned k)
{
        struct op *op = b->ops[k];
        struct io_uring_sqe *sqe;

        sqe = op_in(self, &op[2], bench_done, &b->group);
        io_uring_prep_recv(sqe, b->fds[k][1], op[2].data, 8, 0);
        sqe = op_in(self, &op[3], bench_done, &b->group);
        io_uring_prep_poll_add(sqe, b->fds[k][1], POLLIN);
}

static void bench_begin(struct skua_worker *self, void *arg)
{
        struct bench *b = arg;
        unsigned k = b->next++;

        begin_endless(self, b, k);
        if (!b->endless)
                begin_waiting(self, b, k);
}

static struct bench *bench_new(struct skua *rt, bool endless, bool cancel)
{
        struct bench *b = calloc(1, sizeof *b);
        unsigned workers = skua_workers(rt);

        b->endless = endless;
        b->cancel = cancel;
        skua_group_init(&b->group);
        if (skua_buffers_init(rt, &b->buffers, 2, 64))
                printf("Bail out! no buffers\n"), exit(3);
        for (unsigned k = 0; k < PAIRS; k++) {
                pair_make(b->fds[k]);
                for (unsigned i = 0; i < EACH; i++)
                        b->ops[k][i].arg = b;
                run_on(rt, k % workers, bench_begin, b);
        }
        return b;
}

/* After stop: everything has come back, and the memory is the test's again. */
static unsigned bench_end(struct bench *b)
{
        unsigned wrong = skua_group_wait(&b->group, 0) == -ETIMEDOUT;
        char pattern[16];

        for (unsigned k = 0; k < PAIRS; k++)
                for (unsigned i = 0; i < (b->endless ? 2 : EACH); i++) {
                        struct op *op = &b->ops[k][i];

                        wrong += op->ends != 1;
                        if (op->res < 0 && op->res != -ECANCELED) {
                                printf("# %u.%u: %d\n", k, i, op->res);
                                wrong++;
                        }
                        memset((void *)op, 0xa5, sizeof *op);
                }
        memset(pattern, 0xa5, sizeof pattern);
        for (unsigned k = 0; k < PAIRS; k++) {
                send(b->fds[k][0], "12345678", 8, MSG_DONTWAIT); /* or it is full */
                send(b->fds[k][1], "12345678", 8, MSG_DONTWAIT); /* or it is full */
                for (unsigned i = 0; i < (b->endless ? 2 : EACH); i++)
                        for (unsigned n = 0; n < sizeof(struct op); n++)
                                wrong += ((unsigned char *)&b->ops[k][i])[n] != 0xa5;
                wrong += memcmp(b->ops[k][0].data, pattern, sizeof pattern) != 0;
                pair_close(b->fds[k]);
        }
        skua_buffers_fini(&b->buffers);
        free(b);
        return wrong;
}

/* Keeps data coming on all of them. */
struct pour {
        struct bench *bench;
        atomic_bool end;
        atomic_uint rounds;
};

static void *pour_run(void *arg)
{
        struct pour *p = arg;

        while (!atomic_load(&p->end)) {
                for (unsigned k = 0; k < PAIRS; k++)
                        for (unsigned i = 0; i < 2; i++)
                                if (send(p->bench->fds[k][i], "x", 1, MSG_DONTWAIT) < 0 &&
                                    errno != EAGAIN)
                                        printf("# send: %s\n", strerror(errno));
                atomic_fetch_add(&p->rounds, 1);
        }
        return NULL;
}

enum how { DRAIN, CANCEL, WITHIN, HOWS };

static const char *const how_names[HOWS] = {"drained", "cancelled", "drained for a moment"};

static void stop_how(struct skua *rt, enum how how, unsigned i)
{
        int result = how == WITHIN ? skua_stop_within(rt, (int64_t)i * 7919 % 300000)
                                   : skua_stop(rt, how == DRAIN ? SKUA_DRAIN : SKUA_CANCEL);

        if (result < 0)
                printf("# stop: %d\n", result);
}

static void test_stop(unsigned workers, enum how how, bool pouring)
{
        unsigned wrong = 0, rounds = rig_rounds(60);

        for (unsigned i = 0; i < rounds; i++) {
                struct skua *rt = rig_start(workers, NULL);
                struct bench *b = bench_new(rt, how == DRAIN, i % 4 == 1);
                struct pour p = {.bench = b};
                pthread_t thread;

                if (pouring) {
                        thread = go(pour_run, &p);
                        rig_until(&p.rounds, 1 + i % 20);
                } else if (i & 2) {
                        wait_parked(rt);
                }
                stop_how(rt, how, i);
                atomic_store(&p.end, true);
                if (pouring)
                        join(thread);
                wrong += bench_end(b);
        }
        tap_ok(wrong == 0, "%s%s, %u workers", how_names[how],
               pouring ? " while data pours in" : "", workers);
}

/* ------------------------------------------------------------------ from within */

struct within {
        struct op ops[6];
        struct skua_job job;
        struct tally entered;
        struct skua *rt;
        int fds[2];
};

/* Prepares, and cancels, before and after the stop has begun; the stop comes while it runs. */
static void within_run(struct skua_worker *self, struct skua_job *job)
{
        struct within *w = skua_container(job, struct within, job);
        struct runtime *rt = runtime_of(w->rt);

        io_uring_prep_poll_multishot(skua_io_prepare(self, &w->ops[0].io, op_done), w->fds[0],
                                     POLLIN);
        io_uring_prep_recv(skua_io_prepare(self, &w->ops[1].io, op_done), w->fds[0], w->ops[1].data,
                           1, 0);
        skua_io_cancel(self, &w->ops[0].io);
        tally_add(&w->entered, 1);
        while (!runtime_cancelling(rt))
                sched_yield();
        io_uring_prep_poll_multishot(skua_io_prepare(self, &w->ops[2].io, op_done), w->fds[0],
                                     POLLIN);
        io_uring_prep_recv(skua_io_prepare(self, &w->ops[3].io, op_done), w->fds[0], w->ops[3].data,
                           1, 0);
        io_uring_prep_nop(skua_io_prepare(self, &w->ops[4].io, op_done));
        io_uring_prep_close(skua_io_prepare(self, &w->ops[5].io, op_done), w->fds[1]);
}

static void test_within(unsigned workers)
{
        unsigned wrong = 0;

        for (unsigned i = 0; i < rig_rounds(100); i++) {
                struct within *w = calloc(1, sizeof *w);

                w->rt = rig_start(workers, NULL);
                pair_make(w->fds);
                skua_job_init(&w->job, within_run);
                skua_submit(w->rt, &w->job);
                tally_wait(&w->entered, 1);
                wrong += i & 1 ? skua_stop(w->rt, SKUA_CANCEL) != 0
                               : skua_stop_within(w->rt, i * 1000) < 0;
                for (unsigned k = 0; k < 6; k++) {
                        struct op *op = &w->ops[k];
                        bool right = k == 5 ? op->res == 0
                                            : op->res == -ECANCELED || (k < 2 && op->res >= 0);

                        if (op->ends == 1 && right)
                                continue;
                        printf("# %u: %u ends, %d\n", k, op->ends, op->res);
                        wrong++;
                }
                wrong += fcntl(w->fds[1], F_GETFD) >= 0;
                close(w->fds[0]);
                free(w);
        }
        tap_ok(wrong == 0, "prepared while everything is cancelled, %u workers", workers);
}

/* ------------------------------------------------------------------ the last end */

/* A receive, and the entry of what stands behind it. */
static struct io_uring_sqe *chain_begin(struct skua_worker *self, struct bench *b, uint8_t link)
{
        struct io_uring_sqe *sqe;

        skua_io_reserve(self, 2);
        sqe = op_in(self, &b->ops[0][0], bench_done, &b->group);
        io_uring_prep_recv(sqe, b->fds[0][0], b->ops[0][0].data, 1, 0);
        sqe->flags |= link;
        return op_in(self, &b->ops[0][1], bench_done, &b->group);
}

/* What has come to the end of its chain when everything is cancelled. */
static void chain_run(struct skua_worker *self, void *arg)
{
        struct bench *b = arg;
        struct io_uring_sqe *sqe = chain_begin(self, b, IOSQE_IO_HARDLINK);

        io_uring_prep_recv(sqe, b->fds[0][0], b->ops[0][1].data, 1, 0);
}

static void test_chain(void)
{
        struct skua *rt = rig_start(1, NULL);
        struct bench *b = bench_new(rt, true, false);

        for (unsigned k = 0; k < PAIRS; k++)
                (void)k;
        rig_stop(rt);
        tap_is(bench_end(b), 0, "drained at once");
        rt = rig_start(1, NULL);
        b = calloc(1, sizeof *b);
        skua_group_init(&b->group);
        pair_make(b->fds[0]);
        b->ops[0][0].arg = b->ops[0][1].arg = b;
        run_on(rt, 0, chain_run, b);
        wait_parked(rt);
        skua_stop(rt, SKUA_CANCEL);
        tap_ok(b->ops[0][0].ends == 1 && b->ops[0][1].ends == 1, "a chain that is held together");
        pair_close(b->fds[0]);
        free(b);
}

/* What is endless begins only when a drain has asked for its end already. */
static void chain_endless(struct skua_worker *self, void *arg)
{
        struct bench *b = arg;
        struct io_uring_sqe *sqe = chain_begin(self, b, IOSQE_IO_LINK);

        io_uring_prep_poll_multishot(sqe, b->fds[0][1], POLLIN);
}

static void *drain_run(void *arg)
{
        skua_stop(arg, SKUA_DRAIN);
        return NULL;
}

static void test_chain_endless(void)
{
        struct skua *rt = rig_start(1, NULL);
        struct runtime *runtime = runtime_of(rt);
        struct bench *b = calloc(1, sizeof *b);
        pthread_t thread;
        uint64_t parks;

        skua_group_init(&b->group);
        pair_make(b->fds[0]);
        b->ops[0][0].arg = b->ops[0][1].arg = b;
        run_on(rt, 0, chain_endless, b);
        wait_parked(rt);
        parks = load_relaxed_u64(&runtime->workers[0]->count.parks); /* relaxed: it sleeps */
        thread = go(drain_run, rt);
        /* relaxed: it has been woken, has asked, and sleeps again. */
        while (load_relaxed_u64(&runtime->workers[0]->count.parks) == parks)
                sched_yield();
        send(b->fds[0][1], "x", 1, 0);
        pthread_join(thread, NULL);
        tap_ok(b->ops[0][0].res == 1 && b->ops[0][1].res == -ECANCELED,
               "drained while something endless stands in a chain");
        pair_close(b->fds[0]);
        free(b);
}

/* ------------------------------------------------------------------ nothing is left */

static void test_left(void)
{
        unsigned before = 0, rounds = rig_rounds(200);

        for (unsigned i = 0; i < rounds + 20; i++) {
                struct skua *rt = rig_start(1 + i % 3, NULL);
                struct bench *b = bench_new(rt, true, false);

                rig_stop(rt);
                bench_end(b);
                if (i == 19)
                        before = fds_open();
        }
        tap_is(fds_open(), before, "no descriptor is left");
}

int main(void)
{
        static const unsigned workers[] = {1, 2, RIG_WORKERS_MAX};

        need_ring();
        signal(SIGPIPE, SIG_IGN);
        tap_plan(CHECKS, 180);
        for (unsigned i = 0; i < 3; i++)
                for (enum how how = DRAIN; how < HOWS; how++) {
                        test_stop(workers[i], how, false);
                        test_stop(workers[i], how, true);
                }
        test_within(1);
        test_within(2);
        test_left();
        test_chain();
        test_chain_endless();
        return tap_done();
}
