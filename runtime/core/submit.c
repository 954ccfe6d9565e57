/* SPDX-License-Identifier: MIT
 *
 * Handing jobs to a runtime: from outside through an injector's door, from a job to the own run
 * queue, to one worker through its gate; to a strand, and when its turn comes the same way; delayed
 * ones to a worker's timers.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/group.h"
#include "core/options.h"
#include "core/strand.h"
#include "core/submit.h"
#include "limits/blocking.h"
#include "wait/await.h"

/* Of an array. So many jobs are 64 GiB; and a few who ask for so many at once must not carry the
 * count of a door into its flags. */
#define SUBMIT_MOST ((size_t)1 << 30)

SKUA_API void skua_job_init(struct skua_job *job, skua_fn *run)
{
        memset(job, 0, sizeof *job);
        job->run_ = run;
}

/* Prepares a job for a queue; a debug build catches one that is queued already. */
static void mark(struct skua_job *job, struct skua_group *group)
{
#ifdef SKUA_DEBUG
        if (job->flags_ & JOB_QUEUED) {
                fputs("skua: submit: the job is queued already\n", stderr);
                abort();
        }
        job->flags_ = JOB_QUEUED;
#endif
        job->owner_ = group;
        shared_write(&job->owner_, sizeof job->owner_);
}

/* Gives jobs [from, from + count) their deadline. They have been accepted. */
static void limit(const struct order *order, size_t from, size_t count)
{
        if (!order->deadline_ns)
                return;
        for (size_t i = from; i < from + count; i++)
                job_limit(order_job(order, i), order->deadline_ns);
}

struct skua_job *order_take(const struct order *order, size_t i)
{
        struct skua_job *job = order_job(order, i);

        if (order->group)
                group_hold(order->group, 1);
        limit(order, i, 1);
        mark(job, order->group);
        return job;
}

/* The job was last used by a worker: its line comes while we wait for the door's. */
static void fetch_early(void *job)
{
        __builtin_prefetch(job, 1);
}

int order_refuse(const struct order *order, int error)
{
        struct runtime *rt = order->rt;

        /* relaxed, both: for the figures only, and a late caller is not in the next runtime's. */
        if (load_relaxed_u64(&rt->door) / DOOR_GENERATION_ONE == generation_of(order->handle))
                fetch_add_relaxed_u64(&rt->refused, 1);
        /* relaxed: set in the child of a fork by its only thread. */
        return load_relaxed_u32(&rt->orphan) ? -EOWNERDEAD : error;
}

/* Places in the injector, as many as are given; waits for the first if the order says so. */
static ssize_t enter(const struct order *order, struct injector *injector, size_t count)
{
        uint64_t generation = generation_of(order->handle);

        for (;;) {
                int error = 0;
                size_t given = injector_enter(injector, count, generation, &error);
                uint32_t look;

                if (given)
                        return (ssize_t)given;
                if (error != -EAGAIN || order->try)
                        return order_refuse(order, error);
                look = injector_look(injector);
                if ((given = injector_enter(injector, count, generation, &error)))
                        return (ssize_t)given;
                if (error == -EAGAIN)
                        injector_sleep(injector, look);
        }
}

/* Chains jobs [from, from + count) and queues them; they have been accepted. */
static void push_chain(const struct order *order, struct injector *injector, size_t from,
                       size_t count)
{
        struct skua_job *first = order_job(order, from), *last = first;

        if (order->group)
                group_hold(order->group, count);
        limit(order, from, count);
        mark(first, order->group);
        for (size_t i = 1; i < count; i++) {
                struct skua_job *next = order_job(order, from + i);

                mark(next, order->group);
                /* relaxed: published with the chain. */
                store_relaxed_ptr(job_next(last), next);
                last = next;
        }
        injector_link(injector, first, last);
}

static ssize_t submit_outside(const struct order *order)
{
        struct runtime *rt = order->rt;
        unsigned node = order->node_index < 0 ? runtime_node_here(rt) : (unsigned)order->node_index;
        struct injector *injector = &rt->nodes[node].injectors[INJECTOR_NORMAL];
        size_t done = 0;

        fetch_early(order->first);
        while (done < order->count) {
                ssize_t given = enter(order, injector, order->count - done);

                if (given < 0)
                        return done ? (ssize_t)done : given;
                push_chain(order, injector, done, (size_t)given);
                done += (size_t)given;
                /* [PK1] pairs with [PK2]: the count, an RMW, comes before our look. */
                fence_seq_cst_after_rmw();
                park_publish(rt, node);
        }
        return (ssize_t)done;
}

