/* SPDX-License-Identifier: MIT
 *
 * Straight-line I/O: operations whose completion resumes the job that waits for it, instead of
 * becoming a job. The word for that lies in the operation: nobody waits yet, the waiter, or
 * IO_AWAITED_DONE.
 */
#include <errno.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "io/io.h"
#include "wait/await.h"

struct io_wait {
        struct await await;
        struct skua_io *op;
};

/* The kernel says when it has ended. */
static bool withdraw(struct worker *w, struct await *a)
{
        skua_io_cancel(&w->face, skua_container(a, struct io_wait, await)->op);
        return false;
}

/* A word of the operation that only those with several completions use otherwise. */
static struct wordptr *waiter_of(struct skua_io *op)
{
        return (struct wordptr *)(void *)&op->later_;
}

void io_awaited(struct skua_io *op)
{
        /* [IO7] release pairs with the CAS or the acquire in wait_for(): the result; acquire with
         * the CAS: the waiter. The last touch of the operation. */
        struct waiter *waiter = exchange_acq_rel_ptr(waiter_of(op), IO_AWAITED_DONE);

        if (waiter)
                waiter_wake(waiter);
}

static int wait_for(struct worker *w, struct skua_io *op, int64_t until_ns, bool firm)
{
        struct io_wait wait;
        void *nobody = NULL;

        /* [IO7] acquire pairs with io_awaited(): the result. */
        if (load_acquire_ptr(waiter_of(op)))
                return op->res;
        await_begin(w, &wait.await, withdraw);
        wait.op = op;
        wait.await.firm = firm;
        /* [IO7] release pairs with io_awaited(): the waiter. A failure means that it has ended. */
        if (cas_acq_rel_ptr(waiter_of(op), &nobody, &wait.await.waiter))
                await_suspend(w, &wait.await, until_ns);
        else
                fence_acquire(); /* [IO7] as above: a failure gives no order */
        shared_read(&op->res, sizeof op->res);
        return op->res == -ECANCELED && wait.await.early == -ETIMEDOUT ? -ETIMEDOUT : op->res;
}

SKUA_API int skua_await_io_until(struct skua_worker *self, struct skua_io *io, int64_t deadline_ns)
{
        struct worker *w = worker_of(self);

        return w->isolated ? -EDEADLK : wait_for(w, io, deadline_ns, false);
}

SKUA_API int skua_await_io(struct skua_worker *self, struct skua_io *io)
{
        return skua_await_io_until(self, io, 0);
}

/* ------------------------------------------------------------------ one operation each */

struct call {
        struct worker *worker;
        struct io_uring_sqe *sqe; /* to be filled in */
        int64_t until_ns;
        int error;
        struct skua_io io;
};

/* True: the entry is to be filled in. */
static bool call_begin(struct call *call, struct skua_worker *self, int64_t until_ns)
{
        call->worker = worker_of(self);
        call->until_ns = until_ns;
        call->error = await_refused(call->worker, until_ns);
        if (call->error)
                return false;
        call->sqe = skua_io_prepare(self, &call->io, NULL);
        if (!call->sqe)
                call->error = -ENOMEM;
        return call->sqe;
}

static int call_end(struct call *call)
{
        return call->error ? call->error : wait_for(call->worker, &call->io, call->until_ns, false);
}

SKUA_API ssize_t skua_await_read_until(struct skua_worker *self, int fd, void *buf, size_t len,
                                       uint64_t off, int64_t deadline_ns)
{
        struct call call;

        if (call_begin(&call, self, deadline_ns))
                io_uring_prep_read(call.sqe, fd, buf, io_len(len), off);
        return call_end(&call);
}

SKUA_API ssize_t skua_await_read(struct skua_worker *self, int fd, void *buf, size_t len,
                                 uint64_t off)
{
        return skua_await_read_until(self, fd, buf, len, off, 0);
}

SKUA_API ssize_t skua_await_write_until(struct skua_worker *self, int fd, const void *buf,
                                        size_t len, uint64_t off, int64_t deadline_ns)
{
        struct call call;

        if (call_begin(&call, self, deadline_ns))
                io_uring_prep_write(call.sqe, fd, buf, io_len(len), off);
        return call_end(&call);
}

SKUA_API ssize_t skua_await_write(struct skua_worker *self, int fd, const void *buf, size_t len,
                                  uint64_t off)
{
        return skua_await_write_until(self, fd, buf, len, off, 0);
}

SKUA_API ssize_t skua_await_recv_until(struct skua_worker *self, int fd, void *buf, size_t len,
                                       int flags, int64_t deadline_ns)
{
        struct call call;

        if (call_begin(&call, self, deadline_ns))
                io_uring_prep_recv(call.sqe, fd, buf, io_len(len), flags);
        return call_end(&call);
}

SKUA_API ssize_t skua_await_recv(struct skua_worker *self, int fd, void *buf, size_t len, int flags)
{
        return skua_await_recv_until(self, fd, buf, len, flags, 0);
}

SKUA_API ssize_t skua_await_send_until(struct skua_worker *self, int fd, const void *buf,
                                       size_t len, int flags, int64_t deadline_ns)
{
        struct call call;

        if (call_begin(&call, self, deadline_ns))
                io_uring_prep_send(call.sqe, fd, buf, io_len(len), flags);
        return call_end(&call);
}

