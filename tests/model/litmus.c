/* SPDX-License-Identifier: MIT
 *
 * The model itself: each litmus test is run through all its executions, and the outcomes must be
 * exactly those that C11 (with C++20's release sequences) allows. One exception: what needs a load
 * to read from a store that comes later in time (load buffering) is allowed there and not produced
 * here; those tests say so.
 */
#include <string.h>

#include "arch.h"
#include "model.h"
#include "tap.h"

enum { THREADS = 4, VALUES = 6, OUTCOMES = 1 << 18 };

static struct word32 x, y, z;
static unsigned r[VALUES];

struct litmus {
        const char *name;
        void (*threads[THREADS])(void *arg);
        const char *outcomes;   /* of r[0], r[1]..., all that are allowed and reachable */
        bool whimsical, finals; /* finals: the last two values are those of x and y at the end */
};

/* ------------------------------------------------------------------ the threads */

#define T(NAME, ...)                \
        static void NAME(void *arg) \
        {                           \
                (void)arg;          \
                __VA_ARGS__         \
        }
#define RLX(word)        load_relaxed_u32(&(word))
#define ACQ(word)        load_acquire_u32(&(word))
#define SET(word, value) store_relaxed_u32(&(word), value)
#define REL(word, value) store_release_u32(&(word), value)
#define ADD(word, value) fetch_add_relaxed_u32(&(word), value)
#define AAR(word, value) fetch_add_acq_rel_u32(&(word), value)

/* clang-format off */
T(sb_1, SET(x, 1); r[0] = RLX(y);)
T(sb_2, SET(y, 1); r[1] = RLX(x);)
T(sb_ra_1, REL(x, 1); r[0] = ACQ(y);)
T(sb_ra_2, REL(y, 1); r[1] = ACQ(x);)
T(sb_sc_1, SET(x, 1); fence_seq_cst(); r[0] = RLX(y);)
T(sb_sc_2, SET(y, 1); fence_seq_cst(); r[1] = RLX(x);)
T(sb_rmw_1, AAR(x, 1); r[0] = RLX(y);)
T(sb_rmw_2, AAR(y, 1); r[1] = RLX(x);)
T(sb_after_1, AAR(x, 1); fence_seq_cst_after_rmw(); r[0] = RLX(y);)
T(sb_after_2, AAR(y, 1); fence_seq_cst_after_rmw(); r[1] = RLX(x);)
T(sb_late_1, AAR(z, 1); SET(x, 1); fence_seq_cst_after_rmw(); r[0] = RLX(y);)
T(sb_same_1, SET(x, 1); AAR(z, 1); fence_seq_cst_after_rmw(); r[0] = RLX(y);)
T(sb_same_2, SET(y, 1); AAR(z, 1); fence_seq_cst_after_rmw(); r[1] = RLX(x);)

T(mp_1, SET(x, 1); SET(y, 1);)
T(mp_rel_1, SET(x, 1); REL(y, 1);)
T(mp_fence_1, SET(x, 1); fence_release(); SET(y, 1);)
T(mp_sc_1, SET(x, 1); fence_seq_cst(); SET(y, 1);)
T(mp_after_1, SET(x, 1); AAR(z, 1); fence_seq_cst_after_rmw(); SET(y, 1);)
T(mp_2, r[0] = RLX(y); r[1] = RLX(x);)
T(mp_acq_2, r[0] = ACQ(y); r[1] = RLX(x);)
T(mp_fence_2, r[0] = RLX(y); fence_acquire(); r[1] = RLX(x);)
T(mp_sc_2, r[0] = RLX(y); fence_seq_cst(); r[1] = RLX(x);)

T(lb_1, r[0] = RLX(x); SET(y, 1);)
T(lb_2, r[1] = RLX(y); SET(x, 1);)

