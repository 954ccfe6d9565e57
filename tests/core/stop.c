/* SPDX-License-Identifier: MIT
 *
 * Stops while others submit, and handles of runtimes that are no more: what a producer does that
 * was preempted inside a call while the runtime ended, and its memory became that of another.
 */
#include "core/crew.h"

enum { CHECKS = 18, PRODUCERS_MAX = 4 };

/* ------------------------------------------------------------------ stop against submit */

struct contest {
        struct skua *rt;
        struct tally accepted, entered;
        atomic_uint cancelled, wrong;
};

struct item {
        struct skua_job job;
        struct contest *contest;
        unsigned spawns;
};

/* The job frees itself: a touch after its function was entered would be found. */
static void item_run(struct skua_worker *self, struct skua_job *job)
{
        struct item *item = skua_container(job, struct item, job);
        struct contest *contest = item->contest;

        atomic_fetch_add(&contest->entered.value, 1);
        if (skua_cancelled(self))
                atomic_fetch_add(&contest->cancelled, 1);
        if (item->spawns) {
                item->spawns--;
                atomic_fetch_add(&contest->accepted.value, 1);
                skua_spawn(self, job);
        } else {
                free(item);
        }
}

static void posted(struct skua_worker *self, void *arg)
{
        struct contest *contest = *(struct contest **)arg;

        (void)self;
        atomic_fetch_add(&contest->entered.value, 1);
}

static int submit_somehow(struct contest *contest, struct item *item, uint64_t r)
{
        struct skua_target where = SKUA_TARGET_INIT;

        switch (r % 4) {
        case 0:
                return skua_submit(contest->rt, &item->job);
        case 1:
                return skua_try_submit(contest->rt, &item->job);
        case 2:
                where.worker = SKUA_WORKER(r / 8 % skua_workers(contest->rt));
                return skua_submit_to(contest->rt, &item->job, &where);
        default:
                return (int)skua_submit_array(contest->rt, &item->job, 1, sizeof *item, NULL) - 1;
        }
}

/* Until it is told that the runtime closes. */
static void *produce(void *arg)
{
        struct contest *contest = arg;
        uint64_t random = (uint64_t)(uintptr_t)&random ^ (uint64_t)clock();

        for (;;) {
                uint64_t r = tap_random(&random) >> 32;
                struct item *item;
                int result;

                if (r % 16 == 0) {
                        result = skua_post(contest->rt, posted, &contest, sizeof contest);
                        if (result)
                                break;
                        tally_add(&contest->accepted, 1);
                        continue;
                }
                item = calloc(1, sizeof *item);
                skua_job_init(&item->job, item_run);
                item->contest = contest;
                item->spawns = (unsigned)(r >> 4) % 3;
                result = submit_somehow(contest, item, r >> 8);
                if (result == 0) {
                        tally_add(&contest->accepted, 1);
                        continue;
                }
                free(item);
                if (result == -EAGAIN)
                        continue;
                if (result != -ESHUTDOWN && result != -ESHUTDOWN - 1)
                        atomic_fetch_add(&contest->wrong, 1);
                break;
        }
        return NULL;
}

static unsigned stop_against(unsigned workers, unsigned producers, enum skua_stop_how how,
                             size_t queue_limit)
{
        static struct contest contest;
        struct skua_options options = SKUA_OPTIONS_INIT;
        pthread_t threads[PRODUCERS_MAX];
        unsigned wrong = 0;

        memset(&contest, 0, sizeof contest);
        options.queue_limit = queue_limit;
        contest.rt = rig_start(workers, &options);
        for (unsigned i = 0; i < producers; i++)
                threads[i] = go(produce, &contest);
        tally_wait(&contest.accepted, 1 + workers * 7);
        wrong += skua_stop(contest.rt, how) != 0;
        for (unsigned i = 0; i < producers; i++)
                join(threads[i]);
        wrong += tally_read(&contest.accepted) != tally_read(&contest.entered);
        wrong += how == SKUA_DRAIN && atomic_load(&contest.cancelled);
        return wrong + atomic_load(&contest.wrong);
}

static void check_contest(unsigned producers)
{
        unsigned rounds = rig_rounds(200), drains = 0, cancels = 0;

        for (unsigned i = 0; i < rounds; i++) {
                size_t limit = i & 1 ? 1 + i % 7 : 0;

                drains += stop_against(1 + i % 4, producers, SKUA_DRAIN, limit);
                cancels += stop_against(1 + i % 4, producers, SKUA_CANCEL, limit);
        }
        tap_ok(!drains, "drains against %u producers: accepted == entered", producers);
        tap_ok(!cancels, "cancels against %u producers: accepted == entered", producers);
}

/* Producers that sleep before a full queue are told. */
static void *submit_waiting(void *arg)
{
        struct contest *contest = arg;
        struct item *item = calloc(1, sizeof *item);
        int result;

        skua_job_init(&item->job, item_run);
        item->contest = contest;
        result = skua_submit(contest->rt, &item->job);
        if (result)
                free(item);
        else
                tally_add(&contest->accepted, 1);
        return (void *)(intptr_t)result;
}

