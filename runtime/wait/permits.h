/* SPDX-License-Identifier: MIT
 *
 * Permits: what mutexes, events and semaphores are made of. One word says how many have been taken
 * beyond how many have been given, whether anybody waits, and whether somebody works on the list of
 * those who do. So taking one that is there, and giving one for which nobody waits, is one step.
 *
 *   LOCKED  the list belongs to one caller.
 *   WAITED  it is not empty. Then, and while it is not LOCKED, no permit is there: one that is
 *           given goes to the oldest waiter, and who comes later cannot overtake it. But see:
 *   TRYING  of kinds that let others barge: a waiter has been taken off the list and woken to try
 *           for a permit that is there for all. If it comes too late it waits again, before all
 *           others, and the next permit is handed to it. Nobody else is woken meanwhile.
 *
 * Giving never waits: if somebody has the list, the permit is left in the word, and that one hands
 * it on before it gives the list up. So a signal handler may give whatever it has interrupted.
 * After its last step nothing touches the object: a waiter that has been woken may free it.
 *
 * The kinds differ in how many may be taken of one that is all zero: one of a mutex, none of the
 * others.
 */
#ifndef WAIT_PERMITS_H
#define WAIT_PERMITS_H

#include "core/worker.h"
#include "wait/await.h"
#include "wait/waitlist.h"

#define PERMITS_LOCKED ((uint64_t)1)
#define PERMITS_WAITED ((uint64_t)2)
#define PERMITS_TRYING ((uint64_t)4)
#define PERMITS_ONE    ((uint64_t)8)

struct permits {
        struct word64 word; /* [taken, less given:61, signed][TRYING][WAITED][LOCKED] */
        struct waitlist list;
};

struct permits_kind {
        int64_t most; /* taken at once, if none is given */
        bool barging; /* who is running may overtake a waiter once */
        bool binary;  /* one that is given while one is there is lost */
        bool signal;  /* given in signal handlers, too */
};

static inline bool permits_there(uint64_t word, int64_t most)
{
        return (int64_t)word < most * (int64_t)PERMITS_ONE;
}

/* Takes one if it is there, and gives up `mine` in the same step: TRYING, of who has been woken to
 * try, or 0. */
static inline bool permits_take_with(struct permits *p, int64_t most, uint64_t mine)
{
        /* relaxed: the CAS checks it; without a permit nothing has been learnt. */
        uint64_t old = load_relaxed_u64(&p->word);

        while (permits_there(old, most))
                /* [LK1] acquire pairs with whoever gave it: what was written before. A failure
                 * means that another call went ahead: lock-free. */
                if (cas_acquire_u64(&p->word, &old, (old + PERMITS_ONE) & ~mine))
                        return true;
        return false;
}

static inline bool permits_take(struct permits *p, int64_t most)
{
        return permits_take_with(p, most, 0);
}

/* The same by one step, from what the word mostly is then. False: perhaps it is there. */
static inline bool permits_step(struct permits *p, uint64_t from, uint64_t to)
{
        /* [LK1] acq_rel pairs with whoever gave it, or takes it: what was written before. */
        return __builtin_expect(cas_acq_rel_u64(&p->word, &from, to), 1);
}

/* Gives one: to the oldest waiter, if there is one. */
void permits_give(struct permits *p, const struct permits_kind *kind);

/* A job takes one or waits for it. Errors of awaits. */
int permits_await(struct worker *w, struct permits *p, const struct permits_kind *kind,
                  int64_t until_ns);

/* A thread takes one or waits for it; for ever if timeout_ns is negative. 0, -ETIMEDOUT, -EDEADLK,
 * -EOWNERDEAD. */
int permits_wait(struct permits *p, const struct permits_kind *kind, int64_t timeout_ns);

#endif
