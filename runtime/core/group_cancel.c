/* SPDX-License-Identifier: MIT
 *
 * Cancelling groups: at once, at a time, and how the awaits of their jobs hear of it. Who cancels
 * never waits for the lock of the lists: if somebody has it, that one asks the awaits in its stead
 * (GROUP_ASK); so a signal handler may cancel whatever it has interrupted.
 */
#include <errno.h>

#include "core/group.h"
#include "core/runtime.h"
#include "wait/await.h"

static struct word64 *deadline_word(const struct skua_group *group)
{
        return (struct word64 *)(void *)(uintptr_t)&group->deadline_ns_;
}

bool group_late(const struct skua_group *group, uint64_t word)
{
        if ((word & (GROUP_TIMED | GROUP_IN_TIME)) != GROUP_TIMED)
                return false;
        /* [GR3] pairs with skua_group_cancel_at(): the word, which some have read without an order,
         * came after the deadline. */
        fence_acquire();
        /* relaxed: behind it; if there are several deadlines, one of them. */
        return kernel_now_ns() >= (int64_t)load_relaxed_u64(deadline_word(group));
}

int64_t group_deadline_ns(const struct skua_group *group)
{
        int64_t ns = 0;

        /* Bound: the depth of the groups. */
        for (; group; group = group->parent_)
                /* [GR3] pairs with skua_group_cancel_at(). relaxed: behind it. */
                if (load_acquire_u64(group_word(group)) & GROUP_TIMED)
                        ns = earlier_ns(ns, (int64_t)load_relaxed_u64(deadline_word(group)));
        return ns;
}

/* ------------------------------------------------------------------ the lock of the lists */

uint64_t group_lock(struct skua_group *group)
{
        struct word64 *word = group_word(group);
        /* relaxed: the CAS checks it. */
        uint64_t old = load_relaxed_u64(word);

        for (;;) {
                if (old & GROUP_LOCKED) {
                        /* Bound: the holder's few steps. */
                        kernel_yield();
                        old = load_relaxed_u64(word); /* relaxed: as above */
                        continue;
                }
                /* [GR2] acquire pairs with group_unlock() and finish(). */
                if (cas_acq_rel_u64(word, &old, old | GROUP_LOCKED))
                        return old;
        }
}

/* The caller has the lock. */
static void ask_all(struct skua_group *group)
{
        struct await *a = group->awaits_;

        shared_read(&group->awaits_, sizeof group->awaits_);
        for (; a; a = a->group_next)
                await_ask(a);
}

void group_unlock(struct skua_group *group, uint64_t set)
{
        struct word64 *word = group_word(group);
        /* relaxed: the CAS checks it. */
        uint64_t old = load_relaxed_u64(word);

        /* Bound: lock-free, and as many rounds of asking as there are calls that want it. */
        for (;;) {
                if (old & GROUP_ASK) {
                        /* [GR3] acquire pairs with tell(): why they are asked. */
                        old = fetch_and_acq_rel_u64(word, ~GROUP_ASK) & ~GROUP_ASK;
                        ask_all(group);
                        continue;
                }
                /* [GR2] release pairs with group_lock(): the lists. The new flags come in the same
                 * step, so that whoever makes the group empty after it finds them. */
                if (cas_acq_rel_u64(word, &old, (old | set) & ~GROUP_LOCKED))
                        return;
        }
}

/* ------------------------------------------------------------------ awaits */

/* Those above do not list it: who cancels them has all workers look. */
static void tell_parents(const struct skua_group *group)
{
        /* Bound: the depth of the groups. */
        while ((group = group->parent_)) {
                struct word64 *word = group_word(group);

                /* relaxed: set until it is empty, which the group below keeps it from. */
                if (load_relaxed_u64(word) & GROUP_BELOW)
                        continue;
                /* [GR4] pairs with tell(): either that sees it, or we see what it has done when we
                 * look behind this. */
                fetch_or_acq_rel_u64(word, GROUP_BELOW);
        }
}

void group_await(struct skua_group *group, struct await *await)
{
        tell_parents(group);
        group_lock(group);
        await->group_next = group->awaits_;
        await->group_link = (struct await **)(void *)&group->awaits_;
        if (await->group_next)
                await->group_next->group_link = &await->group_next;
        group->awaits_ = await;
        shared_write(&group->awaits_, sizeof group->awaits_);
        /* [GR4] pairs with tell(), as in tell_parents(). */
        group_unlock(group, GROUP_AWAITED);
}

void group_unawait(struct skua_group *group, struct await *await)
{
        group_lock(group);
        *await->group_link = await->group_next;
        if (await->group_next)
                await->group_next->group_link = await->group_link;
        shared_write(&group->awaits_, sizeof group->awaits_);
        if (!group->awaits_)
                /* [GR2] under the lock: none is listed any more. */
                fetch_and_acq_rel_u64(group_word(group), ~GROUP_AWAITED);
        group_unlock(group, 0);
}

/* Changes flags of the word, and has all awaits look that this may concern. */
static void tell(struct skua_group *group, uint64_t set, uint64_t clear)
{
        struct word64 *word = group_word(group);
        /* relaxed: the CAS checks it. */
        uint64_t old = load_relaxed_u64(word), new;
        int saved = errno;

        do {
                new = ((old & GROUP_DELIVERED ? group_fresh(old) : old) & ~clear) | set;
                if (old & GROUP_AWAITED)
                        new |= GROUP_ASK | GROUP_LOCKED; /* ours, if nobody has it */
                /* [GR3] release pairs with the acquire in skua_group_cancelled(): what the caller
                 * wrote before it, and the deadline. [GR4] acquire pairs with group_await(). A
                 * failure means that another call went ahead: lock-free. */
        } while (!cas_acq_rel_u64(word, &old, new));
        if (old & GROUP_AWAITED && !(old & GROUP_LOCKED))
                group_unlock(group, 0);
        if (old & GROUP_BELOW)
                runtimes_ask();
        errno = saved;
}

/* ------------------------------------------------------------------ calls */

SKUA_API void skua_group_cancel(struct skua_group *g)
{
        tell(g, GROUP_CANCELLED, 0);
}

SKUA_API bool skua_group_cancelled(const struct skua_group *g)
{
        /* Bound: the depth of the groups. */
        for (; g; g = g->parent_) {
                /* [GR3] pairs with skua_group_cancel() and skua_group_cancel_at(). */
                uint64_t word = load_acquire_u64(group_word(g));

                if (word & GROUP_CANCELLED || group_late(g, word))
                        return true;
        }
        return false;
}

SKUA_API void skua_group_cancel_at(struct skua *rt, struct skua_group *g, int64_t deadline_ns)
{
        /* [GR3] acquire: as in skua_group_cancelled(). */
        uint64_t old = load_acquire_u64(group_word(g));
        uint64_t passed = !(old & GROUP_DELIVERED) && group_late(g, old) ? GROUP_CANCELLED : 0;

        (void)rt;
        /* relaxed: published with the word. */
        if (deadline_ns)
                store_relaxed_u64(deadline_word(g), (uint64_t)deadline_ns);
        tell(g, passed | (deadline_ns ? GROUP_TIMED : 0), deadline_ns ? 0 : GROUP_TIMED);
}
