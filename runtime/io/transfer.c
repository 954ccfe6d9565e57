/* SPDX-License-Identifier: MIT
 *
 * Moving bytes; see transfer.h. Like io_uring, a regular file is read or written to the end of the
 * request or of the file, anything else once.
 */
#include "io/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* Of a vector that is partly done so many pieces at a time. */
enum { PIECES = 32, VECTOR_MOST = 1024 };

static bool is_write(const struct request *r)
{
        return r->sqe.opcode == IORING_OP_WRITE || r->sqe.opcode == IORING_OP_WRITEV;
}

static bool has_vector(const struct request *r)
{
        return r->sqe.opcode == IORING_OP_READV || r->sqe.opcode == IORING_OP_WRITEV;
}

static const struct msghdr *message_of(const struct request *r)
{
        return (const struct msghdr *)(uintptr_t)r->sqe.addr;
}

static size_t sum(const struct iovec *vector, size_t count)
{
        size_t bytes = 0;

        for (size_t i = 0; i < count; i++)
                bytes += vector[i].iov_len;
        return bytes;
}

size_t transfer_bytes(const struct request *r)
{
        if (has_vector(r))
                return sum((const struct iovec *)(uintptr_t)r->sqe.addr, r->sqe.len);
        if (r->sqe.opcode == IORING_OP_RECVMSG || r->sqe.opcode == IORING_OP_SENDMSG)
                return sum(message_of(r)->msg_iov, message_of(r)->msg_iovlen);
        return r->sqe.len;
}

/* The first pieces of a vector behind the first `done` bytes; how many. */
static size_t behind(struct iovec *out, const struct iovec *vector, size_t count, size_t done)
{
        size_t pieces = 0;

        for (size_t i = 0; i < count && pieces < PIECES; i++) {
                if (done >= vector[i].iov_len) {
                        done -= vector[i].iov_len;
                        continue;
                }
                out[pieces].iov_base = (char *)vector[i].iov_base + done;
                out[pieces++].iov_len = vector[i].iov_len - done;
                done = 0;
        }
        return pieces;
}

/* ------------------------------------------------------------------ messages */

/* What a message needs when the caller's own has gone; `user` gets the answers. */
struct kept_message {
        struct msghdr header;
        struct msghdr *user;
        struct iovec vector[];
};

ssize_t transfer_message(struct request *r, int flags)
{
        struct msghdr *user = (struct msghdr *)(uintptr_t)r->sqe.addr, header = *user;
        struct iovec pieces[PIECES];
        ssize_t count;

        if (r->done) {
                header.msg_iovlen = behind(pieces, user->msg_iov, user->msg_iovlen, r->done);
                header.msg_iov = pieces;
                header.msg_control = NULL;
                header.msg_controllen = 0;
        }
        if (r->sqe.opcode == IORING_OP_SENDMSG)
                return sendmsg(r->sqe.fd, &header, flags);
        count = recvmsg(r->sqe.fd, &header, flags);
        if (count < 0 || r->done)
                return count;
        if (r->copy)
                user = ((struct kept_message *)r->copy)->user;
        user->msg_namelen = header.msg_namelen;
        user->msg_controllen = header.msg_controllen;
        user->msg_flags = header.msg_flags;
        return count;
}

/* ------------------------------------------------------------------ files */

struct vector {
        const struct iovec *pieces;
        size_t count, bytes;
        struct iovec own[PIECES];
};

/* What is left to be moved. */
static void rest_of(const struct request *r, struct vector *v)
{
        const struct iovec *all = (const struct iovec *)(uintptr_t)r->sqe.addr;

        if (!has_vector(r)) {
                v->own[0].iov_base = (char *)(uintptr_t)r->sqe.addr + r->done;
                v->own[0].iov_len = r->sqe.len - r->done;
                v->pieces = v->own;
                v->count = 1;
        } else if (!r->done) {
                v->pieces = all;
                v->count = r->sqe.len;
        } else {
                v->count = behind(v->own, all, r->sqe.len, r->done);
                v->pieces = v->own;
        }
        v->bytes = sum(v->pieces, v->count);
}

