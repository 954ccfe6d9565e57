/* SPDX-License-Identifier: MIT
 *
 * Early ends: cancelling an operation from any worker, its deadline, and closing a descriptor
 * whatever is under way on it. Only its home can ask the ring to cancel; others leave it a list.
 */
#include "io/io.h"

#include <errno.h>
#include <string.h>
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
                /* In a chain it may not have begun, and be found by nobody: a stop asks again. */
                if (op->state_ & IO_ENDLESS)
                        io_list_add(&io->endless, op);
        }
        io_unlock(io);
        return op;
}

void io_cancel_asked(struct io *io)
{
        while (cancel_next(io)) /* bound: the operations in flight, each once */
                ;
}

/* What waited for a buffer has become a job. */
static void cancel_here(struct worker *w)
{
        io_cancel_asked(w->io);
        if (queue_count(&w->batch))
                worker_moved(w);
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
                cancel_here(w);
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

/* What is in op->sqe_ while a descriptor is closed, and how long it waits between two looks at what
 * takes its time. */
enum { CLOSE_FD, CLOSE_RING, CLOSE_DONE, CLOSE_LOOKS, CLOSE_CLEAR, CLOSE_HIDDEN, CLOSE_TIME };
enum { CLOSE_LEAST_NS = 10000, CLOSE_DOUBLINGS = 10, CLOSE_HIDDEN_MOST = 256 };

static void close_here(struct skua_worker *self, struct skua_job *job);

/* A close that the kernel has handed to a thread of its own (a file with something to flush) is
 * cancelled with all the rest by SKUA_CANCEL, and one without a ring has not been tried; the
 * descriptor is closed all the same. */
static void close_done(struct skua_worker *self, struct skua_job *job)
{
        struct skua_io *op = skua_container(job, struct skua_io, job);

        if (op->res == -ECANCELED)
                op->res = close((int)op->sqe_[CLOSE_FD]) ? -errno : 0;
        ((skua_fn *)(uintptr_t)op->sqe_[CLOSE_DONE])(self, job);
}

/* Cancels on the ring op->sqe_[CLOSE_RING], or closes if there is none. */
static void close_next(struct skua_worker *self, struct skua_job *job)
{
        struct skua_io *op = skua_container(job, struct skua_io, job);
        struct worker *w = worker_of(self);
        unsigned index = next_ring(w->runtime, (unsigned)op->sqe_[CLOSE_RING]);
        struct io_uring_sqe *sqe;

        op->sqe_[CLOSE_RING] = index;
        if (index == w->index) {
                close_here(self, job);
                return;
        }
        if (index < w->runtime->worker_count) {
                skua_job_init(job, close_here);
                /* relaxed: for the figures only. */
                fetch_add_relaxed_u64(&w->runtime->direct, 1);
                worker_send(w->runtime, index, job);
                return;
        }
        sqe = skua_io_prepare(self, op, close_done);
        if (sqe) {
                io_uring_prep_close(sqe, (int)op->sqe_[CLOSE_FD]);
                return;
        }
        /* No memory for a ring, hence no operations of this worker. */
        op->res = -ECANCELED;
        op->flags = 0;
        skua_job_init(job, close_done);
        skua_spawn(self, job);
}

/* May what has ended on the ring still be on its way? The kernel handles some 20 ends each time it
 * is entered, and says if there are more; others may add to them for ever. */
static bool close_behind(const struct worker *w, struct skua_io *op)
{
        /* [IO3] pairs with open_io(). */
        const struct io *io = load_acquire_ptr(&w->runtime->workers[op->sqe_[CLOSE_RING]]->io_seen);

        return ring_hides(&io->ring) && op->sqe_[CLOSE_HIDDEN]++ < CLOSE_HIDDEN_MOST;
}

/* The ring has been asked for one. What is found may end after that, as another thread sees it;
 * what a thread of the kernel's is at (-EALREADY) goes on, and when it is not found any more its
 * end may still be on its way, but not after one more time of entering the kernel. So again until
 * two in a row have found nothing, at longer and longer intervals if it takes its time. */
static void close_cancelled(struct skua_worker *self, struct skua_job *job)
{
        struct skua_io *op = skua_container(job, struct skua_io, job);
        bool found = op->res == 0 || op->res == -EALREADY;
        struct __kernel_timespec time = {0};
        struct io_uring_sqe *sqe = NULL;

        if (op->res == -EALREADY) {
                time.tv_nsec = (long long)CLOSE_LEAST_NS << op->sqe_[CLOSE_LOOKS];
                op->sqe_[CLOSE_LOOKS] += op->sqe_[CLOSE_LOOKS] < CLOSE_DOUBLINGS;
                sqe = skua_io_prepare(self, op, close_next);
        }
        if (found || close_behind(worker_of(self), op)) {
                op->sqe_[CLOSE_CLEAR] = false;
        } else if (op->sqe_[CLOSE_CLEAR]) {
                op->sqe_[CLOSE_RING]++;
                op->sqe_[CLOSE_LOOKS] = op->sqe_[CLOSE_CLEAR] = op->sqe_[CLOSE_HIDDEN] = 0;
        } else {
                op->sqe_[CLOSE_CLEAR] = true;
        }
        if (!sqe) {
                close_next(self, job);
                return;
        }
        memcpy(&op->sqe_[CLOSE_TIME], &time, sizeof time);
        io_uring_prep_timeout(sqe, (void *)&op->sqe_[CLOSE_TIME], 0, 0);
}

static void close_here(struct skua_worker *self, struct skua_job *job)
{
        struct skua_io *op = skua_container(job, struct skua_io, job);
        struct io *io = worker_of(self)->io;
        struct io_uring_sqe *sqe;

        io_seal(io);
        io_lock(io);
        io_reap_all(io); /* who waits for a buffer since a moment ago */
        buffers_ask(io, (int)op->sqe_[CLOSE_FD]);
        io_unlock(io);
        cancel_here(worker_of(self));
        sqe = skua_io_prepare(self, op, close_cancelled);
        io_uring_prep_cancel_fd(sqe, (int)op->sqe_[CLOSE_FD], 0);
}

SKUA_API void skua_io_close(struct skua_worker *self, struct skua_io *io, int fd, skua_fn *done)
{
        io->sqe_[CLOSE_FD] = (uint64_t)fd;
        io->sqe_[CLOSE_RING] = 0;
        io->sqe_[CLOSE_DONE] = (uint64_t)(uintptr_t)done;
        io->sqe_[CLOSE_LOOKS] = io->sqe_[CLOSE_CLEAR] = io->sqe_[CLOSE_HIDDEN] = 0;
        close_next(self, &io->job);
}
