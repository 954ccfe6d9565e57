/* SPDX-License-Identifier: MIT
 *
 * Strands: jobs that run one at a time, in the order in which they came. The turn is held from when
 * a job is queued until its function has returned, so a strand that is not idle has exactly one job
 * that is queued, running or suspended; the others wait in it and stand in no queue. Whoever ends a
 * turn is in a job and queues the next one before it goes on. So a drain cannot end beside
 * jobs that wait, as it waits for the one whose turn it is.
 */
#ifndef CORE_STRAND_H
#define CORE_STRAND_H

#include <limits.h>

#include "core/job.h"

struct runtime;
struct worker;

/* Instead of a worker: on the blocking pool, which has been obliged to it. */
#define STRAND_BLOCKING UINT_MAX

/* Prepares a job: when it is run it leaves the strand at its end by itself. worker: SKUA_WORKER(i),
 * where it is to run whenever its turn comes, or 0. */
void strand_bind(struct skua_strand *s, struct skua_job *job, unsigned worker);

/* True: the job's turn has come, and the caller queues it, on that worker if it has one. False: who
 * leaves the strand will. The last touch of the strand, and if false, of the job. Any thread; for
 * the time of the call the runtime must not end. For a job that is not bound thief_ stands for the
 * worker, and whoever runs it calls strand_leave(). */
bool strand_enter(struct skua_strand *s, struct skua_job *job);

/* When the job whose turn it was has ended, on worker w, or NULL: on the blocking pool. Queues the
 * next one. The last touch of the strand, if there is none. */
void strand_leave(struct runtime *rt, struct worker *w, struct skua_strand *s);

#endif
