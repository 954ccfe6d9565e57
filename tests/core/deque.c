/* SPDX-License-Identifier: MIT
 *
 * Fork and join: each fork is either stolen and called once, or left to its join. Every fork here
 * carries a word that says what became of it, its memory is poisoned before and after, and those
 * that must be stolen are waited for.
 */

#include <pthread.h>

#include "core/worker.h"
#include "rig.h"

enum { FRESH = 0, STOLEN = 1, LEFT = 2 };

static atomic_uint wrong;

static unsigned take_wrong(void)
{
        return atomic_exchange(&wrong, 0);
}

/* One fork. The job is not first, so that nothing takes the job's address for the fork's. */
struct twig {
        atomic_uint fate;
        struct skua_job job;
        uint64_t seed, value;
        unsigned depth;
        atomic_uint *flag;          /* set to 1 when stolen, if any */
        atomic_uint *until;         /* stolen: waits for this, if any */
        struct skua_group *release; /* stolen: gives a hold back, if any */
};

static void twig_plant(struct twig *t)
{
        memset(t, 0xa5, sizeof *t);
        atomic_init(&t->fate, FRESH);
        t->flag = t->until = NULL;
        t->release = NULL;
}

static void twig_stolen(struct skua_worker *self, struct skua_job *job)
{
        struct twig *t = skua_container(job, struct twig, job);

        (void)self;
        wrong += atomic_exchange(&t->fate, STOLEN) != FRESH;
        t->value = t->seed + 1; /* plain: the join must make it visible */
        if (t->flag)
                atomic_fetch_add(t->flag, 1);
        if (t->until)
                rig_until(t->until, 1);
        if (t->release)
                skua_group_release(t->release, 0);
}

static void twig_fork(struct skua_worker *self, struct twig *t, uint64_t seed)
{
        t->seed = seed;
        skua_fork(self, &t->job, twig_stolen);
}

/* True: it was stolen. */
static bool twig_join(struct skua_worker *self, struct twig *t)
{
        bool left = skua_join(self, &t->job);

        wrong += atomic_exchange(&t->fate, LEFT) != (left ? FRESH : STOLEN);
        wrong += !left && t->value != t->seed + 1;
        memset(&t->job, 0xa5, sizeof t->job);
        return !left;
}

/* ------------------------------------------------------------------ random trees */

enum { SPAN = 6, DEPTH = 6 };

static uint64_t tree(struct skua_worker *self, uint64_t seed, unsigned depth);

static void branch_stolen(struct skua_worker *self, struct skua_job *job)
{
        struct twig *t = skua_container(job, struct twig, job);

        wrong += atomic_exchange(&t->fate, STOLEN) != FRESH;
        t->value = tree(self, t->seed, t->depth);
}

static struct twig *branch_fork(struct skua_worker *self, struct twig *room, uint64_t seed,
                                unsigned depth)
{
        struct twig *t = rig_mix(seed ^ 77) % 3 ? room : malloc(sizeof *t);

        twig_plant(t);
        t->seed = seed;
        t->depth = depth;
        skua_fork(self, &t->job, branch_stolen);
        return t;
}

static uint64_t branch_join(struct skua_worker *self, struct twig *t, const struct twig *room)
{
        bool left = skua_join(self, &t->job);
        uint64_t value;

        wrong += atomic_exchange(&t->fate, LEFT) != (left ? FRESH : STOLEN);
        value = left ? tree(self, t->seed, t->depth) : t->value;
        memset(&t->job, 0xa5, sizeof t->job);
        if (t != room)
                free(t);
        return value;
}

/* Forks and joins in an order that the seed gives. The sum does not depend on it. */
static uint64_t tree(struct skua_worker *self, uint64_t seed, unsigned depth)
{
        unsigned arity = depth ? (unsigned)(rig_mix(seed) % (SPAN + 1)) : 0;
        unsigned forked = 0, open = 0, open_index[SPAN];
        struct twig rooms[SPAN], *twigs[SPAN];
        uint64_t sum = rig_mix(seed ^ depth), turn = seed;

        if (rig_mix(seed ^ 3) % 256 == 0)
                sched_yield();
        while (forked < arity || open) {
                turn = rig_mix(turn);
                if (forked < arity && (!open || turn % 3)) {
                        open_index[open] = forked;
                        twigs[open++] = branch_fork(self, &rooms[forked],
                                                    rig_mix(seed + 1000 + forked), depth - 1);
                        forked++;
                } else {
                        open--;
                        sum += branch_join(self, twigs[open], &rooms[open_index[open]]);
                }
        }
        return sum;
}

