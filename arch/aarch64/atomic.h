/* SPDX-License-Identifier: MIT
 *
 * The operations of arch.h on aarch64. Read-modify-writes are single instructions where the
 * processor has LSE (ARMv8.1), else loops of load- and store-exclusive; detect.c finds out at
 * start-up. Until its constructor has run the loops are used, and both kinds may work on one word.
 * Compiled for a processor that surely has a feature, the test folds away.
 *
 * A loop ends when its store-exclusive succeeds: a round fails only because another thread changed
 * the line or an interrupt came between, so there are as many rounds at most as there are of those.
 *
 * "Q" is an address in one register without offset, all that these instructions take.
 */
#ifndef ARCH_ATOMIC_H
#define ARCH_ATOMIC_H

/* Together, so that they share a line; written once, by detect.c. */
struct arch_features {
        bool lse, ldapr;
};
extern struct arch_features arch_features_ __attribute__((visibility("hidden")));

#ifdef __ARM_FEATURE_ATOMICS
#define ARCH_HAS_LSE true
#else
#define ARCH_HAS_LSE __builtin_expect(arch_features_.lse, true)
#endif

#ifdef __ARM_FEATURE_RCPC
#define ARCH_HAS_LDAPR true
#else
#define ARCH_HAS_LDAPR __builtin_expect(arch_features_.ldapr, true)
#endif

/* R is the register form: "w" or "x".
 *
 * An acquire load pays a predicted branch on a word that stays in the first cache, because LDAR is
 * stronger than an acquire has to be: it waits until every older STLR of this processor is visible,
 * that is for the store buffer, just where a worker looks at its queues after it has published
 * something. LDAPR does not. */
