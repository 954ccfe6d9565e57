/* SPDX-License-Identifier: MIT
 *
 * skua_exit: the job ends from any depth, with its error; what it has forked is settled, what it
 * was wrapped in (strand, copy of its argument, completions) goes on, and its stack is used again.
 */
#include "core/crew.h"

#include <liburing.h>

enum { CHECKS = 46, DEEP = 40 };

static atomic_uint came_back, entered;

static void never(void)
{
        atomic_fetch_add(&came_back, 1);
}

/* ------------------------------------------------------------------ jobs, forks, loops */

static void deep(struct skua_worker *self, unsigned depth, int error)
{
        if (depth > 2 * DEEP)
                return; /* only to say that the compiler cannot know */
        if (depth == 0)
                skua_exit(self, error);
        deep(self, depth - 1, error);
        never();
}

static void leave_deep(struct skua_worker *self, void *arg)
{
        deep(self, DEEP, *(int *)arg);
        never();
}

static void leave_isolated(struct skua_worker *self, void *arg)
{
        skua_isolated(self, leave_deep, arg);
        never();
}

static void leave_after_fail(struct skua_worker *self, void *arg)
{
        (void)arg;
        skua_fail(self, -EDOM);
        skua_exit(self, -ERANGE);
}

struct leaf {
        struct skua_job job;
        atomic_uint begun, release;
};

static void leaf_run(struct skua_worker *self, struct skua_job *job)
{
        struct leaf *leaf = skua_container(job, struct leaf, job);

        (void)self;
        atomic_store(&leaf->begun, 1);
        rig_until(&leaf->release, 1);
        atomic_fetch_add(&entered, 1);
}

static void releaser(struct skua_worker *self, struct skua_job *job)
{
        (void)self;
        atomic_store((atomic_uint *)(uintptr_t)job->reserved_, 1);
}

/* One fork is stolen and runs, the others perhaps, too. */
static void leave_forks(struct skua_worker *self, void *arg)
{
        struct leaf stolen = {.begun = 0}, *kept = arg;
        struct skua_job release;

        skua_fork(self, &stolen.job, leaf_run);
        while (!atomic_load(&stolen.begun))
                sched_yield();
        skua_job_init(&release, releaser);
        release.reserved_ = (uintptr_t)&stolen.release;
        skua_fork(self, &kept[0].job, leaf_run);
        skua_fork(self, &kept[1].job, leaf_run);
        skua_spawn(self, &release);
        atomic_store(&stolen.release, 1);
        skua_exit(self, -ENOTTY);
}

static void body(struct skua_worker *self, size_t begin, size_t end, void *arg)
{
        (void)arg;
        for (; begin < end; begin++) {
                if (begin == 1234)
                        skua_exit(self, -ECHILD);
                atomic_fetch_add(&entered, 1);
        }
}

static void leave_loop(struct skua_worker *self, void *arg)
{
        *(int *)arg = skua_for(self, 0, 5000, 1, body, NULL);
}

static void fold(struct skua_worker *self, size_t begin, size_t end, void *acc, void *arg)
{
        (void)acc;
        body(self, begin, end, arg);
}

static void combine(void *acc, const void *other, void *arg)
{
        (void)acc, (void)other, (void)arg;
}

static void leave_reduction(struct skua_worker *self, void *arg)
{
        static char result[8192];
        struct skua_reduction r = {sizeof result, NULL, fold, combine, NULL};

        *(int *)arg = skua_reduce(self, 0, 5000, 1, &r, result);
}

static void check_jobs(struct skua *rt, unsigned workers)
{
        struct leaf kept[2] = {{.release = 1}, {.release = 1}};
        int error = -ENOLINK, result = 1;

        tap_is(skua_run(rt, leave_deep, &error), -ENOLINK, "a job ends from deep inside");
        error = 0;
        tap_is(skua_run(rt, leave_deep, &error), 0, "also without an error");
        error = -EPROTO;
        tap_is(skua_run(rt, leave_isolated, &error), -EPROTO, "also from an isolated part");
        tap_is(skua_run(rt, leave_after_fail, NULL), -EDOM, "the first error counts");
        if (workers > 1) {
                atomic_store(&entered, 0);
                tap_is(skua_run(rt, leave_forks, kept), -ENOTTY, "with forks outstanding");
                tap_is(atomic_load(&entered),
                       1 + atomic_load(&kept[0].begun) + atomic_load(&kept[1].begun),
                       "of which those that were stolen have ended");
        } else {
                tap_skip(2, "one worker: nobody steals");
        }
        result = skua_run(rt, leave_loop, &error);
        tap_ok(result == -ECHILD || (result == 0 && error == -ECHILD),
               "from a loop: the job, or the part that was stolen");
        for (unsigned i = 0; i < rig_rounds(200); i++) {
                result = skua_run(rt, leave_reduction, &error);
                if (result != -ECHILD && (result || error != -ECHILD))
                        break;
        }
        tap_ok(result == -ECHILD || (result == 0 && error == -ECHILD),
               "from a reduction with large accumulators");
}

/* ------------------------------------------------------------------ what it is wrapped in */

struct item {
        struct skua_job job;
        unsigned *order, *count, index;
};

static void item_run(struct skua_worker *self, struct skua_job *job)
{
        struct item *item = skua_container(job, struct item, job);

        item->order[(*item->count)++] = item->index;
        if (item->index & 1)
                skua_await_yield(self);
        skua_exit(self, item->index == 5 ? -EILSEQ : 0);
}

