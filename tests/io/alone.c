/* SPDX-License-Identifier: MIT
 *
 * What only the ring without io_uring has: operations that it does not know, numbers of descriptors
 * that are used again, threads that are all busy, full queues; and a server that echoes on it.
 */
/* link: -luring */
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include "io/calls.h"
#include "io/io.h"
#include "io/request.h"

/* ------------------------------------------------------------------ what is only here */

static void only_here(struct skua_worker *self, void *arg)
{
        struct io_uring_sqe *sqe;
        struct call one, two;
        int32_t *results = arg;

        sqe = begin(self, &one);
        io_uring_prep_tee(sqe, 0, 1, 1, 0);
        skua_await_group(self, &one.group);
        results[0] = one.results[0];
        sqe = begin(self, &one);
        io_uring_prep_nop(sqe);
        sqe->flags |= IOSQE_IO_DRAIN;
        skua_await_group(self, &one.group);
        results[1] = one.results[0];
        sqe = begin(self, &one);
        io_uring_prep_read(sqe, 0, results, 1, 0);
        sqe->flags |= IOSQE_FIXED_FILE;
        skua_await_group(self, &one.group);
        results[2] = one.results[0];
        skua_io_reserve(self, 2);
        sqe = begin(self, &one);
        io_uring_prep_nop(sqe);
        sqe->flags |= IOSQE_IO_LINK;
        io_uring_prep_tee(begin(self, &two), 0, 1, 1, 0);
        skua_await_group(self, &one.group);
        skua_await_group(self, &two.group);
        results[3] = one.results[0];
        results[4] = two.results[0];
}

/* A number that is closed behind the ring's back, and that of another file the next moment. */
static void reused(struct skua_worker *self, void *arg)
{
        unsigned *good = arg;
        struct call one;
        char text[8];
        int fd[2], number;

        for (unsigned i = 0; i < 100; i++) {
                if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd))
                        return;
                number = fd[0];
                io_uring_prep_recv(begin(self, &one), fd[0], text, 8, 0);
                settle(self);
                *good += send(fd[1], "abc", 3, 0) == 3;
                skua_await_group(self, &one.group);
                *good += one.results[0] == 3;
                close(fd[0]);
                close(fd[1]);
                if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd))
                        return;
                *good += fd[0] == number;
                io_uring_prep_recv(begin(self, &one), fd[0], text, 8, 0);
                settle(self);
                *good += send(fd[1], "abcd", 4, 0) == 4;
                skua_await_group(self, &one.group);
                *good += one.results[0] == 4;
                close(fd[0]);
                close(fd[1]);
        }
}

/* The same with a file that lives on in a duplicate and has something to tell for ever. */
static void haunted(struct skua_worker *self, void *arg)
{
        unsigned *good = arg;
        struct call one, two, later;
        int fd[2], other[2], duplicate;
        struct timespec begun, now;
        char text[8];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd))
                return;
        io_uring_prep_recv(begin(self, &one), fd[0], text, 8, 0);
        io_uring_prep_poll_multishot(begin(self, &two), fd[0], POLLIN);
        settle(self);
        skua_io_cancel(self, &one.io);
        skua_io_cancel(self, &two.io);
        skua_await_group(self, &one.group);
        skua_await_group(self, &two.group);
        duplicate = dup(fd[0]);
        close(fd[0]);
        *good += send(fd[1], "abc", 3, 0) == 3;
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, other))
                return;
        *good += other[0] == fd[0];
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begun);
        io_uring_prep_recv(begin(self, &one), other[0], text, 8, 0);
        io_uring_prep_timeout(begin(self, &later),
                              &(struct __kernel_timespec){.tv_nsec = 200000000}, 0, 0);
        skua_await_group(self, &later.group);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
        *good += (now.tv_sec - begun.tv_sec) * 1000000000 + now.tv_nsec - begun.tv_nsec < 100000000;
        *good += atomic_load(&one.count) == 0;
        *good += send(other[1], "abcd", 4, 0) == 4;
        skua_await_group(self, &one.group);
        *good += one.results[0] == 4;
        close(fd[1]);
        close(duplicate);
        close(other[0]);
        close(other[1]);
}

/* Somebody waits at a number that was closed behind the ring's back when the set is made anew, for
 * another one's sake; then the number is that of another file. */
