/* SPDX-License-Identifier: MIT
 *
 * Channels; see channel.h.
 */
#include "wait/channel.h"

#include <errno.h>
#include <string.h>

#include "core/worker.h"
#include "wait/suspend.h"

static_assert(sizeof(struct skua_channel) == 128, "part of the binary interface");

/* ------------------------------------------------------------------ the lock */

static struct word32 *lock_word(struct skua_channel *c)
{
        return (struct word32 *)(void *)&c->lock_;
}

static __attribute__((noinline)) void lock_slowly(struct word32 *word)
{
        uint32_t free;
        unsigned rounds = 0;

        do {
                free = 0;
                /* Bound: the holder's few steps and copies. */
                do
                        lock_pause(&rounds);
                while (load_relaxed_u32(word)); /* relaxed: the CAS checks it */
                /* [CH1] acquire pairs with channel_unlock(): everything in the channel. */
        } while (!cas_acquire_u32(word, &free, 1));
}

void channel_lock(struct skua_channel *c)
{
        uint32_t free = 0;

        /* [CH1] acquire as above. */
        if (__builtin_expect(!cas_acquire_u32(lock_word(c), &free, 1), 0))
                lock_slowly(lock_word(c));
        shared_write(&c->used_, sizeof c->used_);
}

void channel_unlock(struct skua_channel *c)
{
        /* [CH1] release pairs with channel_lock(). The last touch. */
        store_release_u32(lock_word(c), 0);
}

/* ------------------------------------------------------------------ items */

static inline void copy(const struct skua_channel *c, void *to, const void *from)
{
        if (c->slot_bytes_ == sizeof(uint64_t))
                memcpy(to, from, sizeof(uint64_t)); /* most are pointers */
        else
                memcpy(to, from, c->slot_bytes_);
}

/* The position behind, in bytes. */
static inline size_t next_position(const struct skua_channel *c, size_t position)
{
        position += c->slot_bytes_;
        return position == c->ring_bytes_ ? 0 : position;
}

static inline void append(struct skua_channel *c, const void *item)
{
        copy(c, c->slots_ + c->next_, item);
        c->next_ = next_position(c, c->next_);
        c->used_++;
}

static inline void remove_oldest(struct skua_channel *c, void *item)
{
        copy(c, item, c->slots_ + c->oldest_);
        c->oldest_ = next_position(c, c->oldest_);
        c->used_--;
}

/* ------------------------------------------------------------------ those who wait */

static struct waitlist *list_of(struct skua_channel *c, bool takes)
{
        return (struct waitlist *)(void *)(takes ? c->takers_ : c->putters_);
}

/* The oldest one, claimed and no longer listed; or NULL. */
static struct party *next_party(struct skua_channel *c, bool takes)
{
        struct waitlist *list = list_of(c, takes);
        struct listed *listed;

        /* Bound: those who wait; what cannot be claimed does not any more. */
        while ((listed = list->first)) {
                struct party *party = skua_container(listed, struct party, listed);
                uint32_t free = 0;

                waitlist_remove(list, listed);
                /* [CH2] acq_rel pairs with the other claims: one of them serves it. */
                if (!party->select || cas_acq_rel_u32(&party->select->claimed, &free, 1))
                        return party;
        }
        return NULL;
}

/* It has been served, and knows by `result` how. */
static void end_party(struct party *party, int result, struct wakelist *woken)
{
        struct select *select = party->select;

        if (select) {
                select->cases[party->index].result = result;
                result = (int)party->index;
        }
        wakelist_add(woken, party->listed.waiter, result);
}

void channel_enlist(struct skua_channel *c, struct party *party, bool takes)
{
        waitlist_add(list_of(c, takes), &party->listed);
}

bool channel_delist(struct skua_channel *c, struct party *party, bool takes)
{
        if (!party->listed.link)
                return false;
        waitlist_remove(list_of(c, takes), &party->listed);
        return true;
}

/* ------------------------------------------------------------------ what is done with the lock */