T(write_x, SET(x, 1);)
T(write_y, SET(y, 1);)
T(release_x, REL(x, 1);)
T(release_y, REL(y, 1);)
T(iriw_1, r[0] = ACQ(x); r[1] = ACQ(y);)
T(iriw_2, r[2] = ACQ(y); r[3] = ACQ(x);)
T(iriw_sc_1, r[0] = RLX(x); fence_seq_cst(); r[1] = RLX(y);)
T(iriw_sc_2, r[2] = RLX(y); fence_seq_cst(); r[3] = RLX(x);)

T(ww_1, SET(x, 1); SET(y, 2);)
T(ww_2, SET(y, 1); SET(x, 2);)
T(ww_rel_1, SET(x, 1); REL(y, 2);)
T(ww_rel_2, SET(y, 1); REL(x, 2);)
T(ww_sc_1, SET(x, 1); fence_seq_cst(); SET(y, 2);)
T(ww_sc_2, SET(y, 1); fence_seq_cst(); SET(x, 2);)

T(corr_1, SET(x, 1); SET(x, 2);)
T(corr_2, r[0] = RLX(x); r[1] = RLX(x);)
T(cowr_1, SET(x, 1); r[0] = RLX(x);)
T(corw_2, r[1] = RLX(x); SET(x, 2);)
T(set_x_2, SET(x, 2);)

T(wrc_2, r[0] = RLX(x); SET(y, 1);)
T(wrc_rel_2, r[0] = RLX(x); REL(y, 1);)
T(wrc_3, r[1] = ACQ(y); r[2] = RLX(x);)
T(wrc_acq_2, r[0] = ACQ(x); REL(y, 1);)

T(isa2_1, SET(x, 1); REL(y, 1);)
T(isa2_2, r[0] = ACQ(y); REL(z, 1);)
T(isa2_rlx_2, r[0] = RLX(y); REL(z, 1);)
T(isa2_3, r[1] = ACQ(z); r[2] = RLX(x);)

T(r_1, SET(x, 1); SET(y, 1);)
T(r_2, SET(y, 2); r[0] = RLX(x);)
T(r_sc_1, SET(x, 1); fence_seq_cst(); SET(y, 1);)
T(r_sc_2, SET(y, 2); fence_seq_cst(); r[0] = RLX(x);)
T(s_1, SET(x, 2); REL(y, 1);)
T(s_rlx_1, SET(x, 2); SET(y, 1);)
T(s_2, r[0] = ACQ(y); SET(x, 1);)
T(s_rlx_2, r[0] = RLX(y); SET(x, 1);)

T(seq_own_1, SET(x, 1); REL(y, 1); SET(y, 2);)
T(seq_rmw_2, ADD(y, 1);)
T(seq_store_2, if (RLX(y) == 1) SET(y, 2);)
T(seq_3, r[0] = ACQ(y); r[1] = RLX(x);)
T(rmw_1, r[0] = ADD(x, 1);)
T(rmw_2, r[1] = ADD(x, 1);)
T(rmw_set_2, SET(x, 5); r[1] = RLX(x);)
T(cas_1, uint32_t e = 0; r[0] = cas_acq_rel_u32(&x, &e, 1);)
T(cas_2, uint32_t e = 0; r[1] = cas_acq_rel_u32(&x, &e, 2); r[2] = r[1] ? 0 : e;)
T(cas_old_2, uint32_t e = 7; cas_acq_rel_u32(&y, &e, 9); r[0] = e; r[1] = RLX(x);)
T(cas_old_acq_2, uint32_t e = 7; cas_acq_rel_u32(&y, &e, 9); r[0] = e; fence_acquire();
  r[1] = RLX(x);)
T(exchange_1, r[0] = exchange_acq_rel_u32(&x, 1);)
T(exchange_2, r[1] = exchange_acq_rel_u32(&x, 2);)
/* clang-format on */

