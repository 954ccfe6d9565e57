/* SPDX-License-Identifier: MIT
 *
 * Virtual threads, their scheduler and its choices, and the part of the kernel that blocks threads.
 *
 * A thread that spins (spin_hint, kernel_yield) runs again when something has been written, or when
 * nobody else can go on. If all spin and nothing is ever written, or all sleep, the execution has
 * failed: a lost wake-up shows itself so.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "state.h"

enum { IDLE_ROUNDS = 2000 };

struct thread model_threads[MODEL_THREADS];

void model_fail(const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        vsnprintf(model.reason, sizeof model.reason, format, arguments);
        va_end(arguments);
        model.failed = true;
        model_leave();
}

/* ------------------------------------------------------------------ choices */

static void note(unsigned choice)
{
        model.hash = (model.hash ^ (choice + 1 + (uint64_t)model.steps * 64)) * 0x9e3779b97f4a7c15u;
        model.hash ^= model.hash >> 29;
        model.choices_made++;
}

/* Depth first: what the path says, then 0. */
static unsigned follow(unsigned count)
{
        unsigned at = model.path_length;

        if (at == PATH) {
                model.overlong = true;
                return 0;
        }
        if (at >= model.path_known) {
                model.path[at] = 0;
                model.path_of[at] = (unsigned char)count;
                model.path_known = at + 1;
        }
        model.path_length++;
        return model.path[at];
}

unsigned model_choose_evenly(unsigned count)
{
        unsigned choice;

        if (count < 2)
                return 0;
        choice = model.search == MODEL_EXHAUSTIVE ? follow(count)
                                                  : (unsigned)((model_draw() >> 20) % count);
        note(choice);
        return choice;
}

unsigned model_choose(unsigned count)
{
        uint64_t draw;
        unsigned choice = 0;

        if (count < 2)
                return 0;
        if (model.search == MODEL_EXHAUSTIVE) {
                choice = follow(count);
        } else {
                draw = model_draw() >> 20;
                if (draw & 1)
                        choice = (unsigned)((draw >> 1) % count);
        }
        note(choice);
        return choice;
}

bool model_whim(void)
{
        if (model.search == MODEL_EXHAUSTIVE)
                return model.whimsical && follow(2);
        return (model_draw() >> 20) % 4 == 0;
}

unsigned model_any(unsigned count)
{
        return model_choose_evenly(count);
}

/* ------------------------------------------------------------------ switching */

static unsigned bit(const struct thread *t)
{
        return 1u << thread_index(t);
}

static unsigned nth(unsigned set, unsigned n)
{
        while (n--)
                set &= set - 1;
        return (unsigned)__builtin_ctz(set);
}

static void run(struct thread *next)
{
        struct thread *from = model.current;

        if (next == from)
                return;
        from->self = self_get();
        from->pool = pool_get();
        self_set(next->self);
        pool_set(next->pool);
        model.current = next;
        arch_switch(&from->context, &next->context);
}

void model_leave(void)
{
        struct arch_context nowhere;

        self_set(model.home_self);
        pool_set(model.home_pool);
        arch_switch(&nowhere, &model.home);
        __builtin_unreachable();
}

static void wake(struct thread *t, int result)
{
        t->state = THREAD_READY;
        t->wait_result = result;
        model.ready |= bit(t);
        model.timed &= ~bit(t);
}

static void time_out(void)
{
        unsigned k = model_choose_evenly((unsigned)__builtin_popcount(model.timed));
        struct thread *t = &model_threads[nth(model.timed, k)];

        if (model.now_ns < t->deadline_ns)
                model.now_ns = t->deadline_ns;
        wake(t, -ETIMEDOUT);
}

/* Nobody is ready: who spins goes on, then clocks run out. */
static void find_ready(void)
{
        if (model.spinning) {
                if (++model.idle_rounds > IDLE_ROUNDS)
                        model_fail("all spin, and nothing is written");
                model.ready = model.spinning;
                model.spinning = 0;
                /* What has been written is seen by everybody in the end. */
                for (unsigned i = 0; i < model.threads && model.idle_rounds > 1; i++)
                        model_threads[i].stale = 0;
        }
        if (model.timed && (!model.ready || model.idle_rounds > IDLE_ROUNDS / 2))
                time_out();
        if (!model.ready)
                model_fail("no thread can go on: a wake-up has been lost");
}

