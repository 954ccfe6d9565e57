/* SPDX-License-Identifier: MIT
 *
 * Jobs on the blocking pool, and calls that a job waits for; see blocking.h.
 */
#include "limits/blocking.h"

#include <errno.h>

#include "core/group.h"
#include "limits/pool.h"
#include "wait/await.h"

/* ------------------------------------------------------------------ submission */

/* From inside the caller's job keeps the runtime until the pool's count does. */
static int queue_inside(const struct order *order, size_t i)
{
        int result = pool_job(&order->rt->pool, order, i, order->try);

        return result == POOL_FULL ? -EAGAIN : result;
}

static int queue_outside(const struct order *order, size_t i)
{
        struct runtime *rt = order->rt;
        int result = runtime_accept(rt, generation_of(order->handle), true);

        if (result)
                return result;
        result = order->try ? queue_inside(order, i) : pool_job_wait(&rt->pool, order, i);
        runtime_unaccept(rt);
        return result;
}

ssize_t blocking_submit(const struct order *order)
{
        bool within = order_within(order);

        for (size_t i = 0; i < order->count; i++) {
                int result = within ? queue_inside(order, i) : queue_outside(order, i);

                if (result)
                        return i ? (ssize_t)i : order_refuse(order, result);
        }
        return (ssize_t)order->count;
}

/* An await for room, with the place in the line. */
struct line {
        struct await await; /* first */
        struct pool_wait wait;
};

static bool leave_line(struct worker *w, struct await *a)
{
        return pool_unlist(&w->runtime->pool, &skua_container(a, struct line, await)->wait);
}

static int stand_in_line(struct worker *w, const struct order *order, int64_t deadline_ns)
{
        struct pool *p = &order->rt->pool;
        struct line line;
        int result = pool_job(p, order, 0, true);

        if (result != POOL_FULL || order->try)
                return result == POOL_FULL ? -EAGAIN : result;
        if ((result = await_refused(w, deadline_ns)))
                return result;
        await_begin(w, &line.await, leave_line);
        line.wait = (struct pool_wait){.order = order, .waiter = &line.await.waiter};
        result = pool_job_list(p, &line.wait);
        return result == POOL_FULL ? await_suspend(w, &line.await, deadline_ns) : result;
}

int blocking_await_submit(struct worker *w, const struct order *order, int64_t deadline_ns)
{
        int result = stand_in_line(w, order, deadline_ns);

        return result ? order_refuse(order, result) : 0;
}

void blocking_turn(struct runtime *rt, struct skua_job *job)
{
        pool_job_obliged(&rt->pool, job);
}

/* ------------------------------------------------------------------ running */

static void count_cancelled(struct pool *p)
{
        fetch_add_relaxed_u64(&p->cancelled, 1); /* relaxed: a figure */
}

void blocking_run(struct pool_thread *t, struct skua_job *job)
{
        struct scope scope = {.group = job->owner_};

        shared_new(&scope, sizeof scope);
        shared_read(&job->run_, sizeof job->run_);
        shared_read(&job->owner_, sizeof job->owner_);
        if (scope_cancelled(t->pool->rt, &scope))
                count_cancelled(t->pool);
        t->scope = &scope;
#ifdef SKUA_DEBUG
        job->flags_ = 0; /* may be queued again */
#endif
        job->run_(NULL, job);
        t->scope = NULL;
        if (scope.group)
                group_release(scope.group, 1, scope_error(&scope));
        shared_gone(&scope, sizeof scope);
}

/* What the calling thread runs there, or NULL. */
static struct scope *scope_here(void)
{
        struct pool_thread *t = pool_thread_self();

        return t ? t->scope : NULL;
}

struct runtime *blocking_runtime(void)
{
        struct pool_thread *t = pool_thread_self();

        return t ? t->pool->rt : NULL;
}

bool blocking_cancelled(void)
{
        struct scope *scope = scope_here();

        return scope && scope_cancelled(blocking_runtime(), scope);
}

void blocking_fail(int error)
{
        struct scope *scope = scope_here();

        if (scope)
                scope_fail(scope, error);
}

void blocking_limit(int64_t deadline_ns)
{
        struct pool *p = pool_thread_self()->pool;

        /* It has been counted as it looked without the deadline. */
        if (scope_set_deadline(p->rt, scope_here(), deadline_ns))
                count_cancelled(p);
}

/* ------------------------------------------------------------------ calls */

/* Lies in the frame of the job that waits for it. */
struct blocking_call {
        struct await await; /* first */
        struct pool_call call;
        int (*fn)(void *arg);
        void *arg;
};

static void call_run(struct pool_call *call)
{
        struct blocking_call *c = skua_container(call, struct blocking_call, call);

        shared_read(&c->fn, sizeof c->fn);
        c->await.waiter.result = c->fn(c->arg);
        shared_write(&c->await.waiter.result, sizeof c->await.waiter.result);
        waiter_wake(&c->await.waiter);
}

/* Once a thread has it, it is waited for: what it works with lies on our stack. */
static bool call_withdraw(struct worker *w, struct await *a)
{
        struct blocking_call *c = skua_container(a, struct blocking_call, await);

        return pool_withdraw(&w->runtime->pool, &c->call);
}

SKUA_API int skua_await_blocking_until(struct skua_worker *self, int (*fn)(void *arg), void *arg,
                                       int64_t deadline_ns)
{
        struct worker *w = worker_of(self);
        int result = await_refused(w, deadline_ns);
        struct blocking_call c;

        if (result)
                return result;
        await_begin(w, &c.await, call_withdraw);
        c.call.run = call_run;
        c.call.scope = w->scope;
        c.fn = fn;
        c.arg = arg;
        shared_write(&c.fn, sizeof c.fn);
        result = pool_call(&w->runtime->pool, &c.call);
        return result ? result : await_suspend(w, &c.await, deadline_ns);
}

SKUA_API int skua_await_blocking(struct skua_worker *self, int (*fn)(void *arg), void *arg)
{
        return skua_await_blocking_until(self, fn, arg, 0);
}
