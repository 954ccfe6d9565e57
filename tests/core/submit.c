/* SPDX-License-Identifier: MIT
 *
 * Handing over jobs, in every way there is: targets, arrays, order, what is refused and why. What a
 * bound does is in room.c.
 */
#include "core/item.h"

enum { CHECKS = 99 };

/* ------------------------------------------------------------------ what is refused */

static int to(struct skua *rt, const struct skua_target *where)
{
        static struct tally tally;
        static struct item item;
        unsigned before = tally_read(&tally);
        int result;

        item_init(&item, &tally, 0);
        result = skua_submit_to(rt, &item.job, where);
        if (!result)
                tally_wait(&tally, before + 1);
        else if (item.worker != UINT_MAX || item.job.next_ || item.job.owner_ || item.job.flags_)
                return 1;
        return result;
}

#define EXPECT(expected, ...)                               \
        do {                                                \
                struct skua_target t = SKUA_TARGET_INIT;    \
                __VA_ARGS__;                                \
                tap_is(to(rt, &t), expected, #__VA_ARGS__); \
        } while (0)

static void check_targets(struct skua *rt)
{
        static struct skua_strand strand; /* left after the job has been waited for */
        struct {
                struct skua_target target;
                char more[64];
        } later = {.target = SKUA_TARGET_INIT};

        tap_is(to(rt, NULL), 0, "no target");
        EXPECT(0, (void)t);
        EXPECT(0, t.flags = SKUA_TRY);
        EXPECT(-EINVAL, t.flags = 4);
        EXPECT(-EINVAL, t.flags = SKUA_TRY | 1u << 31);
        EXPECT(-EINVAL, t.flags = SKUA_BLOCKING, t.worker = SKUA_WORKER(0));
        EXPECT(-EOPNOTSUPP, t.priority = SKUA_HIGH);
        EXPECT(-EOPNOTSUPP, t.priority = SKUA_LOW);
        EXPECT(-EINVAL, t.priority = 2);
        EXPECT(-EINVAL, t.priority = INT_MIN);
        skua_strand_init(&strand);
        EXPECT(0, t.strand = &strand);
        EXPECT(0, t.strand = &strand, t.worker = SKUA_WORKER(0));
        EXPECT(0, t.delay_ns = 1);
        EXPECT(-EINVAL, t.delay_ns = -1);
        EXPECT(0, t.deadline_ns = 1);
        EXPECT(0, t.deadline_ns = INT64_MAX);
        EXPECT(-EINVAL, t.deadline_ns = INT64_MIN);
        EXPECT(0, t.worker = SKUA_WORKER(skua_workers(rt) - 1));
        EXPECT(-EINVAL, t.worker = SKUA_WORKER(skua_workers(rt)));
        EXPECT(-EINVAL, t.worker = UINT_MAX);
        EXPECT(-EINVAL, t.node = SKUA_NODE(1000000));
        EXPECT(-EINVAL, t.node = UINT_MAX);
        EXPECT(-EINVAL, t.size = 0);
        EXPECT(-EINVAL, t.size = sizeof t - 1);
        EXPECT(-EINVAL, t.size = SIZE_MAX);
        later.target.size = sizeof later;
        tap_is(to(rt, &later.target), 0, "a later version's target, its new fields zero");
        later.more[63] = 1;
        tap_is(to(rt, &later.target), -EOPNOTSUPP, "one of them not");
}

static void no_call(struct skua_worker *self, void *arg)
{
        (void)self, (void)arg;
}

static void check_nothing(struct skua *rt)
{
        struct skua_group group;
        struct skua_job job;

        skua_group_init(&group);
        skua_job_init(&job, item_run);
        tap_is(skua_submit(NULL, &job), -EINVAL, "no runtime");
        tap_is(skua_submit(rt, NULL), -EINVAL, "no job");
        tap_is(skua_try_submit(NULL, &job), -EINVAL, "no runtime to try");
        tap_is(skua_try_submit(rt, NULL), -EINVAL, "no job to try");
        tap_is(skua_submit_to(rt, NULL, NULL), -EINVAL, "nothing at all");
        tap_is(skua_submit_array(rt, NULL, 1, 64, NULL), -EINVAL, "no array");
        tap_is(skua_submit_array(NULL, &job, 1, 64, NULL), -EINVAL, "an array for nobody");
        tap_is(skua_submit_array(rt, &job, 2, 63, NULL), -EINVAL, "jobs that overlap");
        tap_is(skua_submit_array(rt, &job, SIZE_MAX, 64, NULL), -EINVAL, "more than can be");
        tap_is(skua_submit_array(rt, &job, (size_t)SSIZE_MAX, 64, NULL), -EINVAL,
               "more than memory can hold");
        tap_is(skua_submit_array(rt, &job, (size_t)1 << 40, (size_t)1 << 40, NULL), -EINVAL,
               "in whatever shape");
        tap_is(skua_group_submit(rt, NULL, &job), -EINVAL, "no group");
        tap_is(skua_group_submit(rt, &group, NULL), -EINVAL, "a group, but no job");
        tap_is(skua_group_wait(&group, 0), 0, "which is not counted");
        tap_is(skua_post(rt, NULL, NULL, 0), -EINVAL, "no function");
        tap_is(skua_post(rt, no_call, NULL, 1), -EINVAL, "no bytes");
        tap_is(skua_post(rt, no_call, "", SIZE_MAX), -EINVAL, "too many");
        tap_is(skua_run(rt, NULL, NULL), -EINVAL, "nothing to run");
        tap_is(stats_of(rt).submitted, stats_of(rt).run, "and nothing of it is counted");
}

/* ------------------------------------------------------------------ places */

/* Each to a worker, in order, though the others have nothing to do. */
static void check_workers(struct skua *rt)
{
        unsigned workers = skua_workers(rt), each = rig_rounds(2000), wrong = 0;
        struct item *items = calloc((size_t)workers * each, sizeof *items);
        unsigned order[8] = {0};
        struct tally tally = {0};

        for (unsigned i = 0; i < workers * each; i++) {
                struct skua_target where = SKUA_TARGET_INIT;

                item_init(&items[i], &tally, i / workers);
                items[i].order = &order[i % workers];
                where.worker = SKUA_WORKER(i % workers);
                wrong += skua_submit_to(rt, &items[i].job, &where) != 0;
        }
        tally_wait(&tally, workers * each);
        for (unsigned i = 0; i < workers * each; i++)
                wrong += items[i].worker != i % workers || items[i].place != i / workers;
        tap_is(wrong, 0, "to a worker: there, in order, never stolen");
        free(items);
}

static void check_worker_kept(struct skua *rt)
{
        struct gatekeeper keeper;
        struct skua_target where = SKUA_TARGET_INIT;
        struct tally tally = {0}, others = {0};
        struct item mine, other[50];

        keep(rt, &keeper, 0);
        where.worker = SKUA_WORKER(0);
        item_init(&mine, &tally, 0);
        skua_submit_to(rt, &mine.job, &where);
        for (unsigned i = 0; i < 50; i++) {
                item_init(&other[i], &others, i);
                skua_submit(rt, &other[i].job);
        }
        tally_wait(&others, 50);
        tap_is(tally_read(&tally), 0, "a busy worker's own job waits, whoever is idle");
        let_go(&keeper);
        tally_wait(&tally, 1);
        tap_is(mine.worker, 0, "and is run there");
}

static void check_node(struct skua *rt)
{
        struct skua_target where = SKUA_TARGET_INIT;
        struct tally tally = {0};
        struct item item;
        unsigned node;

        item_init(&item, &tally, 0);
        skua_submit(rt, &item.job);
        tally_wait(&tally, 1);
        node = item.node;
        where.node = SKUA_NODE(node);
        item_init(&item, &tally, 0);
        tap_is(skua_submit_to(rt, &item.job, &where), 0, "to a node that has workers");
        tally_wait(&tally, 2);
        /* Where there are several, a searching worker of another may have been quicker. */
        tap_ok(item.node == node || runtime_of(rt)->node_count > 1, "it runs on one of them");
        where.worker = SKUA_WORKER(0);
        tap_is(skua_submit_to(rt, &item.job, &where), -EINVAL, "a node and a worker: which?");
}

/* ------------------------------------------------------------------ arrays */

struct wide {
        char before[40];
        struct item item;
        char after[24];
};

static void check_array(struct skua *rt)
{
        enum { COUNT = 500 };
        struct wide *wide = calloc(COUNT, sizeof *wide);
        struct skua_target where = SKUA_TARGET_INIT;
        struct skua_group group;
        struct tally tally = {0};
        unsigned wrong = 0, order = 0;

        skua_group_init(&group);
        for (unsigned i = 0; i < COUNT; i++)
                item_init(&wide[i].item, &tally, i);
        tap_is(skua_submit_array(rt, &wide->item.job, 0, 0, NULL), 0, "an array of none");
        tap_is(skua_submit_array(rt, &wide->item.job, 1, 0, NULL), 1, "one needs no stride");
        tally_wait(&tally, 1);
        where.group = &group;
        tap_is(skua_submit_array(rt, &wide->item.job, COUNT, sizeof *wide, &where), COUNT,
               "an array, all of it");
        tap_is(skua_group_wait(&group, -1), 0, "in a group");
        tally_wait(&tally, 1 + COUNT);
        where.worker = SKUA_WORKER(0);
        for (unsigned i = 0; i < COUNT; i++) {
                wide[i].item.order = &order;
                wide[i].item.fails = i == 7 ? ENOENT : 0;
        }
        tap_is(skua_submit_array(rt, &wide->item.job, COUNT, sizeof *wide, &where), COUNT,
               "to a worker");
        tap_is(skua_group_wait(&group, -1), -ENOENT, "with an error");
        for (unsigned i = 0; i < COUNT; i++)
                wrong += wide[i].item.place != i || wide[i].item.worker != 0;
        tap_is(wrong, 0, "in order");
        free(wide);
}

/* ------------------------------------------------------------------ order */

static void check_fifo(unsigned spawns, const char *name)
{
        unsigned count = rig_rounds(20000), order = 0, wrong = 0;
        struct item *items = calloc(count, sizeof *items);
        struct tally tally = {0};
        struct gatekeeper keeper;
        struct skua *rt = rig_start(1, NULL);
        unsigned last = 0;

        keep(rt, &keeper, 0);
        for (unsigned i = 0; i < count; i++) {
                item_init(&items[i], &tally, i);
                items[i].order = &order;
                skua_submit(rt, &items[i].job);
        }
        /* Spawned work comes between, not before its turn in the queue. */
        for (unsigned i = 0; spawns && i < count; i += 100)
                items[i].spawns = spawns;
        let_go(&keeper);
        tally_wait(&tally, count + (spawns ? (count + 99) / 100 * spawns : 0));
        for (unsigned i = 0; i < count; i++) {
                if (spawns && i % 100 == 0)
                        continue; /* place is that of its last run */
                wrong += items[i].place < last;
                last = items[i].place;
        }
        tap_is(wrong, 0, name);
        rig_stop(rt);
        free(items);
}

/* A job that spawns itself for ever must not keep others from their turn. */
struct greedy {
        struct skua_job job;
        atomic_bool stop;
        struct tally ended;
};

static void greedy_run(struct skua_worker *self, struct skua_job *job)
{
        struct greedy *greedy = skua_container(job, struct greedy, job);

        if (atomic_load(&greedy->stop))
                tally_add(&greedy->ended, 1);
        else
                skua_spawn(self, job);
}

static void check_fair(unsigned workers)
{
        struct skua *rt = rig_start(workers, NULL);
        struct greedy greedy[8] = {{.stop = false}};
        struct tally tally = {0};
        unsigned rounds = rig_rounds(200);
        struct item item;

        for (unsigned i = 0; i < workers; i++) {
                skua_job_init(&greedy[i].job, greedy_run);
                skua_submit(rt, &greedy[i].job);
        }
        for (unsigned i = 0; i < rounds; i++) {
                item_init(&item, &tally, i);
                skua_submit(rt, &item.job);
                tally_wait(&tally, i + 1);
        }
        tap_ok(true, "%u workers that spawn without end still take what is submitted", workers);
        for (unsigned i = 0; i < workers; i++) {
                atomic_store(&greedy[i].stop, true);
                tally_wait(&greedy[i].ended, 1);
        }
        rig_stop(rt);
}

/* ------------------------------------------------------------------ copies */

struct parcel {
        struct tally *tally;
        unsigned char bytes[100];
};

static void open_parcel(struct skua_worker *self, void *arg)
{
        struct parcel *parcel = arg;
        unsigned sum = 0;

        (void)self;
        for (unsigned i = 0; i < sizeof parcel->bytes; i++)
                sum += parcel->bytes[i];
        tally_add(parcel->tally,
                  sum == 100 * parcel->bytes[0] && (uintptr_t)arg % _Alignof(max_align_t) == 0);
}

static void check_post(struct skua *rt)
{
        unsigned count = rig_rounds(5000);
        struct tally tally = {0};
        struct parcel *parcel = malloc(sizeof *parcel);

        parcel->tally = &tally;
        for (unsigned i = 0; i < count; i++) {
                memset(parcel->bytes, (int)i, sizeof parcel->bytes);
                skua_post(rt, open_parcel, parcel, sizeof *parcel);
        }
        memset(parcel, 0xff, sizeof *parcel);
        free(parcel);
        tally_wait(&tally, count);
        tap_is(tally_read(&tally), count, "posted bytes are copies");
        tap_is(skua_post(rt, no_call, NULL, 0), 0, "none is fine too");
}

/* ------------------------------------------------------------------ very many */

static uint64_t memory_free(void)
{
        char line[128];
        unsigned long long kib = 0;
        FILE *in = fopen("/proc/meminfo", "r");

        while (in && fgets(line, sizeof line, in))
                if (sscanf(line, "MemAvailable: %llu", &kib) == 1)
                        break;
        if (in)
                fclose(in);
        return kib * 1024;
}

static atomic_uint tiny_count;

static void tiny_run(struct skua_worker *self, struct skua_job *job)
{
        (void)self, (void)job;
        atomic_fetch_add_explicit(&tiny_count, 1, memory_order_relaxed);
}

static void check_many(void)
{
        size_t count = 10000000;
        bool less = getenv("TAP_SLOW") || RIG_TSAN || RIG_ASAN ||
                    memory_free() < 3 * count * sizeof(struct skua_job);
        struct gatekeeper keepers[2];
        struct skua_job *jobs;
        struct skua *rt = rig_start(2, NULL);

        if (less)
                count = rig_rounds(1000000);
        jobs = malloc(count * sizeof *jobs);
        for (unsigned i = 0; i < 2; i++)
                keep(rt, &keepers[i], i);
        for (size_t i = 0; i < count; i++)
                skua_job_init(&jobs[i], tiny_run);
        for (size_t i = 0; i < count / 2; i++)
                skua_submit(rt, &jobs[i]);
        skua_submit_array(rt, &jobs[count / 2], count - count / 2, sizeof *jobs, NULL);
        tap_is((long long)stats_of(rt).queued, (long long)count,
               less ? "a million jobs (or fewer) are queued: slow, or too little memory for more"
                    : "ten million jobs are queued");
        for (unsigned i = 0; i < 2; i++)
                let_go(&keepers[i]);
        rig_stop(rt);
        tap_is(atomic_load(&tiny_count), (long long)count, "and run");
        free(jobs);
}

int main(void)
{
        tap_plan(CHECKS, 120);
        for (unsigned workers = 1; workers <= 5; workers += 4) {
                struct skua *rt = rig_start(workers, NULL);

                check_nothing(rt);
                if (workers > 1) {
                        check_targets(rt);
                        check_worker_kept(rt);
                }
                check_workers(rt);
                check_node(rt);
                check_array(rt);
                check_post(rt);
                rig_stop(rt);
        }
        check_fifo(0, "one worker: strictly first in, first out");
        check_fifo(200, "also when jobs spawn");
        check_fair(1);
        check_fair(4);
        check_many();
        return tap_done();
}
