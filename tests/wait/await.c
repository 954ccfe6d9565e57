/* SPDX-License-Identifier: MIT
 *
 * Waiting jobs: yielding in turn, sleeping, and the early ends: by the job's group, a group above
 * it, the job's deadline, the group's, the await's own, and by the two ways to stop.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "rig.h"

enum { CHECKS = 75 };
#define FOREVER_NS INT64_MAX
#define MS         ((int64_t)1000000)

/* ------------------------------------------------------------------ one sleeper */

struct sleeper {
        struct skua_job job;
        int64_t until_ns;
        bool masked;
        int result, after;
        atomic_uint sleeps, done;
};

static void sleeper_run(struct skua_worker *self, struct skua_job *job)
{
        struct sleeper *s = skua_container(job, struct sleeper, job);

        if (s->masked)
                skua_cancel_mask(self, true);
        atomic_store(&s->sleeps, 1);
        s->result = skua_await_sleep_until(self, s->until_ns);
        s->after = skua_await_sleep_until(self, 1);
        atomic_store(&s->done, 1);
}

static void sleeper_init(struct sleeper *s, int64_t until_ns)
{
        memset(s, 0, sizeof *s);
        skua_job_init(&s->job, sleeper_run);
        s->until_ns = until_ns;
}

static void sleep_in(struct skua *rt, struct skua_group *group, struct sleeper *s, int64_t until_ns)
{
        sleeper_init(s, until_ns);
        if (skua_group_submit(rt, group, &s->job))
                abort();
}

static void check_sleep(struct skua *rt)
{
        struct skua_group group;
        struct sleeper s;
        int64_t until = skua_now_ns() + 2 * MS;

        skua_group_init(&group);
        sleep_in(rt, &group, &s, until);
        tap_is(skua_group_wait(&group, -1), 0, "a job sleeps and ends");
        tap_ok(s.result == 0 && skua_now_ns() >= until, "not before its time");
}

static void check_cancel(struct skua *rt)
{
        struct skua_group group;
        struct sleeper s;

        skua_group_init(&group);
        sleep_in(rt, &group, &s, FOREVER_NS);
        rig_until_suspended(rt, 1);
        skua_group_cancel(&group);
        tap_is(skua_group_wait(&group, -1), -ECANCELED, "cancelling the group ends the sleep");
        tap_is(s.result, -ECANCELED, "which says so");
        tap_is(s.after, -ECANCELED, "the next await says so at once");
}

static void check_below(struct skua *rt)
{
        struct skua_group top, middle, low;
        struct sleeper s, own;

        skua_group_init(&top);
        skua_group_init_under(&middle, &top);
        skua_group_init_under(&low, &middle);
        sleep_in(rt, &low, &s, FOREVER_NS);
        sleep_in(rt, &top, &own, FOREVER_NS);
        rig_until_suspended(rt, 2);
        skua_group_cancel(&top);
        tap_is(skua_group_wait(&top, -1), -ECANCELED, "cancelling a group ends what is below it");
        tap_is(s.result, -ECANCELED, "two levels down");
        tap_is(own.result, -ECANCELED, "and in itself");
        skua_group_wait(&low, -1);
        skua_group_wait(&middle, -1);
}

static void check_sibling(struct skua *rt)
{
        struct skua_group top, left, right;
        struct sleeper a, b;

        skua_group_init(&top);
        skua_group_init_under(&left, &top);
        skua_group_init_under(&right, &top);
        sleep_in(rt, &left, &a, FOREVER_NS);
        sleep_in(rt, &right, &b, FOREVER_NS);
        rig_until_suspended(rt, 2);
        skua_group_cancel(&left);
        tap_is(skua_group_wait(&left, -1), -ECANCELED, "one of two siblings is cancelled");
        rig_until_suspended(rt, 1);
        tap_is(atomic_load(&b.done), 0, "the other sleeps on");
        skua_group_cancel(&right);
        tap_is(skua_group_wait(&right, -1), -ECANCELED, "until it is its turn");
        tap_is(skua_group_wait(&top, -1), 0, "the group above was not cancelled");
}

