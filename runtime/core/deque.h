/* SPDX-License-Identifier: MIT
 *
 * The fork deque. Outstanding forks of the running stack form a list, strictly LIFO (skua_fork.h):
 * from the stack's base to `public` they are published, from there to `top` private. Published ones
 * also stand in the ring, where thieves take them. The split follows Lace (van Dijk, van de Pol,
 * 2014) and private deques (Acar, Chargueraud, Rainey, PPoPP 2013); the ring is our own:
 *
 *   The slot decides, never the job's memory. A thief that has won an index by CAS of `top`
 *   exchanges the slot with NULL and owns what it got, NULL included. The owner takes a job back
 *   by CAS of its slot to NULL. Indexes never go back, and a slot that is not NULL is not filled
 *   again (it counts as full), so a late thief may get a younger job from its slot, but never one
 *   that somebody else has too.
 *
 * Invariants, for the owner: `public` is in the list or its base; `quiet` is 0 whenever the owner
 * knows the public part to be empty (and is not alone); outstanding counts published forks that
 * are not yet joined; base, markers and published forks have their scope in owner_.
 */
#ifndef CORE_DEQUE_H
#define CORE_DEQUE_H

#include "core/job.h"
#include "core/sizes.h"

struct worker;

enum { RING_SLOTS = SIZE_RING };

struct ring {
        _Alignas(ARCH_APART) struct word64 top; /* thieves, by CAS; the owner past dead entries */
        struct word64 bottom;                   /* owner only */
        struct word64 asked;                    /* thieves: the bottom at which one was hungry */
        _Alignas(ARCH_APART) struct wordptr slots[RING_SLOTS];
};

/* Anyone: the oldest published fork, now the caller's to run; NULL: none. Leaving the ring empty or
 * finding it so asks the owner for more. */
struct skua_job *deque_steal(struct worker *victim);

/* Anyone: is there something to steal? */
bool deque_visible(const struct worker *victim);

/* Owner: publishes what the rules of the design ask for, and wakes. */
void deque_publish(struct worker *self);

/* Owner, before its stack suspends: publishes everything. False: the ring was full of live forks,
 * and what is younger than `public` has stayed private; deque_relieve() must be called for the
 * stack until it says true. */
bool deque_detach(struct worker *self);
bool deque_relieve(struct worker *self, struct skua_job **public, struct skua_job *top);

#endif