SKUA_API ssize_t skua_await_send(struct skua_worker *self, int fd, const void *buf, size_t len,
                                 int flags)
{
        return skua_await_send_until(self, fd, buf, len, flags, 0);
}

SKUA_API int skua_await_accept_until(struct skua_worker *self, int fd, struct sockaddr *addr,
                                     socklen_t *addrlen, int flags, int64_t deadline_ns)
{
        struct call call;

        if (call_begin(&call, self, deadline_ns))
                io_uring_prep_accept(call.sqe, fd, addr, addrlen, flags);
        return call_end(&call);
}

SKUA_API int skua_await_accept(struct skua_worker *self, int fd, struct sockaddr *addr,
                               socklen_t *addrlen, int flags)
{
        return skua_await_accept_until(self, fd, addr, addrlen, flags, 0);
}

SKUA_API int skua_await_connect_until(struct skua_worker *self, int fd, const struct sockaddr *addr,
                                      socklen_t addrlen, int64_t deadline_ns)
{
        struct call call;

        if (call_begin(&call, self, deadline_ns))
                io_uring_prep_connect(call.sqe, fd, addr, addrlen);
        return call_end(&call);
}

SKUA_API int skua_await_connect(struct skua_worker *self, int fd, const struct sockaddr *addr,
                                socklen_t addrlen)
{
        return skua_await_connect_until(self, fd, addr, addrlen, 0);
}

SKUA_API int skua_await_openat_until(struct skua_worker *self, int dfd, const char *path, int flags,
                                     mode_t mode, int64_t deadline_ns)
{
        struct call call;

        if (call_begin(&call, self, deadline_ns))
                io_uring_prep_openat(call.sqe, dfd, path, flags, mode);
        return call_end(&call);
}

SKUA_API int skua_await_openat(struct skua_worker *self, int dfd, const char *path, int flags,
                               mode_t mode)
{
        return skua_await_openat_until(self, dfd, path, flags, mode, 0);
}

SKUA_API int skua_await_fsync_until(struct skua_worker *self, int fd, unsigned flags,
                                    int64_t deadline_ns)
{
        struct call call;

        if (call_begin(&call, self, deadline_ns))
                io_uring_prep_fsync(call.sqe, fd, flags);
        return call_end(&call);
}

SKUA_API int skua_await_fsync(struct skua_worker *self, int fd, unsigned flags)
{
        return skua_await_fsync_until(self, fd, flags, 0);
}

SKUA_API int skua_await_poll_until(struct skua_worker *self, int fd, unsigned mask,
                                   int64_t deadline_ns)
{
        struct call call;

        if (call_begin(&call, self, deadline_ns))
                io_uring_prep_poll_add(call.sqe, fd, mask);
        return call_end(&call);
}

SKUA_API int skua_await_poll(struct skua_worker *self, int fd, unsigned mask)
{
        return skua_await_poll_until(self, fd, mask, 0);
}

SKUA_API int skua_await_close(struct skua_worker *self, int fd)
{
        struct worker *w = worker_of(self);
        int result = -ECANCELED;
        struct io_uring_sqe *sqe;
        struct skua_io io;

        if (!w->isolated && (sqe = skua_io_prepare(self, &io, NULL))) {
                io_uring_prep_close(sqe, fd);
                result = wait_for(w, &io, 0, true);
        }
        /* Without a ring there is nothing to wait with, and see close_done() in cancel.c: closing
         * is never left out. */
        if (result == -ECANCELED)
                result = close(fd) ? -errno : 0;
        return result;
}

/* ------------------------------------------------------------------ several operations */

SKUA_API ssize_t skua_await_send_all(struct skua_worker *self, int fd, const void *buf, size_t len,
                                     int flags, int64_t deadline_ns)
{
        size_t moved = 0;
        ssize_t result;

        do {
                result = skua_await_send_until(self, fd, (const char *)buf + moved, len - moved,
                                               flags, deadline_ns);
                if (result > 0)
                        moved += (size_t)result;
        } while (moved < len && result > 0);
        return moved ? (ssize_t)moved : result;
}

SKUA_API ssize_t skua_await_recv_all(struct skua_worker *self, int fd, void *buf, size_t len,
                                     int flags, int64_t deadline_ns)
{
        size_t moved = 0;
        ssize_t result;

        do {
                result = skua_await_recv_until(self, fd, (char *)buf + moved, len - moved, flags,
                                               deadline_ns);
                if (result > 0)
                        moved += (size_t)result;
        } while (moved < len && result > 0);
        return moved ? (ssize_t)moved : result;
}

/* The next signal of the descriptor; somebody else may take what it was readable for. */
static int next_signal(struct skua_worker *self, int fd, int64_t deadline_ns)
{
        struct signalfd_siginfo info;
        int result;

        while (read(fd, &info, sizeof info) != sizeof info) {
                if (errno != EAGAIN && errno != EINTR)
                        return -errno;
                result = skua_await_poll_until(self, fd, POLLIN, deadline_ns);
                if (result < 0)
                        return result;
        }
        return (int)info.ssi_signo;
}

SKUA_API int skua_await_signal(struct skua_worker *self, const void *set, int64_t deadline_ns)
{
        int error = await_refused(worker_of(self), 0), fd, result;

        if (error)
                return error;
        fd = signalfd(-1, set, SFD_NONBLOCK | SFD_CLOEXEC);
        if (fd < 0)
                return -errno;
        result = next_signal(self, fd, deadline_ns);
        close(fd);
        return result;
}
