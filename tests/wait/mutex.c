/* SPDX-License-Identifier: MIT
 *
 * Mutexes of jobs: one at a time, in the order of coming; early ends; many at once, cancelled and
 * late at random; stops.
 */
#include "wait/crowd.h"

enum { CHECKS = 2 * 24, WAITERS = 6 };
#define FOREVER_NS INT64_MAX
#define MS         ((int64_t)1000000)

static struct skua_mutex mutex; /* all zero is unlocked */

/* ------------------------------------------------------------------ alone */

static void alone(struct skua_worker *self, void *arg)
{
        struct skua_mutex *m = arg;
        bool first = skua_try_lock(self, m);

        tap_ok(first && !skua_try_lock(self, m), "it can be locked once");
        skua_unlock(self, m);
        tap_is(skua_await_lock(self, m), 0, "and again when it has been unlocked");
        skua_unlock(self, m);
        tap_is(skua_await_lock_until(self, m, 1), 0, "free, it is had after the deadline, too");
        skua_unlock(self, m);
}

/* ------------------------------------------------------------------ in a row */

struct row {
        struct skua_group group, late;
        struct skua_event go;
        struct holder {
                struct skua_job job;
                struct row *row;
                int64_t until_ns;
                int result;
                unsigned index;
                atomic_uint ended;
        } holders[WAITERS];
        unsigned order[WAITERS], count; /* under the mutex */
        atomic_uint held;
};

static void holder_run(struct skua_worker *self, struct skua_job *job)
{
        struct holder *h = skua_container(job, struct holder, job);

        h->result = skua_await_lock_until(self, &mutex, h->until_ns);
        if (h->result) {
                atomic_store(&h->ended, 1);
                return;
        }
        h->row->order[h->row->count++] = h->index;
        if (h->index == 0) {
                atomic_store(&h->row->held, 1);
                skua_await_event(self, &h->row->go);
        }
        skua_unlock(self, &mutex);
}

static void row_begin(struct row *row)
{
        memset(row, 0, sizeof *row);
        skua_mutex_init(&mutex);
        for (unsigned i = 0; i < WAITERS; i++) {
                row->holders[i].row = row;
                row->holders[i].index = i;
                skua_job_init(&row->holders[i].job, holder_run);
        }
}

/* Each waits before the next one comes. */
static void row_fill(struct skua *rt, struct row *row)
{
        for (unsigned i = 0; i < WAITERS; i++) {
                skua_group_submit(rt, i == 3 ? &row->late : &row->group, &row->holders[i].job);
                if (i == 0)
                        rig_until(&row->held, 1);
                rig_until_suspended(rt, i + 1);
        }
}

static void check_order(struct skua *rt)
{
        struct row row;
        unsigned wrong = 0;

        row_begin(&row);
        row_fill(rt, &row);
        tap_is(row.count, 1, "one has it, the others wait");
        skua_event_post(&row.go);
        skua_group_wait(&row.group, -1);
        skua_group_wait(&row.late, -1);
        for (unsigned i = 0; i < WAITERS; i++)
                wrong += row.order[i] != i;
        tap_is(row.count, WAITERS, "all get it");
        tap_is(wrong, 0, "in the order in which they came");
}

static void check_early(struct skua *rt)
{
        struct row row;

        row_begin(&row);
        row.holders[2].until_ns = skua_now_ns() + 5 * MS;
        for (unsigned i = 0; i < WAITERS; i++) {
                skua_group_submit(rt, i == 3 ? &row.late : &row.group, &row.holders[i].job);
                if (i == 0)
                        rig_until(&row.held, 1);
        }
        rig_until(&row.holders[2].ended, 1);
        tap_is(row.holders[2].result, -ETIMEDOUT, "one that waits to a time ends then");
        skua_group_cancel(&row.late);
        tap_is(skua_group_wait(&row.late, -1), -ECANCELED, "one that is cancelled");
        tap_is(row.holders[3].result, -ECANCELED, "ends at once");
        tap_is(row.count, 1, "though another has it");
        skua_event_post(&row.go);
        tap_is(skua_group_wait(&row.group, -1), 0, "the others");
        tap_is(row.count, WAITERS - 2, "get it all the same");
}

/* ------------------------------------------------------------------ refused */

static void in_isolation(struct skua_worker *self, void *arg)
{
        int *results = arg;

        results[0] = skua_await_lock(self, &mutex);
}

