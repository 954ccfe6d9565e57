/* SPDX-License-Identifier: MIT
 *
 * Jobs with a time: not before a delay, cancelled from a deadline on; and groups that are cancelled
 * at a time.
 */
#include "core/crew.h"

enum { CHECKS = 47, JOBS = 400 };

#define HOUR_NS 3600000000000

struct timed {
        struct skua_job job;
        int64_t not_before_ns;
        unsigned worker, place;
        bool early, cancelled;
};

static struct tally called;
static struct timed jobs[JOBS];
static atomic_uint places;

static void timed_run(struct skua_worker *self, struct skua_job *job)
{
        struct timed *t = skua_container(job, struct timed, job);

        t->cancelled = skua_cancelled(self);
        t->early = !t->cancelled && skua_now_ns() < t->not_before_ns;
        t->worker = skua_worker_index(self);
        t->place = atomic_fetch_add(&places, 1);
        tally_add(&called, 1);
}

static void begin(void)
{
        tally_reset(&called);
        atomic_store(&places, 0);
        memset(jobs, 0, sizeof jobs);
        for (unsigned i = 0; i < JOBS; i++)
                skua_job_init(&jobs[i].job, timed_run);
}

static unsigned early_ones(unsigned count)
{
        unsigned sum = 0;

        for (unsigned i = 0; i < count; i++)
                sum += jobs[i].early;
        return sum;
}

static unsigned cancelled_ones(unsigned count)
{
        unsigned sum = 0;

        for (unsigned i = 0; i < count; i++)
                sum += jobs[i].cancelled;
        return sum;
}

/* One job with this target's wishes. */
static int to(struct skua *rt, struct timed *t, const struct skua_target *where)
{
        t->not_before_ns = INT64_MAX;
        if (where->delay_ns < INT64_MAX / 2)
                t->not_before_ns = skua_now_ns() + where->delay_ns;
        return skua_submit_to(rt, &t->job, where);
}

/* ------------------------------------------------------------------ delays */

static uint64_t random_state;

static void check_outside(unsigned workers)
{
        struct skua *rt = rig_start(workers, NULL);
        struct skua_target where = SKUA_TARGET_INIT;
        unsigned refused = 0;

        begin();
        for (unsigned i = 0; i < JOBS; i++) {
                if (i % 50 == 0)
                        wait_parked(rt);
                where.delay_ns = 1 + (int64_t)(tap_random(&random_state) % 2000000);
                refused += to(rt, &jobs[i], &where) != 0;
        }
        tally_wait(&called, JOBS);
        tap_ok(!refused && !early_ones(JOBS), "from outside, %u workers: none early", workers);
        tap_is(cancelled_ones(JOBS), 0, "nor cancelled");
        rig_stop(rt);
}

/* A worker that sleeps for ever, or until later, is woken for what comes before. */
static void check_sleeper(unsigned workers)
{
        struct skua *rt = rig_start(workers, NULL);
        struct skua_target where = SKUA_TARGET_INIT;

        begin();
        wait_parked(rt);
        for (unsigned i = 0; i < 2 * workers; i++) {
                where.delay_ns = HOUR_NS;
                where.worker = SKUA_WORKER(i % workers);
                to(rt, &jobs[2 * i], &where);
                wait_parked(rt);
                where.delay_ns = 1000000;
                to(rt, &jobs[2 * i + 1], &where);
                tally_wait(&called, i + 1);
        }
        tap_ok(!early_ones(JOBS), "sleepers are woken for earlier deadlines, %u workers", workers);
        skua_stop(rt, SKUA_DRAIN);
        tap_is(cancelled_ones(4 * workers), 2 * workers,
               "and what is not due is cancelled at last");
}

