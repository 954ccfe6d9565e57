/* SPDX-License-Identifier: MIT
 *
 * Timers: never early, in order, moved, cancelled exactly once beside their expiry, very many, very
 * far, and what a stop does with them. That they are not late is for bench/timer.c.
 */
#include "core/crew.h"
#include "core/worker.h"

enum { CHECKS = 33, MANY = 1000000, RACERS = 64, RACES = 2000 };

struct alarm {
        struct skua_timer timer;
        int64_t deadline_ns;
        atomic_uint calls;
        atomic_uint place;
        atomic_bool cancelled; /* calls may overlap, if it is started beside its expiry */
};

static struct tally called, early;
static atomic_uint places;

static void alarm_run(struct skua_worker *self, struct skua_job *job)
{
        struct alarm *a = skua_container(job, struct alarm, timer.job);

        a->cancelled = skua_cancelled(self);
        if (!a->cancelled && skua_now_ns() < a->deadline_ns)
                tally_add(&early, 1);
        a->place = atomic_fetch_add(&places, 1);
        atomic_fetch_add(&a->calls, 1);
        tally_add(&called, 1);
}

static void alarm_init(struct alarm *a)
{
        memset(a, 0, sizeof *a);
        skua_timer_init(&a->timer, alarm_run);
}

static void alarm_start(struct skua_worker *self, struct alarm *a, int64_t deadline_ns)
{
        a->deadline_ns = deadline_ns;
        skua_timer_start(self, &a->timer, deadline_ns);
}

static void start_all(void)
{
        tally_reset(&called);
        tally_reset(&early);
        atomic_store(&places, 0);
}

static uint64_t random_state;

static uint64_t any(uint64_t below)
{
        return tap_random(&random_state) % below;
}

static void run(struct skua *rt, void (*fn)(struct skua_worker *self, void *arg), void *arg)
{
        if (skua_run(rt, fn, arg))
                printf("# skua_run failed\n");
}

/* ------------------------------------------------------------------ one worker */

enum { ORDERED = 700 };

static void arm_ordered(struct skua_worker *self, void *arg)
{
        struct alarm *alarms = arg;
        int64_t now = skua_now_ns();

        for (unsigned i = 0; i < ORDERED; i++) {
                alarm_init(&alarms[i]);
                alarm_start(self, &alarms[i], now - 1000 + (int64_t)any(ORDERED / 2));
        }
}

/* They are all due when the worker looks: by deadline, then by arming. */
static void check_order(void)
{
        static struct alarm alarms[ORDERED];
        struct skua *rt = rig_start(1, NULL);
        unsigned wrong = 0;

        start_all();
        run(rt, arm_ordered, alarms);
        tally_wait(&called, ORDERED);
        for (unsigned i = 0; i < ORDERED; i++)
                for (unsigned k = 0; k < i; k++)
                        wrong += (alarms[k].deadline_ns <= alarms[i].deadline_ns) !=
                                 (alarms[k].place < alarms[i].place);
        tap_is(wrong, 0, "those that expire together are called by deadline, then by arming");
        rig_stop(rt);
}

static void arm_spread(struct skua_worker *self, void *arg)
{
        struct alarm *alarms = arg;

        for (unsigned i = 0; i < ORDERED; i++) {
                alarm_init(&alarms[i]);
                alarm_start(self, &alarms[i], skua_now_ns() + (int64_t)any(3000000));
        }
}

static void check_early(unsigned workers)
{
        static struct alarm alarms[ORDERED];
        struct skua *rt = rig_start(workers, NULL);
        struct skua_worker_stats stats = {.size = sizeof stats};
        uint64_t completions = 0;

        start_all();
        run(rt, arm_spread, alarms);
        tally_wait(&called, ORDERED);
        tap_is(tally_read(&early), 0, "none is called early");
        for (unsigned i = 0; i < workers; i++) {
                skua_stats_worker(rt, i, &stats);
                completions += stats.completions;
        }
        tap_is((long long)completions, ORDERED, "each counts as a completion");
        rig_stop(rt);
}

