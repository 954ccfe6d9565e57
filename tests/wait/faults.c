/* SPDX-License-Identifier: MIT
 *
 * The n-th mapping, protection, thread or allocation of a start fails, for every n: the answer is
 * -ENOMEM or -EAGAIN, and nothing is left behind. And without memory for stacks, jobs that wait
 * lose nothing: their worker waits with them.
 */
/* link: -Wl,--wrap=mmap,--wrap=munmap,--wrap=mprotect,--wrap=pthread_create */
/* link: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free */
#include <dirent.h>
#include <pthread.h>
#include <sys/mman.h>

#include "rig.h"

static atomic_uint wrong;

static unsigned take_wrong(void)
{
        return atomic_exchange(&wrong, 0);
}

/* ------------------------------------------------------------------ calls that can fail */

enum call { CALL_MMAP, CALL_MPROTECT, CALL_THREAD, CALL_MALLOC, CALLS };

static const char *const call_names[CALLS] = {"mmap", "mprotect", "pthread_create", "malloc"};

static atomic_int fail_at[CALLS]; /* 0: never; 1: the next one */
static atomic_bool fail_all;      /* mappings only */
static atomic_uint failed;
static atomic_llong mapped_bytes, allocated;

static bool fails(enum call call)
{
        int left = atomic_load(&fail_at[call]);

        if (call == CALL_MMAP && atomic_load(&fail_all)) {
                failed++;
                return true;
        }
        if (!left || atomic_fetch_sub(&fail_at[call], 1) != 1)
                return false;
        failed++;
        return true;
}

/* What was allocated by a wrapped call: the C library's own allocations, freed by others, are not
 * our affair. */
enum { TRACKED = 4096 };
static void *tracked[TRACKED];
static atomic_flag tracking = ATOMIC_FLAG_INIT;

/* Puts `new` where `old` is. False: `old` is not there. */
static bool track(const void *old, void *new)
{
        unsigned i = 0;

        while (atomic_flag_test_and_set(&tracking))
                sched_yield();
        while (i < TRACKED && tracked[i] != old)
                i++;
        if (i < TRACKED)
                tracked[i] = new;
        atomic_flag_clear(&tracking);
        return i < TRACKED;
}

static void *track_new(void *memory)
{
        if (memory && track(NULL, memory))
                allocated++;
        return memory;
}

static void track_end(void *memory)
{
        if (memory && track(memory, NULL))
                allocated--;
}

void *__real_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *memory, size_t bytes);
int __real_mprotect(void *memory, size_t bytes, int protection);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*entry)(void *), void *arg);
void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void __real_free(void *memory);

void *__wrap_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
        void *memory;

        if (fails(CALL_MMAP)) {
                errno = ENOMEM;
                return MAP_FAILED;
        }
        memory = __real_mmap(at, bytes, protection, flags, fd, offset);
        if (memory != MAP_FAILED)
                mapped_bytes += (long long)bytes;
        return memory;
}

int __wrap_munmap(void *memory, size_t bytes);
int __wrap_munmap(void *memory, size_t bytes)
{
        mapped_bytes -= (long long)bytes;
        return __real_munmap(memory, bytes);
}

int __wrap_mprotect(void *memory, size_t bytes, int protection);
int __wrap_mprotect(void *memory, size_t bytes, int protection)
{
        if (fails(CALL_MPROTECT)) {
                errno = ENOMEM;
                return -1;
        }
        return __real_mprotect(memory, bytes, protection);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*entry)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*entry)(void *), void *arg)
{
        return fails(CALL_THREAD) ? EAGAIN : __real_pthread_create(thread, attributes, entry, arg);
}

void *__wrap_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes)
{
        return fails(CALL_MALLOC) ? NULL : track_new(__real_malloc(bytes));
}

void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes)
{
        return fails(CALL_MALLOC) ? NULL : track_new(__real_calloc(count, bytes));
}

void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes)
{
        uintptr_t address = (uintptr_t)old;
        void *memory = fails(CALL_MALLOC) ? NULL : __real_realloc(old, bytes);

        if (memory && !old)
                track_new(memory);
        else if (memory)
                track((void *)address, memory);
        return memory;
}

