/* SPDX-License-Identifier: MIT
 *
 * io/ring.h on the modelled machine, in place of io/ring.c: io_uring with the few operations that
 * scenarios use. An operation completes when it is submitted, when somebody signals or wakes what
 * it waits for, when it is cancelled, or when the device says so, which is a thread of the
 * scenario. What completes after its submission is, with deferral, seen only when the owner enters,
 * none or PER_ENTRY each time: of others the flag is set after these are seen. The ring's event
 * tells of a completion, and with deferral of the first that is to be seen at the next entry, while
 * it is on.
 *
 * The kernel orders what a completion says before the completion, and nothing else: neither a
 * wake-up nor a look at a ring of its own gives a thread any order.
 */
#include "io/ring.h"

#include <errno.h>
#include <string.h>

#include "machine.h"
#include "model.h"

enum { ENTRIES = 8, COMPLETIONS = 4, OPERATIONS = 16, RINGS = 8, EVENTS = 8, RING_FD = 100 };
enum { PER_ENTRY = 1 };

struct operation {
        struct io_uring_sqe sqe;
        bool held; /* by the kernel */
        bool due;  /* its completion waits, or is about to */
};

struct completion {
        struct operation *read; /* of an eventfd, done only when the completion is seen; or NULL */
        uint64_t user_data;
        int32_t res;
        uint32_t flags;
};

struct kernel_ring {
        struct word32 sq_head, sq_tail, sq_flags, cq_head, cq_tail;
        struct io_uring_sqe sqes[ENTRIES];
        struct io_uring_cqe cqes[COMPLETIONS];
        struct operation operations[OPERATIONS];
        struct completion waiting[OPERATIONS * 2]; /* for the owner to enter, or for room */
        unsigned waiting_count, posted;
        unsigned fresh;                    /* of those that wait: since the last entry */
        uint32_t bell;                     /* the owner sleeps here */
        bool deferred, signalled, in_vain; /* the last: its last entry has shown nothing */
        struct word32 silent;              /* the event is off */
        struct word32 work; /* counts what waits: the order between who adds and who shows */
};

struct machine_io machine_io;

static struct kernel_ring rings[RINGS];
static uint32_t events[EVENTS], device_bell;
static unsigned ring_count, event_count;
static bool device_off;

void rings_forget(void)
{
        machine_io = (struct machine_io){.ring = false};
        ring_count = event_count = 0;
        device_bell = 0;
        device_off = false;
}

/* ------------------------------------------------------------------ completions */

static uint32_t change(struct word32 *word, uint64_t add, bool release)
{
        static struct model_site plain = {"kernel", "add", 0, MODEL_RMW, 0, 0, 0, 0, 0};
        static struct model_site ordered = {
                "kernel", "add_release", 0, MODEL_RMW, MODEL_RELEASE, MODEL_RELEASE, 0, 0, 0};

        return (uint32_t)model_fetch_add(word, sizeof *word, add, release ? &ordered : &plain);
}

static void set_flag(struct kernel_ring *r, uint32_t flag, bool on)
{
        uint32_t flags = model_kernel_load(&r->sq_flags, !on && r->deferred);

        if (on)
                change(&r->sq_flags, flags & flag ? 0 : flag, true);
        if (!on && flags & flag)
                change(&r->sq_flags, -(uint64_t)flag, false);
}

/* Has there been a completion that the owner did not know of when it entered? It may have been
 * taken by another meanwhile. */
static bool has_come(const struct kernel_ring *r, uint32_t head)
{
        return (int32_t)(model_kernel_load(&r->cq_tail, false) - head) > 0;
}

static void ring_bell(uint32_t *bell)
{
        ++*bell;
        model_futex_wake(bell, 1);
}

static void complete(struct kernel_ring *r, struct operation *op, int32_t res, bool more);

/* The ring's event, if it is on, and those who wait for that. */
static void signal_event(struct kernel_ring *r, bool fence)
{
        int fd = RING_FD + (int)(r - rings);

        if (fence) /* between what has been made visible and the look */
                fence_seq_cst();
        if (model_kernel_load(&r->silent, false))
                return;
        r->signalled = true;
        for (unsigned i = 0; i < ring_count; i++)
                for (unsigned k = 0; k < OPERATIONS; k++) {
                        struct operation *op = &rings[i].operations[k];

                        if (op->held && !op->due && op->sqe.opcode == IORING_OP_POLL_ADD &&
                            op->sqe.fd == fd)
                                complete(&rings[i], op, 1, false);
                }
}

