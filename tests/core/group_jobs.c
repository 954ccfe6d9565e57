/* SPDX-License-Identifier: MIT
 *
 * Groups of jobs: what comes after them, phase after phase, awaits beside waits, cancellation.
 */
#include "core/waiters.h"

#include <signal.h>

enum { CHECKS = 50 };

/* ------------------------------------------------------------------ with a runtime */

struct work {
        struct skua_job job;
        struct skua_group *group;
        int result;
        struct tally *tally, *hold;
};

static void read_error(struct skua_worker *self, struct skua_job *job)
{
        struct work *work = skua_container(job, struct work, job);

        (void)self;
        work->result = skua_group_error(work->group);
        tally_add(work->tally, 1);
}

static void check_then(struct skua *rt)
{
        struct tally tally = {0};
        struct skua_group g;
        struct work after = {.group = &g, .tally = &tally, .result = 1};

        skua_group_init(&g);
        skua_job_init(&after.job, read_error);
        skua_group_then(rt, &g, &after.job);
        tally_wait(&tally, 1);
        tap_is(after.result, 0, "after an empty group: at once");
        skua_group_hold(&g, 2);
        skua_group_then(rt, &g, &after.job);
        skua_group_release(&g, -EIO);
        tap_is(tally_read(&tally), 1, "not before the group is empty");
        skua_group_release(&g, 0);
        tally_wait(&tally, 2);
        tap_is(after.result, -EIO, "it reads the error");
        tap_is(skua_group_wait(&g, -1), 0, "which is not given a second time");
        skua_group_hold(&g, 1);
        tap_is(skua_group_error(&g), 0, "the next phase is fresh");
        skua_group_then(rt, &g, &after.job);
        skua_group_cancel(&g);
        skua_group_release(&g, 0);
        tally_wait(&tally, 3);
        tap_is(after.result, 0, "a cancelled phase");
        skua_group_hold(&g, 1);
        tap_ok(!skua_group_cancelled(&g), "does not cancel the next one");
        skua_group_release(&g, 0);
        tap_is(skua_group_wait(&g, -1), 0, "nor its result");
}

static void count_phase(struct skua_worker *self, struct skua_job *job)
{
        struct work *work = skua_container(job, struct work, job);

        if (work->result)
                skua_fail(self, work->result);
        skua_group_hold(work->group, 1);
        tally_add(work->tally, 1);
        skua_group_release(work->group, 0);
}

/* Jobs of a group, again and again with the same memory; in each phase `after` comes once. */
#ifndef SKUA_DEBUG

/* Two jobs after one group, which a debug build would not have: the second one waits its turn. */
struct second {
        struct skua *rt;
        struct work after;
        struct tally asked;
};

static void *then_second(void *arg)
{
        struct second *second = arg;

        tally_add(&second->asked, 1);
        skua_group_then(second->rt, second->after.group, &second->after.job);
        return NULL;
}

static void check_second(struct skua *rt)
{
        struct tally tally = {0};
        struct skua_group g;
        struct work first = {.group = &g, .tally = &tally, .result = 1};
        struct second second = {.rt = rt, .after = first};
        pthread_t thread;

        skua_group_init(&g);
        skua_job_init(&first.job, read_error);
        skua_job_init(&second.after.job, read_error);
        skua_group_hold(&g, 1);
        skua_group_then(rt, &g, &first.job);
        thread = go(then_second, &second);
        tally_wait(&second.asked, 1);
        for (unsigned i = 0; i < 100; i++)
                sched_yield(); /* it may have got as far as to wait */
        tap_is(tally_read(&tally), 0, "two jobs after a group that is not empty");
        skua_group_release(&g, 0);
        join(thread);
        tally_wait(&tally, 2);
        tap_ok(!first.result && !second.after.result, "both are run when it is");
}

#else

static void check_second(struct skua *rt)
{
        (void)rt;
        tap_skip(2, "a debug build aborts at the second one");
}

#endif

static void fail_much(struct skua_worker *self, void *arg)
{
        skua_fail(self, *(int *)arg);
        skua_fail(self, -EIO);
}