static void inherited(struct skua_worker *self, void *arg)
{
        unsigned *good = arg;
        struct call heir, left, moved;
        int fd[2], ghost[2], other[2], duplicate, free_number = dup(STDOUT_FILENO);
        char text[8];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) ||
            socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ghost) ||
            socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, other))
                return;
        io_uring_prep_recv(begin(self, &left), fd[0], text, 8, 0);
        io_uring_prep_recv(begin(self, &moved), ghost[0], text, 8, 0);
        settle(self);
        skua_io_cancel(self, &moved.io);
        skua_await_group(self, &moved.group);
        duplicate = dup(ghost[0]);
        close(free_number); /* for the new set */
        close(fd[0]);
        close(ghost[0]);
        *good += send(ghost[1], "abc", 3, 0) == 3;
        settle(self);
        settle(self);
        *good += atomic_load(&left.count) == 0;
        *good += dup2(other[0], fd[0]) == fd[0];
        io_uring_prep_recv(begin(self, &heir), fd[0], text, 8, 0);
        settle(self);
        *good += send(other[1], "abcd", 4, 0) == 4;
        skua_await_group(self, &left.group);
        skua_await_group(self, &heir.group);
        *good += left.results[0] == -ECANCELED;
        *good += heir.results[0] == 4;
        close(duplicate);
        close(fd[0]);
        close(fd[1]);
        close(ghost[1]);
        close(other[0]);
        close(other[1]);
}

static bool threads_busy(struct offload *o)
{
        bool busy;

        pthread_mutex_lock(&o->lock);
        busy = o->busy == OFFLOAD_RUNNERS && o->queue && !o->queue->next;
        pthread_mutex_unlock(&o->lock);
        return busy;
}

/* All threads hang in opening a pipe that nobody writes, and one more call waits for a thread. */
static void busy_threads(struct skua_worker *self, void *arg)
{
        struct call one, sync, opens[OFFLOAD_RUNNERS + 1];
        char path[96];
        int fd;

        notes = arg;
        notes->count = 0;
        snprintf(path, sizeof path, "/tmp/skua-io-%d", (int)getpid());
        note("fifo", mkfifo(path, 0600), 0);
        for (unsigned i = 0; i <= OFFLOAD_RUNNERS; i++)
                io_uring_prep_openat(begin(self, &opens[i]), AT_FDCWD, path, O_RDONLY, 0);
        settle(self);
        while (!threads_busy(&worker_of(self)->io->ring.fallback->offload))
                sched_yield();
        DO("cancel what has begun", io_uring_prep_cancel, &opens[0].io, 0);
        DO("cancel what has not", io_uring_prep_cancel, &opens[OFFLOAD_RUNNERS].io, 0);
        end(self, &opens[OFFLOAD_RUNNERS], "cancelled");
        fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        io_uring_prep_fsync(begin(self, &sync), fd, 0);
        settle(self);
        DO("close", io_uring_prep_close, fd);
        end(self, &sync, "synchronised");
        fd = open(path, O_RDWR);
        for (unsigned i = 0; i < OFFLOAD_RUNNERS; i++) {
                end(self, &opens[i], "opened");
                close(positive(&opens[i].results[0]));
        }
        close(fd);
        unlink(path);
}

static void test_threads(struct skua *rt)
{
        static struct notes seen;
        unsigned opened = 0;

        skua_run(rt, busy_threads, &seen);
        tap_is(seen.list[1].res, -EALREADY, "what a thread has begun is not cancelled");
        tap_is(seen.list[2].res, 0, "what has not begun is");
        tap_is(seen.list[3].res, -ECANCELED, "and says so");
        tap_ok(seen.list[4].res == 0 && seen.list[5].res == -ECANCELED,
               "nor what waits for a thread when its file is closed");
        for (unsigned i = 6; i < seen.count; i++)
                opened += seen.list[i].res == 1;
        tap_is(opened, OFFLOAD_RUNNERS, "the others end");
}