static uint64_t tree_serial(uint64_t seed, unsigned depth)
{
        unsigned arity = depth ? (unsigned)(rig_mix(seed) % (SPAN + 1)) : 0;
        uint64_t sum = rig_mix(seed ^ depth);

        for (unsigned i = 0; i < arity; i++)
                sum += tree_serial(rig_mix(seed + 1000 + i), depth - 1);
        return sum;
}

struct planting {
        struct skua_job job;
        uint64_t seed, value;
};

static void planting_run(struct skua_worker *self, struct skua_job *job)
{
        struct planting *p = skua_container(job, struct planting, job);

        p->value = tree(self, p->seed, DEPTH + 1);
}

static unsigned random_trees(struct skua *rt, uint64_t *random)
{
        enum { AT_ONCE = 3 };
        struct planting p[AT_ONCE];
        struct skua_group group;
        unsigned errors = 0;

        skua_group_init(&group);
        for (unsigned i = 0; i < AT_ONCE; i++) {
                skua_job_init(&p[i].job, planting_run);
                p[i].seed = tap_random(random);
                skua_group_submit(rt, &group, &p[i].job);
        }
        errors += skua_group_wait(&group, -1) != 0;
        for (unsigned i = 0; i < AT_ONCE; i++)
                errors += p[i].value != tree_serial(p[i].seed, DEPTH + 1);
        return errors;
}

static void test_trees(void)
{
        uint64_t random = 0;

        for (unsigned workers = 1; workers <= RIG_WORKERS_MAX; workers++) {
                struct skua *rt = rig_start(workers, NULL);
                for (unsigned i = rig_rounds(40); i; i--)
                        wrong += random_trees(rt, &random);
                printf("# %llu published, %llu stolen\n", (unsigned long long)rig_forked(rt),
                       (unsigned long long)rig_stolen(rt));
                rig_stop(rt);
                tap_is(take_wrong(), 0, "random trees: every fork once, every sum right");
        }
}

/* ------------------------------------------------------------------ what must be stolen */

struct meeting {
        struct skua_job job;
        atomic_uint *arrived;
        unsigned expected;
};

struct meetings {
        unsigned rounds;
        bool searching; /* the others may still search, instead of being parked */
};

static void meeting_stolen(struct skua_worker *self, struct skua_job *job)
{
        struct meeting *m = skua_container(job, struct meeting, job);

        (void)self;
        atomic_fetch_add(m->arrived, 1);
        rig_until(m->arrived, m->expected);
}

static void meet(struct skua_worker *self, void *arg)
{
        struct meetings *m = arg;
        struct skua *rt = skua_runtime(self);
        unsigned workers = skua_workers(rt);

        for (; m->rounds; m->rounds--) {
                struct meeting meetings[RIG_WORKERS_MAX];
                atomic_uint arrived = 1;
                unsigned left = 0;

                if (m->searching)
                        rig_until_hungry(rt, workers - 1);
                else
                        rig_until_idle(rt, workers - 1);
                for (unsigned i = 0; i + 1 < workers; i++) {
                        memset(&meetings[i], 0xa5, sizeof meetings[i]);
                        meetings[i].arrived = &arrived;
                        meetings[i].expected = workers;
                        skua_fork(self, &meetings[i].job, meeting_stolen);
                }
                rig_until(&arrived, workers);
                for (unsigned i = workers - 1; i--;)
                        left += skua_join(self, &meetings[i].job);
                wrong += left;
        }
}

static void test_wide(void)
{
        struct skua_options options = SKUA_OPTIONS_INIT;

        for (unsigned workers = 2; workers <= RIG_WORKERS_MAX; workers++) {
                struct meetings m = {.rounds = rig_rounds(300)};
                struct skua *rt = rig_start(workers, NULL);

                skua_run(rt, meet, &m);
                rig_stop(rt);
                tap_is(take_wrong(), 0, "forks run as wide as there are parked workers");
        }
        options.spin_ns = 2000000;
        for (unsigned workers = 2; workers <= 4; workers++) {
                struct meetings m = {.rounds = rig_rounds(100), .searching = true};
                struct skua *rt = rig_start(workers, &options);

                skua_run(rt, meet, &m);
                rig_stop(rt);
                tap_is(take_wrong(), 0, "forks run as wide as there are searching workers");
        }
}

