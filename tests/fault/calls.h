/* SPDX-License-Identifier: MIT
 *
 * Calls that can be made to fail, for the tests of this folder, which link with --wrap for all of
 * them: the n-th call of a kind, or each k-th. Also what the process holds, to see that nothing has
 * leaked. Of the futex only the runtime's own calls are touched, not those of the tests; and a
 * wake-up that "fails" has reached its sleeper all the same, as nobody could live with another.
 */
#ifndef TESTS_FAULT_CALLS_H
#define TESTS_FAULT_CALLS_H

#include <dirent.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "rig.h"

enum call {
        CALL_MMAP,
        CALL_MPROTECT,
        CALL_GUARD, /* of a stack: by madvise or by mprotect */
        CALL_THREAD,
        CALL_MALLOC,
        CALL_ATTRIBUTES,
        CALL_OPEN,
        CALL_CLOCK,
        CALL_SETAFFINITY,
        CALL_GETAFFINITY,
        CALL_CPU,
        CALL_WAIT, /* FUTEX_WAIT_BITSET; wait_error says how it ends */
        CALL_WAKE, /* FUTEX_WAKE */
        CALLS
};

static struct {
        const char *name;
        atomic_int at;            /* 0: never; 1: the next one */
        atomic_uint every, count; /* 0: never; k: each k-th */
        atomic_uint failed;
} calls[CALLS] = {[CALL_MMAP] = {.name = "mmap"},
                  [CALL_MPROTECT] = {.name = "mprotect"},
                  [CALL_GUARD] = {.name = "the guard of a stack"},
                  [CALL_THREAD] = {.name = "pthread_create"},
                  [CALL_MALLOC] = {.name = "malloc"},
                  [CALL_ATTRIBUTES] = {.name = "pthread_attr_init"},
                  [CALL_OPEN] = {.name = "openat"},
                  [CALL_CLOCK] = {.name = "clock_gettime"},
                  [CALL_SETAFFINITY] = {.name = "sched_setaffinity"},
                  [CALL_GETAFFINITY] = {.name = "sched_getaffinity"},
                  [CALL_CPU] = {.name = "sched_getcpu"},
                  [CALL_WAIT] = {.name = "futex wait"},
                  [CALL_WAKE] = {.name = "futex wake"}};

static atomic_int wait_error;                       /* 0: a wake-up out of nowhere */
static void (*_Atomic before_wait)(uint32_t *word); /* called by the sleeper; NULL: nothing */
static void (*_Atomic before_wake)(uint32_t *word); /* called by the waker */
static atomic_llong mapped_bytes, allocated;
static _Thread_local bool in_runtime; /* inside the runtime's own futex call */

static inline bool fails(enum call call)
{
        unsigned every = atomic_load(&calls[call].every);
        bool due = atomic_load(&calls[call].at) > 0 && atomic_fetch_sub(&calls[call].at, 1) == 1;

        if (every && atomic_fetch_add(&calls[call].count, 1) % every == 0)
                due = true;
        if (due)
                atomic_fetch_add(&calls[call].failed, 1);
        return due;
}

static inline void fail_at(enum call call, unsigned n)
{
        atomic_store(&calls[call].failed, 0);
        atomic_store(&calls[call].at, (int)n);
}

static inline void fail_every(enum call call, unsigned k)
{
        atomic_store(&calls[call].failed, 0);
        atomic_store(&calls[call].count, 0);
        atomic_store(&calls[call].every, k);
}

/* From here on nothing fails any more; how often it has. */
static inline unsigned fail_no_more(enum call call)
{
        atomic_store(&calls[call].at, 0);
        atomic_store(&calls[call].every, 0);
        return atomic_load(&calls[call].failed);
}

/* ------------------------------------------------------------------ memory */

/* What was allocated by a wrapped call: the C library's own allocations, freed by others, are not
 * our affair. */
enum { TRACKED = 4096 };
static void *tracked[TRACKED];
static atomic_flag tracking = ATOMIC_FLAG_INIT;

/* Puts `new` where `old` is. False: `old` is not there. */
static inline bool track(const void *old, void *new)
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

static inline void *track_new(void *memory)
{
        if (memory && track(NULL, memory))
                allocated++;
        return memory;
}

static inline void track_end(void *memory)
{
        if (memory && track(memory, NULL))
                allocated--;
}

void *__real_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *memory, size_t bytes);
int __real_mprotect(void *memory, size_t bytes, int protection);
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

int __real_kernel_guard_stack(void *low);
int __wrap_kernel_guard_stack(void *low);
int __wrap_kernel_guard_stack(void *low)
{
        return fails(CALL_GUARD) ? -ENOMEM : __real_kernel_guard_stack(low);
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

/* ------------------------------------------------------------------ threads, files, clock */

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*entry)(void *), void *arg);
int __real_pthread_attr_init(pthread_attr_t *attributes);
int __real_openat(int folder, const char *path, int flags, ...);
int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __real_sched_setaffinity(pid_t id, size_t bytes, const cpu_set_t *set);
int __real_sched_getaffinity(pid_t id, size_t bytes, cpu_set_t *set);
int __real_sched_getcpu(void);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*entry)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*entry)(void *), void *arg)
{
        return fails(CALL_THREAD) ? EAGAIN : __real_pthread_create(thread, attributes, entry, arg);
}

