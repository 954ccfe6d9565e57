/* SPDX-License-Identifier: MIT
 *
 * A steady stream of jobs from 1, 2 and 4 threads. Each goes round an array of 32,768 jobs, has at
 * most 1,024 of them in flight and waits for the last before a new round; whoever waits yields.
 */
#include "count.h"
#include "questions.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

enum {
        MILLION = 1000000,
        ARENA_BITS = 15, /* jobs of one producer, as a power of two */
        ARENA_JOBS = 1 << ARENA_BITS,
        WINDOW = 1024,
        CHUNK = 128,
        PRODUCERS_MAX = 4
};

static struct peer_job *arena; /* the producers' jobs, one array after the other */
static pthread_barrier_t all_ready;

struct producer {
        pthread_t id;
        const struct peer *peer;
        void *pool;
        unsigned index;
        uint64_t count;
        int64_t start_ns, end_ns;
};

static void count_producer(struct peer_job *job)
{
        count_one((unsigned)((size_t)(job - arena) >> ARENA_BITS));
}

static void wait_in_flight(const struct producer *p, uint64_t submitted, uint64_t limit)
{
        while (submitted - count_sum(p->index) > limit)
                sched_yield();
}

static void *produce(void *arg)
{
        struct producer *p = arg;
        struct peer_job *jobs = &arena[(size_t)p->index << ARENA_BITS];
        uint64_t submitted = 0;

        pthread_barrier_wait(&all_ready);
        p->start_ns = bench_now_ns();
        while (submitted < p->count) {
                size_t at = submitted % ARENA_JOBS;
                size_t n = p->count - submitted < CHUNK ? p->count - submitted : CHUNK;
                wait_in_flight(p, submitted, at == 0 ? 0 : WINDOW - CHUNK);
                p->peer->submit(p->pool, &jobs[at], n);
                submitted += n;
        }
        wait_in_flight(p, submitted, 0);
        p->end_ns = bench_now_ns();
        return NULL;
}

/* From the first producer's start to the last one's end. */
static double run_producers(const struct asked *a, void *pool, uint64_t count)
{
        struct producer p[PRODUCERS_MAX];

        pthread_barrier_init(&all_ready, NULL, a->kind);
        for (unsigned i = 0; i < a->kind; i++) {
                p[i] = (struct producer){.peer = a->peer, .pool = pool, .index = i, .count = count};
                if (pthread_create(&p[i].id, NULL, produce, &p[i]) != 0) {
                        fprintf(stderr, "no thread for a producer\n");
                        exit(1);
                }
        }
        for (unsigned i = 0; i < a->kind; i++)
                pthread_join(p[i].id, NULL);
        pthread_barrier_destroy(&all_ready);

        int64_t start = p[0].start_ns, end = p[0].end_ns;
        for (unsigned i = 1; i < a->kind; i++) {
                start = p[i].start_ns < start ? p[i].start_ns : start;
                end = p[i].end_ns > end ? p[i].end_ns : end;
        }
        return (double)(end - start);
}

void stream(const struct asked *a)
{
        size_t jobs = (size_t)a->kind << ARENA_BITS;
        uint64_t count = how_many(a, MILLION) / a->kind;

        need_submit(a);
        arena = bench_memory(sizeof *arena * jobs);
        for (size_t i = 0; i < jobs; i++)
                arena[i].run = count_producer;
        void *pool = begin_pool(a);

        struct bench_usage process = bench_usage_process(), thread = bench_usage_thread();
        double ns = run_producers(a, pool, count), all = (double)(count * a->kind);
        bench_add(a->result, ns / all);
        bench_extra(a->result, "switches",
                    (double)bench_switches_of_others(&process, &thread) * 1e3 / all);
        for (unsigned i = 0; i < a->kind; i++)
                expect("jobs", (long)count_sum(i), (long)count);
        a->peer->stop(pool);
}
