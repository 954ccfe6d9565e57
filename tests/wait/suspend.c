/* SPDX-License-Identifier: MIT
 *
 * Suspension: a job that waits gives its worker away and gets it back, on the same thread, with
 * everything as it was, and in its turn. Each check ends only if the worker really went on.
 */
#include <fenv.h>
#include <pthread.h>
#include <syslog.h>

#include "rig.h"

#define STACK_BYTES ((size_t)(RIG_ASAN || RIG_TSAN ? 256 : 64) << 10)

static atomic_uint wrong;

static unsigned take_wrong(void)
{
        return atomic_exchange(&wrong, 0);
}

static struct skua *start_small(unsigned workers)
{
        struct skua_options options = SKUA_OPTIONS_INIT;

        options.stack_bytes = STACK_BYTES;
        return rig_start(workers, &options);
}

static void submit_to_worker(struct skua *rt, struct skua_group *group, struct skua_job *job,
                             unsigned index)
{
        struct skua_target target = SKUA_TARGET_INIT;

        target.worker = SKUA_WORKER(index);
        target.group = group;
        wrong += skua_submit_to(rt, job, &target) != 0;
}

/* ------------------------------------------------------------------ a join that waits */

struct waiting {
        struct skua_job home, fork, other;
        struct skua_group group;
        atomic_uint started, release;
        pthread_t thread;
        uintptr_t frame;
        unsigned others_frames_near;
};

static __thread unsigned local;

static void waiting_stolen(struct skua_worker *self, struct skua_job *job)
{
        struct waiting *w = skua_container(job, struct waiting, fork);

        (void)self;
        atomic_store(&w->started, 1);
        rig_until(&w->release, 1);
}

/* Runs on the worker whose job waits, else the waiting would never end. */
static void waiting_other(struct skua_worker *self, struct skua_job *job)
{
        struct waiting *w = skua_container(job, struct waiting, other);
        uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
        uintptr_t distance = frame > w->frame ? frame - w->frame : w->frame - frame;

        (void)self;
        wrong += !pthread_equal(pthread_self(), w->thread);
        w->others_frames_near += distance < STACK_BYTES / 2;
        local++;
        errno = ENOTTY;
        fesetround(FE_UPWARD);
        atomic_store(&w->release, 1);
}

static void waiting_home(struct skua_worker *self, struct skua_job *job)
{
        struct waiting *w = skua_container(job, struct waiting, home);
        unsigned *address = &local, before = local, index = skua_worker_index(self);
        int rounding = fegetround();

        w->thread = pthread_self();
        w->frame = (uintptr_t)__builtin_frame_address(0);
        skua_fork(self, &w->fork, waiting_stolen);
        rig_until(&w->started, 1);
        skua_job_init(&w->other, waiting_other);
        submit_to_worker(skua_runtime(self), &w->group, &w->other, index);
        errno = EXDEV;
        fesetround(FE_DOWNWARD);
        wrong += skua_join(self, &w->fork);
        wrong += errno != EXDEV || fegetround() != FE_DOWNWARD;
        fesetround(rounding);
        wrong += !pthread_equal(pthread_self(), w->thread) || skua_self() != self;
        wrong += skua_worker_index(self) != index || skua_runtime(self) == NULL;
        wrong += &local != address || local != before + 1;
        wrong += skua_cancelled(self);
        skua_fail(self, -ENOEXEC);
}

static void test_join(void)
{
        struct skua *rt = start_small(2);
        unsigned rounds = rig_rounds(500), near = 0, results = 0;

        for (unsigned i = 0; i < rounds; i++) {
                struct waiting w = {.others_frames_near = 0};

                skua_group_init(&w.group);
                skua_job_init(&w.home, waiting_home);
                submit_to_worker(rt, &w.group, &w.home, i % 2);
                results += skua_group_wait(&w.group, -1) == -ENOEXEC;
                near += w.others_frames_near;
        }
        tap_is(results, rounds, "while a join waits its worker runs another job");
        tap_is(near, 0, "on another stack");
        tap_is(take_wrong(), 0, "and comes back to the same thread, errno and rounding");
        tap_is((long long)rig_suspended(rt), 0, "no stack is suspended afterwards");
        rig_stop(rt);
}

/* ------------------------------------------------------------------ order */

enum { QUEUE = 24 };

struct order {
        struct order_job {
                struct skua_job job;
                struct skua_group group;
                struct order *order;
        } jobs[QUEUE];
        struct skua_job releaser;
        struct skua_group all;
        unsigned wake[QUEUE]; /* the order of the releases */
        unsigned came[QUEUE], count;
        unsigned inside; /* how many of the last ones are released by a job of the same worker */
        atomic_uint busy, outside_done;
};

