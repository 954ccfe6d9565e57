/* SPDX-License-Identifier: MIT
 *
 * skua_isolated: while a region is open on a thread, nothing foreign runs there, although its join
 * waits and there is plenty to do: spawned jobs, targeted jobs, stacks to resume, own older forks.
 */
#include "rig.h"

static atomic_uint wrong;
static __thread unsigned region; /* depth of isolated regions open on this thread */

static unsigned take_wrong(void)
{
        return atomic_exchange(&wrong, 0);
}

/* What must not run on a thread with an open region. */
struct foreign {
        struct skua_job job;
        atomic_uint ran, on_guarded;
};

static void foreign_run(struct skua_worker *self, struct skua_job *job)
{
        struct foreign *f = skua_container(job, struct foreign, job);

        (void)self;
        if (region)
                atomic_fetch_add(&f->on_guarded, 1);
        atomic_fetch_add(&f->ran, 1);
}

struct sleeper {
        struct skua_job job;
        struct skua_group group;
        unsigned on_guarded;
};

static void sleeper_run(struct skua_worker *self, struct skua_job *job)
{
        struct sleeper *s = skua_container(job, struct sleeper, job);

        wrong += skua_await_group(self, &s->group) != 0;
        s->on_guarded += region != 0;
}

struct scene {
        struct skua_job job, fork, inner_fork;
        struct foreign older, spawned, targeted;
        struct sleeper sleeper;
        struct skua_group group;
        atomic_uint started, inner_started;
        bool nested;
};

/* The thief: lets the joiner wait while everything else is ready to be run by it. */
static void linger(struct scene *s)
{
        skua_group_release(&s->sleeper.group, 0);
        for (unsigned i = 0; i < 50; i++)
                sched_yield();
}

static void scene_stolen(struct skua_worker *self, struct skua_job *job)
{
        struct scene *s = skua_container(job, struct scene, fork);

        (void)self;
        atomic_store(&s->started, 1);
        if (s->nested)
                rig_until(&s->inner_started, 1);
        linger(s);
}

static void scene_inner_stolen(struct skua_worker *self, struct skua_job *job)
{
        struct scene *s = skua_container(job, struct scene, inner_fork);

        (void)self;
        atomic_store(&s->inner_started, 1);
        for (unsigned i = 0; i < 50; i++)
                sched_yield();
}

static void scene_inner(struct skua_worker *self, void *arg)
{
        struct scene *s = arg;

        region++;
        skua_fork(self, &s->inner_fork, scene_inner_stolen);
        rig_until(&s->inner_started, 1);
        wrong += skua_join(self, &s->inner_fork);
        region--;
}

static void scene_region(struct skua_worker *self, void *arg)
{
        struct scene *s = arg;
        struct skua_target target = SKUA_TARGET_INIT;

        region++;
        skua_fork(self, &s->fork, scene_stolen);
        rig_until(&s->started, 1);
        skua_job_init(&s->spawned.job, foreign_run);
        skua_group_spawn(self, &s->group, &s->spawned.job);
        skua_job_init(&s->targeted.job, foreign_run);
        target.worker = SKUA_WORKER(skua_worker_index(self));
        target.group = &s->group;
        wrong += skua_submit_to(skua_runtime(self), &s->targeted.job, &target) != 0;
        if (s->nested)
                skua_isolated(self, scene_inner, s);
        wrong += skua_join(self, &s->fork); /* also after an inner region has ended */
        region--;
}

static void scene_run(struct skua_worker *self, struct skua_job *job)
{
        struct scene *s = skua_container(job, struct scene, job);

        rig_until_idle(skua_runtime(self), skua_workers(skua_runtime(self)) - 1);
        skua_isolated(self, scene_region, s);
        wrong += region;
}

static void scene_once(struct skua *rt, bool nested)
{
        struct skua_target target = SKUA_TARGET_INIT;
        struct scene s;

        memset(&s, 0, sizeof s);
        s.nested = nested;
        skua_group_init(&s.group);
        skua_group_init(&s.sleeper.group);
        skua_group_hold(&s.sleeper.group, 1);
        target.worker = SKUA_WORKER(0);
        target.group = &s.group;
        skua_job_init(&s.sleeper.job, sleeper_run);
        skua_job_init(&s.job, scene_run);
        skua_submit_to(rt, &s.sleeper.job, &target);
        rig_until_suspended(rt, 1);
        skua_submit_to(rt, &s.job, &target);
        wrong += skua_group_wait(&s.group, -1) != 0;
        wrong += s.spawned.ran != 1 || s.targeted.ran != 1;
        wrong += s.spawned.on_guarded + s.targeted.on_guarded + s.sleeper.on_guarded;
}

