/* SPDX-License-Identifier: MIT
 *
 * The run queue: order, bounds, wrap-around, and that every job leaves it exactly once, whoever
 * takes it.
 */
#include "core/queue.h"

#include "core/crew.h"

enum { CHECKS = 25, JOBS = 1 << 16, SMALL = 8, THIEVES = 3 };

static struct skua_job jobs[JOBS];
static atomic_uint seen[JOBS];
static struct wordptr slots[QUEUE_SLOTS];
static struct queue queue;
static atomic_bool stop;
static atomic_uint disorder;

/* Empty, with indexes that begin at `base`. */
static void reset(unsigned slot_count, uint64_t base)
{
        memset(slots, 0, sizeof slots);
        memset((void *)seen, 0, sizeof seen);
        store_relaxed_u64(&queue.top, base);
        store_relaxed_u64(&queue.bottom, base);
        queue.mask = slot_count - 1;
        queue.slots = slots;
        atomic_store(&stop, false);
        atomic_store(&disorder, 0);
}

static long id(const struct skua_job *job)
{
        return job ? job - jobs : -1;
}

static void push_ids(unsigned from, unsigned to)
{
        for (unsigned i = from; i < to; i++)
                queue_push(&queue, &jobs[i]);
}

static void check_empty(void)
{
        struct skua_job *one;

        reset(SMALL, 0);
        tap_ok(!queue_pop(&queue, false) && !queue_pop(&queue, true) && !queue_steal(&queue) &&
                       !queue_take(&queue) && !queue_take_alone(&queue) &&
                       !queue_claim(&queue, &one, 1) && !queue_count(&queue),
               "empty for everybody");
        push_ids(0, 1);
        tap_is(id(queue_pop(&queue, false)), 0, "the only one is popped");
        tap_ok(!queue_pop(&queue, false) && !queue_steal(&queue), "and empty again");
}

static void check_order(void)
{
        struct skua_job *claimed[4];

        reset(SMALL, 0);
        push_ids(0, 7);
        tap_is(queue_count(&queue), 7, "seven are counted");
        tap_is(id(queue_pop(&queue, false)), 6, "the owner pops the newest");
        tap_is(id(queue_pop(&queue, true)), 5, "alone as well");
        tap_is(id(queue_steal(&queue)), 0, "a thief gets the oldest");
        tap_is(id(queue_take(&queue)), 1, "take too");
        tap_is(id(queue_take_alone(&queue)), 2, "alone too");
        tap_is(queue_claim(&queue, claimed, 3), 0, "no claim of more than there are");
        push_ids(10, 12);
        tap_is(queue_claim(&queue, claimed, 3), 3, "a claim");
        tap_ok(id(claimed[0]) == 3 && id(claimed[1]) == 4 && id(claimed[2]) == 10,
               "gets the oldest, in order");
        tap_is(id(queue_pop(&queue, false)), 11, "and leaves the rest");
}

/* A batch is laid down first and seen by others when it is complete. */
static void check_batch(void)
{
        unsigned wrong = 0;

        reset(SMALL, 5);
        push_ids(0, 2);
        for (unsigned i = 0; i < 6; i++)
                queue_lay(&queue, i, &jobs[2 + i]);
        wrong += queue_count(&queue) != 2;
        queue_lay_done(&queue, 6);
        wrong += queue_push(&queue, &jobs[8]);
        for (unsigned i = 0; i < 8; i++)
                wrong += id(queue_take(&queue)) != i;
        tap_is(wrong, 0, "a batch comes at once, in order, behind what was there");
}

static void check_full(uint64_t base)
{
        unsigned pushed = 0, wrong = 0;

        reset(SMALL, base);
        while (pushed < 100 && queue_push(&queue, &jobs[pushed]))
                pushed++;
        tap_is(pushed, SMALL, "full at its size");
        wrong += id(queue_steal(&queue)) != 0;
        wrong += !queue_push(&queue, &jobs[SMALL]) || queue_push(&queue, &jobs[SMALL + 1]);
        wrong += id(queue_pop(&queue, false)) != SMALL || !queue_push(&queue, &jobs[SMALL]);
        for (unsigned i = 1; i < 1000; i++) {
                wrong += id(i & 1 ? queue_steal(&queue) : queue_take(&queue)) != i;
                wrong += !queue_push(&queue, &jobs[SMALL + i]);
                wrong += queue_count(&queue) != SMALL;
        }
        tap_is(wrong, 0, "around the ring, in order");
}

