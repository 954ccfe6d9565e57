/* SPDX-License-Identifier: MIT
 *
 * Sleeps that end for no reason, wake-ups that answer with an error, come late, or come to memory
 * that has gone: the n-th one for every n, then each one. In whatever a runtime does while somebody
 * sleeps, nothing may be lost, done twice or left behind, and everything ends.
 */
/* link: -Wl,--wrap=mmap,--wrap=munmap,--wrap=mprotect,--wrap=pthread_create */
/* link: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free */
/* link: -Wl,--wrap=pthread_attr_init,--wrap=openat,--wrap=clock_gettime,--wrap=sched_getcpu */
/* link: -Wl,--wrap=sched_setaffinity,--wrap=sched_getaffinity */
/* link: -Wl,--wrap=kernel_guard_stack */
/* link: -Wl,--wrap=syscall,--wrap=kernel_futex_wait,--wrap=kernel_futex_wake */
#include "core/waiters.h"
#include "fault/calls.h"

enum { THREADS = 3, EACH = 6, NTH_MOST = 20, NUMBER = 12, NUMBER_FIB = 144 };

/* One run of a scene: what was accepted must be entered, once. */
struct scene {
        struct skua *rt;
        struct tally accepted, entered;
        atomic_uint wrong;
};

struct item {
        struct skua_job job;
        struct scene *scene;
};

static void item_run(struct skua_worker *self, struct skua_job *job)
{
        struct item *item = skua_container(job, struct item, job);

        (void)self;
        tally_add(&item->scene->entered, 1);
}

static void items_init(struct item *items, unsigned count, struct scene *scene)
{
        for (unsigned i = 0; i < count; i++) {
                skua_job_init(&items[i].job, item_run);
                items[i].scene = scene;
        }
}

/* Workers that sleep as soon as they can. */
static struct skua *start_sleepy(unsigned workers, size_t queue_limit)
{
        struct skua_options options = SKUA_OPTIONS_INIT;

        options.spin_ns = (unsigned)SKUA_NONE;
        options.queue_limit = queue_limit;
        return rig_start(workers, &options);
}

/* ------------------------------------------------------------------ the scenes */

static void scene_idle(struct scene *scene)
{
        (void)scene;
        for (unsigned workers = 1; workers <= 4; workers++)
                rig_stop(start_sleepy(workers, 0));
}

/* One by one and as an array, each waiting for room. The items outlive the drain. */
static void *submit_all(void *arg)
{
        struct scene *scene = arg;
        struct item *items = calloc(2 * EACH, sizeof *items);
        unsigned accepted = 0;
        ssize_t prefix;

        items_init(items, 2 * EACH, scene);
        for (unsigned i = 0; i < EACH; i++)
                accepted += skua_submit(scene->rt, &items[i].job) == 0;
        prefix = skua_submit_array(scene->rt, &items[EACH], EACH, sizeof *items, NULL);
        accepted += prefix > 0 ? (unsigned)prefix : 0;
        tally_add(&scene->accepted, accepted);
        return items;
}

static void fail_run(struct skua_worker *self, void *arg)
{
        tally_add(&((struct scene *)arg)->entered, 1);
        skua_fail(self, -ENOENT);
}

static void blocked(struct scene *scene, bool closes)
{
        struct gatekeeper keepers[2];
        pthread_t threads[THREADS];
        void *items[THREADS];

        scene->rt = start_sleepy(2, 1);
        for (unsigned i = 0; closes && i < 2; i++)
                keep(scene->rt, &keepers[i], i);
        for (unsigned i = 0; i < THREADS; i++)
                threads[i] = go(submit_all, scene);
        while (closes && stats_of(scene->rt).queued == 0)
                sched_yield();
        if (closes)
                skua_close(scene->rt);
        if (closes && skua_post(scene->rt, fail_run, scene, 8) != -ESHUTDOWN)
                atomic_fetch_add(&scene->wrong, 1);
        for (unsigned i = 0; i < THREADS; i++)
                items[i] = join(threads[i]);
        for (unsigned i = 0; closes && i < 2; i++)
                let_go(&keepers[i]);
        if (!closes && tally_read(&scene->accepted) != 2 * EACH * THREADS)
                atomic_fetch_add(&scene->wrong, 1);
        rig_stop(scene->rt);
        for (unsigned i = 0; i < THREADS; i++)
                free(items[i]);
}

static void scene_blocked(struct scene *scene)
{
        blocked(scene, false);
}

static void scene_closed(struct scene *scene)
{
        blocked(scene, true);
}

