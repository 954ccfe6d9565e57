/* SPDX-License-Identifier: MIT
 *
 * Channels: order, bounds, hand-over without slots, closing; jobs and threads at once, cancelled
 * and late at random: each item comes once, those of one putter in their order.
 */
#include "wait/crowd.h"

enum { CHECKS = 10 + 2 * 34, SLOTS = 4 };
#define MS ((int64_t)1000000)

struct item { /* no power of two */
        uint32_t from, number, check;
};

static struct skua_channel channel;
static struct item slots[SLOTS];

/* ------------------------------------------------------------------ without a runtime */

static void check_init(void)
{
        char bytes[8];

        tap_is(skua_channel_init(NULL, bytes, 1, 8), -EINVAL, "no channel");
        tap_is(skua_channel_init(&channel, NULL, 1, 8), -EINVAL, "slots without memory");
        tap_is(skua_channel_init(&channel, bytes, 0, 8), -EINVAL, "items of no bytes");
        tap_is(skua_channel_init(&channel, bytes, 2, SIZE_MAX), -EINVAL, "too many slots");
        tap_is(skua_channel_init(&channel, NULL, 8, 0), 0, "no slots");
}

static void check_ring(size_t bytes)
{
        static unsigned char memory[3 * 16];
        unsigned char item[16], got[16];
        unsigned wrong = 0, next = 0, out = 0;

        skua_channel_init(&channel, memory, bytes, 3);
        for (unsigned round = 0; round < 20; round++) {
                while (memset(item, (int)next, bytes), !skua_try_put(&channel, item))
                        next++;
                wrong += next - out != 3;
                for (unsigned i = 0; i < 1 + round % 3; i++) {
                        wrong += skua_try_take(&channel, got) != 0;
                        memset(item, (int)out++, bytes);
                        wrong += memcmp(item, got, bytes) != 0;
                }
        }
        while (!skua_try_take(&channel, got))
                out++;
        tap_ok(!wrong && out == next, "items of %zu bytes come in order", bytes);
}

static void check_threads_alone(void)
{
        struct item item = {1, 2, 3};

        skua_channel_init(&channel, slots, sizeof *slots, 1);
        tap_is(skua_wait_take(&channel, &item, 0), -ETIMEDOUT, "a thread may look");
        tap_is(skua_wait_take(&channel, &item, MS), -ETIMEDOUT, "or wait for an item");
        tap_ok(!skua_wait_put(&channel, &item, -1) &&
                       skua_wait_put(&channel, &item, MS) == -ETIMEDOUT,
               "or for room");
}

/* ------------------------------------------------------------------ jobs */

static void in_isolation(struct skua_worker *self, void *arg)
{
        struct item item = {0, 0, 0};

        *(int *)arg = skua_await_take(self, &channel, &item);
}

static void alone(struct skua_worker *self, void *arg)
{
        struct item item = {1, 2, 3}, got;
        int isolated = 0;

        (void)arg;
        skua_channel_init(&channel, slots, sizeof *slots, SLOTS);
        tap_is(skua_try_take(&channel, &got), -EAGAIN, "it is empty");
        for (unsigned i = 0; i < SLOTS; i++)
                if (skua_await_put(self, &channel, &item))
                        abort();
        tap_is(skua_try_put(&channel, &item), -EAGAIN, "it is full");
        tap_is(skua_await_put_until(self, &channel, &item, skua_now_ns() + MS), -ETIMEDOUT,
               "and stays so");
        tap_is(skua_wait_put(&channel, &item, -1), -EDEADLK, "a job does not block its worker");
        skua_channel_close(&channel);
        skua_channel_close(&channel);
        tap_is(skua_await_put(self, &channel, &item), -EPIPE, "nothing is put when it is closed");
        tap_is(skua_try_put(&channel, &item), -EPIPE, "by no way");
        for (unsigned i = 0; i < SLOTS; i++)
                if (skua_await_take(self, &channel, &got) || memcmp(&got, &item, sizeof got))
                        abort();
        tap_is(skua_await_take(self, &channel, &got), -EPIPE, "what was in it comes first");
        tap_is(skua_try_take(&channel, &got), -EPIPE, "then nothing does");
        skua_channel_init(&channel, slots, sizeof *slots, SLOTS);
        skua_isolated(self, in_isolation, &isolated);
        tap_is(isolated, -EDEADLK, "waiting in isolation is refused");
}

/* ------------------------------------------------------------------ those who wait */

enum { WAITERS = 6 };

struct line {
        struct skua_group group, late;
        struct waiting {
                struct skua_job job;
                struct item item;
                int64_t until_ns;
                int result;
                bool takes;
                atomic_uint ended;
        } waiting[WAITERS];
};

