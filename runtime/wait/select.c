/* SPDX-License-Identifier: MIT
 *
 * Waiting for the first of several channels. If none is ready, all are locked, in the order of
 * their addresses, looked at once more and listed with: so nobody can come to one of them unseen,
 * nor serve it before it waits everywhere.
 */
#include <errno.h>

#include "core/worker.h"
#include "wait/channel.h"

static_assert(sizeof(struct party) <= sizeof(((struct skua_case *)NULL)->reserved_), "of a case");

static struct party *party_of(struct skua_case *c)
{
        return (struct party *)(void *)c->reserved_;
}

static bool takes(const struct skua_case *c)
{
        return c->what == SKUA_TAKE;
}

static bool valid(const struct skua_case *cases, size_t count)
{
        if (count > SKUA_SELECT_MAX)
                return false;
        for (size_t i = 0; i < count; i++)
                if (cases[i].what != SKUA_PUT && cases[i].what != SKUA_TAKE)
                        return false;
        return true;
}

/* With the channel's lock. */
static int try_locked(struct skua_case *c, struct wakelist *woken)
{
        c->result = takes(c) ? channel_take(c->channel, c->item, woken)
                             : channel_put(c->channel, c->item, woken);
        return c->result;
}

/* One case, by itself. False: it is not ready. */
static bool try_case(struct skua_case *c)
{
        struct wakelist woken = {NULL, NULL};

        if (!c->channel)
                return false;
        channel_lock(c->channel);
        try_locked(c, &woken);
        channel_unlock(c->channel);
        wakelist_wake(&woken, false);
        return c->result != -EAGAIN;
}

/* ------------------------------------------------------------------ all at once */

struct channels {
        struct skua_channel *list[SKUA_SELECT_MAX]; /* each once, by address */
        size_t count;
};

static void gather(struct channels *channels, const struct skua_case *cases, size_t count)
{
        channels->count = 0;
        for (size_t i = 0; i < count; i++) {
                struct skua_channel *channel = cases[i].channel;
                size_t at = channels->count;

                while (at && (uintptr_t)channels->list[at - 1] > (uintptr_t)channel)
                        at--;
                if (!channel || (at && channels->list[at - 1] == channel))
                        continue;
                for (size_t j = channels->count++; j > at; j--)
                        channels->list[j] = channels->list[j - 1];
                channels->list[at] = channel;
        }
}

/* Lists it with all, unless one is ready now: true, and waiter.result says which. */
static bool ready_or_listed(struct select *s, size_t start, struct wakelist *woken)
{
        for (size_t i = 0; i < s->count; i++) {
                size_t index = (start + i) % s->count;
                struct skua_case *c = &s->cases[index];

                if (!c->channel || try_locked(c, woken) == -EAGAIN)
                        continue;
                s->await.waiter.result = (int)index;
                return true;
        }
        for (size_t i = 0; i < s->count; i++) {
                struct skua_case *c = &s->cases[i];
                struct party *party = party_of(c);

                shared_new(party, sizeof *party);
                party->listed.waiter = &s->await.waiter;
                party->item = c->item;
                party->select = s;
                party->index = i;
                if (c->channel)
                        channel_enlist(c->channel, party, takes(c));
        }
        return false;
}

static bool begin(struct select *s, size_t start)
{
        struct wakelist woken = {NULL, NULL};
        struct channels channels;
        bool ready;

        gather(&channels, s->cases, s->count);
        for (size_t i = 0; i < channels.count; i++)
                channel_lock(channels.list[i]);
        ready = ready_or_listed(s, start, &woken);
        for (size_t i = 0; i < channels.count; i++)
                channel_unlock(channels.list[i]);
        wakelist_wake(&woken, false);
        return ready;
}

/* It is not listed anywhere any more, and nobody looks at it. */
static void end(struct select *s)
{
        for (size_t i = 0; i < s->count; i++) {
                struct skua_case *c = &s->cases[i];

                if (!c->channel)
                        continue;
                channel_lock(c->channel);
                channel_delist(c->channel, party_of(c), takes(c));
                channel_unlock(c->channel);
                shared_gone(party_of(c), sizeof(struct party));
        }
}

static bool withdraw(struct worker *w, struct await *a)
{
        struct select *s = skua_container(a, struct select, await);
        uint32_t free = 0;

        (void)w;
        /* [CH2] acq_rel pairs with the claim in next_party(). */
        return cas_acq_rel_u32(&s->claimed, &free, 1);
}

static int wait_for(struct worker *w, struct skua_case *cases, size_t count, size_t start,
                    int64_t until_ns)
{
        struct select s = {.cases = cases, .count = count};
        int result = await_refused(w, until_ns);

        if (result)
                return result;
        await_begin(w, &s.await, withdraw);
        shared_new(&s.claimed, sizeof s.claimed);
        store_relaxed_u32(&s.claimed, 0); /* relaxed: published with the channels' locks */
        if (begin(&s, start))
                return waiter_end(&s.await.waiter);
        result = await_suspend(w, &s.await, until_ns);
        end(&s);
        shared_gone(&s.claimed, sizeof s.claimed);
        return result;
}

SKUA_API int skua_await_select(struct skua_worker *self, struct skua_case *cases, size_t count,
                               int64_t deadline_ns)
{
        struct worker *w = worker_of(self);
        size_t start;

        if (!valid(cases, count))
                return -EINVAL;
        if (await_cancelled(w))
                return -ECANCELED;
        start = count ? (size_t)(worker_random(w) % count) : 0;
        for (size_t i = 0; i < count; i++)
                if (try_case(&cases[(start + i) % count]))
                        return (int)((start + i) % count);
        return wait_for(w, cases, count, start, deadline_ns);
}
