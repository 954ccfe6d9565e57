/* SPDX-License-Identifier: MIT
 *
 * io/watch.h on the modelled machine: nobody looks after others.
 */
#include "io/watch.h"

bool watch_can_kick(struct runtime *rt)
{
        (void)rt;
        return false;
}

bool watch_begin(struct worker *w, struct io *io)
{
        (void)w;
        (void)io;
        return true;
}

void watch_end(struct io *io)
{
        (void)io;
}

bool watch_turn(struct worker *w)
{
        (void)w;
        return false;
}

int64_t watch_deadline_ns(const struct worker *w)
{
        (void)w;
        return 0;
}

void watch_new(struct worker *w)
{
        (void)w;
}

void watch_timers(struct runtime *rt)
{
        (void)rt;
}

bool watch_missed(const struct worker *w)
{
        (void)w;
        return false;
}

void watch_leave(struct worker *w)
{
        (void)w;
}
