/* SPDX-License-Identifier: MIT
 *
 * What do a mutex, a semaphore, an event and a channel of jobs cost when nobody else wants them,
 * and how do two workers get along with one: how long is a turn, how equal are the shares, how
 * often does a thread have to be woken? Beside them what threads have: pthread_mutex_t, sem_t, and
 * a ring under a mutex with two conditions.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "engine.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>

enum { PAIRS = 2000000, JOBS_MAX = 16, SLOTS = 64, ITEMS = 500000, FOR_NS = 50000000 };

static unsigned pairs;

/* ---------------------------------------------------------------- nobody else */

static struct skua_mutex mutex;
static struct skua_semaphore semaphore;
static struct skua_event event;
static struct skua_channel channel;
static uint64_t slots[SLOTS];

static void mutex_await(struct skua_worker *self)
{
        for (unsigned i = 0; i < pairs; i++) {
                if (skua_await_lock(self, &mutex) != 0)
                        bench_wrong("skua_await_lock");
                skua_unlock(self, &mutex);
        }
}

static void mutex_try(struct skua_worker *self)
{
        for (unsigned i = 0; i < pairs; i++) {
                if (!skua_try_lock(self, &mutex))
                        bench_wrong("skua_try_lock");
                skua_unlock(self, &mutex);
        }
}

static void semaphore_pair(struct skua_worker *self)
{
        for (unsigned i = 0; i < pairs; i++) {
                skua_semaphore_post(&semaphore);
                if (skua_await_semaphore(self, &semaphore) != 0)
                        bench_wrong("skua_await_semaphore");
        }
}

static void semaphore_ready(struct skua_worker *self)
{
        skua_semaphore_init(&semaphore, pairs);
        for (unsigned i = 0; i < pairs; i++)
                if (skua_await_semaphore(self, &semaphore) != 0)
                        bench_wrong("skua_await_semaphore");
}

static void event_pair(struct skua_worker *self)
{
        for (unsigned i = 0; i < pairs; i++) {
                skua_event_post(&event);
                if (skua_await_event(self, &event) != 0)
                        bench_wrong("skua_await_event");
        }
}

static void channel_pair(struct skua_worker *self)
{
        uint64_t item = 1, got;

        for (unsigned i = 0; i < pairs; i++)
                if (skua_await_put(self, &channel, &item) != 0 ||
                    skua_await_take(self, &channel, &got) != 0)
                        bench_wrong("channel");
}

static void select_pair(struct skua_worker *self)
{
        uint64_t item = 1, got;
        struct skua_case cases[] = {{.channel = &channel, .item = &got, .what = SKUA_TAKE}};

        for (unsigned i = 0; i < pairs; i++)
                if (skua_await_put(self, &channel, &item) != 0 ||
                    skua_await_select(self, cases, 1, 0) != 0)
                        bench_wrong("select");
}

struct timed {
        void (*run)(struct skua_worker *self);
        int64_t elapsed_ns;
};

static void run_timed(struct skua_worker *self, void *arg)
{
        struct timed *t = arg;
        int64_t start = bench_now_ns();

        t->run(self);
        t->elapsed_ns = bench_now_ns() - start;
}

static void alone(const struct bench_contestant *c, struct bench_result *r)
{
        struct skua *rt = engine_start_skua(c->workers);
        struct timed t = {*(void (*const *)(struct skua_worker *))c->what, 0};

        skua_mutex_init(&mutex);
        skua_semaphore_init(&semaphore, 0);
        skua_event_init(&event);
        skua_channel_init(&channel, slots, sizeof slots[0], SLOTS);
        if (skua_run(rt, run_timed, &t) != 0)
                bench_wrong("skua_run");
        bench_add(r, (double)t.elapsed_ns / pairs);
        skua_stop(rt, SKUA_DRAIN);
}

static pthread_mutex_t plain = PTHREAD_MUTEX_INITIALIZER;

static void alone_pthread(const struct bench_contestant *c, struct bench_result *r)
{
        int64_t start = bench_now_ns();

        (void)c;
        for (unsigned i = 0; i < pairs; i++) {
                pthread_mutex_lock(&plain);
                pthread_mutex_unlock(&plain);
        }
        bench_add(r, (double)(bench_now_ns() - start) / pairs);
}

