/* SPDX-License-Identifier: MIT
 *
 * skua_for and skua_run_for: every index once, parts no longer than the grain, errors and
 * cancellation where they belong.
 */
#include "rig.h"

enum { SIZE = 20000 };

static atomic_uint wrong;

static unsigned take_wrong(void)
{
        return atomic_exchange(&wrong, 0);
}

/* ------------------------------------------------------------------ every index once */

struct cover {
        atomic_uchar seen[SIZE];
        size_t base, begin, end, grain; /* index i is seen[i - base] */
        atomic_uint parts, too_long;
        int result;
};

static void cover_part(struct skua_worker *self, size_t begin, size_t end, void *arg)
{
        struct cover *c = arg;

        (void)self;
        c->parts++;
        c->too_long += begin >= end || (c->grain && end - begin > c->grain);
        c->too_long += begin < c->begin || end > c->end;
        for (size_t i = begin; i < end; i++)
                atomic_fetch_add(&c->seen[i - c->base], 1);
        if (rig_mix(begin) % 64 == 0)
                sched_yield();
}

static void cover_run(struct skua_worker *self, void *arg)
{
        struct cover *c = arg;

        c->result = skua_for(self, c->begin, c->end, c->grain, cover_part, c);
}

static void cover_check(const struct cover *c)
{
        size_t from = c->begin - c->base, to = c->end > c->begin ? c->end - c->base : from;

        wrong += c->result != 0 || c->too_long != 0;
        for (size_t i = 0; i < SIZE; i++)
                wrong += c->seen[i] != (i >= from && i < to);
}

static void cover(struct skua *rt, size_t begin, size_t end, size_t grain)
{
        static struct cover c;

        memset(&c, 0, sizeof c);
        c.base = begin < 5 ? 0 : begin - 5;
        c.begin = begin;
        c.end = end;
        c.grain = grain;
        c.result = 1;
        wrong += skua_run(rt, cover_run, &c) != 0;
        cover_check(&c);
        wrong += (begin >= end) != (c.parts == 0);
}

static void test_cover(void)
{
        static const size_t lengths[] = {0, 1, 2, 3, 7, 64, 1000, 4097};
        static const size_t grains[] = {0, 1, 2, 3, 10, 63, 5000, SIZE_MAX};
        uint64_t random = 0;

        for (unsigned workers = 1; workers <= RIG_WORKERS_MAX; workers++) {
                struct skua *rt = rig_start(workers, NULL);

                for (unsigned l = 0; l < 8; l++)
                        for (unsigned g = 0; g < 8; g++) {
                                cover(rt, 0, lengths[l], grains[g]);
                                cover(rt, SIZE_MAX - lengths[l], SIZE_MAX, grains[g]);
                        }
                cover(rt, 10, 9, 1);
                cover(rt, 10, 0, 0);
                cover(rt, SIZE_MAX, 0, 3);
                cover(rt, 77, 77, 0);
                for (unsigned i = rig_rounds(40); i; i--) {
                        size_t begin = (size_t)tap_random(&random) >> (tap_random(&random) % 64);
                        size_t length = (size_t)(tap_random(&random) % (SIZE - 5));

                        if (begin > SIZE_MAX - length)
                                begin = SIZE_MAX - length;
                        cover(rt, begin, begin + length,
                              (size_t)(tap_random(&random) % (i % 3 ? 50 : 5000)));
                }
                rig_stop(rt);
                tap_is(take_wrong(), 0, "every index once, no part longer than the grain");
        }
}

struct huge {
        size_t begin, end, grain;
        _Atomic size_t covered, mixed;
        atomic_uint parts, too_long;
        int result;
};

static void huge_part(struct skua_worker *self, size_t begin, size_t end, void *arg)
{
        struct huge *h = arg;

        (void)self;
        h->parts++;
        h->too_long += begin >= end || (h->grain && end - begin > h->grain);
        h->covered += end - begin;
        h->mixed += rig_mix(end) - rig_mix(begin); /* telescopes when the parts are adjacent */
}

