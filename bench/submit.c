/* SPDX-License-Identifier: MIT
 *
 * What does it cost to hand jobs to the runtime: one and wait for it, 1,000 onto parked workers,
 * 10^6 at once, a steady stream from 1, 2, 4 producers to 1, 2, 4 workers, 10^6 from inside?
 *
 * The same for all contestants: a job is 64 bytes and only counts itself (count.h); jobs are
 * prepared before the clock starts. Steady stream: each producer goes round an array of 32,768
 * jobs, has at most 1,024 of them in flight and waits for the last before a new round; whoever
 * waits yields. Context switches are the voluntary ones of all threads but the main one.
 */
#include "count.h"
#include "engine.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>

enum {
        MILLION = 1000000,
        ROUND_TRIPS = 1000,
        BURST_JOBS = 1000,
        BURSTS = 40,
        ARENA_BITS = 15, /* jobs of one producer, as a power of two */
        ARENA_JOBS = 1 << ARENA_BITS,
        WINDOW = 1024,
        CHUNK = 128,
        PRODUCERS_MAX = 4
};

static union engine_job *arena; /* the steady producers' jobs, one array after the other */
static union engine_job *many;  /* a million, and one */

static const struct engine *const all[] = {&engine_ring, &engine_mutex, &engine_threads,
                                           &engine_skua, &engine_skua_array};

static void count_first(union engine_job *job)
{
        (void)job;
        count_one(0);
}
ENGINE_BODY(count_first);

static void count_producer(union engine_job *job)
{
        count_one((unsigned)((size_t)(job - arena) >> ARENA_BITS));
}
ENGINE_BODY(count_producer);

static void *fresh_start(const struct engine *e, unsigned workers)
{
        count_reset();
        void *handle = e->start(e, workers);
        for (int i = 0; i < 20; i++)
                e->run(e, handle);
        return handle;
}

static void check_count(const struct bench_contestant *c, unsigned producer, uint64_t expected)
{
        uint64_t sum = count_sum(producer);

        if (sum != expected)
                bench_wrong("%s: %llu jobs ran, not %llu", c->name, (unsigned long long)sum,
                            (unsigned long long)expected);
}

/* ---------------------------------------------------------------- round trip */

static void round_trip(const struct bench_contestant *c, struct bench_result *r)
{
        const struct engine *e = c->what;
        void *handle = fresh_start(e, c->workers);
        int trips = (bench.quick ? ROUND_TRIPS / 10 : ROUND_TRIPS) / (e->slower > 100 ? 5 : 1);

        for (int i = 0; i < trips; i++) {
                int64_t start = bench_now_ns();
                e->run(e, handle);
                bench_add(r, (double)(bench_now_ns() - start) / 1e3);
        }
        e->stop(e, handle);
}

/* ---------------------------------------------------------------- burst */

static void burst(const struct bench_contestant *c, struct bench_result *r)
{
        const struct engine *e = c->what;
        void *handle = fresh_start(e, c->workers);
        unsigned bursts = e->slower > 100 ? 2 : bench.quick ? BURSTS / 4 : BURSTS;

        for (int i = 0; i < BURST_JOBS; i++)
                e->prepare(&many[i], &count_first_body);
        bench_sleep_ns(2000000);
        struct bench_usage process = bench_usage_process(), thread = bench_usage_thread();
        for (uint64_t done = BURST_JOBS; done <= (uint64_t)bursts * BURST_JOBS;
             done += BURST_JOBS) {
                int64_t start = bench_now_ns();
                e->submit(e, handle, many, BURST_JOBS);
                count_wait(0, done);
                bench_add(r, (double)(bench_now_ns() - start) / BURST_JOBS);
                bench_sleep_ns(2000000); /* all park again */
        }
        if (e->slower <= 100)
                bench_extra(r, "wake-ups per burst",
                            (double)bench_switches_of_others(&process, &thread) / bursts);
        check_count(c, 0, (uint64_t)bursts * BURST_JOBS);
        e->stop(e, handle);
}

/* ---------------------------------------------------------------- a million at once */

