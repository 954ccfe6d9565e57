/* SPDX-License-Identifier: MIT
 *
 * A bound on what is queued: it is met exactly, and whoever waits for room gets it.
 */
#include "core/item.h"

enum { CHECKS = 27 };

/* ------------------------------------------------------------------ the bound */

struct filler {
        struct skua *rt;
        struct item item;
        atomic_int result;
        struct tally *returned;
};

static void *submit_and_wait(void *arg)
{
        struct filler *filler = arg;

        atomic_store(&filler->result, skua_submit(filler->rt, &filler->item.job));
        tally_add(filler->returned, 1);
        return NULL;
}

static void check_bound(unsigned limit)
{
        enum { WAITING = 3 };
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct item *items = calloc(limit + 5, sizeof *items);
        struct filler fillers[WAITING];
        struct tally tally = {0}, returned = {0};
        struct gatekeeper keeper;
        pthread_t threads[WAITING];
        unsigned accepted = 0, wrong = 0;
        struct skua *rt;

        options.queue_limit = limit;
        rt = rig_start(1, &options);
        keep(rt, &keeper, 0);
        for (unsigned i = 0; i < limit + 5; i++)
                item_init(&items[i], &tally, i);
        while (accepted < limit + 5 && skua_try_submit(rt, &items[accepted].job) == 0)
                accepted++;
        tap_is(accepted, limit, "as many as the bound are accepted");
        tap_is(skua_try_submit(rt, &items[limit].job), -EAGAIN, "then no more");
        tap_is(skua_submit_array(
                       rt, &items[limit], 2, sizeof *items,
                       &(struct skua_target){sizeof(struct skua_target), .flags = SKUA_TRY}),
               -EAGAIN, "no array either");
        tap_is(stats_of(rt).queued, limit, "all of them are queued");
        for (unsigned i = 0; i < WAITING; i++) {
                fillers[i] = (struct filler){.rt = rt, .returned = &returned};
                item_init(&fillers[i].item, &tally, i);
                threads[i] = go(submit_and_wait, &fillers[i]);
        }
        wrong += stats_of(rt).refused != 3;
        let_go(&keeper);
        tally_wait(&returned, WAITING);
        tally_wait(&tally, limit + WAITING);
        for (unsigned i = 0; i < WAITING; i++) {
                join(threads[i]);
                wrong += atomic_load(&fillers[i].result) != 0;
        }
        tap_is(wrong, 0, "those who waited come in when there is room");
        rig_stop(rt);
        free(items);
}

/* Producers before a narrow door, consumers behind it. */
static void *push_many(void *arg)
{
        struct filler *filler = arg;
        unsigned count = rig_rounds(3000);

        for (unsigned i = 0; i < count; i++) {
                struct tally *tally = filler->item.tally;
                unsigned before = tally_read(tally);

                if (skua_submit(filler->rt, &filler->item.job))
                        atomic_fetch_add(&filler->result, 1);
                tally_wait(tally, before + 1);
        }
        return NULL;
}

static void check_narrow(unsigned workers)
{
        enum { PRODUCERS = 4 };
        static struct tally tallies[PRODUCERS];
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct filler fillers[PRODUCERS];
        pthread_t threads[PRODUCERS];
        unsigned wrong = 0;
        struct skua *rt;

        options.queue_limit = 1;
        options.spin_ns = (unsigned)SKUA_NONE;
        rt = rig_start(workers, &options);
        for (unsigned i = 0; i < PRODUCERS; i++) {
                tally_reset(&tallies[i]);
                fillers[i] = (struct filler){.rt = rt};
                item_init(&fillers[i].item, &tallies[i], i);
                threads[i] = go(push_many, &fillers[i]);
        }
        for (unsigned i = 0; i < PRODUCERS; i++) {
                join(threads[i]);
                wrong += atomic_load(&fillers[i].result) != 0;
                wrong += tally_read(&tallies[i]) != rig_rounds(3000);
        }
        tap_ok(!wrong, "four before a door for one, %u behind it: nobody sleeps for ever", workers);
        rig_stop(rt);
}

/* ------------------------------------------------------------------ awaiting room */

enum { AWAIT_LIMIT = 3, AWAIT_COUNT = 60 };

struct awaiter {
        struct skua_job job;
        struct item items[AWAIT_COUNT];
        struct tally ran, done;
        unsigned accepted, after, wrong, isolated;
};

static void await_isolated(struct skua_worker *self, void *arg)
{
        struct awaiter *a = arg;

        a->isolated = (unsigned)-skua_await_submit(self, &a->items[a->accepted].job, NULL);
}