static void waiting_run(struct skua_worker *self, struct skua_job *job)
{
        struct waiting *w = skua_container(job, struct waiting, job);

        w->result = w->takes ? skua_await_take_until(self, &channel, &w->item, w->until_ns)
                             : skua_await_put_until(self, &channel, &w->item, w->until_ns);
        atomic_store(&w->ended, 1);
}

/* All of them wait, in order; the last but one in a group of its own. */
static void line_up(struct skua *rt, struct line *line, bool takes)
{
        memset(line, 0, sizeof *line);
        for (unsigned i = 0; i < WAITERS; i++) {
                struct waiting *w = &line->waiting[i];

                w->takes = takes;
                w->item.number = takes ? UINT32_MAX : i;
                skua_job_init(&w->job, waiting_run);
                skua_group_submit(rt, i == WAITERS - 2 ? &line->late : &line->group, &w->job);
                rig_until_suspended(rt, i + 1);
        }
}

static void check_takers(struct skua *rt, unsigned slot_count)
{
        struct line line;
        struct item item = {0, 0, 0};
        unsigned wrong = 0;

        skua_channel_init(&channel, slots, sizeof *slots, slot_count);
        line_up(rt, &line, true);
        skua_group_cancel(&line.late);
        tap_is(skua_group_wait(&line.late, -1), -ECANCELED, "one of those who take is cancelled");
        for (item.number = 0; item.number < WAITERS - 1; item.number++)
                wrong += skua_try_put(&channel, &item) != 0;
        skua_group_wait(&line.group, -1);
        for (unsigned i = 0; i < WAITERS; i++)
                wrong += i == WAITERS - 2
                                 ? line.waiting[i].result != -ECANCELED
                                 : line.waiting[i].result ||
                                           line.waiting[i].item.number != i - (i == WAITERS - 1);
        tap_is(wrong, 0, "the others get what is put, in their order");
}

static void check_putters(struct skua *rt, unsigned slot_count)
{
        struct line line;
        struct item item = {0, 100, 0};
        unsigned wrong = 0;

        skua_channel_init(&channel, slots, sizeof *slots, slot_count);
        for (unsigned i = 0; i < slot_count; i++)
                wrong += skua_try_put(&channel, &item) != 0;
        line_up(rt, &line, false);
        skua_group_cancel(&line.late);
        tap_is(skua_group_wait(&line.late, -1), -ECANCELED, "one of those who put is cancelled");
        for (unsigned i = 0; i < slot_count + WAITERS; i++) {
                unsigned expected = i < slot_count ? 100 : i - slot_count;

                if (expected == WAITERS - 2)
                        continue;
                wrong += skua_try_take(&channel, &item) != 0 || item.number != expected;
        }
        wrong += skua_try_take(&channel, &item) != -EAGAIN;
        skua_group_wait(&line.group, -1);
        tap_is(wrong, 0, "what the others put comes, in their order");
}

static void check_close(struct skua *rt, bool takes)
{
        struct line line;
        struct item item = {0, 100, 0};
        unsigned wrong = 0, left = 0;

        skua_channel_init(&channel, slots, sizeof *slots, SLOTS);
        for (unsigned i = 0; !takes && i < SLOTS; i++)
                skua_try_put(&channel, &item);
        line_up(rt, &line, takes);
        skua_channel_close(&channel);
        skua_group_wait(&line.group, -1);
        skua_group_wait(&line.late, -1);
        for (unsigned i = 0; i < WAITERS; i++)
                wrong += line.waiting[i].result != -EPIPE;
        tap_is(wrong, 0, takes ? "closing ends those who take" : "and those who put");
        while (!skua_try_take(&channel, &item))
                left += item.number == 100;
        tap_is(left, takes ? 0 : SLOTS, "what is in it stays");
}

static void check_late(struct skua *rt)
{
        struct line line = {.waiting = {{.takes = true}}};
        struct waiting *w = &line.waiting[0];

        skua_channel_init(&channel, slots, sizeof *slots, SLOTS);
        w->until_ns = skua_now_ns() + MS;
        skua_job_init(&w->job, waiting_run);
        skua_group_submit(rt, &line.group, &w->job);
        tap_is(skua_group_wait(&line.group, -1), 0, "who waits to a time ends");
        tap_is(w->result, -ETIMEDOUT, "and says so");
        w->until_ns = 0;
        skua_group_cancel(&line.group);
        skua_group_hold(&line.group, 1);
        skua_group_cancel(&line.group);
        skua_try_put(&channel, &w->item);
        skua_group_submit(rt, &line.group, &w->job);
        skua_group_release(&line.group, 0);
        skua_group_wait(&line.group, -1);
        tap_is(w->result, -ECANCELED, "a cancelled job takes nothing, though it is there");
}