static void check_deadlines(struct skua *rt)
{
        struct skua_target target = SKUA_TARGET_INIT;
        struct skua_group group;
        struct sleeper s;

        skua_group_init(&group);
        sleeper_init(&s, FOREVER_NS);
        target.group = &group;
        target.deadline_ns = skua_now_ns() + 20 * MS;
        tap_is(skua_submit_to(rt, &s.job, &target), 0, "a job with a deadline is submitted");
        tap_is(skua_group_wait(&group, -1), 0, "and ends");
        tap_is(s.result, -ECANCELED, "its sleep by the deadline, or it came too late for any");

        sleep_in(rt, &group, &s, FOREVER_NS);
        rig_until_suspended(rt, 1);
        skua_group_cancel_at(rt, &group, skua_now_ns() + 2 * MS);
        tap_is(skua_group_wait(&group, -1), -ECANCELED, "a time given to the group later");
        tap_is(s.result, -ECANCELED, "ends the sleep that was there");

        skua_group_hold(&group, 1);
        skua_group_cancel_at(rt, &group, skua_now_ns() + 2 * MS);
        sleep_in(rt, &group, &s, FOREVER_NS);
        rig_until(&s.done, 1);
        tap_is(s.result, -ECANCELED, "one given before ends a sleep that comes");
        skua_group_release(&group, 0);
        skua_group_wait(&group, -1);

        sleep_in(rt, &group, &s, FOREVER_NS);
        rig_until_suspended(rt, 1);
        skua_group_cancel_at(rt, &group, skua_now_ns() + 3600000 * MS);
        skua_group_cancel_at(rt, &group, 0);
        skua_group_cancel(&group);
        tap_is(skua_group_wait(&group, -1), -ECANCELED, "times that are taken back do no harm");
}

static void check_mask(struct skua *rt)
{
        struct skua_group group;
        struct sleeper s, second;

        skua_group_init(&group);
        sleeper_init(&s, skua_now_ns() + 20 * MS);
        s.masked = true;
        tap_is(skua_group_submit(rt, &group, &s.job), 0, "a job turns its mask on");
        rig_until(&s.sleeps, 1);
        skua_group_cancel(&group);
        skua_group_wait(&group, -1);
        tap_ok(s.result == 0 && skua_now_ns() >= s.until_ns, "and sleeps as long as it wants");
        skua_group_hold(&group, 1);
        skua_group_cancel(&group);
        sleep_in(rt, &group, &second, FOREVER_NS);
        rig_until(&second.done, 1);
        tap_is(second.result, -ECANCELED, "the next job has none");
        skua_group_release(&group, 0);
        skua_group_wait(&group, -1);
}

/* A fork sleeps under the mask of its parent, which takes it off before or after the cancellation.
 */
struct guardian {
        struct skua_job job;
        struct skua_group *group;
        struct sleeper child;
        bool cancel_first;
};

static void guardian_run(struct skua_worker *self, struct skua_job *job)
{
        struct guardian *g = skua_container(job, struct guardian, job);

        skua_cancel_mask(self, true);
        skua_fork(self, &g->child.job, sleeper_run);
        while (!atomic_load(&g->child.sleeps))
                skua_await_yield(self);
        if (g->cancel_first)
                skua_group_cancel(g->group);
        skua_cancel_mask(self, false);
        if (!g->cancel_first)
                skua_group_cancel(g->group);
        if (skua_join(self, &g->child.job))
                abort(); /* it has been begun */
}

