/* SPDX-License-Identifier: MIT
 *
 * Operations from prepare to the kernel; see io.h.
 */
#include "io/io.h"

#include <errno.h>
#include <string.h>

#include "core/group.h"
#include "core/options.h"
#include "core/runtime.h"
#include "io/timer.h"
#include "io/watch.h"

enum { SEND_TRIES = 1000 };

/* Would it go on for ever if nobody ended it? What a drain must cancel. */
static bool endless(const struct io_uring_sqe *sqe)
{
        switch (sqe->opcode) {
        case IORING_OP_ACCEPT:
        case COMPAT_OP_READ_MULTISHOT:
                return true;
        case IORING_OP_RECV:
        case IORING_OP_RECVMSG:
                return sqe->ioprio & IORING_RECV_MULTISHOT;
        case IORING_OP_POLL_ADD:
                return sqe->len & IORING_POLL_ADD_MULTI;
        case IORING_OP_TIMEOUT:
                return sqe->timeout_flags & COMPAT_TIMEOUT_MULTISHOT;
        default:
                return false;
        }
}

/* Submitted as nothing, it keeps its place in a chain and completes with `error`. */
static void refuse(struct io *io, struct skua_io *op, struct io_uring_sqe *sqe, int error)
{
        uint8_t links = sqe->flags & (IOSQE_IO_LINK | IOSQE_IO_HARDLINK);

        memset(sqe, 0, sizeof *sqe);
        sqe->opcode = IORING_OP_NOP;
        sqe->flags = links;
        op->res = error;
        op->set_ = NULL;
        io_lock(io); /* somebody may be asking for its end */
        op->state_ |= IO_REFUSED;
        io_unlock(io);
}

/* A drain cancels what is endless: what is listed before it, and, with the phase, what comes
 * after. */
static void list_endless(struct io *io, struct skua_io *op, struct io_uring_sqe *sqe)
{
        struct runtime *rt = io->worker->runtime;

        io_lock(io);
        op->state_ |= IO_ENDLESS;
        if (!(op->state_ & IO_LISTED)) /* else others have asked for its end already */
                io_list_add(&io->endless, op);
        io_unlock(io);
        /* [ST6] pairs with the fence in request_all() of runtime.c: either it sees that there is
         * I/O, and the request comes after the listing, or we see the phase. */
        fence_seq_cst();
        if (runtime_stopping(rt)) {
                io_lock(io);
                io_list_remove(op);
                io_unlock(io);
                refuse(io, op, sqe, -ECANCELED);
        }
}

/* What stands behind it is not found by a cancellation, and begins when it has ended. */
static void chain(struct io *io, struct skua_io *op)
{
        io_lock(io);
        op->state_ |= IO_CHAINED;
        io_unlock(io);
}

/* What is done though all is cancelled: closing is, and looks for what it must wait for. */
static bool ending(const struct io_uring_sqe *sqe)
{
        return sqe->opcode == IORING_OP_CLOSE || sqe->opcode == IORING_OP_ASYNC_CANCEL;
}

/* To be issued again when there is a buffer: by itself, as what followed it has been cancelled. */
static void keep_entry(struct skua_io *op, const struct io_uring_sqe *sqe)
{
        struct io_uring_sqe kept = *sqe;

        kept.flags &= (uint8_t) ~(IOSQE_IO_LINK | IOSQE_IO_HARDLINK);
        memcpy(op->sqe_, &kept, sizeof kept);
}

/* The caller has filled it in. */
void io_seal(struct io *io)
{
        struct skua_io *op = io->open;
        struct io_uring_sqe *sqe = io->open_sqe;

        if (!op)
                return;
        io->open = NULL;
        sqe->flags &= (uint8_t)~IOSQE_CQE_SKIP_SUCCESS;
        if (op->state_ & IO_REFUSED)
                refuse(io, op, sqe, op->res);
        else if (__builtin_expect(runtime_cancelling(io->worker->runtime), 0) && !ending(sqe))
                refuse(io, op, sqe, -ECANCELED);
        else if (sqe->flags & IOSQE_IO_DRAIN)
                refuse(io, op, sqe, -EINVAL); /* it would wait for the operation that wakes us */
        else if (endless(sqe))
                list_endless(io, op, sqe);
        if (sqe->opcode == IORING_OP_CLOSE) {
                io_lock(io);
                op->state_ |= IO_CLOSES;
                io_unlock(io);
        }
        if (sqe->flags & (IOSQE_IO_LINK | IOSQE_IO_HARDLINK))
                chain(io, op);
        sqe->user_data = (uintptr_t)op;
        if (op->set_)
                keep_entry(op, sqe);
}

int io_send(struct io *io)
{
        int result;

        io_seal(io);
        if (!ring_unsent(&io->ring))
                return 0;
        do
                result = io_enter(io);
        while (result == -EINTR); /* bound: as many signals as come */
        watch_left(io->worker);
        return result;
}

