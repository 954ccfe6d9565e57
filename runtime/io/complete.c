/* SPDX-License-Identifier: MIT
 *
 * From completions to jobs; see io.h. An operation that completes once becomes a job at once. One
 * that completes several times counts what is pending: whoever raises the count from 0 queues its
 * job, which handles one after the other and gives the operation up when it has brought the count
 * to 0.
 */
#include "io/io.h"

#include <errno.h>
#include <stdlib.h>

#include "core/group.h"
#include "core/runtime.h"
#include "core/strand.h"
#include "io/buffers.h"
#include "io/timer.h"

enum { LATER_CHUNK = 64, MULTI_TURN = 16 };

/* A completion of an operation that completes several times, while an earlier one is handled. */
struct later {
        struct later *next;
        struct io *io; /* whose pool it is of */
        int32_t res;
        uint32_t flags;
};

struct later_chunk {
        struct later_chunk *next;
        struct later nodes[LATER_CHUNK];
};

void later_retire(struct io *io)
{
        struct later_chunk *chunk, *next;

        for (chunk = io->chunks; chunk; chunk = next) {
                next = chunk->next;
                free(chunk);
        }
}

static bool refill_spare(struct io *io)
{
        struct later_chunk *chunk;

        /* [IO4] acquire pairs with give_later(): whoever gave a node back has read it. */
        io->spare = exchange_acq_rel_ptr(&io->returned, NULL);
        if (io->spare)
                return true;
        chunk = malloc(sizeof *chunk);
        if (!chunk)
                return false;
        chunk->next = io->chunks;
        io->chunks = chunk;
        for (unsigned i = 0; i < LATER_CHUNK; i++) {
                chunk->nodes[i].io = io;
                chunk->nodes[i].next = io->spare;
                io->spare = &chunk->nodes[i];
        }
        return true;
}

static void give_later(struct later *later)
{
        struct io *io = later->io;
        void *old = load_relaxed_ptr(&io->returned); /* relaxed: the CAS checks it */

        do {
                later->next = old;
                /* [IO4] release pairs with the exchange in refill_spare(). Bound: lock-free. */
        } while (!cas_acq_rel_ptr(&io->returned, &old, later));
}

static struct word32 *pending_of(struct skua_io *op)
{
        return (struct word32 *)(void *)&op->pending_;
}

static struct wordptr *later_of(struct skua_io *op)
{
        return (struct wordptr *)(void *)&op->later_;
}

/* An operation's job becomes ready to run: behind the others. */
static void deliver(struct worker *w, struct skua_io *op)
{
        struct skua_job *job = &op->job;

        job->owner_ = op->group_;
        count_add(&w->count.delivered, 1);
        if (op->strand_) {
                strand_bind(op->strand_, job, 0);
                if (!strand_enter(op->strand_, job))
                        return;
        }
        while (!queue_push(&w->batch, job) && !queue_push(&w->run, job))
                worker_overflow(w); /* bound: thieves only make room */
}

/* The oldest completion first. */
static struct later *reverse(struct later *node)
{
        struct later *first = NULL, *next;

        for (; node; node = next) {
                next = node->next;
                node->next = first;
                first = node;
        }
        return first;
}

/* The next completion to handle; false: none is visible. */
static bool next_completion(struct skua_io *op, struct later **list)
{
        struct later *node = *list;

        shared_write(&op->res, sizeof op->res);
        if (op->ready_) {
                op->ready_ = 0;
                return true;
        }
        if (!node)
                /* [IO2] acquire pairs with add_later(): the node before its pointer. */
                node = reverse(exchange_acq_rel_ptr(later_of(op), NULL));
        if (!node)
                return false;
        *list = node->next;
        shared_read(node, sizeof *node);
        op->res = node->res;
        op->flags = node->flags;
        give_later(node);
        return true;
}

/* So many have been handled; how many there are still. At 0 the operation is nobody's. */
static uint32_t handled_pending(struct worker *w, struct skua_io *op, uint32_t handled)
{
        struct word32 *pending = pending_of(op);

        if (w->alone) {
                /* relaxed, both: one thread. */
                store_relaxed_u32(pending, load_relaxed_u32(pending) - handled);
                return load_relaxed_u32(pending);
        }
        /* [IO2] release pairs with the acquires of who counts up: we have done with it. */
        return fetch_add_acq_rel_u32(pending, -handled) - handled;
}

/* One turn of an operation's completions. */
struct multi {
        struct exit_frame exit;
        struct skua_io *op;
        struct skua_group *group;
        struct later *list; /* taken, not handled yet */
        uint32_t handled;
        bool held; /* in the group once more, for the operation itself */
        bool last; /* the operation is the caller's again */
};

/* Counts what has been handled as such; how many there are still. At 0 the operation is nobody's.
 * The end of the job releases what prepare has held. */
static uint32_t multi_pause(struct worker *w, struct multi *m)
{
        if (m->group && !m->held)
                group_hold(m->group, 1);
        m->held = m->group;
        return handled_pending(w, m->op, m->handled);
}

