/* SPDX-License-Identifier: MIT
 *
 * Giving permits, and waiting for them; see permits.h.
 */
#include "wait/permits.h"

#include <errno.h>

#include "wait/suspend.h"

/* Nothing can be had for it. */
#define NEVER (INT64_MIN / (int64_t)PERMITS_ONE)

struct permits_wait {
        struct await await;
        struct listed listed;
        struct permits *permits;
        const struct permits_kind *kind;
};

/* Locks the list; or takes a permit instead, if fewer than `most` are taken: false. */
static bool lock_list(struct permits *p, int64_t most)
{
        /* relaxed: the CAS checks it. */
        uint64_t old = load_relaxed_u64(&p->word);
        unsigned rounds = 0;

        for (;;) {
                if (permits_there(old, most)) {
                        /* [LK1] acquire as in permits_take(). */
                        if (cas_acquire_u64(&p->word, &old, old + PERMITS_ONE))
                                return false;
                } else if (old & PERMITS_LOCKED) {
                        /* Bound: the holder's few steps. */
                        lock_pause(&rounds);
                        old = load_relaxed_u64(&p->word); /* relaxed: as above */
                } else if (cas_acq_rel_u64(&p->word, &old, old | PERMITS_LOCKED)) {
                        /* [LK2] acquire pairs with unlock_list(): the list. */
                        return true;
                }
        }
}

static void hand_to_oldest(struct permits *p, struct wakelist *woken)
{
        struct listed *first = p->list.first;

        waitlist_remove(&p->list, first);
        wakelist_add(woken, first->waiter, 0);
}

/* Hands on what has been given meanwhile, gives the list up, and then wakes. */
static void unlock_list(struct permits *p, const struct permits_kind *kind, struct wakelist *woken)
{
        /* relaxed: the CAS checks it. */
        uint64_t old = load_relaxed_u64(&p->word), new;

        /* Bound: those who wait; a failure means that another call went ahead. */
        for (;;) {
                bool hand = p->list.first && permits_there(old, kind->most);

                shared_read(&p->list, sizeof p->list);
                if (hand)
                        new = old + PERMITS_ONE;
                else
                        new = (old & ~(PERMITS_LOCKED | PERMITS_WAITED)) |
                              (p->list.first ? PERMITS_WAITED : 0);
                /* [LK1] acquire: what the giver wrote goes on to the waiter. [LK2] release pairs
                 * with lock_list() and permits_give(): the list. The last touch of the object. */
                if (!cas_acq_rel_u64(&p->word, &old, new))
                        continue;
                if (!hand)
                        break;
                hand_to_oldest(p, woken);
                old = new;
        }
        wakelist_wake(woken, kind->signal);
}

void permits_give(struct permits *p, const struct permits_kind *kind)
{
        /* relaxed: the CAS checks it. */
        uint64_t old = load_relaxed_u64(&p->word), new;
        struct wakelist woken = {NULL, NULL};

        do {
                if ((old & (PERMITS_WAITED | PERMITS_LOCKED)) == PERMITS_WAITED)
                        new = old | PERMITS_LOCKED;
                else if (kind->binary && permits_there(old, kind->most))
                        new = old;
                else
                        new = old - PERMITS_ONE;
                /* [LK1] release pairs with whoever takes it: what the caller wrote, also when it is
                 * there already. [LK2] acquire, if it locks: the list. Lock-free. */
        } while (!cas_acq_rel_u64(&p->word, &old, new));
        if (!(new & ~old &PERMITS_LOCKED))
                return;
        hand_to_oldest(p, &woken);
        unlock_list(p, kind, &woken);
}

/* False: it has got a permit instead. */
static bool enlist(struct permits *p, const struct permits_kind *kind, struct listed *listed)
{
        struct wakelist woken = {NULL, NULL};

        if (!lock_list(p, kind->most))
                return false;
        waitlist_add(&p->list, listed);
        unlock_list(p, kind, &woken);
        return true;
}

/* False: it has been given a permit, and is woken. */
static bool delist(struct permits *p, const struct permits_kind *kind, struct listed *listed)
{
        struct wakelist woken = {NULL, NULL};
        bool found;

        lock_list(p, NEVER);
        shared_read(listed, sizeof *listed);
        found = listed->link;
        if (found)
                waitlist_remove(&p->list, listed);
        unlock_list(p, kind, &woken);
        return found;
}

static bool withdraw(struct worker *w, struct await *a)
{
        struct permits_wait *wait = skua_container(a, struct permits_wait, await);

        (void)w;
        return delist(wait->permits, wait->kind, &wait->listed);
}

int permits_await(struct worker *w, struct permits *p, const struct permits_kind *kind,
                  int64_t until_ns)
{
        struct permits_wait wait = {.permits = p, .kind = kind};
        int result;

        if (await_cancelled(w))
                return -ECANCELED;
        if (permits_take(p, kind->most))
                return 0;
        if ((result = await_refused(w, until_ns)))
                return result;
        await_begin(w, &wait.await, withdraw);
        shared_new(&wait.listed, sizeof wait.listed);
        wait.listed.waiter = &wait.await.waiter;
        if (enlist(p, kind, &wait.listed))
                result = await_suspend(w, &wait.await, until_ns);
        else
                result = waiter_end(&wait.await.waiter);
        shared_gone(&wait.listed, sizeof wait.listed);
        return result;
}

int permits_wait(struct permits *p, const struct permits_kind *kind, int64_t timeout_ns)
{
        struct waiter waiter = {.result = 0};
        struct listed listed = {.waiter = &waiter};
        int result = thread_refused();

        if (result)
                return result;
        if (permits_take(p, kind->most))
                return 0;
        if (!timeout_ns)
                return -ETIMEDOUT;
        waiter_begin(&waiter);
        shared_new(&listed, sizeof listed);
        if (enlist(p, kind, &listed)) {
                if (!waiter_sleep(&waiter, thread_deadline_ns(timeout_ns)) &&
                    delist(p, kind, &listed))
                        waiter.result = -ETIMEDOUT;
                else
                        waiter_sleep(&waiter, 0);
        }
        shared_gone(&listed, sizeof listed);
        return waiter_end(&waiter);
}
