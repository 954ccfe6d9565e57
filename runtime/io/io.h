/* SPDX-License-Identifier: MIT
 *
 * A worker's I/O: its ring, what it has in flight, and the ways in which the worker's loop and its
 * sleep touch them. A ring is entered by its worker alone. Completions become jobs in the batch of
 * whoever takes them: the worker, or, while that one is busy, another (watch.c); hence the lock.
 *
 * An operation is in flight from prepare to its last completion. While it is, it may be in one list
 * of its home, by next_ and link_: `endless` (multishot and accept, which a drain cancels), `asked`
 * (others want it cancelled), or that of a buffer set which is empty.
 */
#ifndef IO_IO_H
#define IO_IO_H

#include "core/worker.h"
#include "io/ring.h"
#include "skua.h"

struct runtime;
struct later; /* a completion that waits for the one before it */
struct later_chunk;
struct watch;
struct buffer_set;

/* In state_ of an operation; written by its home before it is submitted, then under the lock. */
enum {
        IO_FLIGHT = 1u << 0,  /* not yet completed for the last time */
        IO_LISTED = 1u << 1,  /* in one of the lists */
        IO_ENDLESS = 1u << 2, /* its list is `endless` when no other wants it */
        IO_MULTI = 1u << 3,   /* completes several times */
        IO_REFUSED = 1u << 4, /* submitted as nothing; res says why */
        IO_TIMED = 1u << 5,   /* the timer is armed */
        IO_LATE = 1u << 6,    /* cancelled by its deadline */
        IO_CANCEL = 1u << 7,  /* cancelled: not to be issued again */
        IO_WAITS = 1u << 8,   /* for a buffer; the kernel does not have it */
        IO_CHAINED = 1u << 9, /* others stand behind it */
        IO_CLOSES = 1u << 10  /* interrupted, it has closed; cancelled, it has not */
};

struct io {
        struct io_ring ring;
        struct worker *worker;
        /* the operation that the caller is filling in */
        struct skua_io *open;
        struct io_uring_sqe *open_sqe;
        bool hungry;         /* what waits for buffers is to be issued again; owner */
        uint64_t wake_value; /* where a read of the eventfd goes */
        _Alignas(ARCH_APART) struct word32 lock; /* of all below, and of completions */
        struct skua_io *endless, *asked;
        bool wake_pending;   /* an operation that ends when somebody wakes us is in flight */
        unsigned internal;   /* operations of our own in flight */
        struct watch *watch; /* NULL: the only worker */
        struct buffer_set *sets;
        struct later *spare;
        struct later_chunk *chunks;
        struct wordptr returned; /* spare again: pushed by anyone */
        struct word32 asleep;    /* nobody but the owner takes completions; set under the lock */
};

/* What a completion is, in the low bits of user_data. */
enum {
        IO_TAG_OPERATION = 0,
        IO_TAG_NOTHING = 1,
        IO_TAG_WAKE = 2,
        IO_TAG_WATCH = 3,
        IO_TAG_MASK = 7
};

/* The worker's I/O, made at its first use. NULL: no memory. Owner. */
struct io *io_have(struct worker *w);

/* When the worker's loop has ended, on its thread; and when all threads have. */
void io_close(struct worker *w);
void io_retire(struct worker *w);

/* Between two jobs: what has been prepared is shown to the kernel, and sent if jobs are long. */
void io_between(struct worker *w);

/* Hands the kernel what has been published and makes completions visible: 0 or an error of the
 * kernel. Owner. */
int io_enter(struct io *io);

/* Fills the batch with completions; enters the kernel if that may bring some or something is to be
 * sent. True: there are jobs. */
bool io_turn(struct worker *w);

/* The operation that is being filled in is complete; then all that was prepared is sent: 0 or an
 * error of the kernel; then, until so many entries fit, what has been completed meanwhile becomes
 * jobs, as the kernel may wait for that: 0 or an error. Owner. */
void io_seal(struct io *io);
int io_send(struct io *io);
int io_make_room(struct io *io, unsigned count);

