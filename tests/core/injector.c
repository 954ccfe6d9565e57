/* SPDX-License-Identifier: MIT
 *
 * The injector: its door (bound, closed, generation), its order, and those who wait before it.
 */
#include "core/injector.h"

#include "core/crew.h"
#include "core/queue.h"
#include "core/runtime.h"

enum { CHECKS = 44, BATCH = 16, PRODUCERS = 4, CONSUMERS = 3 };

static struct injector injector;
static struct runtime runtime;

/* Where a consumer takes a batch to. */
struct bag {
        struct queue queue;
        struct wordptr slots[BATCH];
};

struct item {
        struct skua_job job;
        unsigned producer, number;
};

static void open_new(size_t limit)
{
        memset(&injector, 0, sizeof injector);
        memset(&runtime, 0, sizeof runtime);
        injector_init(&injector, &runtime);
        injector_open(&injector, limit);
}

static long enter(size_t count, uint64_t generation)
{
        int error = 0;
        size_t given = injector_enter(&injector, count, generation, &error);

        return given ? (long)given : error;
}

/* Takes up to `most` jobs to batch[]. */
static size_t take(struct skua_job **batch, size_t most)
{
        struct bag bag = {.queue = {.mask = BATCH - 1, .slots = bag.slots}};
        size_t count = injector_take(&injector, &bag.queue, most);

        for (size_t i = 0; i < count; i++)
                batch[i] = queue_take_alone(&bag.queue);
        return count;
}

static bool waited(void)
{
        return load_relaxed_u64(&injector.door) & DOOR_WAITED;
}

static void check_door(void)
{
        memset(&injector, 0, sizeof injector);
        injector_init(&injector, &runtime);
        tap_is(enter(1, 0), -ESHUTDOWN, "closed before it is opened");
        tap_is(injector_count(&injector), 0, "and nothing is counted");
        open_new(3);
        tap_is(enter(2, 0), 2, "room for two");
        tap_is(enter(5, 0), 1, "of five one finds a place: a prefix");
        tap_is(enter(1, 0), -EAGAIN, "then it is full");
        tap_is(enter(4, DOOR_INSIDE), -EAGAIN, "for a job that asks too");
        tap_is(enter(1, 1), -ESHUTDOWN, "another generation is refused as closed");
        tap_is(injector_count(&injector), 3, "three are counted, refusals are not");
        injector_enter_inside(&injector, 2);
        tap_is(injector_count(&injector), 5, "workers pass the bound");
        tap_is(enter(1, 0), -EAGAIN, "others do not");
        injector_close(&injector, 0);
        tap_is(enter(1, 0), -ESHUTDOWN, "closed");
        tap_is(enter(1, DOOR_INSIDE), -EAGAIN, "not for jobs, which are only bound");
        injector_enter_inside(&injector, 1);
        tap_is(injector_count(&injector), 6, "counts after the close");
}

static void check_generation(void)
{
        open_new(10);
        injector_close(&injector, 0);
        injector_retire(&injector);
        tap_is(enter(1, 0), -ESHUTDOWN, "retired: the old handle is refused");
        tap_is(enter(1, 1), -ESHUTDOWN, "the next one still finds it closed");
        injector_open(&injector, 1);
        tap_is(enter(1, 0), -ESHUTDOWN, "opened anew: the old handle is refused");
        tap_is(enter(3, 1), 1, "the new one is not");
        injector_close(&injector, 0);
        tap_is(enter(1, 1), -EAGAIN, "a close that comes too late closes nothing");
        tap_is(enter(1, 0), -ESHUTDOWN, "full: the old handle learns nothing of it");
        tap_is(injector_count(&injector), 1, "one is counted");
}

/* Takes all there are and checks that their numbers go on from *next. */
static unsigned take_in_order(unsigned *next, size_t most)
{
        struct skua_job *batch[BATCH];
        unsigned wrong = 0;
        size_t count;

        while ((count = take(batch, most))) {
                wrong += count > most;
                for (size_t i = 0; i < count; i++)
                        wrong += skua_container(batch[i], struct item, job)->number != (*next)++;
        }
        return wrong;
}

static void check_order(void)
{
        static struct item items[100];
        unsigned next = 0, wrong = 0;
        uint32_t free = 0;

        open_new(DOOR_COUNT_MASK);
        for (unsigned i = 0; i < 100; i++)
                items[i].number = i;
        for (unsigned i = 0; i < 90; i++) {
                enter(1, 0);
                injector_link(&injector, &items[i].job, &items[i].job);
                if (i % 7 == 0)
                        wrong += take_in_order(&next, 1 + i % 5);
        }
        for (unsigned i = 90; i < 99; i++)
                items[i].job.next_ = &items[i + 1].job;
        enter(10, 0);
        injector_link(&injector, &items[90].job, &items[99].job);
        tap_ok(cas_acquire_u32(&injector.turn, &free, 1), "the turn is free");
        tap_is(take_in_order(&next, BATCH), 0, "somebody else's turn:");
        tap_ok(next < 90, "nothing is taken");
        store_release_u32(&injector.turn, 0);
        wrong += take_in_order(&next, 3);
        tap_is(wrong, 0, "batches are as large as asked for, in order");
        tap_is(next, 100, "the chain comes whole");
        tap_ok(!injector_count(&injector) && load_relaxed_u64(&injector.taken) == 100,
               "and is counted out");
}

