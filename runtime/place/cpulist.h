/* SPDX-License-Identifier: MIT
 *
 * A set of CPU or node numbers, and the two forms in which the kernel writes one: "0-3,8" and
 * "00ff,0000000f". Numbers of CPULIST_MAX and above do not exist here: no kernel can be built for
 * more. Called by the readers of this folder.
 */
#ifndef PLACE_CPULIST_H
#define PLACE_CPULIST_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>

enum { CPULIST_MAX = 8192, CPULIST_WORD_BITS = 8 * sizeof(unsigned long) };

/* The layout is that of cpu_set_t: cpulist_from_set() copies. */
struct cpulist {
        unsigned long words[CPULIST_MAX / CPULIST_WORD_BITS];
};

/* Read the first line of `text`. False, and an empty set, when it is not in that form. An empty
 * line is an empty set in the first form and an error in the second. */
bool cpulist_parse(struct cpulist *out, const char *text);
bool cpulist_parse_mask(struct cpulist *out, const char *text);

void cpulist_from_set(struct cpulist *out, const cpu_set_t *set, size_t set_bytes);
void cpulist_add(struct cpulist *list, unsigned number);
void cpulist_remove(struct cpulist *list, unsigned number);
void cpulist_intersect(struct cpulist *list, const struct cpulist *other);
bool cpulist_has(const struct cpulist *list, unsigned number);
unsigned cpulist_count(const struct cpulist *list);

/* The lowest member that is `from` or above; CPULIST_MAX: none. */
unsigned cpulist_next(const struct cpulist *list, unsigned from);

#define cpulist_for_each(number, list)                                        \
        for (unsigned number = cpulist_next((list), 0); number < CPULIST_MAX; \
             number = cpulist_next((list), number + 1))

#endif
