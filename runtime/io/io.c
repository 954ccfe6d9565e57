/* SPDX-License-Identifier: MIT
 *
 * A worker's dealings with its ring: making it, its turns, sleeping in it, requests of others, the
 * end; see io.h.
 */
#include "io/io.h"

#include <poll.h>

#include "core/runtime.h"
#include "io/buffers.h"
#include "io/timer.h"
#include "io/watch.h"
#include "place/memory.h"

/* ------------------------------------------------------------------ the lock */

void io_lock(struct io *io)
{
        uint32_t free = 0;

        shared_read(&io->worker, sizeof io->worker);
        if (io->worker->alone)
                return;
        /* [IO1] acquire pairs with io_unlock(). Bound: the holder's few steps. */
        for (; !cas_acquire_u32(&io->lock, &free, 1); free = 0)
                kernel_yield();
        shared_write(&io->internal, sizeof io->internal);
}

void io_unlock(struct io *io)
{
        if (!io->worker->alone)
                /* [IO1] release pairs with io_lock(): the lists and the head of the completions. */
                store_release_u32(&io->lock, 0);
}

/* ------------------------------------------------------------------ making and ending */

/* Who sleeps in the ring can be woken: by the futex of its gate, or by an event that belongs to
 * that and stays. Without descriptors there is no ring, rather than one in which nobody can sleep.
 */
static bool wakes(struct worker *w, const struct io *io)
{
        struct word32 *event = &w->gate->event;

        /* relaxed, all: the owner alone writes it; published by the gate's state. */
        if (!io->ring.futex && !load_relaxed_u32(event))
                store_relaxed_u32(event, (uint32_t)kernel_event_open());
        return io->ring.futex || load_relaxed_u32(event);
}

static struct io *open_io(struct worker *w)
{
        struct runtime *rt = w->runtime;
        struct ring_wish wish = {.entries = rt->ring_entries,
                                 .deferred = w->alone || watch_can_kick(rt),
                                 .forbidden = rt->no_ring,
                                 .pool = &rt->pool};
        struct io *io = memory_map(sizeof *io, (int)rt->nodes[w->node_index].id);

        if (!io)
                return NULL;
        io->worker = w;
        if (ring_open(&io->ring, &wish)) {
                memory_unmap(io, sizeof *io);
                return NULL;
        }
        if (!wakes(w, io) || !watch_begin(w, io)) {
                ring_leave(&io->ring);
                ring_close(&io->ring);
                memory_unmap(io, sizeof *io);
                return NULL;
        }
        shared_write(&io->worker, sizeof io->worker);
        w->io = io;
        /* [IO3] release pairs with the acquire in watch.c and skua_io_cancel(): the ring. */
        store_release_ptr(&w->io_seen, io);
        /* relaxed, both: for the figures only; all workers write the same. */
        store_relaxed_u32(&rt->ring_path, io->ring.fallback ? SKUA_RING_EPOLL : SKUA_RING_URING);
        store_relaxed_u32(&rt->ring_error, (uint32_t)(rt->no_ring ? 0 : io->ring.error));
        watch_want(rt);
        /* [WA2] release pairs with watch_turn(): io_seen before the count. */
        fetch_add_acq_rel_u32(&rt->rings, 1);
        /* [ST6] pairs with the fence in request_all() of runtime.c: either it sees that there is
         * I/O, or the first operation sees that all is cancelled. [PK1] pairs with [PK2]: see
         * watch_opened(). */
        fence_seq_cst_after_rmw();
        watch_opened(w);
        return io;
}

struct io *io_have(struct worker *w)
{
        return w->io ? w->io : open_io(w);
}

