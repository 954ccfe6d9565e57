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

int kernel_guard(void *low, size_t guard_bytes, size_t bytes)
{
        if (mprotect(low, guard_bytes, PROT_NONE))
                return -errno;
        /* A job that touches one page shall not cost 2 MiB. No harm where it is unknown. */
        madvise(low, bytes, MADV_NOHUGEPAGE);
        return 0;
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