int channel_put(struct skua_channel *c, const void *item, struct wakelist *woken)
{
        struct party *taker;

        if (c->closed_)
                return -EPIPE;
        if (c->takers_[0] && (taker = next_party(c, true))) {
                copy(c, taker->item, item);
                end_party(taker, 0, woken);
                return 0;
        }
        if (c->used_ == c->slot_count_)
                return -EAGAIN;
        append(c, item);
        return 0;
}

int channel_take(struct skua_channel *c, void *item, struct wakelist *woken)
{
        struct party *putter = NULL;
        bool some = c->used_ != 0;

        if (some)
                remove_oldest(c, item);
        if (c->putters_[0] && (putter = next_party(c, false))) {
                if (some)
                        append(c, putter->item);
                else
                        copy(c, item, putter->item);
                end_party(putter, 0, woken);
        }
        if (some || putter)
                return 0;
        return c->closed_ ? -EPIPE : -EAGAIN;
}

static int exchange(struct skua_channel *c, void *item, bool takes, struct wakelist *woken)
{
        return takes ? channel_take(c, item, woken) : channel_put(c, item, woken);
}

/* ------------------------------------------------------------------ calls */

/* Without waiting; the channel is locked, and unlocked then. */
static __attribute__((noinline)) int try_locked(struct skua_channel *c, void *item, bool takes)
{
        struct wakelist woken = {NULL, NULL};
        int result = exchange(c, item, takes, &woken);

        channel_unlock(c);
        wakelist_wake(&woken, false);
        return result;
}

/* What is mostly so comes first, in these two: there is room, or an item, and nobody waits. */
static inline int try_put(struct skua_channel *c, const void *item)
{
        channel_lock(c);
        if (__builtin_expect(c->closed_ || c->takers_[0] || c->used_ == c->slot_count_, 0))
                return try_locked(c, (void *)(uintptr_t)item, false);
        append(c, item);
        channel_unlock(c);
        return 0;
}

static inline int try_take(struct skua_channel *c, void *item)
{
        channel_lock(c);
        if (__builtin_expect(!c->used_ || c->putters_[0], 0))
                return try_locked(c, item, true);
        remove_oldest(c, item);
        channel_unlock(c);
        return 0;
}

static int try_exchange(struct skua_channel *c, void *item, bool takes)
{
        return takes ? try_take(c, item) : try_put(c, item);
}

/* Does it; if it would have to wait, it is listed. */
static int begin_exchange(struct skua_channel *c, struct party *party, bool takes)
{
        struct wakelist woken = {NULL, NULL};
        int result;

        channel_lock(c);
        result = exchange(c, party->item, takes, &woken);
        if (result == -EAGAIN)
                channel_enlist(c, party, takes);
        channel_unlock(c);
        wakelist_wake(&woken, false);
        return result;
}

static bool end_exchange(struct skua_channel *c, struct party *party, bool takes)
{
        bool listed;

        channel_lock(c);
        listed = channel_delist(c, party, takes);
        channel_unlock(c);
        return listed;
}

struct channel_wait {
        struct await await;
        struct party party;
        struct skua_channel *channel;
        bool takes;
};

static bool withdraw(struct worker *w, struct await *a)
{
        struct channel_wait *wait = skua_container(a, struct channel_wait, await);

        (void)w;
        return end_exchange(wait->channel, &wait->party, wait->takes);
}

static int await_exchange(struct worker *w, struct skua_channel *c, void *item, bool takes,
                          int64_t until_ns)
{
        struct channel_wait wait = {.channel = c, .takes = takes};
        int result = await_refused(w, until_ns);

        if (result)
                return result;
        await_begin(w, &wait.await, withdraw);
        shared_new(&wait.party, sizeof wait.party);
        wait.party.item = item;
        wait.party.listed.waiter = &wait.await.waiter;
        result = begin_exchange(c, &wait.party, takes);
        if (result == -EAGAIN)
                result = await_suspend(w, &wait.await, until_ns);
        else
                waiter_end(&wait.await.waiter);
        shared_gone(&wait.party, sizeof wait.party);
        return result;
}