int io_make_room(struct io *io, unsigned count)
{
        int result = io_send(io);
        bool jobs;

        /* Bound: the kernel takes entries when completions have been taken and memory is there. */
        for (unsigned tries = 0; ring_room(&io->ring) < count; tries++) {
                if (tries == SEND_TRIES)
                        return result ? result : -EAGAIN;
                io_lock(io);
                jobs = io_reap_all(io);
                io_unlock(io);
                if (jobs)
                        worker_moved(io->worker);
                kernel_yield();
                result = io_send(io);
        }
        return 0;
}

void io_need_room(struct io *io)
{
        io_seal(io);
        while (!ring_room(&io->ring))
                io_make_room(io, 1); /* bound: see there; there is nobody to tell */
}

static struct io_uring_sqe *next_sqe(struct io *io)
{
        io_need_room(io);
        return ring_sqe(&io->ring);
}

struct io_uring_sqe *io_internal(struct io *io, uint64_t user_data)
{
        struct io_uring_sqe *sqe = next_sqe(io);

        memset(sqe, 0, sizeof *sqe);
        sqe->user_data = user_data; /* which no io_uring_prep_* function touches */
        io_lock(io);
        io->internal++;
        return sqe;
}

static struct skua_io *begin(struct io *io, struct skua_io *op, skua_fn *done)
{
        struct worker *w = io->worker;

        op->job.run_ = op->done_ = done;
        op->group_ = NULL;
        op->strand_ = NULL;
        op->later_ = op->kept_ = NULL;
        op->set_ = NULL;
        op->home_ = w->index;
        op->state_ = IO_FLIGHT;
        op->pending_ = op->ready_ = 0;
        count_add(&w->count.io_begun, 1);
        return op;
}

static struct io_uring_sqe *open_sqe(struct io *io, struct skua_io *op)
{
        struct io_uring_sqe *sqe = next_sqe(io);

        io->open = op;
        io->open_sqe = sqe;
        /* What a program of today fills in may be less than what the kernel looks at tomorrow. */
        memset(sqe, 0, sizeof *sqe);
        return sqe;
}

SKUA_API struct io_uring_sqe *skua_io_prepare(struct skua_worker *self, struct skua_io *io,
                                              skua_fn *done)
{
        struct io *mine = io_have(worker_of(self));

        return mine ? open_sqe(mine, begin(mine, io, done)) : NULL;
}

/* 0, or why the operation must not be done. */
static int read_wishes(struct io *io, struct skua_io *op, const struct skua_target *where)
{
        struct skua_target target;
        int result = options_copy(&target, sizeof target, where, sizeof target);

        if (result)
                return result;
        if (target.group) {
                group_hold(target.group, 1);
                op->group_ = target.group;
        }
        op->strand_ = target.strand;
        if (target.flags || target.priority || target.node || target.worker || target.delay_ns ||
            target.deadline_ns < 0)
                return -EINVAL;
        if (!target.deadline_ns)
                return 0;
        if (target.deadline_ns <= kernel_now_ns())
                return -ETIMEDOUT;
        op->state_ |= IO_TIMED;
        timers_arm_io(io->worker, op->timer_, target.deadline_ns);
        return 0;
}

SKUA_API struct io_uring_sqe *skua_io_prepare_to(struct skua_worker *self, struct skua_io *io,
                                                 skua_fn *done, const struct skua_target *where)
{
        struct io *mine = io_have(worker_of(self));
        int result;

        if (!mine)
                return NULL;
        begin(mine, io, done);
        result = where ? read_wishes(mine, io, where) : 0;
        if (result)
                io_refuse_open(mine, io, result);
        return open_sqe(mine, io);
}

SKUA_API int skua_io_reserve(struct skua_worker *self, unsigned sqes)
{
        struct io *io = io_have(worker_of(self));

        if (!io)
                return -ENOMEM;
        if (sqes > io->ring.sq_entries)
                return -EINVAL;
        return ring_room(&io->ring) < sqes ? io_make_room(io, sqes) : 0;
}

SKUA_API int skua_io_flush(struct skua_worker *self)
{
        struct io *io = worker_of(self)->io;

        return io ? io_send(io) : 0;
}

void io_refuse_open(struct io *io, struct skua_io *op, int error)
{
        op->res = error;
        io_lock(io); /* somebody may be asking for its end */
        op->state_ |= IO_REFUSED;
        io_unlock(io);
}

void io_issue(struct io *io, struct skua_io *op)
{
        struct io_uring_sqe *sqe = next_sqe(io);

        memcpy(sqe, op->sqe_, sizeof *sqe);
        io_lock(io);
        op->state_ &= ~(unsigned)IO_WAITS;
        /* It may be listed again already: others have asked for its end meanwhile. */
        if (op->state_ & IO_ENDLESS && !(op->state_ & IO_LISTED))
                io_list_add(&io->endless, op);
        io_unlock(io);
}