static void check_targets(void)
{
        struct skua *rt = rig_start(3, NULL);
        struct skua_target where = SKUA_TARGET_INIT;
        struct skua_stats stats;
        struct skua_group group;
        unsigned wrong = 0;

        begin();
        skua_group_init(&group);
        where.group = &group;
        where.delay_ns = 500000;
        for (unsigned i = 0; i < 30; i++) {
                where.worker = SKUA_WORKER(i % 3);
                to(rt, &jobs[i], &where);
        }
        stats = stats_of(rt);
        tap_is((long long)stats.submitted, 30, "accepted is submitted, due or not");
        tap_is(skua_group_wait(&group, -1), 0, "its group waits for it");
        for (unsigned i = 0; i < 30; i++)
                wrong += jobs[i].worker != i % 3 || jobs[i].early;
        tap_is(wrong, 0, "it runs on the worker of its target");
        where.worker = 0;
        where.node = SKUA_NODE(0);
        where.delay_ns = 100;
        tap_is(to(rt, &jobs[30], &where), 0, "to a node");
        tap_is(skua_group_wait(&group, -1), 0, "and waited for");
        wait_parked(rt);
        stats = stats_of(rt);
        tap_ok(stats.submitted == 31 && stats.run == 31, "submitted and run: %llu, %llu",
               (unsigned long long)stats.submitted, (unsigned long long)stats.run);
        rig_stop(rt);
}

static void check_array(void)
{
        struct skua *rt = rig_start(1, NULL);
        struct skua_target where = SKUA_TARGET_INIT;
        unsigned wrong = 0;

        begin();
        where.delay_ns = 300000;
        for (unsigned i = 0; i < JOBS; i++)
                jobs[i].not_before_ns = skua_now_ns() + where.delay_ns;
        tap_is(skua_submit_array(rt, jobs, JOBS, sizeof *jobs, &where), JOBS, "an array");
        tally_wait(&called, JOBS);
        for (unsigned i = 0; i < JOBS; i++)
                wrong += jobs[i].place != i;
        tap_is(wrong, 0, "in order");
        tap_is(early_ones(JOBS), 0, "not early");
        rig_stop(rt);
}

/* From jobs: to the own wheel, to another's, by await. */
static void submit_inside(struct skua_worker *self, void *arg)
{
        struct skua *rt = skua_runtime(self);
        struct skua_target where = SKUA_TARGET_INIT;

        (void)arg;
        for (unsigned i = 0; i < JOBS; i++) {
                where.delay_ns = 1 + (int64_t)(tap_random(&random_state) % 1000000);
                where.worker = i % 2 ? SKUA_WORKER(i % 3) : 0;
                jobs[i].not_before_ns = skua_now_ns() + where.delay_ns;
                if (i % 5)
                        skua_submit_to(rt, &jobs[i].job, &where);
                else
                        skua_await_submit(self, &jobs[i].job, &where);
        }
}

static void check_inside(void)
{
        struct skua *rt = rig_start(3, NULL);
        struct skua_stats stats;
        unsigned wrong = 0;

        begin();
        skua_run(rt, submit_inside, NULL);
        tally_wait(&called, JOBS);
        for (unsigned i = 1; i < JOBS; i += 2)
                wrong += jobs[i].worker != i % 3;
        tap_is(wrong, 0, "from a job: to the worker of the target");
        tap_is(early_ones(JOBS), 0, "not early");
        wait_parked(rt);
        stats = stats_of(rt);
        tap_is((long long)stats.submitted, JOBS + 1, "submitted");
        tap_is((long long)stats.run, JOBS + 1, "and run");
        rig_stop(rt);
}

static void check_far(void)
{
        struct skua *rt = rig_start(2, NULL);
        struct skua_target where = SKUA_TARGET_INIT;

        begin();
        where.delay_ns = INT64_MAX;
        tap_is(to(rt, &jobs[0], &where), 0, "a delay beyond the end of time");
        where.delay_ns = 50 * 365 * 24 * HOUR_NS;
        tap_is(to(rt, &jobs[1], &where), 0, "of fifty years");
        wait_parked(rt);
        tap_is(tally_read(&called), 0, "is not over yet");
        skua_close(rt);
        tap_is(to(rt, &jobs[2], &where), -ESHUTDOWN, "a closed runtime takes none");
        skua_stop(rt, SKUA_DRAIN);
        tap_ok(tally_read(&called) == 2 && cancelled_ones(2) == 2,
               "a stop calls them as cancelled");
}

/* Submitters of delayed jobs beside the stop: what is accepted is called. */
static atomic_uint accepted;

