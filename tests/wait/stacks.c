/* SPDX-License-Identifier: MIT
 *
 * The memory of stacks: many in few mappings, passed on between workers, given back when there is
 * nothing to do; and the bound: what can go on goes before what is new.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>

#include "core/worker.h"
#include "rig.h"
#include "wait/stack.h"

#define STACK_BYTES ((size_t)256 << 10)

static atomic_uint wrong;

static unsigned take_wrong(void)
{
        return atomic_exchange(&wrong, 0);
}

static struct skua *start(unsigned workers, size_t stack_max)
{
        struct skua_options options = SKUA_OPTIONS_INIT;

        options.stack_bytes = STACK_BYTES;
        options.stack_max = stack_max;
        return rig_start(workers, &options);
}

static struct skua_stats stats_of(struct skua *rt)
{
        struct skua_stats stats = {.size = sizeof stats};

        wrong += skua_stats_read(rt, &stats) != 0;
        return stats;
}

static void submit_to_worker(struct skua *rt, struct skua_group *group, struct skua_job *job,
                             unsigned index)
{
        struct skua_target target = SKUA_TARGET_INIT;

        target.worker = SKUA_WORKER(index);
        target.group = group;
        wrong += skua_submit_to(rt, job, &target) != 0;
}

/* ------------------------------------------------------------------ jobs that wait */

struct waiting {
        struct skua_job job;
        struct crowd *crowd;
        _Atomic(char *) low; /* of its stack */
        unsigned depth_bytes;
};

struct crowd {
        struct skua_group gate, all;
        struct waiting *jobs;
        unsigned count;
};

static __attribute__((noinline)) void touch(unsigned bytes)
{
        volatile char room[4096];

        room[0] = 1;
        if (bytes > sizeof room)
                touch(bytes - (unsigned)sizeof room);
        room[1] = room[0];
}

static void waiting_run(struct skua_worker *self, struct skua_job *job)
{
        struct waiting *w = skua_container(job, struct waiting, job);

        w->low = worker_of(self)->stack->low;
        touch(w->depth_bytes);
        wrong += skua_await_group(self, &w->crowd->gate) != 0;
}

static void crowd_begin(struct crowd *c, struct skua *rt, unsigned index, unsigned depth_bytes)
{
        uint64_t before = rig_suspended(rt);

        skua_group_init(&c->gate);
        skua_group_init(&c->all);
        skua_group_hold(&c->gate, 1);
        for (unsigned i = 0; i < c->count; i++) {
                c->jobs[i] = (struct waiting){.crowd = c, .depth_bytes = depth_bytes};
                skua_job_init(&c->jobs[i].job, waiting_run);
                submit_to_worker(rt, &c->all, &c->jobs[i].job, index);
        }
        rig_until_suspended(rt, before + c->count);
}

static void crowd_end(struct crowd *c)
{
        skua_group_release(&c->gate, 0);
        wrong += skua_group_wait(&c->all, -1) != 0;
}

static struct crowd crowd_new(unsigned count)
{
        struct crowd c = {.jobs = calloc(count, sizeof *c.jobs), .count = count};

        return c;
}

/* Pages of the process's own address space that are there. */
static size_t resident(const char *low, size_t bytes)
{
        size_t page_bytes = kernel_page_bytes(), count = 0;
        unsigned char pages[STACK_BYTES / 4096 + 32];

        if (mincore((void *)(uintptr_t)low, bytes, pages))
                return 0;
        for (size_t i = 0; i < bytes / page_bytes; i++)
                count += pages[i] & 1;
        return count;
}

static unsigned count_lines(const char *path)
{
        FILE *file = fopen(path, "r");
        unsigned count = 0;
        int c;

        while (file && (c = getc(file)) != EOF)
                count += c == '\n';
        if (file)
                fclose(file);
        return count;
}

/* Does this kernel give guards without mappings? */
static bool guards_are_free(void)
{
        char *page = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
        bool works = !madvise(page, 65536, 102) && read(zero, page, 1) < 0;

        close(zero);
        munmap(page, 65536);
        return works;
}

/* ------------------------------------------------------------------ many */