static void check_mask_of_parent(struct skua *rt)
{
        unsigned wrong = 0;

        for (unsigned i = 0; i < rig_rounds(200); i++) {
                struct skua_group group;
                struct guardian g = {.group = &group, .cancel_first = i & 1};

                skua_group_init(&group);
                skua_job_init(&g.job, guardian_run);
                sleeper_init(&g.child, FOREVER_NS);
                skua_group_submit(rt, &group, &g.job);
                wrong += skua_group_wait(&group, -1) != -ECANCELED;
                wrong += g.child.result != -ECANCELED;
        }
        tap_is(wrong, 0, "a fork that waits under its parent's mask ends when that is taken off");
}

/* Parts of a loop wait under the mask of its job, whichever worker they run on. */
struct looper {
        struct skua_job job;
        struct skua_group *group;
        bool masked;
        atomic_uint waited, ended_early;
        int loop, after;
};

static void looper_part(struct skua_worker *self, size_t begin, size_t end, void *arg)
{
        struct looper *l = arg;

        (void)begin, (void)end;
        skua_group_cancel(l->group);
        if (skua_await_sleep(self, 1000) == -ECANCELED)
                atomic_fetch_add(&l->ended_early, 1);
        else
                atomic_fetch_add(&l->waited, 1);
}

static void looper_run(struct skua_worker *self, struct skua_job *job)
{
        struct looper *l = skua_container(job, struct looper, job);

        skua_cancel_mask(self, l->masked);
        l->loop = skua_for(self, 0, 64, 1, looper_part, l);
        skua_cancel_mask(self, false);
        l->after = skua_await_yield(self);
}

static void check_mask_of_loop(struct skua *rt, bool masked)
{
        unsigned wrong = 0;

        for (unsigned i = 0; i < rig_rounds(50); i++) {
                struct skua_group group;
                struct looper l = {.group = &group, .masked = masked};

                skua_group_init(&group);
                skua_job_init(&l.job, looper_run);
                skua_group_submit(rt, &group, &l.job);
                wrong += skua_group_wait(&group, -1) != -ECANCELED;
                wrong += !l.waited != !masked || !l.ended_early != masked;
                wrong += l.loop != -ECANCELED || l.after != -ECANCELED;
        }
        tap_ok(!wrong, "parts of a loop wait on when they are cancelled%s",
               masked ? "" : ", but only under a mask");
}

/* ------------------------------------------------------------------ a group that takes too long */

struct patient {
        struct skua_job job;
        struct skua_group *group;
        int early, late;
};

static void patient_run(struct skua_worker *self, struct skua_job *job)
{
        struct patient *p = skua_container(job, struct patient, job);

        p->early = skua_await_group_until(self, p->group, skua_now_ns() + MS);
        skua_group_release(p->group, 0);
        p->late = skua_await_group_until(self, p->group, 0);
}

static void check_group_until(struct skua *rt)
{
        struct skua_group held, own;
        struct patient p = {.group = &held};

        skua_group_init(&held);
        skua_group_init(&own);
        skua_group_hold(&held, 1);
        skua_job_init(&p.job, patient_run);
        skua_group_submit(rt, &own, &p.job);
        skua_group_cancel(&own);
        skua_group_wait(&own, -1);
        tap_is(p.early, -ETIMEDOUT, "waiting for a group ends in time, cancelled or not");
        tap_is(p.late, 0, "and can be taken up again");
}

/* ------------------------------------------------------------------ yielding */

enum { YIELDERS = 5, YIELDS = 200 };

struct turns {
        struct skua_group group;
        struct yielder {
                struct skua_job job;
                struct turns *turns;
                unsigned index;
        } yielders[YIELDERS];
        unsigned char order[YIELDERS * YIELDS];
        unsigned count;
        atomic_uint here;
};

static void yielder_run(struct skua_worker *self, struct skua_job *job)
{
        struct yielder *y = skua_container(job, struct yielder, job);
        struct turns *turns = y->turns;

        atomic_fetch_add(&turns->here, 1);
        while (atomic_load(&turns->here) < YIELDERS)
                skua_await_yield(self);
        for (unsigned i = 0; i < YIELDS; i++) {
                turns->order[turns->count++] = (unsigned char)y->index;
                if (skua_await_yield(self))
                        abort();
        }
}

