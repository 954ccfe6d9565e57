/* SPDX-License-Identifier: MIT
 *
 * A submission on its way from the call to a queue, for the modules that have queues of their own.
 */
#ifndef CORE_SUBMIT_H
#define CORE_SUBMIT_H

#include "core/runtime.h"
#include "core/worker.h"

struct order {
        struct skua *handle;
        struct runtime *rt;
        struct worker *inside; /* the caller's job runs here, on the same runtime */
        bool aside;            /* or on a thread of its blocking pool */
        struct skua_group *group;
        struct skua_strand *strand;
        char *first;
        size_t count, stride;
        int64_t at_ns, deadline_ns; /* not before; cancelled from then on; 0: none */
        int node_index;             /* or -1: the caller's */
        unsigned worker;            /* SKUA_WORKER(i), or 0 */
        bool blocking, try;
};

/* Does a job of the runtime call? Then no closed door stops it. */
static inline bool order_within(const struct order *order)
{
        return order->inside || order->aside;
}

static inline struct skua_job *order_job(const struct order *order, size_t i)
{
        return (struct skua_job *)(void *)(order->first + i * order->stride);
}

/* Counts an accepted job in its group and prepares it for a queue. */
struct skua_job *order_take(const struct order *order, size_t i);

/* Counts a refusal; the error that the call returns. */
int order_refuse(const struct order *order, int error);

#endif
