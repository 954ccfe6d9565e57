/* SPDX-License-Identifier: MIT
 *
 * Semaphores: what is posted is taken, once; bounds; order; jobs and threads at once, cancelled and
 * late at random.
 */
#include "wait/crowd.h"

enum { CHECKS = 2 * 13 };
#define MS ((int64_t)1000000)

static struct skua_semaphore semaphore; /* all zero has none */

static void alone(struct skua_worker *self, void *arg)
{
        struct skua_semaphore *s = arg;

        tap_ok(!skua_try_semaphore(s), "there is none");
        skua_semaphore_post(s);
        skua_semaphore_post(s);
        tap_ok(skua_try_semaphore(s) && skua_try_semaphore(s) && !skua_try_semaphore(s),
               "two are posted, two can be had");
        tap_is(skua_await_semaphore_until(self, s, skua_now_ns() + MS), -ETIMEDOUT, "and no more");
        skua_semaphore_init(s, 2);
        tap_is(skua_await_semaphore(self, s), 0, "one of those of the beginning");
        tap_is(skua_wait_semaphore(s, -1), -EDEADLK, "a job does not block its worker");
        tap_ok(skua_try_semaphore(s) && !skua_try_semaphore(s), "there was one more");
        skua_semaphore_init(s, UINT32_MAX);
        tap_ok(skua_try_semaphore(s), "there may be very many");
        skua_semaphore_init(s, 0);
}

static void check_thread(void)
{
        tap_is(skua_wait_semaphore(&semaphore, 0), -ETIMEDOUT, "a thread may look");
        tap_is(skua_wait_semaphore(&semaphore, MS), -ETIMEDOUT, "or wait for a while");
        skua_semaphore_post(&semaphore);
        tap_is(skua_wait_semaphore(&semaphore, -1), 0, "and gets one");
}

/* ------------------------------------------------------------------ many */

/* So many are lent out at a time. */
enum { LENT = 3 };

static atomic_int out;
static atomic_uint most, missed;

static void borrow(struct skua_worker *self, struct member *m)
{
        int64_t until;
        int result = 0, now;

        until = member_deadline(m);
        if (self)
                result = skua_await_semaphore_until(self, &semaphore, until);
        else
                result = skua_wait_semaphore(&semaphore,
                                             until ? (int64_t)member_any(m, 50000) : -1);
        if (result) {
                atomic_fetch_add(&missed, 1);
                return;
        }
        now = atomic_fetch_add(&out, 1) + 1;
        if (now > LENT)
                atomic_fetch_add(&most, 1);
        if (self && !member_any(m, 3))
                skua_await_yield(self);
        if (self && !member_any(m, 20))
                skua_await_sleep(self, 10000);
        atomic_fetch_sub(&out, 1);
        skua_semaphore_post(&semaphore);
}

static void borrow_run(struct skua_worker *self, struct skua_job *job)
{
        for (unsigned i = 0; i < rig_rounds(30); i++)
                borrow(self, member_of(job));
}

static void borrow_thread(struct member *m)
{
        for (unsigned i = 0; i < rig_rounds(30); i++)
                borrow(NULL, m);
}

static void check_many(struct skua *rt)
{
        static struct crowd crowd = {.run = borrow_run, .thread = borrow_thread};
        unsigned lost = 0;

        for (unsigned i = 0; i < rig_rounds(100); i++) {
                skua_semaphore_init(&semaphore, LENT);
                crowd_round(rt, &crowd, i % 2, NULL);
                for (unsigned j = 0; j < LENT; j++)
                        lost += !skua_try_semaphore(&semaphore);
                lost += skua_try_semaphore(&semaphore);
        }
        tap_is(atomic_load(&most), 0, "never are more out than there are");
        tap_is(lost, 0, "and all come back, however many gave up");
        if (!atomic_load(&missed) && rig_rounds(100) < 100)
                tap_skip(1, "nobody happened to give up in the few rounds there are here");
        else
                tap_ok(atomic_load(&missed) != 0, "as some did: %u", atomic_load(&missed));
}

int main(void)
{
        tap_plan(CHECKS, 240);
        for (unsigned workers = 1; workers <= 4; workers += 3) {
                struct skua *rt = rig_start(workers, NULL);

                crowd_run(rt, alone, &semaphore);
                check_thread();
                check_many(rt);
                rig_stop(rt);
        }
        return tap_done();
}
