/* SPDX-License-Identifier: MIT
 *
 * Giving permits, and waiting for them; see permits.h.
 */
#include "wait/permits.h"

#include <errno.h>

#include "wait/suspend.h"

/* Nothing can be had for it. */
#define NEVER (INT64_MIN / (int64_t)PERMITS_ONE)

/* One who waits for a permit. */
struct seeker {
        struct listed listed;
        bool passed; /* overtaken: the next permit is for it */
};

struct permits_wait {
        struct await await;
        struct seeker seeker;
        struct permits *permits;
        const struct permits_kind *kind;
};

/* Locks the list; or takes a permit instead, if fewer than `most` are taken: false. Either in one
 * step with giving up `mine`: TRYING, of who has been woken to try, or 0. */
static bool lock_list(struct permits *p, int64_t most, uint64_t mine)
{
        /* relaxed: the CAS checks it. */
        uint64_t old = load_relaxed_u64(&p->word);
        unsigned rounds = 0;

        for (;;) {
                if (permits_there(old, most)) {
                        /* [LK1] acquire as in permits_take(). */
                        if (cas_acquire_u64(&p->word, &old, (old + PERMITS_ONE) & ~mine))
                                return false;
                } else if (old & PERMITS_LOCKED) {
                        /* Bound: the holder's few steps. */
                        lock_pause(&rounds);
                        old = load_relaxed_u64(&p->word); /* relaxed: as above */
                } else if (cas_acq_rel_u64(&p->word, &old, (old | PERMITS_LOCKED) & ~mine)) {
                        /* [LK2] acquire pairs with unlock_list(): the list. */
                        return true;
                }
        }
}

/* Takes the oldest off the list, to be woken: 0, the permit is its own; -EAGAIN, it is to try. */
static void call_oldest(struct permits *p, int result, struct wakelist *woken)
{
        struct listed *first = p->list.first;

        waitlist_remove(&p->list, first);
        wakelist_add(woken, first->waiter, result);
}

/* May those who run take a permit before the oldest waiter does? With the list, not empty. */
static bool may_barge(const struct permits *p, const struct permits_kind *kind)
{
        return kind->barging && !skua_container(p->list.first, struct seeker, listed)->passed;
}

/* The word without the lock. Of a binary kind one permit is there at most: what was given meanwhile
 * to those who waited, and have gone, is lost. */
static uint64_t unlocked(uint64_t word, const struct permits *p, const struct permits_kind *kind)
{
        uint64_t flags = word & PERMITS_TRYING, taken = word & ~(PERMITS_ONE - 1);

        if (p->list.first)
                flags |= PERMITS_WAITED;
        else if (kind->binary && permits_there(taken, kind->most - 1))
                taken = (uint64_t)(kind->most - 1) * PERMITS_ONE;
        return taken | flags;
}

/* Hands on what has been given meanwhile, gives the list up, and then wakes. */
static void unlock_list(struct permits *p, const struct permits_kind *kind, struct wakelist *woken)
{
        /* relaxed: the CAS checks it. */
        uint64_t old = load_relaxed_u64(&p->word), new;

        shared_read(&p->list, sizeof p->list);
        /* Bound: those who wait; a failure means that another call went ahead. */
        for (;;) {
                bool call = p->list.first && permits_there(old, kind->most);
                bool barge = call && may_barge(p, kind);

                if (barge && old & PERMITS_TRYING)
                        call = false;
                if (call)
                        new = barge ? old | PERMITS_TRYING : old + PERMITS_ONE;
                else
                        new = unlocked(old, p, kind);
                /* [LK1] acquire: what the giver wrote goes on to the waiter. [LK2] release pairs
                 * with lock_list() and permits_give(): the list. The last touch of the object. */
                if (!cas_acq_rel_u64(&p->word, &old, new))
                        continue;
                if (!call)
                        break;
                call_oldest(p, barge ? -EAGAIN : 0, woken);
                old = new;
        }
        wakelist_wake(woken, kind->signal);
}

/* What the word becomes by giving one. If the caller gets the list, it has the permit, too. While
 * somebody else has the list, each one is for one of those who wait. */