static void huge_run(struct skua_worker *self, void *arg)
{
        struct huge *h = arg;

        h->result = skua_for(self, h->begin, h->end, h->grain, huge_part, h);
}

static void test_huge(void)
{
        static const size_t grains[] = {0, SIZE_MAX, SIZE_MAX / 2 + 1, SIZE_MAX / 3,
                                        SIZE_MAX / 1000};

        for (unsigned workers = 1; workers <= RIG_WORKERS_MAX; workers *= 2) {
                struct skua *rt = rig_start(workers, NULL);

                for (unsigned begin = 0; begin < 3; begin++)
                        for (unsigned g = 0; g < 5; g++) {
                                struct huge h = {.begin = begin,
                                                 .end = SIZE_MAX,
                                                 .grain = grains[g],
                                                 .result = 1};

                                wrong += skua_run(rt, huge_run, &h) != 0 || h.result != 0;
                                wrong += h.covered != h.end - h.begin || h.too_long != 0;
                                wrong += h.mixed != (size_t)(rig_mix(h.end) - rig_mix(h.begin));
                        }
                rig_stop(rt);
                tap_is(take_wrong(), 0, "ranges up to SIZE_MAX");
        }
}

/* All workers take part: each blocks in its first part until all are there. */
struct crowd {
        atomic_uint arrived;
        unsigned workers;
        atomic_uint here[RIG_WORKERS_MAX];
};

static void crowd_part(struct skua_worker *self, size_t begin, size_t end, void *arg)
{
        struct crowd *c = arg;

        (void)begin;
        (void)end;
        if (!atomic_exchange(&c->here[skua_worker_index(self)], 1))
                atomic_fetch_add(&c->arrived, 1);
        /* The first part must return, or nothing would ever be split. */
        if (begin >= 8)
                rig_until(&c->arrived, c->workers);
}

static void crowd_run(struct skua_worker *self, void *arg)
{
        struct crowd *c = arg;

        rig_until_idle(skua_runtime(self), c->workers - 1);
        wrong += skua_for(self, 0, 4096, 1, crowd_part, c) != 0;
}

static void test_crowd(void)
{
        for (unsigned workers = 2; workers <= RIG_WORKERS_MAX; workers++) {
                struct skua *rt = rig_start(workers, NULL);

                for (unsigned i = rig_rounds(50); i; i--) {
                        struct crowd c = {.workers = workers};

                        wrong += skua_run(rt, crowd_run, &c) != 0;
                        wrong += c.arrived != workers;
                }
                rig_stop(rt);
                tap_is(take_wrong(), 0, "idle workers all get a part of a loop");
        }
}

/* ------------------------------------------------------------------ bodies that do more */

enum { NESTED = 60 };

struct nested {
        atomic_uint seen[NESTED][NESTED];
        struct skua_job spawned[NESTED];
        atomic_uint spawned_ran, open_ran;
        size_t row;
};

struct row {
        struct nested *nested;
        size_t index;
};

static void nested_inner(struct skua_worker *self, size_t begin, size_t end, void *arg)
{
        struct row *row = arg;

        (void)self;
        for (size_t i = begin; i < end; i++)
                row->nested->seen[row->index][i]++;
        if (row->index % 16 == 0)
                sched_yield();
}

static void nested_spawned(struct skua_worker *self, struct skua_job *job)
{
        (void)self;
        (void)job;
}

struct opened {
        struct skua_job job;
        struct nested *nested;
};

static void nested_open(struct skua_worker *self, struct skua_job *job)
{
        struct opened *o = skua_container(job, struct opened, job);

        (void)self;
        o->nested->open_ran++;
}

/* Each row: an open fork, a loop in it, a job spawned and awaited. */
static void nested_outer(struct skua_worker *self, size_t begin, size_t end, void *arg)
{
        struct nested *n = arg;

        for (size_t i = begin; i < end; i++) {
                struct row row = {n, i};
                struct skua_group group;
                struct opened open;

                memset(&open.job, 0xa5, sizeof open.job);
                open.nested = n;
                skua_fork(self, &open.job, nested_open);
                wrong += skua_for(self, 0, NESTED, i % 4, nested_inner, &row) != 0;
                skua_group_init(&group);
                skua_job_init(&n->spawned[i], nested_spawned);
                skua_group_spawn(self, &group, &n->spawned[i]);
                wrong += skua_await_group(self, &group) != 0;
                wrong += skua_for(self, i, i, 0, nested_inner, &row) != 0;
                if (skua_join(self, &open.job))
                        n->open_ran++;
        }
}