static struct thread *by_priority(void)
{
        struct thread *best = NULL;

        for (unsigned set = model.ready; set; set &= set - 1) {
                struct thread *t = &model_threads[__builtin_ctz(set)];

                if (!best || t->priority > best->priority)
                        best = t;
        }
        return best;
}

/* The current thread cannot or will not go on. */
static struct thread *other(void)
{
        struct thread *t;

        if (!model.ready)
                find_ready();
        if (model.search == MODEL_PCT)
                t = by_priority();
        else
                t = &model_threads[nth(
                        model.ready,
                        model_choose_evenly((unsigned)__builtin_popcount(model.ready)))];
        if (model.search == MODEL_PCT)
                note(thread_index(t));
        return t;
}

static void step_by_priority(void)
{
        struct thread *t = model.current;

        for (unsigned i = 0; i < model.change_count; i++)
                if (model.changes[i] == model.steps)
                        t->priority = --model.lowest;
        t = by_priority();
        if (t != model.current) {
                note(thread_index(t));
                run(t);
        }
}

static void step_exhaustive(void)
{
        unsigned others = model.ready & ~bit(model.current), k;
        bool chosen = model.current->chosen;

        model.current->chosen = false;
        if (chosen)
                return; /* it has just been chosen to make this step */
        if (!others || (model.preemptions_max && model.preemptions == model.preemptions_max))
                return;
        k = model_choose((unsigned)__builtin_popcount(others) + 1);
        if (k) {
                model.preemptions++;
                run(&model_threads[nth(others, k - 1)]);
        }
}

/* A signal that has come for the current thread interrupts it here. */
static void interrupt(void)
{
        void (*handler)(int) = model.current->signal;

        model.current->signal = NULL;
        if (handler)
                handler(0);
}

static void schedule(void)
{
        if (++model.steps > model.steps_max)
                model_fail("no end after %u steps", model.steps_max);
        if (model.timed && model.whims && model_whim() && model_whim() && model_whim()) {
                model.whims--;
                note(MODEL_THREADS);
                time_out();
        }
        if (model.search == MODEL_PCT) {
                step_by_priority();
        } else if (model.search == MODEL_EXHAUSTIVE) {
                step_exhaustive();
        } else if (!(model_draw() & model.stay_mask)) {
                struct thread *t = &model_threads[nth(
                        model.ready, (unsigned)((model_draw() >> 20) %
                                                (unsigned)__builtin_popcount(model.ready)))];

                if (t != model.current) {
                        note(thread_index(t));
                        run(t);
                }
        }
}

void model_step(void)
{
        if (model.in_kernel) {
                model.steps++;
                return;
        }
        schedule();
        interrupt();
}

void model_kernel_enter(void)
{
        model_step();
        model.in_kernel = true;
}

void model_kernel_leave(void)
{
        model.in_kernel = false;
}

/* The current thread goes on when somebody has made it ready again. */
static void rest(void)
{
        model.ready &= ~bit(model.current);
        run(other());
}

void model_spin(void)
{
        if (!model.running)
                return;
        /* Now and then it is soon back: a bounded loop may end before anything is written. */
        if (model.search != MODEL_EXHAUSTIVE && model_draw() >> 20 & 1) {
                model_step();
                return;
        }
        if (++model.steps > model.steps_max)
                model_fail("no end after %u steps", model.steps_max);
        model.spinning |= bit(model.current);
        rest();
}

void model_pause(void)
{
        model.running = false;
}

void model_resume(void)
{
        model.running = true;
}

/* ------------------------------------------------------------------ threads */

static void thread_main(void *arg)
{
        struct thread *t = arg;

        t->entry(t->arg);
        t->state = THREAD_DONE;
        model.alive &= ~bit(t);
        for (unsigned i = 0; i < model.threads; i++)
                if (model_threads[i].state == THREAD_JOINING &&
                    !(model_threads[i].joining & model.alive))
                        wake(&model_threads[i], 0);
        model_written();
        model.ready &= ~bit(t);
        if (t == &model_threads[0])
                model_leave();
        run(other());
        __builtin_trap();
}

