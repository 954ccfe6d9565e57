/* SPDX-License-Identifier: MIT
 *
 * Every operation of arch.h on one thread, against the same computed in plain C: all pairs of a
 * table of awkward values, between two neighbours that must not change. Then the thread word.
 */
#include "arch.h"
#include "tap.h"

#include <pthread.h>
#include <sys/mman.h>

/* In this order in memory, so that an operation that is too wide shows. */
#define GUARDED(W, WORD)                     \
        struct guarded_##W {                 \
                struct WORD low, word, high; \
        };
GUARDED(u32, word32)
GUARDED(u64, word64)
GUARDED(ptr, wordptr)

#define GUARD 0xa5c3965a0ff0e1d2u

static bool guard_holds(const void *low, const void *high, size_t size)
{
        uint64_t guard = GUARD;

        return !memcmp(low, &guard, size) && !memcmp(high, &guard, size);
}

/* Checks of one width: true if the operation does with (a, b) what its name says. Numbers come as
 * uint64_t; CAST makes a T of one. */
#define CHECK(NAME, W, T, CAST, ...)                                        \
        static bool check_##NAME##_##W(uint64_t a_, uint64_t b_)            \
        {                                                                   \
                T a = (T)(CAST)a_;                                          \
                T b = (T)(CAST)b_;                                          \
                T expected = b;                                             \
                T guard = (T)(CAST)GUARD;                                   \
                struct guarded_##W g = {{guard}, {a}, {guard}};             \
                bool holds = __VA_ARGS__;                                   \
                                                                            \
                (void)expected;                                             \
                (void)b;                                                    \
                return holds && guard_holds(&g.low, &g.high, sizeof g.low); \
        }

#define CHECK_CAS(ORDER, W, T, CAST)                                             \
        CHECK(cas_##ORDER, W, T, CAST,                                           \
              cas_##ORDER##_##W(&g.word, &expected, (T)(CAST)~a_) == (a == b) && \
                      expected == (a == b ? b : a) &&                            \
                      g.word.value_ == (a == b ? (T)(CAST)~a_ : a))