static void order_run(struct skua_worker *self, struct skua_job *job)
{
        struct order_job *o = skua_container(job, struct order_job, job);
        struct order *order = o->order;

        wrong += skua_await_group(self, &o->group) != 0;
        order->came[order->count++] = (unsigned)(o - order->jobs);
}

static void order_release(struct order *order, unsigned from, unsigned to)
{
        for (unsigned i = from; i < to; i++)
                skua_group_release(&order->jobs[order->wake[i]].group, 0);
}

static void order_releaser(struct skua_worker *self, struct skua_job *job)
{
        struct order *order = skua_container(job, struct order, releaser);

        (void)self;
        atomic_store(&order->busy, 1);
        rig_until(&order->outside_done, 1);
        order_release(order, QUEUE - order->inside, QUEUE);
}

static void order_once(struct skua *rt, unsigned inside, uint64_t *random)
{
        static struct order order;

        order = (struct order){.inside = inside};
        skua_group_init(&order.all);
        for (unsigned i = 0; i < QUEUE; i++) {
                unsigned k = (unsigned)(tap_random(random) % (i + 1));

                order.wake[i] = order.wake[k];
                order.wake[k] = i;
                order.jobs[i].order = &order;
                skua_group_init(&order.jobs[i].group);
                skua_group_hold(&order.jobs[i].group, 1);
                skua_job_init(&order.jobs[i].job, order_run);
                submit_to_worker(rt, &order.all, &order.jobs[i].job, 0);
        }
        rig_until_suspended(rt, QUEUE);
        if (inside) {
                skua_job_init(&order.releaser, order_releaser);
                submit_to_worker(rt, &order.all, &order.releaser, 0);
                rig_until(&order.busy, 1);
        }
        order_release(&order, 0, QUEUE - inside);
        atomic_store(&order.outside_done, 1);
        wrong += skua_group_wait(&order.all, -1) != 0;
        wrong += order.count != QUEUE || memcmp(order.came, order.wake, sizeof order.came);
}

static void test_order(void)
{
        uint64_t random = 0;

        for (unsigned workers = 1; workers <= 2; workers++) {
                struct skua *rt = start_small(workers);

                for (unsigned i = rig_rounds(50); i; i--)
                        order_once(rt, 0, &random);
                tap_is(take_wrong(), 0, "resumed in the order of the wake-ups from outside");
                for (unsigned i = rig_rounds(50); i; i--)
                        order_once(rt, QUEUE, &random);
                tap_is(take_wrong(), 0, "from a job of the same worker");
                for (unsigned i = rig_rounds(50); i; i--)
                        order_once(rt, QUEUE / 2, &random);
                tap_is(take_wrong(), 0, "from outside first, then from a job of the same worker");
                rig_stop(rt);
        }
}

/* ------------------------------------------------------------------ outstanding forks */

enum { FRESH, STOLEN, LEFT };

struct twig {
        struct skua_job job;
        atomic_uint fate;
        struct skua_group *release; /* by the stolen fork, if any */
};

static void twig_stolen(struct skua_worker *self, struct skua_job *job)
{
        struct twig *t = skua_container(job, struct twig, job);
        struct skua_group *release = t->release;

        (void)self;
        wrong += atomic_exchange(&t->fate, STOLEN) != FRESH;
        if (release)
                skua_group_release(release, 0);
}

static void twig_fork(struct skua_worker *self, struct twig *t, struct skua_group *release)
{
        memset(&t->job, 0xa5, sizeof t->job);
        atomic_store(&t->fate, FRESH);
        t->release = release;
        skua_fork(self, &t->job, twig_stolen);
}

static void twig_join(struct skua_worker *self, struct twig *t)
{
        bool left = skua_join(self, &t->job);

        wrong += atomic_exchange(&t->fate, LEFT) != (left ? FRESH : STOLEN);
        memset(&t->job, 0xa5, sizeof t->job);
}

/* fork(A); await(g), where A releases g: somebody must run A, be it this worker. */
static void forked_release(struct skua_worker *self, unsigned depth)
{
        struct skua_group group;
        struct twig before[3], t, after[2];

        skua_group_init(&group);
        skua_group_hold(&group, 1);
        for (unsigned i = 0; i < 3; i++)
                twig_fork(self, &before[i], NULL);
        twig_fork(self, &t, &group);
        if (depth)
                forked_release(self, depth - 1);
        for (unsigned i = 0; i < 2; i++)
                twig_fork(self, &after[i], NULL);
        wrong += skua_await_group(self, &group) != 0;
        for (unsigned i = 2; i--;)
                twig_join(self, &after[i]);
        twig_join(self, &t);
        for (unsigned i = 3; i--;)
                twig_join(self, &before[i]);
}

