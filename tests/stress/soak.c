/* SPDX-License-Identifier: MIT
 *
 * Everything at once, for as long as $SOAK_SECONDS says (2): several runtimes with more workers
 * than CPUs start, are fed by threads through every call, and are stopped in every way, while all
 * threads are moved from CPU to CPU. Counted by number and by name: each accepted job is entered
 * once, a refused one never, and sums are right. What a thread or job decides comes from the seed
 * and its own number, so $TAP_SEED replays it; how they interleave, nobody can.
 */
#include <dirent.h>

#include "place/sandbox.h"
#include "stress/deeds.h"

enum { STREAMS = 2, PRODUCERS_MAX = 3, DEPTH = 4, AHEAD = 300, CHECKS = 5 };

static struct life total;
static atomic_ulong lives, timeouts;
static int64_t deadline_ns;

static bool time_is_up(void)
{
        return skua_now_ns() >= deadline_ns;
}

/* ------------------------------------------------------------------ who submits */

struct producer {
        struct life *life;
        uint64_t random;
};

/* Some jobs that lie beside one another, and a place in the ledger for each. */
struct array {
        atomic_uint left;
        struct life *life;
        struct element {
                struct skua_job job;
                struct array *array;
                uint64_t name;
        } elements[];
};

static void element_run(struct skua_worker *self, struct skua_job *job)
{
        struct element *element = skua_container(job, struct element, job);
        struct array *array = element->array;

        (void)self;
        enter_in(&array->life->entered, element->name);
        if (atomic_fetch_sub(&array->left, 1) == 1)
                free(array);
}

static int submit_array(struct producer *p, const struct skua_target *where)
{
        struct life *life = p->life;
        unsigned count = 1 + next(&p->random) % 40;
        struct array *array = calloc(1, sizeof *array + count * sizeof *array->elements);
        ssize_t accepted;

        array->life = life;
        array->left = count + 1;
        for (unsigned i = 0; i < count; i++) {
                struct element *element = &array->elements[i];

                skua_job_init(&element->job, element_run);
                element->array = array;
                element->name = next(&p->random);
                enter_in(&life->accepted, element->name);
        }
        accepted = skua_submit_array(life->rt, array->elements, count, sizeof *array->elements,
                                     where);
        expect(life, accepted != 0 && accepted <= (ssize_t)count, "length of a prefix");
        for (unsigned i = accepted < 0 ? 0 : (unsigned)accepted; i < count; i++) {
                strike_from(&life->accepted, array->elements[i].name);
                atomic_fetch_add(&refusals, 1);
                atomic_fetch_sub(&array->left, 1);
        }
        if (atomic_fetch_sub(&array->left, 1) == 1)
                free(array);
        return accepted < 0 ? (int)accepted : 0;
}

static int submit_one(struct producer *p, uint64_t r)
{
        struct life *life = p->life;
        struct skua_target where = SKUA_TARGET_INIT;
        struct skua_group *group = r % 5 > 2 ? &life->top : NULL;
        struct task *task = task_new(life, group, next(&p->random), DEPTH);
        int result;

        enter_in(&life->accepted, task->name);
        where.group = group;
        where.flags = r & 64 ? SKUA_TRY : 0;
        where.worker = r & 128 ? SKUA_WORKER((r >> 16) % skua_workers(life->rt)) : 0;
        if (r % 5 == 0)
                result = skua_submit(life->rt, &task->job);
        else if (r % 5 == 1)
                result = skua_try_submit(life->rt, &task->job);
        else if (r % 5 == 3)
                result = skua_group_submit(life->rt, group, &task->job);
        else
                result = skua_submit_to(life->rt, &task->job, &where);
        if (result)
                give_up(task);
        return result;
}

static void run_failing(struct skua_worker *self, void *arg)
{
        struct producer *p = arg;

        expect(p->life, fibonacci(self, 6) == 8, "forks of a run");
        skua_fail(self, -ENOENT);
}

static int run_and_wait(struct producer *p)
{
        struct loop loop = {.task = &(struct task){.life = p->life}};
        int result = skua_run(p->life->rt, run_failing, p);

        expect(p->life, result == -ENOENT || result == -ESHUTDOWN, "result of a run");
        if (result == -ESHUTDOWN)
                return result;
        result = skua_run_for(p->life->rt, 0, 500, 0, loop_body, &loop);
        expect(p->life,
               result == -ESHUTDOWN || result == -ECANCELED || (!result && loop.sum == 124750),
               "result of a loop that is run");
        return result == -ECANCELED ? 0 : result;
}

