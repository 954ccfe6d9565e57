/* SPDX-License-Identifier: MIT
 *
 * Sources, with a queue of completions as RDMA has them: it makes its file descriptor readable at
 * the next completion only if it has been armed. Nothing is lost, whether workers are busy, search
 * or sleep, and after a remove nothing of it is called any more.
 */
#include <fcntl.h>
#include <sys/eventfd.h>

#include "core/crew.h"

enum { CHECKS = 79 };

struct feed {
        struct skua_source source;
        int event; /* as fd, also when the source does not use it */
        atomic_uint produced, armed, polls;
        unsigned consumed; /* plain: poll and arm run one at a time */
        bool inside, gone;
        int error; /* what poll is to return */
        atomic_uint wrong;
        struct tally ran;
        struct skua_group *release; /* by the jobs, or NULL */
};

struct completion {
        struct skua_job job;
        struct feed *feed;
};

static void completion_run(struct skua_worker *self, struct skua_job *job)
{
        struct completion *c = skua_container(job, struct completion, job);
        struct feed *feed = c->feed;

        (void)self;
        free(c);
        if (feed->release)
                skua_group_release(feed->release, 0);
        tally_add(&feed->ran, 1);
}

static void enter(struct feed *feed, struct skua_worker *self)
{
        unsigned wrong = feed->inside || feed->gone || skua_self() != self || skua_cancelled(self);

        feed->inside = true;
        if (feed->source.worker)
                wrong += SKUA_WORKER(skua_worker_index(self)) != feed->source.worker;
        if (wrong)
                atomic_fetch_add(&feed->wrong, wrong);
}

static int feed_poll(struct skua_worker *self, struct skua_source *s, unsigned max)
{
        struct feed *feed = skua_container(s, struct feed, source);
        unsigned count = 0;

        enter(feed, self);
        atomic_fetch_add(&feed->polls, 1);
        while (count < max && feed->consumed != atomic_load(&feed->produced)) {
                struct completion *c = calloc(1, sizeof *c);

                c->feed = feed;
                skua_job_init(&c->job, completion_run);
                feed->consumed++;
                if (count++ % 2)
                        skua_spawn(self, &c->job);
                else
                        skua_submit(skua_runtime(self), &c->job);
        }
        feed->inside = false;
        return feed->error ? feed->error : (int)count;
}

static int feed_arm(struct skua_worker *self, struct skua_source *s)
{
        struct feed *feed = skua_container(s, struct feed, source);
        uint64_t count;
        bool more;

        enter(feed, self);
        if (read(feed->event, &count, sizeof count) < 0 && errno != EAGAIN)
                atomic_fetch_add(&feed->wrong, 1);
        atomic_store(&feed->armed, 1);
        more = atomic_load(&feed->produced) != feed->consumed;
        feed->inside = false;
        return more;
}

static void produce(struct feed *feed, unsigned count)
{
        uint64_t one = 1;

        atomic_fetch_add(&feed->produced, count);
        if (atomic_exchange(&feed->armed, 0) && write(feed->event, &one, sizeof one) < 0)
                printf("# eventfd\n");
}

static struct feed *feed_new(void)
{
        struct skua_source init = SKUA_SOURCE_INIT;
        struct feed *feed = aligned_alloc(128, (sizeof *feed + 127) / 128 * 128);

        memset(feed, 0, sizeof *feed);
        feed->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        feed->source = init;
        feed->source.poll = feed_poll;
        feed->source.arm = feed_arm;
        feed->source.fd = feed->event;
        return feed;
}

static struct feed *feed_add(struct skua *rt)
{
        struct feed *feed = feed_new();

        if (skua_source_add(rt, &feed->source))
                printf("# skua_source_add failed\n");
        return feed;
}

/* Everything must go at once after a remove. Returns what went wrong. */
static unsigned feed_end(struct skua *rt, struct feed *feed)
{
        unsigned wrong = skua_source_remove(rt, &feed->source) != 0;

        feed->gone = true;
        wrong += atomic_load(&feed->wrong) + feed->inside;
        close(feed->event);
        free(feed);
        return wrong;
}

/* ------------------------------------------------------------------ errors */

static int no_poll(struct skua_worker *self, struct skua_source *s, unsigned max)
{
        (void)self, (void)s, (void)max;
        return 0;
}

