/* SPDX-License-Identifier: MIT
 *
 * Parking and waking; see park.h for the protocol.
 */
#include "core/park.h"

#include "core/deque.h"
#include "core/injector.h"
#include "core/kernel.h"
#include "core/runtime.h"
#include "core/worker.h"
#include "io/io.h"
#include "io/timer.h"
#include "io/watch.h"

static uint64_t idle_bit(unsigned index)
{
        return (uint64_t)1 << (index & 63);
}

bool park_is_idle(const struct runtime *rt, unsigned index)
{
        /* relaxed: a hint. */
        return load_relaxed_u64(&rt->idle_bits[index / 64]) & idle_bit(index);
}

bool park_hungry(const struct runtime *rt)
{
        /* relaxed: callers stand behind a fence or want a hint. */
        uint64_t summary = load_relaxed_u64(&rt->summary);

        return park_idle_of(summary) || park_searching_of(summary);
}

/* Takes the worker out of the idle set. True: the caller owns its wake. */
static bool claim(struct runtime *rt, unsigned index)
{
        struct word64 *bits = &rt->idle_bits[index / 64];
        uint64_t bit = idle_bit(index);

        /* relaxed: behind the caller's fence; saves an RMW when it is not set. */
        if (!(load_relaxed_u64(bits) & bit))
                return false;
        /* [PK4] acq_rel pairs with the other claims of the bit and with its setting in
         * enter_idle(): one of them owns the wake. */
        if (!(fetch_and_acq_rel_u64(bits, ~bit) & bit))
                return false;
        /* [PK5] acq_rel pairs with the reads of the summary behind a fence: it says that somebody
         * searches before the woken worker can have searched. */
        fetch_add_acq_rel_u64(&rt->summary, PARK_EPOCH_ONE + PARK_SEARCH_ONE - PARK_IDLE_ONE);
        return true;
}

static void notify(struct runtime *rt, unsigned index)
{
        struct word32 *state = &rt->gates[index].state;

        /* [PK6] release pairs with the acquire in sleep_until_notified(): what the waker knows. */
        uint32_t old = exchange_acq_rel_u32(state, GATE_NOTIFIED);

        if (old == GATE_PARKED)
                kernel_futex_wake(state, 1);
        else if (old == GATE_PARKED_EVENT)
                /* relaxed: the exchange has read the state that was stored after it. */
                kernel_event_signal(load_relaxed_u32(&rt->gates[index].event));
}

/* The lowest idle worker of the node, but for `spared`, the index + 1 of one or 0: low ones stay
 * warm, high ones asleep. */
static bool wake_one_of(struct runtime *rt, unsigned node_index, unsigned spared)
{
        const struct runtime_node *node = &rt->nodes[node_index];

        for (unsigned i = 0; i < rt->idle_words; i++) {
                /* relaxed: claim() decides. Bound: 64 bits, each seen once. */
                uint64_t set = load_relaxed_u64(&rt->idle_bits[i]) & node->worker_bits[i];

                for (; set; set &= set - 1) {
                        unsigned index = i * 64 + (unsigned)__builtin_ctzll(set);

                        if (index + 1 != spared && claim(rt, index)) {
                                notify(rt, index);
                                return true;
                        }
                }
        }
        return false;
}

void park_wake_one(struct runtime *rt, unsigned node_index)
{
        const struct runtime_node *node = &rt->nodes[node_index];
        /* relaxed: whoever it is; woken for a job, another would have to be woken in its place. */
        unsigned sentinel = load_relaxed_u32(&rt->sentinel);

        for (unsigned i = 0; i < rt->node_count; i++)
                if (wake_one_of(rt, node->order[i], sentinel))
                        return;
        if (sentinel)
                park_wake_worker(rt, sentinel - 1);
}

void park_wake_worker(struct runtime *rt, unsigned index)
{
        if (claim(rt, index))
                notify(rt, index);
}

void gate_request(struct runtime *rt, unsigned index, uint32_t request)
{
        /* [GT3] release pairs with the exchange in requests_take(): what is wanted. */
        fetch_or_acq_rel_u32(&rt->gates[index].requests, request);
        /* [PK1] pairs with the parker's second look at its gate. */
        fence_seq_cst_after_rmw();
        park_wake_worker(rt, index);
}

/* Is there anything that this worker could do? */
static bool anything_visible(struct worker *w)
{
        struct runtime *rt = w->runtime;
        struct gate *gate = w->gate;

        /* relaxed, all: behind a full fence, [PK2] or that of park_found(). */
        if (load_relaxed_ptr(&gate->stacks) || load_relaxed_ptr(&gate->jobs) ||
            load_relaxed_u32(&gate->requests) || load_relaxed_u32(&rt->terminate) || io_visible(w))
                return true;
        /* Own forks wait for room in the ring, which only a late thief can still be holding up:
         * nobody would wake us when it goes on. */
        if (w->crowded)
                return true;
        if (sources_unwatched(&rt->sources) || watch_missing(w))
                return true;
        for (unsigned i = 0; i < rt->node_count; i++)
                if (injectors_visible(rt->nodes[i].injectors))
                        return true;
        /* [PK7] pairs with the release of the door's RMW in leave(): a batch that has left an
         * injector stands in a queue that is looked at after it. */
        fence_acquire();
        for (unsigned i = 0; i < rt->worker_count; i++) {
                struct worker *other = rt->workers[i];

                if (queue_count(&other->run) || queue_count(&other->batch) || deque_visible(other))
                        return true;
        }
        return false;
}