static void multi_again(struct worker *w, struct multi *m)
{
        m->op->kept_ = m->list;
        deliver(w, m->op);
        worker_moved(w);
}

static void leave_multi(struct worker *w, struct exit_frame *frame)
{
        struct multi *m = skua_container(frame, struct multi, exit);

        m->handled++;
        if (!m->last && multi_pause(w, m))
                multi_again(w, m);
}

/* Calls done once. */
static void multi_call(struct skua_worker *self, struct multi *m)
{
        m->last = !(m->op->flags & IORING_CQE_F_MORE);
        if (m->last && m->held)
                group_release(m->group, 1, 0);
        exit_push(worker_of(self), &m->exit, leave_multi);
        m->op->done_(self, &m->op->job);
        exit_pop(worker_of(self), &m->exit);
}

/* Calls done for the completions of one operation, in order; nobody else does meanwhile. */
static void run_multi(struct skua_worker *self, struct skua_job *job)
{
        struct skua_io *op = skua_container(job, struct skua_io, job);
        struct multi m = {.op = op, .group = op->group_, .list = op->kept_};
        uint32_t left;

        op->kept_ = NULL;
        do {
                for (m.handled = 0; m.handled < MULTI_TURN && next_completion(op, &m.list);
                     m.handled++) {
                        multi_call(self, &m);
                        if (m.last)
                                return;
                }
                left = multi_pause(worker_of(self), &m);
                /* Bound: what is counted will be visible after a few steps of who has reaped it. */
                if (left && !m.handled)
                        kernel_yield();
        } while (left && m.handled < MULTI_TURN);
        if (left)
                multi_again(worker_of(self), &m);
}

/* Behind those that are not handled yet. There is a spare node. Counted before it is visible:
 * whoever handles the last one gives the operation to its owner, and then nobody may touch it. */
static void add_later(struct io *io, struct worker *taker, struct skua_io *op,
                      const struct io_uring_cqe *cqe)
{
        struct later *node = io->spare;
        /* [IO2] acquire pairs with handled_pending(): at 0 it is nobody's. */
        bool idle = fetch_add_acq_rel_u32(pending_of(op), 1) == 0;
        void *old;

        io->spare = node->next;
        shared_write(node, sizeof *node);
        node->res = cqe->res;
        node->flags = cqe->flags;
        old = load_relaxed_ptr(later_of(op)); /* relaxed: the CAS checks it */
        do {
                node->next = old;
                /* [IO2] release pairs with next_completion(). Bound: lock-free. */
        } while (!cas_acq_rel_ptr(later_of(op), &old, node));
        if (idle)
                deliver(taker, op);
}

static void complete_multi(struct io *io, struct worker *taker, struct skua_io *op,
                           const struct io_uring_cqe *cqe)
{
        if (!(op->state_ & IO_MULTI)) {
                op->state_ |= IO_MULTI;
                op->job.run_ = run_multi;
        }
        /* [IO2] acquire pairs with handled_pending(). Only we, under the lock, count up. */
        if (load_acquire_u32(pending_of(op))) {
                add_later(io, taker, op, cqe);
                return;
        }
        shared_write(&op->res, sizeof op->res);
        op->res = cqe->res;
        op->flags = cqe->flags;
        op->ready_ = 1;
        /* relaxed: the job's queue publishes it. */
        store_relaxed_u32(pending_of(op), 1);
        deliver(taker, op);
}

/* The kernel has done with the operation. */
static void end_flight(struct io *io, struct skua_io *op)
{
        struct worker *w = io->worker;

        shared_write(&op->state_, sizeof op->state_);
        if (op->state_ & IO_TIMED)
                timers_disarm_io(w, op->timer_);
        io_list_remove(op);
        if (op->state_ & IO_CHAINED && runtime_stopping(w->runtime))
                gate_request(w->runtime, w->index, GATE_REQUEST_STOP);
        op->state_ &= IO_MULTI;
        /* relaxed: under the lock; a drain reads it when all workers are idle. */
        count_add(&w->count.io_ended, 1);
}

/* Of an operation that is awaited. Zero-copy sends say how much has been sent, then that the buffer
 * is free. */
static void complete_awaited(struct skua_io *op, const struct io_uring_cqe *cqe)
{
        if (!(cqe->flags & IORING_CQE_F_NOTIF)) {
                op->res = cqe->res;
                op->flags = cqe->flags;
                shared_write(&op->res, sizeof op->res);
        }
        if (!(cqe->flags & IORING_CQE_F_MORE))
                io_awaited(op);
}

/* What the last completion says. A thread of the kernel's that was at it may have been interrupted;
 * opening a file says so with a number that is not for users (Linux 6.18). */
static int32_t last_result(const struct io *io, uint32_t state, int32_t res)
{
        if (res == -COMPAT_ERESTARTSYS)
                res = -EINTR;
        if (res == -EINTR && !(state & IO_CLOSES) &&
            (state & IO_CANCEL || runtime_cancelling(io->worker->runtime)))
                res = -ECANCELED;
        return res == -ECANCELED && state & IO_LATE ? -ETIMEDOUT : res;
}

