/* SPDX-License-Identifier: MIT
 *
 * The timing wheel; see wheel.h.
 */
#include "io/wheel.h"

#include <stdbool.h>
#include <stddef.h>

/* Lists to be merged have at most 2^31 nodes. */
enum { SORT_BINS = 32 };

static uint64_t tick_of(int64_t ns)
{
        return (uint64_t)ns >> WHEEL_TICK_BITS;
}

/* ------------------------------------------------------------------ slots */

static void begin_slot(struct wheel *wheel, unsigned index)
{
        struct wheel_slot *slot = &wheel->slots[index];

        slot->end = &slot->first;
        slot->least_ns = INT64_MAX;
        if (index == WHEEL_DUE)
                return;
        wheel->occupied[index / WHEEL_SLOTS] |= (uint64_t)1 << index % WHEEL_SLOTS;
        wheel->levels |= 1u << index / WHEEL_SLOTS;
}

static void end_slot(struct wheel *wheel, unsigned index)
{
        unsigned level = index / WHEEL_SLOTS;

        if (index == WHEEL_DUE)
                return;
        wheel->occupied[level] &= ~((uint64_t)1 << index % WHEEL_SLOTS);
        if (!wheel->occupied[level])
                wheel->levels &= ~(1u << level);
}

static void append(struct wheel *wheel, unsigned index, struct wheel_node *node)
{
        struct wheel_slot *slot = &wheel->slots[index];

        if (!slot->first)
                begin_slot(wheel, index);
        node->next = NULL;
        node->link = slot->end;
        node->slot = (uint16_t)index;
        *slot->end = node;
        slot->end = &node->next;
        if (node->deadline_ns < slot->least_ns)
                slot->least_ns = node->deadline_ns;
}

void wheel_remove(struct wheel *wheel, struct wheel_node *node)
{
        struct wheel_slot *slot = &wheel->slots[node->slot];

        *node->link = node->next;
        if (node->next)
                node->next->link = node->link;
        else
                slot->end = node->link;
        node->link = NULL;
        if (!slot->first)
                end_slot(wheel, node->slot);
}

/* Empties a slot; its nodes, linked by next. */
static struct wheel_node *detach(struct wheel *wheel, unsigned index)
{
        struct wheel_node *first = wheel->slots[index].first;

        wheel->slots[index].first = NULL;
        end_slot(wheel, index);
        return first;
}

/* The occupied slot that comes first. */
static bool first_slot(const struct wheel *wheel, unsigned *index)
{
        unsigned level;

        if (!wheel->levels)
                return false;
        level = (unsigned)__builtin_ctz(wheel->levels);
        *index = level * WHEEL_SLOTS + (unsigned)__builtin_ctzll(wheel->occupied[level]);
        return true;
}

/* The first tick of a slot, which is not before the wheel's. */
static uint64_t start_of(const struct wheel *wheel, unsigned index)
{
        unsigned shift = index / WHEEL_SLOTS * WHEEL_BITS;
        uint64_t above = wheel->tick >> (shift + WHEEL_BITS) << WHEEL_BITS;

        return (above | index % WHEEL_SLOTS) << shift;
}

void wheel_forward(struct wheel *wheel, int64_t now_ns)
{
        if (!wheel->levels && wheel->tick < tick_of(now_ns))
                wheel->tick = tick_of(now_ns);
}

void wheel_add(struct wheel *wheel, struct wheel_node *node)
{
        uint64_t tick = tick_of(node->deadline_ns), differs;
        unsigned level = 0;

        if (tick < wheel->tick)
                tick = wheel->tick;
        differs = tick ^ wheel->tick;
        if (differs)
                level = (unsigned)(63 - __builtin_clzll(differs)) / WHEEL_BITS;
        append(wheel, level * WHEEL_SLOTS + (unsigned)(tick >> level * WHEEL_BITS) % WHEEL_SLOTS,
               node);
}

void wheel_add_due(struct wheel *wheel, struct wheel_node *node)
{
        append(wheel, WHEEL_DUE, node);
}