struct opened_outer {
        struct skua_job job;
        struct nested *nested;
};

static void nested_fork(struct skua_worker *self, struct skua_job *job)
{
        struct opened_outer *o = skua_container(job, struct opened_outer, job);

        wrong += skua_for(self, 0, NESTED / 2, 1, nested_outer, o->nested) != 0;
}

/* One half of the rows in a fork, the other beside it. */
static void nested_run(struct skua_worker *self, void *arg)
{
        struct opened_outer o;

        memset(&o, 0xa5, sizeof o);
        o.nested = arg;
        skua_fork(self, &o.job, nested_fork);
        wrong += skua_for(self, NESTED / 2, NESTED, 0, nested_outer, arg) != 0;
        if (skua_join(self, &o.job))
                wrong += skua_for(self, 0, NESTED / 2, 1, nested_outer, arg) != 0;
}

static void test_nested(void)
{
        static struct nested n;

        for (unsigned workers = 1; workers <= RIG_WORKERS_MAX; workers++) {
                struct skua *rt = rig_start(workers, NULL);

                for (unsigned i = rig_rounds(20); i; i--) {
                        memset(&n, 0, sizeof n);
                        wrong += skua_run(rt, nested_run, &n) != 0;
                        wrong += n.open_ran != NESTED;
                        for (unsigned k = 0; k < NESTED; k++)
                                for (unsigned m = 0; m < NESTED; m++)
                                        wrong += n.seen[k][m] != 1;
                }
                rig_stop(rt);
                tap_is(take_wrong(), 0, "loops in loops in forks, with forks open and awaits");
        }
}

/* ------------------------------------------------------------------ errors */

struct faulty {
        atomic_uint ran;
        bool open; /* a fork is open around the loop, and fails too */
        int result;
        struct skua_job fork;
};

static void faulty_part(struct skua_worker *self, size_t begin, size_t end, void *arg)
{
        struct faulty *f = arg;

        f->ran += (unsigned)(end - begin);
        if (begin % 16 == 5)
                skua_fail(self, -1000 - (int)begin);
        if (begin % 32 == 0)
                sched_yield();
}

static void faulty_fork(struct skua_worker *self, struct skua_job *job)
{
        (void)job;
        sched_yield();
        skua_fail(self, -ENOTTY);
}

static void faulty_run(struct skua_worker *self, void *arg)
{
        struct faulty *f = arg;

        if (f->open)
                skua_fork(self, &f->fork, faulty_fork);
        f->result = skua_for(self, 0, 200, 1, faulty_part, f);
        if (f->open && skua_join(self, &f->fork))
                faulty_fork(self, &f->fork);
}

static void test_errors(void)
{
        for (unsigned workers = 1; workers <= RIG_WORKERS_MAX; workers++) {
                struct skua *rt = rig_start(workers, NULL);
                unsigned lost = 0, leaked = 0, left_out = 0;

                for (unsigned i = rig_rounds(400); i; i--) {
                        struct faulty f = {.open = i % 2};
                        int result = skua_run(rt, faulty_run, &f);

                        lost += f.result > -1005 || f.result < -1200 ||
                                (-f.result - 1000) % 16 != 5;
                        lost += workers == 1 && f.result != -1005;
                        leaked += result != (f.open ? -ENOTTY : 0);
                        left_out += f.ran != 200;
                }
                rig_stop(rt);
                tap_is(lost, 0, "a loop returns the first error of its bodies");
                tap_is(leaked, 0, "which is not its job's, and open forks' errors are not its own");
                tap_is(left_out, 0, "and leaves nothing out");
        }
}

/* The loop publishes a private fork of its job on its way; its error goes to the job. */
struct passed {
        struct skua_job busy, oldest, passed;
        atomic_uint held, go, hungry, ran, foreign;
        struct skua_worker *home;
        int result;
};