static void alone_sem(const struct bench_contestant *c, struct bench_result *r)
{
        int64_t start;
        sem_t s;

        (void)c;
        sem_init(&s, 0, 0);
        start = bench_now_ns();
        for (unsigned i = 0; i < pairs; i++) {
                sem_post(&s);
                sem_wait(&s);
        }
        bench_add(r, (double)(bench_now_ns() - start) / pairs);
        sem_destroy(&s);
}

/* ---------------------------------------------------------------- a ring of threads */

static struct ring {
        pthread_mutex_t mutex;
        pthread_cond_t some, room;
        uint64_t items[SLOTS];
        unsigned oldest, used;
} ring = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, PTHREAD_COND_INITIALIZER, {0}, 0, 0};

static void ring_put(uint64_t item)
{
        pthread_mutex_lock(&ring.mutex);
        while (ring.used == SLOTS)
                pthread_cond_wait(&ring.room, &ring.mutex);
        ring.items[(ring.oldest + ring.used++) % SLOTS] = item;
        pthread_mutex_unlock(&ring.mutex);
        pthread_cond_signal(&ring.some);
}

static uint64_t ring_take(void)
{
        uint64_t item;

        pthread_mutex_lock(&ring.mutex);
        while (ring.used == 0)
                pthread_cond_wait(&ring.some, &ring.mutex);
        item = ring.items[ring.oldest];
        ring.oldest = (ring.oldest + 1) % SLOTS;
        ring.used--;
        pthread_mutex_unlock(&ring.mutex);
        pthread_cond_signal(&ring.room);
        return item;
}

static void alone_ring(const struct bench_contestant *c, struct bench_result *r)
{
        int64_t start = bench_now_ns();

        (void)c;
        for (unsigned i = 0; i < pairs; i++) {
                ring_put(i);
                if (ring_take() != i)
                        bench_wrong("ring");
        }
        bench_add(r, (double)(bench_now_ns() - start) / pairs);
}

/* ---------------------------------------------------------------- two who want it */

static _Atomic bool stopping;

struct rival {
        struct skua_job job;
        _Alignas(128) uint64_t turns;
};
static struct rival rivals[JOBS_MAX];
static uint64_t turns; /* under the mutex */
static bool yielding;  /* jobs of one worker let each other run between their turns */

/* How many want it, and for how long each has it. */
struct rivalry {
        unsigned count;
        int64_t inside_ns;
};
static int64_t inside_ns;

static void rival_run(struct skua_worker *self, struct skua_job *job)
{
        struct rival *mine = skua_container(job, struct rival, job);

        while (!atomic_load_explicit(&stopping, memory_order_relaxed)) {
                if (skua_await_lock(self, &mutex) != 0)
                        bench_wrong("skua_await_lock");
                turns++;
                if (inside_ns)
                        bench_spin_ns(inside_ns);
                skua_unlock(self, &mutex);
                mine->turns++;
                if (yielding && skua_await_yield(self) != 0)
                        bench_wrong("skua_await_yield");
        }
}

static void *rival_thread(void *arg)
{
        struct rival *mine = arg;

        while (!atomic_load_explicit(&stopping, memory_order_relaxed)) {
                pthread_mutex_lock(&plain);
                turns++;
                if (inside_ns)
                        bench_spin_ns(inside_ns);
                pthread_mutex_unlock(&plain);
                mine->turns++;
        }
        return NULL;
}

static void rivals_begin(const struct rivalry *rivalry)
{
        inside_ns = rivalry->inside_ns;
        memset(rivals, 0, sizeof rivals);
        turns = 0;
        atomic_store(&stopping, false);
}

/* Nanoseconds per turn, the largest share in terms of the smallest, sleeps per thousand turns. */
static void rivals_end(struct bench_result *r, unsigned count, int64_t ns, int64_t sleeps)
{
        uint64_t sum = 0, least = UINT64_MAX, most = 0;

        for (unsigned i = 0; i < count; i++) {
                sum += rivals[i].turns;
                least = rivals[i].turns < least ? rivals[i].turns : least;
                most = rivals[i].turns > most ? rivals[i].turns : most;
        }
        if (sum != turns)
                bench_wrong("turns were lost");
        bench_add(r, (double)ns / (double)sum);
        bench_extra(r, "shares", least ? (double)most / (double)least : 1e9);
        bench_note(r, "%.3f sleeps per 1000", 1000.0 * (double)sleeps / (double)sum);
}

static int64_t duration_ns(void)
{
        return bench.quick ? FOR_NS / 10 : FOR_NS;
}

