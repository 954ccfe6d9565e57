/* SPDX-License-Identifier: MIT
 *
 * skua_reduce: the order is kept whoever works, accumulators of any size are aligned, and without
 * memory for large ones the loop is run without splitting.
 */
/* link: -Wl,--wrap=malloc */
#include "rig.h"

enum { LARGE = 65536 };

static atomic_uint wrong;
static atomic_uint refuse; /* malloc fails from now on */
static atomic_uint refused;

void *__real_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes)
{
        if (!atomic_load(&refuse))
                return __real_malloc(bytes);
        atomic_fetch_add(&refused, 1);
        return NULL;
}

static unsigned take_wrong(void)
{
        return atomic_exchange(&wrong, 0);
}

struct call {
        size_t begin, end, grain;
        const struct skua_reduction *reduction;
        void *result;
        int returned;
};

static void call_run(struct skua_worker *self, void *arg)
{
        struct call *c = arg;

        c->returned = skua_reduce(self, c->begin, c->end, c->grain, c->reduction, c->result);
}

static int reduce(struct skua *rt, const struct skua_reduction *r, size_t begin, size_t end,
                  size_t grain, void *result)
{
        struct call c = {begin, end, grain, r, result, 1};

        wrong += skua_run(rt, call_run, &c) != 0;
        return c.returned;
}

/* ------------------------------------------------------------------ text: any size, any order */

/* The decimal digits of the indexes one after the other; what follows the text stays zero. */
struct text {
        size_t length;
        char digits[];
};

struct sizes {
        size_t acc_bytes;
        size_t grain;
};

static bool aligned(const void *acc)
{
        return (uintptr_t)acc % _Alignof(max_align_t) == 0;
}

static void text_add(struct text *t, size_t i)
{
        t->digits[t->length++] = (char)('0' + i % 10);
}

static void text_body(struct skua_worker *self, size_t begin, size_t end, void *acc, void *arg)
{
        const struct sizes *s = arg;

        (void)self;
        wrong += !aligned(acc) || begin >= end || (s->grain && end - begin > s->grain);
        for (size_t i = begin; i < end; i++)
                text_add(acc, i);
        if (rig_mix(begin) % 16 == 0)
                sched_yield();
}

static void text_combine(void *acc, const void *other, void *arg)
{
        const struct sizes *s = arg;
        const struct text *right = other;
        struct text *left = acc;

        wrong += !aligned(acc) || !aligned(other);
        wrong += left->length + right->length > s->acc_bytes - sizeof *left;
        memcpy(left->digits + left->length, right->digits, right->length);
        left->length += right->length;
        /* To the last byte: accumulators must not overlap. */
        memset((char *)(uintptr_t)other, 0x5a, s->acc_bytes);
}

static void text_check(const struct text *t, size_t begin, size_t end, size_t acc_bytes)
{
        wrong += t->length != end - begin;
        for (size_t i = begin; i < end && i - begin < t->length; i++)
                wrong += t->digits[i - begin] != (char)('0' + i % 10);
        for (size_t i = t->length; i < acc_bytes - sizeof *t; i++)
                wrong += t->digits[i] != 0;
}

static void text_once(struct skua *rt, struct sizes s, size_t begin, size_t length)
{
        static _Alignas(max_align_t) char room[LARGE];
        struct skua_reduction r = {s.acc_bytes, NULL, text_body, text_combine, &s};

        memset(room, 0xa5, sizeof room);
        wrong += reduce(rt, &r, begin, begin + length, s.grain, room) != 0;
        text_check((struct text *)(void *)room, begin, begin + length, s.acc_bytes);
        for (size_t i = s.acc_bytes; i < sizeof room; i++)
                wrong += room[i] != (char)0xa5;
}

