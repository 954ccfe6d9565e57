/* SPDX-License-Identifier: MIT
 *
 * Calls that block; see offload.h.
 */
#include "io/offload.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

int offload_open(struct offload *o, struct pool *pool, struct word32 *notice, uint32_t notice_bits)
{
        int result = pthread_mutex_init(&o->lock, NULL);

        if (result)
                return -result;
        o->pool = pool;
        o->queue_end = &o->queue;
        o->done_end = &o->done;
        o->event = -1;
        o->notice = notice;
        o->notice_bits = notice_bits;
        return 0;
}

/* With the lock. */
static void finish(struct offload *o, struct offload_call *call)
{
        uint64_t one = 1;

        call->next = NULL;
        *o->done_end = call;
        o->done_end = &call->next;
        /* [FB1] release pairs with fallback_enter(), which looks into the list afterwards; the lock
         * orders the list itself. */
        fetch_or_acq_rel_u32(o->notice, o->notice_bits);
        if (!o->asleep)
                return;
        o->asleep = false;
        /* It cannot fail: the owner reads it each time. */
        if (write(o->event, &one, sizeof one) < 0)
                return;
}

/* With the lock: the oldest call, or NULL. */
static struct offload_call *next_call(struct offload *o)
{
        struct offload_call *call = o->queue;

        if (call)
                o->queue = call->next;
        if (!o->queue)
                o->queue_end = &o->queue;
        return call;
}

/* On a thread of the pool: one call after the other, unless others wait for the thread too. */
static void serve(struct pool_call *pooled)
{
        struct offload_runner *r = skua_container(pooled, struct offload_runner, call);
        struct offload *o = r->offload;
        struct offload_call *call;

        pthread_mutex_lock(&o->lock);
        while ((call = next_call(o))) { /* bound: the calls there are */
                pthread_mutex_unlock(&o->lock);
                call->run(call);
                pthread_mutex_lock(&o->lock);
                finish(o, call);
                /* Behind the others; it has a thread, ours. */
                if (o->queue && pool_wanted(o->pool) && !pool_call(o->pool, &r->call)) {
                        pthread_mutex_unlock(&o->lock);
                        return;
                }
        }
        r->busy = false;
        o->busy--;
        pthread_mutex_unlock(&o->lock);
}

/* With the lock: there is a runner who will come to what is queued. */
static int add_runner(struct offload *o)
{
        struct offload_runner *r = o->runners;
        int result;

        if (o->busy == OFFLOAD_RUNNERS)
                return 0;
        if (!o->pool)
                return -EAGAIN;
        while (r->busy) /* bound: one is not */
                r++;
        r->offload = o;
        r->call.run = serve;
        result = pool_call(o->pool, &r->call);
        if (result)
                return o->busy ? 0 : result;
        r->busy = true;
        o->busy++;
        return 0;
}

int offload_event(struct offload *o)
{
        if (o->event < 0)
                o->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        return o->event < 0 ? -errno : o->event;
}

int offload_submit(struct offload *o, struct offload_call *call)
{
        int result;

        pthread_mutex_lock(&o->lock);
        result = add_runner(o);
        if (!result) {
                call->next = NULL;
                *o->queue_end = call;
                o->queue_end = &call->next;
        }
        pthread_mutex_unlock(&o->lock);
        return result;
}

bool offload_withdraw(struct offload *o, struct offload_call *call)
{
        struct offload_call **link;
        bool found;

        pthread_mutex_lock(&o->lock);
        for (link = &o->queue; *link && *link != call; link = &(*link)->next)
                ;
        found = *link;
        if (found) {
                *link = call->next;
                if (!call->next)
                        o->queue_end = link;
        }
        pthread_mutex_unlock(&o->lock);
        return found;
}

struct offload_call *offload_take(struct offload *o)
{
        struct offload_call *done;

        pthread_mutex_lock(&o->lock);
        done = o->done;
        o->done = NULL;
        o->done_end = &o->done;
        pthread_mutex_unlock(&o->lock);
        return done;
}

bool offload_sleep(struct offload *o)
{
        bool none;

        pthread_mutex_lock(&o->lock);
        none = o->asleep = !o->done;
        pthread_mutex_unlock(&o->lock);
        return none;
}

void offload_awake(struct offload *o)
{
        uint64_t value;

        pthread_mutex_lock(&o->lock);
        /* Somebody has told us. */
        if (!o->asleep && read(o->event, &value, sizeof value) < 0)
                errno = 0;
        o->asleep = false;
        pthread_mutex_unlock(&o->lock);
}

void offload_close(struct offload *o)
{
        if (o->event >= 0)
                close(o->event);
        pthread_mutex_destroy(&o->lock);
}