static void test_scenes(void)
{
        for (unsigned workers = 2; workers <= 5; workers++) {
                struct skua *rt = rig_start(workers, NULL);

                for (unsigned i = rig_rounds(200); i; i--)
                        scene_once(rt, false);
                tap_is(take_wrong(), 0, "while an isolated join waits nothing foreign runs there");
                for (unsigned i = workers > 2 ? rig_rounds(200) : 0; i; i--)
                        scene_once(rt, true);
                tap_is(take_wrong(), 0, "nor in the outer region when an inner one has ended");
                rig_stop(rt);
        }
}

/* ------------------------------------------------------------------ work inside */

enum { SIZE = 3000 };

struct inside {
        atomic_uint seen[SIZE];
        struct skua_group group;
        struct foreign foreign[64];
        struct skua_job twigs[16];
        atomic_uint twigs_ran;
};

static void inside_twig(struct skua_worker *self, struct skua_job *job)
{
        (void)self;
        (void)job;
        sched_yield();
}

static void inside_body(struct skua_worker *self, size_t begin, size_t end, void *arg)
{
        struct inside *in = arg;

        (void)self;
        for (size_t i = begin; i < end; i++)
                atomic_fetch_add(&in->seen[i], 1);
        if (begin % 64 < 4)
                sched_yield();
}

static void inside_fold(struct skua_worker *self, size_t begin, size_t end, void *acc, void *arg)
{
        (void)self;
        (void)arg;
        for (size_t i = begin; i < end; i++)
                *(uint64_t *)acc += i;
        if (begin % 64 < 4)
                sched_yield();
}

static void inside_combine(void *acc, const void *other, void *arg)
{
        (void)arg;
        *(uint64_t *)acc += *(const uint64_t *)other;
}

static void inside_region(struct skua_worker *self, void *arg)
{
        struct skua_reduction r = {sizeof(uint64_t), NULL, inside_fold, inside_combine, NULL};
        struct inside *in = arg;
        uint64_t sum = 0;

        region++;
        for (unsigned i = 0; i < 64; i++) {
                skua_job_init(&in->foreign[i].job, foreign_run);
                skua_group_spawn(self, &in->group, &in->foreign[i].job);
        }
        wrong += skua_for(self, 0, SIZE, 3, inside_body, in) != 0;
        wrong += skua_reduce(self, 0, SIZE, 5, &r, &sum) != 0;
        wrong += sum != (uint64_t)SIZE * (SIZE - 1) / 2;
        for (unsigned i = 0; i < 16; i++)
                skua_fork(self, &in->twigs[i], inside_twig);
        for (unsigned i = 16; i--;)
                skua_join(self, &in->twigs[i]);
        region--;
}

/* A region inside a fork, with another fork open around it. */
static void inside_run(struct skua_worker *self, void *arg)
{
        struct skua_job outer;

        skua_fork(self, &outer, inside_twig);
        skua_isolated(self, inside_region, arg);
        skua_join(self, &outer);
}

static void test_inside(void)
{
        static struct inside in;

        for (unsigned workers = 1; workers <= RIG_WORKERS_MAX; workers++) {
                struct skua *rt = rig_start(workers, NULL);

                for (unsigned i = rig_rounds(30); i; i--) {
                        memset(&in, 0, sizeof in);
                        wrong += skua_run(rt, inside_run, &in) != 0;
                        wrong += skua_group_wait(&in.group, -1) != 0;
                        for (unsigned k = 0; k < SIZE; k++)
                                wrong += in.seen[k] != 1;
                        for (unsigned k = 0; k < 64; k++)
                                wrong += in.foreign[k].ran != 1 || in.foreign[k].on_guarded;
                }
                rig_stop(rt);
                tap_is(take_wrong(), 0, "loops and forks inside, spawned jobs stay outside");
        }
}

int main(void)
{
        tap_plan(8 + 8, 120);
        test_scenes();
        test_inside();
        return tap_done();
}