static void check_errors(struct skua *rt)
{
        int errors[] = {-100000, 100000, -32768, 0};

        tap_is(skua_run(rt, fail_much, &errors[0]), -EINVAL, "an error that is no errno");
        tap_is(skua_run(rt, fail_much, &errors[1]), -EINVAL, "nor is this");
        tap_is(skua_run(rt, fail_much, &errors[2]), -32768, "the least that fits");
        tap_is(skua_run(rt, fail_much, &errors[3]), -EIO, "none: the next one counts");
}

static void check_phases(struct skua *rt)
{
        enum { EACH = 8 };
        struct tally tally = {0}, afters = {0};
        struct work work[EACH], after;
        struct skua_group g;
        unsigned phases = rig_rounds(2000), wrong = 0;

        skua_group_init(&g);
        after = (struct work){.group = &g, .tally = &afters};
        skua_job_init(&after.job, read_error);
        for (unsigned i = 0; i < phases; i++) {
                bool waits = i % 3 != 0;

                skua_group_hold(&g, 1);
                for (unsigned k = 0; k < EACH; k++) {
                        work[k] = (struct work){.group = &g, .tally = &tally};
                        work[k].result = k == i % EACH && i & 1 ? -ENOENT : 0;
                        skua_job_init(&work[k].job, count_phase);
                        wrong += skua_group_submit(rt, &g, &work[k].job) != 0;
                }
                if (!waits)
                        skua_group_then(rt, &g, &after.job);
                skua_group_release(&g, 0);
                if (waits) {
                        wrong += skua_group_wait(&g, -1) != (i & 1 ? -ENOENT : 0);
                } else {
                        tally_wait(&afters, i / 3 + 1);
                        wrong += after.result != (i & 1 ? -ENOENT : 0);
                        while (skua_group_wait(&g, 0) == -ETIMEDOUT)
                                ;
                }
                wrong += tally_read(&tally) != (i + 1) * EACH;
        }
        tap_is(wrong, 0, "phase after phase: each job once, each error in its phase");
        tap_is(tally_read(&afters), (phases + 2) / 3, "each `after` once");
}

static void await_group(struct skua_worker *self, struct skua_job *job)
{
        struct work *work = skua_container(job, struct work, job);

        work->result = skua_await_group(self, work->group);
        if (skua_group_wait(work->group, -1) != -EDEADLK)
                work->result = 1;
        tally_add(work->tally, 1);
}

/* Jobs await and threads wait at the same time; all get the same result. */
static void check_await_and_wait(struct skua *rt)
{
        enum { JOBS = 6 };
        unsigned rounds = rig_rounds(300), wrong = 0;

        for (unsigned i = 0; i < rounds; i++) {
                struct tally tally = {0};
                struct skua_group *g = malloc(sizeof *g);
                struct wait_case c = {.group = g, .timeout_ns = -1};
                struct work work[JOBS];
                pthread_t threads[2];

                skua_group_init(g);
                skua_group_hold(g, 1);
                for (unsigned k = 0; k < JOBS; k++) {
                        work[k] = (struct work){.group = g, .tally = &tally};
                        skua_job_init(&work[k].job, await_group);
                        skua_submit(rt, &work[k].job);
                }
                for (unsigned k = 0; k < 2; k++)
                        threads[k] = go(wait_thread, &c);
                if (i & 1)
                        until_listed(g, JOBS + 2);
                tally_wait(&c.ready, 2);
                skua_group_release(g, -EIO);
                for (unsigned k = 0; k < 2; k++)
                        join(threads[k]);
                tally_wait(&tally, JOBS);
                if (i & 1) {
                        for (unsigned k = 0; k < JOBS; k++)
                                wrong += work[k].result != -EIO;
                        for (unsigned k = 0; k < 2; k++)
                                wrong += atomic_load(&c.results[k]) != -EIO;
                }
                wrong += g->word_ != 0;
                free(g);
        }
        tap_is(wrong, 0, "jobs await while threads wait: one result for all who were there");
}

static void see_cancel(struct skua_worker *self, struct skua_job *job)
{
        struct work *work = skua_container(job, struct work, job);

        work->result = skua_cancelled(self) + 1;
        tally_add(work->tally, 1);
}