static void check_blocked(bool by_close)
{
        static struct contest contest;
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct gatekeeper keeper;
        pthread_t threads[PRODUCERS_MAX];
        unsigned refused = 0;

        memset(&contest, 0, sizeof contest);
        options.queue_limit = 1;
        contest.rt = rig_start(1, &options);
        keep(contest.rt, &keeper, 0);
        for (unsigned i = 0; i < PRODUCERS_MAX; i++)
                threads[i] = go(submit_waiting, &contest);
        tally_wait(&contest.accepted, 1);
        if (by_close) {
                skua_close(contest.rt);
                for (unsigned i = 0; i < PRODUCERS_MAX; i++)
                        refused += (intptr_t)join(threads[i]) == -ESHUTDOWN;
                tap_is(refused, PRODUCERS_MAX - 1, "the close wakes those who wait for room");
        }
        let_go(&keeper);
        if (!by_close) {
                for (unsigned i = 0; i < PRODUCERS_MAX; i++)
                        refused += join(threads[i]) != NULL;
                tap_is(refused, 0, "room wakes them, one after the other");
        }
        rig_stop(contest.rt);
        tap_is(tally_read(&contest.entered), tally_read(&contest.accepted), "accepted is run");
}

/* ------------------------------------------------------------------ handles of the past */

struct past {
        struct skua *old;
        atomic_bool stop;
        struct tally turns;
        atomic_uint wrong;
        bool stops; /* also calls close and stop */
};

static void never(struct skua_worker *self, struct skua_job *job)
{
        (void)self, (void)job;
        printf("Bail out! a job of the past has run\n");
        abort();
}

static void never_call(struct skua_worker *self, void *arg)
{
        (void)arg;
        never(self, NULL);
}

/* Each call had begun before the old runtime's stop returned, and was preempted until now. */
static void *call_the_past(void *arg)
{
        struct past *past = arg;
        struct skua_target where = SKUA_TARGET_INIT, node = SKUA_TARGET_INIT;
        struct skua_group group;
        struct skua_job job;
        unsigned id = 0;

        getcpu(NULL, &id);
        node.node = SKUA_NODE(id);
        skua_group_init(&group);
        skua_job_init(&job, never);
        where.worker = SKUA_WORKER(0);
        while (!atomic_load(&past->stop)) {
                unsigned wrong = 0;

                wrong += skua_submit(past->old, &job) != -ESHUTDOWN;
                wrong += skua_try_submit(past->old, &job) != -ESHUTDOWN;
                wrong += skua_submit_to(past->old, &job, &where) != -ESHUTDOWN;
                wrong += skua_submit_to(past->old, &job, &node) != -ESHUTDOWN;
                wrong += skua_submit_array(past->old, &job, 1, 64, NULL) != -ESHUTDOWN;
                wrong += skua_group_submit(past->old, &group, &job) != -ESHUTDOWN;
                wrong += skua_post(past->old, never_call, NULL, 0) != -ESHUTDOWN;
                wrong += skua_run(past->old, never_call, NULL) != -ESHUTDOWN;
                wrong += skua_group_wait(&group, 0) != 0;
                if (past->stops) {
                        wrong += skua_close(past->old) != 0;
                        wrong += skua_stop(past->old, SKUA_CANCEL) != -EALREADY;
                        wrong += skua_stop_within(past->old, 0) != -EALREADY;
                }
                atomic_fetch_add(&past->wrong, wrong);
                tally_add(&past->turns, 1);
        }
        return NULL;
}

/* One runtime of the same shape after the other, while a thread calls the first one's handle. */
static unsigned live_on(struct past *past, unsigned workers, size_t limit)
{
        enum { JOBS = 20 };
        static struct contest contest;
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct skua_stats stats;
        unsigned wrong = 0, accepted = 0;

        memset(&contest, 0, sizeof contest);
        options.queue_limit = limit;
        contest.rt = rig_start(workers, &options);
        wrong += contest.rt == past->old;
        for (unsigned i = 0; i < JOBS; i++) {
                struct item *item = calloc(1, sizeof *item);

                skua_job_init(&item->job, item_run);
                item->contest = &contest;
                wrong += submit_somehow(&contest, item, i & 1 ? 0 : 2) != 0;
                accepted++;
        }
        while (atomic_load(&contest.entered.value) < accepted)
                sched_yield();
        /* A call of the past that is under way is counted for a moment as queued. */
        do {
                stats = stats_of(contest.rt);
                wrong += stats.submitted < accepted || stats.run > accepted;
        } while (stats.submitted != accepted || stats.run != accepted);
        wrong += stats.cancelled != 0 || stats.refused != 0;
        wrong += atomic_load(&contest.cancelled) != 0;
        wrong += skua_stop(contest.rt, SKUA_DRAIN) != 0;
        return wrong;
}

static void check_past(unsigned workers, bool stops)
{
        struct past past = {.old = rig_start(workers, NULL), .stops = stops};
        unsigned rounds = rig_rounds(200), wrong = 0;
        pthread_t thread;

        rig_stop(past.old);
        thread = go(call_the_past, &past);
        tally_wait(&past.turns, 3);
        for (unsigned i = 0; i < rounds; i++)
                wrong += live_on(&past, workers, i % 3);
        atomic_store(&past.stop, true);
        join(thread);
        tap_ok(!atomic_load(&past.wrong), "%u workers%s: the old handle finds it closed, always",
               workers, stops ? ", stops too" : "");
        tap_ok(!wrong, "and the new runtimes do not notice");
}

int main(void)
{
        tap_plan(CHECKS, 120);
        check_blocked(true);
        check_blocked(false);
        for (unsigned producers = 1; producers <= PRODUCERS_MAX; producers *= 2)
                check_contest(producers);
        for (unsigned workers = 1; workers <= 4; workers += 3) {
                check_past(workers, false);
                check_past(workers, true);
        }
        return tap_done();
}
