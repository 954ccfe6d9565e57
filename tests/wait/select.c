/* SPDX-License-Identifier: MIT
 *
 * Select: the ready one, the first one, none in time; exactly one case of each call is done, with
 * many at once on the same channels, cancelled and late at random, and while they are closed.
 */
#include "wait/crowd.h"

enum { CHECKS = 2 * 29, CHANNELS = 3, SLOTS = 2 };
#define MS ((int64_t)1000000)

static struct skua_channel channels[CHANNELS];
static uint32_t slots[CHANNELS][SLOTS];

static void prepare(size_t slot_count)
{
        for (unsigned i = 0; i < CHANNELS; i++)
                skua_channel_init(&channels[i], slots[i], sizeof slots[i][0], slot_count);
}

static struct skua_case put_case(struct skua_channel *c, uint32_t *item)
{
        return (struct skua_case){.channel = c, .item = item, .what = SKUA_PUT};
}

static struct skua_case take_case(struct skua_channel *c, uint32_t *item)
{
        return (struct skua_case){.channel = c, .item = item, .what = SKUA_TAKE};
}

/* ------------------------------------------------------------------ alone */

static void alone(struct skua_worker *self, void *arg)
{
        struct skua_case cases[SKUA_SELECT_MAX + 1], one;
        uint32_t got[CHANNELS] = {0, 0, 0}, item = 7;
        int64_t until = skua_now_ns() + MS;

        (void)arg;
        prepare(SLOTS);
        for (unsigned i = 0; i < CHANNELS; i++)
                cases[i] = take_case(&channels[i], &got[i]);
        tap_is(skua_await_select(self, cases, CHANNELS, 1), -ETIMEDOUT, "nothing is ready");
        tap_ok(skua_await_select(self, cases, CHANNELS, until) == -ETIMEDOUT &&
                       skua_now_ns() >= until,
               "nor becomes so in time");
        skua_try_put(&channels[1], &item);
        tap_is(skua_await_select(self, cases, CHANNELS, 1), 1, "what is ready is done");
        tap_ok(got[1] == 7 && !got[0] && !got[2] && !cases[1].result, "and nothing else");
        one = put_case(&channels[2], &item);
        tap_ok(skua_await_select(self, &one, 1, 0) == 0 && !skua_try_take(&channels[2], &got[2]) &&
                       got[2] == 7,
               "a put likewise");
        skua_channel_close(&channels[0]);
        tap_is(skua_await_select(self, cases, CHANNELS, 0), 0, "a closed channel is ready");
        tap_is(cases[0].result, -EPIPE, "and says so");
        cases[0].channel = NULL;
        tap_is(skua_await_select(self, cases, CHANNELS, skua_now_ns() + MS), -ETIMEDOUT,
               "one that is not there never is");
        tap_is(skua_await_select(self, NULL, 0, skua_now_ns() + MS), -ETIMEDOUT,
               "without cases it sleeps");
        cases[1].what = 0;
        tap_is(skua_await_select(self, cases, CHANNELS, 0), -EINVAL, "put or take, nothing else");
        for (unsigned i = 0; i <= SKUA_SELECT_MAX; i++)
                cases[i] = take_case(&channels[1], &got[1]);
        tap_is(skua_await_select(self, cases, SKUA_SELECT_MAX + 1, 0), -EINVAL, "too many");
        tap_is(skua_await_select(self, cases, SKUA_SELECT_MAX, skua_now_ns() + MS), -ETIMEDOUT,
               "one channel may stand there often");
}

static void self_meets(struct skua_worker *self, void *arg)
{
        struct skua_case cases[2];
        uint32_t item = 5, got = 0;

        (void)arg;
        prepare(0);
        cases[0] = put_case(&channels[0], &item);
        cases[1] = take_case(&channels[0], &got);
        tap_is(skua_await_select(self, cases, 2, skua_now_ns() + MS), -ETIMEDOUT,
               "a call does not meet itself");
}