static void see_cancel_live(struct skua_worker *self, struct skua_job *job)
{
        struct work *work = skua_container(job, struct work, job);

        work->result = skua_cancelled(self) ? 1 : 2;
        tally_add(work->tally, 1);
        while (!skua_cancelled(self))
                sched_yield();
}

static struct skua_group *signal_group;

static void cancel_by_signal(int number)
{
        (void)number;
        skua_group_cancel(signal_group);
}

static void check_cancel_jobs(struct skua *rt)
{
        struct tally tally = {0};
        struct skua_group top, g;
        struct work live = {.tally = &tally}, late = {.tally = &tally};

        skua_group_init(&top);
        skua_group_init_under(&g, &top);
        skua_job_init(&live.job, see_cancel_live);
        skua_job_init(&late.job, see_cancel);
        skua_group_submit(rt, &g, &live.job);
        tally_wait(&tally, 1);
        tap_is(live.result, 2, "a job of a group that goes on");
        signal_group = &top;
        signal(SIGUSR1, cancel_by_signal);
        raise(SIGUSR1);
        signal(SIGUSR1, SIG_DFL);
        tap_is(skua_group_submit(rt, &g, &late.job), 0, "a cancelled group accepts jobs");
        tap_is(skua_group_wait(&g, -1), -ECANCELED, "a handler has cancelled the parent");
        tap_is(late.result, 2, "and they are called as cancelled");
        tap_is(skua_group_wait(&top, -1), -ECANCELED, "so is the parent");
}

/* ------------------------------------------------------------------ from all sides */

struct mix {
        struct skua *rt;
        struct skua_group group;
        unsigned rounds;
        struct tally entered;
        atomic_uint spawned;
};

static void mixed_job(struct skua_worker *self, struct skua_job *job)
{
        struct work *work = skua_container(job, struct work, job);
        struct mix *mix = skua_container(work->group, struct mix, group);

        if (work->result-- > 0) {
                atomic_fetch_add(&mix->spawned, 1);
                skua_group_spawn(self, work->group, job);
        } else {
                free(work);
        }
        atomic_fetch_add(&mix->entered.value, 1);
}

static void *mix_thread(void *arg)
{
        struct mix *mix = arg;
        uint64_t random = (uint64_t)(uintptr_t)&random;

        for (unsigned i = 0; i < mix->rounds; i++) {
                struct work *work = calloc(1, sizeof *work);

                work->group = &mix->group;
                work->result = (int)((tap_random(&random) >> 32) % 4);
                skua_job_init(&work->job, mixed_job);
                skua_group_hold(&mix->group, 1);
                skua_group_submit(mix->rt, &mix->group, &work->job);
                skua_group_release(&mix->group, 0);
                if (i % 64 == 0)
                        skua_group_wait(&mix->group, i & 64 ? 0 : 3000);
        }
        return NULL;
}

static void check_mix(struct skua *rt)
{
        static struct mix mix;
        pthread_t threads[3];

        memset(&mix, 0, sizeof mix);
        mix.rt = rt;
        mix.rounds = rig_rounds(10000);
        skua_group_init(&mix.group);
        for (unsigned i = 0; i < 3; i++)
                threads[i] = go(mix_thread, &mix);
        for (unsigned i = 0; i < 3; i++)
                join(threads[i]);
        tap_is(skua_group_wait(&mix.group, -1), 0, "from all sides at once: it ends");
        tap_is(tally_read(&mix.entered), 3 * mix.rounds + atomic_load(&mix.spawned),
               "with each job called");
        tap_is(mix.group.word_, 0, "and the word is fresh");
}

int main(void)
{
        tap_plan(CHECKS, 60);
        for (unsigned workers = 1; workers <= 8; workers *= 8) {
                struct skua *rt = rig_start(workers, NULL);

                check_then(rt);
                check_second(rt);
                check_errors(rt);
                check_phases(rt);
                check_await_and_wait(rt);
                check_cancel_jobs(rt);
                check_mix(rt);
                rig_stop(rt);
        }
        return tap_done();
}
