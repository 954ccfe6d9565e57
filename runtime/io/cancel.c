/* SPDX-License-Identifier: MIT
 *
 * Early ends: cancelling an operation from any worker, its deadline, and closing a descriptor
 * whatever is under way on it. Only its home can ask the ring to cancel; others leave it a list.
 */
#include "io/io.h"

#include <errno.h>
#include <unistd.h>

#include "core/runtime.h"
#include "io/buffers.h"

void io_ask(struct io *io, struct skua_io *op)
{
        shared_write(&op->state_, sizeof op->state_);
        if (!(op->state_ & IO_FLIGHT) || op->state_ & IO_CANCEL)
                return;
        op->state_ |= IO_CANCEL;
        io_list_remove(op);
        io_list_add(&io->asked, op);
}

/* Takes the next one that is to be cancelled off the list; asks the ring, if that has it. */
static bool cancel_next(struct io *io)
{
        struct io_uring_sqe *sqe;
        struct skua_io *op;

        io_need_room(io);
        io_lock(io);
        op = io->asked;
        if (op) {
                shared_write(&op->state_, sizeof op->state_);
                io_list_remove(op);
        }
        if (op && op->state_ & IO_WAITS) {
                if (!io_end(io, op, -ECANCELED)) {
                        io_list_add(&io->asked, op);
                        gate_request(io->worker->runtime, io->worker->index, GATE_REQUEST_CANCEL);
                        op = NULL;
                }
        } else if (op) {
                io->internal++;
                sqe = ring_sqe(&io->ring);
                io_uring_prep_cancel(sqe, op, 0);
                sqe->user_data = IO_TAG_NOTHING;
        }
        io_unlock(io);
        return op;
}

void io_cancel_asked(struct io *io)
{
        while (cancel_next(io)) /* bound: the operations in flight, each once */
                ;
}

SKUA_API void skua_io_cancel(struct skua_worker *self, struct skua_io *io)
{
        struct worker *w = worker_of(self), *home = w->runtime->workers[io->home_];
        /* [IO3] pairs with open_io(). */
        struct io *its = load_acquire_ptr(&home->io_seen);

        if (home == w)
                io_seal(its);
        io_lock(its);
        io_ask(its, io);
        io_unlock(its);
        if (home == w)
                io_cancel_asked(its);
        else
                gate_request(w->runtime, home->index, GATE_REQUEST_CANCEL);
}

void io_expired(struct worker *w, void *timer)
{
        struct skua_io *op = skua_container(timer, struct skua_io, timer_);

        shared_write(&op->state_, sizeof op->state_);
        op->state_ = (op->state_ | IO_LATE) & ~(unsigned)IO_TIMED;
        io_ask(w->io, op);
}

/* The next worker with a ring, from `index` on; the number of workers: none. */
static unsigned next_ring(const struct runtime *rt, unsigned index)
{
        /* [IO3] pairs with open_io(). */
        while (index < rt->worker_count && !load_acquire_ptr(&rt->workers[index]->io_seen))
                index++;
        return index;
}

static void close_here(struct skua_worker *self, struct skua_job *job);

/* Cancelled on the rings before op->sqe_[1]; goes on to the next, or closes. */
static void close_next(struct skua_worker *self, struct skua_job *job)
{
        struct skua_io *op = skua_container(job, struct skua_io, job);
        struct worker *w = worker_of(self);
        unsigned index = next_ring(w->runtime, (unsigned)op->sqe_[1]);
        struct io_uring_sqe *sqe;
        skua_fn *done;

        if (index < w->runtime->worker_count) {
                op->sqe_[1] = index + 1;
                skua_job_init(job, close_here);
                if (index == w->index) {
                        close_here(self, job);
                        return;
                }
                /* relaxed: for the figures only. */
                fetch_add_relaxed_u64(&w->runtime->direct, 1);
                worker_send(w->runtime, index, job);
                return;
        }
        done = (skua_fn *)(uintptr_t)op->sqe_[2];
        sqe = skua_io_prepare(self, op, done);
        if (sqe) {
                io_uring_prep_close(sqe, (int)op->sqe_[0]);
                return;
        }
        /* No memory for a ring, hence no operations of this worker. */
        op->res = close((int)op->sqe_[0]) ? -errno : 0;
        op->flags = 0;
        skua_job_init(job, done);
        skua_spawn(self, job);
}

static void close_here(struct skua_worker *self, struct skua_job *job)
{
        struct skua_io *op = skua_container(job, struct skua_io, job);
        struct io *io = worker_of(self)->io;
        struct io_uring_sqe *sqe;

        io_seal(io);
        io_lock(io);
        buffers_ask(io, (int)op->sqe_[0]);
        io_unlock(io);
        io_cancel_asked(io);
        sqe = skua_io_prepare(self, op, close_next);
        io_uring_prep_cancel_fd(sqe, (int)op->sqe_[0], IORING_ASYNC_CANCEL_ALL);
}

SKUA_API void skua_io_close(struct skua_worker *self, struct skua_io *io, int fd, skua_fn *done)
{
        io->sqe_[0] = (uint64_t)fd;
        io->sqe_[1] = 0;
        io->sqe_[2] = (uint64_t)(uintptr_t)done;
        close_next(self, &io->job);
}
