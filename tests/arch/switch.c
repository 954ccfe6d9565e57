/* SPDX-License-Identifier: MIT
 *
 * Contexts: what a switch keeps (registers, floating-point control, stack), what it leaves to the
 * thread (signal mask, self), and that memory can be used again. Needs libm for the rounding modes.
 */
#include "arch.h"
#include "pair.h"
#include "probe.h"
#include "tap.h"

#include <fenv.h>
#include <pthread.h>
#include <sched.h>

/* Many contexts in a ring, each with locals that only it may have changed. */
#define RING   64
#define ROUNDS 100

struct ring {
        struct arch_context contexts[RING + 1]; /* the last is the thread's */
        void *stacks[RING];
        unsigned turns, next, wrong;
};

struct ring_member {
        struct ring *ring;
        unsigned index;
};

static void ring_entry(void *arg)
{
        struct ring_member *member = arg;
        struct ring *ring = member->ring;
        unsigned index = member->index, turns = 0;

        for (;;) {
                ring->wrong += ring->next != index || ring->turns != turns * RING + index;
                ring->wrong += member != arg || member->index != index;
                turns++;
                ring->turns++;
                ring->next = (index + 1) % RING;
                /* From two places, as a switch may go on elsewhere than at the caller's. */
                if (index == RING - 1)
                        arch_switch(&ring->contexts[index], &ring->contexts[RING]);
                else
                        arch_switch(&ring->contexts[index], &ring->contexts[index + 1]);
        }
}

static unsigned run_ring(void)
{
        struct ring ring = {0};
        struct ring_member members[RING];

        arch_context_thread(&ring.contexts[RING]);
        for (unsigned i = 0; i < RING; i++) {
                members[i] = (struct ring_member){&ring, i};
                ring.stacks[i] = map_stack(STACK_BYTES);
                arch_context_init(&ring.contexts[i], ring.stacks[i], STACK_BYTES, ring_entry,
                                  &members[i]);
        }
        for (unsigned round = 0; round < ROUNDS; round++)
                arch_switch(&ring.contexts[RING], &ring.contexts[0]);
        for (unsigned i = 0; i < RING; i++) {
                arch_context_fini(&ring.contexts[i]);
                munmap(ring.stacks[i], STACK_BYTES);
        }
        return ring.wrong + (ring.turns != ROUNDS * RING);
}

static void *ring_in_thread(void *arg)
{
        *(unsigned *)arg = run_ring();
        return NULL;
}

static void test_rings(void)
{
        pthread_t threads[4];
        unsigned wrong[4] = {0};

        tap_is(run_ring(), 0, "ring of 64 contexts");
        for (unsigned i = 0; i < 4; i++)
                pthread_create(&threads[i], NULL, ring_in_thread, &wrong[i]);
        for (unsigned i = 0; i < 4; i++)
                pthread_join(threads[i], NULL);
        tap_is(wrong[0] + wrong[1] + wrong[2] + wrong[3], 0, "a ring in each of 4 threads");
}

/* Both sides fill all registers with values of their own before each switch. */
static void probe_body(struct pair *pair)
{
        for (uint64_t seed = 0x1234567890abcdef;; seed = seed * 3 + 1)
                pair->result |= probe_switch(&pair->other, &pair->thread, seed);
}

static void test_registers(void)
{
        struct pair pair;
        long changed = 0;

        pair_init(&pair, probe_body);
        for (unsigned i = 0; i < 100; i++)
                changed |= probe_switch(&pair.thread, &pair.other, i * 0x9e3779b97f4a7c15u);
        tap_is(changed, 0, "the thread's registers are kept");
        tap_is(pair.result, 0, "the context's registers are kept");
        pair_fini(&pair);
}

/* Rounding shows the control words at work, in double and in long double. */
static int rounding_at_work(void)
{
        double volatile one = 1, tiny = 1e-300;
        long double volatile long_one = 1, long_tiny = 1e-300L;
        bool up = one + tiny > 1, down = one - tiny < 1;
        bool long_up = long_one + long_tiny > 1, long_down = long_one - long_tiny < 1;

        if (up != long_up || down != long_down)
                return -1;
        return up ? FE_UPWARD : down ? FE_DOWNWARD : FE_TONEAREST;
}

/* valgrind takes the control words and computes as if to nearest; they are compared then. */
static bool rounding_works;

static bool rounds(int mode)
{
        return fegetround() == mode && (!rounding_works || rounding_at_work() == mode);
}

static void rounding_body(struct pair *pair)
{
        pair->result = rounds(FE_UPWARD);
        fesetround(FE_DOWNWARD);
        for (;;) {
                leave(pair);
                pair->result = rounds(FE_DOWNWARD);
        }
}

static void test_floating_control(void)
{
        struct pair pair;
        bool kept = true;

        fesetround(FE_UPWARD);
        rounding_works = rounding_at_work() == FE_UPWARD;
        if (!rounding_works)
                printf("# this processor does not round upwards when told to\n");
        pair_init(&pair, rounding_body);
        fesetround(FE_TONEAREST);
        enter(&pair);
        tap_ok(pair.result, "a new context rounds as its maker did");
        for (unsigned i = 0; i < 10; i++) {
                int mode = i % 2 ? FE_TONEAREST : FE_UPWARD;

                kept &= i == 0 ? rounds(FE_TONEAREST) : true;
                fesetround(mode);
                enter(&pair);
                kept &= pair.result && rounds(mode);
        }
        fesetround(FE_TONEAREST);
        tap_ok(kept, "rounding is kept for each side");
        pair_fini(&pair);
}