void park_search(struct worker *w)
{
        /* [PK5] pairs with the publishers' reads: while this counts, they need not wake. */
        fetch_add_acq_rel_u64(&w->runtime->summary, PARK_SEARCH_ONE);
}

void park_found(struct worker *w)
{
        struct runtime *rt = w->runtime;
        /* [PK5] see park_search(). */
        uint64_t summary = fetch_add_acq_rel_u64(&rt->summary, -PARK_SEARCH_ONE);

        if (park_searching_of(summary) != 1 || !park_idle_of(summary))
                return;
        /* [PK2] pairs with [PK1]: a publisher that still saw us searching has published before this
         * look. */
        fence_seq_cst_after_rmw();
        if (anything_visible(w))
                park_publish(rt, w->node_index);
}

/* Everybody's next fork shall take the slow path and see that we are idle. */
static void hunger(struct runtime *rt)
{
        for (unsigned i = 0; i < rt->worker_count; i++) {
                struct word64 *quiet = (struct word64 *)(void *)&rt->workers[i]->face.fork_quiet_;

                /* [FD5] relaxed, behind the parker's fence [PK2]: an owner that sets it after this
                 * look sees us idle behind its own fence. */
                if (load_relaxed_u64(quiet))
                        store_relaxed_u64(quiet, 0);
        }
}

/* Something of its own has come that nobody notifies: a completion, or the time of a timer. */
static bool own_event(const struct worker *w, int64_t deadline_ns)
{
        return io_visible(w) || (deadline_ns && kernel_now_ns() >= deadline_ns);
}

/* Asleep until notified; or until something of its own comes, when, as after a second look that has
 * found something, it takes itself out of the idle set, or is notified by who has been quicker. */
static void sleep_until_notified(struct worker *w)
{
        struct word32 *state = &w->gate->state;
        int64_t deadline_ns = earlier_ns(earlier_ns(w->sources.next_ns, w->trim_ns),
                                         earlier_ns(timers_next_ns(w), watch_deadline_ns(w)));
        bool ring = io_sleeps(w);
        uint32_t running = GATE_RUNNING, parked = ring ? io_sleep_begin(w) : GATE_PARKED;

        /* [PK6] pairs with the exchange in notify(). Failure: notified already. */
        if (cas_acq_rel_u32(state, &running, parked)) {
                count_add(&w->count.parks, 1);
                store_relaxed_u32(&w->count.parked, 1); /* relaxed: for the figures only */
                /* [PK6] acquire pairs with notify(). Spurious returns look again. */
                while (load_acquire_u32(state) == parked) {
                        if (ring)
                                io_sleep(w, deadline_ns);
                        else
                                kernel_futex_wait(state, GATE_PARKED, deadline_ns);
                        if (own_event(w, deadline_ns) && claim(w->runtime, w->index))
                                break;
                }
                store_relaxed_u32(&w->count.parked, 0); /* relaxed: for the figures only */
        }
        /* [PK6] acquire: consumes the one notification that our bit has paid for. */
        exchange_acq_rel_u32(state, GATE_RUNNING);
        if (ring)
                io_sleep_end(w);
}

/* Enters the idle set; tells the stopping thread when it is complete. */
static void enter_idle(struct worker *w)
{
        struct runtime *rt = w->runtime;
        unsigned index = w->index;
        /* [PK5] pairs with the publishers' reads behind [PK1]. First the count, then the bit: the
         * count is never below the bits. */
        uint64_t summary = fetch_add_acq_rel_u64(&rt->summary, PARK_IDLE_ONE - PARK_SEARCH_ONE);

        /* [PK4] pairs with claim(). */
        fetch_or_acq_rel_u64(&rt->idle_bits[index / 64], idle_bit(index));
        /* [PK2] pairs with [PK1]: a publisher that does not see us idle has published before our
         * second look. [ST1] pairs with the fence in drain(). */
        fence_seq_cst_after_rmw();
        /* relaxed: the stopping thread looks for itself. */
        if (park_idle_of(summary) + 1 >= load_relaxed_u32(&rt->thread_count))
                runtime_maybe_drained(rt);
}

void park(struct worker *w)
{
        enter_idle(w);
        hunger(w->runtime);
        /* Own stacks too: the last look at the injector may have woken one by the room it left. */
        if ((w->ready || sources_changed(&w->runtime->sources, &w->sources) ||
             anything_visible(w)) &&
            claim(w->runtime, w->index))
                return;
        sleep_until_notified(w);
}
