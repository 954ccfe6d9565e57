/* SPDX-License-Identifier: MIT
 *
 * Provided buffers. Each worker that uses them has a set of its own: the buffers, and the ring
 * through which the kernel gets them. The kernel takes from the ring's head; whoever has read a
 * buffer lays it behind its tail, under the set's lock. How many it has is counted by completions
 * and returns, as the kernel does not tell.
 *
 * The kernel receives into all that it has before we send the first of it, and the ring hands out
 * the buffer that has rested longest: with all buffers in it, what is received leaves the cache
 * before it is read. So the ring gets as many as WINDOW bytes need; the others are spare, and the
 * last one returned is the first to go in again.
 */
#include "io/buffers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/group.h"
#include "core/runtime.h"
#include "place/memory.h"

enum { BUFFERS_MOST = 32768, GROUPS = 65536 };
enum { WINDOW = 256 << 10, OFFERED_LEAST = 4, AVERAGE_SHIFT = 4 };
/* Without the step, buffers of whole pages would all begin in the same few sets of the caches. */
enum { PAGE_BYTES = 4096, STEP_BYTES = 3 * 64 };

struct buffer_set {
        struct buffer_set *next; /* of the io */
        struct skua_buffers *buffers;
        struct io *io; /* NULL: its ring has gone */
        /* what waits for a buffer: newest first, and, before those, oldest first; under the io's
         * lock */
        struct skua_io *waiting, *oldest;
        struct io_uring_buf_ring *ring;
        char *memory;
        size_t stride;
        int error;             /* of the registration */
        uint16_t head;         /* where buffers_pick() takes */
        struct word32 taken;   /* from the ring; written under the io's lock */
        struct word32 average; /* bytes of a receive, over the last few; under the io's lock */
        _Alignas(ARCH_APART) struct word32 lock; /* of all below */
        bool wanted;                             /* somebody waits */
        uint16_t spare_count;
        uint16_t *spare;
        struct word32 laid; /* into the ring, ever: its tail */
        struct word32 returned;
};

/* Numbers that are in use, by any runtime of the process. */
static struct word64 groups[GROUPS / 64];

/* A free number, or GROUPS. The first 64 stay unused: Linux 6.1 keeps their lists when they are
 * unregistered, and where the old ring was empty it takes the next one to be empty, too. */
static uint32_t take_group(void)
{
        for (uint32_t i = 1; i < GROUPS / 64; i++)
                /* relaxed: the RMW checks it. Bound: the numbers. */
                for (uint64_t used; ~(used = load_relaxed_u64(&groups[i]));) {
                        unsigned bit = (unsigned)__builtin_ctzll(~used);

                        /* [BF3] acquire pairs with give_group(): its last use is over. */
                        if (!(fetch_or_acq_rel_u64(&groups[i], (uint64_t)1 << bit) >> bit & 1))
                                return i * 64 + bit;
                }
        return GROUPS;
}

static void give_group(uint32_t group)
{
        /* [BF3] release pairs with take_group(). */
        fetch_and_acq_rel_u64(&groups[group / 64], ~((uint64_t)1 << group % 64));
}

static void set_lock(struct buffer_set *set)
{
        /* [BF1] acquire pairs with set_unlock(). Bound: the holder's few steps. */
        while (exchange_acq_rel_u32(&set->lock, 1))
                kernel_yield();
}

static void set_unlock(struct buffer_set *set)
{
        /* [BF1] release pairs with set_lock(): the tail, and what is in front of it. */
        store_release_u32(&set->lock, 0);
}

/* How many the kernel has, at most. */
static unsigned offered(const struct buffer_set *set)
{
        /* relaxed, both: one of them is behind its lock, or it is a hint; seen late, they make it
         * look like more, and what is then missing in the ring is spare: see reissue(). */
        return load_relaxed_u32(&set->laid) - load_relaxed_u32(&set->taken);
}

/* Shall the kernel have one more? */
static bool wants_more(const struct buffer_set *set)
{
        unsigned count = offered(set);

        /* relaxed: a measure. */
        return count < OFFERED_LEAST || (uint64_t)count * load_relaxed_u32(&set->average) < WINDOW;
}

static size_t stride_of(const struct skua_buffers *b)
{
        return b->bytes_ % PAGE_BYTES ? b->bytes_ : b->bytes_ + STEP_BYTES;
}