/* Asks the ring to end whatever it has, our own operations too. */
static void cancel_all(struct io *io)
{
        struct io_uring_sqe *sqe = io_internal(io, IO_TAG_NOTHING);

        io_uring_prep_cancel(sqe, NULL, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
        io_unlock(io);
}

void io_close(struct worker *w)
{
        struct io *io = w->io;

        if (!io)
                return;
        /* For good: from here on a sentinel leaves it alone. */
        io_lock(io);
        store_relaxed_u32(&io->asleep, 1); /* relaxed: under the lock */
        io_unlock(io);
        if (io->internal)
                cancel_all(io);
        /* What the kernel may still write to must be ended, not only forgotten. Bound: each of them
         * ends when it is cancelled. */
        while (io->internal) {
                ring_enter(&io->ring, true, 0);
                io_lock(io);
                io_reap(io, w);
                io_unlock(io);
        }
        ring_leave(&io->ring);
}

void io_retire(struct worker *w)
{
        struct io *io = w->io;

        if (!io)
                return;
        w->io = NULL;
        store_relaxed_ptr(&w->io_seen, NULL); /* relaxed: the other threads have ended */
        later_retire(io);
        buffers_retire(io);
        watch_end(io);
        ring_close(&io->ring);
        memory_unmap(io, sizeof *io);
}

/* ------------------------------------------------------------------ requests */

/* Everything that waits for buffers, and what is endless, or all that the kernel has. Also what has
 * been asked for before: it may have stood in a chain then, where the kernel does not find it. */
static void stop_io(struct io *io)
{
        struct skua_io *op;

        /* What follows another in a chain has begun then, and can be found. */
        io_seal(io);
        ring_enter(&io->ring, false, 0);
        io_lock(io);
        while ((op = io->endless)) {
                op->state_ &= ~(unsigned)IO_CANCEL;
                io_ask(io, op);
        }
        buffers_stop(io);
        io_unlock(io);
        io_cancel_asked(io);
        if (runtime_cancelling(io->worker->runtime))
                cancel_all(io);
        io_send(io);
}

void io_requests(struct worker *w, uint32_t requests)
{
        if (!w->io)
                return;
        if (requests & GATE_REQUEST_STOP)
                stop_io(w->io);
        if (requests & GATE_REQUEST_CANCEL)
                io_cancel_asked(w->io);
        if (requests & GATE_REQUEST_BUFFERS)
                w->io->hungry = true;
        /* What has ended without the kernel. */
        if (queue_count(&w->batch))
                worker_moved(w);
}

/* ------------------------------------------------------------------ the worker's loop */

void io_between(struct worker *w)
{
        struct io *io = w->io;

        io_seal(io);
        /* [WA5] pairs with poll_ring(): who has become idle before this sees what has been
         * published, or we see that somebody is. */
        if (ring_publish(&io->ring) && !w->alone)
                fence_seq_cst();
        /* A reply shall not wait for the end of a long job, which the next one may be: always if
         * jobs are long, and else while there is more than enough of processors. */
        if (ring_unsent(&io->ring) && (w->jobs_long || (!w->alone && park_hungry(w->runtime))))
                io_send(io);
}

/* Where turns are long the kernel's part of them is measured: that it copies much makes no job
 * long. */
int io_enter(struct io *io)
{
        struct worker *w = io->worker;
        int64_t begin_ns = w->turns_long ? kernel_now_ns() : 0;
        int result = ring_enter(&io->ring, false, 0);

        if (begin_ns)
                w->entered_ns += kernel_now_ns() - begin_ns;
        return result;
}

bool io_turn(struct worker *w)
{
        struct io *io = w->io;
        unsigned count = 0;

        while (!ring_ready(&io->ring)) {
                /* Not before: what is sent now gives buffers back, and which the kernel has is not
                 * known before all completions are taken. */
                if (io->hungry)
                        buffers_reissue(io);
                if (ring_unsent(&io->ring) || ring_hides(&io->ring) || ring_due(&io->ring))
                        io_enter(io);
                /* Bound: those that wait for buffers, while the kernel takes entries. */
                if (!io->hungry || ring_unsent(&io->ring))
                        break;
        }
        if (ring_ready(&io->ring)) {
                io_lock(io);
                count = io_reap(io, w);
                io_unlock(io);
        }
        watch_left(w);
        return count;
}

void io_clock(struct worker *w, int64_t now_ns)
{
        struct io *io = w->io;

        if (!io) {
                timers_turn(w, now_ns);
                return;
        }
        io_lock(io);
        timers_turn(w, now_ns);
        io_unlock(io);
        /* relaxed in effect: what others add they also leave a request for. */
        if (io->asked)
                io_cancel_asked(io);
}

/* ------------------------------------------------------------------ sleeping in the ring */

/* If another took the completion that is to end our sleep, before we enter the ring for it, nothing
 * would end it. */
uint32_t io_sleep_begin(struct worker *w)
{
        io_lock(w->io);
        store_relaxed_u32(&w->io->asleep, 1); /* relaxed: under the lock */
        watch_asleep(w);
        io_unlock(w->io);
        return w->io->ring.futex ? GATE_PARKED : GATE_PARKED_EVENT;
}

void io_sleep_end(struct worker *w)
{
        /* [IO6] release pairs with rescue(): what the sleep has read of the ring. [WA4] an RMW,
         * which pairs with the sentinel's that has taken its part. */
        exchange_acq_rel_u32(&w->io->asleep, 0);
        fence_seq_cst_after_rmw();
        watch_awake(w);
}

void io_woken(struct worker *w)
{
        if (queue_count(&w->batch))
                watch_left(w);
        else
                io_turn(w);
}

static void await_wake(struct worker *w)
{
        struct io *io = w->io;
        struct io_uring_sqe *sqe = io_internal(io, IO_TAG_WAKE);

        io->wake_pending = true;
        if (io->ring.futex) {
                sqe->opcode = COMPAT_OP_FUTEX_WAIT;
                sqe->fd = COMPAT_FUTEX_U32 | COMPAT_FUTEX_PRIVATE;
                sqe->addr = (uint64_t)(uintptr_t)&w->gate->state;
                sqe->off = GATE_PARKED;
                sqe->addr3 = COMPAT_FUTEX_MATCH_ANY;
        } else {
                /* relaxed: own. */
                io_uring_prep_read(sqe, (int)load_relaxed_u32(&w->gate->event) - 1, &io->wake_value,
                                   sizeof io->wake_value, 0);
        }
        io_unlock(io);
}

void io_sleep(struct worker *w, int64_t deadline_ns)
{
        struct io *io = w->io;

        shared_read(&io->wake_pending, sizeof io->wake_pending);
        if (!io->wake_pending)
                await_wake(w);
        ring_enter(&io->ring, true, deadline_ns);
}

void io_watch(struct worker *w, int fd, struct word32 *armed)
{
        struct io *io = w->io;
        struct io_uring_sqe *sqe;
        uint64_t user_data = (uint64_t)(uintptr_t)armed | IO_TAG_WATCH;

        /* [IO5] acquire pairs with complete_internal(). */
        if (load_acquire_u32(armed))
                return;
        sqe = io_internal(io, user_data);
        store_relaxed_u32(armed, 1); /* relaxed: under the lock */
        io_uring_prep_poll_add(sqe, fd, POLLIN);
        io_unlock(io);
}
