/* SPDX-License-Identifier: MIT
 *
 * Without memory while it runs. Jobs that wait lose nothing when there are no stacks: their worker
 * waits with them. The n-th mapping or allocation of a run fails, for every n: a post is refused, a
 * fold is done in fewer parts, the sums are right.
 */
/* link: -Wl,--wrap=mmap,--wrap=munmap,--wrap=mprotect,--wrap=pthread_create */
/* link: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free */
/* link: -Wl,--wrap=pthread_attr_init,--wrap=openat,--wrap=clock_gettime,--wrap=sched_getcpu */
/* link: -Wl,--wrap=sched_setaffinity,--wrap=sched_getaffinity */
/* link: -Wl,--wrap=kernel_guard_stack */
/* link: -Wl,--wrap=syscall,--wrap=kernel_futex_wait,--wrap=kernel_futex_wake */
#include "fault/calls.h"

static atomic_uint wrong;

static unsigned take_wrong(void)
{
        return atomic_exchange(&wrong, 0);
}

static void work(struct skua_worker *self, size_t begin, size_t end, void *arg)
{
        (void)self;
        atomic_fetch_add((atomic_uint *)arg, (unsigned)(end - begin));
}

static void use_and_stop(struct skua *rt)
{
        atomic_uint sum = 0;

        wrong += skua_run_for(rt, 0, 1000, 1, work, &sum) != 0 || sum != 1000;
        rig_stop(rt);
}

/* ------------------------------------------------------------------ waiting without memory */

struct waiting {
        struct skua_job job, helper;
        struct skua_group group;
        bool helped; /* released by a job of the same worker */
        int result;
};

static void waiting_helper(struct skua_worker *self, struct skua_job *job)
{
        struct waiting *w = skua_container(job, struct waiting, helper);

        (void)self;
        skua_group_release(&w->group, -EDOM);
}

static void waiting_run(struct skua_worker *self, struct skua_job *job)
{
        struct waiting *w = skua_container(job, struct waiting, job);

        if (w->helped) {
                skua_job_init(&w->helper, waiting_helper);
                skua_spawn(self, &w->helper);
        }
        w->result = skua_await_group(self, &w->group);
}

static void wait_without(bool helped)
{
        struct waiting w = {.helped = helped};
        struct skua_options options = SKUA_OPTIONS_INIT;
        static unsigned rounds;
        struct skua_group all;
        struct skua *rt;

        /* Not the size of the round before, whose stacks have their guards already. */
        options.stack_bytes = (size_t)(rounds++ % 2 ? 256 : 512) << 10;
        rt = rig_start(1, &options);
        skua_group_init(&all);
        skua_group_init(&w.group);
        skua_group_hold(&w.group, 1);
        skua_job_init(&w.job, waiting_run);
        fail_every(CALL_GUARD, 1);
        skua_group_submit(rt, &all, &w.job);
        rig_until_suspended(rt, 1);
        rig_until(&calls[CALL_GUARD].failed, 3); /* it has tried more than once */
        if (helped)
                fail_no_more(CALL_GUARD);
        else
                skua_group_release(&w.group, -EDOM);
        wrong += skua_group_wait(&all, -1) != 0;
        fail_no_more(CALL_GUARD);
        wrong += w.result != -EDOM || rig_suspended(rt) != 0;
        use_and_stop(rt);
}

struct tree {
        struct skua_job job;
        uint64_t seed, sum;
        unsigned depth;
        bool steady; /* leaves it to others what fails */
};

static uint64_t tree(struct skua_worker *self, const struct tree *t);

static void tree_run(struct skua_worker *self, struct skua_job *job)
{
        struct tree *t = skua_container(job, struct tree, job);

        t->sum = tree(self, t);
}

/* Forks, and jobs that are awaited, with memory that comes and goes. */
static uint64_t tree(struct skua_worker *self, const struct tree *t)
{
        struct skua_group group;
        struct tree fork, job;
        uint64_t sum = rig_mix(t->seed);

        if (!t->depth)
                return sum;
        if (sum % 4 == 0 && !t->steady)
                atomic_store(&calls[CALL_GUARD].every, sum & 64 ? 1 : 0);
        skua_group_init(&group);
        fork.seed = sum;
        fork.depth = job.depth = t->depth - 1;
        fork.steady = job.steady = t->steady;
        skua_fork(self, &fork.job, tree_run);
        skua_job_init(&job.job, tree_run);
        job.seed = sum + 1;
        skua_group_spawn(self, &group, &job.job);
        wrong += skua_await_group(self, &group) != 0;
        if (skua_join(self, &fork.job))
                tree_run(self, &fork.job);
        return sum + fork.sum + job.sum;
}