static void check_yield(struct skua *rt)
{
        static struct turns turns;
        struct skua_target target = SKUA_TARGET_INIT;
        unsigned wrong = 0;

        memset(&turns, 0, sizeof turns);
        skua_group_init(&turns.group);
        target.group = &turns.group;
        target.worker = SKUA_WORKER(0);
        for (unsigned i = 0; i < YIELDERS; i++) {
                struct yielder *y = &turns.yielders[i];

                y->turns = &turns;
                y->index = i;
                skua_job_init(&y->job, yielder_run);
                skua_submit_to(rt, &y->job, &target);
        }
        skua_group_wait(&turns.group, -1);
        for (unsigned i = YIELDERS; i + YIELDERS < YIELDERS * YIELDS; i++)
                wrong += turns.order[i] != turns.order[i - YIELDERS];
        tap_is(turns.count, YIELDERS * YIELDS, "jobs that yield all end");
        tap_is(wrong, 0, "and have their turns one after the other");
}

struct alone {
        struct skua_job job;
        atomic_uint other;
        struct skua_job second;
};

static void second_run(struct skua_worker *self, struct skua_job *job)
{
        (void)self;
        atomic_store(&skua_container(job, struct alone, second)->other, 1);
}

static void alone_run(struct skua_worker *self, struct skua_job *job)
{
        struct alone *a = skua_container(job, struct alone, job);

        skua_spawn(self, &a->second);
        while (!atomic_load(&a->other))
                skua_await_yield(self);
}

static void check_others(struct skua *rt)
{
        struct alone a = {.other = 0};
        struct skua_group group;

        skua_group_init(&group);
        skua_job_init(&a.job, alone_run);
        skua_job_init(&a.second, second_run);
        skua_group_submit(rt, &group, &a.job);
        tap_is(skua_group_wait(&group, -1), 0, "jobs that have not begun have their turns too");
}

static void isolated(struct skua_worker *self, void *arg)
{
        int *results = arg;

        results[0] = skua_await_yield(self);
        results[1] = skua_await_sleep(self, FOREVER_NS);
        results[2] = skua_await_sleep(self, -5);
}

static void isolate(struct skua_worker *self, void *arg)
{
        skua_isolated(self, isolated, arg);
}

static void check_isolated(struct skua *rt)
{
        int results[3] = {1, 1, 1};

        skua_run(rt, isolate, results);
        tap_is(results[0], -EDEADLK, "isolated jobs cannot yield");
        tap_is(results[1], -EDEADLK, "or sleep");
        tap_is(results[2], -EDEADLK, "not even for no time");
}

/* ------------------------------------------------------------------ from a signal handler */

static struct skua_group *signalled;

static void on_signal(int number)
{
        (void)number;
        errno = 77;
        skua_group_cancel(signalled);
        if (errno != 77)
                abort();
}

static void check_signal(struct skua *rt)
{
        struct skua_group top, low;
        struct sleeper a, b;

        skua_group_init(&top);
        skua_group_init_under(&low, &top);
        signalled = &top;
        signal(SIGUSR1, on_signal);
        sleep_in(rt, &top, &a, FOREVER_NS);
        sleep_in(rt, &low, &b, FOREVER_NS);
        rig_until_suspended(rt, 2);
        raise(SIGUSR1);
        tap_is(skua_group_wait(&top, -1), -ECANCELED, "a signal handler may cancel");
        skua_group_wait(&low, -1);
        signal(SIGUSR1, SIG_DFL);
}

/* ------------------------------------------------------------------ stop */

static void check_drain(unsigned workers)
{
        struct skua *rt = rig_start(workers, NULL);
        struct skua_group group;
        struct sleeper s;

        skua_group_init(&group);
        sleep_in(rt, &group, &s, skua_now_ns() + 10 * MS);
        rig_until(&s.sleeps, 1);
        rig_stop(rt);
        tap_ok(s.result == 0 && skua_now_ns() >= s.until_ns, "a drain waits for a sleeper");
}

