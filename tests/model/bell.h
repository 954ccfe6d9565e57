/* SPDX-License-Identifier: MIT
 *
 * Whole runtimes whose jobs wait for bells, for scenarios of waiting. A bell is one word, for one
 * who waits. Workers sleep on their word or in their ring, as the search likes.
 */
#ifndef MODEL_BELL_H
#define MODEL_BELL_H

#include <errno.h>
#include <string.h>

#include "io/io.h"
#include "machine/machine.h"
#include "scenario.h"
#include "task.h"
#include "wait/await.h"

enum { TASKS = 4, GROUPS = 3, OWN = GROUPS - 1 };
#define SOON_NS 2000
#define FAR_NS  ((int64_t)1 << 50)

static struct skua *rt;
static struct task tasks[TASKS];
static int results[TASKS]; /* of submitting */
/* each in the one before */
static struct skua_group groups[GROUPS];
static unsigned data;   /* plain: by who rings, then by who has been woken */
static unsigned reason; /* plain: by who cancels, then by who has been cancelled */

/* ------------------------------------------------------------------ bells */

struct bell {
        struct wordptr state; /* NULL, the await, or RUNG */
};

#define RUNG ((void *)1)

struct bell_wait {
        struct await await;
        struct bell *bell;
};

static struct bell bells[TASKS];

static inline void ring(unsigned i)
{
        /* As in any object: the last touch comes before the wake-up. */
        struct await *await = exchange_acq_rel_ptr(&bells[i].state, RUNG);

        if (await && (void *)await != RUNG)
                waiter_wake(&await->waiter);
}

static inline bool bell_withdraw(struct worker *w, struct await *a)
{
        struct bell *bell = skua_container(a, struct bell_wait, await)->bell;
        void *expected = a;

        (void)w;
        return cas_acq_rel_ptr(&bell->state, &expected, NULL);
}

static inline int await_bell(struct skua_worker *self, unsigned i, int64_t until_ns)
{
        struct worker *w = worker_of(self);
        struct bell_wait wait = {.bell = &bells[i]};
        void *nobody = NULL;
        int result;

        if (load_acquire_ptr(&bells[i].state) == RUNG)
                return 0;
        if ((result = await_refused(w, until_ns)))
                return result;
        await_begin(w, &wait.await, bell_withdraw);
        if (!cas_acq_rel_ptr(&bells[i].state, &nobody, &wait.await)) {
                load_acquire_ptr(&bells[i].state);
                return waiter_end(&wait.await.waiter);
        }
        return await_suspend(w, &wait.await, until_ns);
}

/* ------------------------------------------------------------------ a runtime */

static int64_t until[TASKS];         /* of the bell's await, from when it begins; 0: none */
static bool masked[TASKS], reasoned; /* there is one who cancels, and writes why */
static int ends[TASKS];              /* of the bell's await */

static inline void start_runtime(unsigned workers)
{
        struct skua_options options = SKUA_OPTIONS_INIT;

        options.workers = workers;
        options.spin_ns = (unsigned)SKUA_NONE;
        options.stack_bytes = 16384;
        options.flags = SKUA_NO_PIN;
        model_check(!skua_start(&rt, &options), "start");
}

/* With a ring a worker sleeps in it from then on. */
static inline void give_ring(struct skua_worker *self, void *arg)
{
        (void)arg;
        model_check(io_have(worker_of(self)), "a ring");
}

static inline void prepare(void)
{
        shared_new(groups, sizeof groups);
        shared_new(bells, sizeof bells);
        shared_new(&data, sizeof data);
        shared_new(&reason, sizeof reason);
        memset(bells, 0, sizeof bells);
        memset(until, 0, sizeof until);
        memset(masked, 0, sizeof masked);
        reasoned = false;
        for (unsigned i = 0; i < TASKS; i++)
                ends[i] = results[i] = 1;
        data = reason = 0;
        skua_group_init(&groups[0]);
        for (unsigned i = 1; i < GROUPS; i++)
                skua_group_init_under(&groups[i], &groups[i - 1]);
        model_name(groups, sizeof groups, "groups");
        model_name(bells, sizeof bells, "bells");
}