/* All other workers are held, by forks of this job or by jobs of their own, until told to go. */
struct hold {
        struct twig forks[RIG_WORKERS_MAX];
        struct meeting jobs[RIG_WORKERS_MAX];
        struct skua_group group;
        atomic_uint held, go;
        unsigned count;
        bool by_forks;
};

static void hold_job(struct skua_worker *self, struct skua_job *job)
{
        struct meeting *m = skua_container(job, struct meeting, job);
        struct hold *h = (struct hold *)(void *)m->arrived;

        (void)self;
        atomic_fetch_add(&h->held, 1);
        rig_until(&h->go, 1);
}

static void hold_one(struct skua_worker *self, struct hold *h, unsigned i)
{
        struct skua_target target = SKUA_TARGET_INIT;
        unsigned index = skua_worker_index(self);

        if (h->by_forks) {
                twig_plant(&h->forks[i]);
                h->forks[i].flag = &h->held;
                h->forks[i].until = &h->go;
                twig_fork(self, &h->forks[i], i);
                return;
        }
        skua_job_init(&h->jobs[i].job, hold_job);
        h->jobs[i].arrived = (atomic_uint *)(void *)h;
        target.worker = SKUA_WORKER(i < index ? i : i + 1);
        target.group = &h->group;
        wrong += skua_submit_to(skua_runtime(self), &h->jobs[i].job, &target) != 0;
}

static void hold_begin(struct skua_worker *self, struct hold *h, bool by_forks)
{
        struct skua *rt = skua_runtime(self);

        h->by_forks = by_forks;
        h->count = skua_workers(rt) - 1;
        atomic_store(&h->held, 0);
        atomic_store(&h->go, 0);
        skua_group_init(&h->group);
        for (unsigned i = 0; i < h->count; i++) {
                rig_until_idle(rt, h->count - i);
                hold_one(self, h, i);
                rig_until(&h->held, i + 1);
        }
}

static void hold_end(struct skua_worker *self, struct hold *h)
{
        for (unsigned i = h->by_forks ? h->count : 0; i--;)
                wrong += !twig_join(self, &h->forks[i]);
        wrong += skua_await_group(self, &h->group) != 0;
}

static void plant(struct skua_worker *self, struct twig *t, atomic_uint *flag, atomic_uint *until)
{
        twig_plant(t);
        t->flag = flag;
        t->until = until;
        twig_fork(self, t, 100);
}

/* The first fork made beside held thieves is stolen when they come back, without another fork. */
static void oldest_once(struct skua_worker *self, struct hold *h)
{
        atomic_uint ran = 0;
        struct twig t[3];

        for (unsigned i = 0; i < 3; i++)
                plant(self, &t[i], i ? NULL : &ran, NULL);
        atomic_store(&h->go, 1);
        rig_until(&ran, 1);
        twig_join(self, &t[2]);
        twig_join(self, &t[1]);
        wrong += !twig_join(self, &t[0]);
}

/* One public fork is taken back; the next one is public again. */
static void again_once(struct skua_worker *self, struct hold *h)
{
        atomic_uint ran = 0;
        struct twig t;

        plant(self, &t, NULL, NULL);
        wrong += twig_join(self, &t);
        plant(self, &t, &ran, NULL);
        atomic_store(&h->go, 1);
        rig_until(&ran, 1);
        wrong += !twig_join(self, &t);
}

/* A thief takes the last public fork and is busy with it: the next fork publishes another one. */
static void asked_once(struct skua_worker *self, struct hold *h)
{
        atomic_uint took = 0, let_go = 0, ran = 0;
        struct twig t[3];

        plant(self, &t[0], &took, &let_go);
        plant(self, &t[1], &ran, NULL);
        atomic_store(&h->go, 1);
        rig_until(&took, 1);
        plant(self, &t[2], NULL, NULL);
        atomic_store(&let_go, 1);
        rig_until(&ran, 1);
        twig_join(self, &t[2]);
        wrong += !twig_join(self, &t[1]);
        wrong += !twig_join(self, &t[0]);
}

/* Somebody has become idle: the next fork publishes everything. */
static void all_once(struct skua_worker *self, struct hold *h)
{
        atomic_uint took = 0, let_go = 0;
        struct twig t[RIG_WORKERS_MAX], last;

        for (unsigned i = 0; i < h->count; i++)
                plant(self, &t[i], &took, &let_go);
        atomic_store(&h->go, 1);
        rig_until(&took, 1);
        rig_until_idle(skua_runtime(self), h->count - 1);
        plant(self, &last, NULL, NULL);
        rig_until(&took, h->count);
        atomic_store(&let_go, 1);
        twig_join(self, &last);
        for (unsigned i = h->count; i--;)
                wrong += !twig_join(self, &t[i]);
}

