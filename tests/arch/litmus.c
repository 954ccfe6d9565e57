/* SPDX-License-Identifier: MIT
 *
 * Litmus loops: small races whose outcomes are known. An outcome that the orders forbid fails the
 * test; where it is allowed it is only counted, and the count says how sharp the loop is: if store
 * buffering without fences never shows, neither would a broken fence.
 *
 * The threads of a round meet at an instant of ticks(), not at a barrier, whose last comer would
 * always win; each adds a little chance, so that over many rounds all small skews occur. On an
 * emulator of a weak processor only what the host's own order permits can be seen.
 *
 * $LITMUS_MS: time for each test, 100 by default; up to ten times as long on a busy machine, until
 * there were enough rounds.
 */
#include "arch.h"
#include "tap.h"

#include <pthread.h>
#include <sched.h>

#define THREADS_MAX 4
#define OUTCOMES    16
#define ROUNDS_MIN  20000

/* All words apart, so that each access is a miss of its own. */
struct cell {
        _Alignas(ARCH_APART) struct word64 x;
        _Alignas(ARCH_APART) struct word64 y;
        _Alignas(ARCH_APART) struct word64 own[THREADS_MAX][ARCH_APART / 8];
};

/* Bodies return what they have read as bits of the outcome, each in its place. */
typedef unsigned body(struct cell *cell);

#define BODY(NAME, ...)                                     \
        static unsigned NAME(struct cell *cell)             \
        {                                                   \
                struct word64 *x = &cell->x, *y = &cell->y; \
                uint64_t a = 0, b = 0;                      \
                                                            \
                (void)x;                                    \
                (void)y;                                    \
                __VA_ARGS__;                                \
                return (unsigned)(a << 1 | b);              \
        }
#define READS_HIGH(NAME) /* the pair of a second reader goes above that of the first */ \
        static unsigned NAME##_high(struct cell *cell)                                  \
        {                                                                               \
                return NAME(cell) << 2;                                                 \
        }

/* Store buffering: each stores its word and loads the other's. Weak: both read 0. */
BODY(sb_0, store_relaxed_u64(x, 1); a = load_relaxed_u64(y))
BODY(sb_1, store_relaxed_u64(y, 1); b = load_relaxed_u64(x))
BODY(sb_order_0, store_release_u64(x, 1); a = load_acquire_u64(y))
BODY(sb_order_1, store_release_u64(y, 1); b = load_acquire_u64(x))
BODY(sb_fence_0, store_relaxed_u64(x, 1); fence_seq_cst(); a = load_relaxed_u64(y))
BODY(sb_fence_1, store_relaxed_u64(y, 1); fence_seq_cst(); b = load_relaxed_u64(x))
BODY(sb_exchange_0, exchange_acq_rel_u64(x, 1); fence_seq_cst_after_rmw(); a = load_relaxed_u64(y))
BODY(sb_exchange_1, exchange_acq_rel_u64(y, 1); fence_seq_cst_after_rmw(); b = load_relaxed_u64(x))
BODY(sb_add_0, store_relaxed_u64(x, 1); fetch_add_acq_rel_u64(cell->own[0], 1);
     fence_seq_cst_after_rmw(); a = load_relaxed_u64(y))
BODY(sb_add_1, store_relaxed_u64(y, 1); fetch_add_acq_rel_u64(cell->own[1], 1);
     fence_seq_cst_after_rmw(); b = load_relaxed_u64(x))
BODY(sb_bits_0, store_relaxed_u64(x, 1); fetch_or_acq_rel_u64(cell->own[0], 0);
     fence_seq_cst_after_rmw(); a = load_relaxed_u64(y))
BODY(sb_bits_1, store_relaxed_u64(y, 1); fetch_and_acq_rel_u64(cell->own[1], 0);
     fence_seq_cst_after_rmw(); b = load_relaxed_u64(x))
