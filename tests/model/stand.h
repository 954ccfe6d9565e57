/* SPDX-License-Identifier: MIT
 *
 * A runtime without threads of its own, for scenarios that play its workers: queues, gates and the
 * summary are there, and nobody else is. Preparing it takes no steps.
 */
#ifndef MODEL_STAND_H
#define MODEL_STAND_H

#include <string.h>

#include "core/runtime.h"
#include "core/worker.h"
#include "machine/machine.h"
#include "scenario.h"
#include "task.h"
#include "wait/stack.h"

static struct runtime *stand_;
static struct stack stand_stacks_[4];
static struct scope stand_scope_;

static inline struct worker *stand_worker(unsigned i)
{
        return stand_->workers[i];
}

static inline void stand_settle_(struct runtime *rt, unsigned index)
{
        struct worker *w = rt->workers[index];
        struct stack *stack = &stand_stacks_[index];

        worker_init(w, rt, index);
        memset(stack, 0, sizeof *stack);
        stack->home = w;
        stack->base.owner_ = &stand_scope_;
        w->stack = stack;
        w->scope = &stand_scope_;
        w->face.fork_top_ = w->face.fork_public_ = &stack->base;
        w->isolated = 1; /* waits on the same frames: there is no loop to go on with */
}

/* Workers, all on one node, and the bound of its injectors. */
static inline struct runtime *stand_begin(unsigned workers, size_t limit)
{
        static const unsigned nodes[4], ids[1];
        struct slot_shape shape = {workers, 1, nodes, ids};
        struct placement_input input = {.workers = workers};
        struct runtime *rt;

        model_pause();
        machine_begin(1);
        memset(&stand_scope_, 0, sizeof stand_scope_);
        rt = stand_ = slot_take(&shape);
        placement_make(&rt->placement, &input);
        rt->handle = handle_of(rt, 0);
        for (unsigned i = 0; i < workers; i++)
                stand_settle_(rt, i);
        for (unsigned i = 0; i < INJECTOR_PRIORITIES; i++)
                injector_open(&rt->nodes[0].injectors[i], limit ? limit : DOOR_COUNT_MASK);
        rt->door.value_ = 0;
        rt->phase.value_ = RUNTIME_RUNNING;
        rt->thread_count.value_ = workers;
        model_name(&rt->summary, 8, "summary");
        model_name(rt->idle_bits, 8, "idle bits");
        model_name(&rt->nodes[0].injectors[INJECTOR_NORMAL], sizeof(struct injector), "injector");
        for (unsigned i = 0; i < workers; i++) {
                static const char *const rings[] = {"ring0", "ring1", "ring2", "ring3"};
                static const char *const gates[] = {"gate0", "gate1", "gate2", "gate3"};

                model_name(&rt->workers[i]->ring, sizeof(struct ring), rings[i]);
                model_name(&rt->gates[i], sizeof(struct gate), gates[i]);
        }
        model_resume();
        return rt;
}

/* Threads: started with a number, joined all together. */
static inline unsigned start_thread(void (*entry)(void *arg), unsigned number)
{
        return 1u << model_thread_start(entry, (void *)(uintptr_t)number);
}

#endif