int __wrap_pthread_attr_init(pthread_attr_t *attributes);
int __wrap_pthread_attr_init(pthread_attr_t *attributes)
{
        return fails(CALL_ATTRIBUTES) ? ENOMEM : __real_pthread_attr_init(attributes);
}

static inline int fail_with(int error)
{
        errno = error;
        return -1;
}

int __wrap_openat(int folder, const char *path, int flags, ...);
int __wrap_openat(int folder, const char *path, int flags, ...)
{
        return fails(CALL_OPEN) ? fail_with(EMFILE) : __real_openat(folder, path, flags);
}

/* As a filter of system calls answers: the time is not touched. */
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
        return fails(CALL_CLOCK) ? fail_with(EPERM) : __real_clock_gettime(clock, now);
}

int __wrap_sched_setaffinity(pid_t id, size_t bytes, const cpu_set_t *set);
int __wrap_sched_setaffinity(pid_t id, size_t bytes, const cpu_set_t *set)
{
        return fails(CALL_SETAFFINITY) ? fail_with(EPERM)
                                       : __real_sched_setaffinity(id, bytes, set);
}

int __wrap_sched_getaffinity(pid_t id, size_t bytes, cpu_set_t *set);
int __wrap_sched_getaffinity(pid_t id, size_t bytes, cpu_set_t *set)
{
        return fails(CALL_GETAFFINITY) ? fail_with(EPERM)
                                       : __real_sched_getaffinity(id, bytes, set);
}

int __wrap_sched_getcpu(void);
int __wrap_sched_getcpu(void)
{
        return fails(CALL_CPU) ? fail_with(ENOSYS) : __real_sched_getcpu();
}

/* ------------------------------------------------------------------ the futex */

int __real_kernel_futex_wait(struct word32 *word, uint32_t expected, int64_t deadline_ns);
void __real_kernel_futex_wake(struct word32 *word, int count);
long __real_syscall(long number, ...);

int __wrap_kernel_futex_wait(struct word32 *word, uint32_t expected, int64_t deadline_ns);
int __wrap_kernel_futex_wait(struct word32 *word, uint32_t expected, int64_t deadline_ns)
{
        int result;

        in_runtime = true;
        result = __real_kernel_futex_wait(word, expected, deadline_ns);
        in_runtime = false;
        return result;
}

void __wrap_kernel_futex_wake(struct word32 *word, int count);
void __wrap_kernel_futex_wake(struct word32 *word, int count)
{
        in_runtime = true;
        __real_kernel_futex_wake(word, count);
        in_runtime = false;
}

/* A time-out that is due comes, whatever else happens. */
static inline bool is_past(const struct timespec *deadline)
{
        struct timespec now;

        if (!deadline)
                return false;
        __real_clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec != deadline->tv_sec ? now.tv_sec > deadline->tv_sec
                                              : now.tv_nsec >= deadline->tv_nsec;
}

static void call_hook(void (*hook)(uint32_t *word), uint32_t *word)
{
        if (hook)
                hook(word);
}

long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
        bool futex = number == SYS_futex && in_runtime;
        long a[6], operation, result;
        va_list arguments;

        va_start(arguments, number);
        for (unsigned i = 0; i < 6; i++)
                a[i] = va_arg(arguments, long);
        va_end(arguments);
        operation = a[1] & FUTEX_CMD_MASK;
        if (futex && operation == FUTEX_WAIT_BITSET)
                call_hook(before_wait, (uint32_t *)a[0]);
        if (futex && operation == FUTEX_WAIT_BITSET && !is_past((struct timespec *)a[3]) &&
            fails(CALL_WAIT)) {
                sched_yield(); /* all others sleep as badly */
                return wait_error ? fail_with(wait_error) : 0;
        }
        if (futex && operation == FUTEX_WAKE)
                call_hook(before_wake, (uint32_t *)a[0]);
        result = __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
        return futex && operation == FUTEX_WAKE && fails(CALL_WAKE) ? fail_with(EFAULT) : result;
}

/* ------------------------------------------------------------------ what the process holds */

static inline unsigned entries(const char *folder)
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

/* Threads of the process while no runtime is there; sanitizers and emulators have their own. What
 * has been joined may be listed for a moment yet, so the smallest of several looks counts. */
static inline unsigned threads_at_rest(void)
{
        unsigned least = UINT_MAX;

        for (unsigned i = 0; i < 100; i++) {
                unsigned now = entries("/proc/self/task");

                least = now < least ? now : least;
                sched_yield();
        }
        return least;
}

static inline struct holdings holdings(void)
{
        struct holdings h = {mapped_bytes, allocated, threads_at_rest(), entries("/proc/self/fd")};

        return h;
}

/* A thread that has been joined may stay in /proc for a moment, as it may have done before. */
static inline bool threads_are_gone(unsigned before)
{
        for (unsigned i = 0; i < 100000; i++) {
                if (entries("/proc/self/task") <= before)
                        return true;
                sched_yield();
        }
        return false;
}

/* How many kinds of things there are more of than before. Less may be allocated, where libnuma is
 * linked in and drops what it kept. Mappings are another matter: a slot keeps its memory. */
static inline unsigned leaks(const struct holdings *before)
{
        return (allocated > before->allocated) + (entries("/proc/self/fd") != before->descriptors) +
               !threads_are_gone(before->threads);
}

#endif