/* At the wished place, or, if the file has none, at its end. */
static ssize_t move_bytes(const struct request *r, const struct vector *v, int flags)
{
        off_t at = (int64_t)r->sqe.off < 0 ? -1 : (off_t)(r->sqe.off + r->done);
        ssize_t count;

        do {
                if (is_write(r))
                        count = pwritev2(r->sqe.fd, v->pieces, (int)v->count, at, flags);
                else
                        count = preadv2(r->sqe.fd, v->pieces, (int)v->count, at, flags);
                if (count >= 0 || errno != ESPIPE || at < 0)
                        return count;
                at = -1;
        } while (true); /* bound: twice */
}

/* The file cannot be asked not to wait. A socket has its own way; else what poll says must do, and
 * what poll says of room holds for a page. -EAGAIN in errno: it would wait. */
static ssize_t move_ready(const struct request *r, const struct vector *v)
{
        struct pollfd fd = {.fd = r->sqe.fd, .events = is_write(r) ? POLLOUT : POLLIN};
        struct iovec piece = v->pieces[0];
        struct msghdr header = {.msg_iov = (struct iovec *)(uintptr_t)v->pieces,
                                .msg_iovlen = v->count};
        ssize_t count = is_write(r) ? sendmsg(fd.fd, &header, MSG_DONTWAIT)
                                    : recvmsg(fd.fd, &header, MSG_DONTWAIT);

        if (count >= 0 || errno != ENOTSOCK)
                return count;
        if (poll(&fd, 1, 0) <= 0) {
                errno = EAGAIN;
                return -1;
        }
        if (!is_write(r))
                return readv(fd.fd, v->pieces, (int)v->count);
        if (piece.iov_len > PIPE_BUF)
                piece.iov_len = PIPE_BUF;
        return write(fd.fd, piece.iov_base, piece.iov_len);
}

static bool to_the_end(const struct request *r)
{
        struct stat status;

        return !fstat(r->sqe.fd, &status) && (S_ISREG(status.st_mode) || S_ISBLK(status.st_mode));
}

static enum verdict ended(struct request *r, size_t total, int error)
{
        r->res = r->done || !error ? (int32_t)r->done : -error;
        r->failed = error || r->done != total;
        return REQUEST_DONE;
}

enum verdict transfer_attempt(struct request *r, uint32_t ready)
{
        size_t total;
        bool pieces = false; /* poll has to be asked for each */

        r->events = is_write(r) ? EPOLLOUT : EPOLLIN;
        if (has_vector(r) && r->sqe.len > VECTOR_MOST)
                return ended(r, 1, EINVAL);
        total = transfer_bytes(r);
        /* Bound: each round moves something, is the last one, or a signal has come. */
        for (;;) {
                struct vector v;
                ssize_t count;

                rest_of(r, &v);
                count = pieces ? move_ready(r, &v)
                               : move_bytes(r, &v, (int)r->sqe.rw_flags | RWF_NOWAIT);
                if (count < 0 && errno == EOPNOTSUPP && !pieces) {
                        if (!ready)
                                return REQUEST_WAIT;
                        pieces = true;
                        continue;
                }
                if (count < 0 && errno == EINTR)
                        continue;
                if (count < 0 && errno == EAGAIN && !(r->sqe.rw_flags & RWF_NOWAIT) &&
                    (!r->done || to_the_end(r)))
                        return REQUEST_WAIT;
                if (count < 0)
                        return ended(r, total, errno);
                r->done += (size_t)count;
                if (!count || r->done >= total)
                        return ended(r, total, 0);
                if ((size_t)count < v.bytes && !(pieces && is_write(r)) && !to_the_end(r))
                        return ended(r, total, 0);
        }
}

/* ------------------------------------------------------------------ on a thread that may block */

static void move_blocking(struct request *r)
{
        size_t total = transfer_bytes(r);
        struct vector v;
        ssize_t count;

        do { /* bound: each round moves something, or is the last one */
                rest_of(r, &v);
                count = move_bytes(r, &v, (int)r->sqe.rw_flags);
                if (count > 0)
                        r->done += (size_t)count;
                if (count < 0 && errno == EINTR)
                        continue;
                if (count <= 0)
                        break;
        } while (r->done < total && ((size_t)count == v.bytes || to_the_end(r)));
        ended(r, total, count < 0 ? errno : 0);
}