static void test_text(void)
{
        static const size_t bytes[] = {500, 1000, 1023, 1024, 1025, 2048, LARGE};
        uint64_t random = 0;

        for (unsigned workers = 1; workers <= RIG_WORKERS_MAX; workers++) {
                struct skua *rt = rig_start(workers, NULL);

                for (unsigned i = rig_rounds(100); i; i--)
                        for (unsigned k = 0; k < 7; k++) {
                                struct sizes s = {bytes[k], (size_t)(tap_random(&random) % 8)};
                                size_t most = bytes[k] - sizeof(struct text);
                                size_t length = (size_t)(tap_random(&random) % (most + 1));

                                text_once(rt, s, i, i % 16 ? length % 300 : length);
                        }
                rig_stop(rt);
                tap_is(take_wrong(), 0, "texts put together in order, up to 64 KiB");
        }
}

/* Without malloc: nothing above 1 KiB is split, and nothing is lost. */
static void test_no_memory(void)
{
        for (unsigned workers = 1; workers <= 4; workers++) {
                struct skua *rt = rig_start(workers, NULL);

                refused = 0;
                atomic_store(&refuse, 1);
                for (unsigned i = rig_rounds(100); i; i--) {
                        text_once(rt, (struct sizes){2048, 1}, 3, 1000);
                        text_once(rt, (struct sizes){LARGE, 0}, 3, 1000);
                }
                atomic_store(&refuse, 0);
                rig_stop(rt);
                tap_is(take_wrong(), 0, "large accumulators without memory");
                tap_ok(workers == 1 || refused > 0, "%u allocations were refused", refused);
        }
}

/* ------------------------------------------------------------------ matrices */

struct matrix {
        uint32_t cells[4];
};

static const struct matrix unit = {{1, 0, 0, 1}};

static struct matrix product(struct matrix a, struct matrix b)
{
        return (struct matrix){{a.cells[0] * b.cells[0] + a.cells[1] * b.cells[2],
                                a.cells[0] * b.cells[1] + a.cells[1] * b.cells[3],
                                a.cells[2] * b.cells[0] + a.cells[3] * b.cells[2],
                                a.cells[2] * b.cells[1] + a.cells[3] * b.cells[3]}};
}

static struct matrix matrix_of(size_t i)
{
        uint64_t x = rig_mix(i);

        return (struct matrix){{(uint32_t)x | 1, (uint32_t)(x >> 32), (uint32_t)(x >> 16),
                                (uint32_t)(x >> 40) | 1}};
}

static void matrix_body(struct skua_worker *self, size_t begin, size_t end, void *acc, void *arg)
{
        (void)self;
        (void)arg;
        for (size_t i = begin; i < end; i++)
                *(struct matrix *)acc = product(*(struct matrix *)acc, matrix_of(i));
}

static void matrix_combine(void *acc, const void *other, void *arg)
{
        (void)arg;
        *(struct matrix *)acc = product(*(struct matrix *)acc, *(const struct matrix *)other);
}

static void test_matrix(void)
{
        struct skua_reduction r = {sizeof(struct matrix), &unit, matrix_body, matrix_combine, NULL};
        uint64_t random = 0;

        for (unsigned workers = 1; workers <= RIG_WORKERS_MAX; workers++) {
                struct skua *rt = rig_start(workers, NULL);

                for (unsigned i = rig_rounds(100); i; i--) {
                        size_t length = (size_t)(tap_random(&random) % (i % 10 ? 500 : 20000));
                        struct matrix expected = unit, got = {{7, 7, 7, 7}};

                        matrix_body(NULL, i, i + length, &expected, NULL);
                        wrong += reduce(rt, &r, i, i + length, i % 5, &got) != 0;
                        wrong += memcmp(&got, &expected, sizeof got) != 0;
                }
                rig_stop(rt);
                tap_is(take_wrong(), 0, "a product of matrices, with its identity");
        }
}

/* ------------------------------------------------------------------ ends, errors, cancellation */

static void nothing_combine(void *acc, const void *other, void *arg)
{
        (void)acc;
        (void)other;
        (void)arg;
}

struct edges {
        struct matrix result;
        struct skua_group group;
        struct skua_job job;
        uint64_t sum;
        atomic_uint ran;
        int returned;
        bool cancels;
};