/* False: there is no room. */
static bool post(struct kernel_ring *r, const struct completion *c)
{
        struct io_uring_cqe *cqe = &r->cqes[r->posted % COMPLETIONS];

        if (r->posted - model_kernel_load(&r->cq_head, true) == COMPLETIONS)
                return false;
        if (c->read) {
                events[c->read->sqe.fd] = 0;
                c->read->held = false;
        }
        shared_write(cqe, sizeof *cqe);
        cqe->user_data = c->user_data;
        cqe->res = c->res;
        cqe->flags = c->flags;
        r->posted++;
        change(&r->cq_tail, 1, true);
        return true;
}

/* Shows some of what waits, as far as there is room. */
static void show(struct kernel_ring *r)
{
        unsigned most = OPERATIONS * 2, shown = 0;
        bool full = false;

        /* Some of its work shows nothing, but not for ever. */
        if (r->deferred)
                most = r->in_vain ? PER_ENTRY : model_any(PER_ENTRY + 1);

        set_flag(r, IORING_SQ_TASKRUN, false);
        model_kernel_load(&r->work, true);
        while (shown < r->waiting_count && shown < most && !full) {
                full = !post(r, &r->waiting[shown]);
                shown += !full;
        }
        r->waiting_count -= shown;
        memmove(r->waiting, r->waiting + shown, r->waiting_count * sizeof *r->waiting);
        /* What has been put off comes first: then what is new stays where it is. */
        if (!r->waiting_count || model_any(2))
                r->fresh = 0;
        if (full || model_kernel_load(&r->sq_flags, false) & IORING_SQ_CQ_OVERFLOW)
                set_flag(r, IORING_SQ_CQ_OVERFLOW, full);
        r->in_vain = !shown;
        if (shown)
                signal_event(r, !r->deferred);
}

static void complete(struct kernel_ring *r, struct operation *op, int32_t res, bool more)
{
        struct completion c = {
                .user_data = op->sqe.user_data, .res = res, .flags = more ? IORING_CQE_F_MORE : 0};

        op->due = !more;
        if (op->sqe.opcode == IORING_OP_READ && op->sqe.fd < EVENTS && res > 0)
                c.read = op;
        else
                op->held = more;
        r->waiting[r->waiting_count++] = c;
        change(&r->work, 1, true);
        if (!r->deferred) {
                show(r);
        } else if (!r->fresh++) {
                set_flag(r, IORING_SQ_TASKRUN, true);
                signal_event(r, true);
        }
        ring_bell(&r->bell);
}

/* ------------------------------------------------------------------ submissions */

static bool is_meant(const struct operation *op, const struct io_uring_sqe *cancel)
{
        if (cancel->cancel_flags & IORING_ASYNC_CANCEL_ANY)
                return true;
        if (cancel->cancel_flags & IORING_ASYNC_CANCEL_FD)
                return op->sqe.fd == cancel->fd;
        return op->sqe.user_data == cancel->addr;
}