static void test_only_here(void)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        unsigned good = 0;
        int32_t results[5];
        struct skua *rt;

        options.flags = SKUA_NO_RING;
        rt = rig_start(1, &options);
        skua_run(rt, only_here, results);
        tap_is(results[0], -EOPNOTSUPP, "an operation that is not built");
        tap_is(results[1], -EINVAL, "a drain, as with io_uring");
        tap_is(results[2], -EBADF, "a registered file");
        tap_is(results[3], -ECANCELED, "a chain with one that is not built: the others");
        tap_is(results[4], -EOPNOTSUPP, "that one");
        skua_run(rt, reused, &good);
        tap_is(good, 500, "numbers of descriptors are used again");
        good = 0;
        skua_run(rt, haunted, &good);
        tap_is(good, 6, "a closed file that lives on keeps nobody awake");
        good = 0;
        skua_run(rt, inherited, &good);
        tap_is(good, 6, "what waits at a number does not take what is another file's");
        test_threads(rt);
        rig_stop(rt);
}

/* ------------------------------------------------------------------ echo */

enum { CLIENTS = 32, ROUNDS = 200, MESSAGE = 64 };

/* The answer may be back before the end of the operation that has sent it: one completion after the
 * other. */
struct echo {
        struct skua_io receive, send;
        struct skua_strand strand;
        char in[MESSAGE], out[MESSAGE];
        int fd;
        unsigned bytes; /* in `in` */
        bool sending;
};

static struct skua_group echoes;
static struct skua_buffers echo_buffers;
static struct skua_io acceptor;
static struct echo connected[CLIENTS];
static atomic_uint accepted_count, ended_count;

static void echo_received(struct skua_worker *self, struct skua_job *job);
static void echo_sent(struct skua_worker *self, struct skua_job *job);

static struct io_uring_sqe *echo_prepare(struct skua_worker *self, struct echo *e,
                                         struct skua_io *op, skua_fn *done)
{
        struct skua_target where = SKUA_TARGET_INIT;

        where.group = &echoes;
        where.strand = &e->strand;
        return skua_io_prepare_to(self, op, done, &where);
}

static void echo_receive(struct skua_worker *self, struct echo *e)
{
        struct io_uring_sqe *sqe = echo_prepare(self, e, &e->receive, echo_received);

        io_uring_prep_recv_multishot(sqe, e->fd, NULL, 0, 0);
        skua_buffers_use(self, &echo_buffers, &e->receive, sqe);
}

static void echo_send(struct skua_worker *self, struct echo *e)
{
        if (e->sending || e->bytes < MESSAGE)
                return;
        memcpy(e->out, e->in, MESSAGE);
        e->bytes = 0;
        e->sending = true;
        io_uring_prep_send(echo_prepare(self, e, &e->send, echo_sent), e->fd, e->out, MESSAGE,
                           MSG_WAITALL);
}

static void echo_sent(struct skua_worker *self, struct skua_job *job)
{
        struct echo *e = skua_container(job, struct echo, send.job);

        e->sending = false;
        echo_send(self, e);
}

static void echo_received(struct skua_worker *self, struct skua_job *job)
{
        struct echo *e = skua_container(job, struct echo, receive.job);
        uint32_t number;
        const char *data = skua_buffers_data(&echo_buffers, &e->receive, &number);

        if (data) {
                memcpy(e->in + e->bytes, data, (size_t)e->receive.res);
                e->bytes += (unsigned)e->receive.res;
                skua_buffers_return(self, &echo_buffers, number);
        }
        if (!(e->receive.flags & SKUA_IO_MORE)) {
                close(e->fd);
                atomic_fetch_add(&ended_count, 1);
                return;
        }
        echo_send(self, e);
}

static void echo_accepted(struct skua_worker *self, struct skua_job *job)
{
        (void)job;
        if (acceptor.res >= 0) {
                struct echo *e = &connected[atomic_fetch_add(&accepted_count, 1) % CLIENTS];

                e->fd = acceptor.res;
                e->bytes = 0;
                e->sending = false;
                skua_strand_init(&e->strand);
                echo_receive(self, e);
        }
}

static void echo_accept(struct skua_worker *self, void *arg)
{
        struct skua_target where = SKUA_TARGET_INIT;

        where.group = &echoes;
        io_uring_prep_multishot_accept(skua_io_prepare_to(self, &acceptor, echo_accepted, &where),
                                       *(int *)arg, NULL, NULL, SOCK_CLOEXEC);
}

static void echo_stop(struct skua_worker *self, void *arg)
{
        (void)arg;
        skua_io_cancel(self, &acceptor);
}

