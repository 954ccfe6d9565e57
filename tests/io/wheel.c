/* SPDX-License-Identifier: MIT
 *
 * The timing wheel against a plain list of what is armed, with a clock of the test's own: what is
 * due when, in what order, and when it wants to be looked at. Seeded.
 */
#include "io/wheel.h"

#include "tap.h"

enum { CHECKS = 14, NODES = 300, STEPS = 200000, FLAG = 4 };

struct entry {
        struct wheel_node node;
        uint64_t order; /* of adding */
        enum { OUT, IN, DUE } where;
};

static struct wheel wheel;
static struct entry entries[NODES];
static struct entry *due[NODES], *expired[NODES];
static unsigned due_count, wrong_due, wrong_next, wrong_most, wrong_rest;
static uint64_t orders, random_state;
static int64_t now;

static uint64_t any(uint64_t below)
{
        return tap_random(&random_state) % below;
}

/* From a nanosecond to the end of time, each scale as likely as the others. */
static int64_t any_span(void)
{
        return (int64_t)(tap_random(&random_state) >> (1 + any(63)));
}

static int64_t later(int64_t ns)
{
        return ns > INT64_MAX - now ? INT64_MAX : now + ns;
}

static void add(struct entry *e)
{
        int64_t deadline = any(8) ? later(any_span()) : now - (int64_t)any(100000);

        if (!any(4))
                deadline = entries[any(NODES)].node.deadline_ns; /* the same as another's */
        e->node.deadline_ns = deadline > 0 ? deadline : 1;
        e->order = ++orders;
        e->where = IN;
        wheel_add(&wheel, &e->node);
}

static void take_out(struct entry *e)
{
        wheel_remove(&wheel, &e->node);
        for (unsigned i = 0; e->where == DUE && i < due_count; i++)
                if (due[i] == e) {
                        memmove(&due[i], &due[i + 1], (--due_count - i) * sizeof *due);
                        break;
                }
        e->where = OUT;
}

static int by_deadline(const void *a, const void *b)
{
        const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;

        if (x->node.deadline_ns != y->node.deadline_ns)
                return x->node.deadline_ns < y->node.deadline_ns ? -1 : 1;
        return x->order < y->order ? -1 : 1;
}

/* The list of what is due, against the wheel's own. */
static void check_due(void)
{
        struct wheel_node *node = wheel.slots[WHEEL_DUE].first;
        unsigned i = 0;

        for (; node && i < due_count && node == &due[i]->node; i++)
                node = node->next;
        wrong_due += node || i != due_count;
}

static void turn(void)
{
        unsigned count = 0, newly = 0, most = any(4) ? 1 + (unsigned)any(40) : UINT32_MAX;

        for (unsigned i = 0; i < NODES; i++)
                if (entries[i].where == IN && entries[i].node.deadline_ns <= now)
                        expired[count++] = &entries[i];
        qsort(expired, count, sizeof *expired, by_deadline);
        wheel_turn(&wheel, now, most);
        while (newly < count && expired[newly]->node.slot == WHEEL_DUE) {
                expired[newly]->where = DUE;
                due[due_count++] = expired[newly++];
        }
        wrong_most += newly < count && newly < most;
        check_due();
}

static void check_next(bool exact)
{
        int64_t least = 0, next = wheel_next_ns(&wheel);

        for (unsigned i = 0; i < NODES; i++)
                if (entries[i].where == IN && (!least || entries[i].node.deadline_ns < least))
                        least = entries[i].node.deadline_ns;
        if (due_count)
                wrong_next += next != 1;
        else if (exact || !least)
                wrong_next += next != least;
        else
                wrong_next += next <= 0 || next > least;
}

static void step(void)
{
        struct entry *e = &entries[any(NODES)];

        switch (any(8)) {
        case 0:
                now = later(any_span() >> any(40));
                if (now > INT64_MAX / 2)
                        now = (int64_t)any(1u << 30) << 20;
                /* fall through */
        case 1:
                turn();
                break;
        case 2:
                for (uint64_t i = any(50); i > 0 && due_count; i--) {
                        wrong_due += wheel_take(&wheel) != &due[0]->node || due[0]->node.link;
                        due[0]->where = OUT;
                        memmove(&due[0], &due[1], --due_count * sizeof *due);
                }
                break;
        default:
                if (e->where != OUT)
                        take_out(e);
                if (any(3))
                        add(e);
        }
        check_next(false);
}

