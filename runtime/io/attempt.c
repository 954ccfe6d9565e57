/* SPDX-License-Identifier: MIT
 *
 * What operations do when nobody may wait: one try each, of which the kernel is asked not to
 * block. Sockets are asked by MSG_DONTWAIT, files by RWF_NOWAIT; what knows neither is only touched
 * when poll says that it is ready.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/buffers.h"
#include "io/request.h"
#include "io/transfer.h"

/* ------------------------------------------------------------------ what can be done at all */

#define ANY_SELECT (1ull << IORING_OP_RECV | 1ull << IORING_OP_READ)

#define KNOWN                                                                                      \
        (ANY_SELECT | 1ull << IORING_OP_NOP | 1ull << IORING_OP_WRITE | 1ull << IORING_OP_READV |  \
         1ull << IORING_OP_WRITEV | 1ull << IORING_OP_FSYNC | 1ull << IORING_OP_SEND |             \
         1ull << IORING_OP_RECVMSG | 1ull << IORING_OP_SENDMSG | 1ull << IORING_OP_ACCEPT |        \
         1ull << IORING_OP_CONNECT | 1ull << IORING_OP_OPENAT | 1ull << IORING_OP_CLOSE |          \
         1ull << IORING_OP_POLL_ADD | 1ull << IORING_OP_POLL_REMOVE |                              \
         1ull << IORING_OP_ASYNC_CANCEL | 1ull << IORING_OP_SHUTDOWN | 1ull << IORING_OP_TIMEOUT | \
         1ull << IORING_OP_TIMEOUT_REMOVE | 1ull << IORING_OP_SOCKET | 1ull << IORING_OP_STATX)

/* Flags of single operations that are not known here. */
static bool unknown_flags(const struct io_uring_sqe *sqe)
{
        switch (sqe->opcode) {
        case IORING_OP_RECV:
                return sqe->ioprio &
                       ~(unsigned)(IORING_RECVSEND_POLL_FIRST | IORING_RECV_MULTISHOT);
        case IORING_OP_SEND:
        case IORING_OP_RECVMSG:
        case IORING_OP_SENDMSG:
                return sqe->ioprio & ~(unsigned)IORING_RECVSEND_POLL_FIRST;
        case IORING_OP_ACCEPT:
                return sqe->file_index || sqe->ioprio & ~(unsigned)IORING_ACCEPT_MULTISHOT;
        case IORING_OP_SOCKET:
        case IORING_OP_OPENAT:
        case IORING_OP_CLOSE:
                return sqe->file_index;
        case IORING_OP_POLL_ADD:
                return sqe->len & ~(unsigned)IORING_POLL_ADD_MULTI;
        case IORING_OP_POLL_REMOVE:
                return sqe->len;
        case IORING_OP_TIMEOUT_REMOVE:
                return sqe->timeout_flags;
        case IORING_OP_ASYNC_CANCEL:
                return sqe->cancel_flags &
                       ~(unsigned)(IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_FD |
                                   IORING_ASYNC_CANCEL_ANY);
        case IORING_OP_TIMEOUT:
                return sqe->timeout_flags &
                               ~(unsigned)(IORING_TIMEOUT_ABS | IORING_TIMEOUT_ETIME_SUCCESS |
                                           COMPAT_TIMEOUT_MULTISHOT) ||
                       (sqe->off && !(sqe->timeout_flags & COMPAT_TIMEOUT_MULTISHOT));
        default:
                return false;
        }
}

int attempt_admit(const struct io_uring_sqe *sqe)
{
        if (sqe->opcode >= 64 || !(KNOWN >> sqe->opcode & 1) || sqe->flags & IOSQE_IO_DRAIN ||
            (sqe->flags & IOSQE_BUFFER_SELECT && !(ANY_SELECT >> sqe->opcode & 1)) ||
            unknown_flags(sqe))
                return -EOPNOTSUPP;
        return sqe->flags & IOSQE_FIXED_FILE ? -EBADF : 0;
}

/* ------------------------------------------------------------------ ends of attempts */

static enum verdict done(struct request *r, ssize_t res)
{
        r->res = (int32_t)res;
        r->failed = res < 0;
        return REQUEST_DONE;
}

static enum verdict done_or_error(struct request *r, int res)
{
        return done(r, res < 0 ? -errno : res);
}

