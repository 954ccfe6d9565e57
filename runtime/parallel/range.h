/* SPDX-License-Identifier: MIT
 *
 * The engine of the loops: a range is worked off in parts from the left, and its right half is
 * forked whenever somebody wants work (lazy splitting: Tzannes, Caragea, Barua, Vishkin, PPoPP
 * 2010). "Wanted" is the deque's own flag, so a loop that nobody helps is a plain loop with one
 * load and a clock reading per part. Called by for.c and reduce.c.
 */
#ifndef PARALLEL_RANGE_H
#define PARALLEL_RANGE_H

#include "core/job.h"

struct range_loop {
        /* runs a part; acc is that of the part's half */
        void (*part)(struct skua_worker *self, size_t begin, size_t end, void *acc,
                     const struct range_loop *loop);
        void (*combine)(void *acc, const void *other, void *arg); /* NULL: no accumulators */
        const void *user;
        size_t grain; /* 0: by the clock */
        size_t acc_bytes;
        const void *identity;
        void *arg;
        struct word32 left_out; /* a part was not begun because of cancellation */
};

/* Runs the whole loop; 0, first error, or -ECANCELED. */
int range_run(struct skua_worker *self, struct range_loop *loop, size_t begin, size_t end,
              void *acc);

void range_identity(const struct range_loop *loop, void *acc);

#endif