static void clear(void)
{
        memset(&wheel, 0, sizeof wheel);
        memset(entries, 0, sizeof entries);
        due_count = 0;
}

static void check_random(void)
{
        for (unsigned i = 0; i < STEPS; i++) {
                /* The clock went back: another wheel. */
                if (wheel.tick > (uint64_t)now >> WHEEL_TICK_BITS)
                        clear();
                step();
        }
        tap_is(wrong_due, 0, "due is what has expired, by deadline and order of adding");
        tap_is(wrong_most, 0, "and as much of it as was asked for");
        tap_is(wrong_next, 0, "the next look comes early enough, or never if there is nothing");
}

/* Looks only when the wheel says so: how often, until all are due? */
static unsigned looks_until_empty(void)
{
        unsigned looks = 0;
        int64_t next;

        while ((next = wheel_next_ns(&wheel)) && looks < 1000000) {
                if (next == 1)
                        wrong_due++;
                looks++;
                now = next;
                turn();
                wrong_rest += !due_count;
                while (due_count) {
                        wrong_due += wheel_take(&wheel) != &due[0]->node;
                        wrong_due += due[0]->node.deadline_ns != now;
                        due[0]->where = OUT;
                        memmove(&due[0], &due[1], --due_count * sizeof *due);
                }
        }
        return looks;
}

/* A sleeper: without removals each look finds something, and nothing is late. */
static void check_looks(void)
{
        unsigned looks;

        clear();
        now = 12345678901;
        wheel_forward(&wheel, now);
        for (unsigned i = 0; i < NODES; i++) {
                entries[i].node.deadline_ns = later(1 + any_span());
                entries[i].where = IN;
                entries[i].order = i;
                wheel_add(&wheel, &entries[i].node);
                check_next(true);
        }
        tap_is(wrong_next, 0, "without removals the next look is at the first deadline");
        looks = looks_until_empty();
        tap_is(wrong_due, 0, "each is due at its very deadline");
        tap_is(wrong_rest, 0, "no look is in vain");
        tap_ok(looks <= NODES, "%u looks for %u timers", looks, NODES);
        tap_is(wheel_next_ns(&wheel), 0, "then there is nothing");
}

static void check_far(void)
{
        clear();
        now = 1;
        entries[0].node.deadline_ns = INT64_MAX;
        entries[0].where = IN;
        wheel_add(&wheel, &entries[0].node);
        tap_is(wheel_next_ns(&wheel), INT64_MAX, "the end of time");
        wheel_remove(&wheel, &entries[0].node);
        tap_is(wheel_next_ns(&wheel), 0, "taken out: nothing to come");
        wheel_add(&wheel, &entries[0].node);
        now = INT64_MAX - 1;
        turn();
        tap_ok(!due_count && wheel_next_ns(&wheel) == INT64_MAX, "is not due before");
        now = INT64_MAX;
        turn();
        tap_ok(due_count == 1 && wheel_take(&wheel) == &entries[0].node, "and then it is");
}

static void check_end(void)
{
        unsigned kept = 0;

        clear();
        now = 1000000;
        for (unsigned i = 0; i < NODES; i++) {
                entries[i].node.deadline_ns = later(any_span());
                entries[i].node.flags = i % 3 ? 0 : FLAG;
                kept += i % 3 == 0;
                wheel_add(&wheel, &entries[i].node);
        }
        wheel_end(&wheel, FLAG);
        for (struct wheel_node *node; (node = wheel_take(&wheel)); kept++)
                wrong_due += node->flags != 0;
        tap_ok(kept == NODES && !wrong_due, "the end makes due what has not the flag");
        wrong_due = 0;
        for (unsigned i = 0; i < NODES; i += 3)
                entries[i].where = IN;
        now = INT64_MAX;
        wheel_turn(&wheel, now, UINT32_MAX);
        for (kept = 0; wheel_take(&wheel);)
                kept++;
        tap_is(kept, NODES / 3, "the rest stays where it was");
}

int main(void)
{
        tap_plan(CHECKS, 120);
        check_random();
        check_looks();
        check_far();
        check_end();
        return tap_done();
}