static const struct litmus suite[] = {
        {"SB", {sb_1, sb_2}, "00 01 10 11", 0, 0},
        {"SB, release and acquire", {sb_ra_1, sb_ra_2}, "00 01 10 11", 0, 0},
        {"SB, full fences", {sb_sc_1, sb_sc_2}, "01 10 11", 0, 0},
        {"SB, one full fence", {sb_sc_1, sb_2}, "00 01 10 11", 0, 0},
        {"SB, acq_rel RMWs are no fences", {sb_rmw_1, sb_rmw_2}, "00 01 10 11", 0, 0},
        {"SB, RMWs and fences after them", {sb_after_1, sb_after_2}, "01 10 11", 1, 0},
        {"SB, that fence and a full one", {sb_after_1, sb_sc_2}, "01 10 11", 1, 0},
        {"SB, a store between RMW and fence comes late", {sb_late_1, sb_sc_2}, "00 01 10 11", 1, 0},
        {"SB, RMWs of one word between", {sb_same_1, sb_same_2}, "01 10 11", 1, 0},
        {"MP", {mp_1, mp_2}, "00 01 10 11", 0, 0},
        {"MP, release and acquire", {mp_rel_1, mp_acq_2}, "00 01 11", 0, 0},
        {"MP, release only", {mp_rel_1, mp_2}, "00 01 10 11", 0, 0},
        {"MP, acquire only", {mp_1, mp_acq_2}, "00 01 10 11", 0, 0},
        {"MP, release and acquire fences", {mp_fence_1, mp_fence_2}, "00 01 11", 0, 0},
        {"MP, release fence and acquire", {mp_fence_1, mp_acq_2}, "00 01 11", 0, 0},
        {"MP, release and acquire fence", {mp_rel_1, mp_fence_2}, "00 01 11", 0, 0},
        {"MP, full fences", {mp_sc_1, mp_sc_2}, "00 01 11", 0, 0},
        {"MP, full fence and acquire", {mp_sc_1, mp_acq_2}, "00 01 11", 0, 0},
        {"MP, fence after RMW, and acquire", {mp_after_1, mp_acq_2}, "00 01 11", 1, 0},
        {"LB (11 is allowed, not produced)", {lb_1, lb_2}, "00 01 10", 0, 0},
        {"IRIW, release and acquire",
         {release_x, release_y, iriw_1, iriw_2},
         "0000 0001 0010 0011 0100 0101 0110 0111 1000 1001 1010 1011 1100 1101 1110 1111",
         0,
         0},
        {"IRIW, full fences",
         {write_x, write_y, iriw_sc_1, iriw_sc_2},
         "0000 0001 0010 0011 0100 0101 0110 0111 1000 1001 1011 1100 1101 1110 1111",
         0,
         0},
        {"2+2W", {ww_1, ww_2}, "11 12 21 22", 0, 1},
        {"2+2W, release", {ww_rel_1, ww_rel_2}, "11 12 21 22", 0, 1},
        {"2+2W, full fences", {ww_sc_1, ww_sc_2}, "12 21 22", 0, 1},
        {"CoRR", {corr_1, corr_2}, "00 01 02 11 12 22", 0, 0},
        {"CoWR", {cowr_1, set_x_2}, "1 2", 0, 0},
        {"WRC", {write_x, wrc_2, wrc_3}, "000 001 010 011 100 101 110 111", 0, 0},
        {"WRC, coherence of two reads by happens-before",
         {write_x, wrc_rel_2, wrc_3},
         "000 001 010 011 100 101 111",
         0,
         0},
        {"WRC, release and acquire",
         {release_x, wrc_acq_2, wrc_3},
         "000 001 010 011 100 101 111",
         0,
         0},
        {"ISA2", {isa2_1, isa2_2, isa2_3}, "000 001 010 011 100 101 111", 0, 0},
        {"ISA2, one relaxed",
         {isa2_1, isa2_rlx_2, isa2_3},
         "000 001 010 011 100 101 110 111",
         0,
         0},
        {"R", {r_1, r_2}, "011 012 111 112", 0, 1},
        {"R, full fences", {r_sc_1, r_sc_2}, "011 111 112", 0, 1},
        {"S", {s_rlx_1, s_rlx_2}, "011 021 111 121", 0, 1},
        {"S, release and acquire", {s_1, s_2}, "011 021 111", 0, 1},
        {"release sequence: own store ends it (C++20)", {seq_own_1, seq_3}, "00 01 11 20 21", 0, 0},
        {"release sequence: an RMW carries it on",
         {mp_rel_1, seq_rmw_2, seq_3},
         "00 01 10 11 21",
         0,
         0},
        {"release sequence: another's store ends it",
         {mp_rel_1, seq_store_2, seq_3},
         "00 01 11 20 21",
         0,
         0},
        {"RMWs are atomic", {rmw_1, rmw_2}, "01 10", 0, 0},
        {"a store among RMWs", {rmw_1, rmw_set_2}, "05 55 56", 0, 0},
        {"one of two CAS wins", {cas_1, cas_2}, "010 101", 0, 0},
        {"exchanges form a chain", {exchange_1, exchange_2}, "01 20", 0, 0},
        {"a failed CAS is relaxed", {mp_rel_1, cas_old_2}, "00 01 10 11", 0, 0},
        {"a failed CAS and an acquire fence", {mp_rel_1, cas_old_acq_2}, "00 01 11", 0, 0},
        {"CoRW", {cowr_1, corw_2}, "10 11 20 21", 0, 0},
};

