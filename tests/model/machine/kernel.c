/* SPDX-License-Identifier: MIT
 *
 * core/kernel.h on the modelled machine, in place of core/kernel.c.
 */
#include "core/kernel.h"

#include "machine.h"
#include "model.h"

int64_t kernel_now_ns(void)
{
        return model_now_ns();
}

int kernel_futex_wait(struct word32 *word, uint32_t expected, int64_t deadline_ns)
{
        return model_futex_wait(word, expected, deadline_ns);
}

void kernel_futex_wake(struct word32 *word, int count)
{
        model_kernel_enter();
        count -= rings_futex_wake(word, count);
        model_futex_wake(word, count);
        model_kernel_leave();
}

int kernel_event_open(void)
{
        return rings_event_open();
}

void kernel_event_signal(uint32_t event)
{
        model_kernel_enter();
        rings_event_signal(event);
        model_kernel_leave();
}

void kernel_event_close(uint32_t event)
{
        (void)event;
}

unsigned kernel_cpu(void)
{
        return machine_nodes > 1 ? model_any(machine_nodes) : 0;
}

void kernel_yield(void)
{
        spin_hint();
}

unsigned kernel_process(void)
{
        return 1;
}

int kernel_guard(void *low, size_t guard_bytes, size_t bytes)
{
        (void)low;
        (void)guard_bytes;
        (void)bytes;
        return 0;
}

size_t kernel_page_bytes(void)
{
        return 4096;
}

int kernel_guard_stack(void *low)
{
        (void)low;
        return KERNEL_GUARD_FREE;
}

void kernel_guards_gone(uint64_t count)
{
        (void)count;
}

void kernel_small_pages(void *low, size_t bytes)
{
        (void)low;
        (void)bytes;
}

bool kernel_touched(void *low, size_t bytes)
{
        (void)low;
        (void)bytes;
        return false;
}

void kernel_discard(void *low, size_t bytes)
{
        (void)low;
        (void)bytes;
}

size_t kernel_thread_bytes(void)
{
        return 4096; /* not used */
}

int kernel_thread_start(struct kernel_thread *thread, void (*entry)(void *arg), void *arg)
{
        thread->entry = entry;
        thread->arg = arg;
        thread->id = model_thread_start(entry, arg);
        return 0;
}

void kernel_thread_join(struct kernel_thread *thread)
{
        model_threads_join(1u << thread->id);
}

void kernel_thread_name(const char *name)
{
        (void)name;
}