static void note(const struct skua_job *job, long *last)
{
        if (!job)
                return;
        atomic_fetch_add(&seen[id(job)], 1);
        if (id(job) <= *last)
                atomic_fetch_add(&disorder, 1);
        *last = id(job);
}

static void *steal_all(void *take)
{
        long last = -1;

        while (!atomic_load_explicit(&stop, memory_order_relaxed) || queue_count(&queue))
                note(take ? queue_take(&queue) : queue_steal(&queue), &last);
        return NULL;
}

static void pop_one(void)
{
        struct skua_job *job = queue_pop(&queue, false);

        if (job)
                atomic_fetch_add(&seen[id(job)], 1);
}

/* The queue is kept short, so that owner and thieves meet at the last entry. */
static void own_popping(unsigned count)
{
        struct skua_job *claimed[4];
        uint64_t random = 0;

        for (unsigned i = 0; i < count;) {
                uint64_t r = tap_random(&random) >> 32;

                if (r % 64 == 0) {
                        size_t got = queue_claim(&queue, claimed, 1 + r / 64 % 4);

                        while (got)
                                atomic_fetch_add(&seen[id(claimed[--got])], 1);
                } else if (queue_push(&queue, &jobs[i])) {
                        i++;
                        pop_one();
                        if (r % 8 == 0)
                                i < count &&queue_push(&queue, &jobs[i]) ? i++ : i;
                } else {
                        pop_one();
                }
        }
        while (queue_count(&queue))
                pop_one();
}

/* Two at a time: the owner gets one without a CAS while a thief is at the other. */
static void own_pairs(unsigned count)
{
        for (unsigned i = 0; i < count; i++) {
                while (!queue_push(&queue, &jobs[i]))
                        pop_one();
                if (i & 1) {
                        pop_one();
                        pop_one();
                }
        }
        while (queue_count(&queue))
                pop_one();
}

static void own_taking(unsigned count)
{
        long last = -1;

        for (unsigned i = 0; i < count;)
                if (queue_push(&queue, &jobs[i]))
                        i++;
                else
                        note(queue_take(&queue), &last);
        while (queue_count(&queue))
                note(queue_take(&queue), &last);
}

/* Every job once, whoever owns. Returns how many jobs were not seen once. */
static unsigned race(unsigned slot_count, void (*own)(unsigned count), unsigned rounds)
{
        unsigned wrong = 0;

        for (unsigned round = 0; round < rounds; round++) {
                unsigned count = rig_rounds(JOBS);
                pthread_t threads[THIEVES];

                reset(slot_count, round & 1 ? UINT64_MAX - 1000 : 0);
                for (unsigned i = 0; i < THIEVES; i++)
                        threads[i] = go(steal_all, own == own_taking ? &queue : NULL);
                own(count);
                atomic_store(&stop, true);
                for (unsigned i = 0; i < THIEVES; i++)
                        join(threads[i]);
                for (unsigned i = 0; i < count; i++)
                        wrong += atomic_load(&seen[i]) != 1;
                wrong += atomic_load(&disorder);
        }
        return wrong;
}

int main(void)
{
        tap_plan(CHECKS, 60);
        check_empty();
        check_order();
        check_batch();
        check_full(0);
        check_full((uint64_t)UINT32_MAX - 3);
        check_full(UINT64_MAX - 500);
        tap_is(race(1, own_popping, 4), 0, "one slot: each job once, thieves see them in order");
        tap_is(race(SMALL, own_popping, 8), 0, "eight slots: the same");
        tap_is(race(QUEUE_SLOTS, own_popping, 4), 0, "full size: the same");
        tap_is(race(QUEUE_SLOTS, own_pairs, 120), 0, "two at a time: the same");
        tap_is(race(BATCH_SLOTS, own_taking, 8), 0, "without pops, all by take: the same");
        return tap_done();
}