static enum verdict wait_for(struct request *r, uint32_t events)
{
        r->events = events;
        return REQUEST_WAIT;
}

/* What was moved counts for more than why it was not more. */
static enum verdict moved(struct request *r, int error, bool complete)
{
        done(r, r->done || !error ? (ssize_t)r->done : -error);
        r->failed = !complete;
        return REQUEST_DONE;
}

/* ------------------------------------------------------------------ provided buffers */

bool attempt_pick(struct fallback *f, struct request *r)
{
        struct buffer_pick buffer;
        uint32_t bytes = r->sqe.len;

        if (!buffers_pick(f->ring, r->sqe.buf_group, &buffer))
                return false;
        r->sqe.addr = (uint64_t)(uintptr_t)buffer.data;
        if (!bytes || bytes > buffer.bytes)
                r->sqe.len = (uint32_t)buffer.bytes;
        r->flags = IORING_CQE_F_BUFFER | buffer.number << IORING_CQE_BUFFER_SHIFT;
        return true;
}

/* After an attempt: the buffer goes back unless there is something in it. */
static void unpick(struct fallback *f, struct request *r, uint32_t len, bool used)
{
        r->sqe.len = len;
        if (used)
                return;
        buffers_unpick(f->ring, r->sqe.buf_group);
        r->flags = 0;
}

/* ------------------------------------------------------------------ sockets */

/* Would the kernel go on for the rest? */
static bool goes_on(const struct request *r)
{
        socklen_t size = sizeof(int);
        int type = 0;

        if (!(r->sqe.msg_flags & MSG_WAITALL) || r->sqe.msg_flags & MSG_PEEK)
                return false;
        getsockopt(r->sqe.fd, SOL_SOCKET, SO_TYPE, &type, &size);
        return type == SOCK_STREAM || type == SOCK_SEQPACKET;
}

/* Receives or sends what is left of the request. */
static ssize_t exchange(struct request *r)
{
        const struct io_uring_sqe *sqe = &r->sqe;
        int flags = (int)sqe->msg_flags | MSG_DONTWAIT;
        char *data = (char *)(uintptr_t)sqe->addr + r->done;

        switch (sqe->opcode) {
        case IORING_OP_RECV:
                return recv(sqe->fd, data, sqe->len - r->done, flags);
        case IORING_OP_SEND:
                return sendto(sqe->fd, data, sqe->len - r->done, flags | MSG_NOSIGNAL,
                              (struct sockaddr *)(uintptr_t)sqe->addr2, sqe->addr_len);
        case IORING_OP_RECVMSG:
                return transfer_message(r, flags);
        default:
                return transfer_message(r, flags | MSG_NOSIGNAL);
        }
}

static enum verdict converse(struct request *r, uint32_t ready, uint32_t events)
{
        size_t total = transfer_bytes(r);
        ssize_t count;

        if (!ready && r->sqe.ioprio & IORING_RECVSEND_POLL_FIRST)
                return wait_for(r, events);
        /* Bound: each round moves something, or a signal has come. */
        for (;;) {
                count = exchange(r);
                if (count < 0 && errno == EINTR)
                        continue;
                if (count < 0 && errno == EAGAIN && !(r->sqe.msg_flags & MSG_DONTWAIT))
                        return wait_for(r, events);
                if (count < 0)
                        return moved(r, errno, false);
                r->done += (size_t)count;
                if (r->done >= total || !count || !goes_on(r))
                        return moved(r, 0, r->done >= total || !(r->sqe.msg_flags & MSG_WAITALL));
        }
}

static enum verdict receive_many(struct fallback *f, struct request *r, uint32_t ready)
{
        uint32_t len = r->sqe.len;
        ssize_t count = 1;

        if (!(r->sqe.flags & IOSQE_BUFFER_SELECT) || r->sqe.msg_flags & MSG_WAITALL)
                return done(r, -EINVAL);
        if (!ready) /* the set tells at once when there is something */
                return wait_for(r, EPOLLIN);
        for (unsigned i = 0; i < REQUEST_TURN && count > 0 && request_room(f); i++) {
                bool full;

                if (!attempt_pick(f, r))
                        return done(r, -ENOBUFS);
                count = recv(r->sqe.fd, (void *)(uintptr_t)r->sqe.addr, r->sqe.len,
                             (int)r->sqe.msg_flags | MSG_DONTWAIT);
                full = count == r->sqe.len;
                if (count > 0)
                        request_more(f, r, (int32_t)count, r->flags);
                unpick(f, r, len, count > 0);
                r->flags = 0;
                if (count > 0 && !full)
                        return REQUEST_WAIT;
        }
        if (count > 0 || (count < 0 && (errno == EAGAIN || errno == EINTR)))
                return REQUEST_WAIT;
        return done_or_error(r, (int)count);
}