unsigned model_thread_start(void (*entry)(void *arg), void *arg)
{
        struct thread *t = &model_threads[model.threads], *parent = model.current;
        unsigned index = model.threads++;

        if (index == MODEL_THREADS)
                model_fail("more threads than the model has");
        t->entry = entry;
        t->arg = arg;
        t->has_pending = false;
        t->released = t->at_rmw = NULL;
        t->rmw_was_fence = false;
        t->self = t->pool = NULL;
        t->signal = NULL;
        t->chosen = true;
        t->stale = model_threads[0].stale;
        if (parent) {
                memcpy(t->seen, parent->seen, model.entries * sizeof *t->seen);
                parent->seen[thread_index(parent)]++;
        }
        t->seen[index] = 1;
        t->priority = model.search == MODEL_PCT ? (int)(model_draw() >> 40 & 0xffff) + 16 : 0;
        t->state = THREAD_READY;
        model.ready |= 1u << index;
        model.alive |= 1u << index;
        arch_context_init(&t->context, t->stack, MODEL_STACK_BYTES, thread_main, t);
        return index;
}

void model_threads_join(unsigned set)
{
        struct thread *self = model.current;

        if (set & model.alive) {
                self->state = THREAD_JOINING;
                self->joining = set;
                rest();
        }
        for (; set; set &= set - 1) {
                const struct thread *t = &model_threads[__builtin_ctz(set)];

                for (unsigned i = 0; i < model.entries; i++)
                        if (t->seen[i] > self->seen[i])
                                self->seen[i] = t->seen[i];
        }
}

/* ------------------------------------------------------------------ the kernel */

int64_t model_now_ns(void)
{
        return model.now_ns += model.clock_step_ns;
}

uint64_t model_ticks(void)
{
        return model.steps;
}

static void record(const char *operation, const void *word, uint64_t value)
{
        struct event event = {.step = model.steps,
                              .thread = (uint8_t)thread_index(model.current),
                              .file = "kernel",
                              .operation = operation,
                              .address = word,
                              .value = value,
                              .before = value,
                              .writes = true};

        if (model.tracing)
                model_record(&event);
}

/* The comparison is the kernel's, with the newest value; it gives no order. */
int model_futex_wait(const void *word, uint32_t expected, int64_t deadline_ns)
{
        struct thread *t = model.current;

        model_step();
        if (model_newest(word, 4) != expected) {
                record("futex_wait: differs", word, expected);
                return -EAGAIN;
        }
        if (model.whims && model.search != MODEL_EXHAUSTIVE && model_choose_evenly(16) == 1) {
                model.whims--;
                record("futex_wait: spurious", word, expected);
                return model_choose_evenly(2) ? -EINTR : 0;
        }
        record("futex_wait: sleeps", word, expected);
        t->state = THREAD_ASLEEP;
        t->futex = word;
        t->deadline_ns = deadline_ns;
        if (deadline_ns)
                model.timed |= bit(t);
        rest();
        interrupt();
        record("futex_wait: returns", word, (uint64_t)(int64_t)t->wait_result);
        return t->wait_result;
}

void model_futex_wake(const void *word, int count)
{
        model_step();
        record("futex_wake", word, (uint64_t)count);
        while (count-- > 0) {
                unsigned sleepers = 0;

                for (unsigned i = 0; i < model.threads; i++)
                        if (model_threads[i].state == THREAD_ASLEEP &&
                            model_threads[i].futex == word)
                                sleepers |= 1u << i;
                if (!sleepers)
                        return;
                wake(&model_threads[nth(sleepers, model_choose_evenly(
                                                          (unsigned)__builtin_popcount(sleepers)))],
                     0);
        }
}

void model_signal(unsigned thread, void (*handler)(int number))
{
        struct thread *t = &model_threads[thread];

        model_step();
        record("signal", t, thread);
        t->signal = handler;
        if (t->state == THREAD_ASLEEP)
                wake(t, -EINTR);
        if (model.spinning & bit(t))
                model_written();
}