static void check_strand(struct skua *rt)
{
        enum { ITEMS = 100 };
        struct skua_target target = SKUA_TARGET_INIT;
        static struct item items[ITEMS];
        unsigned order[ITEMS], count = 0, wrong = 0;
        struct skua_strand strand;
        struct skua_group group;

        skua_group_init(&group);
        skua_strand_init(&strand);
        target.group = &group;
        target.strand = &strand;
        for (unsigned i = 0; i < ITEMS; i++) {
                items[i] = (struct item){.order = order, .count = &count, .index = i};
                skua_job_init(&items[i].job, item_run);
                wrong += skua_submit_to(rt, &items[i].job, &target) != 0;
        }
        tap_is(skua_group_wait(&group, -1), -EILSEQ, "jobs of a strand end so, with an error");
        for (unsigned i = 0; i < ITEMS; i++)
                wrong += order[i] != i;
        tap_is(wrong, 0, "and each leaves the turn to the next");
}

static void post_leaves(struct skua_worker *self, void *arg)
{
        atomic_fetch_add(*(atomic_uint **)arg, 1);
        skua_exit(self, 0);
}

static void check_post(struct skua *rt)
{
        atomic_uint count = 0, *at = &count;
        char large[1000];
        unsigned wrong = 0;

        memcpy(large, &at, sizeof at);
        for (unsigned i = 0; i < 1000; i++)
                wrong += skua_post(rt, post_leaves, large, sizeof large) != 0;
        while (atomic_load(&count) < 1000)
                sched_yield();
        tap_is(wrong, 0, "posted functions end so; their arguments are freed");
}

struct shots {
        struct skua_job job;
        struct skua_io io;
        struct skua_group *group;
        int fds[2];
        unsigned count;
        int last;
};

static void shot(struct skua_worker *self, struct skua_job *job)
{
        struct shots *s = skua_container(job, struct shots, io.job);
        char byte;

        if (!(s->io.flags & SKUA_IO_MORE)) {
                s->last = s->io.res;
                skua_exit(self, 0);
        }
        s->count++;
        if (read(s->fds[0], &byte, 1) != 1)
                abort();
        if (s->count == 20)
                skua_io_cancel(self, &s->io);
        else if (write(s->fds[1], "x", 1) != 1)
                abort();
        skua_exit(self, 0);
}

static void shoot(struct skua_worker *self, struct skua_job *job)
{
        struct shots *s = skua_container(job, struct shots, job);
        struct skua_target where = SKUA_TARGET_INIT;

        where.group = s->group;
        io_uring_prep_poll_multishot(skua_io_prepare_to(self, &s->io, shot, &where), s->fds[0], 1);
        if (write(s->fds[1], "x", 1) != 1)
                abort();
        skua_exit(self, 0);
}

static void check_multishot(struct skua *rt)
{
        struct skua_group group;
        struct shots s = {.count = 0, .group = &group};

        skua_group_init(&group);
        if (pipe(s.fds))
                abort();
        skua_job_init(&s.job, shoot);
        skua_group_submit(rt, &group, &s.job);
        tap_is(skua_group_wait(&group, -1), 0, "functions of completions end so");
        tap_ok(s.count == 20 && s.last == -ECANCELED, "and are called for the next one");
        close(s.fds[0]);
        close(s.fds[1]);
}

/* ------------------------------------------------------------------ over and over */

struct life {
        struct skua_job job;
        uint64_t seed;
};

static void life_run(struct skua_worker *self, struct skua_job *job)
{
        struct life *life = skua_container(job, struct life, job);
        unsigned what = (unsigned)tap_random(&life->seed);
        char *buffer = alloca(what % 4000 + 1);

        memset(buffer, (int)what, what % 4000 + 1);
        if (what & 4096)
                skua_await_yield(self);
        if (what & 8192)
                skua_await_sleep(self, what % 20000);
        if (what & 16384)
                deep(self, what % DEEP, 0);
}

static void check_often(struct skua *rt)
{
        enum { LIVES = 200 };
        static struct life lives[LIVES];
        uint64_t seed = tap_seed_;
        unsigned rounds = rig_rounds(50);
        struct skua_stats stats = {.size = sizeof stats};
        struct skua_group group;
        int wrong = 0;

        skua_group_init(&group);
        for (unsigned round = 0; round < rounds; round++) {
                for (unsigned i = 0; i < LIVES; i++) {
                        lives[i].seed = tap_random(&seed);
                        skua_job_init(&lives[i].job, life_run);
                        wrong += skua_group_submit(rt, &group, &lives[i].job) != 0;
                }
                wrong += skua_group_wait(&group, -1) != 0;
        }
        tap_is(wrong, 0, "jobs that return and jobs that exit, waiting or not, all end");
        skua_stats_read(rt, &stats);
        tap_is((long long)stats.suspended, 0, "no stack is left suspended");
}

int main(void)
{
        tap_plan(CHECKS, 120);
        for (unsigned workers = 1; workers <= 4; workers += workers == 1 ? 1 : 2) {
                struct skua *rt = rig_start(workers, NULL);

                check_jobs(rt, workers);
                check_strand(rt);
                check_post(rt);
                check_multishot(rt);
                check_often(rt);
                rig_stop(rt);
                if (workers == 4)
                        break;
        }
        tap_is(atomic_load(&came_back), 0, "no function came back");
        return tap_done();
}
