/* SPDX-License-Identifier: MIT
 *
 * Figures: what is counted, what the sums are when all is at rest, and that reading them disturbs
 * nobody.
 */
#include "core/crew.h"

enum { CHECKS = 46 };

struct count {
        struct skua_job job;
        struct tally *tally;
        unsigned spawns;
};

static void count_run(struct skua_worker *self, struct skua_job *job)
{
        struct count *count = skua_container(job, struct count, job);
        struct tally *tally = count->tally;

        if (count->spawns) {
                count->spawns--;
                skua_spawn(self, job);
        }
        tally_add(tally, 1);
}

static void count_init(struct count *count, struct tally *tally, unsigned spawns)
{
        skua_job_init(&count->job, count_run);
        count->tally = tally;
        count->spawns = spawns;
}

static struct skua_worker_stats worker_stats(struct skua *rt, unsigned index)
{
        struct skua_worker_stats stats = {.size = sizeof stats};

        skua_stats_worker(rt, index, &stats);
        return stats;
}

static uint64_t run_of(struct skua *rt)
{
        uint64_t sum = 0;

        for (unsigned i = 0; i < skua_workers(rt); i++)
                sum += worker_stats(rt, i).run;
        return sum;
}

/* ------------------------------------------------------------------ the structs */

static void check_sizes(struct skua *rt)
{
        struct skua_stats stats = {.size = offsetof(struct skua_stats, stacks) - 1};
        struct skua_worker_stats worker = {.size = sizeof worker - 1};
        struct {
                struct skua_stats stats;
                unsigned char more[64], guard;
        } later;
        unsigned wrong = 0;

        tap_is(skua_stats_read(NULL, &stats), -EINVAL, "whose?");
        tap_is(skua_stats_read(rt, NULL), -EINVAL, "where to?");
        tap_is(skua_stats_read(rt, &stats), -EINVAL, "too small");
        stats.size = 0;
        tap_is(skua_stats_read(rt, &stats), -EINVAL, "no size");
        tap_is(skua_stats_worker(NULL, 0, &worker), -EINVAL, "whose worker?");
        tap_is(skua_stats_worker(rt, 0, NULL), -EINVAL, "where to?");
        tap_is(skua_stats_worker(rt, 0, &worker), -EINVAL, "too small");
        worker.size = sizeof worker;
        tap_is(skua_stats_worker(rt, skua_workers(rt), &worker), -EINVAL, "no such worker");
        tap_is(skua_stats_worker(rt, UINT_MAX, &worker), -EINVAL, "by far");
        tap_is(skua_stats_worker(rt, skua_workers(rt) - 1, &worker), 0, "the last one");
        memset(&later, 0xa5, sizeof later);
        later.stats.size = offsetof(struct skua_stats, stacks);
        tap_is(skua_stats_read(rt, &later.stats), 0, "the first version's struct");
        tap_is((long long)later.stats.stacks, (long long)0xa5a5a5a5a5a5a5a5, "and not beyond it");
        memset(&later, 0xa5, sizeof later);
        later.stats.size = offsetof(__typeof__(later), guard);
        tap_is(skua_stats_read(rt, &later.stats), 0, "a later version's struct");
        for (unsigned i = 0; i < sizeof later.more; i++)
                wrong += later.more[i] != 0;
        tap_ok(!wrong && later.guard == 0xa5, "what is not known is zero, beyond it nothing");
        tap_is(later.stats.size, offsetof(__typeof__(later), guard), "its size stays");
}

/* ------------------------------------------------------------------ sums */

static void check_sums(unsigned workers)
{
        enum { JOBS = 3000 };
        struct count *counts = calloc(JOBS, sizeof *counts);
        struct skua *rt = rig_start(workers, NULL);
        struct skua_target where = SKUA_TARGET_INIT;
        struct tally tally = {0};
        struct skua_stats stats;
        uint64_t expected = 0;

        stats = stats_of(rt);
        tap_ok(!stats.submitted && !stats.run && !stats.cancelled && !stats.refused &&
                       !stats.queued && !stats.suspended,
               "%u workers: all is 0 before the first job", workers);
        for (unsigned i = 0; i < JOBS; i++) {
                where.worker = i % 3 ? 0 : SKUA_WORKER(i % workers);
                count_init(&counts[i], &tally, i % 4);
                skua_submit_to(rt, &counts[i].job, &where);
                expected += 1 + i % 4;
        }
        tally_wait(&tally, (unsigned)expected);
        wait_parked(rt);
        stats = stats_of(rt);
        tap_is((long long)stats.submitted, (long long)expected, "accepted");
        tap_is((long long)stats.run, (long long)expected, "and run");
        tap_is((long long)run_of(rt), (long long)expected, "by some worker");
        tap_ok(!stats.cancelled && !stats.queued && !stats.suspended, "nothing else");
        rig_stop(rt);
        free(counts);
}

