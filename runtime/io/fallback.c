/* SPDX-License-Identifier: MIT
 *
 * The ring without io_uring: entries become requests, requests completions; see fallback.h for what
 * it knows and request.h for its parts. A completion needs room: without it no entry is taken, no
 * descriptor looked at, and what ends all the same is held back in its own memory. Nothing is lost,
 * and after an entry has been taken nothing of it can fail for want of memory without saying so.
 */
#include "io/fallback.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "io/request.h"
#include "place/memory.h"

enum { CQ_LEAST = 4096, ENTRIES_MOST = 32768, CHUNK = 32, LOOKS_MISSED = 16, GAP_MOST = 32 };

struct request_chunk {
        struct request_chunk *next;
        struct request requests[CHUNK];
};

/* ------------------------------------------------------------------ memory of requests */

/* So many are spare, or false: no memory. */
static bool reserve(struct fallback *f, unsigned count)
{
        while (f->spare_count < count) {
                struct request_chunk *chunk = malloc(sizeof *chunk);

                if (!chunk)
                        return false;
                chunk->next = f->chunks;
                f->chunks = chunk;
                for (unsigned i = 0; i < CHUNK; i++) {
                        chunk->requests[i].next = f->spare;
                        f->spare = &chunk->requests[i];
                }
                f->spare_count += CHUNK;
        }
        return true;
}

static struct request *take_spare(struct fallback *f, const struct io_uring_sqe *sqe)
{
        struct request *r = f->spare;

        f->spare = r->next;
        f->spare_count--;
        r->sqe = *sqe;
        r->same_link = NULL;
        r->chained = NULL;
        r->copy = NULL;
        r->done = 0;
        r->every_ns = 0;
        r->res = 0;
        r->flags = 0;
        r->place = PLACE_NONE;
        r->edges = r->failed = r->held = r->endures = false;
        return r;
}

static void give_back(struct fallback *f, struct request *r)
{
        free(r->copy);
        r->next = f->spare;
        f->spare = r;
        f->spare_count++;
}

/* ------------------------------------------------------------------ completions */

static unsigned cq_room(const struct fallback *f)
{
        const struct io_ring *ring = f->ring;

        /* [UR2] acquire pairs with io_reap(): what was in the place has been read. */
        return ring->cq_mask + 1 - (f->cq_tail - load_acquire_u32(ring->cq_head));
}

static void post(struct fallback *f, uint64_t user_data, int32_t res, uint32_t flags)
{
        struct io_ring *ring = f->ring;
        struct io_uring_cqe *cqe = &ring->cqes[f->cq_tail & ring->cq_mask];

        cqe->user_data = user_data;
        cqe->res = res;
        cqe->flags = flags;
        /* [UR2] release pairs with the acquire in io_reap(): the entry before the tail. */
        store_release_u32(ring->cq_tail, ++f->cq_tail);
}

static void hold(struct fallback *f, struct request *r)
{
        r->held = true;
        r->later = NULL;
        *f->held_end = r;
        f->held_end = &r->later;
}

static void post_held(struct fallback *f)
{
        while (f->held && cq_room(f)) {
                struct request *r = f->held;

                f->held = r->later;
                if (!f->held)
                        f->held_end = &f->held;
                post(f, r->sqe.user_data, r->res, r->flags | (r->endures ? IORING_CQE_F_MORE : 0));
                r->held = false;
                if (!r->endures)
                        give_back(f, r);
                r->endures = false;
        }
}

bool request_room(struct fallback *f)
{
        return !f->held && cq_room(f);
}

void request_more(struct fallback *f, struct request *r, int32_t res, uint32_t flags)
{
        post(f, r->sqe.user_data, res, flags | IORING_CQE_F_MORE);
}

void request_event(struct fallback *f, struct request *r, uint32_t events)
{
        if (request_room(f)) {
                request_more(f, r, (int32_t)events, 0);
        } else if (r->held) {
                r->res |= (int32_t)events;
        } else {
                r->res = (int32_t)events;
                r->endures = true;
                hold(f, r);
        }
}

/* ------------------------------------------------------------------ requests */

static void enter_bucket(struct fallback *f, struct request *r, enum request_place place)
{
        struct request **bucket = request_bucket(f, r->sqe.user_data);

        r->place = place;
        r->same = *bucket;
        r->same_link = bucket;
        if (r->same)
                r->same->same_link = &r->same;
        *bucket = r;
}