static void *submit_many(void *arg)
{
        struct skua *rt = arg;
        static atomic_uint turn;
        unsigned mine = atomic_fetch_add(&turn, 1) % 4;
        struct skua_target where = SKUA_TARGET_INIT;

        for (unsigned i = mine; i < JOBS; i += 4) {
                where.delay_ns = i % 3 ? 1 + i * 50 : HOUR_NS;
                if (skua_submit_to(rt, &jobs[i].job, &where))
                        break;
                atomic_fetch_add(&accepted, 1);
        }
        return NULL;
}

static void check_beside_stop(void)
{
        unsigned wrong = 0, rounds = rig_rounds(200);

        for (unsigned round = 0; round < rounds; round++) {
                struct skua *rt = rig_start(1 + round % 4, NULL);
                pthread_t threads[4];

                begin();
                atomic_store(&accepted, 0);
                for (unsigned i = 0; i < 4; i++)
                        threads[i] = go(submit_many, rt);
                for (uint64_t i = tap_random(&random_state) % 300; i > 0; i--)
                        sched_yield();
                skua_stop(rt, round % 2 ? SKUA_DRAIN : SKUA_CANCEL);
                for (unsigned i = 0; i < 4; i++)
                        join(threads[i]);
                wrong += tally_read(&called) != atomic_load(&accepted);
        }
        tap_is(wrong, 0, "accepted beside a stop: called");
}

/* ------------------------------------------------------------------ deadlines */

static void wait_late(struct skua_worker *self, struct skua_job *job)
{
        struct timed *t = skua_container(job, struct timed, job);

        t->early = skua_cancelled(self) && skua_now_ns() < t->not_before_ns;
        while (!skua_cancelled(self)) /* bound: the deadline */
                sched_yield();
        t->early |= skua_now_ns() < t->not_before_ns;
        tally_add(&called, 1);
}

static void body_late(struct skua_worker *self, size_t from, size_t to_index, void *arg)
{
        (void)self, (void)from, (void)to_index, (void)arg;
        sched_yield();
}

/* The loop's own scope has the deadline of the job. */
static void loop_late(struct skua_worker *self, struct skua_job *job)
{
        struct timed *t = skua_container(job, struct timed, job);

        t->place = (unsigned)-skua_for(self, 0, SIZE_MAX / 2, 1, body_late, NULL);
        tally_add(&called, 1);
}

static void check_deadline(void)
{
        struct skua *rt = rig_start(2, NULL);
        struct skua_target where = SKUA_TARGET_INIT;
        struct skua_stats stats;

        begin();
        where.deadline_ns = 1;
        to(rt, &jobs[0], &where);
        tally_wait(&called, 1);
        tap_ok(jobs[0].cancelled, "a deadline that has passed: called, cancelled");
        skua_submit(rt, &jobs[0].job);
        tally_wait(&called, 2);
        tap_ok(!jobs[0].cancelled, "submitted anew without: not");
        where.deadline_ns = INT64_MAX;
        to(rt, &jobs[0], &where);
        tally_wait(&called, 3);
        tap_ok(!jobs[0].cancelled, "nor with one that is far away");
        jobs[1].job.run_ = wait_late;
        where.deadline_ns = skua_now_ns() + 300000;
        jobs[1].not_before_ns = where.deadline_ns;
        skua_submit_to(rt, &jobs[1].job, &where);
        tally_wait(&called, 4);
        tap_ok(!jobs[1].early, "it passes while the job runs");
        jobs[2].job.run_ = loop_late;
        where.deadline_ns = skua_now_ns() + 300000;
        skua_submit_to(rt, &jobs[2].job, &where);
        tally_wait(&called, 5);
        tap_is(jobs[2].place, ECANCELED, "or in a loop");
        where.deadline_ns = skua_now_ns() + 200000;
        where.delay_ns = 400000;
        to(rt, &jobs[3], &where);
        tally_wait(&called, 6);
        tap_ok(jobs[3].cancelled, "it passes during the delay");
        where.deadline_ns = HOUR_NS + skua_now_ns();
        where.worker = SKUA_WORKER(1);
        to(rt, &jobs[4], &where);
        tally_wait(&called, 7);
        tap_ok(!jobs[4].cancelled && !jobs[4].early && jobs[4].worker == 1, "or not");
        where.delay_ns = 0;
        where.worker = 0;
        where.deadline_ns = 1;
        tap_is(skua_submit_array(rt, jobs, 10, sizeof *jobs, &where), 10, "an array with one");
        tally_wait(&called, 17);
        wait_parked(rt);
        stats = stats_of(rt);
        /* jobs[1] and jobs[2] again: entered when it had passed, as they may have been before. */
        tap_ok(stats.submitted == 17 && stats.run + stats.cancelled == 17 &&
                       stats.cancelled >= 12 && stats.cancelled <= 14,
               "entered late counts as cancelled: %llu run, %llu cancelled",
               (unsigned long long)stats.run, (unsigned long long)stats.cancelled);
        rig_stop(rt);
}