static void scene_groups(struct scene *scene)
{
        struct item items[EACH], after;
        struct wait_case waiting;
        pthread_t threads[THREADS];
        struct skua_group group;
        int result = 0;

        memset((void *)&waiting, 0, sizeof waiting);
        skua_group_init(&group);
        scene->rt = start_sleepy(2, 0);
        items_init(items, EACH, scene);
        items_init(&after, 1, scene);
        skua_group_hold(&group, 1);
        if (skua_group_wait(&group, 50000) != -ETIMEDOUT)
                atomic_fetch_add(&scene->wrong, 1);
        waiting.group = &group;
        waiting.timeout_ns = -1;
        for (unsigned i = 0; i < THREADS; i++)
                threads[i] = go(wait_thread, &waiting);
        until_listed(&group, THREADS);
        skua_group_then(scene->rt, &group, &after.job);
        for (unsigned i = 0; i < EACH; i++)
                result |= skua_group_submit(scene->rt, &group, &items[i].job);
        for (unsigned i = 0; i < EACH; i++)
                result |= skua_run(scene->rt, fail_run, scene) + ENOENT;
        skua_group_release(&group, -EDOM);
        for (unsigned i = 0; i < THREADS; i++)
                join(threads[i]);
        for (unsigned i = 0; i < THREADS; i++) /* in the order in which they came */
                result |= atomic_load(&waiting.results[i]) + EDOM;
        atomic_fetch_add(&scene->wrong, result != 0);
        tally_add(&scene->accepted, 2 * EACH + 1);
        rig_stop(scene->rt);
}

struct fork {
        struct skua_job job;
        unsigned n, value;
};

static unsigned fibonacci(struct skua_worker *self, unsigned n);

static void fork_run(struct skua_worker *self, struct skua_job *job)
{
        struct fork *fork = skua_container(job, struct fork, job);

        fork->value = fibonacci(self, fork->n);
}

/* The yield lets thieves be slower than the joiner, which then waits. */
static unsigned fibonacci(struct skua_worker *self, unsigned n)
{
        struct fork fork;
        unsigned first;

        if (n < 2) {
                sched_yield();
                return n;
        }
        fork.n = n - 2;
        skua_fork(self, &fork.job, fork_run);
        first = fibonacci(self, n - 1);
        return first + (skua_join(self, &fork.job) ? fibonacci(self, n - 2) : fork.value);
}

static void fibonacci_run(struct skua_worker *self, void *arg)
{
        if (fibonacci(self, NUMBER) != NUMBER_FIB)
                atomic_fetch_add(&((struct scene *)arg)->wrong, 1);
}

static void fibonacci_isolated(struct skua_worker *self, void *arg)
{
        skua_isolated(self, fibonacci_run, arg);
}

static void scene_forks(struct scene *scene)
{
        scene->rt = start_sleepy(3, 0);
        if (skua_run(scene->rt, fibonacci_run, scene) ||
            skua_run(scene->rt, fibonacci_isolated, scene))
                atomic_fetch_add(&scene->wrong, 1);
        rig_stop(scene->rt);
}

struct parent {
        struct item item;
        unsigned depth;
};

/* Awaits a group of its own, and room in a full queue. */
static void parent_run(struct skua_worker *self, struct skua_job *job)
{
        struct parent *parent = skua_container(job, struct parent, item.job);
        struct scene *scene = parent->item.scene;
        struct skua_target where = SKUA_TARGET_INIT;
        struct parent children[3];
        struct skua_group group;
        unsigned depth = parent->depth;

        skua_group_init(&group);
        where.group = &group;
        for (unsigned i = 0; depth && i < 3; i++) {
                int result = 0;

                children[i].item.scene = scene;
                children[i].depth = depth - 1;
                skua_job_init(&children[i].item.job, parent_run);
                if (i)
                        result = skua_await_submit(self, &children[i].item.job, &where);
                else
                        skua_group_spawn(self, &group, &children[i].item.job);
                atomic_fetch_add(&scene->accepted.value, 1);
                if (result)
                        atomic_fetch_add(&scene->wrong, 1);
        }
        if (skua_await_group(self, &group))
                atomic_fetch_add(&scene->wrong, 1);
        tally_add(&scene->entered, 1);
}

static void scene_suspended(struct scene *scene)
{
        struct parent top = {.depth = 3};

        scene->rt = start_sleepy(3, 1);
        items_init(&top.item, 1, scene);
        skua_job_init(&top.item.job, parent_run);
        if (skua_submit(scene->rt, &top.item.job) == 0)
                atomic_fetch_add(&scene->accepted.value, 1);
        rig_stop(scene->rt);
}

static void item_free(struct skua_worker *self, struct skua_job *job)
{
        struct item *item = skua_container(job, struct item, job);
        struct scene *scene = item->scene;

        (void)self;
        free(item);
        atomic_fetch_add(&scene->entered.value, 1);
}

