/* SPDX-License-Identifier: MIT
 *
 * Threads that block; see blocking.h.
 */
#include "io/blocking.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "place/memory.h"

enum { IDLE_S = 10 };

int blocking_open(struct blocking *b, struct word32 *notice, uint32_t notice_bits)
{
        pthread_condattr_t attributes;
        int result = pthread_mutex_init(&b->lock, NULL);

        if (result)
                return -result;
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        result = pthread_cond_init(&b->work, &attributes);
        pthread_condattr_destroy(&attributes);
        if (result) {
                pthread_mutex_destroy(&b->lock);
                return -result;
        }
        b->queue_end = &b->queue;
        b->done_end = &b->done;
        b->event = -1;
        b->notice = notice;
        b->notice_bits = notice_bits;
        return 0;
}

/* With the lock. */
static void finish(struct blocking *b, struct blocking_call *call)
{
        uint64_t one = 1;

        call->next = NULL;
        *b->done_end = call;
        b->done_end = &call->next;
        /* [FB1] release pairs with fallback_enter(), which looks into the list afterwards; the lock
         * orders the list itself. */
        fetch_or_acq_rel_u32(b->notice, b->notice_bits);
        if (!b->asleep)
                return;
        b->asleep = false;
        /* It cannot fail: the owner reads it each time. */
        if (write(b->event, &one, sizeof one) < 0)
                return;
}

/* With the lock. The next call, or NULL: enough idled. */
static struct blocking_call *next_call(struct blocking *b)
{
        struct blocking_call *call;
        struct timespec until;
        int result = 0;

        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += IDLE_S;
        b->idle++;
        while (!b->queue && !b->stop && result != ETIMEDOUT)
                result = pthread_cond_timedwait(&b->work, &b->lock, &until);
        b->idle--;
        call = b->queue;
        if (!call)
                return NULL;
        b->queue = call->next;
        if (!b->queue)
                b->queue_end = &b->queue;
        b->queued--;
        return call;
}

static void serve(void *arg)
{
        struct blocking_thread *me = arg;
        struct blocking *b = me->blocking;
        struct blocking_call *call;

        kernel_thread_name("skua-blocking");
        pthread_mutex_lock(&b->lock);
        while ((call = next_call(b))) {
                pthread_mutex_unlock(&b->lock);
                call->run(call);
                pthread_mutex_lock(&b->lock);
                finish(b, call);
        }
        b->threads--;
        me->slot = BLOCKING_ENDED;
        pthread_mutex_unlock(&b->lock);
}

static void bury(struct blocking_thread *t)
{
        kernel_thread_join(&t->thread);
        memory_unmap(t->thread.stack, kernel_thread_bytes());
        t->slot = BLOCKING_FREE;
}

static int start_on(struct blocking_thread *t)
{
        size_t bytes = kernel_thread_bytes();
        int result;

        t->thread.stack = memory_map(bytes, -1);
        if (!t->thread.stack)
                return -ENOMEM;
        result = kernel_guard(t->thread.stack, KERNEL_GUARD_BYTES, bytes);
        if (!result)
                result = kernel_thread_start(&t->thread, serve, t);
        if (result)
                memory_unmap(t->thread.stack, bytes);
        return result;
}

/* With the lock; there are fewer threads than slots. */
static int add_thread(struct blocking *b)
{
        struct blocking_thread *t = b->slots;
        int result;

        while (t->slot == BLOCKING_RUNS)
                t++;
        if (t->slot == BLOCKING_ENDED)
                bury(t); /* it has left the lock */
        t->blocking = b;
        result = start_on(t);
        if (result)
                return result;
        t->slot = BLOCKING_RUNS;
        b->threads++;
        return 0;
}

int blocking_event(struct blocking *b)
{
        if (b->event < 0)
                b->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        return b->event < 0 ? -errno : b->event;
}

int blocking_submit(struct blocking *b, struct blocking_call *call)
{
        int result = 0;

        pthread_mutex_lock(&b->lock);
        if (b->queued >= b->idle && b->threads < BLOCKING_THREADS)
                result = add_thread(b);
        if (!result || b->threads) {
                call->next = NULL;
                *b->queue_end = call;
                b->queue_end = &call->next;
                b->queued++;
                pthread_cond_signal(&b->work);
                result = 0;
        }
        pthread_mutex_unlock(&b->lock);
        return result;
}

bool blocking_withdraw(struct blocking *b, struct blocking_call *call)
{
        struct blocking_call **link;
        bool found;

        pthread_mutex_lock(&b->lock);
        for (link = &b->queue; *link && *link != call; link = &(*link)->next)
                ;
        found = *link;
        if (found) {
                *link = call->next;
                if (!call->next)
                        b->queue_end = link;
                b->queued--;
        }
        pthread_mutex_unlock(&b->lock);
        return found;
}

struct blocking_call *blocking_take(struct blocking *b)
{
        struct blocking_call *done;

        pthread_mutex_lock(&b->lock);
        done = b->done;
        b->done = NULL;
        b->done_end = &b->done;
        pthread_mutex_unlock(&b->lock);
        return done;
}

bool blocking_sleep(struct blocking *b)
{
        bool none;

        pthread_mutex_lock(&b->lock);
        none = b->asleep = !b->done;
        pthread_mutex_unlock(&b->lock);
        return none;
}

void blocking_awake(struct blocking *b)
{
        uint64_t value;

        pthread_mutex_lock(&b->lock);
        /* Somebody has told us. */
        if (!b->asleep && read(b->event, &value, sizeof value) < 0)
                errno = 0;
        b->asleep = false;
        pthread_mutex_unlock(&b->lock);
}

static bool is_used(struct blocking *b, unsigned index)
{
        bool used;

        pthread_mutex_lock(&b->lock);
        used = b->slots[index].slot != BLOCKING_FREE;
        pthread_mutex_unlock(&b->lock);
        return used;
}

void blocking_close(struct blocking *b)
{
        pthread_mutex_lock(&b->lock);
        b->stop = true;
        pthread_cond_broadcast(&b->work);
        pthread_mutex_unlock(&b->lock);
        for (unsigned i = 0; i < BLOCKING_THREADS; i++)
                if (is_used(b, i))
                        bury(&b->slots[i]);
        if (b->event >= 0)
                close(b->event);
        pthread_cond_destroy(&b->work);
        pthread_mutex_destroy(&b->lock);
}