/* ------------------------------------------------------------------ running them */

static const struct litmus *now;
static unsigned char reached[OUTCOMES];
static unsigned values;

static void run(void)
{
        unsigned set = 0;

        x.value_ = y.value_ = z.value_ = 0;
        memset(r, 0, sizeof r);
        for (unsigned i = 0; i < THREADS && now->threads[i]; i++)
                set |= 1u << model_thread_start(now->threads[i], NULL);
        model_threads_join(set);
        if (now->finals) {
                r[values - 2] = x.value_;
                r[values - 1] = y.value_;
        }
}

static void after(void)
{
        unsigned code = 0;

        for (unsigned i = 0; i < values; i++)
                code = code * 8 + r[i];
        reached[code] = 1;
}

static void write_outcomes(char *text)
{
        for (unsigned code = 0; code < 1u << 3 * values; code++) {
                if (!reached[code])
                        continue;
                for (unsigned i = values; i--;)
                        *text++ = (char)('0' + (code >> 3 * i & 7));
                *text++ = ' ';
        }
        *text = 0;
}

static void test(const struct litmus *litmus)
{
        struct model_scenario scenario = {.name = litmus->name,
                                          .run = run,
                                          .after = after,
                                          .search = MODEL_EXHAUSTIVE,
                                          .whimsical = litmus->whimsical};
        struct model_limits limits = {.executions = 3000000};
        struct model_report report;
        static char text[1 << 17];
        bool same;

        now = litmus;
        values = (unsigned)strcspn(litmus->outcomes, " ");
        memset(reached, 0, sizeof reached);
        model_explore(&scenario, &limits, &report);
        write_outcomes(text);
        text[strlen(text) - (*text != 0)] = 0;
        same = !strcmp(text, litmus->outcomes) && report.complete;
        tap_ok(same, "%s: %s; %llu executions", litmus->name, litmus->outcomes,
               (unsigned long long)report.executions);
        if (!same)
                printf("#   got %s%s%s\n", text, report.complete ? "" : " (incomplete) ",
                       report.reason);
}

/* ------------------------------------------------------------------ races and sleepers */

static unsigned payload;
static struct word32 word;