static void contend(const struct bench_contestant *c, struct bench_result *r)
{
        const struct rivalry *rivalry = c->what;
        unsigned count = rivalry->count;
        struct skua_target where = SKUA_TARGET_INIT;
        struct skua *rt = engine_start_skua(c->workers);
        struct bench_usage process, thread;
        struct skua_group group;
        int64_t start;

        rivals_begin(rivalry);
        yielding = count > c->workers;
        skua_mutex_init(&mutex);
        skua_group_init(&group);
        where.group = &group;
        process = bench_usage_process();
        thread = bench_usage_thread();
        start = bench_now_ns();
        for (unsigned i = 0; i < count; i++) {
                skua_job_init(&rivals[i].job, rival_run);
                where.worker = SKUA_WORKER(i % c->workers);
                if (skua_submit_to(rt, &rivals[i].job, &where) != 0)
                        bench_wrong("skua_submit_to");
        }
        bench_sleep_ns(duration_ns());
        atomic_store(&stopping, true);
        skua_group_wait(&group, -1);
        rivals_end(r, count, bench_now_ns() - start, bench_switches_of_others(&process, &thread));
        skua_stop(rt, SKUA_DRAIN);
}

static void contend_pthread(const struct bench_contestant *c, struct bench_result *r)
{
        const struct rivalry *rivalry = c->what;
        unsigned count = rivalry->count;
        pthread_t threads[JOBS_MAX];
        struct bench_usage process = bench_usage_process(), thread = bench_usage_thread();
        int64_t start = bench_now_ns();

        rivals_begin(rivalry);
        for (unsigned i = 0; i < count; i++)
                if (pthread_create(&threads[i], NULL, rival_thread, &rivals[i]) != 0)
                        bench_wrong("no thread");
        bench_sleep_ns(duration_ns());
        atomic_store(&stopping, true);
        for (unsigned i = 0; i < count; i++)
                pthread_join(threads[i], NULL);
        rivals_end(r, count, bench_now_ns() - start, bench_switches_of_others(&process, &thread));
}

/* ---------------------------------------------------------------- from one to the other */

static unsigned items;

static void putter_run(struct skua_worker *self, struct skua_job *job)
{
        (void)job;
        for (uint64_t i = 0; i < items; i++)
                if (skua_await_put(self, &channel, &i) != 0)
                        bench_wrong("skua_await_put");
}

static void taker_run(struct skua_worker *self, struct skua_job *job)
{
        uint64_t item;

        (void)job;
        for (uint64_t i = 0; i < items; i++)
                if (skua_await_take(self, &channel, &item) != 0 || item != i)
                        bench_wrong("skua_await_take");
}

static void pass(const struct bench_contestant *c, struct bench_result *r)
{
        static struct skua_job jobs[2];
        struct skua_target where = SKUA_TARGET_INIT;
        struct skua *rt = engine_start_skua(c->workers);
        struct bench_usage process, thread;
        struct skua_group group;
        int64_t start;

        skua_channel_init(&channel, slots, sizeof slots[0], *(const unsigned *)c->what);
        skua_group_init(&group);
        where.group = &group;
        skua_job_init(&jobs[0], putter_run);
        skua_job_init(&jobs[1], taker_run);
        process = bench_usage_process();
        thread = bench_usage_thread();
        start = bench_now_ns();
        for (unsigned i = 0; i < 2; i++) {
                where.worker = SKUA_WORKER(i % c->workers);
                if (skua_submit_to(rt, &jobs[i], &where) != 0)
                        bench_wrong("skua_submit_to");
        }
        skua_group_wait(&group, -1);
        bench_add(r, (double)(bench_now_ns() - start) / items);
        bench_extra(r, "sleeps per 1000",
                    1000.0 * (double)bench_switches_of_others(&process, &thread) / items);
        skua_stop(rt, SKUA_DRAIN);
}

static void *putter_thread(void *arg)
{
        for (uint64_t i = 0; i < items; i++)
                ring_put(i);
        return arg;
}

static void *taker_thread(void *arg)
{
        for (uint64_t i = 0; i < items; i++)
                if (ring_take() != i)
                        bench_wrong("ring");
        return arg;
}