static void passed_busy(struct skua_worker *self, struct skua_job *job)
{
        struct passed *p = skua_container(job, struct passed, busy);

        (void)self;
        atomic_store(&p->held, 1);
        rig_until(&p->go, 1);
}

/* Runs on the thief, which has asked for more before. */
static void passed_oldest(struct skua_worker *self, struct skua_job *job)
{
        struct passed *p = skua_container(job, struct passed, oldest);

        (void)self;
        atomic_store(&p->hungry, 1);
}

static void passed_fork(struct skua_worker *self, struct skua_job *job)
{
        struct passed *p = skua_container(job, struct passed, passed);

        skua_fail(self, -ENOTTY);
        atomic_store(&p->ran, 1);
}

static void passed_part(struct skua_worker *self, size_t begin, size_t end, void *arg)
{
        struct passed *p = arg;

        (void)end;
        if (self != p->home) {
                skua_fail(self, -EDOM);
                atomic_store(&p->foreign, 1);
        } else if (begin == 0) {
                atomic_store(&p->go, 1);
                rig_until(&p->hungry, 1);
        } else if (begin == 3) {
                rig_until(&p->ran, 1);
        } else if (begin > 8) {
                rig_until(&p->foreign, 1);
        }
}

static void passed_run(struct skua_worker *self, void *arg)
{
        struct passed *p = arg;

        p->home = self;
        rig_until_idle(skua_runtime(self), 1);
        skua_fork(self, &p->busy, passed_busy);
        rig_until(&p->held, 1);
        skua_fork(self, &p->oldest, passed_oldest);
        skua_fork(self, &p->passed, passed_fork);
        p->result = skua_for(self, 0, 10000, 1, passed_part, p);
        wrong += skua_join(self, &p->passed);
        wrong += skua_join(self, &p->oldest);
        wrong += skua_join(self, &p->busy);
}

static void test_passed(void)
{
        unsigned loops = 0, jobs = 0, rounds = rig_rounds(200);
        struct skua *rt = rig_start(2, NULL);

        for (unsigned i = 0; i < rounds; i++) {
                struct passed p = {.result = 1};

                jobs += skua_run(rt, passed_run, &p) == -ENOTTY;
                loops += p.result == -EDOM;
        }
        rig_stop(rt);
        tap_is(jobs, rounds, "a fork that was published from inside a loop fails for its job");
        tap_is(loops, rounds, "a stolen part fails for its loop");
        tap_is(take_wrong(), 0, "and all of them were stolen");
}

/* ------------------------------------------------------------------ cancellation */

struct quitting {
        struct skua_job job;
        struct skua_group parent, group;
        atomic_uint ran, after;
        atomic_bool cancelled;
        int result;
};

static void quitting_part(struct skua_worker *self, size_t begin, size_t end, void *arg)
{
        struct quitting *q = arg;

        (void)self;
        (void)end;
        q->after += q->cancelled;
        if (++q->ran == 50) {
                skua_group_cancel(begin % 2 ? &q->parent : &q->group);
                q->cancelled = true;
        }
        if (begin % 16 == 0)
                sched_yield();
}

static void quitting_run(struct skua_worker *self, struct skua_job *job)
{
        struct quitting *q = skua_container(job, struct quitting, job);

        q->result = skua_for(self, 0, 100000, 1, quitting_part, q);
}

static void test_cancel(void)
{
        for (unsigned workers = 1; workers <= RIG_WORKERS_MAX; workers++) {
                struct skua *rt = rig_start(workers, NULL);
                unsigned results = 0, late = 0, rounds = rig_rounds(100);

                for (unsigned i = 0; i < rounds; i++) {
                        struct quitting q = {.result = 1};

                        skua_group_init(&q.parent);
                        skua_group_init_under(&q.group, &q.parent);
                        skua_job_init(&q.job, quitting_run);
                        skua_group_submit(rt, &q.group, &q.job);
                        skua_group_wait(&q.group, -1);
                        skua_group_wait(&q.parent, -1);
                        /* The others may be through before one gets so far as to cancel. */
                        if (workers > 1 && q.ran == 100000)
                                results += q.result == 0;
                        else
                                results += q.result == -ECANCELED && q.ran < 100000;
                        /* Each worker may have looked just before. */
                        late += q.after > workers - 1;
                }
                rig_stop(rt);
                tap_is(results, rounds, "a cancelled loop leaves the rest out and says so");
                tap_is(late, 0, "no part is begun after that");
        }
}

