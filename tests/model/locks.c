/* SPDX-License-Identifier: MIT
 *
 * What jobs and threads wait for: permits against late waiters, signal handlers and who frees the
 * object; mutexes of jobs against cancellation; channels and select, each item once.
 */
#include <errno.h>

#include "stand.h"

enum { ITEMS = 3 };

static struct skua *rt;
static struct skua_mutex mutex;
static struct skua_event event;
static struct skua_semaphore semaphore;
static struct skua_channel channels[2];
static uint64_t slots[2][2];
static struct skua_group group;
static struct skua_job jobs[3];
static unsigned shared, got, put; /* plain: under what is tested, or by one thread */
static int outcomes[4];
static uint64_t items[4];

#define NEW(object) (shared_new(&(object), sizeof(object)), memset(&(object), 0, sizeof(object)))

static void prepare(void)
{
        NEW(mutex);
        NEW(event);
        NEW(semaphore);
        NEW(group);
        NEW(shared);
        got = put = 0;
        memset(outcomes, 0, sizeof outcomes);
        memset(items, 0, sizeof items);
        model_name(&mutex, sizeof mutex, "mutex");
        model_name(&event, sizeof event, "event");
        model_name(&semaphore, sizeof semaphore, "semaphore");
}

static void prepare_channels(size_t slot_count)
{
        for (unsigned i = 0; i < 2; i++) {
                shared_new(&channels[i], sizeof channels[i]);
                skua_channel_init(&channels[i], slots[i], sizeof slots[i][0], slot_count);
        }
        model_name(&channels[0], sizeof channels[0], "channel 0");
        model_name(&channels[1], sizeof channels[1], "channel 1");
}

/* ------------------------------------------------------------------ threads alone */

static void post_semaphore(void *arg)
{
        (void)arg;
        skua_semaphore_post(&semaphore);
}

static void wait_semaphore(void *arg)
{
        unsigned i = (unsigned)(uintptr_t)arg;

        outcomes[i] = skua_wait_semaphore(&semaphore, i ? 1 : -1);
}

/* One who waits for ever must get one of two, whoever else gives up. */
static void semaphore_late(void)
{
        unsigned set = 0, left = 0;

        machine_begin(1);
        prepare();
        for (unsigned i = 0; i < 2; i++)
                set |= start_thread(wait_semaphore, i) | start_thread(post_semaphore, i);
        model_threads_join(set);
        while (skua_try_semaphore(&semaphore))
                left++;
        model_check(!outcomes[0], "for ever");
        model_check(left == (outcomes[1] ? 1 : 0), "what is posted is taken or left");
}

/* As a mutex: what is written under it is seen. */
static void take_turn(void *arg)
{
        (void)arg;
        model_check(!skua_wait_semaphore(&semaphore, -1), "wait");
        shared_read(&shared, sizeof shared);
        shared_write(&shared, sizeof shared);
        shared++;
        skua_semaphore_post(&semaphore);
}

static void semaphore_turns(void)
{
        unsigned set = 0;

        machine_begin(1);
        prepare();
        skua_semaphore_init(&semaphore, 1);
        for (unsigned i = 0; i < 3; i++)
                set |= start_thread(take_turn, i);
        model_threads_join(set);
        model_check(shared == 3, "turns");
        model_check(skua_try_semaphore(&semaphore) && !skua_try_semaphore(&semaphore), "left");
}

static void write_and_post(void *arg)
{
        (void)arg;
        shared_write(&shared, sizeof shared);
        shared = 7;
        skua_event_post(&event);
}

/* Who alone has waited frees it at once. */
static void event_freed(void)
{
        unsigned set;

        machine_begin(1);
        prepare();
        set = start_thread(write_and_post, 0);
        model_check(!skua_wait_event(&event, -1), "wait");
        shared_gone(&event, sizeof event);
        shared_read(&shared, sizeof shared);
        model_check(shared == 7, "what was written before");
        model_threads_join(set);
}

static void handler(int number)
{
        (void)number;
        skua_event_post(&event);
}

static void wait_event(void *arg)
{
        unsigned i = (unsigned)(uintptr_t)arg;

        if (i) /* gives up now and then, and so goes through the list */
                for (unsigned tries = 0; tries < 2 && outcomes[i] != 1; tries++)
                        outcomes[i] = !skua_wait_event(&event, 1);
        else
                outcomes[i] = !skua_wait_event(&event, -1);
}

/* A handler posts to the thread that it interrupts, wherever it does, beside another that comes and
 * goes. */
static void event_signal(void)
{
        unsigned first, second;

        machine_begin(1);
        prepare();
        first = model_thread_start(wait_event, (void *)1);
        second = model_thread_start(wait_event, (void *)0);
        model_signal(second, handler);
        model_threads_join(1u << first);
        if (outcomes[1] == 1)
                skua_event_post(&event); /* it has taken the one that there was */
        model_threads_join(1u << second);
        model_check(outcomes[0] == 1, "the one that waits for ever");
        model_check(!skua_try_event(&event), "one post, one wait");
}

