/* SPDX-License-Identifier: MIT
 *
 * Parking and waking. One global line says how many workers are idle and how many search; one bit
 * per worker says that it is idle; one word per worker is what it sleeps on.
 *
 * Invariant: whenever a job is visible, somebody runs towards it: a worker that searches, one that
 * has been woken, or one that has still to take its second look.
 *
 *   park     [1] count idle, leave searching (RMW)  [2] set the own bit (RMW)  [3] full fence
 *            [4] second look at everything  [5] sleep until NOTIFIED
 *   publish  [1] make the job visible  [2] full fence or RMW  [3] read the summary: if nobody
 *            searches and somebody is idle, wake one
 *   Whoever clears a worker's bit owns its wake: it counts the worker as searching, then notifies.
 *   A parker whose second look finds something clears its own bit; if it is gone already, it has
 *   been counted by the waker, and waits for NOTIFIED and consumes it.
 *   The last searcher that finds work looks whether more is visible, and wakes one more.
 *
 * Fences: [PK1] publisher, [PK2] parker. A woken worker needs none before it searches: whoever
 * still counted on nobody before it was counted is ordered before its next [PK2].
 */
#ifndef CORE_PARK_H
#define CORE_PARK_H

#include "arch.h"

struct runtime;
struct worker;

/* A worker's word. PARKED: asleep on the word, by itself or through its ring; PARKED_EVENT: in its
 * ring, woken by the gate's event. */
enum { GATE_RUNNING = 0, GATE_PARKED = 1, GATE_NOTIFIED = 2, GATE_PARKED_EVENT = 3 };

/* What others want of a worker. */
enum {
        GATE_REQUEST_STOP = 1u << 0,    /* the runtime's phase has changed */
        GATE_REQUEST_CANCEL = 1u << 1,  /* operations of its ring are to be cancelled */
        GATE_REQUEST_BUFFERS = 1u << 2, /* a set of its ring has buffers again */
        GATE_REQUEST_ASKED = 1u << 3,   /* awaits at its gate are to look again */
        GATE_REQUEST_AWAITS = 1u << 4   /* all of its awaits are */
};

/* What other threads may touch of a worker, also when its runtime has just been stopped: it lies
 * in memory that is never unmapped, see slot.c. */
struct gate {
        _Alignas(ARCH_APART) struct word32 state;
        struct wordptr stacks; /* suspended here and to be resumed; pushed by anyone, taken whole */
        struct wordptr jobs;   /* for this worker alone; likewise */
        struct wordptr awaits; /* suspended here, asked to look again; pushed by anyone */
        struct word32 requests; /* GATE_REQUEST_* */
        struct word32 event;    /* kernel_event_open(), by the first ring that needs it; stays */
};

/* The summary word: an epoch that counts departures from the idle set, idle, searching. */
#define PARK_SEARCH_ONE ((uint64_t)1)
#define PARK_IDLE_ONE   ((uint64_t)1 << 20)
#define PARK_EPOCH_ONE  ((uint64_t)1 << 40)

static inline unsigned park_searching_of(uint64_t summary)
{
        return (unsigned)(summary & 0xfffff);
}

static inline unsigned park_idle_of(uint64_t summary)
{
        return (unsigned)(summary >> 20 & 0xfffff);
}

/* Is the worker in the idle set? A hint. */
bool park_is_idle(const struct runtime *rt, unsigned index);

bool park_hungry(const struct runtime *rt); /* is anybody idle or searching? relaxed */

/* Wakes one worker, the nearest to the node, if one is idle. See park_publish() in runtime.h. */
void park_wake_one(struct runtime *rt, unsigned node_index);

/* Leaves a request at a worker's gate and wakes it; any thread. Async-signal-safe. */
void gate_request(struct runtime *rt, unsigned index, uint32_t request);

/* Something that only this worker may run has been published, before a full fence: wakes it if it
 * is idle, whoever searches. */
void park_wake_worker(struct runtime *rt, unsigned index);

/* The worker starts and stops to search. park_found() wakes one more if there is more. */
void park_search(struct worker *w);
void park_found(struct worker *w);

/* From searching to sleep and back to searching; returns at once if something is visible. */
void park(struct worker *w);

#endif