BODY(sb_failed_0, uint64_t wrong = 5; store_relaxed_u64(x, 1);
     cas_acq_rel_u64(cell->own[0], &wrong, 6); fence_seq_cst_after_rmw(); a = load_relaxed_u64(y))
BODY(sb_failed_1, uint64_t wrong = 5; store_relaxed_u64(y, 1);
     cas_acq_rel_u64(cell->own[1], &wrong, 6); fence_seq_cst_after_rmw(); b = load_relaxed_u64(x))

/* Message passing: x is the message, y says that it is there. Weak: announced but not there. */
BODY(mp_write, store_relaxed_u64(x, 1); store_relaxed_u64(y, 1))
BODY(mp_write_release, store_relaxed_u64(x, 1); store_release_u64(y, 1))
BODY(mp_write_fence, store_relaxed_u64(x, 1); fence_release(); store_relaxed_u64(y, 1))
BODY(mp_write_exchange, store_relaxed_u64(x, 1); exchange_acq_rel_u64(y, 1))
BODY(mp_write_add, store_relaxed_u64(x, 1); fetch_add_acq_rel_u64(y, 1))
BODY(mp_write_or, store_relaxed_u64(x, 1); fetch_or_acq_rel_u64(y, 1))
BODY(mp_read, a = load_relaxed_u64(y); b = load_relaxed_u64(x))
BODY(mp_read_acquire, a = load_acquire_u64(y); b = load_relaxed_u64(x))
BODY(mp_read_fence, a = load_relaxed_u64(y); fence_acquire(); b = load_relaxed_u64(x))
BODY(mp_read_cas, a = 1; a = cas_acquire_u64(y, &a, 1); b = load_relaxed_u64(x))
BODY(mp_read_and, a = fetch_and_acq_rel_u64(y, 1); b = load_relaxed_u64(x))

/* Load buffering: each loads one word, then stores the other. Weak: both read 1. */
BODY(lb_0, a = load_relaxed_u64(x); store_relaxed_u64(y, 1))
BODY(lb_1, b = load_relaxed_u64(y); store_relaxed_u64(x, 1))
BODY(lb_release_0, a = load_relaxed_u64(x); store_release_u64(y, 1))
BODY(lb_release_1, b = load_relaxed_u64(y); store_release_u64(x, 1))
BODY(lb_acquire_0, a = load_acquire_u64(x); store_relaxed_u64(y, 1))
BODY(lb_acquire_1, b = load_acquire_u64(y); store_relaxed_u64(x, 1))
BODY(lb_fence_0, a = load_relaxed_u64(x); fence_release(); store_relaxed_u64(y, 1))
BODY(lb_fence_1, b = load_relaxed_u64(y); fence_release(); store_relaxed_u64(x, 1))

/* Independent reads of independent writes. Weak: the readers see them in different order, 10 10. */
BODY(iriw_x, store_relaxed_u64(x, 1))
BODY(iriw_y, store_relaxed_u64(y, 1))
BODY(iriw_xy, a = load_acquire_u64(x); b = load_acquire_u64(y))
BODY(iriw_yx, a = load_acquire_u64(y); b = load_acquire_u64(x))
BODY(iriw_fence_xy, a = load_relaxed_u64(x); fence_seq_cst(); b = load_relaxed_u64(y))
BODY(iriw_fence_yx, a = load_relaxed_u64(y); fence_seq_cst(); b = load_relaxed_u64(x))
READS_HIGH(iriw_yx)
READS_HIGH(iriw_fence_yx)

/* A message passed on by a third. Weak: x seen, y passed on, x not there: 1 10. */
BODY(wrc_first, store_release_u64(x, 1))
BODY(wrc_second, a = load_acquire_u64(x); store_release_u64(y, a))
READS_HIGH(wrc_second)

/* One word never goes back, in whatever order. Weak: 10. */
BODY(corr_read, a = load_relaxed_u64(x); b = load_relaxed_u64(x))