/* Each of those that are ready has its turns. */
static void fair(struct skua_worker *self, void *arg)
{
        unsigned turns[CHANNELS] = {0, 0, 0};
        struct skua_case cases[CHANNELS];
        uint32_t item = 1, got;

        (void)arg;
        prepare(SLOTS);
        for (unsigned i = 0; i < CHANNELS; i++) {
                cases[i] = take_case(&channels[i], &got);
                skua_try_put(&channels[i], &item);
        }
        for (unsigned i = 0; i < 3000; i++) {
                int index = skua_await_select(self, cases, CHANNELS, 0);

                turns[index]++;
                skua_try_put(&channels[index], &item);
        }
        tap_ok(turns[0] > 700 && turns[1] > 700 && turns[2] > 700, "all have their turns");
}

/* ------------------------------------------------------------------ one that waits */

struct selector {
        struct skua_job job;
        struct skua_group group;
        struct skua_case cases[CHANNELS];
        uint32_t items[CHANNELS];
        int result;
};

static void selector_run(struct skua_worker *self, struct skua_job *job)
{
        struct selector *s = skua_container(job, struct selector, job);

        s->result = skua_await_select(self, s->cases, CHANNELS, 0);
}

static void selector_start(struct skua *rt, struct selector *s, bool takes, size_t slot_count)
{
        uint32_t item = 100;

        memset(s, 0, sizeof *s);
        prepare(slot_count);
        for (unsigned i = 0; i < CHANNELS; i++) {
                s->items[i] = 10 + i;
                s->cases[i] = takes ? take_case(&channels[i], &s->items[i])
                                    : put_case(&channels[i], &s->items[i]);
                while (!takes && !skua_try_put(&channels[i], &item))
                        ;
        }
        skua_job_init(&s->job, selector_run);
        skua_group_submit(rt, &s->group, &s->job);
        rig_until_suspended(rt, 1);
}

static void check_waits(struct skua *rt, size_t slot_count)
{
        struct selector s;
        uint32_t item = 3, got = 0;

        selector_start(rt, &s, true, slot_count);
        skua_try_put(&channels[2], &item);
        skua_group_wait(&s.group, -1);
        tap_ok(s.result == 2 && s.items[2] == 3 && s.items[0] == 10, "a put ends one that takes");
        tap_is(skua_try_put(&channels[0], &item), slot_count ? 0 : -EAGAIN,
               "which is nowhere else any more");

        selector_start(rt, &s, false, slot_count);
        tap_is(skua_try_take(&channels[1], &got), 0, "a take");
        skua_group_wait(&s.group, -1);
        tap_ok(s.result == 1 && got == (slot_count ? 100 : 11), "ends one that puts");
}

static void check_ended(struct skua *rt)
{
        struct selector s;
        uint32_t got;

        selector_start(rt, &s, true, SLOTS);
        skua_channel_close(&channels[1]);
        skua_group_wait(&s.group, -1);
        tap_ok(s.result == 1 && s.cases[1].result == -EPIPE, "closing one ends it");
        selector_start(rt, &s, true, SLOTS);
        skua_group_cancel(&s.group);
        tap_is(skua_group_wait(&s.group, -1), -ECANCELED, "cancelling does");
        tap_ok(s.result == -ECANCELED && skua_try_take(&channels[0], &got) == -EAGAIN,
               "and nothing has been done");
}

/* ------------------------------------------------------------------ many */

static atomic_uint put_count, take_count, put_sum, take_sum, strange;

static void count(bool takes, uint32_t item)
{
        atomic_fetch_add(takes ? &take_count : &put_count, 1);
        atomic_fetch_add(takes ? &take_sum : &put_sum, item);
}