/* A group of the thread's own: submitted to, waited for with less time than it needs, cancelled. */
static int use_group(struct producer *p)
{
        uint64_t r = next(&p->random);
        unsigned count = r % 8;
        struct skua_group group;
        int result = 0, waited;

        skua_group_init_under(&group, r & 256 ? &p->life->top : NULL);
        for (unsigned i = 0; i < count && !result; i++) {
                struct task *task = task_new(p->life, &group, next(&p->random), 2);

                enter_in(&p->life->accepted, task->name);
                result = skua_group_submit(p->life->rt, &group, &task->job);
                if (result)
                        give_up(task);
        }
        if ((r >> 9) % 8 == 0)
                skua_group_cancel(&group);
        while ((waited = skua_group_wait(&group, (int64_t)(r >> 12) % 50000)) == -ETIMEDOUT) {
                atomic_fetch_add(&timeouts, 1);
                sched_yield();
        }
        expect(p->life, waited == 0 || waited == -EIO || waited == -ECANCELED, "result of a wait");
        return result;
}

static int submit_somehow(struct producer *p)
{
        struct skua_target where = SKUA_TARGET_INIT;
        uint64_t r = next(&p->random);

        switch (r % 16) {
        case 0:
                return post(p->life, next(&p->random));
        case 1:
                where.flags = r & 256 ? SKUA_TRY : 0;
                return submit_array(p, &where);
        case 2:
                return run_and_wait(p);
        case 3:
                return use_group(p);
        case 4:
                sleep_a_little(r >> 8);
                return 0;
        default:
                return submit_one(p, r >> 8);
        }
}

/* Until it is told that the runtime closes, or that it is enough. */
static void *produce(void *arg)
{
        struct producer *p = arg;
        struct life *life = p->life;

        while (!atomic_load(&life->enough)) {
                int result;

                /* What goes to one worker is bound by nothing else. */
                if (atomic_load(&life->accepted.count) >
                    atomic_load(&life->entered.count) + AHEAD) {
                        sched_yield();
                        continue;
                }
                result = submit_somehow(p);
                if (result == -ESHUTDOWN)
                        break;
                expect(life, result == 0 || result == -EAGAIN, "result of a submission");
        }
        return NULL;
}

/* ------------------------------------------------------------------ lives */

static struct skua *start_somehow(uint64_t *random)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        uint64_t r = next(random);

        options.queue_limit = r & 1 ? 1 + (r >> 8) % 100 : 0;
        options.spin_ns = r & 2 ? (unsigned)SKUA_NONE : 0;
        options.stack_max = r % 8 == 4 ? 8 : 0;
        options.stack_bytes = RIG_ASAN || RIG_TSAN ? 0 : 65536;
        options.flags = r & 8 ? SKUA_NO_PIN : r & 16 ? SKUA_PIN : 0;
        return rig_start(1 + (unsigned)(r >> 32) % RIG_WORKERS_MAX, &options);
}

/* Some of it while the producers go on, some after they have ended. */
static void stop_somehow(struct life *life, uint64_t r)
{
        int result;

        if (r % 4 == 0)
                atomic_store(&life->enough, true);
        if (r % 8 == 1)
                skua_close(life->rt);
        atomic_store(&life->cancels, (r >> 8) % 3 != 0);
        result = (r >> 8) % 3 == 0   ? skua_stop(life->rt, SKUA_DRAIN)
                 : (r >> 8) % 3 == 1 ? skua_stop(life->rt, SKUA_CANCEL)
                                     : skua_stop_within(life->rt, (int64_t)(r >> 16) % 2000000);
        expect(life, result >= 0, "result of a stop");
        atomic_store(&life->enough, true);
}

static void settle(struct life *life)
{
        unsigned long accepted = atomic_load(&life->accepted.count);
        unsigned long entered = atomic_load(&life->entered.count);

        expect(life, skua_group_wait(&life->top, 0) != -ETIMEDOUT, "the group of all");
        expect(life, accepted == entered && life->accepted.names == life->entered.names,
               "accepted is not entered");
        if (atomic_load(&life->wrong))
                printf("# life %#llx: accepted %lu, entered %lu\n", (unsigned long long)life->seed,
                       accepted, entered);
        atomic_fetch_add(&total.accepted.count, accepted);
        atomic_fetch_add(&total.entered.count, entered);
        atomic_fetch_add(&total.wrong, atomic_load(&life->wrong));
        atomic_fetch_add(&lives, 1);
}

