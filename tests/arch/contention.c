/* SPDX-License-Identifier: MIT
 *
 * Every read-modify-write from several threads at once: nothing lost, nothing twice. Then locks
 * made of them around plain data, which also shows a sanitizer that acquire and release are there.
 */
#include "arch.h"
#include "tap.h"

#include <pthread.h>
#include <sched.h>

#define THREADS   4
#define ROUNDS    50000u
#define INCREMENT 0x100000001u /* both halves of a 64-bit word move; 1 in a 32-bit word */

static struct {
        _Alignas(ARCH_APART) struct word32 u32;
        _Alignas(ARCH_APART) struct word64 u64;
        _Alignas(ARCH_APART) struct wordptr ptr;
        _Alignas(ARCH_APART) unsigned long plain; /* guarded by a lock made of a word above */
} shared;

static pthread_barrier_t together;
static struct word32 taken[THREADS * ROUNDS]; /* how often each old value came out */
static struct word32 broken;                  /* what threads found wrong by themselves */

static void expect(bool holds)
{
        if (!holds)
                fetch_add_relaxed_u32(&broken, 1);
}

/* Bodies: what thread `id` does in round `round`. */
#define ADD(ORDER, W, T)                                                              \
        static void add_##ORDER##_##W(unsigned id, unsigned round)                    \
        {                                                                             \
                T old = fetch_add_##ORDER##_##W(&shared.W, (T)INCREMENT);             \
                                                                                      \
                (void)id;                                                             \
                (void)round;                                                          \
                expect((uint32_t)old < THREADS * ROUNDS);                             \
                fetch_add_relaxed_u32(&taken[(uint32_t)old % (THREADS * ROUNDS)], 1); \
        }
ADD(relaxed, u32, uint32_t)
ADD(acq_rel, u32, uint32_t)
ADD(relaxed, u64, uint64_t)
ADD(acq_rel, u64, uint64_t)