void __wrap_free(void *memory);
void __wrap_free(void *memory)
{
        track_end(memory);
        __real_free(memory);
}

/* ------------------------------------------------------------------ starts that fail */

static unsigned entries(const char *folder)
{
        DIR *dir = opendir(folder);
        unsigned count = 0;

        while (dir && readdir(dir))
                count++;
        if (dir)
                closedir(dir);
        return count;
}

struct holdings {
        long long mapped, allocated;
        unsigned threads, descriptors;
};

static struct holdings holdings(void)
{
        struct holdings h = {mapped_bytes, allocated, entries("/proc/self/task"),
                             entries("/proc/self/fd")};

        return h;
}

/* A thread that has been joined may stay in /proc for a moment. */
static bool same_threads(unsigned before)
{
        for (unsigned i = 0; i < 100000; i++) {
                if (entries("/proc/self/task") == before)
                        return true;
                sched_yield();
        }
        return false;
}

static void work(struct skua_worker *self, size_t begin, size_t end, void *arg)
{
        (void)self;
        atomic_fetch_add((atomic_uint *)arg, (unsigned)(end - begin));
}

static void use_and_stop(struct skua *rt)
{
        atomic_uint sum = 0;

        wrong += skua_run_for(rt, 0, 1000, 1, work, &sum) != 0 || sum != 1000;
        rig_stop(rt);
}

static int start_failing(struct skua **rt, const struct skua_options *options, enum call call,
                         unsigned n)
{
        int result;

        failed = 0;
        fail_at[call] = (int)n;
        result = skua_start(rt, options);
        fail_at[call] = 0;
        return result;
}

/* Less than before may be allocated, where libnuma is linked in and drops what it kept. Returns
 * what is mapped in the end: a slot keeps its memory for the next runtime of its shape. */
static long long sweep(enum call call, const struct skua_options *options)
{
        int wanted = call == CALL_THREAD ? -EAGAIN : -ENOMEM;
        unsigned refused = 0, n = 0;
        struct holdings before = holdings(), after;

        do {
                struct skua *rt = NULL;
                int result = start_failing(&rt, options, call, ++n);

                if (!result)
                        use_and_stop(rt);
                refused += result == wanted;
                wrong += result && (result != wanted || !failed || rt);
                after = holdings();
                wrong += after.allocated > before.allocated;
                wrong += after.descriptors != before.descriptors || !same_threads(before.threads);
        } while (failed && n < 1000);
        tap_is(take_wrong(), 0, call_names[call]);
        tap_ok(refused > 0 && refused <= n - 1, "%u of %u failures were answered by an error",
               refused, n - 1);
        return after.mapped;
}

/* A shape that has not been before; then the size of its stacks changes to and fro, so that memory
 * is wanted again: each time the same is mapped in the end, whatever has failed on the way. */
static void sweeps(enum call call)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        long long mapped[2];

        options.workers = 2 + (unsigned)call;
        for (unsigned i = 0; i < 4; i++) {
                long long now;

                options.stack_bytes = i & 1 ? 512 << 10 : 256 << 10;
                now = sweep(call, &options);
                if (i >= 2)
                        tap_is(now, mapped[i & 1], "nothing has leaked");
                mapped[i & 1] = now;
        }
}

static void test_starts(void)
{
        unsigned threads = entries("/proc/self/task");

        /* What libraries keep for good. */
        rig_stop(rig_start(1, NULL));
        wrong += !same_threads(threads);
        for (unsigned call = 0; call < CALLS; call++)
                sweeps((enum call)call);
}

/* ------------------------------------------------------------------ waiting without memory */

struct waiting {
        struct skua_job job, helper;
        struct skua_group group;
        bool helped; /* released by a job of the same worker */
        int result;
};

static void waiting_helper(struct skua_worker *self, struct skua_job *job)
{
        struct waiting *w = skua_container(job, struct waiting, helper);

        (void)self;
        skua_group_release(&w->group, -EDOM);
}