static void forked_release_run(struct skua_worker *self, void *arg)
{
        for (unsigned *rounds = arg; *rounds; (*rounds)--)
                forked_release(self, *rounds % 5);
}

static void test_forked_release(void)
{
        for (unsigned workers = 1; workers <= RIG_WORKERS_MAX; workers++) {
                struct skua *rt = rig_start(workers, NULL);
                unsigned rounds = rig_rounds(500);

                skua_run(rt, forked_release_run, &rounds);
                rig_stop(rt);
                tap_is(take_wrong(), 0, "fork(A), await(g), where A releases g");
        }
}

enum { STACKS = 6, TWIGS = 400 };

struct several {
        struct several_job {
                struct skua_job job;
                struct skua_group group;
                struct twig twigs[TWIGS];
                unsigned count, awaits;
                uint64_t random;
        } jobs[STACKS];
        struct skua_group all;
};

/* Some forks, a wait, more forks, a wait, some joins, and so on. */
static void several_run(struct skua_worker *self, struct skua_job *job)
{
        struct several_job *s = skua_container(job, struct several_job, job);
        unsigned open = 0;

        for (unsigned i = 0; i < s->awaits; i++) {
                unsigned more = (unsigned)((s->random = rig_mix(s->random)) % s->count);
                unsigned less = (unsigned)((s->random = rig_mix(s->random)) % s->count);

                while (more-- && open < TWIGS)
                        twig_fork(self, &s->twigs[open++], NULL);
                wrong += skua_await_group(self, &s->group) != 0;
                while (less-- && open)
                        twig_join(self, &s->twigs[--open]);
        }
        while (open)
                twig_join(self, &s->twigs[--open]);
}

static void several_once(struct skua *rt, unsigned stacks, uint64_t *random)
{
        static struct several several;

        memset(&several, 0, sizeof several);
        skua_group_init(&several.all);
        for (unsigned i = 0; i < stacks; i++) {
                struct several_job *s = &several.jobs[i];

                s->count = 2 + (unsigned)(tap_random(random) % (TWIGS - 1));
                s->awaits = 1 + (unsigned)(tap_random(random) % 3);
                s->random = tap_random(random);
                skua_group_init(&s->group);
                skua_group_hold(&s->group, 1);
                skua_job_init(&s->job, several_run);
                submit_to_worker(rt, &several.all, &s->job, 0);
        }
        /* All wait with forks outstanding before the first goes on. From then on nobody knows. */
        rig_until_suspended(rt, stacks);
        for (unsigned i = 0; i < stacks; i++) {
                unsigned k = (i + (unsigned)stacks / 2) % stacks;

                skua_group_release(&several.jobs[k].group, 0);
                if (tap_random(random) % 2)
                        sched_yield();
        }
        wrong += skua_group_wait(&several.all, -1) != 0;
}

static void test_several(void)
{
        uint64_t random = 0;

        for (unsigned workers = 1; workers <= RIG_WORKERS_MAX; workers += workers < 4 ? 1 : 2) {
                struct skua *rt = rig_start(workers, NULL);

                for (unsigned i = rig_rounds(100); i; i--)
                        several_once(rt, 2 + i % (STACKS - 1), &random);
                wrong += rig_suspended(rt) != 0;
                rig_stop(rt);
                tap_is(take_wrong(), 0, "suspended stacks with outstanding forks each");
        }
}

/* ------------------------------------------------------------------ groups */

static void empty_run(struct skua_worker *self, void *arg)
{
        struct skua_group *group = arg;

        wrong += skua_await_group(self, group) != 0;
        skua_group_hold(group, 1);
        skua_group_release(group, -EXDEV);
        wrong += skua_await_group(self, group) != -EXDEV;
        wrong += skua_await_group(self, group) != 0;
        skua_group_cancel(group);
        wrong += skua_await_group(self, group) != -ECANCELED;
        wrong += skua_await_group(self, group) != 0;
}

struct awaiting {
        struct skua_job job;
        struct skua_group *group;
        int result;
};

static void awaiting_run(struct skua_worker *self, struct skua_job *job)
{
        struct awaiting *a = skua_container(job, struct awaiting, job);

        a->result = skua_await_group(self, a->group);
}

