/* SPDX-License-Identifier: MIT
 *
 * Timeouts of the ring without io_uring: a binary heap of requests, the earliest first.
 */
#include <errno.h>
#include <stdlib.h>

#include "core/kernel.h"
#include "io/request.h"

enum { HEAP_LEAST = 64 };

static void place_at(struct fallback *f, struct request *r, unsigned index)
{
        f->heap[index] = r;
        r->heap_index = index;
}

/* Moves up from `index` whatever is later than r, then puts r there. */
static void rise(struct fallback *f, struct request *r, unsigned index)
{
        while (index && f->heap[(index - 1) / 2]->due_ns > r->due_ns) {
                place_at(f, f->heap[(index - 1) / 2], index);
                index = (index - 1) / 2;
        }
        place_at(f, r, index);
}

static void sink(struct fallback *f, struct request *r, unsigned index)
{
        for (unsigned child; (child = 2 * index + 1) < f->heap_count; index = child) {
                if (child + 1 < f->heap_count &&
                    f->heap[child + 1]->due_ns < f->heap[child]->due_ns)
                        child++;
                if (f->heap[child]->due_ns >= r->due_ns)
                        break;
                place_at(f, f->heap[child], index);
        }
        place_at(f, r, index);
}

int alarm_arm(struct fallback *f, struct request *r)
{
        if (f->heap_count == f->heap_room) {
                unsigned room = f->heap_room ? 2 * f->heap_room : HEAP_LEAST;
                struct request **heap = realloc(f->heap, room * sizeof(struct request *));

                if (!heap)
                        return -ENOMEM;
                f->heap = heap;
                f->heap_room = room;
        }
        rise(f, r, f->heap_count++);
        return 0;
}

void alarm_disarm(struct fallback *f, struct request *r)
{
        struct request *last = f->heap[--f->heap_count];

        if (last == r)
                return;
        /* One of the two does nothing. */
        sink(f, last, r->heap_index);
        rise(f, last, last->heap_index);
}

/* One that comes again may be late by several periods: it then comes once. */
static void come_again(struct fallback *f, struct request *r, int64_t now_ns)
{
        request_more(f, r, -ETIME, 0);
        if (r->sqe.off)
                r->sqe.off--; /* how often yet; 0: for ever */
        r->due_ns += r->every_ns * ((now_ns - r->due_ns) / r->every_ns + 1);
        sink(f, r, 0);
}

void alarms_expire(struct fallback *f)
{
        int64_t now_ns;

        if (!f->heap_count)
                return;
        now_ns = kernel_now_ns();
        /* Bound: each once, as what comes again comes later than now. */
        while (f->heap_count && f->heap[0]->due_ns <= now_ns && request_room(f)) {
                struct request *r = f->heap[0];

                if (r->every_ns && r->sqe.off != 1) {
                        come_again(f, r, now_ns);
                        continue;
                }
                alarm_disarm(f, r);
                r->res = -ETIME;
                r->failed = !(r->sqe.timeout_flags & IORING_TIMEOUT_ETIME_SUCCESS);
                request_end(f, r);
        }
}