struct scene {
        void (*once)(struct skua_worker *self, struct hold *h);
        const char *name;
        unsigned rounds;
        bool by_forks;
};

static void scene_run(struct skua_worker *self, void *arg)
{
        struct scene *s = arg;

        for (unsigned i = 0; i < s->rounds; i++) {
                struct hold h;

                hold_begin(self, &h, s->by_forks);
                s->once(self, &h);
                hold_end(self, &h);
        }
}

static void test_scenes(void)
{
        static const struct scene scenes[] = {
                {oldest_once, "the oldest fork is public when thieves come back", 0, false},
                {again_once, "public, taken back, the next one public", 0, false},
                {asked_once, "a busy thief has asked for more", 0, false},
                {all_once, "everything is public while somebody is idle", 0, false},
        };

        for (unsigned i = 0; i < 2 * sizeof scenes / sizeof *scenes; i++) {
                struct scene s = scenes[i / 2];

                s.by_forks = i % 2;
                s.rounds = rig_rounds(50);
                for (unsigned workers = 2; workers <= 4; workers++) {
                        struct skua *rt = rig_start(workers, NULL);

                        skua_run(rt, scene_run, &s);
                        rig_stop(rt);
                }
                printf("# thieves were held by %s\n", s.by_forks ? "older forks" : "jobs");
                tap_is(take_wrong(), 0, s.name);
        }
}

/* One fork at a time, each stolen: the indexes run round the ring. */
static void round_the_ring(struct skua_worker *self, void *arg)
{
        unsigned *rounds = arg;

        for (; *rounds; (*rounds)--) {
                atomic_uint ran = 0;
                struct twig t;

                twig_plant(&t);
                t.flag = &ran;
                twig_fork(self, &t, *rounds);
                rig_until(&ran, 1);
                wrong += !twig_join(self, &t);
        }
}

static void test_round(void)
{
        for (unsigned workers = 2; workers <= RIG_WORKERS_MAX; workers *= 2) {
                struct skua *rt = rig_start(workers, NULL);
                unsigned rounds = 3 * RING_SLOTS + 100;

                skua_run(rt, round_the_ring, &rounds);
                tap_ok(rig_forked(rt) >= 3 * RING_SLOTS, "%llu lone forks, each of them stolen",
                       (unsigned long long)rig_forked(rt));
                rig_stop(rt);
                tap_is(take_wrong(), 0, "each was called once");
        }
}

/* ------------------------------------------------------------------ races for one place */

/* Published and taken back at the same places, under the hands of searching thieves. */
static void back_and_forth(struct skua_worker *self, void *arg)
{
        unsigned *rounds = arg, stolen = 0;
        struct twig outer, twigs[3];

        for (; *rounds; (*rounds)--) {
                unsigned count = 1 + *rounds % 3;

                twig_plant(&outer);
                if (*rounds & 16)
                        twig_fork(self, &outer, 5);
                for (unsigned i = 0; i < count; i++) {
                        twig_plant(&twigs[i]);
                        twig_fork(self, &twigs[i], i);
                }
                for (unsigned i = count; i--;)
                        stolen += twig_join(self, &twigs[i]);
                if (*rounds & 16)
                        stolen += twig_join(self, &outer);
        }
        printf("# %u stolen\n", stolen);
}

static void flat_loop(struct skua_worker *self, void *arg)
{
        unsigned rounds = *(unsigned *)arg;
        struct twig t;

        twig_plant(&t);
        for (unsigned i = 0; i < rounds; i++) {
                atomic_store_explicit(&t.fate, FRESH, memory_order_relaxed);
                twig_fork(self, &t, i);
                twig_join(self, &t);
        }
}

static void test_races(void)
{
        for (unsigned workers = 1; workers <= RIG_WORKERS_MAX; workers++) {
                struct skua *rt = rig_start(workers, NULL);
                unsigned rounds = rig_rounds(60000);

                skua_run(rt, back_and_forth, &rounds);
                tap_is(take_wrong(), 0, "published, taken back, published again");
                rounds = rig_rounds(workers <= 2 ? 1000000 : 100000);
                skua_run(rt, flat_loop, &rounds);
                rig_stop(rt);
                tap_is(take_wrong(), 0, "a flat loop of fork and join");
        }
}

