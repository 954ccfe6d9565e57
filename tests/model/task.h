/* SPDX-License-Identifier: MIT
 *
 * Jobs that are watched: what the giver wrote must be visible to the function, each runs exactly
 * once, and its memory is nobody's afterwards.
 */
#ifndef MODEL_TASK_H
#define MODEL_TASK_H

#include "arch.h"
#include "model.h"
#include "skua.h"

struct task {
        struct skua_job job;
        unsigned payload; /* plain: by the giver, then by the function */
        unsigned runs, cancelled;
};

/* The giver, before it hands the job over. */
static inline void task_init(struct task *t, skua_fn *run)
{
        shared_new(t, sizeof *t);
        skua_job_init(&t->job, run);
        t->payload = 1;
        t->runs = t->cancelled = 0;
        shared_write(&t->payload, sizeof t->payload);
}

static inline struct task *task_of(struct skua_job *job)
{
        return skua_container(job, struct task, job);
}

/* In the function. */
static inline void task_ran(struct task *t)
{
        shared_read(&t->payload, sizeof t->payload);
        shared_write(&t->payload, sizeof t->payload);
        t->payload++;
        model_check(++t->runs == 1, "a job has run twice");
}

static inline void task_run(struct skua_worker *self, struct skua_job *job)
{
        struct task *t = task_of(job);

        t->cancelled = skua_cancelled(self);
        task_ran(t);
}

/* Afterwards, by whoever knows that it has run, or that it never will. */
static inline void task_done(struct task *t, unsigned runs)
{
        shared_read(&t->payload, sizeof t->payload);
        model_check(t->runs == runs, runs ? "a job has not run" : "a refused job has run");
        model_check(t->payload == 1 + runs, "what a job wrote was not seen");
        shared_gone(t, sizeof *t);
}

#endif