static void put_two(void *arg)
{
        unsigned i = (unsigned)(uintptr_t)arg;
        uint64_t item = i + 1;

        outcomes[i] = skua_wait_put(&channels[0], &item, i ? 1 : -1);
        if (i)
                skua_channel_close(&channels[0]);
}

static void take_all(void *arg)
{
        uint64_t item;

        (void)arg;
        while (!skua_wait_take(&channels[0], &item, -1)) {
                model_check(item == 1 || item == 2, "an item");
                model_check(!items[item], "an item comes twice");
                items[item] = 1;
        }
}

static void channel_close_with(size_t slot_count)
{
        unsigned set = 0;

        machine_begin(1);
        prepare();
        prepare_channels(slot_count);
        set = start_thread(put_two, 0) | start_thread(put_two, 1) | start_thread(take_all, 0);
        model_threads_join(set);
        for (unsigned i = 0; i < 2; i++)
                model_check(items[i + 1] == !outcomes[i], "put is taken, and nothing else");
        model_check(!outcomes[0] || outcomes[0] == -EPIPE, "put's result");
}

static void channel_close(void)
{
        channel_close_with(1);
}

static void channel_rendezvous(void)
{
        channel_close_with(0);
}

static void put_on_top(void *arg)
{
        uint64_t item = 9;

        (void)arg;
        outcomes[0] = skua_wait_put(&channels[0], &item, -1);
}

/* Full, and closed beside one who puts. */
static void channel_close_full(void)
{
        uint64_t item = 1;
        unsigned set;

        machine_begin(1);
        prepare();
        prepare_channels(1);
        model_check(!skua_try_put(&channels[0], &item), "put");
        set = start_thread(put_on_top, 0);
        skua_channel_close(&channels[0]);
        model_threads_join(set);
        model_check(outcomes[0] == -EPIPE, "put's result");
        model_check(!skua_try_take(&channels[0], &item) && item == 1, "what is in it");
        model_check(skua_try_take(&channels[0], &item) == -EPIPE, "and nothing more");
}

/* ------------------------------------------------------------------ jobs */

static void start(unsigned workers)
{
        struct skua_options options = SKUA_OPTIONS_INIT;

        machine_begin(1);
        prepare();
        options.workers = workers;
        options.spin_ns = (unsigned)SKUA_NONE;
        options.stack_bytes = 16384;
        options.flags = SKUA_NO_PIN;
        model_check(!skua_start(&rt, &options), "start");
}

static void submit(unsigned i, skua_fn *run, unsigned worker, struct skua_group *of)
{
        struct skua_target where = SKUA_TARGET_INIT;

        shared_new(&jobs[i], sizeof jobs[i]);
        skua_job_init(&jobs[i], run);
        where.worker = SKUA_WORKER(worker);
        where.group = of;
        model_check(!skua_submit_to(rt, &jobs[i], &where), "submit");
}

static void lock_run(struct skua_worker *self, struct skua_job *job)
{
        unsigned i = (unsigned)(job - jobs);

        outcomes[i] = skua_await_lock(self, &mutex);
        if (outcomes[i])
                return;
        shared_read(&shared, sizeof shared);
        shared_write(&shared, sizeof shared);
        shared++;
        skua_unlock(self, &mutex);
}

/* Holds it until everybody had time to come. */
static void yield_run(struct skua_worker *self, struct skua_job *job)
{
        unsigned i = (unsigned)(job - jobs);

        outcomes[i] = skua_await_lock(self, &mutex);
        if (outcomes[i])
                return;
        shared_read(&shared, sizeof shared);
        skua_await_yield(self);
        shared_write(&shared, sizeof shared);
        shared++;
        skua_unlock(self, &mutex);
}

static void check_mutex(void)
{
        unsigned ran = 0;

        for (unsigned i = 0; i < 3; i++) {
                model_check(!outcomes[i] || outcomes[i] == -ECANCELED, "lock's result");
                ran += !outcomes[i];
        }
        shared_read(&shared, sizeof shared);
        model_check(shared == ran, "who has it is alone");
}

static void mutex_jobs(void)
{
        start(2);
        submit(0, yield_run, 0, NULL);
        submit(1, lock_run, 1, NULL);
        submit(2, lock_run, 0, NULL);
        model_check(!skua_stop(rt, SKUA_DRAIN), "stop");
        check_mutex();
        model_check(shared == 3, "all have had it");
}

static void canceller(void *arg)
{
        (void)arg;
        skua_group_cancel(&group);
}

