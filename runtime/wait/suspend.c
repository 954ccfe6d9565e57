/* SPDX-License-Identifier: MIT
 *
 * Suspending and resuming stacks, and waking waiters of both kinds.
 */
#include "wait/suspend.h"

#include <errno.h>

#include "core/deque.h"
#include "core/runtime.h"
#include "core/worker.h"
#include "wait/held.h"
#include "wait/stack.h"

enum { WAITER_NEW = 0, WAITER_SLEEPS = 1, WAITER_WOKEN = 2 };

/* Weak, and for that reason not hidden: there if libstdc++ or libc++abi is, when this library is
 * loaded. */
extern void *__cxa_get_globals(void) __attribute__((weak, visibility("default")));

struct exceptions *exceptions_here(struct exceptions *none)
{
        return __cxa_get_globals ? __cxa_get_globals() : none;
}

static void ready_add(struct worker *w, struct stack *first, struct stack **end)
{
        if (!w->ready)
                w->ready_end = &w->ready;
        *w->ready_end = first;
        w->ready_end = end;
}

void ready_take(struct worker *w)
{
        /* [GT2] acquire pairs with the CAS in wake_stack(): what the waker wrote. */
        struct stack *stack = exchange_acq_rel_ptr(&w->gate->stacks, NULL), *next;
        struct stack *first = NULL, **end = NULL;

        for (; stack; stack = next) {
                shared_read(&stack->next, sizeof stack->next);
                next = stack->next;
                if (!first)
                        end = &stack->next;
                stack->next = first;
                first = stack;
        }
        if (first)
                ready_add(w, first, end);
}

static struct stack *ready_next(struct worker *w)
{
        struct stack *stack = w->ready;

        if (stack)
                w->ready = stack->next;
        return stack;
}

/* The stack is to run again: its forks are its own business. Bound: the crowded stacks. */
static void uncrowd(struct worker *w, struct stack *stack)
{
        struct stack **link;

        for (link = &w->crowded; *link; link = &(*link)->crowded)
                if (*link == stack) {
                        *link = stack->crowded;
                        return;
                }
}

/* Makes `stack` the running one, as far as the worker's fields go. */
static void install(struct worker *w, struct stack *stack)
{
        if (w->crowded)
                uncrowd(w, stack);
        w->stack = stack;
        w->face.fork_top_ = stack->top;
        w->face.fork_public_ = stack->public;
        w->scope = stack->scope;
        w->running = stack->running;
        w->exits = stack->exits;
        /* [FD1] relaxed: the next fork looks for itself what is wanted. */
        store_relaxed_u64((struct word64 *)(void *)&w->face.fork_quiet_, w->alone);
}

static void leave(struct worker *w, struct stack *stack)
{
        stack->top = w->face.fork_top_;
        stack->public = w->face.fork_public_;
        stack->scope = w->scope;
        stack->running = w->running;
        stack->exits = w->exits;
}

void suspend_relieve(struct worker *w)
{
        while (w->crowded && deque_relieve(w, &w->crowded->public, w->crowded->top))
                w->crowded = w->crowded->crowded;
}

void suspend_first(struct worker *w)
{
        struct stack *stack = w->first_stack;

        w->first_stack = NULL;
        install(w, stack);
        arch_switch(&w->thread_context, &stack->context);
}

/* Where the worker goes on: a stack to resume, or one with its loop; that one now and then in any
 * case, for what else there is. At the bound and without memory, what is to be resumed must do, be
 * it the caller's own. */
static __attribute__((noinline)) struct stack *loop_stack(struct worker *w)
{
        struct stack *stack;

        if (!w->stack_cache && stacks_short(w)) {
                worker_look(w);
                if ((stack = ready_next(w)))
                        return stack;
        }
        for (;;) {
                if ((stack = stack_take(w)) || (stack = ready_next(w)))
                        return stack;
                kernel_yield();
                worker_look(w);
        }
}

static inline struct stack *next_stack(struct worker *w)
{
        struct stack *stack;

        if (w->budget > 1 && (stack = ready_next(w))) {
                w->budget--;
                return stack;
        }
        return loop_stack(w);
}

/* The list of those whose forks did not all fit the ring. */
static __attribute__((noinline)) void detach(struct worker *w, struct stack *stack)
{
        if (deque_detach(w))
                return;
        stack->crowded = w->crowded;
        w->crowded = stack;
}

/* On its home, in a job or the loop. */
static void wake_here(struct worker *home, struct stack *stack)
{
        /* relaxed: those that were woken from elsewhere before come first. */
        if (load_relaxed_ptr(&home->gate->stacks))
                ready_take(home);
        stack->next = NULL;
        ready_add(home, stack, &stack->next);
}