static void check_stop(unsigned workers)
{
        struct skua *rt = rig_start(workers, NULL);
        struct sleeper s, masked;

        sleeper_init(&s, FOREVER_NS);
        sleeper_init(&masked, FOREVER_NS);
        masked.masked = true;
        skua_submit(rt, &s.job);
        skua_submit(rt, &masked.job);
        rig_until_suspended(rt, 2);
        tap_is(skua_stop(rt, SKUA_CANCEL), 0, "cancelling the runtime ends");
        tap_is(s.result, -ECANCELED, "sleeps");
        tap_is(masked.result, -ECANCELED, "masked ones too");
}

/* ------------------------------------------------------------------ everything at once */

enum { MIXED = 64 };

struct mixed {
        struct skua_job job;
        struct skua_group *group;
        uint64_t seed;
        unsigned wrong;
};

static void mixed_run(struct skua_worker *self, struct skua_job *job)
{
        struct mixed *m = skua_container(job, struct mixed, job);

        for (unsigned i = 0; i < 20; i++) {
                uint64_t what = tap_random(&m->seed);
                int64_t ns = (int64_t)(tap_random(&m->seed) % 200000);
                int result;

                if (what % 4 == 0)
                        result = skua_await_yield(self);
                else
                        result = skua_await_sleep(self, what % 8 == 1 ? FOREVER_NS : ns);
                if (result == -ECANCELED) {
                        m->wrong += !skua_cancelled(self);
                        return;
                }
                m->wrong += result != 0 || (what % 8 == 1 && what % 4);
        }
}

static void check_mixed(struct skua *rt)
{
        static struct mixed mixed[MIXED];
        unsigned wrong = 0, rounds = rig_rounds(200);
        uint64_t seed = tap_seed_;

        for (unsigned round = 0; round < rounds; round++) {
                struct skua_group top, groups[4];

                skua_group_init(&top);
                for (unsigned i = 0; i < 4; i++)
                        skua_group_init_under(&groups[i], i ? &groups[i - 1] : &top);
                for (unsigned i = 0; i < MIXED; i++) {
                        struct mixed *m = &mixed[i];

                        skua_job_init(&m->job, mixed_run);
                        m->seed = tap_random(&seed);
                        m->wrong = 0;
                        wrong += skua_group_submit(rt, &groups[i % 4], &m->job) != 0;
                }
                for (unsigned i = 0; i < 8; i++)
                        skua_group_cancel_at(rt, &groups[tap_random(&seed) % 4],
                                             skua_now_ns() +
                                                     (int64_t)(tap_random(&seed) % 1000000) + 1);
                skua_group_cancel(&groups[3]);
                skua_group_cancel(round & 1 ? &top : &groups[0]);
                wrong += skua_group_wait(&top, -1) != (round & 1 ? -ECANCELED : 0);
                for (unsigned i = 0; i < MIXED; i++)
                        wrong += mixed[i].wrong;
                for (unsigned i = 4; i-- > 0;)
                        skua_group_wait(&groups[i], -1);
        }
        tap_is(wrong, 0, "cancelled and called off at random, all jobs end with the right result");
}

int main(void)
{
        tap_plan(CHECKS, 120);
        for (unsigned workers = 1; workers <= 4; workers += 3) {
                struct skua *rt = rig_start(workers, NULL);

                check_sleep(rt);
                check_cancel(rt);
                check_below(rt);
                check_sibling(rt);
                check_deadlines(rt);
                check_mask(rt);
                check_mask_of_parent(rt);
                check_mask_of_loop(rt, true);
                check_mask_of_loop(rt, false);
                check_group_until(rt);
                check_yield(rt);
                check_others(rt);
                if (workers == 1)
                        check_isolated(rt);
                check_signal(rt);
                check_mixed(rt);
                rig_stop(rt);
                check_drain(workers);
                check_stop(workers);
        }
        return tap_done();
}
