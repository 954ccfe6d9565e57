/* SPDX-License-Identifier: MIT
 *
 * Channels: a ring of slots in the user's memory, and those who wait to put or to take. One short
 * lock per channel; items are copied under it, into and out of the frames of those who wait too.
 *
 *   Who waits to take finds the ring empty, who waits to put finds it full: only when the other
 *   kind comes does it move, and then the oldest of those who wait is served first.
 *
 * Who waits for several channels at once is listed with each of them. Whoever is to serve it claims
 * it first; only one can.
 */
#ifndef WAIT_CHANNEL_H
#define WAIT_CHANNEL_H

#include "wait/await.h"
#include "wait/waitlist.h"

struct select {
        struct await await;
        struct skua_case *cases;
        size_t count;
        struct word32 claimed; /* somebody serves it, or it is ended early */
};

/* One who waits to put or to take. */
struct party {
        struct listed listed;
        void *item;            /* written only by who takes */
        struct select *select; /* NULL: waits for this channel alone */
        size_t index;          /* of the case */
};

void channel_lock(struct skua_channel *c);
void channel_unlock(struct skua_channel *c);

/* With the lock. 0; -EPIPE: closed; -EAGAIN: it would have to wait. */
int channel_put(struct skua_channel *c, const void *item, struct wakelist *woken);
int channel_take(struct skua_channel *c, void *item, struct wakelist *woken);

/* With the lock: waits from now on; waits no more (false: it did not). */
void channel_enlist(struct skua_channel *c, struct party *party, bool takes);
bool channel_delist(struct skua_channel *c, struct party *party, bool takes);

#endif