#define ARCH_WORD(W, WORD, T, R)                                                                   \
        static inline T load_relaxed_##W(const struct WORD *word)                                  \
        {                                                                                          \
                return *(T const volatile *)&word->value_;                                         \
        }                                                                                          \
        static inline void store_relaxed_##W(struct WORD *word, T value)                           \
        {                                                                                          \
                *(T volatile *)&word->value_ = value;                                              \
        }                                                                                          \
        static inline T load_acquire_##W(const struct WORD *word)                                  \
        {                                                                                          \
                T value;                                                                           \
                                                                                                   \
                if (ARCH_HAS_LDAPR)                                                                \
                        __asm__ volatile(".arch_extension rcpc\n\t"                                \
                                         "ldapr %" R "0, %1"                                       \
                                         : "=r"(value)                                             \
                                         : "Q"(word->value_)                                       \
                                         : "memory");                                              \
                else                                                                               \
                        __asm__ volatile("ldar %" R "0, %1"                                        \
                                         : "=r"(value)                                             \
                                         : "Q"(word->value_)                                       \
                                         : "memory");                                              \
                return value;                                                                      \
        }                                                                                          \
        static inline void store_release_##W(struct WORD *word, T value)                           \
        {                                                                                          \
                __asm__ volatile("stlr %" R "1, %0" : "=Q"(word->value_) : "r"(value) : "memory"); \
        }                                                                                          \
        static inline T exchange_acq_rel_##W(struct WORD *word, T value)                           \
        {                                                                                          \
                uint32_t failed;                                                                   \
                T old;                                                                             \
                                                                                                   \
                if (ARCH_HAS_LSE)                                                                  \
                        __asm__ volatile(".arch_extension lse\n\t"                                 \
                                         "swpal %" R "2, %" R "0, %1"                              \
                                         : "=r"(old), "+Q"(word->value_)                           \
                                         : "r"(value)                                              \
                                         : "memory");                                              \
                else                                                                               \
                        __asm__ volatile("1: ldaxr %" R "0, %2\n\t"                                \
                                         "stlxr %w1, %" R "3, %2\n\t"                              \
                                         "cbnz %w1, 1b"                                            \
                                         : "=&r"(old), "=&r"(failed), "+Q"(word->value_)           \
                                         : "r"(value)                                              \
                                         : "memory");                                              \
                return old;                                                                        \
        }                                                                                          \
        ARCH_CAS(cas_relaxed_##W, WORD, T, R, "cas", "ldxr", "stxr", "cc")                         \
        ARCH_CAS(cas_acquire_##W, WORD, T, R, "casa", "ldaxr", "stxr", "memory")                   \
        ARCH_CAS(cas_acq_rel_##W, WORD, T, R, "casal", "ldaxr", "stlxr", "memory")

#define ARCH_CAS(NAME, WORD, T, R, LSE, LOAD, STORE, CLOBBER)                                  \
        static inline bool NAME(struct WORD *word, T *expected, T desired)                     \
        {                                                                                      \
                T before = *expected;                                                          \
                T found = before;                                                              \
                uint32_t failed;                                                               \
                                                                                               \
                if (ARCH_HAS_LSE)                                                              \
                        __asm__ volatile(".arch_extension lse\n\t" LSE " %" R "0, %" R "2, %1" \
                                         : "+&r"(found), "+Q"(word->value_)                    \
                                         : "r"(desired)                                        \
                                         : CLOBBER);                                           \
                else                                                                           \
                        __asm__ volatile("1: " LOAD " %" R "0, %2\n\t"                         \
                                         "cmp %" R "0, %" R "3\n\t"                            \
                                         "b.ne 2f\n\t" STORE " %w1, %" R "4, %2\n\t"           \
                                         "cbnz %w1, 1b\n"                                      \
                                         "2:"                                                  \
                                         : "=&r"(found), "=&r"(failed), "+Q"(word->value_)     \
                                         : "r"(before), "r"(desired)                           \
                                         : "cc", CLOBBER);                                     \
                if (found == before)                                                           \
                        return true;                                                           \
                *expected = found;                                                             \
                return false;                                                                  \
        }

/* LSE clears bits and has no AND: it takes the complement. */
#define ARCH_NUMBER(W, WORD, T, R)                                                            \
        ARCH_FETCH(fetch_add_relaxed_##W, WORD, T, R, "ldadd", , "ldxr", "add", "stxr", "cc") \
        ARCH_FETCH(fetch_add_acq_rel_##W, WORD, T, R, "ldaddal", , "ldaxr", "add", "stlxr",   \
                   "memory")                                                                  \
        ARCH_FETCH(fetch_or_acq_rel_##W, WORD, T, R, "ldsetal", , "ldaxr", "orr", "stlxr",    \
                   "memory")                                                                  \
        ARCH_FETCH(fetch_and_acq_rel_##W, WORD, T, R, "ldclral", ~, "ldaxr", "and", "stlxr",  \
                   "memory")

#define ARCH_FETCH(NAME, WORD, T, R, LSE, LSE_OPERAND, LOAD, COMPUTE, STORE, CLOBBER)          \
        static inline T NAME(struct WORD *word, T value)                                       \
        {                                                                                      \
                T old;                                                                         \
                T changed;                                                                     \
                uint32_t failed;                                                               \
                                                                                               \
                if (ARCH_HAS_LSE)                                                              \
                        __asm__ volatile(".arch_extension lse\n\t" LSE " %" R "2, %" R "0, %1" \
                                         : "=r"(old), "+Q"(word->value_)                       \
                                         : "r"(LSE_OPERAND value)                              \
                                         : CLOBBER);                                           \
                else                                                                           \
                        __asm__ volatile("1: " LOAD " %" R "0, %3\n\t" COMPUTE " %" R "1, %" R \
                                         "0, %" R "4\n\t" STORE " %w2, %" R "1, %3\n\t"        \
                                         "cbnz %w2, 1b"                                        \
                                         : "=&r"(old), "=&r"(changed), "=&r"(failed),          \
                                           "+Q"(word->value_)                                  \
                                         : "r"(value)                                          \
                                         : CLOBBER);                                           \
                return old;                                                                    \
        }

ARCH_WORD(u32, word32, uint32_t, "w")
ARCH_WORD(u64, word64, uint64_t, "x")
ARCH_WORD(ptr, wordptr, void *, "x")
ARCH_NUMBER(u32, word32, uint32_t, "w")
ARCH_NUMBER(u64, word64, uint64_t, "x")

#undef ARCH_WORD
#undef ARCH_CAS
#undef ARCH_NUMBER
#undef ARCH_FETCH

/* Older loads before everything younger. */
static inline void fence_acquire(void)
{
        __asm__ volatile("dmb ishld" ::: "memory");
}

/* The full barrier: DMB ISHST would leave older loads behind younger stores. */
static inline void fence_release(void)
{
        __asm__ volatile("dmb ish" ::: "memory");
}

static inline void fence_seq_cst(void)
{
        __asm__ volatile("dmb ish" ::: "memory");
}

/* Not free here: neither STLXR nor an LSE instruction with acquire and release keeps a younger load
 * behind its own store, and a failed compare-and-exchange has stored nothing at all. */
static inline void fence_seq_cst_after_rmw(void)
{
        __asm__ volatile("dmb ish" ::: "memory");
}

/* ISB, not YIELD: cores without SMT, which are nearly all, take YIELD for a NOP, and the loop then
 * hammers the awaited line. ISB refills the pipeline, about as long as PAUSE takes on x86_64. */
static inline void spin_hint(void)
{
        __asm__ volatile("isb" ::: "memory");
}

static inline uint64_t ticks(void)
{
        uint64_t value;

        __asm__ volatile("mrs %0, cntvct_el0" : "=r"(value));
        return value;
}

static inline const char *arch_name(void)
{
        return ARCH_HAS_LSE ? "aarch64+lse" : "aarch64";
}

#endif
