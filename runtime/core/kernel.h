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

/* Far enough that a frame of ordinary size does not step over it. */
#define KERNEL_GUARD_BYTES (64u * 1024u)

/* Makes the first guard_bytes of a mapping inaccessible, and keeps huge pages out of the rest.
 * 0 or a negative errno. */
int kernel_guard(void *low, size_t guard_bytes, size_t bytes);

/* Gives the pages back; their contents become zero. */
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
