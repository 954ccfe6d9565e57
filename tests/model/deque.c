/* SPDX-License-Identifier: MIT
 *
 * The fork deque: an owner that forks and joins, and thieves that do nothing else. The ring has
 * four slots.
 */
#include "core/deque.h"
#include "stand.h"

enum { TWIGS = 7 };

static struct task twigs[TWIGS];
static unsigned attempts;

static struct skua_worker *owner(void)
{
        return &stand_worker(0)->face;
}

static void prepare(unsigned workers, bool hungry)
{
        struct runtime *rt = stand_begin(workers, 0);

        /* Somebody searches, so that every fork is published. */
        if (hungry)
                rt->summary.value_ = PARK_SEARCH_ONE;
        model_name(twigs, sizeof twigs, "twigs");
}

static void fork_one(unsigned i)
{
        task_init(&twigs[i], task_run);
        skua_fork(owner(), &twigs[i].job, task_run);
}

static void join_one(unsigned i)
{
        if (skua_join(owner(), &twigs[i].job))
                task_ran(&twigs[i]);
        task_done(&twigs[i], 1);
}

/* A worker that only steals. */
static void thief(void *arg)
{
        struct worker *w = stand_worker((unsigned)(uintptr_t)arg);

        self_set(w);
        for (unsigned i = 0; i < attempts; i++) {
                struct skua_job *job = deque_steal(stand_worker(0));

                if (!job)
                        continue;
                job->run_(&w->face, job);
                fork_done(job);
        }
}

static unsigned thieves(unsigned count, unsigned tries)
{
        unsigned set = 0;

        attempts = tries;
        self_set(stand_worker(0));
        for (unsigned i = 1; i <= count; i++)
                set |= start_thread(thief, i);
        return set;
}

static void finish(unsigned set)
{
        model_threads_join(set);
        model_check(!stand_worker(0)->outstanding, "a fork is left");
        model_check(!deque_visible(stand_worker(0)), "the ring looks full");
        self_set(NULL);
}

static void one_fork(void)
{
        unsigned set;

        prepare(2, true);
        set = thieves(1, 1);
        fork_one(0);
        join_one(0);
        finish(set);
}

static void nested(unsigned workers, bool hungry, unsigned forks)
{
        unsigned set;

        prepare(workers, hungry);
        set = thieves(workers - 1, 2);
        for (unsigned i = 0; i < forks; i++)
                fork_one(i);
        for (unsigned i = forks; i--;)
                join_one(i);
        finish(set);
}

static void two_forks(void)
{
        nested(2, true, 2);
}

static void two_thieves(void)
{
        nested(3, true, 3);
}

static void asked_for(void)
{
        nested(2, false, 3);
}

static void overfull(void)
{
        nested(3, true, TWIGS);
}

/* One after the other in the same memory, so that slots and indexes come round. */
static void again_and_again(unsigned workers, unsigned rounds)
{
        unsigned set;

        prepare(workers, true);
        set = thieves(workers - 1, 2);
        for (unsigned i = 0; i < rounds; i++) {
                fork_one(0);
                join_one(0);
        }
        finish(set);
}

static void again(void)
{
        again_and_again(2, 3);
}

static void round_and_round(void)
{
        again_and_again(3, 10);
}

/* The lower one stays, others come and go above it. */
static void above_one(void)
{
        unsigned set;

        prepare(3, true);
        set = thieves(2, 2);
        fork_one(0);
        for (unsigned i = 0; i < 6; i++) {
                fork_one(1);
                fork_one(2);
                join_one(2);
                join_one(1);
        }
        join_one(0);
        finish(set);
}

/* Before a suspension all are published, and what does not fit follows when there is room. */
static void detached(void)
{
        struct worker *w;
        unsigned set;

        prepare(3, false);
        w = stand_worker(0);
        set = thieves(2, 3);
        for (unsigned i = 0; i < TWIGS; i++)
                fork_one(i);
        if (!deque_detach(w))
                for (unsigned i = 0; i < 2; i++) {
                        spin_hint();
                        if (deque_relieve(w, &w->face.fork_public_, w->face.fork_top_))
                                break;
                }
        for (unsigned i = TWIGS; i--;)
                join_one(i);
        finish(set);
}

/* A thief that finds nothing asks, and is heard by the next fork, also when it has just taken what
 * was public and the owner counts on that. */
static struct word32 stolen;

static void asking_thief(void *arg)
{
        struct worker *w = stand_worker((unsigned)(uintptr_t)arg);

        self_set(w);
        for (unsigned i = 1; i <= 2; i++) {
                struct skua_job *job;

                while (!(job = deque_steal(stand_worker(0))))
                        spin_hint();
                job->run_(&w->face, job);
                store_relaxed_u32(&stolen, i);
                fork_done(job);
        }
}

static void heard(void)
{
        unsigned set;

        prepare(2, false);
        shared_new(&stolen, sizeof stolen);
        stolen.value_ = 0;
        self_set(stand_worker(0));
        set = start_thread(asking_thief, 1);
        fork_one(0);
        while (load_relaxed_u32(&stolen) != 2) {
                fork_one(1);
                /* Time enough for the thief, if the fork is public. */
                for (unsigned i = 0; i < 30 && !twigs[1].runs; i++)
                        spin_hint();
                join_one(1);
        }
        join_one(0);
        finish(set);
}

static const struct model_scenario scenarios[] = {
        {.name = "deque: one fork, one thief", .run = one_fork},
        {.name = "deque: one fork, one thief, all with three preemptions",
         .run = one_fork,
         .search = MODEL_EXHAUSTIVE,
         .preemptions = 3},
        {.name = "deque: two forks, one thief", .run = two_forks},
        {.name = "deque: three forks, two thieves", .run = two_thieves},
        {.name = "deque: private forks, one thief", .run = asked_for},
        {.name = "deque: the same place again", .run = again},
        {.name = "deque: round and round", .run = round_and_round},
        {.name = "deque: above one that stays", .run = above_one},
        {.name = "deque: more forks than slots", .run = overfull},
        {.name = "deque: detached before a suspension", .run = detached},
        {.name = "deque: a hungry thief is heard", .run = heard},
};

int main(int argc, char **argv)
{
        return scenarios_main(argc, argv, scenarios, sizeof scenarios / sizeof *scenarios);
}
