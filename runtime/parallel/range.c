/* SPDX-License-Identifier: MIT
 *
 * Lazy splitting of ranges; see range.h.
 */
#include "parallel/range.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/worker.h"

/* Automatic parts aim at this long: the clock is a hundredth of it, and a hungry worker waits no
 * longer than that for its half. */
#define PART_NS 8000
/* Larger accumulators are allocated, so that splits do not eat the stack. */
enum { ACC_ON_STACK = 1024 };

struct half {
        struct skua_job job;
        struct range_loop *loop;
        size_t begin, end, part;
        void *acc;
};

static void range_part(struct skua_worker *self, struct half *half);

void range_identity(const struct range_loop *loop, void *acc)
{
        if (loop->identity)
                memcpy(acc, loop->identity, loop->acc_bytes);
        else
                memset(acc, 0, loop->acc_bytes);
}

static void half_stolen(struct skua_worker *self, struct skua_job *job)
{
        struct half *half = skua_container(job, struct half, job);

        if (half->loop->combine)
                range_identity(half->loop, half->acc);
        range_part(self, half);
}

/* Forks the right half, works off the left one, joins. Afterwards either all of the range is done,
 * or the right half is left to the caller. */
static void split_with(struct skua_worker *self, struct half *left, void *acc)
{
        size_t end = left->end, middle = left->begin + (end - left->begin) / 2;
        struct half right;

        right.loop = left->loop;
        right.begin = middle;
        right.end = end;
        right.part = left->part;
        right.acc = acc;
        /* From here to the join `right` is the thief's. */
        skua_fork(self, &right.job, half_stolen);
        left->end = middle;
        range_part(self, left);
        left->begin = left->end = end;
        if (skua_join(self, &right.job))
                left->begin = middle;
        else if (left->loop->combine)
                left->loop->combine(left->acc, acc, left->loop->arg);
}

struct large {
        struct exit_frame exit;
        void *acc;
};

static void leave_large(struct worker *w, struct exit_frame *frame)
{
        (void)w;
        free(skua_container(frame, struct large, exit)->acc);
}

/* Finds memory for the right half's accumulator. False: no memory, do not split. */
__attribute__((noinline)) static bool split(struct skua_worker *self, struct half *left)
{
        size_t bytes = left->loop->combine ? left->loop->acc_bytes : 0;
        _Alignas(max_align_t) char small[bytes && bytes <= ACC_ON_STACK ? bytes : 1];
        struct large large;

        if (bytes <= ACC_ON_STACK) {
                split_with(self, left, small);
                return true;
        }
        if (!(large.acc = malloc(bytes)))
                return false;
        exit_push(worker_of(self), &large.exit, leave_large);
        split_with(self, left, large.acc);
        exit_pop(worker_of(self), &large.exit);
        free(large.acc);
        return true;
}

static bool wanted(struct skua_worker *self)
{
        /* relaxed: the hint of skua_fork() [FD1]. */
        return load_relaxed_u64((struct word64 *)(void *)&self->fork_quiet_) == 0;
}

/* One part from the left; automatic ones grow and shrink towards PART_NS. */
static void one_part(struct skua_worker *self, struct half *half)
{
        struct range_loop *loop = half->loop;
        size_t left = half->end - half->begin;
        size_t end = half->begin + (half->part < left ? half->part : left);
        int64_t started = loop->grain ? 0 : skua_now_ns(), took;

        loop->part(self, half->begin, end, half->acc, loop);
        half->begin = end;
        if (loop->grain)
                return;
        took = skua_now_ns() - started;
        if (took < PART_NS / 2 && half->part <= SIZE_MAX / 2)
                half->part *= 2;
        else if (took > PART_NS * 2 && half->part > 1)
                half->part /= 2;
}

static void range_part(struct skua_worker *self, struct half *half)
{
        struct range_loop *loop = half->loop;
        size_t least = loop->grain ? loop->grain : 1;

        while (half->begin < half->end) {
                if (skua_cancelled(self)) {
                        /* relaxed: read after the join. */
                        store_relaxed_u32(&loop->left_out, 1);
                        return;
                }
                if (half->end - half->begin > least && wanted(self) && split(self, half))
                        continue;
                one_part(self, half);
        }
}

int range_run(struct skua_worker *self, struct range_loop *loop, size_t begin, size_t end,
              void *acc)
{
        struct half whole = {.loop = loop,
                             .begin = begin,
                             .end = end,
                             .acc = acc,
                             .part = loop->grain ? loop->grain : 1};
        struct scope_frame frame;
        int error;

        scope_enter(self, &frame);
        range_part(self, &whole);
        error = scope_leave(self, &frame);
        /* relaxed: all parts have been joined. */
        return load_relaxed_u32(&loop->left_out) ? -ECANCELED : error;
}
