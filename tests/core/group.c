/* SPDX-License-Identifier: MIT
 *
 * Groups: what is counted, whose error wins, who is woken with what, when the memory may go. Groups
 * of jobs are in group_jobs.c.
 */
#include "core/waiters.h"

enum { CHECKS = 46, WAITERS = 4 };

static uint64_t count_of(const struct skua_group *g)
{
        return __atomic_load_n(&g->word_, __ATOMIC_RELAXED) & GROUP_COUNT_MASK;
}

/* ------------------------------------------------------------------ one thread */

static void check_counting(void)
{
        struct skua_group g;

        skua_group_init(&g);
        tap_is(skua_group_wait(&g, -1), 0, "an empty group is not waited for");
        tap_is(skua_group_wait(NULL, 0), -EINVAL, "no group");
        skua_group_hold(&g, 0);
        tap_is(skua_group_wait(&g, 0), 0, "a hold of none is none");
        skua_group_hold(&g, 3);
        skua_group_release(&g, 0);
        skua_group_release(&g, 0);
        tap_is(skua_group_wait(&g, 0), -ETIMEDOUT, "one of three is left: a look");
        tap_is(skua_group_wait(&g, 1000), -ETIMEDOUT, "a microsecond");
        skua_group_release(&g, 0);
        tap_is(skua_group_wait(&g, 0), 0, "none is left");
        skua_group_hold(&g, 1);
        skua_group_release(&g, 0);
        tap_is(skua_group_wait(&g, INT64_MAX), 0, "a wait of centuries for an empty group");
}

static void check_errors(void)
{
        struct skua_group g;

        skua_group_init(&g);
        skua_group_hold(&g, 4);
        skua_group_release(&g, 0);
        skua_group_release(&g, -EIO);
        tap_is(skua_group_error(&g), -EIO, "an error is seen at once");
        skua_group_release(&g, -ENOENT);
        tap_is(skua_group_error(&g), -EIO, "the first one stays");
        skua_group_release(&g, 0);
        tap_is(skua_group_error(&g), -EIO, "until it is waited for");
        tap_is(skua_group_wait(&g, 0), -EIO, "which gives it");
        tap_is(skua_group_error(&g), 0, "once");
        tap_is(skua_group_wait(&g, 0), 0, "the group is fresh");
        for (int i = 0; i < 4; i++) {
                static const int given[] = {-32768, -32769, 40000, 7};
                static const int expected[] = {-32768, -EINVAL, -EINVAL, 7};

                skua_group_hold(&g, 1);
                skua_group_release(&g, given[i]);
                tap_ok(skua_group_wait(&g, 0) == expected[i], "an error of %d", given[i]);
        }
}

static void check_cancel(void)
{
        struct skua_group g;

        skua_group_init(&g);
        skua_group_hold(&g, 2);
        tap_ok(!skua_group_cancelled(&g), "nobody has cancelled it");
        skua_group_cancel(&g);
        tap_ok(skua_group_cancelled(&g), "somebody has");
        tap_is(skua_group_wait(&g, 0), -ETIMEDOUT, "it still waits for all");
        skua_group_release(&g, -EIO);
        skua_group_release(&g, 0);
        tap_is(skua_group_wait(&g, -1), -ECANCELED, "cancelled, whatever the error");
        tap_ok(!skua_group_cancelled(&g) && !skua_group_error(&g), "and fresh");
}

