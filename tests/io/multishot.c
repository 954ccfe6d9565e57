/* SPDX-License-Identifier: MIT
 *
 * Operations that complete several times: in order, never two at once, none lost, also when they
 * come faster than they are handled and when there are no buffers for them.
 */
#include "io/ops.h"

enum { CHECKS = 25, STREAMS = 24, CHUNK = 64, LARGE = 1 << 20 };

/* ------------------------------------------------------------------ streams of numbers */

/* A connection (a multishot receive from a socket pair may miss its end in kernel 6.18): a thread
 * writes numbers from 0 on, a multishot receive reads them. */
struct stream {
        struct skua_io io; /* freed in its last done, and prepared anew in another place */
        struct streams *set;
        int fds[2];
        atomic_uint inside; /* of done */
        uint64_t bytes, wrong;
        unsigned hold; /* that it keeps before it gives them back */
        uint32_t held[8];
};

struct streams {
        struct skua_buffers buffers;
        struct skua_group group;
        unsigned count, pause; /* of the handler, in turns of the scheduler */
        uint64_t goal;         /* bytes of each */
        int ends[STREAMS];     /* that are written to */
        atomic_uint again;     /* receives that ended early and were prepared anew */
        atomic_uint turns;
};

static void receive(struct skua_worker *self, struct stream *s);

static void give_back(struct skua_worker *self, struct stream *s)
{
        while (s->hold)
                skua_buffers_return(self, &s->set->buffers, s->held[--s->hold]);
}

/* Each byte says where in the stream it stands. */
static void check(struct stream *s, const unsigned char *data, int count)
{
        for (int i = 0; i < count; i++)
                s->wrong += data[i] != (unsigned char)((s->bytes + (unsigned)i) % 251);
        s->bytes += (unsigned)count;
}

static void received(struct skua_worker *self, struct skua_job *job)
{
        struct stream *s = skua_container(job, struct stream, io.job);
        struct streams *set = s->set;
        bool more = s->io.flags & SKUA_IO_MORE;
        int res = s->io.res;
        uint32_t number;
        void *data;

        s->wrong += atomic_exchange(&s->inside, 1);
        atomic_fetch_add(&set->turns, 1);
        data = skua_buffers_data(&set->buffers, &s->io, &number);
        if (res > 0) {
                s->wrong += !data;
                check(s, data, res);
        }
        for (unsigned i = 0; i < set->pause; i++)
                sched_yield();
        if (data)
                s->held[s->hold++] = number;
        give_back(self, s);
        s->wrong += atomic_exchange(&s->inside, 0) != 1;
        if (more)
                return;
        give_back(self, s);
        if (res > 0) {
                atomic_fetch_add(&set->again, 1);
                receive(self, s);
                return;
        }
        s->wrong += res != 0;
        close(s->fds[0]);
        if (s->wrong || s->bytes != set->goal) {
                printf("# fd %d: %llu wrong, %llu bytes of %llu\n", s->fds[0],
                       (unsigned long long)s->wrong, (unsigned long long)s->bytes,
                       (unsigned long long)set->goal);
                skua_fail(self, -EILSEQ);
        }
        memset((void *)s, 0x5a, sizeof *s);
        free(s);
}

static void receive(struct skua_worker *self, struct stream *s)
{
        struct io_uring_sqe *sqe = op_in(self, (struct op *)(void *)s, received, &s->set->group);

        io_uring_prep_recv_multishot(sqe, s->fds[0], NULL, 0, 0);
        if (skua_buffers_use(self, &s->set->buffers, &s->io, sqe))
                s->wrong++;
}

struct begin {
        struct skua_job job;
        struct stream *stream;
};

static void begin_run(struct skua_worker *self, struct skua_job *job)
{
        receive(self, ((struct begin *)(void *)job)->stream);
}