/* At least one entry is free; the one that is being filled in is complete. Owner. */
void io_need_room(struct io *io);

/* The next entry, for an operation of our own, which io_close() waits for. Comes back with the lock
 * held. Owner. */
struct io_uring_sqe *io_internal(struct io *io, uint64_t user_data);

/* Moves completions of `io` to the batch of `taker`, with the lock held; how many jobs. */
unsigned io_reap(struct io *io, struct worker *taker);

/* The same by its worker, of all there is: what does not fit the batch goes to the other queues.
 * True: there was something. */
bool io_reap_all(struct io *io);

/* Is there anything that its own ring wants the worker for? Owner. What the ring hides does not
 * count: its flag may stand when there is nothing, see ring_hides(), and a sleep in the ring begins
 * with a look of the kernel's own. */
static inline bool io_visible(const struct worker *w)
{
        return w->io && (ring_ready(&w->io->ring) || w->io->hungry);
}

/* Must the worker sleep in its ring? From then on it always does. */
static inline bool io_sleeps(const struct worker *w)
{
        return w->io;
}

/* The worker goes to sleep in its ring, and has come back: others leave its completions alone. The
 * state of the gate in which it sleeps. */
uint32_t io_sleep_begin(struct worker *w);
void io_sleep_end(struct worker *w);

/* After it, before it turns to anything else: what has come is there for others to take. */
void io_woken(struct worker *w);

/* One sleep in the ring: until a completion, a notification of the worker's gate, or the deadline
 * (0: none). The gate is set to what io_sleep_begin() has said. */
void io_sleep(struct worker *w, int64_t deadline_ns);

/* Ends the next sleep in the ring when fd becomes readable. *armed is set until then, and kept for
 * whoever asks again; it must not go before the ring. Owner, for fds that outlive the watch. */
void io_watch(struct worker *w, int fd, struct word32 *armed);

/* GATE_REQUEST_* that have been left at the own gate. */
void io_requests(struct worker *w, uint32_t requests);

/* Timers that have expired. */
void io_clock(struct worker *w, int64_t now_ns);

/* The end of an operation that somebody awaits, or will: see io/await.c. Its result is there. */
#define IO_AWAITED_DONE ((void *)1)
void io_awaited(struct skua_io *op);

/* As much as one operation moves. */
static inline unsigned io_len(size_t bytes)
{
        return bytes < INT32_MAX ? (unsigned)bytes : INT32_MAX;
}

/* Ends an operation that the kernel does not have. False: no memory, it has not ended. Under the
 * lock. */
bool io_end(struct io *io, struct skua_io *op, int32_t res);

/* The operation that is being filled in must not be done. */
void io_refuse_open(struct io *io, struct skua_io *op, int error);

/* The locks: taken by the owner, by who looks after a busy one, and by who cancels. */
void io_lock(struct io *io);
void io_unlock(struct io *io);

/* Under the lock, and that of the timers: an operation's deadline has passed. */
void io_expired(struct worker *w, void *timer);

/* Issues again an operation that has waited for a buffer. Owner. */
void io_issue(struct io *io, struct skua_io *op);

/* Under the lock: its home is to cancel it, unless that has been asked already. */
void io_ask(struct io *io, struct skua_io *op);

/* Cancels what has been asked for. Owner. */
void io_cancel_asked(struct io *io);

/* Frees the memory of completions that have waited. */
void later_retire(struct io *io);

static inline void io_list_add(struct skua_io **list, struct skua_io *op)
{
        struct skua_io *next = *list;

        op->next_ = next;
        op->link_ = (void **)list;
        if (next)
                next->link_ = &op->next_;
        *list = op;
        op->state_ |= IO_LISTED;
}

static inline void io_list_remove(struct skua_io *op)
{
        struct skua_io *next = op->next_;

        if (!(op->state_ & IO_LISTED))
                return;
        *op->link_ = next;
        if (next)
                next->link_ = op->link_;
        op->state_ &= ~(unsigned)IO_LISTED;
}

#endif