static void test_many(void)
{
        /* TSan has no room for more than 8,000 stacks. */
        struct crowd c = crowd_new(RIG_TSAN ? 300 : rig_rounds(3000));
        struct skua *rt = start(1, 0);
        unsigned before = count_lines("/proc/self/maps"), during, large = 0;
        struct skua_stats stats;

        crowd_begin(&c, rt, 0, 0);
        during = count_lines("/proc/self/maps");
        stats = stats_of(rt);
        for (unsigned i = 0; i < c.count; i++)
                large += resident(c.jobs[i].low + KERNEL_GUARD_BYTES, STACK_BYTES) > 2;
        if (RIG_TSAN)
                tap_skip(1, "the thread sanitizer maps memory for each stack");
        else if (guards_are_free() && before)
                tap_ok(during - before < c.count / 16 + 8, "%u stacks in %u mappings", c.count,
                       during - before);
        else
                tap_skip(1, "guards take mappings here, or they cannot be counted");
        if (RIG_ASAN || RIG_TSAN)
                tap_skip(1, "sanitizers have larger frames");
        else
                tap_is(large, 0, "a job that waits has touched two pages of its stack at most");
        tap_ok(stats.stacks > c.count && stats.stacks < c.count + 80, "they are counted");
        crowd_end(&c);
        rig_until_idle(rt, 1);
        stats = stats_of(rt);
        tap_ok(stats.stacks <= 80, "the worker keeps a few: %llu",
               (unsigned long long)stats.stacks);
        tap_ok(stats.stacks_most > c.count && stats.stacks_most < c.count + 80 &&
                       !stats.stacks_beyond,
               "how many there have been stays known: %llu", (unsigned long long)stats.stacks_most);
        rig_stop(rt);
        free(c.jobs);
        tap_is(take_wrong(), 0, "and all have gone on");
}

static unsigned mapped_pages(void)
{
        FILE *file = fopen("/proc/self/statm", "r");
        unsigned pages = 0;

        if (file && fscanf(file, "%u", &pages) != 1)
                pages = 0;
        if (file)
                fclose(file);
        return pages;
}

/* Another worker of the node of the first. */
static unsigned neighbour(const struct runtime *rt)
{
        unsigned i = 1;

        while (i < rt->worker_count && rt->workers[i]->node_index != rt->workers[0]->node_index)
                i++;
        return i;
}

/* What one worker's jobs do not need any more serves another's of its node: but for what a worker
 * keeps, and slabs that it shares with others. With one worker more than there are CPUs, two have
 * the same CPU. */
static void test_passing_on(void)
{
        enum { KEPT = 3 * 64 };
        struct crowd c = crowd_new(RIG_TSAN ? 300 : 800);
        struct skua *rt = start((unsigned)get_nprocs() + 1, 0);
        unsigned stack_pages = (unsigned)(runtime_of(rt)->stack_stride / kernel_page_bytes());
        const char *emulator = getenv("EMULATOR");
        unsigned first, second;

        crowd_begin(&c, rt, 0, 0);
        first = mapped_pages();
        crowd_end(&c);
        crowd_begin(&c, rt, neighbour(runtime_of(rt)), 0);
        second = mapped_pages();
        crowd_end(&c);
        rig_stop(rt);
        if (RIG_ASAN || RIG_TSAN)
                tap_skip(1, "sanitizers map memory for each stack");
        else if (emulator && *emulator)
                tap_skip(1, "the emulator's own memory is counted, too");
        else
                tap_ok(second < first + KEPT * stack_pages,
                       "what one worker needed serves the other: %u and %u pages", first, second);
        tap_is(take_wrong(), 0, "in waves");
        free(c.jobs);
}

/* ------------------------------------------------------------------ idleness */

/* Of stacks that jobs have used deeply, and of the one on which the loop is now. */
static void test_idle(void)
{
        enum { DEEP = STACK_BYTES / 2 };
        size_t deep_pages = DEEP / 4 * 3 / kernel_page_bytes();

        for (unsigned workers = 1; workers <= 2; workers++) {
                struct crowd c = crowd_new(100);
                struct skua *rt = start(workers, 0);
                unsigned few = 0;

                crowd_begin(&c, rt, workers - 1, DEEP);
                for (unsigned i = 0; i < c.count; i++)
                        few += resident(c.jobs[i].low + KERNEL_GUARD_BYTES, STACK_BYTES) <
                               deep_pages;
                tap_is(few, 0, "jobs that have used their stacks");
                crowd_end(&c);
                /* The watchdog ends what never comes. A stack may be unmapped by then. */
                for (unsigned i = 0; i < c.count; i++)
                        while (resident(c.jobs[i].low + KERNEL_GUARD_BYTES, STACK_BYTES) > 8)
                                sched_yield();
                tap_ok(true, "an idle runtime gives their memory back");
                crowd_begin(&c, rt, 0, DEEP);
                crowd_end(&c);
                rig_stop(rt);
                tap_is(take_wrong(), 0, "and can use them again");
                free(c.jobs);
        }
}

/* ------------------------------------------------------------------ the bound */

/* While the first EARLY links end, more wait than the bound allows. */
enum { CHAIN = 300, EARLY = CHAIN / 3, BOUND = CHAIN / 2, NEW = 50 };