/* Writes to all of them in small pieces, to the first most often. */
static void *feed(void *arg)
{
        struct streams *set = arg;
        uint64_t random = tap_seed_ + 5, sent[STREAMS] = {0};
        int fds[STREAMS];
        unsigned left = set->count;
        unsigned char data[CHUNK];

        for (unsigned i = 0; i < set->count; i++)
                fds[i] = set->ends[i];
        while (left) {
                unsigned k = rig_mix(random++) % 3 ? 0 : (unsigned)(rig_mix(random++) % set->count);
                size_t count = 1 + rig_mix(random++) % CHUNK;

                if (fds[k] < 0)
                        k = (unsigned)(rig_mix(random++) % set->count);
                if (fds[k] < 0)
                        continue;
                if (count > set->goal - sent[k])
                        count = set->goal - sent[k];
                for (size_t i = 0; i < count; i++)
                        data[i] = (unsigned char)((sent[k] + i) % 251);
                if (count && write(fds[k], data, count) != (ssize_t)count)
                        printf("# write: %s\n", strerror(errno));
                sent[k] += count;
                if (sent[k] == set->goal) {
                        close(fds[k]);
                        fds[k] = -1;
                        left--;
                }
        }
        return NULL;
}

struct shape {
        unsigned workers, streams, buffers, pause;
        size_t bytes; /* of each buffer; of large ones the kernel gets a few at a time */
};

static void test_streams(const struct shape *shape)
{
        unsigned workers = shape->workers, count = shape->streams;
        struct skua *rt = rig_start(workers, NULL);
        struct begin begins[STREAMS];
        struct streams *set = calloc(1, sizeof *set);
        pthread_t feeder;

        set->count = count;
        set->pause = shape->pause;
        set->goal = rig_rounds(shape->pause ? 4000 : 30000);
        skua_group_init(&set->group);
        if (skua_buffers_init(rt, &set->buffers, shape->buffers, shape->bytes))
                printf("Bail out! no buffers\n"), exit(3);
        for (unsigned i = 0; i < count; i++) {
                struct skua_target where = SKUA_TARGET_INIT;
                struct stream *s = calloc(1, sizeof *s);

                s->set = set;
                tcp_make(s->fds);
                set->ends[i] = s->fds[1];
                begins[i].stream = s;
                skua_job_init(&begins[i].job, begin_run);
                where.worker = SKUA_WORKER(i % workers);
                where.group = &set->group;
                skua_submit_to(rt, &begins[i].job, &where);
        }
        feeder = go(feed, set);
        join(feeder);
        tap_is(skua_group_wait(&set->group, -1), 0, "in order, never two at once, none lost");
        printf("# %u workers, %u streams, %u buffers: %u handled, %u prepared anew\n", workers,
               count, shape->buffers, atomic_load(&set->turns), atomic_load(&set->again));
        if (workers & 1)
                skua_buffers_fini(&set->buffers);
        rig_stop(rt);
        if (!(workers & 1))
                skua_buffers_fini(&set->buffers);
        free(set);
}

/* ------------------------------------------------------------------ one buffer for three */

enum { KEEPS, SILENT, TALKS, RECEIVERS };

struct few {
        struct skua_buffers buffers;
        struct op ops[RECEIVERS];
        struct tally got[RECEIVERS];
        uint32_t kept;
};

static void few_done(struct skua_worker *self, struct skua_job *job)
{
        struct op *op = op_of(job);
        struct few *few = op->arg;
        uint32_t number;

        op_count(op);
        if (!skua_buffers_data(&few->buffers, &op->io, &number))
                return;
        if (op == &few->ops[KEEPS])
                few->kept = number;
        else
                skua_buffers_return(self, &few->buffers, number);
        tally_add(&few->got[op - few->ops], 1);
}

static void few_begin(struct skua_worker *self, void *arg)
{
        struct op *op = arg;
        struct io_uring_sqe *sqe = skua_io_prepare(self, &op->io, few_done);

        io_uring_prep_recv_multishot(sqe, op->fd, NULL, 0, 0);
        skua_buffers_use(self, &((struct few *)op->arg)->buffers, &op->io, sqe);
}

static void few_return(struct skua_worker *self, void *arg)
{
        struct few *few = arg;

        skua_buffers_return(self, &few->buffers, few->kept);
}

/* One has the only buffer. The others begin and find none, whether or not there is data for them;
 * the first of them would be armed when the buffer comes back, and never use it. */