static void refusals(struct skua_worker *self, void *arg)
{
        int *results = arg;

        if (!skua_try_lock(self, &mutex))
                abort();
#ifndef SKUA_DEBUG
        skua_isolated(self, in_isolation, results);
        results[1] = skua_await_lock_until(self, &mutex, 1);
#else
        (void)in_isolation; /* the second lock by the same job aborts: tests/wait/misuse.c */
        results[0] = -EDEADLK;
        results[1] = -ETIMEDOUT;
#endif
        skua_unlock(self, &mutex);
}

struct cancelled {
        struct skua_job job;
        struct skua_group *group;
        int plain, masked;
        bool tried;
};

static void cancelled_run(struct skua_worker *self, struct skua_job *job)
{
        struct cancelled *c = skua_container(job, struct cancelled, job);

        skua_group_cancel(c->group);
        c->plain = skua_await_lock(self, &mutex);
        c->tried = skua_try_lock(self, &mutex);
        skua_unlock(self, &mutex);
        skua_cancel_mask(self, true);
        c->masked = skua_await_lock(self, &mutex);
        skua_unlock(self, &mutex);
}

static void check_refused(struct skua *rt)
{
        int results[2] = {0, 0};
        struct skua_group group;
        struct cancelled c = {.group = &group};

        skua_mutex_init(&mutex);
        crowd_run(rt, refusals, results);
        tap_is(results[0], -EDEADLK, "waiting in isolation is refused");
        tap_is(results[1], -ETIMEDOUT, "so is waiting to a time that has passed");
        skua_group_init(&group);
        skua_job_init(&c.job, cancelled_run);
        skua_group_submit(rt, &group, &c.job);
        skua_group_wait(&group, -1);
        tap_is(c.plain, -ECANCELED, "a cancelled job does not even get a free one");
        tap_ok(c.tried, "unless it only tries");
        tap_is(c.masked, 0, "or has its mask on");
}

/* ------------------------------------------------------------------ many */

static unsigned inside, total; /* under the mutex */
static atomic_uint successes, crowded, strange;

static void contend(struct skua_worker *self, struct skua_job *job)
{
        struct member *m = member_of(job);

        for (unsigned i = 0; i < rig_rounds(30); i++) {
                int64_t until = member_deadline(m);
                int result = 0;

                if (member_any(m, 4) || !skua_try_lock(self, &mutex))
                        result = skua_await_lock_until(self, &mutex, until);
                if (result) {
                        if (result != -ECANCELED && (result != -ETIMEDOUT || !until))
                                atomic_fetch_add(&strange, 1);
                        continue;
                }
                if (inside++)
                        atomic_fetch_add(&crowded, 1);
                total++;
                if (!member_any(m, 3))
                        skua_await_yield(self);
                if (!member_any(m, 20))
                        skua_await_sleep(self, 20000);
                inside--;
                skua_unlock(self, &mutex);
                atomic_fetch_add(&successes, 1);
        }
}

static void check_many(struct skua *rt)
{
        static struct crowd crowd = {.run = contend};

        skua_mutex_init(&mutex);
        inside = total = 0;
        atomic_store(&successes, 0);
        for (unsigned i = 0; i < rig_rounds(100); i++)
                crowd_round(rt, &crowd, i % 2, NULL);
        tap_is(atomic_load(&crowded), 0, "never are two inside");
        tap_is(atomic_load(&strange), 0, "and who does not get in has a reason");
        tap_ok(total && total == atomic_load(&successes), "all that was done is seen: %u", total);
}

/* ------------------------------------------------------------------ stops */

static void check_stop(unsigned workers, enum skua_stop_how how)
{
        struct skua *rt = rig_start(workers, NULL);
        struct row row;
        unsigned ended = 0;

        row_begin(&row);
        row_fill(rt, &row);
        if (how == SKUA_DRAIN)
                skua_event_post(&row.go);
        tap_is(skua_stop(rt, how), 0, how == SKUA_DRAIN ? "a drain" : "a cancel");
        for (unsigned i = 1; i < WAITERS; i++)
                ended += row.holders[i].result == (how == SKUA_DRAIN ? 0 : -ECANCELED);
        if (how == SKUA_DRAIN)
                tap_is(ended, WAITERS - 1, "lets all have it that wait");
        else
                tap_is(ended + row.count, WAITERS, "ends all that wait");
}

int main(void)
{
        tap_plan(CHECKS, 240);
        for (unsigned workers = 1; workers <= 4; workers += 3) {
                struct skua *rt = rig_start(workers, NULL);

                crowd_run(rt, alone, &mutex);
                check_order(rt);
                check_early(rt);
                check_refused(rt);
                check_many(rt);
                rig_stop(rt);
                check_stop(workers, SKUA_DRAIN);
                check_stop(workers, SKUA_CANCEL);
        }
        return tap_done();
}