static unsigned echo_clients(const struct sockaddr_in *address)
{
        char message[MESSAGE], answer[MESSAGE];
        int fds[CLIENTS];
        unsigned good = 0, rounds = rig_rounds(ROUNDS);

        for (unsigned i = 0; i < CLIENTS; i++)
                fds[i] = connected_to(address);
        for (unsigned round = 0; round < rounds; round++) {
                for (unsigned i = 0; i < CLIENTS; i++) {
                        memset(message, (int)(round + i), MESSAGE);
                        if (send(fds[i], message, MESSAGE, MSG_NOSIGNAL) != MESSAGE)
                                return 0;
                }
                for (unsigned i = 0; i < CLIENTS; i++) {
                        memset(message, (int)(round + i), MESSAGE);
                        good += recv(fds[i], answer, MESSAGE, MSG_WAITALL) == MESSAGE &&
                                !memcmp(message, answer, MESSAGE);
                }
        }
        for (unsigned i = 0; i < CLIENTS; i++)
                close(fds[i]);
        return good / rounds;
}

static void test_echo(unsigned workers)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct sockaddr_in address;
        int fd = listener(&address);
        struct skua *rt;

        options.flags = SKUA_NO_RING;
        rt = rig_start(workers, &options);
        atomic_store(&accepted_count, 0);
        atomic_store(&ended_count, 0);
        skua_group_init(&echoes);
        skua_buffers_init(rt, &echo_buffers, 16, MESSAGE);
        skua_run(rt, echo_accept, &fd);
        tap_is(echo_clients(&address), CLIENTS, "echo by epoll");
        rig_until(&ended_count, CLIENTS);
        skua_run(rt, echo_stop, NULL);
        tap_is(skua_group_wait(&echoes, -1), 0, "and its end");
        rig_stop(rt);
        skua_buffers_fini(&echo_buffers);
        close(fd);
}

/* Operations are under way when the runtime stops. */
static void test_stop(int how)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct sockaddr_in address;
        int fd = listener(&address);
        struct skua *rt;

        options.flags = SKUA_NO_RING;
        rt = rig_start(2, &options);
        skua_group_init(&echoes);
        skua_run(rt, echo_accept, &fd);
        tap_is(skua_stop(rt, how), 0, "stopped while it accepts");
        skua_group_wait(&echoes, -1);
        tap_is(acceptor.res, -ECANCELED, "which is cancelled");
        close(fd);
}

/* ------------------------------------------------------------------ the ring by itself */

static unsigned reap(struct io_ring *ring, int32_t res, unsigned *others)
{
        uint32_t head = load_relaxed_u32(ring->cq_head), tail = load_acquire_u32(ring->cq_tail);
        unsigned count = 0;

        for (; head != tail; head++) {
                bool same = ring->cqes[head & ring->cq_mask].res == res;

                count += same;
                *others += !same;
        }
        store_release_u32(ring->cq_head, head);
        return count;
}

/* More completions than the ring has room for: those of entries wait as entries, those of what is
 * cancelled in their own memory. */
static void test_full(void)
{
        struct ring_wish wish = {.entries = 200, .forbidden = true};
        unsigned done_count = 0, others = 0, submitted = 0, most = 0, waiting = 3 * 4096 / 2;
        struct io_ring ring;
        int event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

        tap_is(ring_open(&ring, &wish), 0, "a ring by itself");
        while (ring_ready(&ring) == 0 || ring_room(&ring)) {
                while (ring_room(&ring) && submitted < 3 * 4096) {
                        io_uring_prep_nop(ring_sqe(&ring));
                        submitted++;
                }
                ring_enter(&ring, false, 0);
        }
        most = load_relaxed_u32(ring.cq_tail);
        while (done_count < submitted) {
                done_count += reap(&ring, 0, &others);
                ring_enter(&ring, false, 0);
        }
        tap_ok(most == ring.cq_mask + 1 && submitted == most + ring.sq_entries && !others,
               "a full ring takes no more, and loses nothing");
        for (unsigned i = 0; i < waiting; i++) {
                struct io_uring_sqe *sqe = ring_sqe(&ring);

                if (i & 1)
                        io_uring_prep_poll_add(sqe, event, POLLIN);
                else
                        io_uring_prep_read(sqe, event, &submitted, 8, 0);
                sqe->user_data = i;
                if (!ring_room(&ring))
                        ring_enter(&ring, false, 0);
        }
        io_uring_prep_cancel(ring_sqe(&ring), NULL, IORING_ASYNC_CANCEL_ANY);
        ring_enter(&ring, false, 0);
        done_count = others = 0;
        for (unsigned i = 0; i < 10; i++) {
                done_count += reap(&ring, -ECANCELED, &others);
                ring_enter(&ring, false, 0);
        }
        tap_ok(done_count == waiting && others == 1, "all that is cancelled is told");
        tap_is(ring_enter(&ring, true, kernel_now_ns() + 1000000), -ETIME, "a deadline");
        ring_leave(&ring);
        ring_close(&ring);
        close(event);
}

