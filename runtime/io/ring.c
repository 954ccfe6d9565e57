/* SPDX-License-Identifier: MIT
 *
 * io_uring: set up with the best flags that the kernel takes, and entered.
 */
#include "io/ring.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/kernel.h"
#include "io/fallback.h"

enum { CQ_ENTRIES_LEAST = 4096 };

/* Kernels from 6.1 take the first of these that is wished for, 6.0 the second. What is older lacks
 * multishot and is served by the fallback. */
static const unsigned flag_sets[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        IORING_SETUP_SINGLE_ISSUER,
};

static int set_up(struct io_uring *uring, const struct ring_wish *wish)
{
        int result = -EINVAL;

        for (unsigned i = wish->deferred ? 0 : 1;
             i < sizeof flag_sets / sizeof *flag_sets && result == -EINVAL; i++) {
                struct io_uring_params params = {0};

                params.flags = flag_sets[i] | IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE |
                               IORING_SETUP_SUBMIT_ALL;
                params.cq_entries = wish->entries * 4 > CQ_ENTRIES_LEAST ? wish->entries * 4
                                                                         : CQ_ENTRIES_LEAST;
                result = io_uring_queue_init_params(wish->entries, uring, &params);
        }
        return result;
}

static bool knows(struct io_uring *uring, unsigned op)
{
        struct io_uring_probe *probe = io_uring_get_probe_ring(uring);
        bool known = probe && op <= probe->last_op && probe->ops[op].flags & IO_URING_OP_SUPPORTED;

        if (probe)
                io_uring_free_probe(probe);
        return known;
}

static struct word32 *word_of(unsigned *kernel_word)
{
        return (struct word32 *)(void *)kernel_word;
}

static void fill_in(struct io_ring *ring)
{
        struct io_uring *uring = &ring->uring;

        ring->sq_head = word_of(uring->sq.khead);
        ring->sq_tail = word_of(uring->sq.ktail);
        ring->sq_flags = word_of(uring->sq.kflags);
        ring->cq_head = word_of(uring->cq.khead);
        ring->cq_tail = word_of(uring->cq.ktail);
        ring->sqes = uring->sq.sqes;
        ring->cqes = uring->cq.cqes;
        ring->sq_entries = uring->sq.ring_entries;
        ring->sq_mask = uring->sq.ring_mask;
        ring->cq_mask = uring->cq.ring_mask;
        /* Entries go in the order of the ring: the indirection is set up once. */
        for (unsigned i = 0; i < ring->sq_entries; i++)
                uring->sq.array[i] = i;
}

/* How many rings have been closed: a later one may get their memory. The kernel sees to the order,
 * but no tool sees that it does. */
static struct word32 closed;

int ring_open(struct io_ring *ring, const struct ring_wish *wish)
{
        memset(ring, 0, sizeof *ring);
        ring->event = -1;
        ring->error = wish->forbidden ? -EPERM : set_up(&ring->uring, wish);
        if (ring->error)
                return fallback_open(ring, wish);
        /* [UR3] acquire pairs with ring_close(): all that was done with the memory before. */
        (void)load_acquire_u32(&closed);
        fill_in(ring);
        ring->deferred = ring->uring.flags & IORING_SETUP_DEFER_TASKRUN;
        ring->futex = knows(&ring->uring, COMPAT_OP_FUTEX_WAIT);
        ring->enter_flags = IORING_ENTER_GETEVENTS;
        if (ring->uring.features & COMPAT_FEATURE_NO_IOWAIT)
                ring->enter_flags |= COMPAT_ENTER_NO_IOWAIT;
        if (io_uring_register_ring_fd(&ring->uring) == 1)
                ring->enter_flags |= IORING_ENTER_REGISTERED_RING;
        ring->enter_fd = ring->uring.enter_ring_fd;
        return 0;
}

void ring_set_event(struct io_ring *ring, bool on)
{
        if (ring->event < 0)
                return;
        /* relaxed: whoever turns it on looks at the ring after it, behind a fence [WA3]. */
        store_relaxed_u32(word_of(ring->uring.cq.kflags), on ? 0 : IORING_CQ_EVENTFD_DISABLED);
}

bool ring_event_is_on(const struct io_ring *ring)
{
        /* relaxed: who asks stands behind a fence. */
        return ring->event >= 0 &&
               !(load_relaxed_u32(word_of(ring->uring.cq.kflags)) & IORING_CQ_EVENTFD_DISABLED);
}

int ring_open_event(struct io_ring *ring)
{
        int result;

        if (ring->fallback)
                return 0;
        ring->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (ring->event < 0)
                return -errno;
        ring_set_event(ring, false);
        result = io_uring_register_eventfd(&ring->uring, ring->event);
        return result < 0 ? result : 0;
}

void ring_leave(struct io_ring *ring)
{
        /* The registration is the thread's. */
        if (!ring->fallback && ring->enter_flags & IORING_ENTER_REGISTERED_RING)
                io_uring_unregister_ring_fd(&ring->uring);
}

void ring_close(struct io_ring *ring)
{
        if (ring->fallback) {
                fallback_close(ring);
        } else {
                /* [UR3] release pairs with ring_open(). */
                fetch_add_acq_rel_u32(&closed, 1);
                io_uring_queue_exit(&ring->uring);
        }
        if (ring->event >= 0)
                close(ring->event);
}

static int enter_until(struct io_ring *ring, unsigned submit, int64_t deadline_ns)
{
        int64_t left = deadline_ns - kernel_now_ns();
        struct __kernel_timespec timeout = {.tv_sec = left > 0 ? left / 1000000000 : 0,
                                            .tv_nsec = left > 0 ? left % 1000000000 : 0};
        struct io_uring_getevents_arg arg = {.ts = (uint64_t)(uintptr_t)&timeout};

        return io_uring_enter2((unsigned)ring->enter_fd, submit, 1,
                               ring->enter_flags | IORING_ENTER_EXT_ARG, (sigset_t *)(void *)&arg,
                               sizeof arg);
}

int ring_enter(struct io_ring *ring, bool wait, int64_t deadline_ns)
{
        unsigned submit;
        int result;

        ring_publish(ring);
        submit = ring_unsent(ring);
        if (ring->fallback)
                return fallback_enter(ring, wait, deadline_ns);
        if (wait && deadline_ns)
                result = enter_until(ring, submit, deadline_ns);
        else
                result = io_uring_enter2((unsigned)ring->enter_fd, submit, wait, ring->enter_flags,
                                         NULL, 0);
        return result < 0 ? result : 0;
}

void ring_enter_signal(struct io_ring *ring)
{
        /* relaxed, both: what this thread has published and the kernel has not taken yet. Exactly
         * so many, as a kernel that submits fewer than it is told does not look for completions. */
        unsigned unsent = load_relaxed_u32(ring->sq_tail) - load_relaxed_u32(ring->sq_head);

        if (!ring->fallback)
                io_uring_enter2((unsigned)ring->enter_fd, unsent, 0, ring->enter_flags, NULL, 0);
}

int ring_register_buffers(struct io_ring *ring, struct io_uring_buf_reg *registration)
{
        return ring->fallback ? 0 : io_uring_register_buf_ring(&ring->uring, registration, 0);
}

void ring_unregister_buffers(struct io_ring *ring, unsigned group)
{
        if (!ring->fallback)
                io_uring_unregister_buf_ring(&ring->uring, (int)group);
}