/* Several jobs await one group that an outside thread releases. */
static void await_together(struct skua *rt, int error)
{
        enum { TOGETHER = 7 };
        struct awaiting a[TOGETHER];
        struct skua_group group, all;

        skua_group_init(&group);
        skua_group_init(&all);
        skua_group_hold(&group, 1);
        for (unsigned i = 0; i < TOGETHER; i++) {
                skua_job_init(&a[i].job, awaiting_run);
                a[i].group = &group;
                a[i].result = 1;
                skua_group_submit(rt, &all, &a[i].job);
        }
        rig_until_suspended(rt, TOGETHER);
        skua_group_release(&group, error);
        wrong += skua_group_wait(&all, -1) != 0;
        for (unsigned i = 0; i < TOGETHER; i++)
                wrong += a[i].result != error;
}

static void isolated_await(struct skua_worker *self, void *arg)
{
        struct skua_group *group = arg;

        wrong += skua_await_group(self, group) != 0;
        skua_group_hold(group, 1);
        wrong += skua_await_group(self, group) != -EDEADLK;
        skua_group_release(group, 0);
        wrong += skua_await_group(self, group) != 0;
}

static void isolated_run(struct skua_worker *self, void *arg)
{
        skua_isolated(self, isolated_await, arg);
}

static void test_groups(void)
{
        for (unsigned workers = 1; workers <= 4; workers++) {
                struct skua *rt = rig_start(workers, NULL);
                struct skua_group group;

                skua_group_init(&group);
                wrong += skua_run(rt, empty_run, &group) != 0;
                tap_is(take_wrong(), 0, "await of an empty group gives its result, once");
                for (unsigned i = rig_rounds(200); i; i--)
                        await_together(rt, i % 2 ? 0 : -EDOM);
                tap_is(take_wrong(), 0, "all who await a group get what an outside thread gave");
                wrong += skua_run(rt, isolated_run, &group) != 0;
                tap_is(take_wrong(), 0, "await inside skua_isolated: -EDEADLK unless empty");
                rig_stop(rt);
        }
}

/* ------------------------------------------------------------------ numbers */

static void test_many(void)
{
        /* TSan has no room for more than 8,000 stacks. */
        unsigned many = RIG_TSAN ? 1000 : rig_rounds(10000);
        struct awaiting *a = calloc(many, sizeof *a);

        for (unsigned workers = 1; workers <= 4; workers *= 2) {
                struct skua *rt = start_small(workers);
                struct skua_group group, all;

                skua_group_init(&group);
                skua_group_init(&all);
                skua_group_hold(&group, 1);
                for (unsigned i = 0; i < many; i++) {
                        skua_job_init(&a[i].job, awaiting_run);
                        a[i].group = &group;
                        a[i].result = 1;
                        skua_group_submit(rt, &all, &a[i].job);
                }
                rig_until_suspended(rt, many);
                skua_group_release(&group, -ENOEXEC);
                wrong += skua_group_wait(&all, -1) != 0;
                for (unsigned i = 0; i < many; i++)
                        wrong += a[i].result != -ENOEXEC;
                tap_is((long long)rig_suspended(rt), 0, "thousands of jobs waited at once");
                rig_until_idle(rt, workers);
                tap_ok(load_relaxed_u64(&runtime_of(rt)->stack_count) <= 80 * workers,
                       "their stacks have been given back");
                rig_stop(rt);
                tap_is(take_wrong(), 0, "each of them came back");
        }
        free(a);
}

static atomic_uint warnings;

static void on_log(int level, const char *message, void *user)
{
        (void)user;
        wrong += level != LOG_WARNING || !strstr(message, "stack_max (2)");
        warnings++;
}

static void test_bound(void)
{
        struct skua_options options = SKUA_OPTIONS_INIT;

        options.stack_max = 2;
        options.stack_bytes = STACK_BYTES;
        options.on_log = on_log;
        for (unsigned workers = 1; workers <= 4; workers++) {
                struct skua *rt;

                warnings = 0;
                rt = rig_start(workers, &options);
                for (unsigned i = 0; i < 20; i++)
                        await_together(rt, 0);
                rig_stop(rt);
                tap_is(take_wrong(), 0, "beyond stack_max jobs go on");
                tap_is(warnings, 1, "and it is said once");
        }
}

struct nest {
        struct skua_job job;
        unsigned depth, max;
        uint64_t sum;
};

