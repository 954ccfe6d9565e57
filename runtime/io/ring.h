/* SPDX-License-Identifier: MIT
 *
 * A ring: submissions go in, completions come out. Either io_uring's, or one in plain memory that
 * the fallback serves; what stands above sees no difference. One thread, the owner, submits and
 * enters; completions are taken by whoever holds the lock of io.c.
 *
 * The words shared with the kernel: sq_tail and cq_head are ours, sq_head, cq_tail and sq_flags the
 * kernel's. An entry is filled in before the tail that shows it [UR1], and read before the head
 * that gives it back [UR2].
 */
#ifndef IO_RING_H
#define IO_RING_H

#include "arch.h"
#include "io/compat.h"

struct fallback;
struct pool;

struct ring_wish {
        unsigned entries;
        bool deferred; /* completions only when the owner enters: cheaper, but hidden from others */
        bool forbidden;    /* no io_uring */
        struct pool *pool; /* for what blocks then */
};

struct io_ring {
        struct word32 *sq_head, *sq_tail, *sq_flags, *cq_head, *cq_tail;
        struct io_uring_sqe *sqes;
        struct io_uring_cqe *cqes;
        unsigned sq_mask, cq_mask, sq_entries;
        unsigned next;      /* entries handed out, ever */
        unsigned published; /* of them, shown to the kernel */
        unsigned enter_flags;
        int enter_fd; /* as io_uring_enter wants it */
        int error;    /* why it is not io_uring's, or 0 */
        bool deferred;
        bool futex; /* can wait for a word */
        int event;  /* ring_open_event(), or -1 */
        struct fallback *fallback;
        unsigned look_in; /* turns; see ring_due() */
        struct io_uring uring;
};

/* On the thread that will own it. 0, or a negative errno when there is not even the fallback. */
int ring_open(struct io_ring *ring, const struct ring_wish *wish);

/* The owner's last call, on its thread; then, from any, the end. Nothing is in flight. */
void ring_leave(struct io_ring *ring);
void ring_close(struct io_ring *ring);

/* Submits what has been published, makes completions visible, and with `wait` sleeps until there is
 * one or the deadline has passed (0: none). 0 or a negative errno: -EINTR, -ETIME, or the kernel
 * takes no submissions at the moment. */
int ring_enter(struct io_ring *ring, bool wait, int64_t deadline_ns);

/* A ring of provided buffers; one in plain memory finds it by itself. 0 or a negative errno. */
int ring_register_buffers(struct io_ring *ring, struct io_uring_buf_reg *registration);
void ring_unregister_buffers(struct io_ring *ring, unsigned group);

/* A descriptor that becomes readable when there are completions, visible or not, while it is on:
 * for others than the owner, who may also turn it on and off, which does nothing to a ring that has
 * none. A poll of the ring itself from another ring is not told (Linux 6.18). 0 or a negative
 * errno; owner. */
int ring_open_event(struct io_ring *ring);
void ring_set_event(struct io_ring *ring, bool on);
bool ring_event_is_on(const struct io_ring *ring); /* any thread */

/* Submits what has been published and makes completions visible, from a signal handler on the
 * owner's thread. */
void ring_enter_signal(struct io_ring *ring);

/* Entries that have not been handed to the kernel. Owner. */
static inline unsigned ring_unsent(const struct io_ring *ring)
{
        /* relaxed: written by the kernel while the owner is inside ring_enter(). */
        return ring->next - load_relaxed_u32(ring->sq_head);
}

static inline unsigned ring_room(const struct io_ring *ring)
{
        return ring->sq_entries - ring_unsent(ring);
}

/* The next entry; there is room. Shown to the kernel by ring_publish(). */
static inline struct io_uring_sqe *ring_sqe(struct io_ring *ring)
{
        return &ring->sqes[ring->next++ & ring->sq_mask];
}

/* True: there was something to publish. */
static inline bool ring_publish(struct io_ring *ring)
{
        if (ring->published == ring->next)
                return false;
        ring->published = ring->next;
        /* [UR1] release pairs with the kernel's acquire, or with that in fallback.c. */
        store_release_u32(ring->sq_tail, ring->next);
        return true;
}

/* Are there completions? Any thread. */
static inline bool ring_ready(const struct io_ring *ring)
{
        /* relaxed, both: a hint, or looked at again by who takes them. */
        return load_relaxed_u32(ring->cq_tail) != load_relaxed_u32(ring->cq_head);
}

/* Would an enter make completions visible? Any thread. Perhaps not: the kernel sets the flag after
 * it has queued the work, and if the owner has done that work between, the flag stays until more
 * comes. */
static inline bool ring_hides(const struct io_ring *ring)
{
        /* relaxed: a hint from the kernel. */
        return load_relaxed_u32(ring->sq_flags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

/* Is it time to enter, though nothing says that it would bring anything? A ring in plain memory
 * learns of what is ready by looking only: at once after it had something to do, then seldom. */
static inline bool ring_due(struct io_ring *ring)
{
        return ring->fallback && --ring->look_in == 0;
}

#endif