/* Takes one completion of an operation. False: no memory; it stays where it is. */
static bool complete(struct io *io, struct worker *taker, struct skua_io *op,
                     const struct io_uring_cqe *cqe)
{
        uint32_t state = op->state_;
        bool more = cqe->flags & IORING_CQE_F_MORE;
        bool multi = op->done_ && (more || state & IO_MULTI);
        struct io_uring_cqe last = *cqe;

        /* [IO2] acquire pairs with handled_pending(). Only we, under the lock, count up: at 0 no
         * node will be needed. */
        if (multi && !io->spare && load_acquire_u32(pending_of(op)) && !refill_spare(io))
                return false;
        if (last.flags & IORING_CQE_F_BUFFER && op->set_)
                buffers_taken(op, last.res);
        if (!more && last.res == -ENOBUFS && op->set_) {
                /* Also what comes after everything that waited has been cancelled. */
                if (!(state & IO_CANCEL) && !runtime_stopping(io->worker->runtime)) {
                        buffers_wait(io, taker, op);
                        return true;
                }
                last.res = -ECANCELED;
        }
        if (!more && state & IO_REFUSED)
                last.res = op->res;
        else if (!more)
                last.res = last_result(io, state, last.res);
        if (!more)
                end_flight(io, op);
        count_add(&taker->count.completions, 1);
        if (!op->done_) {
                complete_awaited(op, &last);
                return true;
        }
        if (multi) {
                complete_multi(io, taker, op, &last);
                return true;
        }
        shared_write(&op->res, sizeof op->res);
        op->res = last.res;
        op->flags = last.flags;
        deliver(taker, op);
        return true;
}

bool io_end(struct io *io, struct skua_io *op, int32_t res)
{
        struct io_uring_cqe cqe = {.user_data = (uintptr_t)op, .res = res};

        op->state_ |= IO_CANCEL;
        return complete(io, io->worker, op, &cqe);
}

/* A completion of one of our own operations. */
static void complete_internal(struct io *io, const struct worker *taker, uint64_t user_data)
{
        struct word32 *armed = (struct word32 *)(uintptr_t)(user_data & ~(uint64_t)IO_TAG_MASK);

        io->internal--;
        switch (user_data & IO_TAG_MASK) {
        case IO_TAG_WAKE:
                shared_write(&io->wake_pending, sizeof io->wake_pending);
                io->wake_pending = false;
                break;
        case IO_TAG_WATCH:
                /* [IO5] release pairs with io_watch(): it may be armed anew. */
                store_release_u32(armed, 0);
                /* It may have seen that it was armed, and be about to sleep: it shall look. */
                if (taker != io->worker)
                        gate_request(taker->runtime, io->worker->index, GATE_REQUEST_CANCEL);
        }
}

/* What the next completion is of, while this one is handled. */
static inline void prefetch_op(const struct io_ring *ring, uint32_t head)
{
        const char *op = (const char *)(uintptr_t)ring->cqes[head & ring->cq_mask].user_data;

        for (size_t i = 0; i < offsetof(struct skua_io, timer_); i += 64)
                __builtin_prefetch(op + i, 1);
}

/* Up to so many jobs in the batch. */
static unsigned reap(struct io *io, struct worker *taker, uint64_t most)
{
        struct io_ring *ring = &io->ring;
        /* relaxed: only who holds the lock writes it. */
        uint32_t head = load_relaxed_u32(ring->cq_head);
        /* [UR2] acquire pairs with the kernel's release: the entries before the tail. */
        uint32_t tail = load_acquire_u32(ring->cq_tail);
        unsigned before = (unsigned)queue_count(&taker->batch);

        /* [UR1] acquire pairs with ring_publish(): what was written before its operation was shown,
         * which the kernel hands on too, but no tool sees that it does. */
        if (taker != io->worker)
                (void)load_acquire_u32(ring->sq_tail);
        shared_write(&io->internal, sizeof io->internal);
        /* Bound: what was there, and room. */
        for (; head != tail && queue_count(&taker->batch) < most; head++) {
                const struct io_uring_cqe *cqe = &ring->cqes[head & ring->cq_mask];
                uint64_t user_data = cqe->user_data;

                shared_read(cqe, sizeof *cqe);
                if (head + 1 != tail)
                        prefetch_op(ring, head + 1);
                if (user_data & IO_TAG_MASK)
                        complete_internal(io, taker, user_data);
                else if (!complete(io, taker, (struct skua_io *)(uintptr_t)user_data, cqe))
                        break;
        }
        /* [UR2] release pairs with the kernel's acquire: the entries may be used again. */
        store_release_u32(ring->cq_head, head);
        return (unsigned)queue_count(&taker->batch) - before;
}

unsigned io_reap(struct io *io, struct worker *taker)
{
        return reap(io, taker, BATCH_SLOTS);
}

bool io_reap_all(struct io *io)
{
        uint32_t head = load_relaxed_u32(io->ring.cq_head); /* relaxed: we hold the lock */

        reap(io, io->worker, UINT64_MAX);
        return load_relaxed_u32(io->ring.cq_head) != head; /* relaxed: as above */
}