static int wait_exchange(struct skua_channel *c, void *item, bool takes, int64_t timeout_ns)
{
        struct waiter waiter = {.result = 0};
        struct party party = {.listed = {.waiter = &waiter}, .item = item};
        int result = thread_refused();

        if (result)
                return result;
        result = try_exchange(c, item, takes);
        if (result != -EAGAIN)
                return result;
        if (!timeout_ns)
                return -ETIMEDOUT;
        waiter_begin(&waiter);
        shared_new(&party, sizeof party);
        result = begin_exchange(c, &party, takes);
        if (result == -EAGAIN) {
                if (!waiter_sleep(&waiter, timeout_deadline_ns(kernel_now_ns(), timeout_ns)) &&
                    end_exchange(c, &party, takes))
                        waiter.result = -ETIMEDOUT;
                else
                        waiter_sleep(&waiter, 0);
                result = waiter.result;
        }
        shared_gone(&party, sizeof party);
        waiter_end(&waiter);
        return result;
}

SKUA_API int skua_channel_init(struct skua_channel *c, void *slots, size_t slot_bytes,
                               size_t slot_count)
{
        if (!c || !slot_bytes || (!slots && slot_count) || slot_count > SIZE_MAX / slot_bytes)
                return -EINVAL;
        memset(c, 0, sizeof *c);
        c->slots_ = slots;
        c->slot_bytes_ = slot_bytes;
        c->ring_bytes_ = slot_bytes * slot_count;
        c->slot_count_ = slot_count;
        return 0;
}

SKUA_API void skua_channel_close(struct skua_channel *c)
{
        struct wakelist woken = {NULL, NULL};
        struct party *party;

        channel_lock(c);
        c->closed_ = 1;
        while ((party = next_party(c, true)) || (party = next_party(c, false)))
                end_party(party, -EPIPE, &woken);
        channel_unlock(c);
        wakelist_wake(&woken, false);
}

SKUA_API int skua_try_put(struct skua_channel *c, const void *item)
{
        return try_put(c, item);
}

SKUA_API int skua_try_take(struct skua_channel *c, void *item)
{
        return try_take(c, item);
}

SKUA_API int skua_wait_put(struct skua_channel *c, const void *item, int64_t timeout_ns)
{
        return wait_exchange(c, (void *)(uintptr_t)item, false, timeout_ns);
}

SKUA_API int skua_wait_take(struct skua_channel *c, void *item, int64_t timeout_ns)
{
        return wait_exchange(c, item, true, timeout_ns);
}

/* When it is not ready, or the job may be cancelled. */
static __attribute__((noinline)) int exchange_slowly(struct worker *w, struct skua_channel *c,
                                                     void *item, bool takes, int64_t until_ns)
{
        int result;

        if (await_cancelled(w))
                return -ECANCELED;
        result = try_exchange(c, item, takes);
        return result == -EAGAIN ? await_exchange(w, c, item, takes, until_ns) : result;
}

SKUA_API int skua_await_put_until(struct skua_worker *self, struct skua_channel *c,
                                  const void *item, int64_t deadline_ns)
{
        struct worker *w = worker_of(self);
        void *from = (void *)(uintptr_t)item;

        if (await_unhindered(w) && __builtin_expect(!try_put(c, item), 1))
                return 0;
        return exchange_slowly(w, c, from, false, deadline_ns);
}

SKUA_API int skua_await_take_until(struct skua_worker *self, struct skua_channel *c, void *item,
                                   int64_t deadline_ns)
{
        struct worker *w = worker_of(self);

        if (await_unhindered(w) && __builtin_expect(!try_take(c, item), 1))
                return 0;
        return exchange_slowly(w, c, item, true, deadline_ns);
}

SKUA_API int skua_await_put(struct skua_worker *self, struct skua_channel *c, const void *item)
{
        return skua_await_put_until(self, c, item, 0);
}

SKUA_API int skua_await_take(struct skua_worker *self, struct skua_channel *c, void *item)
{
        return skua_await_take_until(self, c, item, 0);
}