static void check_parents(void)
{
        struct skua_group top, middle, low[2];

        skua_group_init(&top);
        skua_group_init_under(&middle, &top);
        skua_group_init_under(&low[0], &middle);
        skua_group_init_under(&low[1], &middle);
        skua_group_hold(&low[0], 5);
        skua_group_hold(&low[1], 1);
        tap_ok(count_of(&middle) == 2 && count_of(&top) == 1,
               "a child that is not empty counts as one, however much it holds");
        tap_is(skua_group_wait(&top, 0), -ETIMEDOUT, "so the top waits");
        for (unsigned i = 0; i < 4; i++)
                skua_group_release(&low[0], 0);
        tap_ok(count_of(&middle) == 2, "four of five");
        skua_group_release(&low[0], -EIO);
        tap_ok(count_of(&middle) == 1 && count_of(&top) == 1, "a child that becomes empty");
        skua_group_cancel(&top);
        tap_ok(skua_group_cancelled(&low[1]) && skua_group_cancelled(&middle),
               "cancelled with the top");
        skua_group_release(&low[1], 0);
        tap_is(skua_group_wait(&low[0], 0), -EIO, "its own error, before the cancel");
        tap_is(skua_group_wait(&low[1], 0), -ECANCELED, "a result that the parent's cancel gave");
        tap_is(skua_group_wait(&middle, 0), -ECANCELED, "and to the one between");
        tap_is(skua_group_wait(&top, 0), -ECANCELED, "and to the top itself");
        tap_ok(!count_of(&top) && !skua_group_cancelled(&low[1]), "all fresh");
        skua_group_hold(&low[0], 1);
        skua_group_release(&low[0], -EIO);
        tap_is(skua_group_wait(&top, 0), 0, "errors do not rise");
        tap_is(skua_group_wait(&low[0], 0), -EIO, "they stay with the child");
}

/* ------------------------------------------------------------------ many threads */

/* All sleep, then the group ends, and its memory is gone before they run. */
static void check_waiters(int error, bool cancel, int expected, const char *name)
{
        struct skua_group *g = malloc(sizeof *g);
        struct wait_case c = {.group = g, .timeout_ns = -1};
        pthread_t threads[WAITERS];
        unsigned wrong = 0;

        skua_group_init(g);
        skua_group_hold(g, 1);
        for (unsigned i = 0; i < WAITERS; i++)
                threads[i] = go(wait_thread, &c);
        until_listed(g, WAITERS);
        if (cancel)
                skua_group_cancel(g);
        skua_group_release(g, error);
        wrong += g->word_ != 0;
        memset(g, 0xa5, sizeof *g);
        free(g);
        for (unsigned i = 0; i < WAITERS; i++)
                join(threads[i]);
        for (unsigned i = 0; i < WAITERS; i++)
                wrong += atomic_load(&c.results[i]) != expected;
        tap_is(wrong, 0, name);
}

static void check_some_time_out(void)
{
        struct skua_group g;
        struct wait_case forever = {.group = &g, .timeout_ns = -1};
        struct wait_case hasty = {.group = &g, .timeout_ns = 20000};
        pthread_t threads[4];

        skua_group_init(&g);
        skua_group_hold(&g, 1);
        for (unsigned i = 0; i < 4; i++)
                threads[i] = go(wait_thread, i & 1 ? &forever : &hasty);
        join(threads[0]);
        join(threads[2]);
        tap_ok(atomic_load(&hasty.timeouts) == 2, "the hasty ones time out");
        until_listed(&g, 2);
        skua_group_release(&g, -EIO);
        join(threads[1]);
        join(threads[3]);
        tap_ok(atomic_load(&forever.results[0]) == -EIO && atomic_load(&forever.results[1]) == -EIO,
               "the patient ones get the result");
}

struct race {
        struct skua_group *group;
        struct tally turn, done;
        unsigned rounds;
        int error;
};

static void *release_each_round(void *arg)
{
        struct race *race = arg;

        for (unsigned i = 0; i < race->rounds; i++) {
                tally_wait(&race->turn, i + 1);
                skua_group_release(race->group, race->error);
                tally_add(&race->done, 1);
        }
        return NULL;
}

/* The time is over while the last release is under way: either is right, but the result is given
 * exactly once, and nothing of the group is touched when the wait has returned. */
static void check_timeout_race(int64_t most_ns, const char *name)
{
        struct race race = {.rounds = rig_rounds(20000), .error = -EIO};
        struct skua_group *g = malloc(sizeof *g);
        uint64_t random = 0;
        unsigned wrong = 0, late = 0;
        pthread_t thread;

        race.group = g;
        skua_group_init(g);
        thread = go(release_each_round, &race);
        for (unsigned i = 0; i < race.rounds; i++) {
                int64_t timeout = (int64_t)((tap_random(&random) >> 32) % (uint64_t)most_ns);
                int result;

                skua_group_hold(g, 1);
                tally_add(&race.turn, 1);
                result = skua_group_wait(g, timeout);
                if (result == -ETIMEDOUT) {
                        late++;
                        result = skua_group_wait(g, -1);
                }
                wrong += result != -EIO || g->word_ || g->waiters_;
                tally_wait(&race.done, i + 1);
        }
        join(thread);
        free(g);
        tap_is(wrong, 0, name);
        printf("# %u of %u timed out\n", late, race.rounds);
}

