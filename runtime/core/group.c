/* SPDX-License-Identifier: MIT
 *
 * Groups; see group.h for the word. A count that leaves or reaches zero also changes the parent: a
 * group that is not empty holds its parent once, always from before its own count is visible until
 * after its own last step.
 */
#include "core/group.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/runtime.h"
#include "core/worker.h"
#include "wait/await.h"
#include "wait/suspend.h"
#include "wait/waitlist.h"

/* How long an outside waiter looks before it sleeps. */
#define GROUP_SPIN_NS 2000

static_assert(sizeof(struct skua_group) == 80, "part of the binary interface");

static uint64_t count_of(uint64_t word)
{
        return word & GROUP_COUNT_MASK;
}

static int error_of(uint64_t word)
{
        return (int16_t)(word >> GROUP_ERROR_SHIFT);
}

static uint64_t with_error(uint64_t word, int error)
{
        if (!error || word >> GROUP_ERROR_SHIFT)
                return word;
        if (error != (int16_t)error)
                error = -EINVAL;
        return word | (uint64_t)(uint16_t)error << GROUP_ERROR_SHIFT;
}

static int result_of(const struct skua_group *group, uint64_t word)
{
        return word & GROUP_CANCELLED || group_late(group, word) ? -ECANCELED : error_of(word);
}

SKUA_API void skua_group_init(struct skua_group *g)
{
        memset(g, 0, sizeof *g);
}

SKUA_API void skua_group_init_under(struct skua_group *g, struct skua_group *parent)
{
        skua_group_init(g);
        g->parent_ = parent;
}

/* Which process made the group's present count: in the child of a fork none of it will ever end. */
static struct word32 *group_process(const struct skua_group *group)
{
        return (struct word32 *)(void *)(uintptr_t)&group->process_;
}

static bool orphaned(const struct skua_group *group)
{
        /* relaxed: only a process with one thread, just forked off, finds a difference. */
        return load_relaxed_u32(group_process(group)) != runtime_process();
}

void group_hold(struct skua_group *group, uint64_t count)
{
        struct word64 *word = group_word(group);
        /* relaxed: the CAS checks it. */
        uint64_t old = load_relaxed_u64(word), new;
        bool held_parent = false;

        if (!count)
                return;
        do {
                new = (old & GROUP_DELIVERED ? group_fresh(old) : old) + count;
                if (!count_of(old)) {
                        new &= ~GROUP_IN_TIME;
                        /* relaxed: all who make it not empty write the same. */
                        store_relaxed_u32(group_process(group), runtime_process());
                }
                if (!count_of(old) && group->parent_ && !held_parent) {
                        group_hold(group->parent_, 1);
                        held_parent = true;
                }
                /* [GR1] acq_rel pairs with the release that made it empty. A failure means that
                 * another call went ahead: lock-free. */
        } while (!cas_acq_rel_u64(word, &old, new));
        if (held_parent && count_of(old))
                group_release(group->parent_, 1, 0);
}

/* A mark: the lists belong to the caller, who has LOCKED. */
static void list_changed(struct skua_group *group)
{
        (void)group;
        shared_write(&group->waiters_, sizeof group->waiters_);
        shared_write(&group->after_, sizeof group->after_);
}

/* Tells everybody that the group has become empty. The caller has LOCKED. */
static void finish(struct skua_group *group, int result)
{
        struct waiter *waiter = group->waiters_, *next;
        struct skua_job *after = group->after_;
        struct skua *rt = group->after_rt_;

        list_changed(group);
        group->waiters_ = NULL;
        group->after_ = NULL;
        /* [GR2] release pairs with group_lock(): the lists. The last touch of the group. */
        fetch_and_acq_rel_u64(group_word(group), ~(GROUP_LOCKED | GROUP_ASK));
        for (; waiter; waiter = next) {
                shared_read(&waiter->next, sizeof waiter->next);
                next = waiter->next;
                waiter->result = result;
                shared_write(&waiter->result, sizeof waiter->result);
                waiter_wake(waiter);
        }
        if (after)
                runtime_push_accepted(runtime_of(rt), after);
}