/* Sleeps while the end is far, so that the workers have the processors for themselves. */
static void wait_for_many(uint64_t count)
{
        while (count_sum(0) < count - count / 20)
                bench_sleep_ns(200000);
        count_wait(0, count);
}

static size_t how_many(const struct engine *e)
{
        return (bench.quick ? MILLION / 10 : MILLION) / e->slower;
}

static void at_once(const struct bench_contestant *c, struct bench_result *r)
{
        const struct engine *e = c->what;
        size_t count = how_many(e);
        void *handle = fresh_start(e, c->workers);

        for (size_t i = 0; i < count; i++)
                e->prepare(&many[i], &count_first_body);
        struct bench_usage process = bench_usage_process(), thread = bench_usage_thread();
        int64_t start = bench_now_ns();
        e->submit(e, handle, many, count);
        wait_for_many(count);
        bench_add(r, (double)(bench_now_ns() - start) / (double)count);
        bench_extra(r, "switches/1000",
                    (double)bench_switches_of_others(&process, &thread) * 1e3 / (double)count);
        check_count(c, 0, count);
        e->stop(e, handle);
}

/* ---------------------------------------------------------------- from inside */

static struct {
        const struct engine *e;
        void *handle;
        size_t count;
        int64_t start_ns;
} inside_call;

static void spawn_all(union engine_job *job)
{
        (void)job;
        inside_call.start_ns = bench_now_ns();
        inside_call.e->spawn(inside_call.e, inside_call.handle, many, inside_call.count);
        count_one(1);
}
ENGINE_BODY(spawn_all);

static size_t inside_jobs;

static void inside(const struct bench_contestant *c, struct bench_result *r)
{
        const struct engine *e = c->what;
        size_t count = (bench.quick ? inside_jobs / 10 : inside_jobs) / e->slower;
        void *handle = fresh_start(e, c->workers);
        union engine_job *root = &many[MILLION];

        for (size_t i = 0; i < count; i++)
                e->prepare(&many[i], &count_first_body);
        e->prepare(root, &spawn_all_body);
        inside_call.e = e;
        inside_call.handle = handle;
        inside_call.count = count;
        struct bench_usage process = bench_usage_process(), thread = bench_usage_thread();
        e->submit(e, handle, root, 1);
        wait_for_many(count);
        int64_t end = bench_now_ns();
        count_wait(1, 1);
        bench_add(r, (double)(end - inside_call.start_ns) / (double)count);
        bench_extra(r, "switches/1000",
                    (double)bench_switches_of_others(&process, &thread) * 1e3 / (double)count);
        check_count(c, 0, count);
        e->stop(e, handle);
}

/* ---------------------------------------------------------------- a steady stream */

static unsigned producers; /* of the question that is being measured */
static pthread_barrier_t all_ready;

struct producer {
        pthread_t id;
        const struct engine *e;
        void *handle;
        unsigned index;
        uint64_t count;
        int64_t start_ns, end_ns;
};

static void wait_in_flight(const struct producer *p, uint64_t submitted, uint64_t limit)
{
        while (submitted - count_sum(p->index) > limit)
                sched_yield();
}

static void *produce(void *arg)
{
        struct producer *p = arg;
        union engine_job *jobs = &arena[(size_t)p->index << ARENA_BITS];
        uint64_t submitted = 0;

        pthread_barrier_wait(&all_ready);
        p->start_ns = bench_now_ns();
        while (submitted < p->count) {
                size_t at = submitted % ARENA_JOBS;
                size_t n = p->count - submitted < CHUNK ? p->count - submitted : CHUNK;
                wait_in_flight(p, submitted, at == 0 ? 0 : WINDOW - CHUNK);
                p->e->submit(p->e, p->handle, &jobs[at], n);
                submitted += n;
        }
        wait_in_flight(p, submitted, 0);
        p->end_ns = bench_now_ns();
        return NULL;
}

