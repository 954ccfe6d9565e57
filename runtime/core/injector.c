/* SPDX-License-Identifier: MIT
 *
 * The injector; see injector.h for the rules.
 */
#include "core/injector.h"

#include <errno.h>
#include <limits.h>

#include "core/runtime.h"

void injector_init(struct injector *injector, struct runtime *rt)
{
        injector->rt = rt;
        injector->head = &injector->stub;
        /* relaxed: nobody else knows the memory yet. */
        store_relaxed_ptr(&injector->tail, &injector->stub);
        store_relaxed_u64(&injector->door, DOOR_CLOSED);
}

void injector_open(struct injector *injector, size_t limit)
{
        /* relaxed: the handle that callers need is published later, by skua_start's return. */
        store_relaxed_u64(&injector->limit, limit);
        store_relaxed_u64(&injector->taken, 0);
        /* [IJ1] acq_rel pairs with the RMWs in injector_enter(). No store: a submitter of an
         * earlier generation may be about to undo its count. */
        fetch_and_acq_rel_u64(&injector->door, ~(DOOR_CLOSED | DOOR_WAITED));
}

void injector_retire(struct injector *injector)
{
        /* [IJ1] pairs with the RMWs in injector_enter(): old handles are refused from now on. */
        fetch_add_acq_rel_u64(&injector->door, DOOR_GENERATION_ONE);
}

static void list_lock(struct injector *injector)
{
        uint32_t free = 0;

        /* [IJ5] acquire pairs with the release in list_unlock(). Bound: the holder's few steps; a
         * preempted holder is given the CPU. */
        while (!cas_acquire_u32(&injector->waiting_lock, &free, 1)) {
                free = 0;
                kernel_yield();
        }
}

static void list_unlock(struct injector *injector)
{
        shared_write(&injector->waiting, sizeof injector->waiting);
        /* [IJ5] pairs with the CAS in list_lock(). */
        store_release_u32(&injector->waiting_lock, 0);
}

static void wake_threads(struct injector *injector)
{
        /* [IJ4] pairs with the load in injector_look(): a thread that looked before sleeps on a
         * value that is no longer there. */
        fetch_add_acq_rel_u32(&injector->room, 1);
        kernel_futex_wake(&injector->room, INT_MAX);
}

/* Room has come: everybody who waits tries again. */
static void wake_waiting(struct injector *injector)
{
        struct waiter *waiting, *next;

        /* [IJ3] pairs with the fetch_or of a waiter: one that sets it after this asks again. */
        fetch_and_acq_rel_u64(&injector->door, ~DOOR_WAITED);
        wake_threads(injector);
        list_lock(injector);
        waiting = injector->waiting;
        injector->waiting = NULL;
        list_unlock(injector);
        for (; waiting; waiting = next) {
                shared_read(&waiting->next, sizeof waiting->next);
                next = waiting->next;
                waiter_wake(waiting);
        }
}

/* `count` places are free again: taken, or asked for in vain. */
static void leave(struct injector *injector, size_t count)
{
        struct runtime *rt = injector->rt;
        /* [IJ1] pairs with the other RMWs of the door. [PK7] release: what was taken stands in the
         * taker's queue already. */
        uint64_t door = fetch_add_acq_rel_u64(&injector->door, -(uint64_t)count);

        /* Only who leaves room wakes: else those who wait would wake each other, and themselves, by
         * asking in vain. relaxed: constant in a generation. */
        if (door & DOOR_WAITED &&
            (door & DOOR_COUNT_MASK) - count < load_relaxed_u64(&injector->limit))
                wake_waiting(injector);
        if (door & DOOR_CLOSED && (door & DOOR_COUNT_MASK) == count)
                runtime_maybe_drained(rt);
}

size_t injector_refuse(struct injector *injector, size_t count, uint64_t generation, uint64_t door,
                       int *error)
{
        uint64_t held = door & DOOR_COUNT_MASK;
        /* relaxed: constant in a generation. */
        uint64_t limit = load_relaxed_u64(&injector->limit);
        size_t given = count;

        if (generation != DOOR_INSIDE &&
            (door / DOOR_GENERATION_ONE != generation || door & DOOR_CLOSED)) {
                *error = -ESHUTDOWN;
                given = 0;
        } else if (held + count > limit) {
                *error = -EAGAIN;
                given = held < limit ? limit - held : 0;
        }
        if (given < count)
                leave(injector, count - given);
        return given;
}