static void deadlines_inside(struct skua_worker *self, void *arg)
{
        struct skua_target where = SKUA_TARGET_INIT;

        (void)arg;
        where.deadline_ns = 1;
        skua_submit_to(skua_runtime(self), &jobs[0].job, &where);
        where.worker = SKUA_WORKER(1);
        skua_submit_to(skua_runtime(self), &jobs[1].job, &where);
        where.worker = 0;
        where.node = SKUA_NODE(0);
        skua_submit_to(skua_runtime(self), &jobs[2].job, &where);
        where.node = 0;
        skua_await_submit(self, &jobs[3].job, &where);
}

static void check_deadline_inside(void)
{
        struct skua *rt = rig_start(2, NULL);

        begin();
        skua_run(rt, deadlines_inside, NULL);
        tally_wait(&called, 4);
        tap_is(cancelled_ones(4), 4, "from a job, in every way");
        rig_stop(rt);
}

/* ------------------------------------------------------------------ groups */

static void check_group(void)
{
        struct skua *rt = rig_start(1, NULL);
        struct skua_group group, under;

        begin();
        skua_group_init(&group);
        skua_group_init_under(&under, &group);
        skua_group_cancel_at(rt, &group, skua_now_ns() + HOUR_NS);
        tap_ok(!skua_group_cancelled(&group), "cancelled in an hour: not yet");
        skua_group_cancel_at(rt, &group, skua_now_ns());
        tap_ok(skua_group_cancelled(&group) && skua_group_cancelled(&under),
               "now, and those under");
        skua_group_cancel_at(rt, &group, 0);
        tap_ok(skua_group_cancelled(&group), "what has happened is not taken back");
        tap_is(skua_group_wait(&group, 0), -ECANCELED, "its result says so");
        tap_ok(!skua_group_cancelled(&group), "and takes it away");
        skua_group_cancel_at(rt, &group, skua_now_ns() + HOUR_NS);
        skua_group_cancel_at(rt, &group, 0);
        skua_group_submit(rt, &group, &jobs[0].job);
        tap_is(skua_group_wait(&group, -1), 0, "taken back in time");
        skua_group_cancel_at(rt, &group, skua_now_ns() + 200000);
        jobs[1].job.run_ = wait_late;
        skua_group_submit(rt, &group, &jobs[1].job);
        tap_is(skua_group_wait(&group, -1), -ECANCELED, "while a job runs");
        skua_group_cancel_at(rt, &group, skua_now_ns() + 20000000);
        skua_group_hold(&group, 1);
        skua_group_release(&group, 0);
        if (skua_group_cancelled(&group)) {
                tap_skip(2, "preempted for 20 ms");
        } else {
                int64_t past = skua_now_ns() + 21000000;

                while (skua_now_ns() < past)
                        sched_yield();
                tap_ok(!skua_group_cancelled(&group), "empty before its time: too late for it");
                skua_group_hold(&group, 1);
                tap_ok(skua_group_cancelled(&group), "but not for those that come after");
                skua_group_release(&group, 0);
        }
        skua_group_wait(&group, 0);
        tap_is(skua_group_wait(&group, 0), 0, "whoever took the result took the time");
        rig_stop(rt);
}

int main(void)
{
        tap_plan(CHECKS, 200);
        check_outside(1);
        check_outside(4);
        check_sleeper(1);
        check_sleeper(2);
        check_targets();
        check_array();
        check_inside();
        check_far();
        check_beside_stop();
        check_deadline();
        check_deadline_inside();
        check_group();
        return tap_done();
}