static void odd_calls(struct skua_worker *self, void *arg)
{
        struct alarm *a = arg;

        alarm_init(a);
        tap_ok(!skua_timer_cancel(self, &a->timer), "not armed: cancel says so");
        alarm_start(self, a, skua_now_ns() + 3600000000000);
        tap_ok(skua_timer_cancel(self, &a->timer), "armed: cancel says so");
        tap_ok(!skua_timer_cancel(self, &a->timer), "once");
        alarm_start(self, a, INT64_MAX);
        alarm_start(self, a, 3155760000000000000);
        tap_ok(skua_timer_cancel(self, &a->timer), "after a century, or at the end of time");
        tap_ok(!skua_timer_cancel(self, &a->timer), "moved is armed once");
        alarm_start(self, a, skua_now_ns() + 3600000000000);
        alarm_start(self, a, skua_now_ns() + 100000);
}

static void in_the_past(struct skua_worker *self, void *arg)
{
        alarm_start(self, arg, INT64_MIN);
}

static void check_odd(void)
{
        struct skua *rt = rig_start(1, NULL);
        struct alarm a;

        start_all();
        run(rt, odd_calls, &a);
        tally_wait(&called, 1);
        tap_is(tally_read(&early), 0, "moved from far to near: not early");
        run(rt, in_the_past, &a);
        tally_wait(&called, 2);
        tap_ok(!a.cancelled, "a time that has passed: soon, and not cancelled");
        rig_stop(rt);
}

/* ------------------------------------------------------------------ starting itself anew */

struct pulse {
        struct alarm alarm;
        unsigned left;
};

static void pulse_run(struct skua_worker *self, struct skua_job *job)
{
        struct pulse *p = skua_container(job, struct pulse, alarm.timer.job);

        if (skua_now_ns() < p->alarm.deadline_ns)
                tally_add(&early, 1);
        if (!--p->left)
                tally_add(&called, 1);
        else
                alarm_start(self, &p->alarm, skua_now_ns() + 20000);
}

static void pulse_begin(struct skua_worker *self, void *arg)
{
        struct pulse *p = arg;

        skua_timer_init(&p->alarm.timer, pulse_run);
        alarm_start(self, &p->alarm, skua_now_ns());
}

static void check_pulse(void)
{
        struct skua *rt = rig_start(2, NULL);
        struct pulse p = {.left = 200};

        start_all();
        run(rt, pulse_begin, &p);
        tally_wait(&called, 1);
        tap_is(tally_read(&early), 0, "a timer that starts itself anew, 200 times");
        rig_stop(rt);
}

/* ------------------------------------------------------------------ very many */

struct crowd {
        struct alarm *alarms;
        unsigned count, cancelled;
        int64_t span_ns, begin_ns;
};

static void arm_crowd(struct skua_worker *self, void *arg)
{
        struct crowd *c = arg;
        int64_t now = skua_now_ns() + c->begin_ns;

        for (unsigned i = 0; i < c->count; i++) {
                alarm_init(&c->alarms[i]);
                alarm_start(self, &c->alarms[i], now + (int64_t)any((uint64_t)c->span_ns));
        }
}

static void cancel_crowd(struct skua_worker *self, void *arg)
{
        struct crowd *c = arg;

        c->cancelled = 0;
        for (unsigned i = 0; i < c->count; i++)
                if (any(4))
                        c->cancelled += skua_timer_cancel(self, &c->alarms[i].timer);
}

static void check_many(void)
{
        unsigned count = rig_rounds(MANY);
        struct crowd c = {.alarms = malloc(count * sizeof(struct alarm)),
                          .count = count,
                          .span_ns = 50000000};
        struct skua *rt = rig_start(2, NULL);
        unsigned wrong = 0, sum = 0;

        start_all();
        run(rt, arm_crowd, &c);
        run(rt, cancel_crowd, &c);
        tally_wait(&called, count - c.cancelled);
        tap_is(tally_read(&early), 0, "a million: none early");
        rig_stop(rt);
        for (unsigned i = 0; i < count; i++) {
                wrong += atomic_load(&c.alarms[i].calls) > 1;
                sum += atomic_load(&c.alarms[i].calls);
        }
        tap_ok(!wrong && sum + c.cancelled == count, "each is called or cancelled: %u + %u", sum,
               c.cancelled);
        free(c.alarms);
}

/* ------------------------------------------------------------------ races */

struct race {
        struct alarm alarms[RACERS];
        struct skua_job jobs[4];
        struct skua_group group;
        atomic_uint next, cancelled;
};

static struct race race;