/* ------------------------------------------------------------------ more forks than places */

enum { FLOOD = 3 * RING_SLOTS };

struct flood {
        struct twig *twigs;
        unsigned count, each; /* each: forks per level of the recursion */
        unsigned stolen;
};

static void flood_level(struct skua_worker *self, struct flood *f, unsigned from)
{
        unsigned to = from + f->each < f->count ? from + f->each : f->count;

        for (unsigned i = from; i < to; i++) {
                twig_plant(&f->twigs[i]);
                twig_fork(self, &f->twigs[i], i);
        }
        if (to < f->count)
                flood_level(self, f, to);
        for (unsigned i = to; i-- > from;)
                f->stolen += twig_join(self, &f->twigs[i]);
}

static void flood_run(struct skua_worker *self, void *arg)
{
        struct flood *f = arg;

        rig_until_idle(skua_runtime(self), skua_workers(skua_runtime(self)) - 1);
        flood_level(self, f, 0);
}

static void test_flood(void)
{
        static struct twig twigs[FLOOD];
        uint64_t random = 0;

        for (unsigned workers = 1; workers <= RIG_WORKERS_MAX; workers++) {
                struct skua *rt = rig_start(workers, NULL);
                struct flood f = {.twigs = twigs};

                for (unsigned i = rig_rounds(20); i; i--) {
                        f.count = 1 + (unsigned)(tap_random(&random) % FLOOD);
                        f.each = 1 + (unsigned)(tap_random(&random) % f.count);
                        skua_run(rt, flood_run, &f);
                        f.count = f.each = FLOOD;
                        skua_run(rt, flood_run, &f);
                }
                rig_stop(rt);
                printf("# %u workers, %u stolen\n", workers, f.stolen);
                tap_is(take_wrong(), 0, "more forks than places");
        }
}

struct brim {
        struct twig twigs[3 * RING_SLOTS];
        struct skua_group group, later;
        unsigned rounds, beyond, releaser;
        bool waiting; /* some of the forks wait themselves */
};

static void brim_spawned(struct skua_worker *self, struct skua_job *job)
{
        (void)self;
        (void)job;
}

static void brim_wait(struct skua_worker *self)
{
        struct skua_group group;
        struct skua_job job;

        skua_group_init(&group);
        skua_job_init(&job, brim_spawned);
        skua_group_spawn(self, &group, &job);
        wrong += skua_await_group(self, &group) != 0;
}

static void brim_stolen(struct skua_worker *self, struct skua_job *job)
{
        struct twig *t = skua_container(job, struct twig, job);
        struct brim *b = (struct brim *)(uintptr_t)t->value;

        wrong += atomic_exchange(&t->fate, STOLEN) != FRESH;
        if (t->seed == b->releaser)
                skua_group_release(&b->group, 0);
        else if (t->seed == b->releaser + RING_SLOTS / 2)
                skua_group_release(&b->later, 0);
        else if (b->waiting && t->seed % 7 == 3)
                brim_wait(self);
}

static void brim_join(struct skua_worker *self, struct brim *b, unsigned i)
{
        struct twig *t = &b->twigs[i];
        bool left = skua_join(self, &t->job);

        wrong += atomic_load(&t->fate) != (left ? FRESH : STOLEN);
        /* One worker takes them oldest first. */
        wrong += skua_workers(skua_runtime(self)) == 1 && left && i <= b->releaser;
        b->beyond += i >= RING_SLOTS;
        memset(t, 0xa5, sizeof *t);
}

/* Forks more than the ring holds and waits for what one of the forks does, and a later one. */
static void brim_once(struct skua_worker *self, struct brim *b, unsigned count, unsigned releaser)
{
        b->releaser = releaser;
        skua_group_init(&b->group);
        skua_group_init(&b->later);
        skua_group_hold(&b->group, 1);
        if (releaser + RING_SLOTS / 2 < count)
                skua_group_hold(&b->later, 1);
        for (unsigned i = 0; i < count; i++) {
                twig_plant(&b->twigs[i]);
                b->twigs[i].seed = i;
                b->twigs[i].value = (uintptr_t)b;
                skua_fork(self, &b->twigs[i].job, brim_stolen);
        }
        wrong += skua_await_group(self, &b->group) != 0;
        for (unsigned end = count - (count - releaser - 1) / 8; count > end;)
                brim_join(self, b, --count);
        wrong += skua_await_group(self, &b->later) != 0;
        while (count)
                brim_join(self, b, --count);
}