static void edges_run(struct skua_worker *self, void *arg)
{
        struct skua_reduction good = {sizeof(struct matrix), &unit, matrix_body, matrix_combine,
                                      NULL};
        const struct matrix untouched = {{9, 9, 9, 9}};
        struct matrix result = untouched;
        struct skua_reduction r;

        (void)arg;
        wrong += skua_reduce(self, 0, 10, 1, NULL, &result) != -EINVAL;
        r = good;
        r.body = NULL;
        wrong += skua_reduce(self, 0, 10, 1, &r, &result) != -EINVAL;
        r = good;
        r.combine = NULL;
        wrong += skua_reduce(self, 0, 10, 1, &r, &result) != -EINVAL;
        r = good;
        r.acc_bytes = 0;
        wrong += skua_reduce(self, 0, 10, 1, &r, &result) != -EINVAL;
        wrong += skua_reduce(self, 0, 10, 1, &good, NULL) != -EINVAL;
        wrong += memcmp(&result, &untouched, sizeof result) != 0;
        wrong += skua_reduce(self, 10, 10, 1, &good, &result) != 0;
        wrong += memcmp(&result, &unit, sizeof result) != 0;
        result = untouched;
        wrong += skua_reduce(self, 10, 9, 0, &good, &result) != 0;
        wrong += memcmp(&result, &unit, sizeof result) != 0;
        good.identity = NULL;
        good.combine = nothing_combine;
        wrong += skua_reduce(self, 1, 1, 0, &good, &result) != 0;
        wrong += result.cells[0] || result.cells[1] || result.cells[2] || result.cells[3];
}

static void count_body(struct skua_worker *self, size_t begin, size_t end, void *acc, void *arg)
{
        struct edges *e = arg;

        *(uint64_t *)acc += end - begin;
        atomic_fetch_add(&e->ran, (unsigned)(end - begin));
        if (begin <= 77 && end > 77) {
                if (e->cancels)
                        skua_group_cancel(&e->group);
                else
                        skua_fail(self, -EDOM);
        }
        if (begin % 16 == 0)
                sched_yield();
}

static void count_combine(void *acc, const void *other, void *arg)
{
        (void)arg;
        *(uint64_t *)acc += *(const uint64_t *)other;
}

static void count_run(struct skua_worker *self, struct skua_job *job)
{
        struct edges *e = skua_container(job, struct edges, job);
        struct skua_reduction r = {sizeof e->sum, NULL, count_body, count_combine, e};

        e->returned = skua_reduce(self, 0, 5000, 1, &r, &e->sum);
}

static void test_edges(void)
{
        for (unsigned workers = 1; workers <= RIG_WORKERS_MAX; workers++) {
                struct skua *rt = rig_start(workers, NULL);

                wrong += skua_run(rt, edges_run, NULL) != 0;
                tap_is(take_wrong(), 0, "bad calls touch nothing, an empty range is the identity");
                for (unsigned i = rig_rounds(60); i; i--) {
                        struct edges e = {.cancels = i % 2, .sum = 1234};
                        bool late;
                        int result;

                        skua_group_init(&e.group);
                        skua_job_init(&e.job, count_run);
                        skua_group_submit(rt, &e.group, &e.job);
                        result = skua_group_wait(&e.group, -1);
                        wrong += result != (e.cancels ? -ECANCELED : 0);
                        /* The others may be through before it gets so far as to cancel. */
                        late = workers > 1 && e.cancels && e.ran == 5000;
                        wrong += e.returned != (late ? 0 : e.cancels ? -ECANCELED : -EDOM);
                        wrong += e.sum != e.ran || (!late && (e.ran == 5000) == e.cancels);
                }
                rig_stop(rt);
                tap_is(take_wrong(), 0, "errors are returned, a cancelled fold is what has run");
        }
}

int main(void)
{
        tap_plan(8 + 8 + 8 + 16, 120);
        test_text();
        test_no_memory();
        test_matrix();
        test_edges();
        return tap_done();
}