/* A producer that is preempted between exchange and link delays those behind it. */
static void check_preempted(void)
{
        struct item items[4] = {{.number = 0}, {.number = 1}, {.number = 2}, {.number = 3}};
        struct skua_job *before;
        unsigned next = 0, wrong;

        open_new(DOOR_COUNT_MASK);
        enter(4, 0);
        injector_link(&injector, &items[0].job, &items[0].job);
        before = exchange_acq_rel_ptr(&injector.tail, &items[1].job);
        injector_link(&injector, &items[2].job, &items[2].job);
        injector_link(&injector, &items[3].job, &items[3].job);
        wrong = take_in_order(&next, BATCH);
        tap_ok(!wrong && next == 0 && injector_count(&injector) == 4,
               "behind a producer that has not linked nothing is taken, all is counted");
        store_release_ptr(job_next(before), &items[1].job);
        wrong = take_in_order(&next, BATCH);
        tap_ok(!wrong && next == 4 && !injector_count(&injector), "then everything, in order");
}

/* ------------------------------------------------------------------ the bound */

static atomic_long given_sum, inside, above;
static atomic_uint rounds_left;

static void *enter_until_full(void *seed)
{
        uint64_t random = (uint64_t)(uintptr_t)seed;
        long given;

        while ((given = enter(1 + (tap_random(&random) >> 32) % 5, 0)) > 0)
                atomic_fetch_add(&given_sum, given);
        return given == -EAGAIN ? NULL : seed;
}

static void check_bound_exact(void)
{
        unsigned rounds = rig_rounds(400), wrong = 0;
        uint64_t random = 0;

        for (unsigned round = 0; round < rounds; round++) {
                long limit = 1 + (long)(tap_random(&random) >> 32) % 300;
                pthread_t threads[PRODUCERS];

                open_new((size_t)limit);
                atomic_store(&given_sum, 0);
                for (unsigned i = 0; i < PRODUCERS; i++)
                        threads[i] = go(enter_until_full, (void *)(uintptr_t)(round * 8 + i + 1));
                for (unsigned i = 0; i < PRODUCERS; i++)
                        wrong += join(threads[i]) != NULL;
                /* Each one's last try may have found the door raised by another's vain one. */
                while (enter(1, 0) == 1)
                        atomic_fetch_add(&given_sum, 1);
                wrong += atomic_load(&given_sum) != limit;
                wrong += injector_count(&injector) != (uint64_t)limit;
        }
        tap_is(wrong, 0, "many at the door at once: as many as the bound come in");
}

enum { LIMIT = 5 };

static void *come(void *seed)
{
        uint64_t random = (uint64_t)(uintptr_t)seed;

        while (atomic_load(&rounds_left)) {
                size_t wish = 1 + (tap_random(&random) >> 32) % 4;
                long given = enter(wish, 0);

                if (given < 0) {
                        sched_yield();
                        continue;
                }
                if (atomic_fetch_add(&inside, given) + given > LIMIT)
                        atomic_fetch_add(&above, 1);
                for (long i = 0; i < given; i++) {
                        struct item *item = calloc(1, sizeof *item);

                        injector_link(&injector, &item->job, &item->job);
                }
        }
        return NULL;
}

/* `inside` goes down before the place is free and up after it is taken: it is never more than
 * those who are let in. */
static bool take_one(void)
{
        struct skua_job *job;
        bool taken;

        atomic_fetch_sub(&inside, 1);
        taken = take(&job, 1);
        if (taken)
                free(job);
        else
                atomic_fetch_add(&inside, 1);
        return taken;
}

static void check_bound_moving(void)
{
        pthread_t threads[PRODUCERS];

        open_new(LIMIT);
        atomic_store(&inside, 0);
        atomic_store(&above, 0);
        atomic_store(&rounds_left, rig_rounds(200000));
        for (unsigned i = 0; i < PRODUCERS; i++)
                threads[i] = go(come, (void *)(uintptr_t)(i + 77));
        while (atomic_load(&rounds_left))
                if (take_one())
                        atomic_fetch_sub(&rounds_left, 1);
                else
                        sched_yield();
        for (unsigned i = 0; i < PRODUCERS; i++)
                join(threads[i]);
        while (take_one())
                ;
        tap_is(atomic_load(&above), 0, "while others leave: never more than the bound inside");
        tap_ok(!injector_count(&injector) && !atomic_load(&inside), "none is left");
}

/* ------------------------------------------------------------------ everybody at once */

struct stream {
        unsigned index, count;
        struct item *items;
};

static atomic_uint consumed, disorder;