enum { SLEEP_RAW, SLEEP_FUTEX, SLEEP_EVENT, SLEEP_KINDS };

/* The last two in a ring. */
static inline void begin_with(unsigned workers, unsigned how)
{
        machine_begin(1);
        machine_io = (struct machine_io){
                .ring = how, .futex = how == SLEEP_FUTEX, .deferred = how && model_any(2)};
        prepare();
        start_runtime(workers);
        if (how)
                model_check(!skua_run(rt, give_ring, NULL), "run");
}

static inline void begin(unsigned workers)
{
        begin_with(workers, model_any(SLEEP_KINDS));
}

static inline void stop(enum skua_stop_how how)
{
        model_check(!skua_stop(rt, how), "stop");
}

static inline unsigned start(void (*entry)(void *arg), unsigned i)
{
        return 1u << model_thread_start(entry, (void *)(uintptr_t)i);
}

/* ------------------------------------------------------------------ jobs and threads */

static inline void bell_wait(struct skua_worker *self, unsigned i)
{
        int64_t until_ns = until[i] ? skua_now_ns() + until[i] : 0;

        ends[i] = await_bell(self, i, until_ns);
        if (!ends[i]) {
                shared_read(&data, sizeof data);
                model_check(data == 1, "what was written before the bell rang");
        }
        if (ends[i] == -ECANCELED && reasoned) {
                shared_read(&reason, sizeof reason);
                model_check(reason == 1, "why it was cancelled");
        }
        if (ends[i] == -ETIMEDOUT)
                model_check(until_ns && skua_now_ns() >= until_ns, "before its time");
}

static inline void bell_run(struct skua_worker *self, struct skua_job *job)
{
        unsigned i = (unsigned)(task_of(job) - tasks);

        if (masked[i])
                skua_cancel_mask(self, true);
        bell_wait(self, i);
        task_run(self, job);
}

static inline void submit(unsigned i, struct skua_group *group, skua_fn *run)
{
        struct skua_target target = SKUA_TARGET_INIT;

        target.group = group;
        task_init(&tasks[i], run);
        results[i] = skua_submit_to(rt, &tasks[i].job, &target);
}

static inline void write_data(void)
{
        data = 1;
        shared_write(&data, sizeof data);
}

static inline void ringer(void *arg)
{
        write_data();
        ring((unsigned)(uintptr_t)arg);
}

static inline void canceller(void *arg)
{
        reason = 1;
        shared_write(&reason, sizeof reason);
        skua_group_cancel(&groups[(uintptr_t)arg]);
}

static inline void late_canceller(void *arg)
{
        skua_group_cancel_at(rt, &groups[(uintptr_t)arg], skua_now_ns() + SOON_NS);
}

/* Takes back a time that there was not: all are asked, for nothing. */
static inline void timeless_canceller(void *arg)
{
        skua_group_cancel_at(rt, &groups[(uintptr_t)arg], 0);
}

static inline void far_canceller(void *arg)
{
        skua_group_cancel_at(rt, &groups[(uintptr_t)arg], FAR_NS);
}

/* By a job of any worker. */
static unsigned which;

static inline void cancel_run(struct skua_worker *self, struct skua_job *job)
{
        skua_group_cancel(&groups[which]);
        task_run(self, job);
}

static inline void ring_run(struct skua_worker *self, struct skua_job *job)
{
        ringer(0);
        task_run(self, job);
}

/* All jobs have ended: the frames have gone, and so may the groups. */
static inline void finish(unsigned set, unsigned count)
{
        for (unsigned i = GROUPS; i-- > 0;)
                skua_group_wait(&groups[i], -1);
        model_threads_join(set);
        stop(SKUA_DRAIN);
        for (unsigned i = 0; i < count; i++)
                task_done(&tasks[i], 1);
        shared_gone(groups, sizeof groups);
}

static inline void was_cancelled(unsigned i)
{
        model_check(ends[i] == -ECANCELED, "it has been cancelled");
        model_check(bells[i].state.value_ == NULL, "it is still at the bell");
}

static inline void is_one_of(int end, int a, int b)
{
        model_check(end == a || end == b, "how the await ended");
}

#endif