static const struct litmus {
        const char *name;
        unsigned threads, weak;
        bool allowed;
        body *bodies[THREADS_MAX];
} tests[] = {
        {"SB relaxed", 2, 0x0, true, {sb_0, sb_1}},
        {"SB release, acquire", 2, 0x0, true, {sb_order_0, sb_order_1}},
        {"SB fence_seq_cst", 2, 0x0, false, {sb_fence_0, sb_fence_1}},
        {"SB exchange, after_rmw", 2, 0x0, false, {sb_exchange_0, sb_exchange_1}},
        {"SB fetch_add elsewhere, after_rmw", 2, 0x0, false, {sb_add_0, sb_add_1}},
        {"SB fetch_or and fetch_and elsewhere, after_rmw", 2, 0x0, false, {sb_bits_0, sb_bits_1}},
        {"SB failed cas elsewhere, after_rmw", 2, 0x0, false, {sb_failed_0, sb_failed_1}},
        {"MP relaxed", 2, 0x2, true, {mp_write, mp_read}},
        {"MP release, acquire", 2, 0x2, false, {mp_write_release, mp_read_acquire}},
        {"MP fences", 2, 0x2, false, {mp_write_fence, mp_read_fence}},
        {"MP exchange, cas", 2, 0x2, false, {mp_write_exchange, mp_read_cas}},
        {"MP fetch_add, acquire", 2, 0x2, false, {mp_write_add, mp_read_acquire}},
        {"MP fetch_or, fetch_and", 2, 0x2, false, {mp_write_or, mp_read_and}},
        {"LB relaxed", 2, 0x3, true, {lb_0, lb_1}},
        {"LB release", 2, 0x3, false, {lb_release_0, lb_release_1}},
        {"LB acquire", 2, 0x3, false, {lb_acquire_0, lb_acquire_1}},
        {"LB fence_release", 2, 0x3, false, {lb_fence_0, lb_fence_1}},
        {"IRIW acquire", 4, 0xa, true, {iriw_x, iriw_xy, iriw_y, iriw_yx_high}},
        {"IRIW fences", 4, 0xa, false, {iriw_x, iriw_fence_xy, iriw_y, iriw_fence_yx_high}},
        {"WRC release, acquire", 3, 0xa, false, {wrc_first, wrc_second_high, mp_read_acquire}},
        {"CoRR relaxed", 2, 0x2, false, {iriw_x, corr_read}},
};

#define TESTS (sizeof tests / sizeof tests[0])

/* One round at a time. `round`, stored by thread 0, opens it and publishes the rest. */
static struct {
        struct cell cell;
        _Alignas(ARCH_APART) struct word64 round; /* ROUND_END: no more */
        _Alignas(ARCH_APART) struct word64 arrived;
        uint64_t start_ticks;
        _Alignas(ARCH_APART) unsigned read[THREADS_MAX][ARCH_APART / sizeof(unsigned)];
        const struct litmus *test;
} race;

#define ROUND_END UINT64_MAX

static double ticks_per_ns;

static uint64_t now_ns(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void calibrate(void)
{
        uint64_t start_ns = now_ns(), start = ticks();

        while (now_ns() - start_ns < 5000000)
                ;
        ticks_per_ns = (double)(ticks() - start) / (double)(now_ns() - start_ns);
}

/* Yields when the others seem to have no CPU. */
static void wait_round(unsigned *spins)
{
        spin_hint();
        if (++*spins % 256 == 0)
                sched_yield();
}

static void run_body(unsigned id, uint64_t *random)
{
        uint64_t skew = (uint64_t)((double)(tap_random(random) >> 56) / 4 * ticks_per_ns);
        uint64_t start = race.start_ticks + skew;

        while ((int64_t)(start - ticks()) > 0)
                ;
        race.read[id][0] = race.test->bodies[id](&race.cell);
        fetch_add_acq_rel_u64(&race.arrived, 1);
}

/* Each on a CPU of its own as far as there are some: on a busy machine the scheduler would put
 * threads that yield on one, where nothing races. */
static void spread(unsigned id)
{
        cpu_set_t all, own;
        int nth = 0;

        if (sched_getaffinity(0, sizeof all, &all) || !CPU_COUNT(&all))
                return;
        CPU_ZERO(&own);
        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
                if (CPU_ISSET(cpu, &all) && nth++ == (int)id % CPU_COUNT(&all))
                        CPU_SET(cpu, &own);
        }
        sched_setaffinity(0, sizeof own, &own);
}