void group_release(struct skua_group *group, uint64_t count, int error)
{
        struct word64 *word = group_word(group);
        struct skua_group *parent = group->parent_;
        /* relaxed: the CAS checks it. */
        uint64_t old = load_relaxed_u64(word), new;
        int result = 0;

        shared_read(&group->parent_, sizeof group->parent_);
        if (!count)
                return;
        do {
                bool last = count_of(old) == count;

                while (last && old & GROUP_LOCKED) {
                        /* Bound: the holder's few steps; our count keeps the group alive. */
                        kernel_yield();
                        old = load_relaxed_u64(word); /* relaxed: as above */
                        last = count_of(old) == count;
                }
                new = with_error(old, error) - count;
                if (last && parent && skua_group_cancelled(parent))
                        new |= GROUP_CANCELLED;
                if (last && new &GROUP_TIMED)
                        new |= group_late(group, new) ? GROUP_CANCELLED : GROUP_IN_TIME;
                result = result_of(group, new);
                if (last && new &GROUP_AFTER)
                        new |= GROUP_DELIVERED;
                else if (last && new &GROUP_WAITED)
                        new = group_fresh(new);
                if (last && new &(GROUP_AFTER | GROUP_WAITED))
                        new = (new | GROUP_LOCKED) & ~(GROUP_AFTER | GROUP_WAITED);
                /* [GR1] release pairs with the acquire of whoever finds the group empty: the job's
                 * writes. acquire: the last one hands them all on. */
        } while (!cas_acq_rel_u64(word, &old, new));
        if (count_of(new))
                return;
        if (new &GROUP_LOCKED)
                finish(group, result);
        if (parent)
                group_release(parent, 1, 0);
}

/* The result of an empty group, which is fresh afterwards. False: not empty. */
static bool take_result(struct skua_group *group, int *result)
{
        struct word64 *word = group_word(group);
        /* [GR1] acquire pairs with the last release: the jobs' writes. */
        uint64_t old = load_acquire_u64(word);

        do {
                if (count_of(old) || old & (GROUP_LOCKED | GROUP_AFTER))
                        return false;
                *result = old & GROUP_DELIVERED ? 0 : result_of(group, old);
                /* [GR1] acquire as above, when the word had changed. */
        } while (group_fresh(old) != old && !cas_acq_rel_u64(word, &old, group_fresh(old)));
        return true;
}

/* Lists the waiter. False: the group is empty, and *result its result. */
static bool enlist(struct skua_group *group, struct waiter *waiter)
{
        for (;;) {
                if (take_result(group, &waiter->result))
                        return false;
                if (count_of(group_lock(group)) == 0) {
                        group_unlock(group, 0);
                        continue;
                }
                waiter->next = group->waiters_;
                shared_write(&waiter->next, sizeof waiter->next);
                list_changed(group);
                group->waiters_ = waiter;
                group_unlock(group, GROUP_WAITED);
                return true;
        }
}

/* Takes a waiter off the list again. False: the last release has it already and will wake it. */
static bool delist(struct skua_group *group, struct waiter *waiter)
{
        struct waiter **link;
        bool listed;

        group_lock(group);
        list_changed(group);
        for (link = (struct waiter **)(void *)&group->waiters_; *link && *link != waiter;
             link = &(*link)->next)
                ;
        listed = *link == waiter;
        if (listed)
                *link = waiter->next;
        if (listed && !group->waiters_)
                /* [GR2] under the lock: nobody is listed any more. */
                fetch_and_acq_rel_u64(group_word(group), ~GROUP_WAITED);
        group_unlock(group, 0);
        return listed;
}

/* Blocks the thread until the deadline (0: none); -ETIMEDOUT or the result. */
static int wait_until(struct skua_group *group, int64_t now, int64_t deadline)
{
        struct waiter waiter = {0};
        int64_t spin_end = now + GROUP_SPIN_NS;

        waiter_begin(&waiter);
        while (now < spin_end) {
                spin_hint();
                if (take_result(group, &waiter.result))
                        return waiter.result;
                now = kernel_now_ns();
                if (deadline && now >= deadline)
                        return -ETIMEDOUT;
        }
        if (!enlist(group, &waiter))
                return waiter.result;
        if (!waiter_sleep(&waiter, deadline) && delist(group, &waiter))
                return -ETIMEDOUT;
        waiter_sleep(&waiter, 0);
        return waiter_end(&waiter);
}

int group_wait_any(struct skua_group *group)
{
        int result;

        return take_result(group, &result) ? result : wait_until(group, kernel_now_ns(), 0);
}