static void *submit_till_closed(void *arg)
{
        struct scene *scene = arg;

        for (;;) {
                struct item *item = calloc(1, sizeof *item);
                int result;

                skua_job_init(&item->job, item_free);
                item->scene = scene;
                result = skua_submit(scene->rt, &item->job);
                if (result) {
                        free(item);
                        if (result != -ESHUTDOWN)
                                atomic_fetch_add(&scene->wrong, 1);
                        return NULL;
                }
                tally_add(&scene->accepted, 1);
        }
}

static void stopped(struct scene *scene, int (*stop)(struct skua *rt))
{
        pthread_t threads[THREADS];

        scene->rt = start_sleepy(2, 3);
        for (unsigned i = 0; i < THREADS; i++)
                threads[i] = go(submit_till_closed, scene);
        tally_wait(&scene->accepted, 10);
        if (stop(scene->rt) < 0)
                atomic_fetch_add(&scene->wrong, 1);
        for (unsigned i = 0; i < THREADS; i++)
                join(threads[i]);
}

static int stop_drain(struct skua *rt)
{
        return skua_stop(rt, SKUA_DRAIN);
}

static int stop_cancel(struct skua *rt)
{
        return skua_stop(rt, SKUA_CANCEL);
}

static int stop_within(struct skua *rt)
{
        return skua_stop_within(rt, 20000);
}

static void scene_drain(struct scene *scene)
{
        stopped(scene, stop_drain);
}

static void scene_cancel(struct scene *scene)
{
        stopped(scene, stop_cancel);
}

static void scene_within(struct scene *scene)
{
        stopped(scene, stop_within);
}

static void patient_run(struct skua_worker *self, struct skua_job *job)
{
        struct item *item = skua_container(job, struct item, job);

        while (!skua_cancelled(self))
                sched_yield();
        tally_add(&item->scene->entered, 1);
}

static void *drain_it(void *rt)
{
        return (void *)(intptr_t)skua_stop(rt, SKUA_DRAIN);
}

/* A drain that somebody else raises, and one that raises itself. */
static void scene_raised(struct scene *scene)
{
        struct item patient, probe;
        unsigned probes = 0;
        pthread_t thread;

        scene->rt = start_sleepy(2, 0);
        items_init(&patient, 1, scene);
        items_init(&probe, 1, scene);
        skua_job_init(&patient.job, patient_run);
        skua_submit(scene->rt, &patient.job);
        thread = go(drain_it, scene->rt);
        while (skua_try_submit(scene->rt, &probe.job) == 0)
                tally_wait(&scene->entered, ++probes);
        if (skua_stop(scene->rt, SKUA_CANCEL) || join(thread))
                atomic_fetch_add(&scene->wrong, 1);
        scene->rt = start_sleepy(2, 0);
        skua_submit(scene->rt, &patient.job);
        if (skua_stop_within(scene->rt, 100000) > 1)
                atomic_fetch_add(&scene->wrong, 1);
        tally_add(&scene->accepted, probes + 2);
}

/* ------------------------------------------------------------------ the sweep */

static const struct {
        const char *name;
        void (*play)(struct scene *scene);
} scenes[] = {{"an idle runtime", scene_idle},
              {"submissions that wait for room", scene_blocked},
              {"and are refused by a close", scene_closed},
              {"groups that are waited for", scene_groups},
              {"forks and joins, isolated too", scene_forks},
              {"jobs that are suspended", scene_suspended},
              {"a drain", scene_drain},
              {"a cancel", scene_cancel},
              {"a stop within a time", scene_within},
              {"a drain that is raised", scene_raised}};

enum { SCENES = sizeof scenes / sizeof *scenes };

static void dawdle(uint32_t *word)
{
        (void)word;
        for (unsigned i = 0; i < 20; i++)
                sched_yield();
}

static const struct {
        const char *name;
        enum call call;
        int error;
        void (*before)(uint32_t *word);
} kinds[] = {{"EINTR", CALL_WAIT, EINTR, NULL},
             {"a wake-up out of nowhere", CALL_WAIT, 0, NULL},
             {"EAGAIN", CALL_WAIT, EAGAIN, NULL},
             {"a wake that gives an error", CALL_WAKE, 0, NULL},
             {"wakes that come late", CALL_WAKE, 0, dawdle}};

enum { KINDS = sizeof kinds / sizeof *kinds };

static unsigned play(unsigned which)
{
        static struct scene scene;

        memset(&scene, 0, sizeof scene);
        scenes[which].play(&scene);
        if (tally_read(&scene.accepted) == tally_read(&scene.entered) && !scene.wrong)
                return 0;
        printf("# %s: accepted %u, entered %u, wrong %u\n", scenes[which].name,
               tally_read(&scene.accepted), tally_read(&scene.entered), atomic_load(&scene.wrong));
        return 1;
}