/* The compiler believes that stacks are aligned and would fold the test away. */
static uintptr_t hidden_address(const void *address)
{
        uintptr_t volatile hidden = (uintptr_t)address;

        return hidden;
}

static void alignment_body(struct pair *pair)
{
        _Alignas(16) char local[16];
        char text[64];

        memset(local, 1, sizeof local);
        snprintf(text, sizeof text, "%.2f %.3Lf %d %g", 1.25, 2.5L, local[15], 1e100);
        pair->result = hidden_address(local) % 16 == 0 &&
                       hidden_address(__builtin_frame_address(0)) % 16 == 0 &&
                       strcmp(text, "1.25 2.500 1 1e+100") == 0;
}

static void test_alignment(void)
{
        struct pair pair;
        bool aligned = true;

        for (unsigned offset = 0; offset < 32; offset++) {
                pair_init(&pair, alignment_body);
                arch_context_fini(&pair.other);
                arch_context_init(&pair.other, (char *)pair.stack + offset % 5,
                                  STACK_BYTES - 64 + offset, pair_entry, &pair);
                enter(&pair);
                aligned &= pair.result != 0;
                pair_fini(&pair);
        }
        tap_ok(aligned, "the stack is aligned at entry, printf of doubles works");
}

/* Down to three quarters of the stack, switching at each depth on the way back up. */
static long dive(struct pair *pair, uintptr_t floor, long depth)
{
        long volatile mark = depth * 3;
        long deepest = depth;

        if (hidden_address(__builtin_frame_address(0)) > floor)
                deepest = dive(pair, floor, depth + 1);
        leave(pair);
        return mark == depth * 3 ? deepest : -1;
}

static void deep_body(struct pair *pair)
{
        pair->result = dive(pair, (uintptr_t)pair->stack + STACK_BYTES / 4, 0);
}

static void test_depth(void)
{
        struct pair pair;
        long entered = 0;
        bool below = true;

        pair_init(&pair, deep_body);
        while (pair.result == 0 && entered < STACK_BYTES) {
                enter(&pair);
                entered++;
        }
        tap_ok(pair.result > 50, "recursion to depth %ld of a small stack", pair.result);
        tap_is(entered, pair.result + 2, "each frame was left and entered again");
        for (unsigned i = 0; i < STACK_BYTES / 8; i++)
                below &= ((char *)pair.stack)[i] == 0;
        tap_ok(below, "nothing was written far below");
        pair_fini(&pair);
}

/* Contexts that end in the middle of frames, over and over on the same memory; more of them than a
 * sanitizer that is not told bears. */
#define CONTEXTS 9000

static void abandon(struct pair *pair, unsigned depth)
{
        char large[512];

        memset(large, (int)pair->result, sizeof large);
        if (depth)
                abandon(pair, depth - 1);
        pair->result += hidden_address(large) != 0;
        leave(pair);
}

static void abandoned_body(struct pair *pair)
{
        abandon(pair, 5);
}

static void test_reuse(void)
{
        struct pair pair;

        pair_init(&pair, abandoned_body);
        for (unsigned i = 0; i < CONTEXTS; i++) {
                enter(&pair);
                arch_context_fini(&pair.other);
                arch_context_init(&pair.other, (char *)pair.stack + i % 7 * 32, STACK_BYTES - 512,
                                  pair_entry, &pair);
        }
        tap_is(pair.result, CONTEXTS, "many contexts after another on the same memory");
        pair_fini(&pair);
}

/* The signal mask and self belong to the thread. */
static bool blocked(int signal_number)
{
        sigset_t mask;

        pthread_sigmask(SIG_SETMASK, NULL, &mask);
        return sigismember(&mask, signal_number);
}

static void block(int how, int signal_number)
{
        sigset_t mask;

        sigemptyset(&mask);
        sigaddset(&mask, signal_number);
        pthread_sigmask(how, &mask, NULL);
}

static void thread_body(struct pair *pair)
{
        pair->result = blocked(SIGUSR1) && !blocked(SIGUSR2) && self_get() == &pair->thread;
        block(SIG_UNBLOCK, SIGUSR1);
        block(SIG_BLOCK, SIGUSR2);
        self_set(&pair->other);
}

static void test_thread_keeps(void)
{
        struct pair pair;

        block(SIG_BLOCK, SIGUSR2);
        pair_init(&pair, thread_body);
        block(SIG_UNBLOCK, SIGUSR2);
        block(SIG_BLOCK, SIGUSR1);
        self_set(&pair.thread);
        enter(&pair);
        tap_ok(pair.result && !blocked(SIGUSR1) && blocked(SIGUSR2),
               "the signal mask stays with the thread");
        tap_ok(self_get() == &pair.other, "self stays with the thread");
        block(SIG_UNBLOCK, SIGUSR2);
        pair_fini(&pair);
}

int main(void)
{
        tap_plan(13, 60);
        printf("# %s\n", arch_name());
        test_rings();
        test_registers();
        test_floating_control();
        test_alignment();
        test_depth();
        test_reuse();
        test_thread_keeps();
        return tap_done();
}