static void check_errors(struct skua *rt)
{
        struct skua_source s = SKUA_SOURCE_INIT;
        int event = eventfd(0, EFD_NONBLOCK);

        tap_is(skua_source_add(rt, NULL), -EINVAL, "no source");
        tap_is(skua_source_add(rt, &s), -EINVAL, "no poll");
        s.poll = no_poll;
        tap_is(skua_source_add(NULL, &s), -EINVAL, "no runtime");
        tap_is(skua_source_add(rt, &s), -EINVAL, "neither fd nor time");
        s.max_sleep_ns = -1;
        tap_is(skua_source_add(rt, &s), -EINVAL, "a time below 0");
        s.max_sleep_ns = 1000000000;
        s.worker = SKUA_WORKER(skua_workers(rt));
        tap_is(skua_source_add(rt, &s), -EINVAL, "a worker that does not exist");
        s.worker = 0;
        s.size = 8;
        tap_is(skua_source_add(rt, &s), -EINVAL, "a size below that of the first version");
        s.size = sizeof s;
        s.fd = 1000000;
        tap_is(skua_source_add(rt, &s), -EBADF, "a file descriptor that is none");
        tap_is(skua_source_remove(rt, &s), -ENOENT, "not there");
        s.fd = event;
        tap_is(skua_source_add(rt, &s), 0, "there");
        tap_is(skua_source_add(rt, &s), -EEXIST, "a second time");
        tap_is(skua_source_remove(rt, &s), 0, "not any more");
        tap_is(skua_source_remove(rt, &s), -ENOENT, "a second time");
        tap_is(skua_source_remove(rt, NULL), -EINVAL, "nothing");
        close(event);
}

static void check_many(struct skua *rt)
{
        struct skua_source many[65], init = SKUA_SOURCE_INIT;
        unsigned wrong = 0;

        for (unsigned i = 0; i < 65; i++) {
                many[i] = init;
                many[i].poll = no_poll;
                many[i].max_sleep_ns = 1000000000;
                many[i].worker = i % 3 ? 0 : SKUA_WORKER(i % skua_workers(rt));
                wrong += skua_source_add(rt, &many[i]) != (i < 64 ? 0 : -EAGAIN);
        }
        tap_is(wrong, 0, "64 of them, and no more");
        wrong = skua_source_remove(rt, &many[7]) != 0;
        wrong += skua_source_add(rt, &many[64]) != 0;
        for (unsigned i = 0; i < 65; i++)
                wrong += skua_source_remove(rt, &many[i]) != (i == 7 ? -ENOENT : 0);
        tap_is(wrong, 0, "a place that has become free");
}

static atomic_int inside_result;

static int removing_poll(struct skua_worker *self, struct skua_source *s, unsigned max)
{
        (void)max;
        atomic_store(&inside_result, skua_source_remove(skua_runtime(self), s));
        return -EIO;
}

static void check_inside(struct skua *rt)
{
        struct skua_source s = SKUA_SOURCE_INIT;

        atomic_store(&inside_result, 0);
        s.poll = removing_poll;
        s.max_sleep_ns = 1000000;
        tap_is(skua_source_add(rt, &s), 0, "a poll that removes its source");
        while (!atomic_load(&inside_result))
                sched_yield();
        tap_is(atomic_load(&inside_result), -EDEADLK, "may not");
        while (skua_source_remove(rt, &s) != -ENOENT)
                sched_yield();
        tap_ok(true, "its error does");
}

/* ------------------------------------------------------------------ nothing is lost */

/* One completion at a time, each waited for, with all workers asleep before each or not. */
static unsigned feed_slowly(struct skua *rt, struct feed *feed, unsigned count, bool parked)
{
        unsigned before = tally_read(&feed->ran);

        for (unsigned i = 1; i <= count; i++) {
                if (parked && i % 4 == 0)
                        wait_parked(rt);
                produce(feed, 1);
                tally_wait(&feed->ran, before + i);
        }
        return tally_read(&feed->ran) != before + count;
}

static void check_parked(struct skua *rt, unsigned rounds)
{
        struct feed *feed = feed_add(rt);
        unsigned wrong = feed_slowly(rt, feed, rig_rounds(rounds), true);

        printf("# ring path %u\n", stats_of(rt).ring_path);

        tap_is(wrong + feed_end(rt, feed), 0, "one at a time, with workers asleep");
}