/* Each level waits for the one below, which is a job of its own. */
static void nest_run(struct skua_worker *self, struct skua_job *job)
{
        struct nest *n = skua_container(job, struct nest, job), below;
        struct skua_group group;

        if (n->depth == n->max) {
                n->sum = 1;
                return;
        }
        skua_group_init(&group);
        skua_job_init(&below.job, nest_run);
        below.depth = n->depth + 1;
        below.max = n->max;
        skua_group_spawn(self, &group, &below.job);
        wrong += skua_await_group(self, &group) != 0;
        n->sum = below.sum + 1;
}

static void test_nest(void)
{
        for (unsigned workers = 1; workers <= RIG_WORKERS_MAX; workers *= 2) {
                struct skua *rt = start_small(workers);
                struct nest n = {.max = rig_rounds(2000)};
                struct skua_group group;

                skua_group_init(&group);
                skua_job_init(&n.job, nest_run);
                skua_group_submit(rt, &group, &n.job);
                wrong += skua_group_wait(&group, -1) != 0;
                rig_stop(rt);
                tap_is((long long)n.sum, n.max + 1, "jobs that await jobs that await jobs");
                tap_is(take_wrong(), 0, "each with its result");
        }
}

/* ------------------------------------------------------------------ everything at once */

struct mixed {
        struct skua_job job;
        uint64_t seed;
        unsigned depth;
        uint64_t sum;
};

static uint64_t mixed(struct skua_worker *self, uint64_t seed, unsigned depth);

static void mixed_run(struct skua_worker *self, struct skua_job *job)
{
        struct mixed *m = skua_container(job, struct mixed, job);

        m->sum = mixed(self, m->seed, m->depth);
}

/* A tree whose edges are forks and awaited jobs, mixed; half of the awaits with forks open. */
static uint64_t mixed(struct skua_worker *self, uint64_t seed, unsigned depth)
{
        struct skua_group group;
        struct mixed forks[2], jobs[2];
        uint64_t sum = rig_mix(seed);

        if (!depth) {
                if (sum % 8 == 0)
                        sched_yield();
                return sum;
        }
        skua_group_init(&group);
        for (unsigned i = 0; i < 2; i++) {
                memset(&forks[i], 0xa5, sizeof forks[i]);
                forks[i].seed = sum + i;
                forks[i].depth = depth - 1;
                skua_fork(self, &forks[i].job, mixed_run);
                skua_job_init(&jobs[i].job, mixed_run);
                jobs[i].seed = sum + 2 + i;
                jobs[i].depth = depth - 1;
                skua_group_spawn(self, &group, &jobs[i].job);
        }
        if (sum & 64)
                wrong += skua_await_group(self, &group) != 0;
        for (unsigned i = 2; i--;) {
                uint64_t fork_seed = rig_mix(seed) + i;

                sum += skua_join(self, &forks[i].job) ? mixed(self, fork_seed, depth - 1)
                                                      : forks[i].sum;
                memset(&forks[i], 0xa5, sizeof forks[i]);
        }
        wrong += skua_await_group(self, &group) != 0;
        return sum + jobs[0].sum + jobs[1].sum;
}

static uint64_t mixed_serial(uint64_t seed, unsigned depth)
{
        uint64_t sum = rig_mix(seed), own = sum;

        for (unsigned i = 0; depth && i < 4; i++)
                sum += mixed_serial(own + i, depth - 1);
        return sum;
}

static void test_mixed(void)
{
        uint64_t random = 0;

        for (unsigned workers = 1; workers <= RIG_WORKERS_MAX; workers++) {
                struct skua *rt = rig_start(workers, NULL);

                for (unsigned i = rig_rounds(20); i; i--) {
                        struct mixed m = {.seed = tap_random(&random), .depth = 5};
                        struct skua_group group;

                        skua_group_init(&group);
                        skua_job_init(&m.job, mixed_run);
                        skua_group_submit(rt, &group, &m.job);
                        wrong += skua_group_wait(&group, -1) != 0;
                        wrong += m.sum != mixed_serial(m.seed, m.depth);
                }
                wrong += rig_suspended(rt) != 0;
                rig_stop(rt);
                tap_is(take_wrong(), 0, "a tree of forks and awaited jobs, mixed");
        }
}

int main(void)
{
        tap_plan(4 + 6 + 8 + 6 + 12 + 9 + 8 + 8 + 8, 120);
        test_join();
        test_order();
        test_forked_release();
        test_several();
        test_groups();
        test_many();
        test_bound();
        test_nest();
        test_mixed();
        return tap_done();
}