static enum verdict receive(struct fallback *f, struct request *r, uint32_t ready)
{
        uint32_t len = r->sqe.len;
        enum verdict verdict;

        if (r->sqe.ioprio & IORING_RECV_MULTISHOT)
                return receive_many(f, r, ready);
        if (!(r->sqe.flags & IOSQE_BUFFER_SELECT))
                return converse(r, ready, EPOLLIN);
        if (!r->flags && !attempt_pick(f, r))
                return done(r, -ENOBUFS);
        verdict = converse(r, ready, EPOLLIN);
        if (verdict == REQUEST_WAIT && r->done) /* the buffer is half full: it goes on with it */
                return verdict;
        unpick(f, r, len, verdict == REQUEST_DONE && r->res > 0);
        return verdict;
}

/* accept(2) has no flag that keeps it from waiting, and others may be quicker than we. */
static void never_wait(int fd)
{
        socklen_t size = sizeof(int);
        int listens = 0, flags;

        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size);
        if (!listens)
                return;
        flags = fcntl(fd, F_GETFL);
        if (flags >= 0 && !(flags & O_NONBLOCK))
                fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

static enum verdict take_connection(struct fallback *f, struct request *r, uint32_t ready)
{
        const struct io_uring_sqe *sqe = &r->sqe;
        bool many = sqe->ioprio & IORING_ACCEPT_MULTISHOT;

        if (!ready)
                never_wait(sqe->fd);
        for (unsigned i = 0; i < REQUEST_TURN && request_room(f); i++) {
                int fd = accept4(sqe->fd, (struct sockaddr *)(uintptr_t)sqe->addr,
                                 (socklen_t *)(uintptr_t)sqe->addr2, (int)sqe->accept_flags);

                if (fd < 0 && errno == EINTR)
                        continue;
                if (fd < 0 && errno == EAGAIN)
                        break;
                if (fd < 0 || !many)
                        return done_or_error(r, fd);
                request_more(f, r, fd, 0);
        }
        return wait_for(r, EPOLLIN);
}

static enum verdict connect_socket(struct request *r, uint32_t ready)
{
        const struct io_uring_sqe *sqe = &r->sqe;
        socklen_t size = sizeof(int);
        int result = 0, error = 0, flags;

        if (ready && (getsockopt(sqe->fd, SOL_SOCKET, SO_ERROR, &error, &size) || error))
                return done(r, error ? -error : -errno);
        /* When it is connected the call that says so makes it connected for others too. */
        flags = fcntl(sqe->fd, F_GETFL);
        if (flags < 0)
                return done_or_error(r, flags);
        if (!(flags & O_NONBLOCK))
                fcntl(sqe->fd, F_SETFL, flags | O_NONBLOCK);
        result = connect(sqe->fd, (const struct sockaddr *)(uintptr_t)sqe->addr,
                         (socklen_t)sqe->off);
        error = errno;
        if (!(flags & O_NONBLOCK))
                fcntl(sqe->fd, F_SETFL, flags);
        if (result && (error == EINPROGRESS || (ready && error == EALREADY)))
                return wait_for(r, EPOLLOUT);
        if (result && error == EISCONN && ready)
                return done(r, 0);
        if (result && error == EAGAIN) /* a local socket whose listener is busy */
                return REQUEST_BLOCK;
        return done(r, result ? -error : 0);
}

/* ------------------------------------------------------------------ polling and time */

static enum verdict poll_descriptor(struct fallback *f, struct request *r, uint32_t ready)
{
        uint32_t events = r->sqe.poll32_events;
        struct pollfd fd = {.fd = r->sqe.fd};
        bool many = r->sqe.len & IORING_POLL_ADD_MULTI;