static void check_burst(struct skua *rt)
{
        unsigned count = rig_rounds(50000), wrong;
        struct feed *feed = feed_add(rt);

        for (unsigned i = 0; i < count; i++)
                produce(feed, 1);
        tally_wait(&feed->ran, count);
        wrong = feed->ran.value != count;
        tap_is(wrong + feed_end(rt, feed), 0, "many at once");
}

/* Only by the clock: nothing says that something has come. */
static void check_clock(struct skua *rt)
{
        struct feed *feed = feed_new();
        unsigned wrong = 0;

        feed->source.fd = -1;
        feed->source.arm = NULL;
        feed->source.max_sleep_ns = 500000;
        wrong += skua_source_add(rt, &feed->source) != 0;
        wrong += feed_slowly(rt, feed, rig_rounds(200), true);
        tap_is(wrong + feed_end(rt, feed), 0, "without a file descriptor");
}

/* A second source, while a worker sleeps for the first one. */
static void check_second(struct skua *rt)
{
        unsigned rounds = rig_rounds(100), wrong = 0;
        struct feed *first = feed_add(rt);

        for (unsigned i = 0; i < rounds; i++) {
                struct feed *second;

                wait_parked(rt);
                if (i % 2) {
                        second = feed_new();
                        second->source.fd = -1;
                        second->source.arm = NULL;
                        second->source.max_sleep_ns = 500000;
                        wrong += skua_source_add(rt, &second->source) != 0;
                } else {
                        second = feed_add(rt);
                }
                if (i % 3)
                        wait_parked(rt);
                wrong += feed_slowly(rt, second, 2, i % 5 == 0);
                wrong += feed_slowly(rt, first, 1, false);
                wrong += feed_end(rt, second);
        }
        tap_is(wrong + feed_end(rt, first), 0, "another one beside it, and gone again");
}

/* Whichever worker is held up by a long job, another looks. */
static void check_watch(struct skua *rt)
{
        static struct gatekeeper keepers[2 * RIG_WORKERS_MAX];
        struct feed *feed = feed_add(rt);
        unsigned wrong = 0;

        for (unsigned i = 0; i < 2 * skua_workers(rt) && skua_workers(rt) > 1; i++) {
                wait_parked(rt);
                keep(rt, &keepers[i], i % skua_workers(rt));
                wrong += feed_slowly(rt, feed, 20, false);
                let_go(&keepers[i]);
        }
        wrong += feed_slowly(rt, feed, 20, true);
        tap_is(wrong + feed_end(rt, feed), 0, "the watch is handed on");
}

static void check_bound(struct skua *rt)
{
        unsigned wrong = 0;

        for (unsigned i = 0; i < skua_workers(rt); i++) {
                struct feed *feed = feed_new();

                feed->source.worker = SKUA_WORKER(i);
                wait_parked(rt);
                wrong += skua_source_add(rt, &feed->source) != 0;
                wrong += feed_slowly(rt, feed, 50, true);
                wrong += feed_end(rt, feed);
        }
        tap_is(wrong, 0, "a source of one worker");
}

/* Jobs that queue themselves again, so that no worker ever searches. */
struct busy {
        struct skua_job job;
        atomic_bool *stop;
        struct tally *ended;
};

static void busy_run(struct skua_worker *self, struct skua_job *job)
{
        struct busy *busy = skua_container(job, struct busy, job);

        if (atomic_load(busy->stop))
                tally_add(busy->ended, 1);
        else
                skua_spawn(self, job);
}

static void check_busy(struct skua *rt)
{
        struct busy busy[2 * RIG_WORKERS_MAX];
        atomic_bool stop = false;
        struct tally ended = {0};
        struct feed *feed = feed_add(rt);
        unsigned wrong, count = 2 * skua_workers(rt);

        for (unsigned i = 0; i < count; i++) {
                busy[i] = (struct busy){.stop = &stop, .ended = &ended};
                skua_job_init(&busy[i].job, busy_run);
                skua_submit(rt, &busy[i].job);
        }
        wrong = feed_slowly(rt, feed, rig_rounds(300), false);
        atomic_store(&stop, true);
        tally_wait(&ended, count);
        tap_is(wrong + feed_end(rt, feed), 0, "busy workers look now and then");
}

/* A job that waits for a completion, on the only worker perhaps. */
static void await_feed(struct skua_worker *self, void *arg)
{
        struct feed *feed = arg;
        struct skua_group group;

        skua_group_init(&group);
        for (unsigned i = 0; i < 50; i++) {
                skua_group_hold(&group, 1);
                feed->release = &group;
                produce(feed, 1);
                if (skua_await_group(self, &group))
                        skua_fail(self, -EIO);
        }
}

