/* SPDX-License-Identifier: MIT
 *
 * Groups: one word holds the first error, the flags and the count, [error:16][flags:8][count:40],
 * so that every change is one step. See skua.h for what users may do.
 *
 *   LOCKED     somebody works on the lists of waiters. The last release takes the lock in the very
 *              step in which the count becomes zero, if there is anybody to tell.
 *   WAITED     waiters are listed. AFTER: a job is to be submitted when the group is empty.
 *   CANCELLED  by skua_group_cancel.
 *   DELIVERED  the result stays readable but belongs to the past: the next hold clears it.
 *   TIMED      deadline_ns_ says when it is cancelled, which whoever asks finds out by the clock.
 *              IN_TIME: it became empty before that, and has been since.
 */
#ifndef CORE_GROUP_H
#define CORE_GROUP_H

#include "core/job.h"

#define GROUP_COUNT_MASK  (((uint64_t)1 << 40) - 1)
#define GROUP_LOCKED      ((uint64_t)1 << 40)
#define GROUP_WAITED      ((uint64_t)1 << 41)
#define GROUP_AFTER       ((uint64_t)1 << 42)
#define GROUP_CANCELLED   ((uint64_t)1 << 43)
#define GROUP_DELIVERED   ((uint64_t)1 << 44)
#define GROUP_TIMED       ((uint64_t)1 << 45)
#define GROUP_IN_TIME     ((uint64_t)1 << 46)
#define GROUP_ERROR_SHIFT 48

void group_hold(struct skua_group *group, uint64_t count);

/* The caller's last touch of the group. */
void group_release(struct skua_group *group, uint64_t count, int error);

/* Blocks the thread, for ever if need be, also on a worker of another runtime. For who knows that
 * the group's jobs have a living runtime. */
int group_wait_any(struct skua_group *group);

#endif