/* From a job to a node's injector: no closed door; a bound only with SKUA_TRY. */
static ssize_t submit_node(const struct order *order)
{
        struct runtime *rt = order->rt;
        unsigned node = order->node_index < 0 ? runtime_node_here(rt) : (unsigned)order->node_index;
        struct injector *injector = &rt->nodes[node].injectors[INJECTOR_NORMAL];
        size_t given = order->count;
        int error = 0;

        if (order->try)
                given = injector_enter(injector, order->count, DOOR_INSIDE, &error);
        else
                injector_enter_inside(injector, order->count);
        if (!given)
                return order_refuse(order, error);
        push_chain(order, injector, 0, given);
        /* [PK1] as in submit_outside(). */
        fence_seq_cst_after_rmw();
        park_publish(rt, node);
        return (ssize_t)given;
}

static void push_own(struct worker *w, const struct order *order)
{
        limit(order, 0, order->count);
        for (size_t i = 0; i < order->count; i++) {
                struct skua_job *job = order_job(order, i);

                mark(job, order->group);
                worker_push(w, job);
        }
        if (w->alone)
                return;
        /* [PK1] pairs with [PK2]: the jobs are visible before our look. */
        fence_seq_cst();
        park_publish(w->runtime, w->node_index);
}

/* To one worker. The acceptance lasts until we have touched the runtime for the last time. */
static ssize_t submit_worker(const struct order *order)
{
        struct runtime *rt = order->rt;
        int result = runtime_accept(rt, generation_of(order->handle), !order_within(order));

        if (result)
                return order_refuse(order, result);
        if (order->group)
                group_hold(order->group, order->count);
        limit(order, 0, order->count);
        /* relaxed: for the figures only. */
        fetch_add_relaxed_u64(&rt->direct, order->count);
        for (size_t i = 0; i < order->count; i++) {
                struct skua_job *job = order_job(order, i);

                mark(job, order->group);
                worker_send(rt, order->worker - 1, job);
        }
        runtime_unaccept(rt);
        return (ssize_t)order->count;
}

/* A job of a strand whose turn has come at once. False: not yet counted as accepted. */
static bool take_turn(const struct order *order, struct skua_job *job)
{
        struct runtime *rt = order->rt;
        struct worker *w = order->inside;
        unsigned node = order->node_index < 0 ? runtime_node_here(rt) : (unsigned)order->node_index;

        if (order->blocking) {
                blocking_turn(rt, job);
                return false;
        }
        if (order->worker) {
                worker_send(rt, order->worker - 1, job);
                return false;
        }
        if (w && order->node_index < 0) {
                worker_push(w, job);
        } else {
                struct injector *injector = &rt->nodes[node].injectors[INJECTOR_NORMAL];

                injector_enter_inside(injector, 1);
                injector_link(injector, job, job);
        }
        if (w && w->alone)
                return true;
        /* [PK1] pairs with [PK2]: the job is visible before our look. */
        fence_seq_cst();
        park_publish(rt, node);
        return true;
}

/* The job that calls from a worker keeps the runtime by itself. */
static void unaccept_order(const struct order *order)
{
        if (!order->inside)
                runtime_unaccept(order->rt);
}

/* Accepts the order as a whole, and obliges the blocking pool to its jobs if they are to go there.
 * The acceptance lasts until we have touched the runtime for the last time. */
static int accept_order(const struct order *order)
{
        struct runtime *rt = order->rt;
        int result = 0;

        if (!order->inside)
                result = runtime_accept(rt, generation_of(order->handle), !order->aside);
        if (result || !order->blocking)
                return result;
        result = pool_oblige(&rt->pool, order->count);
        if (result)
                unaccept_order(order);
        return result;
}

/* To a strand: in the end each job stands in a queue or waits for one that does, or runs. */
static ssize_t submit_strand(const struct order *order)
{
        struct runtime *rt = order->rt;
        struct worker *w = order->inside;
        int result = accept_order(order);
        size_t uncounted = 0;

        if (result)
                return order_refuse(order, result);
        if (order->group)
                group_hold(order->group, order->count);
        for (size_t i = 0; i < order->count; i++) {
                struct skua_job *job = order_job(order, i);

                mark(job, order->group);
                limit(order, i, 1);
                strand_bind(order->strand, job, order->blocking ? STRAND_BLOCKING : order->worker);
                if (!strand_enter(order->strand, job) || !take_turn(order, job))
                        uncounted++;
        }
        if (w)
                count_add(&w->count.spawned, uncounted);
        else
                /* relaxed: for the figures only. */
                fetch_add_relaxed_u64(&rt->direct, uncounted);
        unaccept_order(order);
        return (ssize_t)order->count;
}

/* One of a node's workers, in turns; the node has some. */
static struct worker *worker_of_node(const struct runtime *rt, unsigned node, uint64_t turn)
{
        const uint64_t *bits = rt->nodes[node].worker_bits;
        unsigned count = 0, index = 0;