/* Spawns beyond the run queue go through the injector: counted once all the same. */
static void spawn_many(struct skua_worker *self, struct skua_job *job)
{
        struct count *counts = skua_container(job, struct count, job);
        unsigned count = counts->spawns;

        for (unsigned i = 1; i < count; i++)
                skua_spawn(self, &counts[i].job);
        tally_add(counts->tally, 1);
}

static void check_overflow(unsigned workers)
{
        enum { JOBS = 10000 };
        struct count *counts = calloc(JOBS, sizeof *counts);
        struct skua *rt = rig_start(workers, NULL);
        struct tally tally = {0};

        for (unsigned i = 0; i < JOBS; i++)
                count_init(&counts[i], &tally, 0);
        counts->job.run_ = spawn_many;
        counts->spawns = JOBS;
        skua_submit(rt, &counts->job);
        tally_wait(&tally, JOBS);
        wait_parked(rt);
        tap_is((long long)stats_of(rt).submitted, JOBS, "spawns that overflow are counted once");
        tap_is((long long)stats_of(rt).run, JOBS, "and run once");
        rig_stop(rt);
        free(counts);
}

/* ------------------------------------------------------------------ states */

static void check_states(void)
{
        enum { WORKERS = 2 };
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct gatekeeper keepers[WORKERS];
        struct count queued[3];
        struct tally tally = {0};
        struct skua *rt;

        options.queue_limit = 3;
        rt = rig_start(WORKERS, &options);
        wait_parked(rt);
        tap_ok(!worker_stats(rt, 0).running && !worker_stats(rt, 1).running &&
                       !stats_of(rt).workers_active,
               "nobody is running");
        for (unsigned i = 0; i < WORKERS; i++)
                keep(rt, &keepers[i], i);
        tap_ok(worker_stats(rt, 0).running && worker_stats(rt, 1).running &&
                       stats_of(rt).workers_active == WORKERS,
               "both are");
        for (unsigned i = 0; i < 3; i++) {
                count_init(&queued[i], &tally, 0);
                skua_submit(rt, &queued[i].job);
        }
        tap_is((long long)stats_of(rt).queued, 3, "queued");
        tap_is(skua_try_submit(rt, &queued[0].job), -EAGAIN, "full");
        tap_is((long long)stats_of(rt).refused, 1, "refused");
        for (unsigned i = 0; i < WORKERS; i++)
                let_go(&keepers[i]);
        tally_wait(&tally, 3);
        rig_stop(rt);
}

struct suspended {
        struct skua_job job;
        struct skua_group *group;
        struct tally *tally;
};

static void suspended_run(struct skua_worker *self, struct skua_job *job)
{
        struct suspended *s = skua_container(job, struct suspended, job);

        skua_await_group(self, s->group);
        tally_add(s->tally, 1);
}

static void check_suspended(void)
{
        enum { WAITING = 7 };
        struct skua *rt = rig_start(2, NULL);
        struct suspended waiting[WAITING];
        struct tally tally = {0};
        struct skua_group group;

        skua_group_init(&group);
        skua_group_hold(&group, 1);
        for (unsigned i = 0; i < WAITING; i++) {
                waiting[i].group = &group;
                waiting[i].tally = &tally;
                skua_job_init(&waiting[i].job, suspended_run);
                skua_submit(rt, &waiting[i].job);
        }
        rig_until_suspended(rt, WAITING);
        wait_parked(rt);
        tap_is((long long)stats_of(rt).suspended, WAITING, "suspended, while all workers sleep");
        skua_group_release(&group, 0);
        tally_wait(&tally, WAITING);
        wait_parked(rt);
        tap_is((long long)stats_of(rt).suspended, 0, "and not any more");
        rig_stop(rt);
}

/* ------------------------------------------------------------------ cancelled */

