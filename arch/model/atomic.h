/* SPDX-License-Identifier: MIT
 *
 * The operations of arch.h on a modelled processor: every one is a step of a virtual thread, and
 * what it reads is a choice among all that the C11 memory model allows (memory.c). Who runs next is
 * another choice (schedule.c). Outside of an execution they are plain accesses.
 *
 * Each place where an operation stands is a site: it has a file and a line for the trace, and an
 * order that a mutant can weaken while the program runs.
 */
#ifndef ARCH_ATOMIC_H
#define ARCH_ATOMIC_H

enum { MODEL_ACQUIRE = 1, MODEL_RELEASE = 2, MODEL_SEQ_CST = 4, MODEL_ACQ_REL = 3, MODEL_FULL = 7 };
enum model_kind { MODEL_LOAD, MODEL_STORE, MODEL_RMW, MODEL_CAS, MODEL_FENCE, MODEL_FENCE_RMW };

struct model_site {
        const char *file, *operation;
        unsigned short line;
        unsigned char kind, order, full; /* order as mutated, and as written */
        unsigned char off;               /* mutated to nothing */
        unsigned short reserved;
        unsigned long visits; /* steps in executions: what a scenario covers */
};

/* All sites lie in one section, which is an array: hence the alignment. */
#define MODEL_SITE(OPERATION, KIND, ORDER)                                                   \
        ({                                                                                   \
                static struct model_site site_                                               \
                        __attribute__((section("model_site_list"), aligned(32))) = {         \
                                __FILE__, OPERATION, __LINE__, KIND, ORDER, ORDER, 0, 0, 0}; \
                &site_;                                                                      \
        })

uint64_t model_load(const void *word, unsigned bytes, struct model_site *site);
void model_store(void *word, unsigned bytes, uint64_t value, struct model_site *site);
bool model_cas(void *word, unsigned bytes, uint64_t values[2], struct model_site *site);
uint64_t model_exchange(void *word, unsigned bytes, uint64_t value, struct model_site *site);
uint64_t model_fetch_add(void *word, unsigned bytes, uint64_t value, struct model_site *site);
uint64_t model_fetch_or(void *word, unsigned bytes, uint64_t value, struct model_site *site);
uint64_t model_fetch_and(void *word, unsigned bytes, uint64_t value, struct model_site *site);
void model_fence(struct model_site *site);
void model_spin(void);
uint64_t model_ticks(void);

/* Plain memory that passes between threads; see arch.h. */
void model_plain(const void *address, size_t bytes, bool write, const char *file, int line);
void model_gone(const void *address, size_t bytes, const char *file, int line);
void model_new(const void *address, size_t bytes);

#define ARCH_WORD(W, WORD, T)                                                                   \
        static inline T model_load_##W(const struct WORD *word, struct model_site *site)        \
        {                                                                                       \
                return (T)model_load(word, sizeof *word, site);                                 \
        }                                                                                       \
        static inline void model_store_##W(struct WORD *word, T value, struct model_site *site) \
        {                                                                                       \
                model_store(word, sizeof *word, (uint64_t)value, site);                         \
        }                                                                                       \
        static inline T model_exchange_##W(struct WORD *word, T value, struct model_site *site) \
        {                                                                                       \
                return (T)model_exchange(word, sizeof *word, (uint64_t)value, site);            \
        }                                                                                       \
        static inline bool model_cas_##W(struct WORD *word, T *expected, T desired,             \
                                         struct model_site *site)                               \
        {                                                                                       \
                uint64_t values[2] = {(uint64_t)*expected, (uint64_t)desired};                  \
                bool won = model_cas(word, sizeof *word, values, site);                         \
                                                                                                \
                if (!won)                                                                       \
                        *expected = (T)values[0];                                               \
                return won;                                                                     \
        }