/* As submit.c does it. */
static int enter_waiting(uint64_t generation)
{
        for (;;) {
                long given = enter(1, generation);
                uint32_t look;

                if (given != -EAGAIN)
                        return given < 0 ? (int)given : 0;
                look = injector_look(&injector);
                given = enter(1, generation);
                if (given != -EAGAIN)
                        return given < 0 ? (int)given : 0;
                injector_sleep(&injector, look);
        }
}

static void *produce(void *arg)
{
        struct stream *stream = arg;

        for (unsigned i = 0; i < stream->count; i++) {
                struct item *item = &stream->items[i];

                item->producer = stream->index;
                item->number = i + 1;
                if (enter_waiting(0))
                        return stream;
                injector_link(&injector, &item->job, &item->job);
        }
        return NULL;
}

static void *consume(void *total)
{
        unsigned last[PRODUCERS] = {0};
        struct skua_job *batch[BATCH];

        while (atomic_load(&consumed) < (unsigned)(uintptr_t)total) {
                size_t count = take(batch, BATCH);

                if (!count)
                        sched_yield();
                for (size_t i = 0; i < count; i++) {
                        struct item *item = skua_container(batch[i], struct item, job);

                        if (item->number <= last[item->producer])
                                atomic_fetch_add(&disorder, 1);
                        last[item->producer] = item->number;
                        item->number = 0; /* a second time would be out of order */
                }
                atomic_fetch_add(&consumed, (unsigned)count);
        }
        return NULL;
}

static void stream_all(size_t limit, unsigned each, const char *name)
{
        unsigned wrong = 0;
        struct stream streams[PRODUCERS];
        pthread_t producers[PRODUCERS], consumers[CONSUMERS];
        void *total = (void *)(uintptr_t)(each * PRODUCERS);

        open_new(limit);
        atomic_store(&consumed, 0);
        atomic_store(&disorder, 0);
        for (unsigned i = 0; i < CONSUMERS; i++)
                consumers[i] = go(consume, total);
        for (unsigned i = 0; i < PRODUCERS; i++) {
                streams[i] = (struct stream){i, each, calloc(each, sizeof(struct item))};
                producers[i] = go(produce, &streams[i]);
        }
        for (unsigned i = 0; i < PRODUCERS; i++)
                wrong += join(producers[i]) != NULL;
        for (unsigned i = 0; i < CONSUMERS; i++)
                join(consumers[i]);
        for (unsigned i = 0; i < PRODUCERS; i++) {
                for (unsigned k = 0; k < each; k++)
                        wrong += streams[i].items[k].number != 0;
                free(streams[i].items);
        }
        wrong += atomic_load(&consumed) != each * PRODUCERS || injector_count(&injector);
        tap_is(wrong, 0, name);
        tap_is(atomic_load(&disorder), 0, "each producer's in its order");
}

/* ------------------------------------------------------------------ waiting before the door */

static void *wait_to_enter(void *generation)
{
        return (void *)(intptr_t)enter_waiting((uint64_t)(uintptr_t)generation);
}

static void spin_until_waited(void)
{
        while (!waited())
                sched_yield();
}

static void check_waiting(void)
{
        struct item one = {.number = 0};
        struct skua_job *batch[1];
        uint64_t before;
        pthread_t thread;
        int error;

        open_new(1);
        enter(1, 0);
        injector_link(&injector, &one.job, &one.job);
        thread = go(wait_to_enter, NULL);
        spin_until_waited();
        enter(1, 0);
        enter(3, 0);
        tap_ok(waited(), "who asks in vain and leaves no room wakes nobody");
        tap_is(take(batch, 1), 1, "somebody waits, and one is taken:");
        tap_is((intptr_t)join(thread), 0, "the waiting one comes in");

        open_new(2);
        /* A producer in the midst of asking for three, in vain; another waits meanwhile. */
        before = fetch_add_acq_rel_u64(&injector.door, 3);
        thread = go(wait_to_enter, NULL);
        spin_until_waited();
        tap_is(injector_refuse(&injector, 3, 7, before, &error), 0, "a vain wish is undone:");
        tap_is((intptr_t)join(thread), 0, "who waited because of it comes in");

        before = fetch_add_acq_rel_u64(&injector.door, 3);
        thread = go(wait_to_enter, NULL);
        spin_until_waited();
        tap_is(injector_refuse(&injector, 3, 0, before, &error), 1, "given one of three");
        injector_close(&injector, 0);
        tap_is((intptr_t)join(thread), -ESHUTDOWN, "the close wakes who waits");
        tap_is(injector_count(&injector), 2, "and counts nobody");
}

int main(void)
{
        tap_plan(CHECKS, 60);
        check_door();
        check_generation();
        check_order();
        check_preempted();
        check_bound_exact();
        check_bound_moving();
        check_waiting();
        stream_all(DOOR_COUNT_MASK, rig_rounds(60000),
                   "four producers, three consumers, no bound: all once");
        stream_all(1, rig_rounds(20000), "a bound of one: all once, nobody sleeps for ever");
        tap_ok(load_relaxed_u32(&runtime.drain_event) == 0, "no drain was told of an open door");
        return tap_done();
}