/* Each waits for the one before it. */
struct chain {
        struct link {
                struct skua_job job;
                struct skua_group gate;
                struct chain *chain;
        } links[CHAIN];
        struct skua_job blocker, fresh[NEW];
        struct skua_group all;
        atomic_uint blocked, go_on;
        unsigned ended, began_early, began; /* of the worker's jobs */
};

static struct chain chain;

static void link_run(struct skua_worker *self, struct skua_job *job)
{
        struct link *l = skua_container(job, struct link, job);
        unsigned index = (unsigned)(l - l->chain->links);

        wrong += skua_await_group(self, &l->gate) != 0;
        l->chain->ended++;
        if (index + 1 < CHAIN)
                skua_group_release(&l->chain->links[index + 1].gate, 0);
}

static void fresh_run(struct skua_worker *self, struct skua_job *job)
{
        (void)self;
        (void)job;
        chain.began++;
        chain.began_early += chain.ended < EARLY;
}

/* Keeps the worker until there is something to go on with and something new. */
static void blocker_run(struct skua_worker *self, struct skua_job *job)
{
        (void)self;
        (void)job;
        atomic_store(&chain.blocked, 1);
        rig_until(&chain.go_on, 1);
}

static void run_chain(struct skua *rt)
{
        memset(&chain, 0, sizeof chain);
        skua_group_init(&chain.all);
        for (unsigned i = 0; i < CHAIN; i++) {
                struct link *l = &chain.links[i];

                l->chain = &chain;
                skua_group_init(&l->gate);
                skua_group_hold(&l->gate, 1);
                skua_job_init(&l->job, link_run);
                skua_group_submit(rt, &chain.all, &l->job);
        }
        rig_until_suspended(rt, CHAIN);
        skua_job_init(&chain.blocker, blocker_run);
        skua_group_submit(rt, &chain.all, &chain.blocker);
        rig_until(&chain.blocked, 1);
        skua_group_release(&chain.links[0].gate, 0);
        for (unsigned i = 0; i < NEW; i++) {
                skua_job_init(&chain.fresh[i], fresh_run);
                skua_group_submit(rt, &chain.all, &chain.fresh[i]);
        }
        atomic_store(&chain.go_on, 1);
        wrong += skua_group_wait(&chain.all, -1) != 0;
}

static void test_bound(void)
{
        struct skua *rt = start(1, BOUND);

        run_chain(rt);
        tap_is(chain.began_early, 0, "at the bound new jobs wait while others can go on");
        tap_is(chain.ended + chain.began, CHAIN + NEW, "all have ended");
        tap_ok(stats_of(rt).stacks_beyond >= CHAIN - BOUND,
               "where nothing else can go on, stacks beyond it are taken, and counted");
        rig_stop(rt);
        rt = start(1, 0);
        run_chain(rt);
        tap_ok(chain.began_early > 0, "below it old and new take turns");
        tap_is((long long)stats_of(rt).stacks_beyond, 0, "and nothing is beyond it");
        rig_stop(rt);
        tap_is(take_wrong(), 0, "no await has failed");
}

/* Timers and completions are looked at although no stack is left for the loop. */
struct sleeper {
        struct skua_job job;
        struct skua_timer timer;
        struct skua_group gate;
};

static void timer_run(struct skua_worker *self, struct skua_job *job)
{
        struct sleeper *s = skua_container(skua_container(job, struct skua_timer, job),
                                           struct sleeper, timer);

        (void)self;
        skua_group_release(&s->gate, 0);
}

static void sleeper_run(struct skua_worker *self, struct skua_job *job)
{
        struct sleeper *s = skua_container(job, struct sleeper, job);

        skua_timer_start(self, &s->timer, skua_now_ns() + 1000000);
        wrong += skua_await_group(self, &s->gate) != 0;
}

static void test_bound_timers(void)
{
        enum { SLEEPERS = 200 };
        struct sleeper *all = calloc(SLEEPERS, sizeof *all);

        for (unsigned workers = 1; workers <= 4; workers++) {
                struct skua *rt = start(workers, 10);
                struct skua_group group;

                skua_group_init(&group);
                for (unsigned i = 0; i < SLEEPERS; i++) {
                        skua_timer_init(&all[i].timer, timer_run);
                        skua_group_init(&all[i].gate);
                        skua_group_hold(&all[i].gate, 1);
                        skua_job_init(&all[i].job, sleeper_run);
                        skua_group_submit(rt, &group, &all[i].job);
                }
                wrong += skua_group_wait(&group, -1) != 0;
                rig_stop(rt);
                tap_is(take_wrong(), 0, "jobs that wait for timers at the bound");
        }
        free(all);
}

int main(void)
{
        tap_plan(6 + 2 + 6 + 6 + 4, 120);
        test_many();
        test_passing_on();
        test_idle();
        test_bound();
        test_bound_timers();
        return tap_done();
}
