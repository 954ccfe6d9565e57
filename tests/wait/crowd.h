/* SPDX-License-Identifier: MIT
 *
 * For tests of what jobs share: many jobs at once, some of them cancelled or late at random
 * moments, with threads beside them.
 */
#ifndef TESTS_WAIT_CROWD_H
#define TESTS_WAIT_CROWD_H

#include <pthread.h>

#include "rig.h"

enum { CROWD_JOBS = 24, CROWD_GROUPS = 4, CROWD_THREADS = 3 };

struct crowd;

struct member {
        struct skua_job job;
        struct crowd *crowd;
        unsigned index;
        uint64_t random;
};

struct crowd {
        skua_fn *run;                          /* of the jobs */
        void (*thread)(struct member *member); /* of the threads; NULL: none */
        struct skua_group groups[CROWD_GROUPS];
        struct member members[CROWD_JOBS + CROWD_THREADS];
};

static inline struct member *member_of(struct skua_job *job)
{
        return skua_container(job, struct member, job);
}

static inline unsigned member_any(struct member *m, unsigned count)
{
        return (unsigned)((tap_random(&m->random) >> 32) % count);
}

/* None, or a time that comes before, while, or after it is waited for. */
static inline int64_t member_deadline(struct member *m)
{
        static const int64_t spans[] = {1000, 10000, 100000, 1000000};

        if (member_any(m, 2))
                return 0;
        return skua_now_ns() + member_any(m, (unsigned)spans[member_any(m, 4)]);
}

static void *crowd_thread_(void *arg)
{
        struct member *m = arg;

        m->crowd->thread(m);
        return NULL;
}

/* One round: the jobs in their groups, of which some are cancelled; then `end`, if there is one,
 * after which all that still wait must be able to end. */
static inline void crowd_round(struct skua *rt, struct crowd *c, bool cancel,
                               void (*end)(struct crowd *c))
{
        pthread_t threads[CROWD_THREADS];
        uint64_t random = 0;

        for (unsigned i = 0; i < CROWD_GROUPS; i++)
                skua_group_init(&c->groups[i]);
        for (unsigned i = 0; i < CROWD_JOBS + CROWD_THREADS; i++) {
                struct member *m = &c->members[i];

                m->crowd = c;
                m->index = i;
                m->random = tap_random(&random) | 1;
        }
        for (unsigned i = 0; i < CROWD_JOBS; i++) {
                skua_job_init(&c->members[i].job, c->run);
                skua_group_submit(rt, &c->groups[i % CROWD_GROUPS], &c->members[i].job);
        }
        for (unsigned i = 0; c->thread && i < CROWD_THREADS; i++)
                if (pthread_create(&threads[i], NULL, crowd_thread_, &c->members[CROWD_JOBS + i]))
                        abort();
        for (unsigned i = 0; cancel && i < CROWD_GROUPS / 2; i++) {
                int64_t until = skua_now_ns() + (int64_t)(tap_random(&random) % 1000000);

                while (skua_now_ns() < until)
                        sched_yield();
                skua_group_cancel(&c->groups[tap_random(&random) % CROWD_GROUPS]);
        }
        if (end)
                end(c);
        for (unsigned i = 0; i < CROWD_GROUPS; i++)
                skua_group_wait(&c->groups[i], -1);
        for (unsigned i = 0; c->thread && i < CROWD_THREADS; i++)
                pthread_join(threads[i], NULL);
}

/* One job, which is waited for. */
static inline void crowd_run(struct skua *rt, void (*fn)(struct skua_worker *self, void *arg),
                             void *arg)
{
        int result = skua_run(rt, fn, arg);

        if (result) {
                printf("Bail out! skua_run: %s\n", strerror(-result));
                exit(3);
        }
}

#endif