#define ARCH_NUMBER(W, WORD, T)                                                                  \
        static inline T model_fetch_add_##W(struct WORD *word, T value, struct model_site *site) \
        {                                                                                        \
                return (T)model_fetch_add(word, sizeof *word, value, site);                      \
        }                                                                                        \
        static inline T model_fetch_or_##W(struct WORD *word, T value, struct model_site *site)  \
        {                                                                                        \
                return (T)model_fetch_or(word, sizeof *word, value, site);                       \
        }                                                                                        \
        static inline T model_fetch_and_##W(struct WORD *word, T value, struct model_site *site) \
        {                                                                                        \
                return (T)model_fetch_and(word, sizeof *word, value, site);                      \
        }

ARCH_WORD(u32, word32, uint32_t)
ARCH_WORD(u64, word64, uint64_t)
ARCH_WORD(ptr, wordptr, void *)
ARCH_NUMBER(u32, word32, uint32_t)
ARCH_NUMBER(u64, word64, uint64_t)

#undef ARCH_WORD
#undef ARCH_NUMBER

#define MODEL_LOAD_(W, NAME, ORDER, word) model_load_##W(word, MODEL_SITE(NAME, MODEL_LOAD, ORDER))
#define MODEL_STORE_(W, NAME, ORDER, word, value) \
        model_store_##W(word, value, MODEL_SITE(NAME, MODEL_STORE, ORDER))
#define MODEL_RMW_(F, NAME, ORDER, word, value) \
        model_##F(word, value, MODEL_SITE(NAME, MODEL_RMW, ORDER))
#define MODEL_CAS_(W, NAME, ORDER, word, expected, desired) \
        model_cas_##W(word, expected, desired, MODEL_SITE(NAME, MODEL_CAS, ORDER))

#define load_relaxed_u32(word) MODEL_LOAD_(u32, "load_relaxed", 0, word)
#define load_relaxed_u64(word) MODEL_LOAD_(u64, "load_relaxed", 0, word)
#define load_relaxed_ptr(word) MODEL_LOAD_(ptr, "load_relaxed", 0, word)
#define load_acquire_u32(word) MODEL_LOAD_(u32, "load_acquire", MODEL_ACQUIRE, word)
#define load_acquire_u64(word) MODEL_LOAD_(u64, "load_acquire", MODEL_ACQUIRE, word)
#define load_acquire_ptr(word) MODEL_LOAD_(ptr, "load_acquire", MODEL_ACQUIRE, word)

#define store_relaxed_u32(word, value) MODEL_STORE_(u32, "store_relaxed", 0, word, value)
#define store_relaxed_u64(word, value) MODEL_STORE_(u64, "store_relaxed", 0, word, value)
#define store_relaxed_ptr(word, value) MODEL_STORE_(ptr, "store_relaxed", 0, word, value)
#define store_release_u32(word, value) \
        MODEL_STORE_(u32, "store_release", MODEL_RELEASE, word, value)
#define store_release_u64(word, value) \
        MODEL_STORE_(u64, "store_release", MODEL_RELEASE, word, value)
#define store_release_ptr(word, value) \
        MODEL_STORE_(ptr, "store_release", MODEL_RELEASE, word, value)

#define exchange_acq_rel_u32(word, value) \
        MODEL_RMW_(exchange_u32, "exchange_acq_rel", MODEL_ACQ_REL, word, value)
#define exchange_acq_rel_u64(word, value) \
        MODEL_RMW_(exchange_u64, "exchange_acq_rel", MODEL_ACQ_REL, word, value)
#define exchange_acq_rel_ptr(word, value) \
        MODEL_RMW_(exchange_ptr, "exchange_acq_rel", MODEL_ACQ_REL, word, value)

#define cas_relaxed_u32(word, expected, desired) \
        MODEL_CAS_(u32, "cas_relaxed", 0, word, expected, desired)
#define cas_relaxed_u64(word, expected, desired) \
        MODEL_CAS_(u64, "cas_relaxed", 0, word, expected, desired)