static void leave_bucket(struct request *r)
{
        if (!r->same_link)
                return;
        *r->same_link = r->same;
        if (r->same)
                r->same->same_link = r->same_link;
        r->same_link = NULL;
        r->place = PLACE_NONE;
}

/* One that has ended, alone. */
static void complete(struct fallback *f, struct request *r)
{
        if (r->held) {
                r->endures = false; /* an event that has not been told yet becomes its end */
        } else if (!request_room(f)) {
                hold(f, r);
        } else {
                post(f, r->sqe.user_data, r->res, r->flags);
                give_back(f, r);
        }
}

static void cancel_chain(struct fallback *f, struct request *r)
{
        while (r) {
                struct request *next = r->chained;

                r->res = -ECANCELED;
                complete(f, r);
                r = next;
        }
}

void request_end(struct fallback *f, struct request *r)
{
        struct request *next = r->chained;
        bool stops = r->failed && !(r->sqe.flags & IOSQE_IO_HARDLINK);

        leave_bucket(r);
        complete(f, r);
        if (!next)
                return;
        if (stops) {
                cancel_chain(f, next);
                return;
        }
        next->next = NULL;
        *f->starting_end = next;
        f->starting_end = &next->next;
}

static void end_with(struct fallback *f, struct request *r, int result)
{
        r->res = result;
        r->failed = result < 0;
        request_end(f, r);
}

static int put_at_thread(struct fallback *f, struct request *r)
{
        int result = offload_event(&f->offload);

        if (result >= 0 && !f->event_added) {
                result = descriptors_add_event(f, result);
                f->event_added = !result;
        }
        if (result < 0)
                return result;
        r->call.run = attempt_block;
        result = offload_submit(&f->offload, &r->call);
        if (result)
                return result;
        enter_bucket(f, r, PLACE_THREAD);
        r->previous = NULL;
        r->next = f->threaded;
        if (r->next)
                r->next->previous = r;
        f->threaded = r;
        f->in_threads++;
        return 0;
}

void request_threaded_remove(struct fallback *f, struct request *r)
{
        *(r->previous ? &r->previous->next : &f->threaded) = r->next;
        if (r->next)
                r->next->previous = r->previous;
        f->in_threads--;
}

/* Epoll does not take the descriptor. */
static int put_elsewhere(struct fallback *f, struct request *r)
{
        switch (r->sqe.opcode) {
        case IORING_OP_READ:
        case IORING_OP_WRITE:
        case IORING_OP_READV:
        case IORING_OP_WRITEV:
                if (r->sqe.flags & IOSQE_BUFFER_SELECT && !attempt_pick(f, r))
                        return -ENOBUFS;
                return put_at_thread(f, r);
        case IORING_OP_POLL_ADD:
                end_with(f, r, (int)(r->events & (POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM)));
                return 0;
        default:
                return -ENOTSOCK;
        }
}

void request_put(struct fallback *f, struct request *r, enum verdict verdict)
{
        int result;

        if (verdict == REQUEST_DONE) {
                request_end(f, r);
                return;
        }
        result = attempt_keep(r);
        if (!result && verdict == REQUEST_WAIT) {
                result = descriptor_park(f, r);
                if (!result)
                        enter_bucket(f, r, PLACE_DESCRIPTOR);
                else if (result == -EPERM)
                        result = put_elsewhere(f, r);
        } else if (!result && verdict == REQUEST_TIMED) {
                result = alarm_arm(f, r);
                if (!result)
                        enter_bucket(f, r, PLACE_ALARM);
        } else if (!result) {
                result = put_at_thread(f, r);
        }
        if (result)
                end_with(f, r, result);
}

/* Of chains: what comes next. Bound: the entries taken so far. */
static void start_next(struct fallback *f)
{
        while (f->starting && request_room(f)) {
                struct request *r = f->starting;

                f->starting = r->next;
                if (!f->starting)
                        f->starting_end = &f->starting;
                request_put(f, r, attempt(f, r, 0));
        }
}

/* ------------------------------------------------------------------ submissions */

static struct io_uring_sqe *entry(const struct fallback *f, uint32_t index)
{
        return &f->ring->sqes[index & f->ring->sq_mask];
}

