/* SPDX-License-Identifier: MIT
 *
 * The injector and its door: producers that may be preempted anywhere, consumers that take turns,
 * submitters that wait for room, and closing. The real submit calls; the worker is played.
 */
#include <errno.h>

#include "core/injector.h"
#include "stand.h"
#include "wait/suspend.h"

enum { TASKS = 6 };

static struct task tasks[TASKS];
static int results[TASKS];
static struct word32 taken, given_up;
static unsigned per_producer, consumers;

static struct injector *injector(void)
{
        return &stand_->nodes[0].injectors[INJECTOR_NORMAL];
}

static void prepare(unsigned workers, size_t limit, unsigned each)
{
        stand_begin(workers, limit);
        shared_new(&taken, sizeof taken);
        shared_new(&given_up, sizeof given_up);
        taken.value_ = given_up.value_ = 0;
        per_producer = each;
        consumers = workers;
        for (unsigned i = 0; i < TASKS; i++)
                results[i] = 1;
        model_name(tasks, sizeof tasks, "tasks");
        model_name(&taken, sizeof taken, "taken");
}

/* Submits its tasks, one after the other. */
static void producer(void *arg)
{
        unsigned first = (unsigned)(uintptr_t)arg * per_producer;

        for (unsigned i = first; i < first + per_producer; i++) {
                task_init(&tasks[i], task_run);
                results[i] = skua_submit(stand_->handle, &tasks[i].job);
                if (results[i])
                        fetch_add_relaxed_u32(&given_up, 1);
        }
}

static void trying_producer(void *arg)
{
        unsigned i = (unsigned)(uintptr_t)arg;

        task_init(&tasks[i], task_run);
        while ((results[i] = skua_try_submit(stand_->handle, &tasks[i].job)) == -EAGAIN)
                spin_hint();
        if (results[i])
                fetch_add_relaxed_u32(&given_up, 1);
}

static unsigned array_count;

static void array_producer(void *arg)
{
        unsigned first = (unsigned)(uintptr_t)arg * per_producer;
        ssize_t given;

        for (unsigned i = first; i < first + per_producer; i++) {
                task_init(&tasks[i], task_run);
                results[i] = 0;
        }
        given = skua_submit_array(stand_->handle, &tasks[first], per_producer, sizeof *tasks, NULL);
        for (unsigned i = first + (given < 0 ? 0 : (unsigned)given); i < first + per_producer;
             i++) {
                results[i] = -ESHUTDOWN;
                fetch_add_relaxed_u32(&given_up, 1);
        }
        array_count += given > 0;
}

static bool all_settled(unsigned count)
{
        return load_relaxed_u32(&taken) + load_relaxed_u32(&given_up) >= count;
}

/* A worker that does nothing but take from the injector, until all have been taken. */
static unsigned wanted;

static void consumer(void *arg)
{
        struct worker *w = stand_worker((unsigned)(uintptr_t)arg);
        struct skua_job *job;

        self_set(w);
        while (!all_settled(wanted)) {
                if (!queue_count(&w->batch))
                        injector_take(injector(), &w->batch, 2);
                job = queue_take(&w->batch);
                if (!job && consumers > 1)
                        job = queue_take(&stand_worker(1 - w->index)->batch);
                if (job) {
                        task_ran(task_of(job));
                        fetch_add_relaxed_u32(&taken, 1);
                } else {
                        spin_hint();
                }
        }
}

static void finish(unsigned set, unsigned count)
{
        model_threads_join(set);
        for (unsigned i = 0; i < count; i++) {
                model_check(results[i] == 0 || results[i] == -ESHUTDOWN, "submit's result");
                task_done(&tasks[i], !results[i]);
        }
        model_check(!injector_count(injector()), "the door's count is not 0");
}

static void run(unsigned workers, unsigned producers, unsigned each, size_t limit)
{
        unsigned set = 0;

        prepare(workers, limit, each);
        wanted = producers * each;
        for (unsigned i = 0; i < producers; i++)
                set |= start_thread(producer, i);
        for (unsigned i = 1; i < workers; i++)
                set |= start_thread(consumer, i);
        consumer(NULL);
        self_set(NULL);
        finish(set, wanted);
}