        if (__BYTE_ORDER == __BIG_ENDIAN) /* io_uring_prep_poll_add() has swapped the halves */
                events = events << 16 | events >> 16;
        events = (events & 0xffff) | EPOLLRDHUP; /* which is always told of */
        ready &= events | EPOLLERR | EPOLLHUP;
        r->edges = many;
        if (ready && many)
                request_event(f, r, ready);
        if (ready && !many)
                return done(r, (int)ready);
        if (ready || many)
                return wait_for(r, events);
        fd.events = (short)events;
        if (fd.fd < 0 || poll(&fd, 1, 0) < 0 || fd.revents & POLLNVAL)
                return done(r, -EBADF);
        return fd.revents ? done(r, (uint16_t)fd.revents) : wait_for(r, events);
}

static enum verdict time_out(struct request *r)
{
        const struct __kernel_timespec *time = (void *)(uintptr_t)r->sqe.addr;
        int64_t now_ns = kernel_now_ns();

        if (r->sqe.len != 1 || time->tv_sec < 0 || time->tv_nsec < 0)
                return done(r, -EINVAL);
        r->due_ns = time->tv_sec > INT64_MAX / 2000000000
                            ? INT64_MAX / 2
                            : time->tv_sec * 1000000000 + time->tv_nsec;
        if (r->sqe.timeout_flags & COMPAT_TIMEOUT_MULTISHOT) {
                if (r->sqe.timeout_flags & IORING_TIMEOUT_ABS)
                        return done(r, -EINVAL);
                r->every_ns = r->due_ns ? r->due_ns : 1;
        }
        if (!(r->sqe.timeout_flags & IORING_TIMEOUT_ABS))
                r->due_ns += now_ns;
        return REQUEST_TIMED;
}

/* ------------------------------------------------------------------ all */

static enum verdict attempt_file(struct fallback *f, struct request *r, uint32_t ready)
{
        uint32_t len = r->sqe.len;
        enum verdict verdict;

        if (!(r->sqe.flags & IOSQE_BUFFER_SELECT) || r->flags)
                return transfer_attempt(r, ready);
        if (!attempt_pick(f, r))
                return done(r, -ENOBUFS);
        verdict = transfer_attempt(r, ready);
        if (verdict != REQUEST_BLOCK)
                unpick(f, r, len, verdict == REQUEST_DONE && r->res > 0);
        return verdict;
}

static enum verdict close_descriptor(struct fallback *f, int fd, struct request *r)
{
        cancel_on(f, fd);
        descriptor_forget(f, fd);
        return done_or_error(r, close(fd));
}

enum verdict attempt(struct fallback *f, struct request *r, uint32_t ready)
{
        const struct io_uring_sqe *sqe = &r->sqe;

        switch (sqe->opcode) {
        case IORING_OP_NOP:
                return done(r, 0);
        case IORING_OP_READ:
        case IORING_OP_WRITE:
        case IORING_OP_READV:
        case IORING_OP_WRITEV:
                return attempt_file(f, r, ready);
        case IORING_OP_RECV:
                return receive(f, r, ready);
        case IORING_OP_RECVMSG:
                return converse(r, ready, EPOLLIN);
        case IORING_OP_SEND:
        case IORING_OP_SENDMSG:
                return converse(r, ready, EPOLLOUT);
        case IORING_OP_ACCEPT:
                return take_connection(f, r, ready);
        case IORING_OP_CONNECT:
                return connect_socket(r, ready);
        case IORING_OP_SHUTDOWN:
                return done_or_error(r, shutdown(sqe->fd, (int)sqe->len));
        case IORING_OP_SOCKET:
                return done_or_error(r, socket(sqe->fd, (int)sqe->off, (int)sqe->len));
        case IORING_OP_CLOSE:
                return close_descriptor(f, sqe->fd, r);
        case IORING_OP_POLL_ADD:
                return poll_descriptor(f, r, ready);
        case IORING_OP_POLL_REMOVE:
                return done(r, cancel_named(f, sqe->addr, IORING_OP_POLL_ADD));
        case IORING_OP_TIMEOUT_REMOVE:
                return done(r, cancel_named(f, sqe->addr, IORING_OP_TIMEOUT));
        case IORING_OP_ASYNC_CANCEL:
                return done(r, cancel_matching(f, sqe));
        case IORING_OP_TIMEOUT:
                return time_out(r);
        default:
                return REQUEST_BLOCK;
        }
}