#define cas_relaxed_ptr(word, expected, desired) \
        MODEL_CAS_(ptr, "cas_relaxed", 0, word, expected, desired)
#define cas_acquire_u32(word, expected, desired) \
        MODEL_CAS_(u32, "cas_acquire", MODEL_ACQUIRE, word, expected, desired)
#define cas_acquire_u64(word, expected, desired) \
        MODEL_CAS_(u64, "cas_acquire", MODEL_ACQUIRE, word, expected, desired)
#define cas_acquire_ptr(word, expected, desired) \
        MODEL_CAS_(ptr, "cas_acquire", MODEL_ACQUIRE, word, expected, desired)
#define cas_acq_rel_u32(word, expected, desired) \
        MODEL_CAS_(u32, "cas_acq_rel", MODEL_ACQ_REL, word, expected, desired)
#define cas_acq_rel_u64(word, expected, desired) \
        MODEL_CAS_(u64, "cas_acq_rel", MODEL_ACQ_REL, word, expected, desired)
#define cas_acq_rel_ptr(word, expected, desired) \
        MODEL_CAS_(ptr, "cas_acq_rel", MODEL_ACQ_REL, word, expected, desired)

#define fetch_add_relaxed_u32(word, value) \
        MODEL_RMW_(fetch_add_u32, "fetch_add_relaxed", 0, word, value)
#define fetch_add_relaxed_u64(word, value) \
        MODEL_RMW_(fetch_add_u64, "fetch_add_relaxed", 0, word, value)
#define fetch_add_acq_rel_u32(word, value) \
        MODEL_RMW_(fetch_add_u32, "fetch_add_acq_rel", MODEL_ACQ_REL, word, value)
#define fetch_add_acq_rel_u64(word, value) \
        MODEL_RMW_(fetch_add_u64, "fetch_add_acq_rel", MODEL_ACQ_REL, word, value)
#define fetch_or_acq_rel_u32(word, value) \
        MODEL_RMW_(fetch_or_u32, "fetch_or_acq_rel", MODEL_ACQ_REL, word, value)
#define fetch_or_acq_rel_u64(word, value) \
        MODEL_RMW_(fetch_or_u64, "fetch_or_acq_rel", MODEL_ACQ_REL, word, value)
#define fetch_and_acq_rel_u32(word, value) \
        MODEL_RMW_(fetch_and_u32, "fetch_and_acq_rel", MODEL_ACQ_REL, word, value)
#define fetch_and_acq_rel_u64(word, value) \
        MODEL_RMW_(fetch_and_u64, "fetch_and_acq_rel", MODEL_ACQ_REL, word, value)

#define MODEL_FENCE_(NAME, KIND, ORDER) model_fence(MODEL_SITE(NAME, KIND, ORDER))
#define fence_acquire()                 MODEL_FENCE_("fence_acquire", MODEL_FENCE, MODEL_ACQUIRE)
#define fence_release()                 MODEL_FENCE_("fence_release", MODEL_FENCE, MODEL_RELEASE)
#define fence_seq_cst()                 MODEL_FENCE_("fence_seq_cst", MODEL_FENCE, MODEL_FULL)
#define fence_seq_cst_after_rmw() \
        MODEL_FENCE_("fence_seq_cst_after_rmw", MODEL_FENCE_RMW, MODEL_FULL)

#define shared_new(address, bytes)   model_new(address, bytes)
#define shared_gone(address, bytes)  model_gone(address, bytes, __FILE__, __LINE__)
#define shared_read(address, bytes)  model_plain(address, bytes, false, __FILE__, __LINE__)
#define shared_write(address, bytes) model_plain(address, bytes, true, __FILE__, __LINE__)

static inline void spin_hint(void)
{
        model_spin();
}

static inline uint64_t ticks(void)
{
        return model_ticks();
}

static inline const char *arch_name(void)
{
        return "model";
}

#endif