static uint64_t given(uint64_t word, const struct permits_kind *kind)
{
        if ((word & (PERMITS_TRYING | PERMITS_WAITED | PERMITS_LOCKED)) == PERMITS_WAITED)
                return word | PERMITS_LOCKED;
        if (kind->binary && permits_there(word, kind->most) && !(word & PERMITS_WAITED))
                return word;
        return word - PERMITS_ONE;
}

void permits_give(struct permits *p, const struct permits_kind *kind)
{
        /* relaxed: the CAS checks it. */
        uint64_t old = load_relaxed_u64(&p->word), new;
        struct wakelist woken = {NULL, NULL};
        bool barge;

        do {
                new = given(old, kind);
                /* [LK1] release pairs with whoever takes it: what the caller wrote, also when it is
                 * there already. [LK2] acquire, if it locks: the list. Lock-free. */
        } while (!cas_acq_rel_u64(&p->word, &old, new));
        if (!(new & ~old &PERMITS_LOCKED))
                return;
        shared_read(&p->list, sizeof p->list);
        barge = may_barge(p, kind);
        call_oldest(p, barge ? -EAGAIN : 0, &woken);
        if (barge)
                /* [LK1] release as above. Nobody else sets TRYING while we have the list. */
                fetch_add_acq_rel_u64(&p->word, PERMITS_TRYING - PERMITS_ONE);
        unlock_list(p, kind, &woken);
}

/* False: it has got a permit instead. */
static bool enlist(struct permits *p, const struct permits_kind *kind, struct seeker *seeker)
{
        struct wakelist woken = {NULL, NULL};

        if (!lock_list(p, kind->most, seeker->passed ? PERMITS_TRYING : 0))
                return false;
        if (seeker->passed)
                waitlist_add_first(&p->list, &seeker->listed);
        else
                waitlist_add(&p->list, &seeker->listed);
        unlock_list(p, kind, &woken);
        return true;
}

/* False: it has been called. */
static bool delist(struct permits *p, const struct permits_kind *kind, struct listed *listed)
{
        struct wakelist woken = {NULL, NULL};
        bool found;

        lock_list(p, NEVER, 0);
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
        return delist(wait->permits, wait->kind, &wait->seeker.listed);
}

/* Woken to try, it will not: somebody else may. */
static void try_not(struct permits *p, const struct permits_kind *kind)
{
        struct wakelist woken = {NULL, NULL};

        lock_list(p, NEVER, PERMITS_TRYING);
        unlock_list(p, kind, &woken);
}

/* Waits once; -EAGAIN: woken to try. */
static int seek(struct worker *w, struct permits_wait *wait, int64_t until_ns)
{
        int result;

        await_begin(w, &wait->await, withdraw);
        shared_new(&wait->seeker, sizeof wait->seeker);
        wait->seeker.listed.waiter = &wait->await.waiter;
        if (enlist(wait->permits, wait->kind, &wait->seeker))
                result = await_suspend(w, &wait->await, until_ns);
        else
                result = waiter_end(&wait->await.waiter);
        shared_gone(&wait->seeker, sizeof wait->seeker);
        return result;
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
        /* Bound: who has been passed over once is handed the next permit. */
        while ((result = seek(w, &wait, until_ns)) == -EAGAIN) {
                if (permits_take_with(p, kind->most, PERMITS_TRYING))
                        return 0;
                if ((result = await_refused(w, until_ns))) {
                        try_not(p, kind);
                        return result;
                }
                wait.seeker.passed = true;
        }
        return result;
}

int permits_wait(struct permits *p, const struct permits_kind *kind, int64_t timeout_ns)
{
        struct waiter waiter = {.result = 0};
        struct seeker seeker = {.listed = {.waiter = &waiter}};
        int result = thread_refused();

        if (result)
                return result;
        if (permits_take(p, kind->most))
                return 0;
        if (!timeout_ns)
                return -ETIMEDOUT;
        waiter_begin(&waiter);
        shared_new(&seeker, sizeof seeker);
        if (enlist(p, kind, &seeker)) {
                if (!waiter_sleep(&waiter, timeout_deadline_ns(kernel_now_ns(), timeout_ns)) &&
                    delist(p, kind, &seeker.listed))
                        waiter.result = -ETIMEDOUT;
                else
                        waiter_sleep(&waiter, 0);
        }
        shared_gone(&seeker, sizeof seeker);
        return waiter_end(&waiter);
}