static void live(struct life *life, uint64_t seed)
{
        unsigned count;
        struct producer producers[PRODUCERS_MAX];
        pthread_t threads[PRODUCERS_MAX];
        uint64_t random = seed;
        unsigned long goal;

        memset((void *)life, 0, sizeof *life);
        life->seed = seed;
        skua_group_init(&life->top);
        life->rt = start_somehow(&random);
        count = 1 + (unsigned)next(&random) % PRODUCERS_MAX;
        goal = next(&random) % 4000;
        for (unsigned i = 0; i < count; i++) {
                producers[i] = (struct producer){life, rig_mix(seed + 1 + i)};
                threads[i] = go(produce, &producers[i]);
        }
        while (atomic_load(&life->entered.count) < goal && !time_is_up())
                sleep_a_little(1);
        if (next(&random) % 4 == 0)
                skua_group_cancel(&life->top);
        stop_somehow(life, next(&random));
        for (unsigned i = 0; i < count; i++)
                join(threads[i]);
        settle(life);
}

static void *stream(void *arg)
{
        static struct life room[STREAMS];
        unsigned index = (unsigned)(uintptr_t)arg;

        for (uint64_t i = 0; !time_is_up(); i++)
                live(&room[index], rig_mix(tap_seed_ + index) + i);
        return NULL;
}

/* Moves every thread of the process to some CPU, or lets it go where it likes. */
static void move_threads(const cpu_set_t *all, uint64_t *random)
{
        DIR *tasks = opendir("/proc/self/task");
        struct dirent *entry;

        while (tasks && (entry = readdir(tasks))) {
                uint64_t r = next(random);
                pid_t id = (pid_t)atoi(entry->d_name);
                unsigned cpu = (unsigned)(r >> 16) % CPU_SETSIZE;
                cpu_set_t one;

                if (!id || r % 4 == 0)
                        continue;
                while (!CPU_ISSET(cpu, all))
                        cpu = (cpu + 1) % CPU_SETSIZE;
                CPU_ZERO(&one);
                CPU_SET(cpu, &one);
                sched_setaffinity(id, sizeof one, r & 8 ? &one : all);
        }
        if (tasks)
                closedir(tasks);
}

static void *move(void *arg)
{
        const cpu_set_t *all = arg;
        uint64_t random = rig_mix(tap_seed_ ^ 0x30fe);

        while (!time_is_up()) {
                move_threads(all, &random);
                sleep_a_little(next(&random) | 1);
        }
        return NULL;
}

/* Each other seed takes this machine for one of two nodes. */
static void choose_machine(void)
{
        static const char two_nodes[] = "node0/cpulist: 0; node1/cpulist: 1; "
                                        "node0/distance: 10 20; node1/distance: 20 10; "
                                        "sys/devices/system/cpu/online: 0-1";

        if (!(rig_mix(tap_seed_) & 1))
                return;
        printf("# with two nodes\n");
        setenv("SKUA_SYSROOT", tree_make("two", two_nodes), 1);
}

int main(void)
{
        const char *text = getenv("SOAK_SECONDS");
        unsigned seconds = text && atoi(text) > 0 ? (unsigned)atoi(text) : 2, used = 0;
        pthread_t threads[STREAMS], mover;
        cpu_set_t all;

        tap_plan(CHECKS, seconds + 60);
        deadline_ns = skua_now_ns() + (int64_t)seconds * 1000000000;
        sched_getaffinity(0, sizeof all, &all);
        choose_machine();
        mover = go(move, &all);
        for (uintptr_t i = 0; i < STREAMS; i++)
                threads[i] = go(stream, (void *)i);
        for (unsigned i = 0; i < STREAMS; i++)
                join(threads[i]);
        join(mover);
        for (unsigned i = 0; i < DEEDS; i++) {
                used += atomic_load(&deeds[i]) > 0;
                printf("# %lu %s\n", atomic_load(&deeds[i]), deed_names[i]);
        }
        tap_is((long long)atomic_load(&total.entered.count),
               (long long)atomic_load(&total.accepted.count), "what was accepted was entered");
        tap_is((long long)atomic_load(&total.wrong), 0,
               "each once in each life, no refused one, and nothing went wrong");
        tap_is(used, DEEDS, "jobs have done everything");
        tap_ok(atomic_load(&lives) >= 2, "%lu lives, %lu jobs in %u s", atomic_load(&lives),
               atomic_load(&total.entered.count), seconds);
        tap_ok(atomic_load(&refusals) || seconds < 3, "%lu refused, %lu cancelled, %lu time-outs",
               atomic_load(&refusals), atomic_load(&cancelled_jobs), atomic_load(&timeouts));
        return tap_done();
}