/* The ring, and behind it the numbers of those that are spare: whole pages. */
static size_t ring_bytes(const struct skua_buffers *b)
{
        size_t bytes = b->count_ * (sizeof(struct io_uring_buf) + sizeof(uint16_t));

        return (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

/* The same, and behind it the buffers. */
static size_t set_bytes(const struct skua_buffers *b)
{
        return ring_bytes(b) + b->count_ * stride_of(b);
}

static void lay(struct buffer_set *set, unsigned number)
{
        const struct skua_buffers *b = set->buffers;
        uint32_t laid = load_relaxed_u32(&set->laid); /* relaxed: under the lock */
        struct io_uring_buf *buf = &set->ring->bufs[laid & (b->count_ - 1)];

        buf->addr = (uint64_t)(uintptr_t)(set->memory + number * set->stride);
        buf->len = (uint32_t)b->bytes_;
        buf->bid = (uint16_t)number;
        store_relaxed_u32(&set->laid, laid + 1); /* relaxed: under the lock */
}

static void show(struct buffer_set *set)
{
        /* [UR1] release pairs with the kernel's acquire, or that of buffers_pick(). A 16-bit word
         * of the kernel's interface, which arch.h does not have. */
        __atomic_store_n(&set->ring->tail, (uint16_t)load_relaxed_u32(&set->laid),
                         __ATOMIC_RELEASE);
}

/* Spare buffers go to the kernel; some are there or none is left. Under the lock. */
static void top_up(struct buffer_set *set)
{
        while (set->spare_count && wants_more(set)) /* bound: the buffers of the set */
                lay(set, set->spare[--set->spare_count]);
        show(set);
}

static int register_set(struct io *io, struct buffer_set *set)
{
        struct io_uring_buf_reg registration = {
                .ring_addr = (uint64_t)(uintptr_t)set->ring,
                .ring_entries = set->buffers->count_,
                .bgid = (uint16_t)set->buffers->group_,
        };

        return ring_register_buffers(&io->ring, &registration);
}

static void free_set(struct buffer_set *set)
{
        memory_unmap(set->ring, set_bytes(set->buffers));
        free(set);
}

static struct buffer_set *make_set(struct io *io, struct skua_buffers *b)
{
        int node = (int)io->worker->runtime->nodes[io->worker->node_index].id;
        struct buffer_set *set = aligned_alloc(ARCH_APART, sizeof *set);

        if (!set)
                return NULL;
        memset(set, 0, sizeof *set);
        set->buffers = b;
        set->io = io;
        set->stride = stride_of(b);
        set->ring = memory_map(set_bytes(b), node);
        if (!set->ring) {
                free(set);
                return NULL;
        }
        set->memory = (char *)set->ring + ring_bytes(b);
        set->error = register_set(io, set);
        set->spare = (uint16_t *)(void *)&set->ring->bufs[b->count_];
        while (set->spare_count < b->count_) {
                set->spare[set->spare_count] = (uint16_t)(b->count_ - 1 - set->spare_count);
                set->spare_count++;
        }
        store_relaxed_u32(&set->average, (uint32_t)b->bytes_); /* relaxed: nobody else has it */
        top_up(set);
        return set;
}

static struct wordptr *set_of(struct skua_buffers *b, unsigned worker)
{
        return (struct wordptr *)(void *)&b->sets_[worker];
}

SKUA_API int skua_buffers_init(struct skua *rt, struct skua_buffers *b, unsigned count,
                               size_t bytes)
{
        struct runtime *runtime = runtime_of(rt);
        uint32_t group;

        if (!runtime || !b || !count || count > BUFFERS_MOST || count & (count - 1) || !bytes ||
            bytes > INT32_MAX)
                return -EINVAL;
        memset(b, 0, sizeof *b);
        b->sets_ = calloc(runtime->worker_count, sizeof *b->sets_);
        if (!b->sets_)
                return -ENOMEM;
        group = take_group();
        if (group == GROUPS) {
                free(b->sets_);
                return -EAGAIN;
        }
        b->rt_ = rt;
        b->count_ = count;
        b->bytes_ = bytes;
        b->group_ = group;
        return 0;
}

SKUA_API int skua_buffers_use(struct skua_worker *self, struct skua_buffers *b, struct skua_io *io,
                              struct io_uring_sqe *sqe)
{
        struct worker *w = worker_of(self);
        struct wordptr *own = set_of(b, w->index);
        struct buffer_set *set = load_relaxed_ptr(own); /* relaxed: only this worker writes it */

        if (!set) {
                set = make_set(w->io, b);
                if (!set) {
                        io_refuse_open(w->io, io, -ENOMEM);
                        return -ENOMEM;
                }
                io_lock(w->io);
                set->next = w->io->sets;
                w->io->sets = set;
                io_unlock(w->io);
                /* [BF2] release pairs with the acquire in skua_buffers_data(). */
                store_release_ptr(own, set);
        }
        if (set->error) {
                io_refuse_open(w->io, io, set->error);
                return set->error;
        }
        sqe->flags |= IOSQE_BUFFER_SELECT;
        sqe->buf_group = (uint16_t)b->group_;
        io->set_ = set;
        return 0;
}

SKUA_API void *skua_buffers_data(struct skua_buffers *b, const struct skua_io *io, uint32_t *number)
{
        uint32_t index = io->flags >> IORING_CQE_BUFFER_SHIFT;
        const struct buffer_set *set;

        if (!(io->flags & IORING_CQE_F_BUFFER))
                return NULL;
        /* [BF2] pairs with skua_buffers_use(). */
        set = load_acquire_ptr(set_of(b, io->home_));
        *number = io->home_ << 16 | index;
        return set->memory + index * set->stride;
}

SKUA_API void skua_buffers_return(struct skua_worker *self, struct skua_buffers *b, uint32_t number)
{
        struct worker *w = worker_of(self);
        /* [BF2] pairs with skua_buffers_use(). */
        struct buffer_set *set = load_acquire_ptr(set_of(b, number >> 16));
        bool wanted, alone = w->alone;

        if (!alone)
                set_lock(set);
        if (wants_more(set)) {
                lay(set, number & 0xffff);
                show(set);
        } else {
                set->spare[set->spare_count++] = (uint16_t)number;
        }
        /* relaxed, both: under the lock. */
        store_relaxed_u32(&set->returned, load_relaxed_u32(&set->returned) + 1);
        wanted = set->wanted;
        set->wanted = false;
        if (!alone)
                set_unlock(set);
        if (wanted)
                gate_request(w->runtime, number >> 16, GATE_REQUEST_BUFFERS);
}

void buffers_taken(struct skua_io *op, int32_t bytes)
{
        struct buffer_set *set = op->set_;
        /* relaxed, all: under the io's lock. */
        uint32_t average = load_relaxed_u32(&set->average);

        store_relaxed_u32(&set->taken, load_relaxed_u32(&set->taken) + 1);
        if (bytes > 0)
                store_relaxed_u32(&set->average, average - (average >> AVERAGE_SHIFT) +
                                                         ((uint32_t)bytes >> AVERAGE_SHIFT));
}

static bool anybody_waits(const struct buffer_set *set)
{
        return set->waiting || set->oldest;
}

void buffers_wait(struct io *io, const struct worker *taker, struct skua_io *op)
{
        struct buffer_set *set = op->set_;

        io_list_remove(op);
        io_list_add(&set->waiting, op);
        op->state_ |= IO_WAITS;
        if (taker == io->worker)
                io->hungry = true;
        else
                gate_request(io->worker->runtime, io->worker->index, GATE_REQUEST_BUFFERS);
}

/* The oldest of those that wait. Two stacks make a queue: each is turned over once. */
static struct skua_io *oldest(struct buffer_set *set)
{
        struct skua_io *op;

        if (set->oldest)
                return set->oldest;
        while ((op = set->waiting)) { /* bound: those that wait */
                io_list_remove(op);
                io_list_add(&set->oldest, op);
        }
        return set->oldest;
}

void buffers_stop(struct io *io)
{
        struct skua_io *op;

        for (struct buffer_set *set = io->sets; set; set = set->next)
                while ((op = oldest(set)))
                        io_ask(io, op);
}

static void ask_those_of(struct io *io, struct skua_io *list, int fd)
{
        for (struct skua_io *op = list, *next; op; op = next) {
                next = op->next_;
                if (((const struct io_uring_sqe *)(void *)op->sqe_)->fd == fd)
                        io_ask(io, op);
        }
}

void buffers_ask(struct io *io, int fd)
{
        for (struct buffer_set *set = io->sets; set; set = set->next) {
                ask_those_of(io, set->waiting, fd);
                ask_those_of(io, set->oldest, fd);
        }
}

/* Issues the oldest again, if anybody waits. True: others do. */
static bool issue_oldest(struct io *io, struct buffer_set *set)
{
        struct skua_io *op;
        bool others;

        io_lock(io);
        op = oldest(set);
        if (op)
                io_list_remove(op);
        others = anybody_waits(set);
        io_unlock(io);
        if (op)
                io_issue(io, op);
        return others;
}

/* No buffer is left for those that wait: who returns the next one says so. False: somebody has
 * returned one since the look at the count, and has told nobody. */
static bool await_return(struct io *io, struct buffer_set *set, uint32_t returned)
{
        bool none;

        io_lock(io);
        set_lock(set);
        none = load_relaxed_u32(&set->returned) == returned; /* relaxed: under the lock */
        set->wanted = none && anybody_waits(set);
        set_unlock(set);
        io_unlock(io);
        return none;
}

/* As many are issued again as there are buffers. Each takes one, or, as its peer is silent (the
 * last completion before a set is empty is of one that has no more data), is armed and keeps none
 * from the others: hence another look. True: it is wanted. */
static bool reissue(struct io *io, struct buffer_set *set)
{
        uint32_t returned;
        unsigned left;
        bool more = true;

        set_lock(set);
        top_up(set);
        left = offered(set);
        returned = load_relaxed_u32(&set->returned); /* relaxed: under the lock */
        set_unlock(set);
        if (!left)
                return !await_return(io, set, returned);
        for (; more && left; left--) /* bound: the buffers of the set */
                more = issue_oldest(io, set);
        return more;
}

void buffers_reissue(struct io *io)
{
        io->hungry = false;
        for (struct buffer_set *set = io->sets; set; set = set->next)
                if (reissue(io, set))
                        io->hungry = true;
}

void buffers_retire(struct io *io)
{
        for (struct buffer_set *set = io->sets; set; set = set->next)
                set->io = NULL;
}

bool buffers_pick(struct io_ring *ring, unsigned group, struct buffer_pick *out)
{
        struct io *io = skua_container(ring, struct io, ring);
        struct buffer_set *set = io->sets;
        const struct io_uring_buf *buf;

        while (set && set->buffers->group_ != group)
                set = set->next;
        /* [UR1] acquire pairs with show(). */
        if (!set || __atomic_load_n(&set->ring->tail, __ATOMIC_ACQUIRE) == set->head)
                return false;
        buf = &set->ring->bufs[set->head++ & (set->buffers->count_ - 1)];
        out->data = (void *)(uintptr_t)buf->addr;
        out->bytes = buf->len;
        out->number = buf->bid;
        return true;
}

void buffers_unpick(struct io_ring *ring, unsigned group)
{
        struct io *io = skua_container(ring, struct io, ring);
        struct buffer_set *set = io->sets;

        while (set->buffers->group_ != group)
                set = set->next;
        set->head--;
}

/* ------------------------------------------------------------------ the end */

struct unregister {
        struct skua_job job;
        struct skua_buffers *buffers;
};

/* On the worker whose set it is. */
static void unregister(struct skua_worker *self, struct skua_job *job)
{
        struct worker *w = worker_of(self);
        struct skua_buffers *b = ((struct unregister *)(void *)job)->buffers;
        struct buffer_set *set = b->sets_[w->index], **link;

        io_lock(w->io);
        for (link = &w->io->sets; *link != set; link = &(*link)->next)
                ;
        *link = set->next;
        io_unlock(w->io);
        if (!set->error)
                ring_unregister_buffers(&w->io->ring, b->group_);
}

static void unregister_all(struct skua_buffers *b, unsigned count)
{
        struct unregister jobs[count];
        struct runtime *rt = runtime_of(b->rt_);
        struct skua_group group;

        /* Not by the door: it may be closed, and the rings are there until the stop ends. */
        if (runtime_accept(rt, generation_of(b->rt_), false))
                return;
        skua_group_init(&group);
        for (unsigned i = 0; i < count; i++) {
                if (!b->sets_[i])
                        continue;
                jobs[i].buffers = b;
                skua_job_init(&jobs[i].job, unregister);
                jobs[i].job.owner_ = &group;
                group_hold(&group, 1);
                /* relaxed: for the figures only. */
                fetch_add_relaxed_u64(&rt->direct, 1);
                worker_send(rt, i, &jobs[i].job);
        }
        group_wait_any(&group);
        runtime_unaccept(rt);
}

SKUA_API void skua_buffers_fini(struct skua_buffers *b)
{
        unsigned count = runtime_of(b->rt_)->worker_count;

        unregister_all(b, count);
        for (unsigned i = 0; i < count; i++)
                if (b->sets_[i])
                        free_set(b->sets_[i]);
        free(b->sets_);
        give_group(b->group_);
}