static int call_blocking(const struct io_uring_sqe *sqe)
{
        switch (sqe->opcode) {
        case IORING_OP_FSYNC:
                return sqe->fsync_flags & IORING_FSYNC_DATASYNC ? fdatasync(sqe->fd)
                                                                : fsync(sqe->fd);
        case IORING_OP_OPENAT:
                return openat(sqe->fd, (const char *)(uintptr_t)sqe->addr, (int)sqe->open_flags,
                              (mode_t)sqe->len);
        case IORING_OP_STATX:
                return statx(sqe->fd, (const char *)(uintptr_t)sqe->addr, (int)sqe->statx_flags,
                             sqe->len, (struct statx *)(uintptr_t)sqe->addr2);
        default:
                return connect(sqe->fd, (const struct sockaddr *)(uintptr_t)sqe->addr,
                               (socklen_t)sqe->off);
        }
}

void attempt_block(struct offload_call *call)
{
        struct request *r = (struct request *)(void *)((char *)call -
                                                       offsetof(struct request, call));
        int result;

        if (has_vector(r) || r->sqe.opcode == IORING_OP_READ || r->sqe.opcode == IORING_OP_WRITE) {
                move_blocking(r);
                return;
        }
        result = call_blocking(&r->sqe);
        r->res = result < 0 ? -errno : result;
        r->failed = result < 0;
}

/* ------------------------------------------------------------------ copies */

static int keep_bytes(struct request *r, const void *from, size_t bytes)
{
        r->copy = malloc(bytes ? bytes : 1);
        if (!r->copy)
                return -ENOMEM;
        memcpy(r->copy, from, bytes);
        return 0;
}

static int keep_message(struct request *r)
{
        const struct msghdr *user = message_of(r);
        bool send = r->sqe.opcode == IORING_OP_SENDMSG;
        size_t bytes = user->msg_iovlen * sizeof *user->msg_iov;
        struct kept_message *kept = malloc(sizeof *kept + bytes + (send ? user->msg_namelen : 0));

        if (!kept)
                return -ENOMEM;
        kept->header = *user;
        kept->header.msg_iov = kept->vector;
        kept->user = (struct msghdr *)(uintptr_t)user;
        memcpy(kept->vector, user->msg_iov, bytes);
        if (send && user->msg_name) {
                kept->header.msg_name = (char *)kept->vector + bytes;
                memcpy(kept->header.msg_name, user->msg_name, user->msg_namelen);
        }
        r->copy = kept;
        r->sqe.addr = (uint64_t)(uintptr_t)kept;
        return 0;
}

int attempt_keep(struct request *r)
{
        struct io_uring_sqe *sqe = &r->sqe;
        const void *shown = (const void *)(uintptr_t)sqe->addr;
        int result = 0;

        if (r->copy)
                return 0;
        switch (sqe->opcode) {
        case IORING_OP_RECVMSG:
        case IORING_OP_SENDMSG:
                return keep_message(r);
        case IORING_OP_SEND:
                if (!sqe->addr_len)
                        return 0;
                result = keep_bytes(r, (const void *)(uintptr_t)sqe->addr2, sqe->addr_len);
                sqe->addr2 = (uint64_t)(uintptr_t)r->copy;
                return result;
        case IORING_OP_READV:
        case IORING_OP_WRITEV:
                if (sqe->len > VECTOR_MOST)
                        return 0;
                result = keep_bytes(r, shown, sqe->len * sizeof(struct iovec));
                break;
        case IORING_OP_CONNECT:
                result = keep_bytes(r, shown, (size_t)sqe->off);
                break;
        case IORING_OP_OPENAT:
        case IORING_OP_STATX:
                result = keep_bytes(r, shown, strlen(shown) + 1);
                break;
        case IORING_OP_TIMEOUT:
                result = keep_bytes(r, shown, sizeof(struct __kernel_timespec));
                break;
        default:
                return 0;
        }
        sqe->addr = (uint64_t)(uintptr_t)r->copy;
        return result;
}