static void test_silent(unsigned workers)
{
        struct skua *rt = rig_start(workers, NULL);
        struct few *few = calloc(1, sizeof *few);
        int fds[RECEIVERS][2];

        if (skua_buffers_init(rt, &few->buffers, 1, CHUNK))
                printf("Bail out! no buffers\n"), exit(3);
        for (unsigned i = 0; i < RECEIVERS; i++) {
                tcp_make(fds[i]);
                op_init(&few->ops[i], NULL);
                few->ops[i].fd = fds[i][0];
                few->ops[i].arg = few;
                if (i != SILENT && write(fds[i][1], "x", 1) != 1)
                        printf("# write: %s\n", strerror(errno));
                run_on(rt, 0, few_begin, &few->ops[i]);
                if (i == KEEPS)
                        tally_wait(&few->got[KEEPS], 1);
        }
        run_on(rt, workers - 1, few_return, few);
        tally_wait(&few->got[TALKS], 1);
        rig_stop(rt);
        tap_ok(!tally_read(&few->got[SILENT]) && few->ops[SILENT].ends == 1,
               "a silent one keeps no buffer from another, %u workers", workers);
        skua_buffers_fini(&few->buffers);
        for (unsigned i = 0; i < RECEIVERS; i++)
                pair_close(fds[i]);
        free(few);
}

/* ------------------------------------------------------------------ poll */

static void poll_done(struct skua_worker *self, struct skua_job *job)
{
        struct op *op = op_of(job);
        char byte;

        op_count(op);
        if (op->io.res > 0 && op->io.flags & SKUA_IO_MORE) {
                while (recv(op->fd, &byte, 1, MSG_DONTWAIT) == 1)
                        tally_add(op->arg, 1);
        } else if (op->io.flags & SKUA_IO_MORE) {
                printf("# poll: %d\n", op->io.res);
        }
        (void)self;
}

static void poll_begin(struct skua_worker *self, void *arg)
{
        struct op *op = arg;

        io_uring_prep_poll_multishot(skua_io_prepare(self, &op->io, poll_done), op->fd, POLLIN);
}

static void cancel_it(struct skua_worker *self, void *arg)
{
        skua_io_cancel(self, arg);
}

static void test_poll(unsigned workers)
{
        struct skua *rt = rig_start(workers, NULL);
        struct tally bytes = {0}, ended = {0};
        struct op op;
        int fds[2];

        pair_make(fds);
        op_init(&op, &ended);
        op.fd = fds[0];
        op.arg = &bytes;
        run_on(rt, 0, poll_begin, &op);
        for (unsigned i = 1; i <= rig_rounds(300); i++) {
                if (write(fds[1], "x", 1) != 1)
                        break;
                if (i % 4 == 0)
                        tally_wait(&bytes, i);
        }
        run_on(rt, workers - 1, cancel_it, &op.io);
        tally_wait(&ended, 1);
        rig_stop(rt);
        tap_ok(op.ends == 1 && op.res == -ECANCELED, "multishot poll, %u workers", workers);
        pair_close(fds);
}

/* ------------------------------------------------------------------ accept */

enum { CALLS = 200 };

static void accept_done(struct skua_worker *self, struct skua_job *job)
{
        struct op *op = op_of(job);

        (void)self;
        if (op->io.res >= 0) {
                close(op->io.res);
                tally_add(op->arg, 1);
        }
        op_count(op);
}

static void accept_begin(struct skua_worker *self, void *arg)
{
        struct op *op = arg;

        io_uring_prep_multishot_accept(skua_io_prepare(self, &op->io, accept_done), op->fd, NULL,
                                       NULL, SOCK_CLOEXEC);
}

static void test_accept(unsigned workers)
{
        struct sockaddr_in address;
        int listener = listener_make(&address);
        struct skua *rt = rig_start(workers, NULL);
        unsigned calls = rig_rounds(CALLS);
        struct tally accepted = {0};
        struct op op;

        op_init(&op, NULL);
        op.fd = listener;
        op.arg = &accepted;
        run_on(rt, 0, accept_begin, &op);
        for (unsigned i = 0; i < calls; i++) {
                int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
                struct linger linger = {1, 0};

                setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
                if (connect(fd, (struct sockaddr *)&address, sizeof address))
                        printf("# connect: %s\n", strerror(errno));
                if (i % 32 == 31)
                        tally_wait(&accepted, i - 31);
                close(fd);
        }
        tally_wait(&accepted, calls);
        rig_stop(rt);
        tap_ok(tally_read(&accepted) == calls && op.ends == 1 && op.res == -ECANCELED,
               "multishot accept until a drain, %u workers", workers);
        close(listener);
}