static void await_run(struct skua_worker *self, struct skua_job *job)
{
        struct awaiter *a = skua_container(job, struct awaiter, job);
        struct skua_target try = SKUA_TARGET_INIT, worker = SKUA_TARGET_INIT;
        unsigned index = skua_worker_index(self), before;

        try.flags = SKUA_TRY;
        worker.worker = SKUA_WORKER(0);
        a->wrong += skua_await_submit(self, NULL, NULL) != -EINVAL;
        while (skua_await_submit(self, &a->items[a->accepted].job, &try) == 0)
                a->accepted++;
        a->wrong += skua_await_submit(self, &a->items[a->accepted].job, &try) != -EAGAIN;
        skua_isolated(self, await_isolated, a);
        a->wrong += skua_await_submit(self, &a->items[a->accepted++].job, &worker) != 0;
        before = tally_read(&a->ran);
        for (a->after = a->accepted; a->after < AWAIT_COUNT; a->after++) {
                a->wrong += skua_await_submit(self, &a->items[a->after].job, NULL) != 0;
                a->wrong += stats_of(skua_runtime(self)).queued > AWAIT_LIMIT;
                a->wrong += skua_worker_index(self) != index;
        }
        /* The others have run on this very worker while this job waited. */
        a->wrong += tally_read(&a->ran) < before + AWAIT_COUNT - a->accepted - AWAIT_LIMIT;
        tally_add(&a->done, 1);
}

static void check_await(void)
{
        static struct awaiter a;
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct skua *rt;

        memset(&a, 0, sizeof a);
        options.queue_limit = AWAIT_LIMIT;
        rt = rig_start(1, &options);
        for (unsigned i = 0; i < AWAIT_COUNT; i++)
                item_init(&a.items[i], &a.ran, i);
        skua_job_init(&a.job, await_run);
        skua_submit(rt, &a.job);
        tally_wait(&a.done, 1);
        tally_wait(&a.ran, AWAIT_COUNT);
        tap_is(a.accepted, AWAIT_LIMIT + 1, "a job is bound when it asks to be");
        tap_is(a.isolated, EDEADLK, "isolated it cannot wait");
        tap_is(a.wrong, 0, "else it waits for room, and its worker goes on");
        rig_stop(rt);
}

/* What ends a wait for room early. The worker itself is kept busy meanwhile by the job that it runs
 * next, so that no room comes. */
struct giver_up {
        struct skua_job job, keeper;
        struct item items[AWAIT_LIMIT + 1];
        struct tally ran;
        atomic_uint kept, release;
        int late, cancelled;
};

static void keeper_run(struct skua_worker *self, struct skua_job *job)
{
        struct giver_up *g = skua_container(job, struct giver_up, keeper);

        (void)self;
        atomic_store(&g->kept, 1);
        rig_until(&g->release, 1);
}

static void giver_up_run(struct skua_worker *self, struct skua_job *job)
{
        struct giver_up *g = skua_container(job, struct giver_up, job);
        struct skua_job *last = &g->items[AWAIT_LIMIT].job;

        for (unsigned i = 0; i < AWAIT_LIMIT; i++)
                skua_await_submit(self, &g->items[i].job, NULL);
        g->late = skua_await_submit_until(self, last, NULL, 1);
        skua_job_init(&g->keeper, keeper_run);
        skua_spawn(self, &g->keeper);
        g->cancelled = skua_await_submit(self, last, NULL);
}

static void check_giving_up(void)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct giver_up g = {.kept = 0};
        struct skua_group group;
        struct skua *rt;

        options.queue_limit = AWAIT_LIMIT;
        rt = rig_start(1, &options);
        skua_group_init(&group);
        for (unsigned i = 0; i <= AWAIT_LIMIT; i++)
                item_init(&g.items[i], &g.ran, i);
        skua_job_init(&g.job, giver_up_run);
        skua_group_submit(rt, &group, &g.job);
        rig_until(&g.kept, 1);
        skua_group_cancel(&group);
        atomic_store(&g.release, 1);
        skua_group_wait(&group, -1);
        tap_is(g.late, -ETIMEDOUT, "a wait for room whose time is up does not begin");
        tap_is(g.cancelled, -ECANCELED, "one of a cancelled job ends");
        rig_stop(rt);
        tap_is(tally_read(&g.ran), AWAIT_LIMIT, "and its job has not been submitted");
}

/* Many jobs that await before a narrow door, beside threads that wait there. */
struct pusher {
        struct skua_job job;
        struct item item;
        unsigned left;
        struct tally *pushed;
        atomic_uint *wrong;
};

