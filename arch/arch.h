/* SPDX-License-Identifier: MIT
 *
 * The processor, as the runtime sees it: the closed list of operations. Every folder beside this
 * file implements exactly these, in atomic.h (shared words, fences, hints), and switch.h with
 * switch.c or switch.S (stacks); the build chooses one folder with -I. If the runtime needs
 * another operation, it is added here and in every folder.
 *
 * Order is in the name: there is no default and no argument. There are no seq_cst loads and
 * stores: relaxed, acquire, release, read-modify-writes and full fences only.
 *
 *   W is u32, u64 or ptr; the types are struct word32, word64, wordptr and uint32_t, uint64_t,
 *   void *.
 *
 *   T    load_relaxed_W(const word *)                    store_relaxed_W(word *, T)
 *   T    load_acquire_W(const word *)                    store_release_W(word *, T)
 *   T    exchange_acq_rel_W(word *, T)                   the old value
 *   bool cas_relaxed_W(word *, T *expected, T)           strong; on failure *expected becomes what
 *   bool cas_acquire_W(word *, T *expected, T)           was found, relaxed; it is not written on
 *   bool cas_acq_rel_W(word *, T *expected, T)           success
 *   T    fetch_add_relaxed_W(word *, T)                  u32 and u64 only; the old value;
 *   T    fetch_add_acq_rel_W(word *, T)                  wraps around
 *   T    fetch_or_acq_rel_W(word *, T)                   u32 and u64 only; the old value
 *   T    fetch_and_acq_rel_W(word *, T)                  u32 and u64 only; the old value
 *
 *   void fence_acquire(void), fence_release(void)
 *   void fence_seq_cst(void)           orders everything before against everything after it
 *   void fence_seq_cst_after_rmw(void) the same for all up to the last acq_rel RMW before it in
 *                                      program order, against all after it; what stands between
 *                                      the RMW and it may come late. Free where a locked RMW is
 *                                      a full fence already
 *
 *   void spin_hint(void)               one round of a waiting loop
 *   uint64_t ticks(void)               a counter that runs on; unit unknown, for seeds and tests
 *   const char *arch_name(void)        "x86_64", "aarch64+lse", "aarch64", "builtin"
 *
 *   void *self_get(void), self_set(void *)    one word per thread; readable in signal handlers
 *   void *pool_get(void), pool_set(void *)    another one, of threads that are no workers
 *
 *   shared_new(address, bytes)         marks for plain memory that passes between threads, which a
 *   shared_write(address, bytes)       folder may check; nothing where it does not define them. A
 *   shared_read(address, bytes)        new life of the memory; it has been written, will be read;
 *   shared_gone(address, bytes)        nobody may touch it any more, until it is new again
 *
 *   struct arch_context                a suspended flow of control
 *   void arch_context_init(struct arch_context *, void *stack_low, size_t stack_bytes,
 *                          void (*entry)(void *arg), void *arg)
 *                                      the first switch to it calls entry(arg) on that stack;
 *                                      entry must not return
 *   void arch_context_thread(struct arch_context *)
 *                                      makes it stand for the calling thread's own stack, before
 *                                      the first switch away from it
 *   void arch_switch(struct arch_context *from, struct arch_context *to)
 *                                      saves the caller in *from and goes on in *to; returns when
 *                                      somebody switches to *from. Keeps callee-saved registers and
 *                                      the floating-point control words, not the signal mask.
 *   void arch_context_fini(struct arch_context *)
 *                                      a context that will not be switched to again, not the
 *                                      running one
 *   bool arch_shadow_stack(void)       the calling thread has a shadow stack for its return
 *                                      addresses, which arch_switch() does not keep: it would end
 *                                      the process
 */
#ifndef ARCH_ARCH_H
#define ARCH_ARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Shared words have struct types, so that a plain access cannot slip in. */
struct word32 {
        uint32_t value_;
};
struct word64 {
        uint64_t value_;
};
struct wordptr {
        void *value_;
};

/* What two writers keep between them: two cache lines, for adjacent-line prefetch. */
#define ARCH_APART 128

#include "atomic.h"
#include "switch.h"

#ifndef shared_new
#define shared_new(address, bytes)   ((void)0)
#define shared_write(address, bytes) ((void)0)
#define shared_read(address, bytes)  ((void)0)
#define shared_gone(address, bytes)  ((void)0)
#endif

#endif