#define CHECK_WORD(W, T, CAST)                                                                    \
        CHECK(load, W, T, CAST, load_relaxed_##W(&g.word) == a && load_acquire_##W(&g.word) == a) \
        CHECK(store_relaxed, W, T, CAST, (store_relaxed_##W(&g.word, b), g.word.value_ == b))     \
        CHECK(store_release, W, T, CAST, (store_release_##W(&g.word, b), g.word.value_ == b))     \
        CHECK(exchange_acq_rel, W, T, CAST,                                                       \
              exchange_acq_rel_##W(&g.word, b) == a && g.word.value_ == b)                        \
        CHECK_CAS(relaxed, W, T, CAST)                                                            \
        CHECK_CAS(acquire, W, T, CAST)                                                            \
        CHECK_CAS(acq_rel, W, T, CAST)

#define CHECK_FETCH(NAME, OPERATOR, W, T) \
        CHECK(NAME, W, T, T, NAME##_##W(&g.word, b) == a && g.word.value_ == (T)(a OPERATOR b))

#define CHECK_NUMBER(W, T)                      \
        CHECK_FETCH(fetch_add_relaxed, +, W, T) \
        CHECK_FETCH(fetch_add_acq_rel, +, W, T) \
        CHECK_FETCH(fetch_or_acq_rel, |, W, T)  \
        CHECK_FETCH(fetch_and_acq_rel, &, W, T)

CHECK_WORD(u32, uint32_t, uint32_t)
CHECK_WORD(u64, uint64_t, uint64_t)
CHECK_WORD(ptr, void *, uintptr_t)
CHECK_NUMBER(u32, uint32_t)
CHECK_NUMBER(u64, uint64_t)

#define ROW(NAME, W) {#NAME "_" #W, check_##NAME##_##W},
#define ROWS_WORD(W)             \
        ROW(load, W)             \
        ROW(store_relaxed, W)    \
        ROW(store_release, W)    \
        ROW(exchange_acq_rel, W) \
        ROW(cas_relaxed, W)      \
        ROW(cas_acquire, W)      \
        ROW(cas_acq_rel, W)
#define ROWS_NUMBER(W)            \
        ROW(fetch_add_relaxed, W) \
        ROW(fetch_add_acq_rel, W) \
        ROW(fetch_or_acq_rel, W)  \
        ROW(fetch_and_acq_rel, W)

static const struct {
        const char *name;
        bool (*holds)(uint64_t a, uint64_t b);
} checks[] = {ROWS_WORD(u32) ROWS_WORD(u64) ROWS_WORD(ptr) ROWS_NUMBER(u32) ROWS_NUMBER(u64)};

#define CHECKS (sizeof checks / sizeof checks[0])

static const uint64_t values[] = {
        0,
        1,
        2,
        0x5555555555555555,
        0xaaaaaaaaaaaaaaaa,
        0x7fffffff,
        0x80000000,
        0xffffffff,
        0x100000000,
        0xffffffff00000000,
        0x7fffffffffffffff,
        0x8000000000000000,
        0x8000000080000000,
        0xfffffffffffffffe,
        0xffffffffffffffff,
};

#define VALUES (sizeof values / sizeof values[0])

static void test_truth(unsigned row)
{
        static uint64_t state;
        unsigned pairs = 0, wrong = 0;

        for (unsigned i = 0; i < VALUES * VALUES; i++, pairs++)
                wrong += !checks[row].holds(values[i / VALUES], values[i % VALUES]);
        for (unsigned i = 0; i < 1000; i++, pairs += 2) {
                uint64_t a = tap_random(&state), b = tap_random(&state);

                wrong += !checks[row].holds(a, b);
                wrong += !checks[row].holds(a, a);
        }
        tap_ok(wrong == 0, "%s: %u of %u pairs wrong", checks[row].name, wrong, pairs);
}

/* *expected on a page that cannot be written: a write on success ends the program. */
static void test_expected_not_written(void)
{
        union {
                uint32_t u32;
                uint64_t u64;
                void *ptr;
        } *expected = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        struct word32 word32 = {7};
        struct word64 word64 = {7};
        struct wordptr wordptr = {(void *)7};

        expected->u64 = 7;
        mprotect(expected, 4096, PROT_READ);
#define ALL_CAS(W, WORD, T)                            \
        (cas_relaxed_##W(&WORD, &expected->W, (T)7) && \
         cas_acquire_##W(&WORD, &expected->W, (T)7) && cas_acq_rel_##W(&WORD, &expected->W, (T)7))
        tap_ok(ALL_CAS(u64, word64, uint64_t) && ALL_CAS(ptr, wordptr, void *),
               "cas does not write *expected on success, u64 and ptr");
        /* On a big-endian processor the 32-bit half would be another one: set it apart. */
        mprotect(expected, 4096, PROT_READ | PROT_WRITE);
        expected->u32 = 7;
        mprotect(expected, 4096, PROT_READ);
        tap_ok(ALL_CAS(u32, word32, uint32_t), "cas does not write *expected on success, u32");
        munmap(expected, 4096);
}

static void test_hints(void)
{
        uint64_t before = ticks(), now = before;
        bool back = false;

        for (unsigned i = 0; i < 100000000 && now == before; i++) {
                spin_hint();
                now = ticks();
        }
        tap_ok(now > before, "ticks run on");
        for (unsigned i = 0; i < 10000; i++) {
                uint64_t next = ticks();

                back |= next < now;
                now = next;
        }
        tap_ok(!back, "ticks do not run back on one thread");
        fence_acquire();
        fence_release();
        fence_seq_cst();
        fence_seq_cst_after_rmw();
        tap_ok(!strcmp(arch_name(), "x86_64") || !strcmp(arch_name(), "aarch64+lse") ||
                       !strcmp(arch_name(), "aarch64") || !strcmp(arch_name(), "builtin"),
               "arch_name() is on the list: %s", arch_name());
}

static void *volatile seen_by_handler;

static void note_self(int signal_number)
{
        (void)signal_number;
        seen_by_handler = self_get();
}

#define SELF_ROUNDS 1000

struct self_thread {
        pthread_t thread;
        bool null_at_first, kept;
};

static void *self_in_thread(void *arg)
{
        struct self_thread *me = arg;
        int own[2];

        me->null_at_first = self_get() == NULL && pool_get() == NULL;
        me->kept = true;
        for (unsigned i = 0; i < SELF_ROUNDS; i++) {
                self_set(&own[i % 2]);
                pool_set(&own[(i + 1) % 2]);
                if (i % 100 == 0)
                        sched_yield();
                me->kept &= self_get() == &own[i % 2] && pool_get() == &own[(i + 1) % 2];
        }
        return NULL;
}

static void test_self(void)
{
        struct self_thread threads[4];
        bool null_at_first = true, kept = true, handler = true;
        int own[2];

        tap_ok(self_get() == NULL, "self is NULL at first");
        self_set(&own[0]);
        for (unsigned i = 0; i < 4; i++)
                pthread_create(&threads[i].thread, NULL, self_in_thread, &threads[i]);
        for (unsigned i = 0; i < 4; i++) {
                pthread_join(threads[i].thread, NULL);
                null_at_first &= threads[i].null_at_first;
                kept &= threads[i].kept;
        }
        tap_ok(null_at_first, "self and pool are NULL at first in new threads");
        tap_ok(kept && self_get() == &own[0] && !pool_get(), "each thread has its own two words");
        signal(SIGUSR1, note_self);
        for (unsigned i = 0; i < SELF_ROUNDS; i++) {
                self_set(&own[i % 2]);
                raise(SIGUSR1);
                handler &= seen_by_handler == &own[i % 2];
        }
        tap_ok(handler, "a signal handler reads the thread's self");
        self_set(NULL);
}

int main(void)
{
        tap_plan(CHECKS + 10, 60);
        tap_ok(sizeof(struct word32) == 4 && sizeof(struct word64) == 8 &&
                       sizeof(struct wordptr) == sizeof(void *),
               "words are as large as their values");
        for (unsigned row = 0; row < CHECKS; row++)
                test_truth(row);
        test_expected_not_written();
        test_hints();
        test_self();
        return tap_done();
}
