/* SPDX-License-Identifier: MIT
 *
 * In debug builds: who waits, joins or loops must not hold a pthread mutex, as the next job of the
 * thread may want it.
 */
#ifndef WAIT_HELD_H
#define WAIT_HELD_H

struct worker;

#ifdef SKUA_DEBUG
/* Aborts with a report if the running job holds one that it has taken since it was entered. */
void held_check(struct worker *w, const char *what);

/* How many the thread holds now; 0 where they are not counted. */
unsigned held_count(void);
#else
#define held_check(w, what) ((void)0)
#endif

#endif