        for (unsigned i = 0; i < rt->idle_words; i++)
                count += (unsigned)__builtin_popcountll(bits[i]);
        /* Bound: the workers. */
        for (unsigned left = (unsigned)(turn % count);; index++)
                if (bits[index / 64] >> index % 64 & 1 && !left--)
                        return rt->workers[index];
}

/* Whose timers are to have the job, which is counted as accepted here. */
static struct worker *home_of(const struct order *order)
{
        struct runtime *rt = order->rt;
        struct worker *w = order->inside;
        unsigned node = order->node_index < 0 ? runtime_node_here(rt) : (unsigned)order->node_index;
        uint64_t turn;

        if (w && !order->worker && (order->node_index < 0 || w->node_index == node)) {
                count_add(&w->count.spawned, order->count);
                return w;
        }
        /* relaxed: for the figures, and to take turns. */
        turn = fetch_add_relaxed_u64(&rt->direct, order->count);
        return order->worker ? rt->workers[order->worker - 1] : worker_of_node(rt, node, turn);
}

static ssize_t submit_delayed(const struct order *order)
{
        struct runtime *rt = order->rt;
        struct timer_delay delay = {order->at_ns, order->deadline_ns, order->strand, order->worker,
                                    order->blocking};
        int result = accept_order(order);
        bool wake = false;
        struct worker *w;

        if (result)
                return order_refuse(order, result);
        if (order->group)
                group_hold(order->group, order->count);
        w = home_of(order);
        for (size_t i = 0; i < order->count; i++) {
                struct skua_job *job = order_job(order, i);

                mark(job, order->group);
                wake |= timers_delay(w, job, &delay);
        }
        if (wake && w != order->inside) {
                /* [PK1] pairs with [PK2]: the parker reads when it is to wake up behind it. */
                fence_seq_cst();
                park_wake_worker(rt, w->index);
        }
        unaccept_order(order);
        return (ssize_t)order->count;
}

static ssize_t submit(const struct order *order)
{
        struct worker *w = order->inside;

        if (order->at_ns)
                return submit_delayed(order);
        if (order->strand)
                return submit_strand(order);
        if (order->blocking)
                return blocking_submit(order);
        if (order->worker)
                return submit_worker(order);
        if (!w && !order->aside)
                return submit_outside(order);
        if (!w || order->node_index >= 0)
                return submit_node(order);
        if (order->group)
                group_hold(order->group, order->count);
        push_own(w, order);
        return (ssize_t)order->count;
}

/* Fills in the target's wishes. 0 or an error. */
static int read_target(struct order *order, const struct skua_target *where)
{
        struct runtime *rt = order->rt;
        struct skua_target target;
        int result = options_copy(&target, sizeof target, where, sizeof target);

        if (result)
                return result;
        if (target.flags & ~(unsigned)(SKUA_TRY | SKUA_BLOCKING) || target.priority < SKUA_LOW ||
            target.priority > SKUA_HIGH || target.delay_ns < 0 || target.deadline_ns < 0 ||
            target.worker > rt->worker_count || (target.worker && target.node))
                return -EINVAL;
        if (target.node && (target.node > RUNTIME_NODES || rt->system_node[target.node - 1] < 0))
                return -EINVAL;
        if (target.flags & SKUA_BLOCKING && target.worker)
                return -EINVAL;
        if (target.priority)
                return -EOPNOTSUPP;
        order->try = target.flags & SKUA_TRY;
        order->blocking = target.flags & SKUA_BLOCKING;
        order->group = target.group;
        order->worker = target.worker;
        order->strand = target.strand;
        order->deadline_ns = target.deadline_ns;
        if (target.delay_ns)
                order->at_ns = later_ns(kernel_now_ns(), target.delay_ns);
        if (target.node)
                order->node_index = rt->system_node[target.node - 1];
        return 0;
}

/* The common part of all calls: who calls, for what runtime, with what wishes. */
static int begin(struct order *order, struct skua *rt, void *first, const struct skua_target *where)
{
        struct worker *w = worker_self();

        memset(order, 0, sizeof *order);
        order->handle = rt;
        order->rt = runtime_of(rt);
        order->first = first;
        order->count = 1;
        order->node_index = -1;
        if (!order->rt || !first)
                return -EINVAL;
        if (w && w->runtime == order->rt)
                order->inside = w;
        else
                order->aside = blocking_runtime() == order->rt;
        /* relaxed: set in the child of a fork by its only thread. */
        if (order_within(order) && load_relaxed_u32(&order->rt->orphan))
                return -EOWNERDEAD;
        return where ? read_target(order, where) : 0;
}