struct stopped {
        atomic_uint running;
        int result;
};

static void stopped_part(struct skua_worker *self, size_t begin, size_t end, void *arg)
{
        struct stopped *s = arg;

        (void)begin;
        (void)end;
        atomic_store(&s->running, 1);
        while (!skua_cancelled(self))
                sched_yield();
}

static void stopped_run(struct skua_worker *self, void *arg)
{
        struct stopped *s = *(struct stopped **)arg;

        s->result = skua_for(self, 0, 1000, 1, stopped_part, s);
}

static void test_stop(void)
{
        for (unsigned workers = 1; workers <= 4; workers++) {
                for (unsigned i = rig_rounds(30); i; i--) {
                        struct skua *rt = rig_start(workers, NULL);
                        struct stopped s = {.result = 1}, *pointer = &s;

                        wrong += skua_post(rt, stopped_run, &pointer, sizeof pointer) != 0;
                        rig_until(&s.running, 1);
                        wrong += skua_stop(rt, SKUA_CANCEL) != 0;
                        wrong += s.result != -ECANCELED;
                }
                tap_is(take_wrong(), 0, "a stop that cancels ends loops");
        }
}

/* ------------------------------------------------------------------ from outside, and misuse */

static void outside_part(struct skua_worker *self, size_t begin, size_t end, void *arg)
{
        wrong += skua_self() != self;
        atomic_fetch_add((atomic_uint *)arg, (unsigned)(end - begin));
        if (begin == 700)
                skua_fail(self, -EDOM);
}

static void misuse_run(struct skua_worker *self, void *arg)
{
        atomic_uint sum = 0;

        (void)arg;
        wrong += skua_run_for(skua_runtime(self), 0, 10, 1, outside_part, &sum) != -EDEADLK;
        wrong += skua_for(self, 0, 10, 1, NULL, NULL) != -EINVAL;
        wrong += sum != 0;
}

static void test_outside(void)
{
        for (unsigned workers = 1; workers <= 4; workers++) {
                struct skua *rt = rig_start(workers, NULL);

                for (unsigned i = rig_rounds(100); i; i--) {
                        atomic_uint sum = 0;

                        wrong += skua_run_for(rt, 0, 700, i % 9, outside_part, &sum) != 0;
                        wrong += sum != 700;
                        wrong += skua_run_for(rt, 3, 1003, 1, outside_part, &sum) != -EDOM;
                        wrong += sum != 1700;
                        wrong += skua_run_for(rt, 5, 5, 0, outside_part, &sum) != 0;
                        wrong += skua_run_for(rt, 5, 4, 0, outside_part, &sum) != 0;
                        wrong += sum != 1700;
                }
                tap_is(take_wrong(), 0, "a loop from outside, with its error");
                wrong += skua_run(rt, misuse_run, NULL) != 0;
                wrong += skua_run_for(rt, 0, 10, 1, NULL, NULL) != -EINVAL;
                wrong += skua_run_for(NULL, 0, 10, 1, outside_part, NULL) != -EINVAL;
                skua_close(rt);
                wrong += skua_run_for(rt, 0, 10, 1, outside_part, NULL) != -ESHUTDOWN;
                rig_stop(rt);
                tap_is(take_wrong(), 0, "misuse has its answers and runs nothing");
        }
}

int main(void)
{
        tap_plan(8 + 4 + 7 + 8 + 24 + 3 + 16 + 4 + 8, 120);
        test_cover();
        test_huge();
        test_crowd();
        test_nested();
        test_errors();
        test_passed();
        test_cancel();
        test_stop();
        test_outside();
        return tap_done();
}