static inline bool exceptions_any(const struct exceptions *e)
{
        return e->caught || e->uncaught;
}

/* Mostly there are none: then nothing need be written. */
static inline void exceptions_set(struct worker *w, struct exceptions e)
{
        if (exceptions_any(&e) || exceptions_any(w->exceptions))
                *w->exceptions = e;
}

static inline __attribute__((always_inline)) void give_way(struct worker *w, bool ready)
{
        struct stack *stack = w->stack, *next;
        struct exceptions exceptions = *w->exceptions;
        int saved = *w->error;

        held_check(w, "a job waits and holds a pthread mutex");
        if (ready)
                wake_here(w, stack);
        if (w->face.fork_public_ != w->face.fork_top_)
                detach(w, stack);
        leave(w, stack);
        if (w->due_group)
                worker_flush(w);
        count_add(&w->count.suspended, 1);
        next = next_stack(w);
        install(w, next);
        exceptions_set(w, (struct exceptions){NULL, 0});
        if (next != stack)
                arch_switch(&stack->context, &next->context);
        count_add(&w->count.resumed, 1);
        exceptions_set(w, exceptions);
        *w->error = saved;
}

void suspend(struct worker *w)
{
        give_way(w, false);
}

void suspend_ready(struct worker *w)
{
        give_way(w, true);
}

void resume_ready(struct worker *w)
{
        struct stack *loop = w->stack, *next = ready_next(w);

        worker_flush(w);
        stack_give(w, loop);
        install(w, next);
        arch_switch(&loop->context, &next->context);
}

void suspend_for_good(struct worker *w)
{
        struct stack *stack = w->stack, *next;

        worker_flush(w);
        next = next_stack(w); /* before the cache can give the running one */
        stack->spent = true;
        stack_give(w, stack);
        install(w, next);
        w->isolated = 0;
        *w->exceptions = (struct exceptions){NULL, 0};
        arch_switch(&stack->context, &next->context);
}

/* Through the gate: on any thread, also in a signal handler. */
static void wake_there(struct worker *home, struct stack *stack)
{
        struct runtime *rt = home->runtime;
        unsigned index = home->index;
        struct wordptr *stacks = &rt->gates[index].stacks;
        void *old = load_relaxed_ptr(stacks); /* relaxed: the CAS checks it */

        do {
                stack->next = old;
                shared_write(&stack->next, sizeof stack->next);
                /* [GT2] release pairs with the exchange in ready_take(). Bound: lock-free. From
                 * here on the runtime may end: only memory of its slot is touched. */
        } while (!cas_acq_rel_ptr(stacks, &old, stack));
        /* [PK1] pairs with the parker's second look at its gate. */
        fence_seq_cst_after_rmw();
        park_wake_worker(rt, index);
}

static void wake_thread(struct waiter *waiter)
{
        /* [WT1] release pairs with the acquires in waiter_sleep(): the result before the wake-up.
         * The last touch; the futex is woken by its address alone. */
        if (exchange_acq_rel_u32(&waiter->woken, WAITER_WOKEN) == WAITER_SLEEPS)
                kernel_futex_wake(&waiter->woken, 1);
}

void waiter_wake(struct waiter *waiter)
{
        struct stack *stack = waiter->stack;

        shared_read(&waiter->stack, sizeof waiter->stack);
        if (!stack)
                wake_thread(waiter);
        else if (self_get() == stack->home)
                wake_here(stack->home, stack);
        else
                wake_there(stack->home, stack);
}

void waiter_wake_signal(struct waiter *waiter)
{
        struct stack *stack = waiter->stack;

        shared_read(&waiter->stack, sizeof waiter->stack);
        if (!stack)
                wake_thread(waiter);
        else
                wake_there(stack->home, stack);
}

bool waiter_sleep(struct waiter *waiter, int64_t deadline_ns)
{
        uint32_t fresh = WAITER_NEW;

        /* [WT1] pairs with waiter_wake(); after a time-out it sleeps already. */
        cas_acq_rel_u32(&waiter->woken, &fresh, WAITER_SLEEPS);
        /* [WT1] acquire pairs with waiter_wake(). */
        while (load_acquire_u32(&waiter->woken) != WAITER_WOKEN)
                if (kernel_futex_wait(&waiter->woken, WAITER_SLEEPS, deadline_ns) == -ETIMEDOUT)
                        /* [WT1] as above. */
                        return load_acquire_u32(&waiter->woken) == WAITER_WOKEN;
        return true;
}