static uint64_t tree_serial(uint64_t seed, unsigned depth)
{
        uint64_t sum = rig_mix(seed), own = sum;

        if (depth)
                sum += tree_serial(own, depth - 1) + tree_serial(own + 1, depth - 1);
        return sum;
}

/* Some thread must give memory back when all others wait for it. */
static void trees_without(unsigned workers, uint64_t *random)
{
        struct skua *rt = rig_start(workers, NULL);
        struct tree t = {.seed = tap_random(random), .depth = 8};
        struct skua_group group;

        skua_group_init(&group);
        skua_job_init(&t.job, tree_run);
        skua_group_submit(rt, &group, &t.job);
        while (skua_group_wait(&group, 1000000) == -ETIMEDOUT)
                fail_no_more(CALL_GUARD);
        fail_no_more(CALL_GUARD);
        wrong += t.sum != tree_serial(t.seed, t.depth) || rig_suspended(rt) != 0;
        rig_stop(rt);
}

static void test_waiting(void)
{
        uint64_t random = 0;

        for (unsigned i = rig_rounds(20); i; i--)
                wait_without(false);
        tap_is(take_wrong(), 0, "a job waits without memory for a second stack");
        for (unsigned i = rig_rounds(20); i; i--)
                wait_without(true);
        tap_is(take_wrong(), 0, "and for a job of its own worker, until there is memory again");
        for (unsigned workers = 1; workers <= RIG_WORKERS_MAX; workers++) {
                for (unsigned i = rig_rounds(20); i; i--)
                        trees_without(workers, &random);
                tap_is(take_wrong(), 0, "trees of jobs while memory comes and goes");
        }
}

/* ------------------------------------------------------------------ the n-th one */

enum { POSTS = 20, WIDE = 400 };

struct total {
        atomic_uint posted;
};

static void posted(struct skua_worker *self, void *arg)
{
        struct total *total = *(struct total **)arg;

        (void)self;
        atomic_fetch_add(&total->posted, 1);
}

/* An accumulator too large for the stack: one allocation for each split. */
struct wide {
        uint64_t sum;
        char more[2048];
};

static void wide_body(struct skua_worker *self, size_t begin, size_t end, void *acc, void *arg)
{
        struct wide *wide = acc;

        (void)self, (void)arg;
        for (size_t i = begin; i < end; i++)
                wide->sum += i;
        sched_yield();
}

static void wide_combine(void *acc, const void *other, void *arg)
{
        (void)arg;
        ((struct wide *)acc)->sum += ((const struct wide *)other)->sum;
}

static void fold(struct skua_worker *self, void *arg)
{
        const struct skua_reduction r = {
                .acc_bytes = sizeof(struct wide), .body = wide_body, .combine = wide_combine};
        struct wide result;

        (void)arg;
        if (skua_reduce(self, 0, WIDE, 1, &r, &result) || result.sum != WIDE * (WIDE - 1) / 2)
                atomic_fetch_add(&wrong, 1);
}

/* Posts, folds, and a tree whose every node waits. */
static void everything(struct skua *rt, uint64_t seed)
{
        struct tree t = {.seed = seed, .depth = 5, .steady = true};
        struct total total = {0}, *at = &total;
        unsigned accepted = 0;
        struct skua_group group;

        skua_group_init(&group);
        skua_job_init(&t.job, tree_run);
        wrong += skua_group_submit(rt, &group, &t.job) != 0;
        for (unsigned i = 0; i < POSTS; i++) {
                int result = skua_post(rt, posted, &at, sizeof at);

                accepted += result == 0;
                wrong += result && result != -ENOMEM;
        }
        wrong += skua_run(rt, fold, NULL) != 0;
        wrong += skua_group_wait(&group, -1) != 0;
        wrong += t.sum != tree_serial(t.seed, t.depth);
        rig_stop(rt);
        wrong += atomic_load(&total.posted) != accepted;
}

/* What is mapped for a slot and its workers stays mapped, the same as after the first time. */
static void test_nth(enum call call)
{
        unsigned hits = 0, n = 0, most = rig_rounds(60) + 2;
        struct holdings before;
        uint64_t random = 0;

        everything(rig_start(3, NULL), tap_random(&random));
        before = holdings();
        for (unsigned failed = 1; failed && n < most; hits += failed) {
                struct skua *rt = rig_start(3, NULL);

                fail_at(call, ++n);
                everything(rt, tap_random(&random));
                failed = fail_no_more(call);
                wrong += leaks(&before) || mapped_bytes > before.mapped;
        }
        tap_is(take_wrong(), 0, calls[call].name);
        tap_ok(hits > 0, "%u calls have failed, one at a time", hits);
}

int main(void)
{
        tap_plan(2 + 8 + 6, 120);
        test_waiting();
        test_nth(CALL_MMAP);
        test_nth(CALL_GUARD);
        test_nth(CALL_MALLOC);
        return tap_done();
}