static void *follow(void *arg)
{
        unsigned id = (unsigned)(uintptr_t)arg;
        uint64_t random = tap_seed_ * 2 + id * 0x9e3779b97f4a7c15u, seen = 0, round;

        spread(id);
        for (;;) {
                unsigned spins = 0;

                while ((round = load_acquire_u64(&race.round)) == seen)
                        wait_round(&spins);
                if (round == ROUND_END)
                        return NULL;
                seen = round;
                run_body(id, &random);
        }
}

static unsigned run_round(uint64_t round, uint64_t *random)
{
        unsigned outcome = 0, spins = 0;

        store_relaxed_u64(&race.cell.x, 0);
        store_relaxed_u64(&race.cell.y, 0);
        store_relaxed_u64(&race.arrived, 0);
        race.start_ticks = ticks() + (uint64_t)(300 * ticks_per_ns);
        store_release_u64(&race.round, round);
        run_body(0, random);
        while (load_acquire_u64(&race.arrived) != race.test->threads)
                wait_round(&spins);
        for (unsigned id = 0; id < race.test->threads; id++)
                outcome |= race.read[id][0];
        return outcome;
}

static void report(uint64_t rounds, const uint64_t counts[OUTCOMES])
{
        const struct litmus *test = race.test;

        tap_ok(test->allowed || counts[test->weak] == 0, "%s: outcome %x %s, seen %llu of %llu",
               test->name, test->weak, test->allowed ? "allowed" : "forbidden",
               (unsigned long long)counts[test->weak], (unsigned long long)rounds);
        printf("#  ");
        for (unsigned outcome = 0; outcome < OUTCOMES; outcome++) {
                if (counts[outcome])
                        printf(" %x: %llu", outcome, (unsigned long long)counts[outcome]);
        }
        printf("\n");
}

static void *lead(void *arg)
{
        const uint64_t *duration_ns = arg;
        uint64_t counts[OUTCOMES] = {0}, rounds = 0, random = tap_seed_, start_ns, passed_ns;

        spread(0);
        start_ns = now_ns();
        do {
                for (unsigned i = 0; i < 64; i++)
                        counts[run_round(++rounds, &random)]++;
                passed_ns = now_ns() - start_ns;
        } while (passed_ns < *duration_ns ||
                 (rounds < ROUNDS_MIN && passed_ns < 10 * *duration_ns));
        store_release_u64(&race.round, ROUND_END);
        report(rounds, counts);
        return NULL;
}

static void test_litmus(const struct litmus *test, uint64_t duration_ns)
{
        pthread_t threads[THREADS_MAX];

        memset(&race, 0, sizeof race);
        race.test = test;
        for (uintptr_t id = 1; id < test->threads; id++)
                pthread_create(&threads[id], NULL, follow, (void *)id);
        pthread_create(&threads[0], NULL, lead, &duration_ns);
        for (unsigned id = 0; id < test->threads; id++)
                pthread_join(threads[id], NULL);
}

int main(void)
{
        const char *ms = getenv("LITMUS_MS");
        uint64_t duration_ns = (ms ? strtoull(ms, NULL, 0) : 100) * 1000000;

        tap_plan(TESTS, 60 + (unsigned)(TESTS * duration_ns / 100000000));
        calibrate();
        printf("# %s, %.3f ticks/ns, %ld CPUs\n", arch_name(), ticks_per_ns,
               sysconf(_SC_NPROCESSORS_ONLN));
        for (const struct litmus *test = tests; test < tests + TESTS; test++)
                test_litmus(test, duration_ns);
        return tap_done();
}