static void check_await(struct skua *rt)
{
        struct feed *feed = feed_add(rt);
        unsigned wrong = skua_run(rt, await_feed, feed) != 0;

        tally_wait(&feed->ran, 50);
        tap_is(wrong + feed_end(rt, feed), 0, "jobs that wait for completions");
}

/* ------------------------------------------------------------------ removing */

struct comer {
        struct skua *rt;
        unsigned rounds, wrong;
        struct tally *done;
        struct skua_job job;
};

static unsigned come_and_go(struct comer *comer)
{
        unsigned wrong = 0;

        for (unsigned i = 0; i < comer->rounds; i++) {
                struct feed *feed = feed_add(comer->rt);
                unsigned count = i % 3;

                produce(feed, count);
                if (i % 2)
                        sched_yield();
                wrong += skua_source_remove(comer->rt, &feed->source) != 0;
                feed->gone = true;
                wrong += atomic_load(&feed->wrong) + feed->inside;
                /* What had been polled is run; the rest never. */
                tally_wait(&feed->ran, feed->consumed);
                close(feed->event);
                free(feed);
        }
        return wrong;
}

static void *comer_thread(void *arg)
{
        struct comer *comer = arg;

        comer->wrong = come_and_go(comer);
        return NULL;
}

static void remove_run(struct skua_worker *self, struct skua_job *job)
{
        struct comer *comer = skua_container(job, struct comer, job);

        (void)self;
        for (unsigned i = 0; i < comer->rounds; i++) {
                struct feed *feed = feed_add(comer->rt);

                comer->wrong += feed_end(comer->rt, feed);
        }
        tally_add(comer->done, 1);
}

static void check_remove(struct skua *rt)
{
        struct comer comers[3] = {{0}};
        struct tally done = {0};
        pthread_t threads[2];
        unsigned wrong = 0;

        for (unsigned i = 0; i < 3; i++) {
                comers[i].rt = rt;
                comers[i].rounds = rig_rounds(1500);
                comers[i].done = &done;
        }
        skua_job_init(&comers[2].job, remove_run);
        skua_submit(rt, &comers[2].job);
        for (unsigned i = 0; i < 2; i++)
                threads[i] = go(comer_thread, &comers[i]);
        for (unsigned i = 0; i < 2; i++)
                join(threads[i]);
        tally_wait(&done, 1);
        for (unsigned i = 0; i < 3; i++)
                wrong += comers[i].wrong;
        tap_is(wrong, 0, "nothing is called after a remove");
}

/* A drain does not wait for a source, and ends it. */
static void check_stop(unsigned workers)
{
        struct skua *rt = rig_start(workers, NULL);
        struct feed *feed = feed_add(rt), *late = feed_new();
        unsigned polls;

        feed_slowly(rt, feed, 10, true);
        skua_close(rt);
        tap_is(skua_source_add(rt, &late->source), -ESHUTDOWN, "a closed runtime");
        rig_stop(rt);
        polls = atomic_load(&feed->polls);
        feed->gone = true;
        produce(feed, 1);
        rt = rig_start(workers, NULL);
        wait_parked(rt);
        tap_is(atomic_load(&feed->polls) + atomic_load(&feed->wrong), polls,
               "a stop removes what is there");
        rig_stop(rt);
        close(feed->event);
        close(late->event);
        free(feed);
        free(late);
}

static void check_all(unsigned workers, unsigned flags)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct skua *rt;

        options.flags = flags;
        rt = rig_start(workers, &options);
        check_parked(rt, flags ? 200 : 4000);
        check_burst(rt);
        check_clock(rt);
        check_second(rt);
        check_watch(rt);
        check_bound(rt);
        check_busy(rt);
        check_await(rt);
        check_remove(rt);
        rig_stop(rt);
}

int main(void)
{
        static const unsigned workers[] = {1, 2, 8};
        struct skua *rt;

        tap_plan(CHECKS, 120);
        rt = rig_start(2, NULL);
        check_errors(rt);
        check_many(rt);
        check_inside(rt);
        rig_stop(rt);
        for (unsigned i = 0; i < 3; i++) {
                check_all(workers[i], 0);
                check_all(workers[i], SKUA_NO_RING);
                check_stop(workers[i]);
        }
        return tap_done();
}