/* The n-th call, until three runs have had fewer than that. */
static unsigned sweep(unsigned which, unsigned kind, unsigned *hits)
{
        unsigned wrong = 0, missed = 0, most = rig_rounds(NTH_MOST) + 2;
        struct holdings before;

        wait_error = kinds[kind].error;
        before_wake = kinds[kind].before;
        before = holdings();
        for (unsigned n = 1; n <= most && missed < 3; n++) {
                unsigned failed;

                fail_at(kinds[kind].call, n);
                wrong += play(which);
                failed = fail_no_more(kinds[kind].call);
                missed += !failed;
                *hits += failed;
        }
        for (unsigned k = 1; k <= 3; k++) {
                fail_every(kinds[kind].call, k);
                wrong += play(which);
                *hits += fail_no_more(kinds[kind].call);
        }
        before_wake = NULL;
        if (leaks(&before)) {
                printf("# something has leaked: %s\n", kinds[kind].name);
                wrong++;
        }
        return wrong;
}

static void test_scene(unsigned which)
{
        unsigned wrong = 0, hits = 0, missing = 0;
        long long mapped;

        wrong += play(which);
        mapped = mapped_bytes;
        for (unsigned kind = 0; kind < KINDS; kind++) {
                unsigned now = 0;

                wrong += sweep(which, kind, &now);
                missing += !now;
                hits += now;
        }
        wrong += play(which);
        tap_is(wrong, 0, scenes[which].name);
        tap_ok(!missing, "%u faults, of each kind", hits);
        tap_ok(mapped_bytes <= mapped, "and no mapping is left behind");
}

/* ------------------------------------------------------------------ wakes to nobody */

enum { STACK_BYTES = 1 << 20 };

static struct {
        struct skua *rt;
        char *stack;
        struct tally asleep, held, gone;
        struct skua_group *_Atomic group;
        atomic_int result;
} past;

static bool of_past(const uint32_t *word)
{
        return (const char *)word >= past.stack && (const char *)word < past.stack + STACK_BYTES;
}

/* From here on the waker will ask the kernel to wake it. */
static void note_wait(uint32_t *word)
{
        if (of_past(word))
                tally_add(&past.asleep, 1);
}

/* The waker has told the sleeper, but not the kernel yet. */
static void hold_wake(uint32_t *word)
{
        if (!of_past(word))
                return;
        tally_add(&past.held, 1);
        tally_wait(&past.gone, 1);
}

static void *wait_and_go(void *arg)
{
        struct skua_group group; /* of this stack, as what it sleeps on */

        (void)arg;
        skua_group_init(&group);
        skua_group_hold(&group, 1);
        past.group = &group;
        past.result = skua_group_wait(&group, -1);
        return NULL;
}

static void release_run(struct skua_worker *self, struct skua_job *job)
{
        (void)self, (void)job;
        errno = 1234;
        skua_group_release(past.group, -EDOM);
        if (errno != 1234)
                past.result = 1;
}

static void test_gone(void)
{
        struct skua_job job;
        pthread_attr_t attributes;
        pthread_t thread;

        past.rt = rig_start(1, NULL);
        past.stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                          -1, 0);
        before_wait = note_wait;
        before_wake = hold_wake;
        wait_error = EINTR;
        fail_every(CALL_WAIT, 1);
        fail_every(CALL_WAKE, 1);
        pthread_attr_init(&attributes);
        pthread_attr_setstack(&attributes, past.stack, STACK_BYTES);
        pthread_create(&thread, &attributes, wait_and_go, NULL);
        pthread_attr_destroy(&attributes);
        tally_wait(&past.asleep, 1);
        rig_until(&calls[CALL_WAIT].failed, 1000);
        skua_job_init(&job, release_run);
        skua_submit(past.rt, &job);
        join(thread);
        munmap(past.stack, STACK_BYTES);
        tally_add(&past.gone, 1);
        rig_stop(past.rt);
        fail_no_more(CALL_WAIT);
        fail_no_more(CALL_WAKE);
        before_wait = NULL;
        before_wake = NULL;
        tap_is(past.result, -EDOM, "a sleeper that has gone, its memory too, before the wake");
        tap_is(tally_read(&past.held), 1, "the wake had been on its way");
}

int main(void)
{
        tap_plan(3 * SCENES + 2, 120);
        rig_stop(rig_start(1, NULL));
        for (unsigned i = 0; i < SCENES; i++)
                test_scene(i);
        test_gone();
        return tap_done();
}
