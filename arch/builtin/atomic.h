/* SPDX-License-Identifier: MIT
 *
 * The operations of arch.h by compiler builtins: for sanitizers, which do not see into assembly,
 * and for processors without a folder of their own.
 *
 * ThreadSanitizer does not model fences: it takes no order between threads from them. Under it,
 * plain data must be handed over by a release operation and an acquire operation on the word that
 * announces it; a fence may order shared words only. Making fence_seq_cst an RMW on one common word
 * would silence it, and was decided against: such an RMW orders every fencing thread after every
 * earlier one, so that real races all over the runtime would no longer be seen. A false report
 * shows itself; a hidden race does not.
 */
#ifndef ARCH_ATOMIC_H
#define ARCH_ATOMIC_H

#include <time.h>

#define ARCH_WORD(W, WORD, T)                                                       \
        static inline T load_relaxed_##W(const struct WORD *word)                   \
        {                                                                           \
                return __atomic_load_n(&word->value_, __ATOMIC_RELAXED);            \
        }                                                                           \
        static inline void store_relaxed_##W(struct WORD *word, T value)            \
        {                                                                           \
                __atomic_store_n(&word->value_, value, __ATOMIC_RELAXED);           \
        }                                                                           \
        static inline T load_acquire_##W(const struct WORD *word)                   \
        {                                                                           \
                return __atomic_load_n(&word->value_, __ATOMIC_ACQUIRE);            \
        }                                                                           \
        static inline void store_release_##W(struct WORD *word, T value)            \
        {                                                                           \
                __atomic_store_n(&word->value_, value, __ATOMIC_RELEASE);           \
        }                                                                           \
        static inline T exchange_acq_rel_##W(struct WORD *word, T value)            \
        {                                                                           \
                return __atomic_exchange_n(&word->value_, value, __ATOMIC_ACQ_REL); \
        }                                                                           \
        ARCH_CAS(cas_relaxed_##W, WORD, T, __ATOMIC_RELAXED)                        \
        ARCH_CAS(cas_acquire_##W, WORD, T, __ATOMIC_ACQUIRE)                        \
        ARCH_CAS(cas_acq_rel_##W, WORD, T, __ATOMIC_ACQ_REL)

#define ARCH_CAS(NAME, WORD, T, ORDER)                                                             \
        static inline bool NAME(struct WORD *word, T *expected, T desired)                         \
        {                                                                                          \
                return __atomic_compare_exchange_n(&word->value_, expected, desired, false, ORDER, \
                                                   __ATOMIC_RELAXED);                              \
        }

#define ARCH_NUMBER(W, WORD, T)                                                    \
        static inline T fetch_add_relaxed_##W(struct WORD *word, T value)          \
        {                                                                          \
                return __atomic_fetch_add(&word->value_, value, __ATOMIC_RELAXED); \
        }                                                                          \
        static inline T fetch_add_acq_rel_##W(struct WORD *word, T value)          \
        {                                                                          \
                return __atomic_fetch_add(&word->value_, value, __ATOMIC_ACQ_REL); \
        }                                                                          \
        static inline T fetch_or_acq_rel_##W(struct WORD *word, T value)           \
        {                                                                          \
                return __atomic_fetch_or(&word->value_, value, __ATOMIC_ACQ_REL);  \
        }                                                                          \
        static inline T fetch_and_acq_rel_##W(struct WORD *word, T value)          \
        {                                                                          \
                return __atomic_fetch_and(&word->value_, value, __ATOMIC_ACQ_REL); \
        }

ARCH_WORD(u32, word32, uint32_t)
ARCH_WORD(u64, word64, uint64_t)
ARCH_WORD(ptr, wordptr, void *)
ARCH_NUMBER(u32, word32, uint32_t)
ARCH_NUMBER(u64, word64, uint64_t)

#undef ARCH_WORD
#undef ARCH_CAS
#undef ARCH_NUMBER

/* gcc warns at each fence of a TSan build; the head of this file is the answer. */
#pragma GCC diagnostic push
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wtsan"
#endif

static inline void fence_acquire(void)
{
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
}

static inline void fence_release(void)
{
        __atomic_thread_fence(__ATOMIC_RELEASE);
}

static inline void fence_seq_cst(void)
{
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* No builtin says what an RMW has done already. */
static inline void fence_seq_cst_after_rmw(void)
{
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

#pragma GCC diagnostic pop

#ifndef __has_builtin
#define __has_builtin(name) 0
#endif

static inline void spin_hint(void)
{
#if __has_builtin(__builtin_ia32_pause)
        __builtin_ia32_pause();
#endif
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline uint64_t ticks(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline const char *arch_name(void)
{
        return "builtin";
}

#endif
