/* SPDX-License-Identifier: MIT
 *
 * The textbook pool: a linked list under a mutex, a condition that every submission signals. The
 * signal is sent after the unlock, so that the woken thread does not run into the lock.
 */
#include "pool.h"
#include "measure.h"

#include <pthread.h>
#include <stdlib.h>

struct pool {
        pthread_mutex_t lock;
        pthread_cond_t more;
        struct pool_job *first, **end;
        bool stopping, pin;
        unsigned threads;
        unsigned started; /* under lock: gives each thread its index */
        pthread_t ids[];
};

static struct pool_job *take(struct pool *p)
{
        struct pool_job *job;

        pthread_mutex_lock(&p->lock);
        while (p->first == NULL && !p->stopping)
                pthread_cond_wait(&p->more, &p->lock);
        job = p->first;
        if (job != NULL && (p->first = job->next) == NULL)
                p->end = &p->first;
        pthread_mutex_unlock(&p->lock);
        return job;
}

static void *work(void *arg)
{
        struct pool *p = arg;
        struct pool_job *job;

        pthread_mutex_lock(&p->lock);
        unsigned index = p->started++;
        pthread_mutex_unlock(&p->lock);
        if (p->pin)
                bench_pin_thread(index);
        while ((job = take(p)) != NULL)
                job->run(job);
        return NULL;
}

static struct pool *mutex_pool_start(unsigned threads, bool pin)
{
        struct pool *p = calloc(1, sizeof *p + threads * sizeof p->ids[0]);

        if (p == NULL)
                abort();
        pthread_mutex_init(&p->lock, NULL);
        pthread_cond_init(&p->more, NULL);
        p->end = &p->first;
        p->pin = pin;
        p->threads = threads;
        for (unsigned i = 0; i < threads; i++)
                if (pthread_create(&p->ids[i], NULL, work, p) != 0)
                        abort();
        return p;
}

static void mutex_pool_submit(struct pool *p, struct pool_job *job)
{
        job->next = NULL;
        pthread_mutex_lock(&p->lock);
        *p->end = job;
        p->end = &job->next;
        pthread_mutex_unlock(&p->lock);
        pthread_cond_signal(&p->more);
}

static void mutex_pool_submit_many(struct pool *p, void *first, size_t count, size_t stride)
{
        for (size_t i = 0; i < count; i++)
                mutex_pool_submit(p, (struct pool_job *)(void *)((char *)first + i * stride));
}

struct awaited {
        struct pool_job job;
        pool_fn *fn;
        pthread_mutex_t lock;
        pthread_cond_t done_changed;
        bool done;
};

static void run_awaited(struct pool_job *job)
{
        struct awaited *a = (struct awaited *)job;

        a->fn(job);
        pthread_mutex_lock(&a->lock);
        a->done = true;
        pthread_cond_signal(&a->done_changed);
        pthread_mutex_unlock(&a->lock);
}

static void mutex_pool_run(struct pool *p, pool_fn *fn)
{
        struct awaited a = {.job.run = run_awaited, .fn = fn};

        pthread_mutex_init(&a.lock, NULL);
        pthread_cond_init(&a.done_changed, NULL);
        mutex_pool_submit(p, &a.job);
        pthread_mutex_lock(&a.lock);
        while (!a.done)
                pthread_cond_wait(&a.done_changed, &a.lock);
        pthread_mutex_unlock(&a.lock);
        pthread_cond_destroy(&a.done_changed);
        pthread_mutex_destroy(&a.lock);
}

static void mutex_pool_stop(struct pool *p)
{
        pthread_mutex_lock(&p->lock);
        p->stopping = true;
        pthread_mutex_unlock(&p->lock);
        pthread_cond_broadcast(&p->more);
        for (unsigned i = 0; i < p->threads; i++)
                pthread_join(p->ids[i], NULL);
        pthread_cond_destroy(&p->more);
        pthread_mutex_destroy(&p->lock);
        free(p);
}

const struct pool_kind mutex_pool = {"mutex pool",           mutex_pool_start, mutex_pool_submit,
                                     mutex_pool_submit_many, mutex_pool_run,   mutex_pool_stop};