static void check_cancelled(void)
{
        enum { JOBS = 20 };
        struct skua *rt = rig_start(2, NULL);
        struct count counts[2 * JOBS];
        struct tally tally = {0};
        struct skua_group group;
        struct skua_stats stats;

        skua_group_init(&group);
        skua_group_cancel(&group);
        for (unsigned i = 0; i < 2 * JOBS; i++) {
                count_init(&counts[i], &tally, 0);
                if (i & 1)
                        skua_submit(rt, &counts[i].job);
                else
                        skua_group_submit(rt, &group, &counts[i].job);
        }
        tap_is(skua_group_wait(&group, -1), -ECANCELED, "a cancelled group");
        tally_wait(&tally, 2 * JOBS);
        wait_parked(rt);
        stats = stats_of(rt);
        tap_is((long long)stats.cancelled, JOBS, "its jobs are counted as cancelled");
        tap_is((long long)stats.run, JOBS, "not as run");
        tap_is((long long)stats.submitted, 2 * JOBS, "together what was accepted");
        tap_is((long long)run_of(rt), 2 * JOBS, "each was entered");
        rig_stop(rt);
}

/* ------------------------------------------------------------------ time */

static void busy_run(struct skua_worker *self, void *arg)
{
        int64_t end = skua_now_ns() + *(int64_t *)arg;

        (void)self;
        while (skua_now_ns() < end)
                ;
}

static void check_busy(void)
{
        struct skua *rt = rig_start(1, NULL);
        int64_t work_ns = 3000000, begin = skua_now_ns();
        uint64_t before, busy, parks;
        bool grows;

        wait_parked(rt);
        before = worker_stats(rt, 0).busy_ns;
        parks = worker_stats(rt, 0).parks;
        tap_is(skua_run(rt, busy_run, &work_ns), 0, "some work");
        wait_parked(rt);
        busy = worker_stats(rt, 0).busy_ns - before;
        tap_ok(busy >= (uint64_t)work_ns && busy <= (uint64_t)(skua_now_ns() - begin),
               "busy while it works, and not more than there was time");
        tap_is((long long)(worker_stats(rt, 0).parks - parks), 1, "it slept once more");
        before = worker_stats(rt, 0).busy_ns;
        while (skua_now_ns() < begin + 3 * work_ns)
                sched_yield();
        grows = worker_stats(rt, 0).busy_ns != before;
        tap_ok(!grows, "not busy while it sleeps");
        rig_stop(rt);
}

/* ------------------------------------------------------------------ under load */

struct reader {
        struct skua *rt;
        atomic_bool stop;
        atomic_uint wrong;
};

static void *read_on(void *arg)
{
        struct reader *reader = arg;
        uint64_t last_run = 0, last_parks = 0;

        while (!atomic_load(&reader->stop)) {
                struct skua_stats stats = stats_of(reader->rt);
                uint64_t parks = parks_of(reader->rt);
                bool wrong = stats.run < last_run || parks < last_parks ||
                             stats.workers_active > skua_workers(reader->rt);

                atomic_fetch_add(&reader->wrong, wrong);
                last_run = stats.run;
                last_parks = parks;
        }
        return NULL;
}

static void check_load(void)
{
        enum { JOBS = 64 };
        struct reader reader = {.rt = rig_start(3, NULL)};
        unsigned rounds = rig_rounds(300);
        struct count counts[JOBS];
        struct tally tally = {0};
        pthread_t threads[2];

        for (unsigned i = 0; i < 2; i++)
                threads[i] = go(read_on, &reader);
        for (unsigned i = 0; i < rounds; i++) {
                for (unsigned k = 0; k < JOBS; k++) {
                        count_init(&counts[k], &tally, 2);
                        skua_submit(reader.rt, &counts[k].job);
                }
                tally_wait(&tally, (i + 1) * JOBS * 3);
        }
        atomic_store(&reader.stop, true);
        for (unsigned i = 0; i < 2; i++)
                join(threads[i]);
        tap_is(atomic_load(&reader.wrong), 0, "read under load, figures only grow");
        rig_stop(reader.rt);
}

int main(void)
{
        struct skua *rt;

        tap_plan(CHECKS, 60);
        rt = rig_start(2, NULL);
        check_sizes(rt);
        rig_stop(rt);
        check_sums(1);
        check_sums(4);
        check_overflow(1);
        check_overflow(4);
        check_states();
        check_suspended();
        check_cancelled();
        check_busy();
        check_load();
        return tap_done();
}