/* A hand-over and a cancel at the same time: whoever is left gets it. */
static void mutex_cancel(void)
{
        unsigned set;

        start(2);
        submit(0, yield_run, 0, NULL);
        submit(1, lock_run, 1, &group);
        submit(2, lock_run, 1, NULL);
        set = start_thread(canceller, 0);
        model_check(!skua_stop(rt, SKUA_DRAIN), "stop");
        model_threads_join(set);
        check_mutex();
        model_check(!outcomes[0] && !outcomes[2], "who was not cancelled has had it");
}

/* Locks it again at once, before the one that has been woken comes. */
static void again_run(struct skua_worker *self, struct skua_job *job)
{
        yield_run(self, job);
        model_check(!skua_await_lock(self, &mutex), "again");
        skua_unlock(self, &mutex);
}

/* Who has been overtaken and is cancelled leaves nobody behind who waits for a free mutex. */
static void mutex_overtaken(void)
{
        unsigned set;

        start(2);
        submit(0, again_run, 0, NULL);
        submit(1, lock_run, 1, &group);
        submit(2, lock_run, 1, NULL);
        set = start_thread(canceller, 0);
        model_check(!skua_stop(rt, SKUA_DRAIN), "stop");
        model_threads_join(set);
        check_mutex();
        model_check(!outcomes[0] && !outcomes[2], "who was not cancelled has had it");
}

static void mutex_stop(void)
{
        start(2);
        submit(0, yield_run, 0, NULL);
        submit(1, lock_run, 1, NULL);
        submit(2, lock_run, 0, NULL);
        model_check(!skua_stop(rt, SKUA_CANCEL), "stop");
        check_mutex();
}

/* One that takes from two channels, two that put one item each. */
static void select_run(struct skua_worker *self, struct skua_job *job)
{
        struct skua_case cases[2];
        int index;

        (void)job;
        memset(cases, 0, sizeof cases);
        for (unsigned i = 0; i < 2; i++) {
                cases[i].channel = &channels[i];
                cases[i].item = &items[i];
                cases[i].what = SKUA_TAKE;
        }
        index = skua_await_select(self, cases, 2, 0);
        outcomes[3] = index;
        if (index < 0)
                return;
        model_check(!cases[index].result, "no channel is closed");
        model_check(items[index] == 5 + (unsigned)index, "the item of that channel");
        model_check(!items[!index], "and no other");
        got++;
}

static void put_one(void *arg)
{
        unsigned i = (unsigned)(uintptr_t)arg;
        uint64_t item = 5 + i;

        outcomes[i] = skua_wait_put(&channels[i], &item, 1);
}

/* What is not taken is still there, or its put gave up. */
static void check_select(void)
{
        unsigned moved = 0, left = 0;
        uint64_t item;

        for (unsigned i = 0; i < 2; i++) {
                moved += !outcomes[i];
                left += !skua_try_take(&channels[i], &item);
        }
        model_check(moved == left + got, "each item once");
}

static void select_with(size_t slot_count, bool cancel)
{
        unsigned set;
        uint64_t item = 5;

        start(1);
        prepare_channels(slot_count);
        submit(0, select_run, 0, &group);
        set = start_thread(put_one, 0) | start_thread(put_one, 1);
        if (cancel)
                skua_group_cancel(&group);
        model_threads_join(set);
        /* It must not wait in vain. */
        if (!cancel && outcomes[0] && outcomes[1])
                outcomes[0] = skua_wait_put(&channels[0], &item, -1);
        model_check(!skua_stop(rt, SKUA_DRAIN), "stop");
        check_select();
        model_check(cancel || outcomes[3] >= 0, "select");
}

static void select_slots(void)
{
        select_with(1, false);
}

static void select_rendezvous(void)
{
        select_with(0, false);
}

static void select_cancel(void)
{
        select_with(0, true);
}

static const struct model_scenario scenarios[] = {
        {.name = "locks: semaphore, one gives up", .run = semaphore_late},
        {.name = "locks: semaphore, turns", .run = semaphore_turns},
        {.name = "locks: event, freed at once", .run = event_freed},
        {.name = "locks: event, posted by a handler", .run = event_signal},
        {.name = "locks: channel, closed", .run = channel_close},
        {.name = "locks: channel without slots, closed", .run = channel_rendezvous},
        {.name = "locks: channel, full, closed", .run = channel_close_full},
        {.name = "locks: mutex, three jobs", .run = mutex_jobs},
        {.name = "locks: mutex, one is cancelled", .run = mutex_cancel},
        {.name = "locks: mutex, overtaken and cancelled", .run = mutex_overtaken, .share = 3},
        {.name = "locks: mutex, a stop", .run = mutex_stop},
        {.name = "locks: select", .run = select_slots},
        {.name = "locks: select without slots", .run = select_rendezvous},
        {.name = "locks: select, cancelled", .run = select_cancel},
};

int main(int argc, char **argv)
{
        return scenarios_main(argc, argv, scenarios, sizeof scenarios / sizeof *scenarios);
}