T(race_1, payload = 1; shared_write(&payload, 4); REL(word, 1);)
T(race_rlx_1, payload = 1; shared_write(&payload, 4); SET(word, 1);)
T(race_2, if (ACQ(word)) shared_read(&payload, 4);)
T(gone_1, AAR(word, 1);)
T(gone_late_1, AAR(word, 1); SET(word, 2);)
T(gone_2, if (ACQ(word) == 1) shared_gone(&word, 4);)
T(gone_rlx_2, if (RLX(word) == 1) shared_gone(&word, 4);)
T(sleeper, while (!ACQ(word)) model_futex_wait(&word, 0, 0);)
T(waker, REL(word, 1); model_futex_wake(&word, 1);)
T(lazy_waker, REL(word, 1); if (RLX(y)) model_futex_wake(&word, 1);)
T(shy_sleeper, SET(y, 1); if (!ACQ(word)) model_futex_wait(&word, 0, 0);)
T(fair_sleeper, SET(y, 1); fence_seq_cst(); while (!ACQ(word)) model_futex_wait(&word, 0, 0);)
T(fair_waker, REL(word, 1); fence_seq_cst(); if (RLX(y)) model_futex_wake(&word, 1);)
T(spinner, while (!ACQ(word)) spin_hint();)
T(locker, for (uint32_t e = 0; !cas_acquire_u32(&word, &e, 1); e = 0) spin_hint(); payload++;
  shared_write(&payload, 4); store_release_u32(&word, 0);)

static const struct pair {
        const char *name;
        void (*threads[2])(void *arg);
        const char *fails; /* part of the reason; NULL: must not fail */
} pairs[] = {
        {"plain data behind release and acquire", {race_1, race_2}, NULL},
        {"plain data behind a relaxed store is a race", {race_rlx_1, race_2}, "race"},
        {"memory that goes after the last access", {gone_1, gone_2}, NULL},
        {"memory that goes too early", {gone_late_1, gone_2}, "memory"},
        {"memory that goes without an order", {gone_1, gone_rlx_2}, "memory goes"},
        {"a sleeper and its waker", {sleeper, waker}, NULL},
        {"a wake-up that depends on an unordered look", {shy_sleeper, lazy_waker}, "lost"},
        {"the same with full fences", {fair_sleeper, fair_waker}, NULL},
        {"a waker that never comes", {sleeper, write_x}, "lost"},
        {"a spinner sees the store", {spinner, waker}, NULL},
        {"a spinner without a store", {spinner, write_x}, "all spin"},
        {"a lock", {locker, locker}, NULL},
};
static const struct pair *pair;

static void run_pair(void)
{
        unsigned set = 0;

        x.value_ = y.value_ = word.value_ = payload = 0;
        for (unsigned i = 0; i < 2; i++)
                set |= 1u << model_thread_start(pair->threads[i], NULL);
        model_threads_join(set);
}

static void test_pair(enum model_search search, const char *how)
{
        struct model_scenario scenario = {.name = pair->name, .run = run_pair, .search = search};
        struct model_limits limits = {.executions = 20000, .quiet = true, .seed = tap_seed_};
        struct model_report report;
        bool as_said;

        model_explore(&scenario, &limits, &report);
        as_said = report.failed == (pair->fails != NULL) &&
                  (!pair->fails || strstr(report.reason, pair->fails));
        tap_ok(as_said, "%s, %s: %s", pair->name, how, pair->fails ? pair->fails : "passes");
        if (!as_said)
                printf("#   got: %s\n", report.failed ? report.reason : "passes");
}

int main(void)
{
        unsigned tests = sizeof suite / sizeof *suite, pair_count = sizeof pairs / sizeof *pairs;

        tap_plan(tests + 2 * pair_count, 120);
        for (unsigned i = 0; i < tests; i++)
                test(&suite[i]);
        for (pair = pairs; pair < pairs + pair_count; pair++) {
                test_pair(MODEL_EXHAUSTIVE, "every execution");
                test_pair(MODEL_MIXED, "random executions");
        }
        return tap_done();
}