static void pass_ring(const struct bench_contestant *c, struct bench_result *r)
{
        struct bench_usage process = bench_usage_process(), thread = bench_usage_thread();
        int64_t start = bench_now_ns();
        pthread_t threads[2];

        (void)c;
        if (pthread_create(&threads[0], NULL, putter_thread, NULL) != 0 ||
            pthread_create(&threads[1], NULL, taker_thread, NULL) != 0)
                bench_wrong("no thread");
        pthread_join(threads[0], NULL);
        pthread_join(threads[1], NULL);
        bench_add(r, (double)(bench_now_ns() - start) / items);
        bench_extra(r, "sleeps per 1000",
                    1000.0 * (double)bench_switches_of_others(&process, &thread) / items);
}

/* ---------------------------------------------------------------- */

static void ask(const char *question, const char *unit, struct bench_contestant *list, size_t n)
{
        if (!bench_wanted(question))
                return;
        bench_measure(question, unit, list, n);
        bench_print();
}

int main(int argc, char **argv)
{
        static void (*const mutex_fn)(struct skua_worker *) = mutex_await;
        static void (*const try_fn)(struct skua_worker *) = mutex_try;
        static void (*const semaphore_fn)(struct skua_worker *) = semaphore_pair;
        static void (*const ready_fn)(struct skua_worker *) = semaphore_ready;
        static void (*const event_fn)(struct skua_worker *) = event_pair;
        static void (*const channel_fn)(struct skua_worker *) = channel_pair;
        static void (*const select_fn)(struct skua_worker *) = select_pair;
        static const struct rivalry two = {2, 0}, sixteen = {16, 0}, two_long = {2, 1000};
        static const unsigned many_slots = SLOTS, no_slots = 0;
        struct bench_contestant alone_list[] = {
                {"pthread mutex, lock+unlock", BENCH_BASELINE, alone_pthread, NULL, 1, 0},
                {"sem_t, post+wait", BENCH_BASELINE, alone_sem, NULL, 1, 0},
                {"ring of threads, put+take", BENCH_BASELINE, alone_ring, NULL, 1, 0},
                {"mutex, await+unlock", BENCH_SKUA, alone, &mutex_fn, 1, 0},
                {"mutex, try+unlock", BENCH_SKUA, alone, &try_fn, 1, 0},
                {"semaphore, post+await", BENCH_SKUA, alone, &semaphore_fn, 1, 0},
                {"semaphore, await, ready", BENCH_SKUA, alone, &ready_fn, 1, 0},
                {"event, post+await", BENCH_SKUA, alone, &event_fn, 1, 0},
                {"channel, put+take", BENCH_SKUA, alone, &channel_fn, 1, 0},
                {"channel, put+select", BENCH_SKUA, alone, &select_fn, 1, 0},
        };
        struct bench_contestant contend_list[] = {
                {"2 threads, pthread mutex", BENCH_BASELINE, contend_pthread, &two, 2, 0},
                {"2 threads, 1 us each", BENCH_BASELINE, contend_pthread, &two_long, 2, 0},
                {"16 threads, pthread mutex", BENCH_BASELINE, contend_pthread, &sixteen, 2, 0},
                {"2 jobs, two workers", BENCH_SKUA, contend, &two, 2, 0},
                {"2 jobs, 1 us each", BENCH_SKUA, contend, &two_long, 2, 0},
                {"16 jobs, two workers", BENCH_SKUA, contend, &sixteen, 2, 0},
                {"16 jobs, one worker", BENCH_SKUA, contend, &sixteen, 1, 0},
        };
        struct bench_contestant pass_list[] = {
                {"ring of threads, 64 slots", BENCH_BASELINE, pass_ring, NULL, 2, 0},
                {"two workers, 64 slots", BENCH_SKUA, pass, &many_slots, 2, 0},
                {"two workers, no slots", BENCH_SKUA, pass, &no_slots, 2, 0},
                {"one worker, 64 slots", BENCH_SKUA, pass, &many_slots, 1, 0},
                {"one worker, no slots", BENCH_SKUA, pass, &no_slots, 1, 0},
        };

        bench_begin(argc, argv, "what do the objects for waiting jobs cost?");
        pairs = bench.quick ? PAIRS / 20 : PAIRS;
        items = bench.quick ? ITEMS / 20 : ITEMS;
        ask("alone", "ns", alone_list, sizeof alone_list / sizeof *alone_list);
        ask("contended, a turn", "ns", contend_list, sizeof contend_list / sizeof *contend_list);
        ask("an item from one to the other", "ns", pass_list, sizeof pass_list / sizeof *pass_list);
        return bench_end();
}
