/* SPDX-License-Identifier: MIT
 *
 * Strands; see strand.h. One word says all: NULL, idle; HELD, somebody has the turn and nobody
 * waits; else the youngest job that waits, and through next_ the older ones down to HELD. So
 * entering and leaving are one step each. What has waited is taken as a whole and turned round:
 * ready_, oldest first, belongs to who has the turn.
 *
 * A job's function is replaced by strand_run() until it is entered; the worker's loop knows nothing
 * of strands.
 */
#include "core/strand.h"

#include <string.h>

#include "core/runtime.h"
#include "core/worker.h"
#include "limits/blocking.h"

static_assert(sizeof(struct skua_strand) == 32, "part of the binary interface");

/* The bottom of the stack: no job lies there. */
#define HELD ((void *)1)

static struct wordptr *strand_word(struct skua_strand *s)
{
        return (struct wordptr *)(void *)&s->word_;
}

SKUA_API void skua_strand_init(struct skua_strand *s)
{
        memset(s, 0, sizeof *s);
}

bool strand_enter(struct skua_strand *s, struct skua_job *job)
{
        struct wordptr *word = strand_word(s);
        /* relaxed: the CAS checks it. */
        void *old = load_relaxed_ptr(word), *new;

        do {
                new = HELD;
                if (old) {
                        job->next_ = old;
                        shared_write(&job->next_, sizeof job->next_);
                        new = job;
                }
                /* [SD1] acquire pairs with the CAS in next_turn(): what the strand's jobs have
                 * written so far. [SD2] release pairs with the exchange there: the job before its
                 * pointer. A failure means that another call went ahead: lock-free. */
        } while (!cas_acq_rel_ptr(word, &old, new));
        return !old;
}

/* The oldest job that waits. NULL: none does, and the strand is idle. */
static struct skua_job *next_turn(struct skua_strand *s)
{
        struct wordptr *word = strand_word(s);
        struct skua_job *first = s->ready_, *job, *older;
        void *held = HELD;

        shared_read(&s->ready_, sizeof s->ready_);
        if (!first) {
                /* [SD1] release pairs with the CAS in strand_enter(): the jobs' writes. */
                if (cas_acq_rel_ptr(word, &held, NULL))
                        return NULL;
                /* [SD2] acquire pairs with the CAS in strand_enter(): the jobs before their
                 * pointers. Bound below: those that wait now. */
                job = exchange_acq_rel_ptr(word, HELD);
                for (; job != HELD; job = older) {
                        shared_read(&job->next_, sizeof job->next_);
                        older = job->next_;
                        job->next_ = first;
                        shared_write(&job->next_, sizeof job->next_);
                        first = job;
                }
        }
        s->ready_ = first->next_;
        shared_write(&s->ready_, sizeof s->ready_);
        return first;
}

void strand_leave(struct runtime *rt, struct worker *w, struct skua_strand *s)
{
        struct skua_job *job = next_turn(s);

        if (!job)
                return;
        if (job->thief_ == STRAND_BLOCKING) {
                blocking_turn(rt, job);
                return;
        }
        if (job->thief_) {
                worker_send(rt, job->thief_ - 1, job);
                return;
        }
        if (!w) {
                runtime_forward(rt, runtime_node_here(rt), job);
                return;
        }
        worker_push_again(w, job);
        if (w->alone)
                return;
        /* [PK1] pairs with [PK2]: the job is visible before our look. It would be the next one
         * here, were it not for stacks to be resumed and other work that comes first. */
        fence_seq_cst();
        park_publish(rt, w->node_index);
}

struct strand_frame {
        struct exit_frame exit;
        struct skua_strand *strand;
};

static void leave_turn(struct worker *w, struct exit_frame *frame)
{
        strand_leave(w->runtime, w, skua_container(frame, struct strand_frame, exit)->strand);
}

/* What a bound job is called with. The frame lives as long as the function, so a job that waits
 * keeps its turn. */
static void strand_run(struct skua_worker *self, struct skua_job *job)
{
        struct strand_frame frame = {.strand = (struct skua_strand *)(void *)job->younger_};
        skua_fn *run = (skua_fn *)(uintptr_t)job->index_;
        struct worker *w = worker_of(self);

        shared_read(&job->younger_, sizeof job->younger_);
        job->run_ = run; /* it may be submitted again, also without a strand */
        if (!w) {
                run(self, job);
                strand_leave(blocking_runtime(), NULL, frame.strand);
                return;
        }
        w->running = run;
        exit_push(w, &frame.exit, leave_turn);
        run(self, job);
        exit_pop(w, &frame.exit);
        strand_leave(w->runtime, w, frame.strand);
}

void strand_bind(struct skua_strand *s, struct skua_job *job, unsigned worker)
{
        job->younger_ = (struct skua_job *)(void *)s;
        job->index_ = (uintptr_t)job->run_;
        job->run_ = strand_run;
        job->thief_ = worker;
        shared_write(&job->younger_, sizeof job->younger_);
}