struct wheel_node *wheel_take(struct wheel *wheel)
{
        struct wheel_node *node = wheel->slots[WHEEL_DUE].first;

        if (node)
                wheel_remove(wheel, node);
        return node;
}

int64_t wheel_next_ns(const struct wheel *wheel)
{
        unsigned index;

        if (wheel->slots[WHEEL_DUE].first)
                return 1;
        return first_slot(wheel, &index) ? wheel->slots[index].least_ns : 0;
}

/* ------------------------------------------------------------------ expiry */

/* Both are in order; of equals, those of `a` go first. */
static struct wheel_node *merge(struct wheel_node *a, struct wheel_node *b)
{
        struct wheel_node *first = NULL, **end = &first;

        while (a && b) {
                struct wheel_node **from = b->deadline_ns < a->deadline_ns ? &b : &a;

                *end = *from;
                end = &(*from)->next;
                *from = *end;
        }
        *end = a ? a : b;
        return first;
}

/* By deadline, equals as they were. Bin i holds 2^i nodes, which stood before those of the bins
 * below it. */
static struct wheel_node *sort(struct wheel_node *list)
{
        struct wheel_node *bins[SORT_BINS] = {NULL}, *node, *result = NULL;
        unsigned i;

        while ((node = list)) {
                list = node->next;
                node->next = NULL;
                for (i = 0; bins[i]; i++) {
                        node = merge(bins[i], node);
                        bins[i] = NULL;
                }
                bins[i] = node;
        }
        for (i = 0; i < SORT_BINS; i++)
                result = merge(bins[i], result);
        return result;
}

/* Nodes of a slot that the time has reached move down. */
static void move_down(struct wheel *wheel, struct wheel_node *list)
{
        struct wheel_node *node;

        while ((node = list)) {
                list = node->next;
                wheel_add(wheel, node);
        }
}

/* Nodes of a slot of the lowest level that the time has reached: what has expired becomes due. How
 * many are. */
static unsigned make_due(struct wheel *wheel, struct wheel_node *list, int64_t now_ns)
{
        struct wheel_node *expired = NULL, **end = &expired, *node;
        int64_t last_ns = 0;
        bool sorted = true;
        unsigned count = 0;

        while ((node = list)) {
                list = node->next;
                if (node->deadline_ns > now_ns) {
                        wheel_add(wheel, node);
                        continue;
                }
                sorted = sorted && last_ns <= node->deadline_ns;
                last_ns = node->deadline_ns;
                *end = node;
                end = &node->next;
                count++;
        }
        *end = NULL;
        for (list = sorted ? expired : sort(expired); (node = list);) {
                list = node->next;
                append(wheel, WHEEL_DUE, node);
        }
        return count;
}

void wheel_turn(struct wheel *wheel, int64_t now_ns, unsigned most)
{
        uint64_t tick = tick_of(now_ns), start = 0;
        unsigned count = 0, index = WHEEL_DUE;

        if (tick < wheel->tick)
                tick = wheel->tick;
        /* Bound: a slot that is taken is of an earlier tick or a lower level than the next one. The
         * slot of the very tick stays occupied if some of its nodes are still to come. */
        while (count < most && !(index < WHEEL_SLOTS && start == tick)) {
                if (!first_slot(wheel, &index) || (start = start_of(wheel, index)) > tick) {
                        wheel->tick = tick;
                        return;
                }
                wheel->tick = start;
                if (index < WHEEL_SLOTS)
                        count += make_due(wheel, detach(wheel, index), now_ns);
                else
                        move_down(wheel, detach(wheel, index));
        }
}

void wheel_end(struct wheel *wheel, uint32_t except)
{
        struct wheel_node *list, *node;

        for (unsigned index = 0; index < WHEEL_DUE; index++)
                for (list = detach(wheel, index); (node = list);) {
                        list = node->next;
                        append(wheel, node->flags & except ? index : WHEEL_DUE, node);
                }
}
