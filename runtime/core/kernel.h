/* SPDX-License-Identifier: MIT
 *
 * The kernel, as the runtime sees it: the only system calls of core and wait. Narrow, so that a
 * modelled kernel can stand in for it. Times are CLOCK_MONOTONIC nanoseconds.
 */
#ifndef CORE_KERNEL_H
#define CORE_KERNEL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "arch.h"

int64_t kernel_now_ns(void); /* 0: the clock cannot be read */

/* The earlier of two deadlines, of which 0 is none. */
static inline int64_t earlier_ns(int64_t a, int64_t b)
{
        return !a || (b && b < a) ? b : a;
}

/* So long after now, or the end of time. */
static inline int64_t later_ns(int64_t now_ns, int64_t ns)
{
        return ns > INT64_MAX - now_ns ? INT64_MAX : now_ns + ns;
}

/* The deadline of a time-out, which is for ever if it is negative or too long: 0. */
static inline int64_t timeout_deadline_ns(int64_t now_ns, int64_t timeout_ns)
{
        return timeout_ns < 0 || timeout_ns > INT64_MAX - now_ns ? 0 : now_ns + timeout_ns;
}

/* Sleeps while *word is `expected`, until `deadline_ns` (0: for ever). Returns 0 after a wake-up,
 * -EAGAIN when the word differed, -EINTR, -ETIMEDOUT. Callers look again whatever it says. */
int kernel_futex_wait(struct word32 *word, uint32_t expected, int64_t deadline_ns);

/* Wakes up to `count` sleepers of the word, whose memory need not exist any more. */
void kernel_futex_wake(struct word32 *word, int count);

/* A descriptor that a ring can wait for, plus one; 0: there is none to be had. It becomes readable
 * when signalled. */
int kernel_event_open(void);
void kernel_event_signal(uint32_t event);
void kernel_event_close(uint32_t event);

unsigned kernel_cpu(void); /* the CPU that the caller runs on, or did a moment ago */
void kernel_yield(void);   /* lets another thread of this CPU run */
unsigned kernel_process(void);

size_t kernel_page_bytes(void);

/* Far enough that a frame of ordinary size does not step over it. */
#define KERNEL_GUARD_BYTES (64u * 1024u)

/* Makes the first guard_bytes of a mapping inaccessible, and keeps huge pages out of the rest.
 * 0 or a negative errno. */
int kernel_guard(void *low, size_t guard_bytes, size_t bytes);

/* Of one stack among many: KERNEL_GUARD_BYTES from `low` on become inaccessible. A guard that takes
 * up mappings of the process, of which it may have only so many, is there on kernels before 6.13,
 * until a quarter of vm.max_map_count is used up; from then on there is none. Or a negative errno:
 * no memory. */
enum { KERNEL_GUARD_NONE, KERNEL_GUARD_FREE, KERNEL_GUARD_MAPPED };
int kernel_guard_stack(void *low);

/* Stacks with so many guards of the kind KERNEL_GUARD_MAPPED have been unmapped. */
void kernel_guards_gone(uint64_t count);

/* A page that is touched shall not bring 2 MiB along. */
void kernel_small_pages(void *low, size_t bytes);

/* Has any of these pages been touched, of memory that could be? False also for pages on swap. */
bool kernel_touched(void *low, size_t bytes);

/* Gives the pages back; their contents become zero. Guards stay. */
void kernel_discard(void *low, size_t bytes);

struct kernel_thread {
        pthread_t id;
        /* Set by who starts it: guarded memory, kernel_thread_bytes() and extra_bytes of it. It may
         * serve many. */
        char *stack;
        size_t extra_bytes;
        void (*entry)(void *arg);
        void *arg;
};

/* What the stack of a thread must have, its guard included. */
size_t kernel_thread_bytes(void);

/* A thread with all asynchronous signals blocked, on the given stack: one of libc's own would lose
 * its pages at the thread's end, and lie where the caller runs. 0, -EAGAIN or -ENOMEM. `thread`
 * must outlive it. */
int kernel_thread_start(struct kernel_thread *thread, void (*entry)(void *arg), void *arg);
void kernel_thread_join(struct kernel_thread *thread);
void kernel_thread_name(const char *name); /* the calling thread; cut to 15 bytes */

#endif