static void waiting_run(struct skua_worker *self, struct skua_job *job)
{
        struct waiting *w = skua_container(job, struct waiting, job);

        if (w->helped) {
                skua_job_init(&w->helper, waiting_helper);
                skua_spawn(self, &w->helper);
        }
        w->result = skua_await_group(self, &w->group);
}

static void wait_without(bool helped)
{
        struct waiting w = {.helped = helped};
        struct skua *rt = rig_start(1, NULL);
        struct skua_group all;

        skua_group_init(&all);
        skua_group_init(&w.group);
        skua_group_hold(&w.group, 1);
        skua_job_init(&w.job, waiting_run);
        atomic_store(&fail_all, true);
        failed = 0;
        skua_group_submit(rt, &all, &w.job);
        rig_until_suspended(rt, 1);
        rig_until(&failed, 3); /* it has tried more than once */
        if (helped)
                atomic_store(&fail_all, false);
        else
                skua_group_release(&w.group, -EDOM);
        wrong += skua_group_wait(&all, -1) != 0;
        atomic_store(&fail_all, false);
        wrong += w.result != -EDOM || rig_suspended(rt) != 0;
        use_and_stop(rt);
}

struct tree {
        struct skua_job job;
        uint64_t seed, sum;
        unsigned depth;
};

static uint64_t tree(struct skua_worker *self, uint64_t seed, unsigned depth);

static void tree_run(struct skua_worker *self, struct skua_job *job)
{
        struct tree *t = skua_container(job, struct tree, job);

        t->sum = tree(self, t->seed, t->depth);
}

/* Forks, and jobs that are awaited, with memory that comes and goes. */
static uint64_t tree(struct skua_worker *self, uint64_t seed, unsigned depth)
{
        struct skua_group group;
        struct tree fork, job;
        uint64_t sum = rig_mix(seed);

        if (!depth)
                return sum;
        if (sum % 4 == 0)
                atomic_store(&fail_all, sum & 64);
        skua_group_init(&group);
        fork.seed = sum;
        fork.depth = job.depth = depth - 1;
        skua_fork(self, &fork.job, tree_run);
        skua_job_init(&job.job, tree_run);
        job.seed = sum + 1;
        skua_group_spawn(self, &group, &job.job);
        wrong += skua_await_group(self, &group) != 0;
        if (skua_join(self, &fork.job))
                tree_run(self, &fork.job);
        return sum + fork.sum + job.sum;
}

static uint64_t tree_serial(uint64_t seed, unsigned depth)
{
        uint64_t sum = rig_mix(seed), own = sum;

        if (depth)
                sum += tree_serial(own, depth - 1) + tree_serial(own + 1, depth - 1);
        return sum;
}

/* Some thread must give memory back when all others wait for it. */
static void trees_without(unsigned workers, uint64_t *random)
{
        struct skua *rt = rig_start(workers, NULL);
        struct tree t = {.seed = tap_random(random), .depth = 8};
        struct skua_group group;

        skua_group_init(&group);
        skua_job_init(&t.job, tree_run);
        skua_group_submit(rt, &group, &t.job);
        while (skua_group_wait(&group, 1000000) == -ETIMEDOUT)
                atomic_store(&fail_all, false);
        atomic_store(&fail_all, false);
        wrong += t.sum != tree_serial(t.seed, t.depth) || rig_suspended(rt) != 0;
        rig_stop(rt);
}

static void test_waiting(void)
{
        uint64_t random = 0;

        for (unsigned i = rig_rounds(20); i; i--)
                wait_without(false);
        tap_is(take_wrong(), 0, "a job waits without memory for a second stack");
        for (unsigned i = rig_rounds(20); i; i--)
                wait_without(true);
        tap_is(take_wrong(), 0, "and for a job of its own worker, until there is memory again");
        for (unsigned workers = 1; workers <= RIG_WORKERS_MAX; workers++) {
                for (unsigned i = rig_rounds(20); i; i--)
                        trees_without(workers, &random);
                tap_is(take_wrong(), 0, "trees of jobs while memory comes and goes");
        }
}

int main(void)
{
        tap_plan(10 * CALLS + 2 + 8, 120);
        test_starts();
        test_waiting();
        return tap_done();
}