/* The oldest job, or NULL: empty, or its successor is not linked yet. The caller has the turn. */
static struct skua_job *pop(struct injector *injector)
{
        struct skua_job *head = injector->head;
        /* [IJ2] pairs with the link: the successor is written before it is linked. */
        struct skua_job *next = load_acquire_ptr(job_next(head));

        if (head == &injector->stub) {
                if (!next)
                        return NULL;
                injector->head = head = next;
                /* [IJ2] as above. */
                next = load_acquire_ptr(job_next(head));
        }
        if (next) {
                injector->head = next;
                return head;
        }
        /* relaxed: only says whether a successor is on its way. */
        if (load_relaxed_ptr(&injector->tail) != head)
                return NULL;
        /* The last one: the stub takes its place as the queue's end. */
        injector_link(injector, &injector->stub, &injector->stub);
        /* [IJ2] as above. */
        next = load_acquire_ptr(job_next(head));
        if (!next)
                return NULL;
        injector->head = next;
        return head;
}

size_t injector_take(struct injector *injector, struct queue *to, size_t most)
{
        uint32_t free = 0;
        size_t count = 0;
        struct skua_job *job;

        /* relaxed: the turn's CAS orders; this only keeps the line shared. */
        if (!injector_count(injector) || load_relaxed_u32(&injector->turn))
                return 0;
        /* [IJ6] acquire pairs with the release below: the consumer's side. */
        if (!cas_acquire_u32(&injector->turn, &free, 1))
                return 0;
        shared_write(&injector->head, sizeof injector->head);
        while (count < most && (job = pop(injector)))
                queue_lay(to, count++, job);
        /* relaxed: for the figures; one writer at a time. */
        store_relaxed_u64(&injector->taken, load_relaxed_u64(&injector->taken) + count);
        /* [IJ6] pairs with the CAS above. */
        store_release_u32(&injector->turn, 0);
        if (!count)
                return 0;
        queue_lay_done(to, count);
        leave(injector, count);
        return count;
}

uint32_t injector_look(struct injector *injector)
{
        /* [IJ4] pairs with the RMW in wake_threads(). */
        uint32_t look = load_acquire_u32(&injector->room);

        /* [IJ3] pairs with leave(): either it sees that we wait, or our next enter sees the room
         * that it left; both are RMWs of the door. */
        fetch_or_acq_rel_u64(&injector->door, DOOR_WAITED);
        return look;
}

void injector_sleep(struct injector *injector, uint32_t look)
{
        kernel_futex_wait(&injector->room, look, 0);
}

bool injector_unregister(struct injector *injector, struct waiter *waiter)
{
        struct waiter **link;
        bool listed;

        list_lock(injector);
        for (link = &injector->waiting; *link && *link != waiter; link = &(*link)->next)
                ;
        listed = *link == waiter;
        if (listed)
                *link = waiter->next;
        list_unlock(injector);
        return listed;
}

bool injector_register(struct injector *injector, struct waiter *waiter)
{
        list_lock(injector);
        waiter->next = injector->waiting;
        shared_write(&waiter->next, sizeof waiter->next);
        injector->waiting = waiter;
        list_unlock(injector);
        /* [IJ3] as in injector_look(); and the count in what was found is the second look. */
        uint64_t door = fetch_or_acq_rel_u64(&injector->door, DOOR_WAITED);

        /* relaxed: constant in a generation. */
        if ((door & DOOR_COUNT_MASK) >= load_relaxed_u64(&injector->limit))
                return true;
        /* Else somebody has taken it and will wake it: wait for that. */
        return !injector_unregister(injector, waiter);
}

bool door_close(struct word64 *door, uint64_t generation, uint64_t *found)
{
        /* relaxed: the CAS checks it. */
        uint64_t old = load_relaxed_u64(door);

        do {
                if (old / DOOR_GENERATION_ONE != generation)
                        return false;
                /* [IJ1] pairs with the RMWs of those who enter. Bound: lock-free. */
        } while (!cas_acq_rel_u64(door, &old, old | DOOR_CLOSED));
        *found = old;
        return true;
}

void injector_close(struct injector *injector, uint64_t generation)
{
        uint64_t found;

        /* A thread that comes to wait after this sees the closed door when it asks again. */
        if (door_close(&injector->door, generation, &found) && found & DOOR_WAITED)
                wake_threads(injector);
}
