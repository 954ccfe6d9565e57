/* SPDX-License-Identifier: MIT
 *
 * System calls of the runtime: clock, futex, threads.
 */
#include "core/kernel.h"

#include <errno.h>
#include <link.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Room for thread start and the alternate signal stack (see wait/guard.c), beside what the
 * program's thread-local variables take; jobs run on stacks of their own. */
#define THREAD_STACK_BYTES (256u * 1024u)

int64_t kernel_now_ns(void)
{
        struct timespec now = {0, 0};

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int kernel_futex_wait(struct word32 *word, uint32_t expected, int64_t deadline_ns)
{
        struct timespec deadline = {deadline_ns / 1000000000, deadline_ns % 1000000000};
        int saved = errno, result = 0;

        if (syscall(SYS_futex, &word->value_, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected,
                    deadline_ns ? &deadline : NULL, NULL, FUTEX_BITSET_MATCH_ANY) < 0)
                result = -errno;
        errno = saved;
        return result;
}

void kernel_futex_wake(struct word32 *word, int count)
{
        int saved = errno;

        /* EFAULT is possible and harmless: the waiter may have gone with its memory. */
        syscall(SYS_futex, &word->value_, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, count, NULL, NULL, 0);
        errno = saved;
}

int kernel_event_open(void)
{
        return eventfd(0, EFD_CLOEXEC) + 1;
}

void kernel_event_signal(uint32_t event)
{
        uint64_t one = 1;
        int saved = errno;

        /* It cannot fail, nor block before 2^64 signals that nobody reads. */
        if (write((int)event - 1, &one, sizeof one) < 0)
                errno = saved;
}

void kernel_event_close(uint32_t event)
{
        close((int)event - 1);
}

unsigned kernel_cpu(void)
{
        int cpu = sched_getcpu();

        return cpu < 0 ? 0 : (unsigned)cpu;
}

void kernel_yield(void)
{
        sched_yield();
}

unsigned kernel_process(void)
{
        return (unsigned)getpid();
}

size_t kernel_page_bytes(void)
{
        return (size_t)sysconf(_SC_PAGESIZE);
}

void kernel_small_pages(void *low, size_t bytes)
{
        /* No harm where it is unknown. */
        madvise(low, bytes, MADV_NOHUGEPAGE);
}

int kernel_guard(void *low, size_t guard_bytes, size_t bytes)
{
        if (mprotect(low, guard_bytes, PROT_NONE))
                return -errno;
        kernel_small_pages(low, bytes);
        return 0;
}

/* Since Linux 6.13; the C library's headers may be older. */
#define ADVICE_GUARD_INSTALL 102

/* Does it work here? An emulator may take it for a hint and say yes. */
enum { GUARDS_UNKNOWN, GUARDS_FREE, GUARDS_MAPPED };
static struct word32 guards_kind;
static struct word64 guards_mapped;

/* A call of the kernel that would write there fails. */
static bool inaccessible(void *low)
{
        return syscall(SYS_getcpu, low, NULL, NULL) < 0 && errno == EFAULT;
}

/* 0; -EOPNOTSUPP: not by this kernel, or not here; -ENOMEM. */
static int guard_install(void *low)
{
        /* relaxed, all: whoever asks the kernel gets the same answer. */
        uint32_t kind = load_relaxed_u32(&guards_kind);

        if (kind == GUARDS_MAPPED)
                return -EOPNOTSUPP;
        if (!madvise(low, KERNEL_GUARD_BYTES, ADVICE_GUARD_INSTALL)) {
                if (kind == GUARDS_FREE)
                        return 0;
                kind = inaccessible(low) ? GUARDS_FREE : GUARDS_MAPPED;
                store_relaxed_u32(&guards_kind, kind); /* relaxed: as above */
                return kind == GUARDS_FREE ? 0 : -EOPNOTSUPP;
        }
        if (errno == ENOMEM || errno == EAGAIN)
                return -ENOMEM;
        if (kind == GUARDS_UNKNOWN)
                store_relaxed_u32(&guards_kind, GUARDS_MAPPED); /* relaxed: as above */
        return -EOPNOTSUPP;
}

static uint64_t guards_most;

/* Each takes two mappings. The rest is the program's. */
static void read_guards_most(void)
{
        FILE *file = fopen("/proc/sys/vm/max_map_count", "re");
        unsigned long count = 0;

        if (!file || fscanf(file, "%lu", &count) != 1 || !count)
                count = 65530;
        if (file)
                fclose(file);
        guards_most = count / 4;
}

static int guard_map(void *low)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;

        pthread_once(&once, read_guards_most);
        /* relaxed: a bound that need not be exact to the moment. */
        if (fetch_add_relaxed_u64(&guards_mapped, 1) >= guards_most) {
                kernel_guards_gone(1);
                return KERNEL_GUARD_NONE;
        }
        if (!mprotect(low, KERNEL_GUARD_BYTES, PROT_NONE))
                return KERNEL_GUARD_MAPPED;
        kernel_guards_gone(1);
        return -ENOMEM;
}