/* ------------------------------------------------------------------ zero copy */

struct copy {
        struct op op;
        struct skua_group group;
        int result, notified;
        char data[8192];
};

static void copy_done(struct skua_worker *self, struct skua_job *job)
{
        struct copy *c = skua_container(job, struct copy, op.io.job);

        (void)self;
        if (c->op.io.flags & IORING_CQE_F_NOTIF)
                c->notified++;
        else
                c->result = c->op.io.res;
        op_count(&c->op);
}

static void copy_begin(struct skua_worker *self, void *arg)
{
        struct copy *c = arg;

        io_uring_prep_send_zc(op_in(self, &c->op, copy_done, &c->group), c->op.fd, c->data,
                              sizeof c->data, 0, 0);
}

static void test_copy(void)
{
        struct sockaddr_in address = {.sin_family = AF_INET};
        int in = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        int out = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        socklen_t bytes = sizeof address;
        struct skua *rt = rig_start(2, NULL);
        struct copy *c = calloc(1, sizeof *c);
        unsigned wrong = 0;
        char back[8192];

        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        bind(in, (struct sockaddr *)&address, sizeof address);
        getsockname(in, (struct sockaddr *)&address, &bytes);
        connect(out, (struct sockaddr *)&address, sizeof address);
        skua_group_init(&c->group);
        for (unsigned i = 0; i < 50 && c->result != -EINVAL && c->result != -EOPNOTSUPP; i++) {
                op_init(&c->op, NULL);
                c->op.fd = out;
                c->notified = 0;
                memset(c->data, (int)i, sizeof c->data);
                run_on(rt, i & 1, copy_begin, c);
                skua_group_wait(&c->group, -1);
                wrong += c->op.calls != 2 || c->op.ends != 1 || c->notified != 1 ||
                         c->result != sizeof c->data;
                if (c->result == sizeof c->data)
                        wrong += recv(in, back, sizeof back, 0) != sizeof back ||
                                 back[8191] != (char)i;
        }
        rig_stop(rt);
        if (c->result == -EINVAL || c->result == -EOPNOTSUPP)
                tap_skip(1, "no zero-copy send in this kernel");
        else
                tap_is(wrong, 0, "zero-copy sends: the result, then the notification");
        free(c);
        close(in);
        close(out);
}

int main(void)
{
        static const struct shape shapes[] = {{1, 1, 256, 0, CHUNK},
                                              {2, 1, 256, 0, CHUNK},
                                              {RIG_WORKERS_MAX, 1, 256, 0, CHUNK},
                                              {1, STREAMS, 256, 0, CHUNK},
                                              {2, STREAMS, 256, 0, CHUNK},
                                              {RIG_WORKERS_MAX, STREAMS, 256, 0, CHUNK},
                                              {1, STREAMS, 8, 0, CHUNK},
                                              {2, STREAMS, 8, 0, CHUNK},
                                              {RIG_WORKERS_MAX, STREAMS, 8, 0, CHUNK},
                                              {2, 4, 64, 2, CHUNK},
                                              {RIG_WORKERS_MAX, 4, 64, 2, CHUNK},
                                              {4, STREAMS, 16, 1, CHUNK},
                                              {3, STREAMS, 1, 0, CHUNK},
                                              {1, STREAMS, 32, 0, LARGE},
                                              {2, STREAMS, 32, 0, LARGE},
                                              {RIG_WORKERS_MAX, STREAMS, 32, 1, LARGE}};

        need_ring();
        signal(SIGPIPE, SIG_IGN);
        tap_plan(CHECKS, 120);
        for (unsigned i = 0; i < sizeof shapes / sizeof *shapes; i++)
                test_streams(&shapes[i]);
        test_silent(1);
        test_silent(2);
        test_poll(1);
        test_poll(2);
        test_poll(RIG_WORKERS_MAX);
        test_accept(1);
        test_accept(2);
        test_accept(RIG_WORKERS_MAX);
        test_copy();
        return tap_done();
}
