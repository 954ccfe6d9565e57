/* SPDX-License-Identifier: MIT
 *
 * The operations of arch.h on x86_64. The processor keeps the program's order (TSO) but for one
 * thing: a load may overtake an older store to another word. So an acquire or a release only has to
 * stop the compiler, and every locked instruction, a failed compare-and-exchange included, is a
 * full fence.
 *
 * Plain accesses are volatile ones: one MOV each, and the compiler neither drops, repeats, splits
 * nor reorders them among each other. The 32-bit and 64-bit forms of an instruction are chosen by
 * the assembler from the width of the register operand.
 */
#ifndef ARCH_ATOMIC_H
#define ARCH_ATOMIC_H

static inline void arch_compiler_barrier(void)
{
        __asm__ volatile("" ::: "memory");
}

/* The operations that all words have. A relaxed compare-and-exchange is the same instruction; it
 * only leaves the compiler free to move other accesses across it. */
#define ARCH_WORD(W, WORD, T)                                                                   \
        static inline T load_relaxed_##W(const struct WORD *word)                               \
        {                                                                                       \
                return *(T const volatile *)&word->value_;                                      \
        }                                                                                       \
        static inline void store_relaxed_##W(struct WORD *word, T value)                        \
        {                                                                                       \
                *(T volatile *)&word->value_ = value;                                           \
        }                                                                                       \
        static inline T load_acquire_##W(const struct WORD *word)                               \
        {                                                                                       \
                T value = load_relaxed_##W(word);                                               \
                                                                                                \
                arch_compiler_barrier();                                                        \
                return value;                                                                   \
        }                                                                                       \
        static inline void store_release_##W(struct WORD *word, T value)                        \
        {                                                                                       \
                arch_compiler_barrier();                                                        \
                store_relaxed_##W(word, value);                                                 \
        }                                                                                       \
        static inline T exchange_acq_rel_##W(struct WORD *word, T value)                        \
        {                                                                                       \
                /* XCHG with memory is locked without the prefix. */                            \
                __asm__ volatile("xchg %0, %1" : "+r"(value), "+m"(word->value_) : : "memory"); \
                return value;                                                                   \
        }                                                                                       \
        ARCH_CAS(cas_relaxed_##W, WORD, T, "cc")                                                \
        ARCH_CAS(cas_acquire_##W, WORD, T, "memory")                                            \
        ARCH_CAS(cas_acq_rel_##W, WORD, T, "memory")

#define ARCH_CAS(NAME, WORD, T, CLOBBER)                                         \
        static inline bool NAME(struct WORD *word, T *expected, T desired)       \
        {                                                                        \
                T found = *expected;                                             \
                bool won;                                                        \
                                                                                 \
                __asm__ volatile("lock cmpxchg %3, %1"                           \
                                 : "=@ccz"(won), "+m"(word->value_), "+a"(found) \
                                 : "r"(desired)                                  \
                                 : CLOBBER);                                     \
                if (!won)                                                        \
                        *expected = found;                                       \
                return won;                                                      \
        }

/* The operations of numbers. */
#define ARCH_NUMBER(W, WORD, T)                                  \
        ARCH_FETCH_ADD(fetch_add_relaxed_##W, WORD, T, "cc")     \
        ARCH_FETCH_ADD(fetch_add_acq_rel_##W, WORD, T, "memory") \
        ARCH_FETCH_BITS(fetch_or_acq_rel_##W, W, WORD, T, |)     \
        ARCH_FETCH_BITS(fetch_and_acq_rel_##W, W, WORD, T, &)

#define ARCH_FETCH_ADD(NAME, WORD, T, CLOBBER)                     \
        static inline T NAME(struct WORD *word, T value)           \
        {                                                          \
                __asm__ volatile("lock xadd %0, %1"                \
                                 : "+r"(value), "+m"(word->value_) \
                                 :                                 \
                                 : "cc", CLOBBER);                 \
                return value;                                      \
        }

/* LOCK OR and LOCK AND do not give the old value, so these are loops. Each round that fails is
 * another thread's success: as many rounds at most as others change the word meanwhile. */
#define ARCH_FETCH_BITS(NAME, W, WORD, T, OPERATOR)                      \
        static inline T NAME(struct WORD *word, T value)                 \
        {                                                                \
                T old = load_relaxed_##W(word);                          \
                                                                         \
                while (!cas_acq_rel_##W(word, &old, old OPERATOR value)) \
                        ;                                                \
                return old;                                              \
        }

ARCH_WORD(u32, word32, uint32_t)
ARCH_WORD(u64, word64, uint64_t)
ARCH_WORD(ptr, wordptr, void *)
ARCH_NUMBER(u32, word32, uint32_t)
ARCH_NUMBER(u64, word64, uint64_t)

#undef ARCH_WORD
#undef ARCH_CAS
#undef ARCH_NUMBER
#undef ARCH_FETCH_ADD
#undef ARCH_FETCH_BITS

static inline void fence_acquire(void)
{
        arch_compiler_barrier();
}

static inline void fence_release(void)
{
        arch_compiler_barrier();
}

/* A locked instruction that changes nothing: 2 ns where MFENCE, which also waits for non-temporal
 * stores that the runtime does not make, was measured at 16. The word just below the stack pointer
 * is private to the thread and in its cache, its value is kept (it may hold a leaf function's
 * local), and it lies in the red zone: never on a guard page that a leaf function could not hit
 * itself, and never an address that valgrind calls unallocated. */
static inline void fence_seq_cst(void)
{
        __asm__ volatile("lock orl $0, -8(%%rsp)" ::: "memory", "cc");
}

/* The locked instruction before it was the fence. */
static inline void fence_seq_cst_after_rmw(void)
{
        arch_compiler_barrier();
}

/* PAUSE saves power, leaves the core to its SMT sibling, and avoids the flush for a misordered load
 * when the awaited word changes at last. */
static inline void spin_hint(void)
{
        __asm__ volatile("pause" ::: "memory");
}

static inline uint64_t ticks(void)
{
        uint32_t low, high;

        __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
        return (uint64_t)high << 32 | low;
}

static inline const char *arch_name(void)
{
        return "x86_64";
}

#endif