static void one_producer(void)
{
        run(1, 1, 3, 0);
}

static void two_producers(void)
{
        run(1, 2, 2, 0);
}

static void two_consumers(void)
{
        run(2, 2, 2, 0);
}

static void room_for_one(void)
{
        run(1, 2, 2, 1);
}

static void room_for_two(void)
{
        run(2, 3, 2, 2);
}

static void arrays(void)
{
        unsigned set;

        prepare(1, 2, 3);
        wanted = 6;
        set = start_thread(array_producer, 0) | start_thread(array_producer, 1);
        consumer(NULL);
        self_set(NULL);
        finish(set, wanted);
}

static void trying(void)
{
        unsigned set;

        prepare(1, 1, 1);
        wanted = 3;
        set = start_thread(trying_producer, 0) | start_thread(trying_producer, 1) |
              start_thread(producer, 2);
        consumer(NULL);
        self_set(NULL);
        finish(set, 3);
}

/* Closing, against producers of whom some wait for room. */
static void closer(void *arg)
{
        (void)arg;
        skua_close(stand_->handle);
}

static void closing(size_t limit, unsigned producers)
{
        unsigned set = 0;

        prepare(1, limit, 1);
        wanted = producers;
        for (unsigned i = 0; i < producers; i++)
                set |= start_thread(producer, i);
        set |= start_thread(closer, 0);
        consumer(NULL);
        self_set(NULL);
        finish(set, producers);
}

static void close_open(void)
{
        closing(0, 2);
}

static void close_full(void)
{
        closing(1, 3);
}

/* Nobody takes anything: only the closing can wake who waits. */
static void close_wakes(void)
{
        unsigned set;

        prepare(1, 1, 1);
        wanted = 2;
        producer(NULL);
        set = start_thread(producer, 1) | start_thread(closer, 0);
        model_threads_join(set);
        model_check(results[1] == -ESHUTDOWN, "accepted beyond the bound");
        consumer(NULL);
        self_set(NULL);
        finish(0, 2);
}

/* A job that waits for room as a stack would: it is listed, and somebody wakes it. */
static void waiting_worker(void *arg)
{
        struct worker *w = stand_worker(1);
        struct injector *at = injector();
        int error;

        (void)arg;
        self_set(w);
        task_init(&tasks[2], task_run);
        for (;;) {
                struct waiter waiter = {0};

                if (injector_enter(at, 1, DOOR_INSIDE, &error) ||
                    injector_enter(at, 1, generation_of(stand_->handle), &error))
                        break;
                waiter_begin(&waiter);
                if (injector_register(at, &waiter))
                        waiter_sleep(&waiter, 0);
                waiter_end(&waiter);
        }
        tasks[2].job.owner_ = NULL;
        results[2] = 0;
        injector_link(at, &tasks[2].job, &tasks[2].job);
}

static void listed(void)
{
        unsigned set;

        prepare(2, 1, 1);
        consumers = 1;
        wanted = 3;
        set = start_thread(producer, 0) | start_thread(producer, 1) |
              start_thread(waiting_worker, 2);
        consumer(NULL);
        self_set(NULL);
        finish(set, 3);
}

static const struct model_scenario scenarios[] = {
        {.name = "injector: one producer", .run = one_producer},
        {.name = "injector: two producers", .run = two_producers},
        {.name = "injector: two producers, two consumers", .run = two_consumers},
        {.name = "injector: room for one", .run = room_for_one},
        {.name = "injector: room for two, three producers, two consumers", .run = room_for_two},
        {.name = "injector: arrays, room for two", .run = arrays},
        {.name = "injector: those who only try", .run = trying},
        {.name = "injector: submit against close", .run = close_open},
        {.name = "injector: close while some wait for room", .run = close_full},
        {.name = "injector: close wakes who waits", .run = close_wakes},
        {.name = "injector: a listed waiter", .run = listed},
};

int main(int argc, char **argv)
{
        return scenarios_main(argc, argv, scenarios, sizeof scenarios / sizeof *scenarios);
}
