/* SPDX-License-Identifier: MIT
 *
 * Looking after busy workers. A ring is entered by its worker alone, so a worker that is long in a
 * job keeps back the completions of others and its own replies. While somebody is idle, one idle
 * worker, the sentinel, polls the rings of the others. If one has something and its worker has not
 * ended a job for a while, it sends that thread a signal, whose handler enters the ring, and takes
 * the completions, which then run where it is. Healthy workers make it look less often.
 */
#ifndef IO_WATCH_H
#define IO_WATCH_H

#include <stdbool.h>
#include <stdint.h>

struct io;
struct runtime;
struct worker;

/* Can busy workers be interrupted, so that their rings may hide completions? Process-wide. */
bool watch_can_kick(struct runtime *rt);

/* The worker has a ring now. False: no memory. */
bool watch_begin(struct worker *w, struct io *io);
void watch_end(struct io *io);

/* There is a ring or a timer now: an idle worker shall look after who has it. */
void watch_want(struct runtime *rt);

/* From an idle worker that is about to sleep: looks after the others, if nobody else does. True:
 * there are jobs. Else it must not sleep beyond watch_deadline_ns(). */
bool watch_turn(struct worker *w);
int64_t watch_deadline_ns(const struct worker *w); /* 0: none */

/* Is there a ring that nobody looks after? A parker's second look, behind its fence; and, behind
 * another fence, what follows a new ring: who sleeps since before shall look after it too. */
bool watch_missing(const struct worker *w);
void watch_opened(struct worker *w);

/* Around the worker's sleep in its ring: its own wake-ups are nobody else's. */
void watch_asleep(struct worker *w);
void watch_awake(struct worker *w);

/* The worker has entered its ring, and may turn to something else: if that has left something
 * there, somebody shall look. Async-signal-safe. */
void watch_left(struct worker *w);

/* The worker has found work: somebody else shall look. */
void watch_leave(struct worker *w);

#endif