static void race_cancel(struct skua_worker *self, struct skua_job *job)
{
        unsigned i;

        (void)job;
        while ((i = atomic_fetch_add(&race.next, 1)) < RACERS)
                if (skua_timer_cancel(self, &race.alarms[i].timer))
                        atomic_fetch_add(&race.cancelled, 1);
}

static void race_arm(struct skua_worker *self, void *arg)
{
        int64_t now = skua_now_ns();

        (void)arg;
        for (unsigned i = 0; i < RACERS; i++)
                alarm_start(self, &race.alarms[i], now + (int64_t)any(20000));
        for (unsigned i = 0; i < 4; i++) {
                skua_job_init(&race.jobs[i], race_cancel);
                skua_group_spawn(self, &race.group, &race.jobs[i]);
        }
        skua_await_group(self, &race.group);
}

/* Workers cancel what is about to expire on another. */
static void check_races(unsigned workers)
{
        struct skua *rt = rig_start(workers, NULL);
        unsigned expected = 0, rounds = rig_rounds(RACES);

        skua_group_init(&race.group);
        for (unsigned i = 0; i < RACERS; i++)
                alarm_init(&race.alarms[i]);
        start_all();
        for (unsigned round = 0; round < rounds; round++) {
                atomic_store(&race.next, 0);
                atomic_store(&race.cancelled, 0);
                run(rt, race_arm, NULL);
                expected += RACERS - atomic_load(&race.cancelled);
                tally_wait(&called, expected);
        }
        rig_stop(rt);
        tap_ok(tally_read(&called) == expected && !tally_read(&early),
               "cancelled beside its expiry, %u workers: %u calls of %u", workers, expected,
               rounds * RACERS);
}

/* Moved from worker to worker, beside its expiry. */
static struct alarm rolling[RACERS];
static atomic_uint moves;

static void roll(struct skua_worker *self, struct skua_job *job)
{
        unsigned mine = (unsigned)(job - race.jobs);

        for (unsigned round = 0; round < 200; round++)
                for (unsigned i = mine; i < RACERS; i += 4)
                        skua_timer_start(self, &rolling[i].timer,
                                         skua_now_ns() + (int64_t)(round % 3) * 10000);
        atomic_fetch_add(&moves, 1);
}

static void roll_all(struct skua_worker *self, void *arg)
{
        (void)arg;
        for (unsigned i = 0; i < 4; i++) {
                skua_job_init(&race.jobs[i], roll);
                skua_group_spawn(self, &race.group, &race.jobs[i]);
        }
        skua_await_group(self, &race.group);
}

static void cancel_rolling(struct skua_worker *self, void *arg)
{
        (void)arg;
        for (unsigned i = 0; i < RACERS; i++)
                skua_timer_cancel(self, &rolling[i].timer);
}

/* Its deadline is what it was started with last or before: never early is not to be checked. */
static void check_rolling(void)
{
        struct skua *rt = rig_start(4, NULL);
        unsigned calls = 0;

        start_all();
        for (unsigned i = 0; i < RACERS; i++)
                alarm_init(&rolling[i]);
        for (unsigned round = 0; round < rig_rounds(20); round++)
                run(rt, roll_all, NULL);
        run(rt, cancel_rolling, NULL);
        rig_stop(rt);
        for (unsigned i = 0; i < RACERS; i++)
                calls += atomic_load(&rolling[i].calls);
        tap_ok(calls == tally_read(&called) && calls <= 20 * 200 * RACERS,
               "moved while it expires, from worker to worker: %u calls", calls);
}

/* ------------------------------------------------------------------ the end */

static void check_stop(enum skua_stop_how how, unsigned workers)
{
        unsigned count = 5000, wrong = 0;
        struct crowd c = {.alarms = malloc(count * sizeof(struct alarm)),
                          .count = count,
                          .span_ns = INT64_MAX / 2,
                          .begin_ns = 3600000000000};
        struct skua *rt = rig_start(workers, NULL);

        start_all();
        run(rt, arm_crowd, &c);
        run(rt, cancel_crowd, &c);
        skua_stop(rt, how);
        for (unsigned i = 0; i < count; i++)
                wrong += atomic_load(&c.alarms[i].calls) && !c.alarms[i].cancelled;
        tap_ok(tally_read(&called) == count - c.cancelled && !wrong,
               "%s with armed timers: each is called, cancelled; %u workers",
               how == SKUA_DRAIN ? "drain" : "cancel", workers);
        free(c.alarms);
}