static int cancel(struct kernel_ring *r, const struct io_uring_sqe *sqe)
{
        bool all = sqe->cancel_flags & (IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
        int count = 0;

        for (unsigned i = 0; i < OPERATIONS && (all || !count); i++) {
                struct operation *op = &r->operations[i];

                if (!op->held || op->due || !is_meant(op, sqe))
                        continue;
                complete(r, op, -ECANCELED, false);
                count++;
        }
        return all ? count : count ? 0 : -ENOENT;
}

/* True: it has completed at once, with *res. */
static bool is_done(struct kernel_ring *r, const struct io_uring_sqe *sqe, int32_t *res)
{
        int fd = sqe->fd;

        *res = 0;
        switch (sqe->opcode) {
        case IORING_OP_NOP:
        case IORING_OP_CLOSE:
                return true;
        case IORING_OP_ASYNC_CANCEL:
                *res = cancel(r, sqe);
                return true;
        case COMPAT_OP_FUTEX_WAIT:
                *res = -EAGAIN;
                return model_kernel_load((const void *)(uintptr_t)sqe->addr, false) != sqe->off;
        case IORING_OP_POLL_ADD:
                *res = 1;
                return fd >= RING_FD && fd < RING_FD + RINGS && rings[fd - RING_FD].signalled;
        case IORING_OP_READ:
                *res = 8;
                if (fd >= EVENTS || !events[fd])
                        return false;
                events[fd] = 0;
                return true;
        default:
                return false;
        }
}

static void begin(struct kernel_ring *r, const struct io_uring_sqe *sqe)
{
        struct operation *op = r->operations;
        int32_t res;

        while (op->held)
                if (++op == r->operations + OPERATIONS)
                        model_fail("the modelled kernel has no room for more operations");
        op->sqe = *sqe;
        if (is_done(r, sqe, &res)) {
                struct completion c = {.user_data = sqe->user_data, .res = res};

                if (r->waiting_count || !post(r, &c)) {
                        r->waiting[r->waiting_count++] = c;
                        set_flag(r, IORING_SQ_CQ_OVERFLOW, true);
                }
                return;
        }
        op->held = true;
        op->due = false;
        if (sqe->fd >= MACHINE_DEVICE)
                ring_bell(&device_bell);
}

static void enter(struct kernel_ring *r)
{
        uint32_t head = model_kernel_load(&r->sq_head, false);
        uint32_t tail = model_kernel_load(&r->sq_tail, true);

        for (; head != tail; head++)
                begin(r, &r->sqes[head % ENTRIES]);
        if (head != model_kernel_load(&r->sq_head, false))
                store_release_u32(&r->sq_head, head);
        if (!r->waiting_count)
                return;
        show(r);
        if (!r->deferred || !r->waiting_count)
                return;
        /* Others may do something between. */
        model_kernel_leave();
        model_kernel_enter();
        if (r->waiting_count)
                set_flag(r, IORING_SQ_TASKRUN, true);
}

/* ------------------------------------------------------------------ the owner */

int ring_open(struct io_ring *ring, const struct ring_wish *wish)
{
        struct kernel_ring *r = &rings[ring_count];

        if (!machine_io.ring)
                return -ENOSYS;
        if (ring_count == RINGS)
                model_fail("more rings than the model has");
        memset(ring, 0, sizeof *ring);
        memset(r, 0, sizeof *r);
        r->deferred = machine_io.deferred || (machine_io.watch && wish->deferred);
        ring->uring.ring_fd = RING_FD + (int)ring_count;
        ring->enter_fd = (int)ring_count++;
        ring->sq_head = &r->sq_head;
        ring->sq_tail = &r->sq_tail;
        ring->sq_flags = &r->sq_flags;
        ring->cq_head = &r->cq_head;
        ring->cq_tail = &r->cq_tail;
        ring->sqes = r->sqes;
        ring->cqes = r->cqes;
        ring->sq_entries = ENTRIES;
        ring->sq_mask = ENTRIES - 1;
        ring->cq_mask = COMPLETIONS - 1;
        ring->deferred = r->deferred;
        ring->futex = machine_io.futex;
        model_name(r, sizeof *r, "io_uring");
        return 0;
}

int ring_open_event(struct io_ring *ring)
{
        ring->event = ring->uring.ring_fd;
        ring_set_event(ring, false);
        return 0;
}

void ring_set_event(struct io_ring *ring, bool on)
{
        if (ring->event >= RING_FD)
                store_relaxed_u32(&rings[ring->enter_fd].silent, !on);
}

bool ring_event_is_on(const struct io_ring *ring)
{
        return ring->event >= RING_FD && !load_relaxed_u32(&rings[ring->enter_fd].silent);
}

int rings_event_read(int fd)
{
        struct kernel_ring *r = &rings[fd - RING_FD];
        bool signalled;

        model_kernel_enter();
        signalled = r->signalled;
        r->signalled = false;
        model_kernel_leave();
        return signalled ? 8 : -1;
}

void ring_leave(struct io_ring *ring)
{
        (void)ring;
}

/* What the kernel still has would be written to memory that has gone. */
void ring_close(struct io_ring *ring)
{
        const struct kernel_ring *r = &rings[ring->enter_fd];

        for (unsigned i = 0; i < OPERATIONS; i++)
                model_check(!r->operations[i].held, "a ring is closed with operations in flight");
}

int ring_enter(struct io_ring *ring, bool wait, int64_t deadline_ns)
{
        struct kernel_ring *r = &rings[ring->enter_fd];
        int result = 0;
        uint32_t head = 0;

        ring_publish(ring);
        for (bool first = true;; first = false) {
                uint32_t bell;
                bool come;

                model_kernel_enter();
                enter(r);
                if (first)
                        head = model_kernel_load(&r->cq_head, false);
                bell = r->bell;
                come = has_come(r, head);
                model_kernel_leave();
                /* Who comes back at once may do so until another has made a step. */
                if (wait && come && first)
                        spin_hint();
                if (!wait || come || result == -EINTR)
                        return come ? 0 : result;
                if (r->waiting_count) /* it has work that has shown nothing yet */
                        continue;
                if (result == -ETIMEDOUT)
                        return -ETIME;
                result = model_futex_wait(&r->bell, bell, deadline_ns);
        }
}

void ring_enter_signal(struct io_ring *ring)
{
        model_kernel_enter();
        enter(&rings[ring->enter_fd]);
        model_kernel_leave();
}

int ring_register_buffers(struct io_ring *ring, struct io_uring_buf_reg *registration)
{
        (void)ring;
        (void)registration;
        return -ENOSYS;
}

void ring_unregister_buffers(struct io_ring *ring, unsigned group)
{
        (void)ring;
        (void)group;
}

/* ------------------------------------------------------------------ what operations wait for */

/* Any of those that `is_it` says, of all rings; NULL: there is none. */
static struct operation *any(bool (*is_it)(const struct operation *op, uint64_t which),
                             uint64_t which, struct kernel_ring **ring)
{
        struct operation *found[RINGS * OPERATIONS];
        unsigned count = 0, k;

        for (unsigned i = 0; i < ring_count; i++)
                for (k = 0; k < OPERATIONS; k++) {
                        struct operation *op = &rings[i].operations[k];

                        if (op->held && !op->due && is_it(op, which))
                                found[count++] = op;
                }
        if (!count)
                return NULL;
        k = model_any(count);
        *ring = &rings[((char *)found[k] - (char *)rings) / (long)sizeof *rings];
        return found[k];
}

static bool is_futex(const struct operation *op, uint64_t word)
{
        return op->sqe.opcode == COMPAT_OP_FUTEX_WAIT && op->sqe.addr == word;
}

static bool is_event(const struct operation *op, uint64_t event)
{
        return op->sqe.opcode == IORING_OP_READ && (uint64_t)op->sqe.fd == event;
}

static bool is_device(const struct operation *op, uint64_t which)
{
        return op->sqe.fd == (int)which && op->sqe.opcode != COMPAT_OP_FUTEX_WAIT;
}

int rings_futex_wake(const void *word, int count)
{
        struct kernel_ring *r;
        struct operation *op;
        int woken = 0;

        while (woken < count && (op = any(is_futex, (uintptr_t)word, &r))) {
                complete(r, op, 0, false);
                woken++;
        }
        return woken;
}

int rings_event_open(void)
{
        if (event_count == EVENTS)
                model_fail("more eventfds than the model has");
        events[event_count] = 0;
        return (int)++event_count;
}

void rings_event_signal(unsigned event)
{
        struct kernel_ring *r;
        struct operation *op;

        events[event - 1]++;
        op = any(is_event, event - 1, &r);
        if (op)
                complete(r, op, 8, false);
}

bool machine_device(int32_t res, bool more)
{
        struct operation *op = NULL;
        struct kernel_ring *r;

        while (!op) {
                uint32_t bell;

                model_kernel_enter();
                bell = device_bell;
                op = any(is_device, MACHINE_DEVICE, &r);
                if (op)
                        complete(r, op, res, more);
                model_kernel_leave();
                if (device_off && !op)
                        return false;
                if (!op)
                        model_futex_wait(&device_bell, bell, 0);
        }
        return true;
}

void machine_device_off(void)
{
        model_kernel_enter();
        device_off = true;
        device_bell++;
        model_futex_wake(&device_bell, MODEL_THREADS);
        model_kernel_leave();
}
