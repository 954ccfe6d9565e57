/* SPDX-License-Identifier: MIT
 *
 * Those who wait for an object, jobs and threads alike, first come, first served. A list belongs to
 * whoever has its object's lock; all zero is empty.
 */
#ifndef WAIT_WAITLIST_H
#define WAIT_WAITLIST_H

#include "core/job.h"

/* One of them; lies beside its waiter on the frame that waits. */
struct listed {
        struct listed *next, **link; /* link: the pointer to this one, NULL: not listed */
        struct waiter *waiter;
};

struct waitlist {
        struct listed *first, **end; /* end: only while there is a first */
};

static inline void waitlist_add(struct waitlist *list, struct listed *listed)
{
        struct listed **end = list->first ? list->end : &list->first;

        listed->next = NULL;
        listed->link = end;
        *end = listed;
        list->end = &listed->next;
        shared_write(list, sizeof *list);
        shared_write(listed, sizeof *listed);
}

/* Before all others: it has been here before. */
static inline void waitlist_add_first(struct waitlist *list, struct listed *listed)
{
        listed->next = list->first;
        listed->link = &list->first;
        if (listed->next)
                listed->next->link = &listed->next;
        else
                list->end = &listed->next;
        list->first = listed;
        shared_write(list, sizeof *list);
        shared_write(listed, sizeof *listed);
}

static inline void waitlist_remove(struct waitlist *list, struct listed *listed)
{
        *listed->link = listed->next;
        if (listed->next)
                listed->next->link = listed->link;
        else
                list->end = listed->link;
        listed->link = NULL;
        shared_write(list, sizeof *list);
        shared_write(listed, sizeof *listed);
}

/* Waiters that have got what they waited for, to be woken when the object's lock has been given
 * up; through waiter->next. */
struct wakelist {
        struct waiter *first, **end;
};

static inline void wakelist_add(struct wakelist *list, struct waiter *waiter, int result)
{
        waiter->result = result;
        waiter->next = NULL;
        shared_write(&waiter->next, sizeof waiter->next);
        shared_write(&waiter->result, sizeof waiter->result);
        *(list->first ? list->end : &list->first) = waiter;
        list->end = &waiter->next;
}

/* Wakes them in order; `signal`: maybe in a signal handler. */
void wakelist_wake(struct wakelist *list, bool signal);

/* For the calls of threads: why the caller must not block, -EDEADLK (a worker) or -EOWNERDEAD, or
 * 0. */
int thread_refused(void);

/* One more round of waiting for the holder of an object's lock, who has few steps to go. */
void lock_pause(unsigned *rounds);

#endif