/* The last one that fits releases; then one that does not: it follows when there is room. */
static void brim_run(struct skua_worker *self, void *arg)
{
        struct brim *b = arg;

        for (; b->rounds; b->rounds--) {
                unsigned more = b->rounds % RING_SLOTS;

                brim_once(self, b, RING_SLOTS + more, RING_SLOTS - 1);
                brim_once(self, b, RING_SLOTS + more, RING_SLOTS + more - 1);
                brim_once(self, b, 2 * RING_SLOTS, RING_SLOTS + more);
                b->waiting = true;
                brim_once(self, b, 3 * RING_SLOTS, more / 50);
                b->waiting = false;
        }
}

static void test_brim(void)
{
        static struct brim brim;

        for (unsigned workers = 1; workers <= 4; workers++) {
                struct skua *rt = rig_start(workers, NULL);

                brim.beyond = 0;
                brim.rounds = rig_rounds(60);
                skua_run(rt, brim_run, &brim);
                rig_stop(rt);
                printf("# %u forks beyond what the ring holds\n", brim.beyond);
                tap_is(take_wrong(), 0, "a job waits for forks beyond what the ring holds");
        }
}

/* ------------------------------------------------------------------ late thieves */

/* A thread of the test is a thief that is slow between its two steps: it has won an index and has
 * not yet looked into the slot. The other worker is held, so that it is the only one. */
struct late {
        struct twig twigs[2 * RING_SLOTS];
        struct skua_group group;
        struct hold hold;
        struct ring *ring;
        uint64_t index;
        atomic_uint stage, ran;
};

static void late_win(struct late *l)
{
        rig_until(&l->stage, 1);
        l->index = load_relaxed_u64(&l->ring->top);
        wrong += load_acquire_u64(&l->ring->bottom) != l->index + 1;
        wrong += !cas_relaxed_u64(&l->ring->top, &(uint64_t){l->index}, l->index + 1);
        atomic_store(&l->stage, 2);
}

/* What was in the slot when it looked at last. */
static struct twig *late_take(struct late *l)
{
        struct wordptr *slot = &l->ring->slots[l->index % RING_SLOTS];
        struct skua_job *job = exchange_acq_rel_ptr(slot, NULL);
        struct twig *t = job ? skua_container(job, struct twig, job) : NULL;

        if (!t)
                return NULL;
        job->run_(NULL, job);
        fork_done(job);
        return t;
}

/* Until the slot is free the ring has no room, and then nobody else tells the owner. */
static void late_crowd_run(struct skua_worker *self, void *arg)
{
        struct late *l = arg;

        l->ring = &worker_of(self)->ring;
        hold_begin(self, &l->hold, false);
        for (unsigned i = 0; i < 2 * RING_SLOTS; i++) {
                twig_plant(&l->twigs[i]);
                l->twigs[i].flag = &l->ran;
                l->twigs[i].release = i == RING_SLOTS + 5 ? &l->group : NULL;
                twig_fork(self, &l->twigs[i], i);
        }
        atomic_store(&l->stage, 1);
        rig_until(&l->stage, 2);
        wrong += skua_await_group(self, &l->group) != 0;
        for (unsigned i = 2 * RING_SLOTS; i--;)
                wrong += !twig_join(self, &l->twigs[i]) && i <= RING_SLOTS + 5;
        atomic_store(&l->hold.go, 1);
        hold_end(self, &l->hold);
}

static void *late_crowd_thief(void *arg)
{
        struct late *l = arg;

        late_win(l);
        rig_until(&l->ran, RING_SLOTS - 1);
        for (unsigned i = 0; i < 1000; i++)
                sched_yield();
        wrong += late_take(l) != &l->twigs[0];
        return NULL;
}