static void select_some(struct skua_worker *self, struct member *m)
{
        struct skua_case cases[CHANNELS + 1];
        uint32_t items[CHANNELS + 1];
        unsigned cases_count = 1 + member_any(m, CHANNELS + 1), what = member_any(m, 4);
        int64_t until = member_deadline(m);
        int result;

        for (unsigned i = 0; i < cases_count; i++) {
                struct skua_channel *c = &channels[member_any(m, CHANNELS)];

                items[i] = member_any(m, 1000);
                /* only puts, only takes, or both */
                cases[i] = (what < 3 ? m->index % 2 : member_any(m, 2)) ? put_case(c, &items[i])
                                                                        : take_case(c, &items[i]);
        }
        result = skua_await_select(self, cases, cases_count, until);
        if (result >= (int)cases_count || (result < 0 && result != -ECANCELED && !until))
                atomic_fetch_add(&strange, 1);
        if (result >= 0 && !cases[result].result)
                count(cases[result].what == SKUA_TAKE, items[result]);
}

static void plain_some(struct skua_worker *self, struct member *m)
{
        struct skua_channel *c = &channels[member_any(m, CHANNELS)];
        uint32_t item = member_any(m, 1000);
        int64_t timeout = member_any(m, 30000);
        bool takes = m->index % 2 == 0;
        int result;

        if (self && takes)
                result = skua_await_take_until(self, c, &item, skua_now_ns() + timeout);
        else if (self)
                result = skua_await_put_until(self, c, &item, skua_now_ns() + timeout);
        else
                result = takes ? skua_wait_take(c, &item, timeout)
                               : skua_wait_put(c, &item, timeout);
        if (!result)
                count(takes, item);
}

static void many_run(struct skua_worker *self, struct skua_job *job)
{
        struct member *m = member_of(job);

        for (unsigned i = 0; i < 40; i++) {
                if (member_any(m, 4))
                        select_some(self, m);
                else
                        plain_some(self, m);
        }
}

static void many_thread(struct member *m)
{
        for (unsigned i = 0; i < 40; i++)
                plain_some(NULL, m);
}

/* Somebody may wait without a deadline for one who will not come. */
static void close_all(struct crowd *c)
{
        (void)c;
        for (unsigned i = 0; i < 50; i++)
                sched_yield();
        for (unsigned i = 0; i < CHANNELS; i++)
                skua_channel_close(&channels[i]);
}

static void check_many(struct skua *rt, size_t slot_count)
{
        static struct crowd crowd = {.run = many_run, .thread = many_thread};
        unsigned wrong = 0, moved = 0;

        for (unsigned i = 0; i < rig_rounds(200); i++) {
                uint32_t item;

                atomic_store(&put_count, 0);
                atomic_store(&take_count, 0);
                atomic_store(&put_sum, 0);
                atomic_store(&take_sum, 0);
                prepare(slot_count);
                crowd_round(rt, &crowd, i % 2, close_all);
                for (unsigned j = 0; j < CHANNELS; j++)
                        while (!skua_try_take(&channels[j], &item))
                                count(true, item);
                wrong += atomic_load(&put_count) != atomic_load(&take_count);
                wrong += atomic_load(&put_sum) != atomic_load(&take_sum);
                moved += atomic_load(&take_count);
        }
        tap_is(wrong, 0, "of many at once, each does just one of its cases");
        tap_ok(moved && !atomic_load(&strange), "%u items, %zu slots", moved, slot_count);
}

int main(void)
{
        tap_plan(CHECKS, 180);
        for (unsigned workers = 1; workers <= 4; workers += 3) {
                struct skua *rt = rig_start(workers, NULL);

                crowd_run(rt, alone, NULL);
                crowd_run(rt, self_meets, NULL);
                crowd_run(rt, fair, NULL);
                check_waits(rt, SLOTS);
                check_waits(rt, 0);
                check_ended(rt);
                check_many(rt, SLOTS);
                check_many(rt, 0);
                rig_stop(rt);
        }
        return tap_done();
}