static double run_producers(const struct engine *e, void *handle, uint64_t count)
{
        struct producer p[PRODUCERS_MAX];

        pthread_barrier_init(&all_ready, NULL, producers);
        for (unsigned i = 0; i < producers; i++) {
                p[i] = (struct producer){.e = e, .handle = handle, .index = i, .count = count};
                if (pthread_create(&p[i].id, NULL, produce, &p[i]) != 0)
                        bench_wrong("no thread for a producer");
        }
        for (unsigned i = 0; i < producers; i++)
                pthread_join(p[i].id, NULL);
        pthread_barrier_destroy(&all_ready);

        int64_t start = p[0].start_ns, end = p[0].end_ns;
        for (unsigned i = 1; i < producers; i++) {
                start = p[i].start_ns < start ? p[i].start_ns : start;
                end = p[i].end_ns > end ? p[i].end_ns : end;
        }
        return (double)(end - start);
}

static void stream(const struct bench_contestant *c, struct bench_result *r)
{
        const struct engine *e = c->what;
        uint64_t count = how_many(e) / producers;
        void *handle = fresh_start(e, c->workers);

        for (size_t i = 0; i < (size_t)producers << ARENA_BITS; i++)
                e->prepare(&arena[i], &count_producer_body);
        struct bench_usage process = bench_usage_process(), thread = bench_usage_thread();
        double ns = run_producers(e, handle, count);
        bench_add(r, ns / (double)(count * producers));
        bench_extra(r, "switches/1000",
                    (double)bench_switches_of_others(&process, &thread) * 1e3 /
                            (double)(count * producers));
        for (unsigned i = 0; i < producers; i++)
                check_count(c, i, count);
        e->stop(e, handle);
}

/* ---------------------------------------------------------------- the questions */

/* The engines side by side. What has no workers of its own takes part with one worker only. */
static void ask(const char *name, unsigned workers, const char *unit,
                void (*measure)(const struct bench_contestant *, struct bench_result *),
                const struct engine *const *engines, size_t count)
{
        struct bench_contestant list[8];
        char question[48];
        size_t n = 0;

        snprintf(question, sizeof question, "%s, w%u", name, workers);
        if (!bench_wanted(question))
                return;
        for (size_t i = 0; i < count; i++)
                if (engines[i] != &engine_threads || workers == 1)
                        list[n++] = (struct bench_contestant){.name = engines[i]->name,
                                                              .side = engines[i]->side,
                                                              .measure = measure,
                                                              .what = engines[i],
                                                              .workers = workers};
        bench_measure(question, unit, list, n);
        bench_print();
}

static void ask_streams(void)
{
        for (producers = 1; producers <= PRODUCERS_MAX; producers *= 2)
                for (unsigned workers = 1; workers <= 4; workers *= 2) {
                        char name[48];
                        snprintf(name, sizeof name, "stream, %u producer%s", producers,
                                 producers > 1 ? "s" : "");
                        ask(name, workers, "ns/job", stream, all, 5);
                }
}

int main(int argc, char **argv)
{
        const struct engine *const trips[] = {&engine_ring, &engine_mutex, &engine_threads,
                                              &engine_skua, &engine_skua_group};

        bench_begin(argc, argv, "what does it cost to hand jobs to the runtime?");
        arena = bench_memory(sizeof *arena * ARENA_JOBS * PRODUCERS_MAX);
        many = bench_memory(sizeof *many * (MILLION + 1));
        for (unsigned workers = 1; workers <= 2; workers++)
                ask("round trip", workers, "us", round_trip, trips, 5);
        for (unsigned workers = 1; workers <= 4; workers *= 2)
                ask("burst of 1,000", workers, "ns/job", burst, all, 5);
        for (unsigned workers = 1; workers <= 2; workers++)
                ask("10^6 at once", workers, "ns/job", at_once, all, 5);
        ask_streams();
        for (inside_jobs = MILLION; inside_jobs >= MILLION / 10; inside_jobs /= 10)
                for (unsigned workers = 1; workers <= 2; workers++)
                        ask(inside_jobs == MILLION ? "10^6 inside" : "10^5 inside", workers,
                            "ns/job", inside, all, 4);
        return bench_end();
}