static int submit_one(const struct order *order)
{
        ssize_t result = submit(order);

        return result < 0 ? (int)result : 0;
}

SKUA_API int skua_submit_to(struct skua *rt, struct skua_job *job, const struct skua_target *where)
{
        struct order order;
        int result = begin(&order, rt, job, where);

        return result ? result : submit_one(&order);
}

/* The straight way, as skua_submit_to() would go it without wishes. */
SKUA_API int skua_submit(struct skua *handle, struct skua_job *job)
{
        struct runtime *rt = runtime_of(handle);
        struct worker *w = worker_self();
        struct injector *injector;
        unsigned node;
        int error;

        if (!rt || !job || (w && w->runtime == rt))
                return skua_submit_to(handle, job, NULL);
        fetch_early(job);
        node = runtime_node_here(rt);
        injector = &rt->nodes[node].injectors[INJECTOR_NORMAL];
        if (!injector_enter(injector, 1, generation_of(handle), &error))
                return skua_submit_to(handle, job, NULL); /* waits for room, or says what it is */
        mark(job, NULL);
        injector_link(injector, job, job);
        /* [PK1] pairs with [PK2]: the count, an RMW, comes before our look. */
        fence_seq_cst_after_rmw();
        park_publish(rt, node);
        return 0;
}

SKUA_API int skua_try_submit(struct skua *rt, struct skua_job *job)
{
        struct order order;
        int result = begin(&order, rt, job, NULL);

        order.try = true;
        return result ? result : submit_one(&order);
}

SKUA_API int skua_group_submit(struct skua *rt, struct skua_group *g, struct skua_job *job)
{
        struct order order;
        int result = begin(&order, rt, job, NULL);

        order.group = g;
        return result ? result : g ? submit_one(&order) : -EINVAL;
}

SKUA_API ssize_t skua_submit_array(struct skua *rt, void *first, size_t count, size_t stride,
                                   const struct skua_target *where)
{
        struct order order;
        int result = begin(&order, rt, first, where);

        if (result)
                return result;
        if (count > 1 &&
            (stride < sizeof(struct skua_job) || count > SSIZE_MAX / stride || count > SUBMIT_MOST))
                return -EINVAL;
        order.count = count;
        order.stride = stride;
        return count ? submit(&order) : 0;
}

SKUA_API void skua_spawn(struct skua_worker *self, struct skua_job *job)
{
        skua_group_spawn(self, NULL, job);
}

SKUA_API void skua_group_spawn(struct skua_worker *self, struct skua_group *g, struct skua_job *job)
{
        struct worker *w = worker_of(self);

        if (g)
                group_hold(g, 1);
        mark(job, g);
        worker_push(w, job);
        if (w->alone)
                return;
        /* [PK1] pairs with [PK2]: the job is visible before our look. */
        fence_seq_cst();
        park_publish(w->runtime, w->node_index);
}

struct submit_wait {
        struct await await;
        struct injector *injector;
};

static bool withdraw(struct worker *w, struct await *a)
{
        (void)w;
        return injector_unregister(skua_container(a, struct submit_wait, await)->injector,
                                   &a->waiter);
}

/* Waits until there may be room. */
static int await_room(struct worker *w, struct injector *injector, int64_t deadline_ns)
{
        struct submit_wait wait;
        int error = await_refused(w, deadline_ns);

        if (error)
                return error;
        await_begin(w, &wait.await, withdraw);
        wait.injector = injector;
        if (injector_register(injector, &wait.await.waiter))
                return await_suspend(w, &wait.await, deadline_ns);
        return waiter_end(&wait.await.waiter);
}

SKUA_API int skua_await_submit_until(struct skua_worker *self, struct skua_job *job,
                                     const struct skua_target *where, int64_t deadline_ns)
{
        struct worker *w = worker_of(self);
        struct order order;
        int result = begin(&order, w->runtime->handle, job, where);
        struct injector *injector;

        if (result || order.worker || order.strand || order.at_ns)
                return result ? result : submit_one(&order);
        if (order.blocking)
                return blocking_await_submit(w, &order, deadline_ns);
        if (order.node_index < 0)
                order.node_index = (int)w->node_index;
        injector = &w->runtime->nodes[order.node_index].injectors[INJECTOR_NORMAL];
        for (bool try = order.try;;) {
                order.try = true;
                result = submit_one(&order);
                if (result != -EAGAIN || try)
                        return result;
                result = await_room(w, injector, deadline_ns);
                if (result)
                        return result;
        }
}

SKUA_API int skua_await_submit(struct skua_worker *self, struct skua_job *job,
                               const struct skua_target *where)
{
        return skua_await_submit_until(self, job, where, 0);
}