/* How many entries from `head` on belong together. */
static unsigned chain_length(const struct fallback *f, uint32_t head, uint32_t tail)
{
        unsigned count = 1;

        while (head + count != tail &&
               entry(f, head + count - 1)->flags & (IOSQE_IO_LINK | IOSQE_IO_HARDLINK))
                count++;
        return count;
}

/* One of them cannot be done: then none is. */
static void refuse_chain(struct fallback *f, struct request *first, const int *error,
                         const struct request *culprit)
{
        for (struct request *r = first, *next; r; r = next) {
                next = r->chained;
                r->res = r == culprit ? *error : -ECANCELED;
                complete(f, r);
        }
}

static void start_chain(struct fallback *f, uint32_t head, unsigned count)
{
        struct request *first = NULL, *culprit = NULL, **link = &first;
        int error = 0;

        for (unsigned i = 0; i < count; i++) {
                struct request *r = take_spare(f, entry(f, head + i));
                int result = attempt_admit(&r->sqe);

                /* The others are started when what they show may be gone. */
                if (!result && count > 1)
                        result = attempt_keep(r);
                if (result && !culprit) {
                        culprit = r;
                        error = result;
                }
                *link = r;
                link = &r->chained;
        }
        if (culprit)
                refuse_chain(f, first, &error, culprit);
        else
                request_put(f, first, attempt(f, first, 0));
}

static void take_submissions(struct fallback *f)
{
        struct io_ring *ring = f->ring;
        /* relaxed: own. */
        uint32_t head = load_relaxed_u32(ring->sq_head);
        /* [UR1] acquire pairs with ring_publish(); the same thread. */
        uint32_t tail = load_acquire_u32(ring->sq_tail);

        while (head != tail) {
                unsigned count = chain_length(f, head, tail);

                if (f->held || cq_room(f) < count)
                        return;
                if (reserve(f, count))
                        start_chain(f, head, count);
                else
                        for (unsigned i = 0; i < count; i++)
                                post(f, entry(f, head + i)->user_data, i ? -ECANCELED : -ENOMEM, 0);
                head += count;
                /* relaxed: others take it for a hint. */
                store_relaxed_u32(ring->sq_head, head);
                start_next(f);
        }
}

/* ------------------------------------------------------------------ entering */

static void take_results(struct fallback *f)
{
        struct offload_call *call, *next;

        for (call = offload_take(&f->offload); call; call = next) {
                struct request *r = (struct request *)(void *)((char *)call -
                                                               offsetof(struct request, call));

                next = call->next;
                request_threaded_remove(f, r);
                request_end(f, r);
        }
}

/* What can go on without looking at descriptors. */
static void go_on(struct fallback *f)
{
        post_held(f);
        /* relaxed: [FB1] is the exchange's affair; what comes later wakes or is seen next time. */
        if (load_relaxed_u32(&f->sq_flags)) {
                /* [FB1] acquire pairs with finish() in offload.c. */
                exchange_acq_rel_u32(&f->sq_flags, 0);
                take_results(f);
        }
        alarms_expire(f);
        start_next(f);
}

static int look(struct fallback *f, int64_t timeout_ns)
{
        int result;

        f->looks_missed = 0;
        if (!request_room(f))
                return 0;
        result = descriptors_look(f, timeout_ns);
        go_on(f);
        return result;
}

/* One look without waiting; the next one is far off if it brings nothing. */
static void glance(struct fallback *f, bool busy)
{
        struct io_ring *ring = f->ring;

        if ((!ring_ready(ring) || ++f->looks_missed >= LOOKS_MISSED) && f->parked + f->in_threads)
                look(f, 0);
        f->look_gap = busy || ring_ready(ring)     ? 1
                      : 2 * f->look_gap < GAP_MOST ? 2 * f->look_gap
                                                   : GAP_MOST;
        ring->look_in = f->look_gap;
}

/* Until the deadline or the next alarm. */
static int64_t sleep_ns(const struct fallback *f, int64_t deadline_ns)
{
        int64_t left_ns;

        deadline_ns = earlier_ns(deadline_ns, alarms_next_ns(f));
        if (!deadline_ns)
                return -1;
        left_ns = deadline_ns - kernel_now_ns();
        return left_ns > 0 ? left_ns : 0;
}

