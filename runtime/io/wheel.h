/* SPDX-License-Identifier: MIT
 *
 * A hierarchical timing wheel: Varghese and Lauck, "Hashed and hierarchical timing wheels" (SOSP
 * 1987), scheme 7, without a tick: a bit per slot says which are occupied. Time is counted in ticks
 * of 2^14 ns from the clock's zero; a node stands in the level of the highest digit (of 6 bits) in
 * which its tick differs from the wheel's, in the slot of that digit. So all of a level lies before
 * all of the next, and adding, removing and finding the next slot take constant time; a node moves
 * down at most once per level.
 *
 * Deadlines themselves are kept to the nanosecond: a slot knows the least it has had, and a node
 * expires when its deadline has passed, not its tick. What has expired stands in the list `due`, by
 * deadline, then in the order of adding, until it is taken. All zero is an empty wheel. No locks.
 */
#ifndef IO_WHEEL_H
#define IO_WHEEL_H

#include <stdint.h>

enum { WHEEL_TICK_BITS = 14, WHEEL_BITS = 6, WHEEL_SLOTS = 1 << WHEEL_BITS };
/* Enough for every positive deadline. */
enum { WHEEL_LEVELS = (63 - WHEEL_TICK_BITS + WHEEL_BITS - 1) / WHEEL_BITS };
enum { WHEEL_DUE = WHEEL_LEVELS * WHEEL_SLOTS };

/* Embedded in what is to expire. */
struct wheel_node {
        struct wheel_node *next, **link; /* link: the pointer to this one, NULL: not in the wheel */
        uint32_t flags;                  /* the user's */
        uint16_t home;                   /* the user's: index of the wheel */
        uint16_t slot;
        int64_t deadline_ns; /* positive */
};

struct wheel_slot {
        struct wheel_node *first, **end; /* end: only while there is a first */
        int64_t least_ns;                /* no deadline is below it */
};

struct wheel {
        uint64_t tick; /* nodes of earlier ones are due, or count as of this one */
        uint32_t levels;
        uint64_t occupied[WHEEL_LEVELS];
        struct wheel_slot slots[WHEEL_DUE + 1];
};

/* An empty wheel goes on to the present. */
void wheel_forward(struct wheel *wheel, int64_t now_ns);

/* Adds a node whose deadline is set; or adds it to those that are due. */
void wheel_add(struct wheel *wheel, struct wheel_node *node);
void wheel_add_due(struct wheel *wheel, struct wheel_node *node);

void wheel_remove(struct wheel *wheel, struct wheel_node *node);

/* Makes due what has expired by now_ns: at least `most`, if there are so many. */
void wheel_turn(struct wheel *wheel, int64_t now_ns, unsigned most);

/* Makes everything due but nodes with one of these flags. */
void wheel_end(struct wheel *wheel, uint32_t except);

/* The first one that is due, no longer in the wheel; or NULL. */
struct wheel_node *wheel_take(struct wheel *wheel);

/* When there will be something to do at the earliest; 1: now, 0: never. */
int64_t wheel_next_ns(const struct wheel *wheel);

#endif
