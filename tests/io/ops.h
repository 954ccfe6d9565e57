/* SPDX-License-Identifier: MIT
 *
 * For the tests of I/O: operations that count their completions, and what to do where there is no
 * io_uring.
 */
#ifndef TESTS_IO_OPS_H
#define TESTS_IO_OPS_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include "core/crew.h"
#include "io/io.h"

/* An operation with its history. `calls` counts completions, `ends` those that are the last. */
struct op {
        struct skua_io io;
        atomic_uint calls, ends;
        atomic_int res; /* of the last */
        struct tally *tally;
        void *arg;
        int fd;
        char data[16];
};

static inline struct op *op_of(struct skua_job *job)
{
        return skua_container(job, struct op, io.job);
}

static inline void op_count(struct op *op)
{
        struct tally *tally = op->tally;
        bool last = !(op->io.flags & SKUA_IO_MORE);

        atomic_store(&op->res, op->io.res);
        atomic_fetch_add(&op->ends, last);
        atomic_fetch_add(&op->calls, 1);
        if (tally && last)
                tally_add(tally, 1);
}

static inline void op_done(struct skua_worker *self, struct skua_job *job)
{
        (void)self;
        op_count(op_of(job));
}

static inline void op_init(struct op *op, struct tally *tally)
{
        memset((void *)op, 0, sizeof *op);
        op->tally = tally;
}

static inline struct io_uring_sqe *op_in(struct skua_worker *self, struct op *op, skua_fn *done,
                                         struct skua_group *group)
{
        struct skua_target where = SKUA_TARGET_INIT;

        where.group = group;
        return skua_io_prepare_to(self, &op->io, done, &where);
}

static inline struct skua_group *group_new(struct skua_group *group)
{
        skua_group_init(group);
        return group;
}

/* Runs a function as a job of one worker, and waits for it. */
struct call {
        struct skua_job job;
        void (*fn)(struct skua_worker *self, void *arg);
        void *arg;
};

static inline void call_run(struct skua_worker *self, struct skua_job *job)
{
        struct call *call = skua_container(job, struct call, job);

        call->fn(self, call->arg);
}

static inline void run_on(struct skua *rt, unsigned worker,
                          void (*fn)(struct skua_worker *self, void *arg), void *arg)
{
        struct skua_target where = SKUA_TARGET_INIT;
        struct call call = {.fn = fn, .arg = arg};
        struct skua_group group;

        skua_job_init(&call.job, call_run);
        where.worker = SKUA_WORKER(worker);
        where.group = group_new(&group);
        if (skua_submit_to(rt, &call.job, &where)) {
                printf("Bail out! a job is refused\n");
                exit(3);
        }
        skua_group_wait(&group, -1);
}

static inline void pair_make(int fds[2])
{
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds)) {
                printf("Bail out! socketpair: %s\n", strerror(errno));
                exit(3);
        }
}

/* Listens on a port of its own. */
static inline int listener_make(struct sockaddr_in *address)
{
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        socklen_t bytes = sizeof *address;

        memset(address, 0, sizeof *address);
        address->sin_family = AF_INET;
        address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (fd < 0 || bind(fd, (struct sockaddr *)address, bytes) || listen(fd, 1024) ||
            getsockname(fd, (struct sockaddr *)address, &bytes)) {
                printf("Bail out! TCP: %s\n", strerror(errno));
                exit(3);
        }
        return fd;
}

/* Two ends of a TCP connection. */
static inline void tcp_make(int fds[2])
{
        struct sockaddr_in address;
        int one = 1, listener = listener_make(&address);

        fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fds[1], (struct sockaddr *)&address, sizeof address) ||
            (fds[0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0) {
                printf("Bail out! TCP: %s\n", strerror(errno));
                exit(3);
        }
        setsockopt(fds[1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        close(listener);
}

static inline void pair_close(int fds[2])
{
        close(fds[0]);
        close(fds[1]);
}

static inline unsigned fds_open(void)
{
        unsigned count = 0;

        for (int fd = 0; fd < 4096; fd++)
                count += fcntl(fd, F_GETFD) >= 0;
        return count;
}

static inline void probe_fn(struct skua_worker *self, void *arg)
{
        struct io_uring_sqe *sqe = skua_io_prepare(self, arg, op_done);

        if (sqe)
                io_uring_prep_nop(sqe);
}

/* Before the plan. */
static inline void need_ring(void)
{
        struct skua *rt = rig_start(1, NULL);
        struct skua_stats stats;
        struct op op;

        op_init(&op, NULL);
        run_on(rt, 0, probe_fn, &op.io);
        stats = stats_of(rt);
        rig_stop(rt);
        if (stats.ring_path != SKUA_RING_URING) {
                static char reason[64];

                snprintf(reason, sizeof reason, "no io_uring: %s", strerror(-stats.ring_error));
                tap_skip_all(reason);
        }
}

#endif
