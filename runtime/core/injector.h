/* SPDX-License-Identifier: MIT
 *
 * The injector: jobs from outside, one queue per node and priority. An intrusive multi-producer
 * queue after Vyukov (1024cores, 2010): a push is one exchange of the tail and a link. Consumers
 * take turns and move a batch.
 *
 * The count word is the door: [generation:28][CLOSED][WAITED][count:34]. A submission adds itself
 * to the count first; if the door is closed, the runtime another one or the bound exceeded it takes
 * that back and has touched nothing else. So a bound is never exceeded and a drain sees jobs that
 * are accepted and not yet linked. A producer preempted between exchange and link delays those
 * behind it; nothing is lost.
 */
#ifndef CORE_INJECTOR_H
#define CORE_INJECTOR_H

#include "core/job.h"
#include "core/queue.h"

struct runtime;
struct runtime_node;

enum { INJECTOR_HIGH, INJECTOR_NORMAL, INJECTOR_LOW, INJECTOR_PRIORITIES };

#define DOOR_COUNT_MASK     (((uint64_t)1 << 34) - 1)
#define DOOR_WAITED         ((uint64_t)1 << 34)
#define DOOR_CLOSED         ((uint64_t)1 << 35)
#define DOOR_GENERATION_ONE ((uint64_t)1 << 36)

#define DOOR_INSIDE UINT64_MAX

/* Sets CLOSED, if the door is still of this generation; *found: what it was. */
bool door_close(struct word64 *door, uint64_t generation, uint64_t *found);

struct injector {
        /* producers */
        _Alignas(ARCH_APART) struct word64 door;
        struct wordptr tail; /* the youngest job, or the stub */
        struct word64 limit; /* written at start */
        struct runtime *rt;  /* whose memory this is, for ever */
        /* consumers, the one whose turn it is */
        _Alignas(ARCH_APART) struct word32 turn; /* 1: taken */
        struct skua_job *head;
        struct word64 taken; /* ever, for the figures */
        struct skua_job stub;
        /* submitters that wait for room: threads on `room`, stacks in the list */
        _Alignas(ARCH_APART) struct word32 room;
        struct word32 waiting_lock;
        struct waiter *waiting;
};

/* Once for the life of the memory. */
void injector_init(struct injector *injector, struct runtime *rt);

/* A runtime moves in and opens the door; it has gone, and its handle is valid no more. */
void injector_open(struct injector *injector, size_t limit);
void injector_retire(struct injector *injector);

/* Places asked for in vain, or only in part: gives back what is too much. */
size_t injector_refuse(struct injector *injector, size_t count, uint64_t generation, uint64_t door,
                       int *error);

/* Asks for `count` places, from outside. Returns how many were given, a prefix; 0: *error says why
 * (-ESHUTDOWN, -EAGAIN). Any thread. */
static inline size_t injector_enter(struct injector *injector, size_t count, uint64_t generation,
                                    int *error)
{
        /* [IJ1] acq_rel pairs with close and open: behind the door's other changes or before. */
        uint64_t door = fetch_add_acq_rel_u64(&injector->door, count);

        /* One comparison for generation and CLOSED. relaxed: constant in a generation. */
        if ((door & ~(DOOR_COUNT_MASK | DOOR_WAITED)) == generation * DOOR_GENERATION_ONE &&
            (door & DOOR_COUNT_MASK) + count <= load_relaxed_u64(&injector->limit))
                return count;
        return injector_refuse(injector, count, generation, door, error);
}

/* From a worker: no door and no bound. */
static inline void injector_enter_inside(struct injector *injector, size_t count)
{
        /* [IJ1] see injector_enter(). */
        fetch_add_acq_rel_u64(&injector->door, count);
}

/* Links a chain of as many jobs as were given places. */
static inline void injector_link(struct injector *injector, struct skua_job *first,
                                 struct skua_job *last)
{
        struct skua_job *before;

        /* relaxed: published by the exchange. */
        store_relaxed_ptr(job_next(last), NULL);
        /* [IJ2] acq_rel pairs with itself in the next producer and with the acquire of next_ in
         * pop(): the job before its place in the queue. */
        before = exchange_acq_rel_ptr(&injector->tail, last);
        /* [IJ2] release pairs with the acquire in pop(). */
        store_release_ptr(job_next(before), first);
}

/* Moves up to `most` jobs, oldest first, to the caller's own queue, which has room for them. A
 * worker; 0: none, or another's turn. */
size_t injector_take(struct injector *injector, struct queue *to, size_t most);

/* Before the door of a full injector. A thread: look, enter again, then sleep if still full. A
 * stack: registers; true: suspend now and enter again, false: enter again. */
uint32_t injector_look(struct injector *injector);
void injector_sleep(struct injector *injector, uint32_t look);
bool injector_register(struct injector *injector, struct waiter *waiter);

/* Takes it back. False: somebody has taken it, and wakes it. */
bool injector_unregister(struct injector *injector, struct waiter *waiter);

/* Shuts the door of this generation and wakes the threads that wait before it. Async-signal-safe.
 */
void injector_close(struct injector *injector, uint64_t generation);

/* Jobs accepted and not yet taken. */
static inline uint64_t injector_count(const struct injector *injector)
{
        /* relaxed: a hint, or behind a full fence ([PK2], [ST1]). */
        return load_relaxed_u64(&injector->door) & DOOR_COUNT_MASK;
}

/* Any in one of a node's injectors? */
static inline bool injectors_visible(const struct injector *injectors)
{
        return injector_count(&injectors[INJECTOR_NORMAL]) ||
               injector_count(&injectors[INJECTOR_HIGH]) ||
               injector_count(&injectors[INJECTOR_LOW]);
}

#endif