/* The owner takes its fork back and goes once round the ring: a younger fork stands in the slot. */
static void late_young_run(struct skua_worker *self, void *arg)
{
        struct late *l = arg;
        struct twig *t = l->twigs;

        l->ring = &worker_of(self)->ring;
        hold_begin(self, &l->hold, false);
        for (unsigned i = 0; i < RING_SLOTS; i++) {
                twig_plant(&t[0]);
                twig_fork(self, &t[0], i);
                if (i == 0) {
                        atomic_store(&l->stage, 1);
                        rig_until(&l->stage, 2);
                }
                wrong += twig_join(self, &t[0]);
        }
        twig_plant(&t[1]);
        t[1].flag = &l->ran;
        twig_fork(self, &t[1], 7);
        atomic_store(&l->stage, 3);
        rig_until(&l->ran, 1);
        rig_until(&l->stage, 4);
        wrong += !twig_join(self, &t[1]);
        atomic_store(&l->hold.go, 1);
        hold_end(self, &l->hold);
}

static void *late_young_thief(void *arg)
{
        struct late *l = arg;
        struct worker *owner;

        late_win(l);
        owner = skua_container(l->ring, struct worker, ring);
        rig_until(&l->stage, 3);
        wrong += late_take(l) != &l->twigs[1];
        /* The next thief wins the younger one's index and finds nothing. */
        wrong += deque_steal(owner) != NULL;
        atomic_store(&l->stage, 4);
        return NULL;
}

struct late_run {
        void (*run)(struct skua_worker *self, void *arg);
        void *(*thief)(void *arg);
        const char *name;
};

static void test_late(void)
{
        static const struct late_run runs[] = {
                {late_crowd_run, late_crowd_thief, "a slot held by a late thief delays, no more"},
                {late_young_run, late_young_thief, "a late thief gets a younger fork, once"},
        };
        static struct late l;

        for (unsigned k = 0; k < 2; k++) {
                for (unsigned i = rig_rounds(50); i; i--) {
                        struct skua *rt = rig_start(2, NULL);
                        pthread_t thief;

                        memset(&l, 0, sizeof l);
                        skua_group_init(&l.group);
                        skua_group_hold(&l.group, 1);
                        if (pthread_create(&thief, NULL, runs[k].thief, &l))
                                exit(3);
                        skua_run(rt, runs[k].run, &l);
                        pthread_join(thief, NULL);
                        rig_stop(rt);
                }
                tap_is(take_wrong(), 0, runs[k].name);
        }
}

/* ------------------------------------------------------------------ depth */

static unsigned deep(struct skua_worker *self, unsigned depth)
{
        struct twig t;
        unsigned below;

        if (!depth)
                return 0;
        twig_plant(&t);
        twig_fork(self, &t, depth);
        below = deep(self, depth - 1);
        twig_join(self, &t);
        return below + 1;
}

static void deep_run(struct skua_worker *self, void *arg)
{
        unsigned *depth = arg;

        *depth = deep(self, *depth);
}

static void test_deep(void)
{
        /* TSan keeps a call stack of its own, of 65,536 calls. */
        const unsigned depth = RIG_TSAN ? 20000 : 100000;
        struct skua_options options = SKUA_OPTIONS_INIT;

        options.stack_bytes = (size_t)256 << 20;
        for (unsigned workers = 1; workers <= RIG_WORKERS_MAX; workers *= 2) {
                struct skua *rt = rig_start(workers, &options);
                unsigned reached = depth;

                skua_run(rt, deep_run, &reached);
                rig_stop(rt);
                wrong += reached != depth;
                tap_is(take_wrong(), 0, "100,000 forks outstanding");
        }
}

/* ------------------------------------------------------------------ forks beside other things */

struct beside {
        struct skua_job spawned;
        atomic_uint ran;
        unsigned rounds;
};

static void beside_spawned(struct skua_worker *self, struct skua_job *job)
{
        struct beside *b = skua_container(job, struct beside, spawned);

        (void)self;
        atomic_fetch_add(&b->ran, 1);
}

/* fork(A), spawn(S), join(A). */
static void beside_run(struct skua_worker *self, void *arg)
{
        struct beside *b = arg;
        struct skua_group group;

        skua_group_init(&group);
        for (; b->rounds; b->rounds--) {
                struct twig t;

                twig_plant(&t);
                atomic_store(&b->ran, 0);
                skua_job_init(&b->spawned, beside_spawned);
                twig_fork(self, &t, 1);
                skua_group_spawn(self, &group, &b->spawned);
                twig_join(self, &t);
                wrong += skua_await_group(self, &group) != 0;
                wrong += b->ran != 1;
        }
}

static void test_beside(void)
{
        for (unsigned workers = 1; workers <= RIG_WORKERS_MAX; workers++) {
                struct skua *rt = rig_start(workers, NULL);
                struct beside b = {.rounds = rig_rounds(5000)};

                skua_run(rt, beside_run, &b);
                rig_stop(rt);
                tap_is(take_wrong(), 0, "fork(A), spawn(S), join(A)");
        }
}