static void pusher_run(struct skua_worker *self, struct skua_job *job)
{
        struct pusher *pusher = skua_container(job, struct pusher, job);

        while (pusher->left--) {
                unsigned before = tally_read(pusher->item.tally);

                if (skua_await_submit(self, &pusher->item.job, NULL))
                        atomic_fetch_add(pusher->wrong, 1);
                /* The item is ours again when it has run. */
                while (tally_read(pusher->item.tally) == before) {
                        struct skua_group group;
                        struct item yield;
                        struct tally ran = {0};

                        skua_group_init(&group);
                        item_init(&yield, &ran, 0);
                        skua_group_spawn(self, &group, &yield.job);
                        skua_await_group(self, &group);
                }
        }
        tally_add(pusher->pushed, 1);
}

static void check_await_narrow(unsigned workers)
{
        enum { PUSHERS = 6, THREADS = 2 };
        static struct tally tallies[PUSHERS + THREADS];
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct pusher pushers[PUSHERS];
        struct filler fillers[THREADS];
        pthread_t threads[THREADS];
        struct tally pushed = {0};
        atomic_uint wrong = 0;
        struct skua *rt;

        options.queue_limit = 1;
        rt = rig_start(workers, &options);
        memset(tallies, 0, sizeof tallies);
        for (unsigned i = 0; i < PUSHERS; i++) {
                pushers[i] = (struct pusher){
                        .left = rig_rounds(1000), .pushed = &pushed, .wrong = &wrong};
                item_init(&pushers[i].item, &tallies[i], i);
                skua_job_init(&pushers[i].job, pusher_run);
                skua_submit(rt, &pushers[i].job);
        }
        for (unsigned i = 0; i < THREADS; i++) {
                fillers[i] = (struct filler){.rt = rt};
                item_init(&fillers[i].item, &tallies[PUSHERS + i], i);
                threads[i] = go(push_many, &fillers[i]);
        }
        tally_wait(&pushed, PUSHERS);
        for (unsigned i = 0; i < THREADS; i++) {
                join(threads[i]);
                atomic_fetch_add(&wrong, (unsigned)atomic_load(&fillers[i].result));
        }
        rig_stop(rt);
        for (unsigned i = 0; i < PUSHERS; i++)
                atomic_fetch_add(&wrong, tally_read(&tallies[i]) != rig_rounds(1000));
        tap_ok(!atomic_load(&wrong), "jobs and threads before one door, %u workers", workers);
}

/* ------------------------------------------------------------------ arrays */

static void check_prefix(void)
{
        enum { LIMIT = 10, COUNT = 25 };
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct skua_target where = SKUA_TARGET_INIT;
        struct item items[COUNT];
        struct skua_group group;
        struct gatekeeper keeper;
        struct tally tally = {0};
        unsigned order = 0, wrong = 0;
        struct skua *rt;

        skua_group_init(&group);
        options.queue_limit = LIMIT;
        rt = rig_start(1, &options);
        keep(rt, &keeper, 0);
        for (unsigned i = 0; i < COUNT; i++) {
                item_init(&items[i], &tally, i);
                items[i].order = &order;
        }
        where.flags = SKUA_TRY;
        where.group = &group;
        tap_is(skua_submit_array(rt, items, COUNT, sizeof *items, &where), LIMIT,
               "a prefix of an array");
        for (unsigned i = LIMIT; i < COUNT; i++)
                wrong += items[i].job.owner_ || items[i].job.next_ || items[i].job.flags_;
        tap_is(wrong, 0, "the rest is untouched");
        let_go(&keeper);
        tap_is(skua_group_wait(&group, -1), 0, "and not counted");
        tap_is(tally_read(&tally), LIMIT, "the prefix is run");
        where.flags = 0;
        order = 0;
        tap_is(skua_submit_array(rt, items, COUNT, sizeof *items, &where), COUNT,
               "all of it, by waiting for room");
        tap_is(skua_group_wait(&group, -1), 0, "all counted");
        for (unsigned i = 0; i < COUNT; i++)
                wrong += items[i].place != i;
        tap_is(wrong, 0, "in order over several portions");
        rig_stop(rt);
}

int main(void)
{
        tap_plan(CHECKS, 60);
        check_bound(1);
        check_bound(7);
        check_narrow(1);
        check_narrow(3);
        check_await();
        check_giving_up();
        check_await_narrow(1);
        check_await_narrow(4);
        check_prefix();
        return tap_done();
}