#define COUNT_BY_CAS(ORDER, W, T, NUMBER)                                                         \
        static void cas_##ORDER##_count_##W(unsigned id, unsigned round)                          \
        {                                                                                         \
                T old = load_relaxed_##W(&shared.W);                                              \
                                                                                                  \
                (void)id;                                                                         \
                (void)round;                                                                      \
                while (!cas_##ORDER##_##W(&shared.W, &old, (T)((NUMBER)old + (NUMBER)INCREMENT))) \
                        spin_hint();                                                              \
                fetch_add_relaxed_u32(&taken[(uint32_t)(NUMBER)old % (THREADS * ROUNDS)], 1);     \
        }
COUNT_BY_CAS(relaxed, u32, uint32_t, uint32_t)
COUNT_BY_CAS(acquire, u32, uint32_t, uint32_t)
COUNT_BY_CAS(acq_rel, u32, uint32_t, uint32_t)
COUNT_BY_CAS(relaxed, u64, uint64_t, uint64_t)
COUNT_BY_CAS(acquire, u64, uint64_t, uint64_t)
COUNT_BY_CAS(acq_rel, u64, uint64_t, uint64_t)
COUNT_BY_CAS(relaxed, ptr, void *, uintptr_t)
COUNT_BY_CAS(acquire, ptr, void *, uintptr_t)
COUNT_BY_CAS(acq_rel, ptr, void *, uintptr_t)

/* Each thread brings a new token and takes one: at the end all but the last are out, once each.
 * Token 0 is what the word begins with. */
#define PASS_TOKENS(W, T, NUMBER)                                                                 \
        static void exchange_##W(unsigned id, unsigned round)                                     \
        {                                                                                         \
                NUMBER token = id * ROUNDS + round + 1;                                           \
                T got = exchange_acq_rel_##W(&shared.W, (T)token);                                \
                                                                                                  \
                expect((NUMBER)got <= THREADS * ROUNDS);                                          \
                if (got)                                                                          \
                        fetch_add_relaxed_u32(&taken[((NUMBER)got - 1) % (THREADS * ROUNDS)], 1); \
        }
PASS_TOKENS(u32, uint32_t, uint32_t)
PASS_TOKENS(u64, uint64_t, uint64_t)
PASS_TOKENS(ptr, void *, uintptr_t)

/* Each thread sets and clears bits of its own, one at the top and one at the bottom; nobody may
 * disturb them. */
#define TOGGLE_BITS(W, T, TOP)                                                 \
        static void bits_##W(unsigned id, unsigned round)                      \
        {                                                                      \
                T own = (T)1 << id | (T)1 << (TOP - id);                       \
                                                                               \
                (void)round;                                                   \
                expect((fetch_or_acq_rel_##W(&shared.W, own) & own) == 0);     \
                expect((load_relaxed_##W(&shared.W) & own) == own);            \
                expect((fetch_and_acq_rel_##W(&shared.W, ~own) & own) == own); \
                expect((load_relaxed_##W(&shared.W) & own) == 0);              \
        }
TOGGLE_BITS(u32, uint32_t, 31)
TOGGLE_BITS(u64, uint64_t, 63)

/* Locks. The holder's plain increment is lost if two are inside. */
static void pause_a_while(unsigned *spins)
{
        spin_hint();
        if (++*spins % 64 == 0)
                sched_yield();
}

static void lock_by_exchange(unsigned id, unsigned round)
{
        unsigned spins = 0;

        (void)id;
        (void)round;
        while (exchange_acq_rel_u32(&shared.u32, 1))
                pause_a_while(&spins);
        shared.plain++;
        store_release_u32(&shared.u32, 0);
}

static void lock_by_cas(unsigned id, unsigned round)
{
        void *expected = NULL;
        unsigned spins = 0;

        (void)round;
        while (!cas_acquire_ptr(&shared.ptr, &expected, &taken[id])) {
                expected = NULL;
                pause_a_while(&spins);
        }
        shared.plain++;
        store_release_ptr(&shared.ptr, NULL);
}

static void lock_by_bits(unsigned id, unsigned round)
{
        unsigned spins = 0;

        (void)id;
        (void)round;
        while (fetch_or_acq_rel_u64(&shared.u64, 1ull << 63) >> 63)
                pause_a_while(&spins);
        shared.plain++;
        fetch_and_acq_rel_u64(&shared.u64, ~(1ull << 63));
}

static void lock_by_ticket(unsigned id, unsigned round)
{
        uint32_t ticket = fetch_add_acq_rel_u32(&shared.u32, 1);
        unsigned spins = 0;

        (void)id;
        (void)round;
        while (load_acquire_u64(&shared.u64) != ticket)
                pause_a_while(&spins);
        shared.plain++;
        store_release_u64(&shared.u64, ticket + 1);
}

#define ALL  (THREADS * ROUNDS)
#define FULL (ALL * INCREMENT) /* what a 64-bit counter has at the end */

static const struct trial {
        const char *name;
        void (*body)(unsigned id, unsigned round);
        uint64_t word_at_end; /* sum of the three words */
        unsigned taken_at_end, plain_at_end;
        bool any_word;    /* the word at the end is whoever was last */
        unsigned divisor; /* of ROUNDS: locks convoy when there are more threads than CPUs */
} trials[] = {
        {"fetch_add_relaxed_u32", add_relaxed_u32, ALL, ALL, 0, false, 1},
        {"fetch_add_acq_rel_u32", add_acq_rel_u32, ALL, ALL, 0, false, 1},
        {"fetch_add_relaxed_u64", add_relaxed_u64, FULL, ALL, 0, false, 1},
        {"fetch_add_acq_rel_u64", add_acq_rel_u64, FULL, ALL, 0, false, 1},
        {"cas_relaxed_u32", cas_relaxed_count_u32, ALL, ALL, 0, false, 1},
        {"cas_acquire_u32", cas_acquire_count_u32, ALL, ALL, 0, false, 1},
        {"cas_acq_rel_u32", cas_acq_rel_count_u32, ALL, ALL, 0, false, 1},
        {"cas_relaxed_u64", cas_relaxed_count_u64, FULL, ALL, 0, false, 1},
        {"cas_acquire_u64", cas_acquire_count_u64, FULL, ALL, 0, false, 1},
        {"cas_acq_rel_u64", cas_acq_rel_count_u64, FULL, ALL, 0, false, 1},
        {"cas_relaxed_ptr", cas_relaxed_count_ptr, FULL, ALL, 0, false, 1},
        {"cas_acquire_ptr", cas_acquire_count_ptr, FULL, ALL, 0, false, 1},
        {"cas_acq_rel_ptr", cas_acq_rel_count_ptr, FULL, ALL, 0, false, 1},
        {"exchange_acq_rel_u32", exchange_u32, 0, ALL - 1, 0, true, 1},
        {"exchange_acq_rel_u64", exchange_u64, 0, ALL - 1, 0, true, 1},
        {"exchange_acq_rel_ptr", exchange_ptr, 0, ALL - 1, 0, true, 1},
        {"fetch_or, fetch_and_acq_rel_u32", bits_u32, 0, 0, 0, false, 1},
        {"fetch_or, fetch_and_acq_rel_u64", bits_u64, 0, 0, 0, false, 1},
        {"lock: exchange_acq_rel", lock_by_exchange, 0, 0, ALL, false, 10},
        {"lock: cas_acquire", lock_by_cas, 0, 0, ALL, false, 10},
        {"lock: fetch_or, fetch_and", lock_by_bits, 0, 0, ALL, false, 10},
        {"lock: ticket", lock_by_ticket, ALL / 10 * 2, 0, ALL, false, 10},
};

#define TRIALS (sizeof trials / sizeof trials[0])

static const struct trial *trial;

static void *run(void *arg)
{
        unsigned id = (unsigned)(uintptr_t)arg;

        pthread_barrier_wait(&together);
        for (unsigned round = 0; round < ROUNDS / trial->divisor; round++)
                trial->body(id, round);
        return NULL;
}

static void test_trial(void)
{
        pthread_t threads[THREADS];
        unsigned out_once = 0, out_twice = 0;
        uint64_t words;

        memset(&shared, 0, sizeof shared);
        memset(taken, 0, sizeof taken);
        store_relaxed_u32(&broken, 0);
        for (uintptr_t i = 0; i < THREADS; i++)
                pthread_create(&threads[i], NULL, run, (void *)i);
        for (unsigned i = 0; i < THREADS; i++)
                pthread_join(threads[i], NULL);
        for (unsigned i = 0; i < ALL; i++) {
                out_once += load_relaxed_u32(&taken[i]) == 1;
                out_twice += load_relaxed_u32(&taken[i]) > 1;
        }
        words = load_relaxed_u32(&shared.u32) + load_relaxed_u64(&shared.u64) +
                (uintptr_t)load_relaxed_ptr(&shared.ptr);
        if (!tap_ok((trial->any_word || words == trial->word_at_end) && out_twice == 0 &&
                            out_once == trial->taken_at_end &&
                            shared.plain == trial->plain_at_end / trial->divisor &&
                            load_relaxed_u32(&broken) == 0,
                    "%s", trial->name))
                printf("#   word %llx, values once %u twice %u, plain %lu, broken %u\n",
                       (unsigned long long)words, out_once, out_twice, shared.plain,
                       load_relaxed_u32(&broken));
}

int main(void)
{
        tap_plan(TRIALS, 60);
        printf("# %s, %u threads, %u rounds\n", arch_name(), THREADS, ROUNDS);
        pthread_barrier_init(&together, NULL, THREADS);
        for (trial = trials; trial < trials + TRIALS; trial++)
                test_trial();
        pthread_barrier_destroy(&together);
        return tap_done();
}