static int sleep_once(struct fallback *f, int64_t deadline_ns)
{
        bool threads = f->in_threads;
        int result;

        if (threads && !offload_sleep(&f->offload)) {
                go_on(f);
                return 0;
        }
        result = descriptors_look(f, sleep_ns(f, deadline_ns));
        if (threads)
                offload_awake(&f->offload);
        go_on(f);
        return result;
}

static int enter(struct fallback *f, bool wait, int64_t deadline_ns)
{
        struct io_ring *ring = f->ring;
        bool busy = ring_unsent(ring);
        int result = 0;

        go_on(f);
        take_submissions(f);
        if (!wait) {
                glance(f, busy);
                return 0;
        }
        f->look_gap = ring->look_in = 1;
        /* Bound: the sleeper's. */
        while (!ring_ready(ring) && !result) {
                result = sleep_once(f, deadline_ns);
                if (!result && deadline_ns && !ring_ready(ring) && kernel_now_ns() >= deadline_ns)
                        result = -ETIME;
        }
        return ring_ready(ring) ? 0 : result;
}

int fallback_enter(struct io_ring *ring, bool wait, int64_t deadline_ns)
{
        int saved = errno, result = enter(ring->fallback, wait, deadline_ns);

        errno = saved;
        return result;
}

/* ------------------------------------------------------------------ begin and end */

static unsigned round_up(unsigned count, unsigned most)
{
        unsigned power = 1;

        while (power < count && power < most)
                power *= 2;
        return power;
}

static size_t cq_bytes(const struct io_ring *ring)
{
        return (ring->cq_mask + 1) * sizeof *ring->cqes;
}

static size_t sq_bytes(const struct io_ring *ring)
{
        return ring->sq_entries * sizeof *ring->sqes;
}

static void give_memory(struct io_ring *ring)
{
        if (ring->sqes)
                memory_unmap(ring->sqes, sq_bytes(ring));
        if (ring->cqes)
                memory_unmap(ring->cqes, cq_bytes(ring));
        memory_unmap(ring->fallback, sizeof *ring->fallback);
        ring->fallback = NULL;
}

static int take_memory(struct io_ring *ring, unsigned entries)
{
        struct fallback *f = memory_map(sizeof *f, -1);

        if (!f)
                return -ENOMEM;
        ring->fallback = f;
        ring->sq_entries = round_up(entries, ENTRIES_MOST);
        ring->sq_mask = ring->sq_entries - 1;
        ring->cq_mask = ring->sq_entries * 4 > CQ_LEAST ? ring->sq_entries * 4 - 1 : CQ_LEAST - 1;
        ring->sqes = memory_map(sq_bytes(ring), -1);
        ring->cqes = memory_map(cq_bytes(ring), -1);
        if (ring->sqes && ring->cqes)
                return 0;
        give_memory(ring);
        return -ENOMEM;
}

static void fill_in(struct io_ring *ring)
{
        struct fallback *f = ring->fallback;

        f->ring = ring;
        f->held_end = &f->held;
        f->starting_end = &f->starting;
        f->look_gap = ring->look_in = 1;
        ring->sq_head = &f->sq_head;
        ring->sq_tail = &f->sq_tail;
        ring->sq_flags = &f->sq_flags;
        ring->cq_head = &f->cq_head;
        ring->cq_tail = &f->cq_tail_word;
        ring->enter_fd = -1;
}

int fallback_open(struct io_ring *ring, const struct ring_wish *wish)
{
        int result = take_memory(ring, wish->entries);

        if (result)
                return result;
        fill_in(ring);
        result = offload_open(&ring->fallback->offload, wish->pool, ring->sq_flags,
                              IORING_SQ_TASKRUN);
        if (!result) {
                result = descriptors_open(ring->fallback);
                if (result)
                        offload_close(&ring->fallback->offload);
        }
        if (result)
                give_memory(ring);
        return result;
}

void fallback_close(struct io_ring *ring)
{
        struct fallback *f = ring->fallback;
        struct request_chunk *next;

        offload_close(&f->offload);
        descriptors_close(f);
        free(f->heap);
        for (struct request_chunk *chunk = f->chunks; chunk; chunk = next) {
                next = chunk->next;
                free(chunk);
        }
        give_memory(ring);
}