/* ------------------------------------------------------------------ context */

struct context {
        struct skua_job job;
        struct skua_job outer, inner; /* forks: the outer one forks the inner one */
        struct skua_group group;
        atomic_uint started, told;
};

static void context_inner(struct skua_worker *self, struct skua_job *job)
{
        struct context *c = skua_container(job, struct context, inner);

        wrong += skua_cancelled(self);
        atomic_fetch_add(&c->started, 1);
        while (!skua_cancelled(self))
                sched_yield();
        atomic_fetch_add(&c->told, 1);
        skua_fail(self, -ENOTTY);
}

static void context_outer(struct skua_worker *self, struct skua_job *job)
{
        struct context *c = skua_container(job, struct context, outer);

        wrong += skua_cancelled(self);
        skua_fork(self, &c->inner, context_inner);
        rig_until(&c->started, 1);
        atomic_fetch_add(&c->started, 1);
        while (!skua_cancelled(self))
                sched_yield();
        atomic_fetch_add(&c->told, 1);
        wrong += skua_join(self, &c->inner);
}

static void context_run(struct skua_worker *self, struct skua_job *job)
{
        struct context *c = skua_container(job, struct context, job);

        skua_fork(self, &c->outer, context_outer);
        rig_until(&c->started, 2);
        wrong += skua_cancelled(self);
        skua_group_cancel(&c->group);
        wrong += skua_join(self, &c->outer);
        wrong += !skua_cancelled(self);
}

static void test_context(void)
{
        static struct context c;
        unsigned told = 0, rounds = rig_rounds(500), count = 0;
        struct skua *rt = rig_start(3, NULL);

        for (; count < rounds; count++) {
                memset(&c, 0xa5, sizeof c);
                atomic_store(&c.started, 0);
                atomic_store(&c.told, 0);
                skua_group_init(&c.group);
                skua_job_init(&c.job, context_run);
                rig_until_idle(rt, 3);
                skua_group_submit(rt, &c.group, &c.job);
                wrong += skua_group_wait(&c.group, -1) != -ECANCELED;
                told += c.told;
        }
        rig_stop(rt);
        tap_is(told, 2 * (long long)rounds, "stolen forks see that their job's group is cancelled");
        tap_is(take_wrong(), 0, "and nobody else does, before or after");
}

struct failing {
        struct skua_job fork;
        atomic_uint ran;
        bool first;
};

static void failing_stolen(struct skua_worker *self, struct skua_job *job)
{
        struct failing *f = skua_container(job, struct failing, fork);

        skua_fail(self, -EXDEV);
        atomic_store(&f->ran, 1);
}

static void failing_run(struct skua_worker *self, void *arg)
{
        struct failing *f = arg;

        if (f->first)
                skua_fail(self, -EDOM);
        skua_fork(self, &f->fork, failing_stolen);
        rig_until(&f->ran, 1);
        skua_fail(self, -ERANGE);
        wrong += skua_join(self, &f->fork);
}

static void nothing_run(struct skua_worker *self, void *arg)
{
        (void)self;
        (void)arg;
}

static void test_errors(void)
{
        unsigned rounds = rig_rounds(500), stolen = 0, own = 0, clean = 0;
        struct skua *rt = rig_start(2, NULL);

        for (unsigned i = 0; i < rounds; i++) {
                struct failing f = {.first = false};

                stolen += skua_run(rt, failing_run, &f) == -EXDEV;
                f = (struct failing){.first = true};
                own += skua_run(rt, failing_run, &f) == -EDOM;
                clean += skua_run(rt, nothing_run, NULL) == 0;
        }
        rig_stop(rt);
        tap_is(stolen, rounds, "an error in a stolen fork belongs to the job that joins");
        tap_is(own, rounds, "the first one in time is kept");
        tap_is(clean, rounds, "the next job has none of it");
        tap_is(take_wrong(), 0, "all of them were stolen");
}

int main(void)
{
        tap_plan(8 + 10 + 8 + 6 + 16 + 8 + 4 + 2 + 4 + 8 + 2 + 4, 120);
        test_trees();
        test_wide();
        test_scenes();
        test_round();
        test_races();
        test_flood();
        test_brim();
        test_late();
        test_deep();
        test_beside();
        test_context();
        test_errors();
        return tap_done();
}