SKUA_API int skua_group_wait(struct skua_group *g, int64_t timeout_ns)
{
        int result = g ? thread_refused() : -EINVAL;
        int64_t now;

        if (result)
                return result;
        if (take_result(g, &result))
                return result;
        if (orphaned(g))
                return -EOWNERDEAD;
        now = kernel_now_ns();
        return wait_until(g, now, timeout_deadline_ns(now, timeout_ns));
}

struct group_wait {
        struct await await;
        struct skua_group *group;
};

static bool withdraw(struct worker *w, struct await *a)
{
        struct group_wait *wait = skua_container(a, struct group_wait, await);

        (void)w;
        return delist(wait->group, &a->waiter);
}

static __attribute__((noinline)) int await_empty(struct worker *w, struct skua_group *g,
                                                 int64_t deadline_ns)
{
        struct group_wait wait;

        /* relaxed: set in the child of a fork by its only thread. */
        if (load_relaxed_u32(&w->runtime->orphan) || orphaned(g))
                return -EOWNERDEAD;
        if (w->isolated)
                return -EDEADLK;
        if (deadline_ns && kernel_now_ns() >= deadline_ns)
                return -ETIMEDOUT;
        await_begin(w, &wait.await, withdraw);
        wait.await.firm = true;
        wait.group = g;
        if (!enlist(g, &wait.await.waiter))
                return waiter_end(&wait.await.waiter);
        return await_suspend(w, &wait.await, deadline_ns);
}

static __attribute__((noinline)) int await_used(struct worker *w, struct skua_group *g,
                                                int64_t deadline_ns)
{
        int result;

        worker_flush(w);
        return take_result(g, &result) ? result : await_empty(w, g, deadline_ns);
}

static inline int await_until(struct worker *w, struct skua_group *g, int64_t deadline_ns)
{
        /* [GR1] acquire pairs with the last release: the jobs' writes. 0: empty, and fresh. */
        if (!w->due_group && !load_acquire_u64(group_word(g)))
                return 0;
        return await_used(w, g, deadline_ns);
}

SKUA_API int skua_await_group_until(struct skua_worker *self, struct skua_group *g,
                                    int64_t deadline_ns)
{
        return await_until(worker_of(self), g, deadline_ns);
}

SKUA_API int skua_await_group(struct skua_worker *self, struct skua_group *g)
{
        return await_until(worker_of(self), g, 0);
}

SKUA_API void skua_group_hold(struct skua_group *g, unsigned count)
{
        group_hold(g, count);
}

SKUA_API void skua_group_release(struct skua_group *g, int error)
{
        group_release(g, 1, error);
}

/* Unlocks a group that was empty; its result stays readable, unless it is in use again. */
static void unlock_empty(struct skua_group *group)
{
        struct word64 *word = group_word(group);
        /* relaxed: the CAS checks it. */
        uint64_t old = load_relaxed_u64(word), new;

        do {
                new = (count_of(old) ? old : old | GROUP_DELIVERED) & ~(GROUP_LOCKED | GROUP_ASK);
                /* [GR2] as in group_unlock(). */
        } while (!cas_acq_rel_u64(word, &old, new));
}

SKUA_API void skua_group_then(struct skua *rt, struct skua_group *g, struct skua_job *after)
{
        struct runtime *runtime = runtime_of(rt);

        if (runtime_accept(runtime, generation_of(rt), false))
                return;
        for (;;) {
                uint64_t old = group_lock(g);

                if (old & GROUP_AFTER) {
#ifdef SKUA_DEBUG
                        fputs("skua: skua_group_then: the group has one already\n", stderr);
                        abort();
#endif
                        group_unlock(g, 0);
                        kernel_yield(); /* until the first one has gone */
                        continue;
                }
                if (count_of(old)) {
                        list_changed(g);
                        g->after_ = after;
                        g->after_rt_ = rt;
                        group_unlock(g, GROUP_AFTER);
                        return;
                }
                unlock_empty(g);
                runtime_push_accepted(runtime, after);
                return;
        }
}

SKUA_API int skua_group_error(const struct skua_group *g)
{
        /* [GR1] acquire pairs with the release that recorded the error. */
        return error_of(load_acquire_u64(group_word(g)));
}