/* Until it finds itself cancelled, it arms itself for far away; so it is armed while the runtime
 * stops, before or after the worker has been told. */
static void restless_run(struct skua_worker *self, struct skua_job *job)
{
        struct alarm *a = skua_container(job, struct alarm, timer.job);

        if (skua_cancelled(self))
                tally_add(&called, 1);
        else
                skua_timer_start(self, &a->timer, skua_now_ns() + 10000);
}

static void restless_far(struct skua_worker *self, struct skua_job *job)
{
        struct alarm *a = skua_container(job, struct alarm, timer.job);

        if (skua_cancelled(self) && a->deadline_ns)
                tally_add(&called, 1);
        else
                alarm_start(self, a, INT64_MAX);
}

static void begin_restless(struct skua_worker *self, void *arg)
{
        struct alarm *alarms = arg;

        for (unsigned i = 0; i < RACERS; i++) {
                alarm_init(&alarms[i]);
                skua_timer_init(&alarms[i].timer, i % 2 ? restless_far : restless_run);
                skua_timer_start(self, &alarms[i].timer, skua_now_ns() + (int64_t)any(100000));
        }
}

static void check_armed_in_stop(void)
{
        static struct alarm alarms[RACERS];
        unsigned wrong = 0, rounds = rig_rounds(150);

        for (unsigned round = 0; round < rounds; round++) {
                struct skua *rt = rig_start(1 + (unsigned)any(4), NULL);

                start_all();
                run(rt, begin_restless, alarms);
                for (uint64_t i = any(200); i > 0; i--)
                        sched_yield();
                skua_stop(rt, any(2) ? SKUA_DRAIN : SKUA_CANCEL);
                wrong += tally_read(&called) != RACERS;
        }
        tap_is(wrong, 0, "armed while the runtime stops: called as cancelled");
}

/* The slot's next runtime begins at rest. */
static void check_next_runtime(void)
{
        struct skua *rt = rig_start(2, NULL);
        struct alarm a;

        start_all();
        run(rt, odd_calls, &a);
        tally_wait(&called, 1);
        tap_ok(!a.cancelled && !tally_read(&early), "the next runtime's timers are its own");
        rig_stop(rt);
}

static void arm_far(struct skua_worker *self, void *arg)
{
        struct alarm *a = arg;

        alarm_init(a);
        alarm_start(self, a, skua_now_ns() + 3600000000000);
}

/* A far timer costs a sleeping worker nothing: it stays asleep. */
static void check_idle(void)
{
        struct skua *rt = rig_start(1, NULL);
        struct alarm a;
        uint64_t parks;

        start_all();
        run(rt, arm_far, &a);
        wait_parked(rt);
        parks = parks_of(rt);
        usleep(300000); /* the time in which it must not wake up, not one in which something must */
        tap_is((long long)(parks_of(rt) - parks), 0, "a worker sleeps on before a far deadline");
        skua_stop(rt, SKUA_DRAIN);
        tap_ok(a.cancelled, "and is woken for the stop");
}

/* What comes in and what goes out, with a failure of neither. */
static void check_figures(void)
{
        static struct alarm alarms[ORDERED];
        struct skua *rt = rig_start(2, NULL);
        struct skua_stats stats;

        start_all();
        run(rt, arm_spread, alarms);
        tally_wait(&called, ORDERED);
        wait_parked(rt);
        stats = stats_of(rt);
        tap_is((long long)stats.submitted, ORDERED + 1, "an expiry counts as a submission");
        tap_is((long long)(stats.run + stats.cancelled), ORDERED + 1, "and its call as run");
        rig_stop(rt);
}

int main(void)
{
        tap_plan(CHECKS, 300);
        check_order();
        check_early(1);
        check_early(4);
        check_odd();
        check_pulse();
        check_many();
        check_races(2);
        check_races(4);
        check_rolling();
        check_stop(SKUA_DRAIN, 1);
        check_stop(SKUA_DRAIN, 4);
        check_stop(SKUA_CANCEL, 1);
        check_stop(SKUA_CANCEL, 4);
        check_armed_in_stop();
        check_next_runtime();
        check_idle();
        check_figures();
        return tap_done();
}