int kernel_guard_stack(void *low)
{
        int saved = errno, result = guard_install(low);

        if (result == -EOPNOTSUPP)
                result = guard_map(low);
        else if (!result)
                result = KERNEL_GUARD_FREE;
        errno = saved;
        return result;
}

void kernel_guards_gone(uint64_t count)
{
        /* relaxed: see guard_map(). */
        fetch_add_relaxed_u64(&guards_mapped, -count);
}

bool kernel_touched(void *low, size_t bytes)
{
        size_t page_bytes = kernel_page_bytes();
        unsigned char pages[KERNEL_GUARD_BYTES / 4096];
        int saved = errno;
        bool touched = false;

        if (!mincore(low, bytes, pages))
                for (size_t i = 0; i < bytes / page_bytes && i < sizeof pages; i++)
                        touched |= pages[i] & 1;
        errno = saved;
        return touched;
}

void kernel_discard(void *low, size_t bytes)
{
        madvise(low, bytes, MADV_DONTNEED);
}

static void *thread_main(void *arg)
{
        struct kernel_thread *thread = arg;

        thread->entry(thread->arg);
        return NULL;
}

static size_t thread_stack_bytes;

static int add_thread_local(struct dl_phdr_info *info, size_t info_bytes, void *sum)
{
        (void)info_bytes;
        for (unsigned i = 0; i < info->dlpi_phnum; i++)
                if (info->dlpi_phdr[i].p_type == PT_TLS)
                        *(size_t *)sum += info->dlpi_phdr[i].p_memsz + info->dlpi_phdr[i].p_align;
        return 0;
}

/* libc lays them at the end of the stack, whatever its size, and refuses one that is too small. */
static void measure_thread_stack(void)
{
        size_t local_bytes = 0;

        dl_iterate_phdr(add_thread_local, &local_bytes);
        thread_stack_bytes = THREAD_STACK_BYTES + ((local_bytes + 4095) & ~(size_t)4095);
}

size_t kernel_thread_bytes(void)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;

        pthread_once(&once, measure_thread_stack);
        return KERNEL_GUARD_BYTES + thread_stack_bytes;
}

int kernel_thread_start(struct kernel_thread *thread, void (*entry)(void *arg), void *arg)
{
        static const int synchronous[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
        sigset_t all, before;
        pthread_attr_t attributes;
        int result;

        thread->entry = entry;
        thread->arg = arg;
        sigfillset(&all);
        for (unsigned i = 0; i < sizeof synchronous / sizeof *synchronous; i++)
                sigdelset(&all, synchronous[i]);
        result = pthread_attr_init(&attributes);
        if (result)
                return -result;
        pthread_attr_setstack(&attributes, thread->stack + KERNEL_GUARD_BYTES,
                              thread_stack_bytes + thread->extra_bytes);
        /* The mask is inherited, so it is set here: the thread never runs with another one. */
        pthread_sigmask(SIG_SETMASK, &all, &before);
        result = pthread_create(&thread->id, &attributes, thread_main, thread);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&attributes);
        return -result;
}

void kernel_thread_join(struct kernel_thread *thread)
{
        pthread_join(thread->id, NULL);
}

void kernel_thread_name(const char *name)
{
        prctl(PR_SET_NAME, name, 0, 0, 0);
}
