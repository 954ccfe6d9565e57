/* SPDX-License-Identifier: MIT
 *
 * Groups: one word holds the first error, the flags and the count, [error:16][flags:10][count:38],
 * so that every change is one step. See skua.h for what users may do.
 *
 *   LOCKED     somebody works on the lists of waiters. The last release takes the lock in the very
 *              step in which the count becomes zero, if there is anybody to tell.
 *   WAITED     waiters are listed. AFTER: a job is to be submitted when the group is empty.
 *   CANCELLED  by skua_group_cancel.
 *   DELIVERED  the result stays readable but belongs to the past: the next hold clears it.
 *   TIMED      deadline_ns_ says when it is cancelled, which whoever asks finds out by the clock.
 *              IN_TIME: it became empty before that, and has been since.
 *   AWAITED    awaits of its jobs are listed.
 *   ASK        whoever has the lock is to ask them to look again before it gives the lock up, so
 *              that cancelling never waits for it.
 *   BELOW      jobs of groups below it have awaited since it was empty last.
 */
#ifndef CORE_GROUP_H
#define CORE_GROUP_H

#include "core/job.h"

struct await;

#define GROUP_COUNT_MASK  (((uint64_t)1 << 38) - 1)
#define GROUP_LOCKED      ((uint64_t)1 << 38)
#define GROUP_WAITED      ((uint64_t)1 << 39)
#define GROUP_AFTER       ((uint64_t)1 << 40)
#define GROUP_CANCELLED   ((uint64_t)1 << 41)
#define GROUP_DELIVERED   ((uint64_t)1 << 42)
#define GROUP_TIMED       ((uint64_t)1 << 43)
#define GROUP_IN_TIME     ((uint64_t)1 << 44)
#define GROUP_AWAITED     ((uint64_t)1 << 45)
#define GROUP_ASK         ((uint64_t)1 << 46)
#define GROUP_BELOW       ((uint64_t)1 << 47)
#define GROUP_ERROR_SHIFT 48

void group_hold(struct skua_group *group, uint64_t count);

/* The caller's last touch of the group. */
void group_release(struct skua_group *group, uint64_t count, int error);

/* Blocks the thread, for ever if need be, also on a worker of another runtime. For who knows that
 * the group's jobs have a living runtime. */
int group_wait_any(struct skua_group *group);

/* group_cancel.c: lists an await of a running job of the group, which is then asked to look when
 * the group, or one above it, is cancelled or gets a deadline; takes it off again, after which
 * nobody asks it for the group any more. */
void group_await(struct skua_group *group, struct await *await);
void group_unawait(struct skua_group *group, struct await *await);

/* The earliest deadline of the group and those above it; 0: none. NULL: no group. */
int64_t group_deadline_ns(const struct skua_group *group);

/* Has the group's time passed before it has become empty? By its word. */
bool group_late(const struct skua_group *group, uint64_t word);

/* The lock of the lists: what the word was; to set flags as it is given up. */
uint64_t group_lock(struct skua_group *group);
void group_unlock(struct skua_group *group, uint64_t set);

/* Of a group with jobs, or whose result has not been taken: what its word is once it has. */
static inline uint64_t group_fresh(uint64_t word)
{
        return word & (GROUP_COUNT_MASK | GROUP_LOCKED | GROUP_WAITED | GROUP_AFTER |
                       GROUP_AWAITED | GROUP_ASK);
}

static inline struct word64 *group_word(const struct skua_group *group)
{
        return (struct word64 *)(void *)(uintptr_t)&group->word_;
}

#endif