/* Room for one completion, and two descriptors that tell of a change: the other one is kept. */
static void test_kept_change(void)
{
        struct ring_wish wish = {.entries = 256, .forbidden = true};
        int events[2] = {eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
                         eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
        unsigned others = 0, full;
        struct io_ring ring;

        if (ring_open(&ring, &wish))
                exit(3);
        for (unsigned i = 0; i < 2; i++)
                io_uring_prep_poll_multishot(ring_sqe(&ring), events[i], POLLIN);
        ring_enter(&ring, false, 0);
        for (unsigned i = 0; i < ring.cq_mask; i++) {
                io_uring_prep_nop(ring_sqe(&ring));
                if (!ring_room(&ring))
                        ring_enter(&ring, false, 0);
        }
        ring_enter(&ring, false, 0);
        eventfd_write(events[0], 1);
        eventfd_write(events[1], 1);
        for (unsigned i = 0; i < 64; i++) /* one of them looks */
                ring_enter(&ring, false, 0);
        full = load_relaxed_u32(ring.cq_tail) - load_relaxed_u32(ring.cq_head);
        tap_is(reap(&ring, 0, &others), ring.cq_mask, "all nops");
        ring_enter(&ring, false, 0);
        reap(&ring, 0, &others);
        tap_ok(full == ring.cq_mask + 1 && others == 2, "both changes");
        io_uring_prep_cancel(ring_sqe(&ring), NULL, IORING_ASYNC_CANCEL_ANY);
        ring_enter(&ring, false, 0);
        others = 0;
        tap_is(reap(&ring, -ECANCELED, &others), 2, "both polls end");
        ring_leave(&ring);
        ring_close(&ring);
        close(events[0]);
        close(events[1]);
}

/* ------------------------------------------------------------------ a burst */

enum { BURST = 6000 };

struct burst {
        struct skua_io ops[BURST];
        struct skua_group group;
};

static atomic_uint burst_good, burst_bad;

static void burst_done(struct skua_worker *self, struct skua_job *job)
{
        (void)self;
        atomic_fetch_add(skua_container(job, struct skua_io, job)->res ? &burst_bad : &burst_good,
                         1);
}

/* More than ring and queue of completions hold, in one job. */
static void burst_run(struct skua_worker *self, void *arg)
{
        struct burst *b = arg;
        struct skua_target where = SKUA_TARGET_INIT;

        where.group = &b->group;
        for (unsigned i = 0; i < BURST; i++)
                io_uring_prep_nop(skua_io_prepare_to(self, &b->ops[i], burst_done, &where));
}

static void test_burst(unsigned workers)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct burst *b = calloc(1, sizeof *b);
        struct skua *rt;

        options.flags = SKUA_NO_RING;
        rt = rig_start(workers, &options);
        atomic_store(&burst_good, 0);
        atomic_store(&burst_bad, 0);
        skua_group_init(&b->group);
        skua_run(rt, burst_run, b);
        skua_group_wait(&b->group, -1);
        rig_stop(rt);
        tap_ok(atomic_load(&burst_good) == BURST && !atomic_load(&burst_bad),
               "more at once than there is room for, %u workers", workers);
        free(b);
}

int main(void)
{
        signal(SIGPIPE, SIG_IGN);
        tap_plan(30, 120);
        test_only_here();
        test_echo(1);
        test_echo(2);
        test_stop(SKUA_DRAIN);
        test_stop(SKUA_CANCEL);
        test_full();
        test_kept_change();
        test_burst(1);
        test_burst(2);
        return tap_done();
}