/* A group in memory of its own for each round, overwritten as soon as the wait has returned. */
struct shared_group {
        _Atomic(struct skua_group *) group;
        atomic_bool stop;
};

static void *release_what_comes(void *arg)
{
        struct shared_group *shared = arg;
        struct skua_group *g;

        while (!atomic_load(&shared->stop))
                if ((g = atomic_exchange(&shared->group, NULL)))
                        skua_group_release(g, 5);
        return NULL;
}

static void check_memory_goes(void)
{
        struct shared_group shared = {NULL, false};
        unsigned rounds = rig_rounds(100000), wrong = 0;
        struct skua_group parent;
        pthread_t threads[2];

        skua_group_init(&parent);
        for (unsigned i = 0; i < 2; i++)
                threads[i] = go(release_what_comes, &shared);
        for (unsigned i = 0; i < rounds; i++) {
                struct skua_group *g = malloc(sizeof *g);
                int result;

                skua_group_init_under(g, i & 1 ? &parent : NULL);
                skua_group_hold(g, 2);
                atomic_store(&shared.group, g);
                skua_group_release(g, 0);
                result = i & 2 ? skua_group_wait(g, -1) : -ETIMEDOUT;
                while (result == -ETIMEDOUT)
                        result = skua_group_wait(g, 500);
                memset(g, 0xa5, sizeof *g);
                for (unsigned k = 0; k < sizeof *g; k++)
                        wrong += ((volatile unsigned char *)g)[k] != 0xa5;
                wrong += result != 5;
                free(g);
        }
        wrong += skua_group_wait(&parent, -1) != 0;
        atomic_store(&shared.stop, true);
        join(threads[0]);
        join(threads[1]);
        tap_is(wrong, 0, "the memory may go when the wait has returned");
}

/* Children that become empty and are held again at the same time, while the parent is held. */
struct family {
        struct skua_group top, child;
        unsigned rounds;
        atomic_int live;
        atomic_uint wrong;
};

static void *hold_and_release(void *arg)
{
        struct family *family = arg;
        uint64_t random = (uint64_t)(uintptr_t)&random;

        for (unsigned i = 0; i < family->rounds; i++) {
                skua_group_hold(&family->child, 1);
                atomic_fetch_add(&family->live, 1);
                if (!count_of(&family->top) || !count_of(&family->child))
                        atomic_fetch_add(&family->wrong, 1);
                if (tap_random(&random) >> 32 & 1)
                        sched_yield();
                atomic_fetch_sub(&family->live, 1);
                skua_group_release(&family->child, 0);
        }
        return NULL;
}

static void check_family(void)
{
        static struct family family;
        pthread_t threads[4];

        family.rounds = rig_rounds(20000);
        skua_group_init(&family.top);
        skua_group_init_under(&family.child, &family.top);
        skua_group_hold(&family.top, 1);
        for (unsigned i = 0; i < 4; i++)
                threads[i] = go(hold_and_release, &family);
        for (unsigned i = 0; i < 4; i++)
                join(threads[i]);
        tap_is(atomic_load(&family.wrong), 0, "a held child holds its parent");
        tap_ok(count_of(&family.child) == 0 && count_of(&family.top) == 1,
               "and gives it back as often");
        skua_group_release(&family.top, 0);
        tap_is(skua_group_wait(&family.top, 0), 0, "the top ends");
}

int main(void)
{
        tap_plan(CHECKS, 60);
        check_counting();
        check_errors();
        check_cancel();
        check_parents();
        check_waiters(0, false, 0, "all waiters get 0, the memory has gone");
        check_waiters(-EIO, false, -EIO, "all waiters get the error");
        check_waiters(-EIO, true, -ECANCELED, "all waiters learn of the cancel");
        check_some_time_out();
        check_timeout_race(1, "time-outs of 0 beside the last release");
        check_timeout_race(3000, "time-outs while looking");
        check_timeout_race(30000, "time-outs while sleeping");
        check_memory_goes();
        check_family();
        return tap_done();
}