static void check_stop(unsigned workers)
{
        struct skua *rt = rig_start(workers, NULL);
        struct line line;
        unsigned wrong = 0;

        skua_channel_init(&channel, slots, sizeof *slots, SLOTS);
        line_up(rt, &line, true);
        tap_is(skua_stop(rt, SKUA_CANCEL), 0, "a stop");
        for (unsigned i = 0; i < WAITERS; i++)
                wrong += line.waiting[i].result != -ECANCELED;
        tap_is(wrong, 0, "ends all that wait");
}

/* ------------------------------------------------------------------ many */

enum { PUTTERS = CROWD_JOBS + CROWD_THREADS, EACH = 40 };

static atomic_uint seen[PUTTERS][EACH], wrong_items, disorder;
static atomic_uint put_count, take_count, working;

static void put_some(struct skua_worker *self, struct member *m)
{
        for (unsigned i = 0; i < EACH; i++) {
                struct item item = {m->index, i, m->index ^ i};
                int64_t until = member_deadline(m);
                int result;

                if (!member_any(m, 4))
                        result = skua_try_put(&channel, &item);
                else if (self)
                        result = skua_await_put_until(self, &channel, &item, until);
                else
                        result = skua_wait_put(&channel, &item,
                                               until ? (int64_t)member_any(m, 50000) : -1);
                if (!result)
                        atomic_fetch_add(&put_count, 1);
        }
}

static void take_some(struct skua_worker *self, struct member *m)
{
        uint32_t last[PUTTERS];
        int result = 0;

        memset(last, 0, sizeof last);
        while (result != -EPIPE && result != -ECANCELED) {
                int64_t until = member_deadline(m);
                struct item item;

                if (!member_any(m, 4))
                        result = skua_try_take(&channel, &item);
                else if (self)
                        result = skua_await_take_until(self, &channel, &item, until);
                else
                        result = skua_wait_take(&channel, &item,
                                                until ? (int64_t)member_any(m, 50000) : -1);
                if (result == -EAGAIN && self)
                        skua_await_yield(self);
                if (result)
                        continue;
                atomic_fetch_add(&take_count, 1);
                if (item.check != (item.from ^ item.number) || item.from >= PUTTERS ||
                    item.number >= EACH || atomic_fetch_add(&seen[item.from][item.number], 1)) {
                        atomic_fetch_add(&wrong_items, 1);
                        continue;
                }
                if (last[item.from] > item.number)
                        atomic_fetch_add(&disorder, 1);
                last[item.from] = item.number;
        }
}

/* The last one who may put closes it. */
static void take_part(struct skua_worker *self, struct member *m)
{
        if (m->index % 2) {
                put_some(self, m);
                if (atomic_fetch_sub(&working, 1) == 1)
                        skua_channel_close(&channel);
        } else {
                take_some(self, m);
        }
}

static void part_run(struct skua_worker *self, struct skua_job *job)
{
        take_part(self, member_of(job));
}

static void part_thread(struct member *m)
{
        take_part(NULL, m);
}

static void check_many(struct skua *rt, unsigned slot_count)
{
        static struct crowd crowd = {.run = part_run, .thread = part_thread};
        unsigned lost = 0, moved = 0;

        for (unsigned i = 0; i < rig_rounds(150); i++) {
                struct item item;

                memset(seen, 0, sizeof seen);
                atomic_store(&put_count, 0);
                atomic_store(&take_count, 0);
                atomic_store(&working, PUTTERS / 2);
                skua_channel_init(&channel, slots, sizeof *slots, slot_count);
                crowd_round(rt, &crowd, i % 2, NULL);
                while (!skua_try_take(&channel, &item))
                        atomic_fetch_add(&take_count, 1);
                lost += atomic_load(&put_count) != atomic_load(&take_count);
                moved += atomic_load(&take_count);
        }
        tap_is(lost, 0, "of many at once, as much is taken as was put");
        tap_is(atomic_load(&wrong_items), 0, "each item once, and whole");
        tap_is(atomic_load(&disorder), 0, "in the order of its putter");
        tap_ok(moved != 0, "%u of them, %u slots", moved, slot_count);
}

int main(void)
{
        tap_plan(CHECKS, 180);
        check_init();
        check_ring(8);
        check_ring(13);
        check_threads_alone();
        for (unsigned workers = 1; workers <= 4; workers += 3) {
                struct skua *rt = rig_start(workers, NULL);

                crowd_run(rt, alone, NULL);
                check_takers(rt, SLOTS);
                check_takers(rt, 0);
                check_putters(rt, SLOTS);
                check_putters(rt, 0);
                check_close(rt, true);
                check_close(rt, false);
                check_late(rt);
                check_many(rt, SLOTS);
                check_many(rt, 0);
                rig_stop(rt);
                check_stop(workers);
        }
        return tap_done();
}
