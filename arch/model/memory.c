/* SPDX-License-Identifier: MIT
 *
 * The memory of the modelled machine. Each location has a history of stores in modification order.
 *
 *   load      any store that is not older than the thread's view has it for the location
 *   store     at the end of modification order, or before stores of others that the thread has not
 *             seen (so order of modification need not be order in time, as in the litmus test 2+2W)
 *   RMW       reads a store and comes directly after it; only RMWs carry a release sequence on
 *             (C++20)
 *   fences    acquire: takes what earlier loads could have; release: later stores bring what is
 *             known now; full: both, and joins with the view that all full fences share
 *
 * A compare-and-exchange that fails is a relaxed load and may read an old value.
 */
#include <stdlib.h>
#include <string.h>

#include "state.h"

struct location model_locations[LOCATIONS];

static struct slot table[TABLE];
static char arena[ARENA_BYTES] __attribute__((aligned(64)));

typedef int16_t lane __attribute__((vector_size(16)));

void model_memory_begin(void)
{
        size_t bytes = model.entries * sizeof(int16_t);

        memset(model.sc, 0, bytes);
        for (unsigned i = 0; i < MODEL_THREADS; i++) {
                memset(model_threads[i].seen, 0, bytes);
                memset(model_threads[i].pending, 0, bytes);
        }
        model.entries = MODEL_THREADS;
        model.locations = model.arena_used = 0;
}

static void *take(size_t bytes)
{
        void *memory = arena + model.arena_used;

        if (model.arena_used + bytes > ARENA_BYTES)
                model_fail("the model's own memory is used up");
        model.arena_used += (unsigned)((bytes + 15) & ~(size_t)15);
        return memory;
}

void *model_memory(size_t bytes)
{
        size_t pad = -(uintptr_t)(arena + model.arena_used) & 4095;
        char *memory = bytes >= 4096 ? (char *)take(bytes + pad) + pad : take(bytes);

        return memset(memory, 0, bytes);
}

/* ------------------------------------------------------------------ views */

static inline void join(int16_t *to, const int16_t *from, unsigned begin, unsigned end)
{
        for (unsigned i = begin; i < end; i += 8) {
                lane a = *(lane *)(to + i), b = *(const lane *)(from + i), greater = a > b;

                *(lane *)(to + i) = (a & greater) | (b & ~greater);
        }
}

void model_join_views(int16_t *to, const struct message *from)
{
        join(to, from->at, 0, from->length);
}

const struct message *model_message(const int16_t *view)
{
        unsigned length = model.entries;
        struct message *message = take(sizeof *message + length * sizeof(int16_t));

        message->length = length;
        memcpy(message->at, view, length * sizeof(int16_t));
        return message;
}

/* What `t` knows, given away: what it does from now on is later. */
static const struct message *release(struct thread *t)
{
        const struct message *message = model_message(t->seen);

        t->seen[thread_index(t)]++;
        return message;
}

static const struct message *both(const struct message *a, const struct message *b)
{
        struct message *sum;

        if (!a || !b)
                return a ? a : b;
        sum = take(sizeof *sum + model.entries * sizeof(int16_t));
        sum->length = model.entries;
        memset(sum->at, 0, model.entries * sizeof(int16_t));
        model_join_views(sum->at, a);
        model_join_views(sum->at, b);
        return sum;
}

static void receive(struct thread *t, const struct message *message, bool acquire)
{
        if (!message)
                return;
        if (acquire) {
                model_join_views(t->seen, message);
        } else {
                model_join_views(t->pending, message);
                t->has_pending = true;
        }
}

/* ------------------------------------------------------------------ locations */

static uint64_t raw(const void *address, unsigned bytes)
{
        return bytes == 4 ? *(const uint32_t volatile *)address
                          : *(const uint64_t volatile *)address;
}

static void set_raw(void *address, unsigned bytes, uint64_t value)
{
        if (bytes == 4)
                *(uint32_t volatile *)address = (uint32_t)value;
        else
                *(uint64_t volatile *)address = value;
}

static struct slot *slot_of(const void *address)
{
        unsigned i = (unsigned)((uint32_t)((uintptr_t)address >> 2) * 2654435761u) >> TABLE_SHIFT;

        for (;; i = (i + 1) % TABLE)
                if (table[i].run != model.run || table[i].address == address)
                        return &table[i];
}

/* The word's slot, now taken. */
static struct slot *slot_take(const void *address)
{
        struct slot *slot = slot_of(address);

        if (slot->run == model.run)
                return slot;
        if (++model.slots > TABLE / 2)
                model_fail("the model has no room for more words");
        *slot = (struct slot){.run = model.run, .location = NULL, .address = address};
        return slot;
}

static struct location *add(const void *address, unsigned bytes)
{
        struct location *l = &model_locations[model.locations];

        if (model.locations == LOCATIONS)
                model_fail("the model has no more locations");
        l->address = address;
        l->bytes = (uint8_t)bytes;
        l->index = (uint16_t)(MODEL_THREADS + model.locations++);
        l->count = 0;
        l->stores[0].at = 0;
        memset(l->access, 0, sizeof l->access);
        if (l->index >= model.entries)
                model.entries += 8;
        return l;
}

/* A first store, by whoever has prepared the memory by plain writes. */
static void settle(struct location *l, uint64_t value)
{
        int16_t at = l->count ? l->stores[l->count - 1].at : l->stores[0].at;

        l->stores[0] = (struct store){.value = value, .at = at + GAP, .thread = MODEL_THREADS};
        l->count = 1;
}

struct location *model_location(const void *address, unsigned bytes)
{
        struct slot *slot = slot_take(address);
        uint64_t value = raw(address, bytes);
        struct location *l = slot->location;

        if (__builtin_expect(slot->gone != NULL, 0))
                model_fail("use of memory that has gone at %s:%u", slot->gone, slot->gone_line);
        if (!l)
                l = slot->location = add(address, bytes);
        /* Memory that has been prepared anew, as a new frame's on an old stack. */
        if (!l->count || __builtin_expect(l->stores[l->count - 1].value != value, 0))
                settle(l, value);
        return l;
}

void model_memory_new(const void *address, size_t bytes)
{
        for (size_t i = 0; i < bytes; i += 4) {
                struct slot *slot = slot_of((const char *)address + i);
                struct location *l = slot->location;

                if (slot->run != model.run)
                        continue;
                slot->gone = NULL;
                if (!l)
                        continue;
                if (l->count)
                        l->stores[0].at = l->stores[l->count - 1].at;
                l->count = 0;
                memset(l->access, 0, sizeof l->access);
        }
}

void model_memory_gone(const void *address, size_t bytes, const char *file, int line)
{
        const struct thread *t = model.current;

        for (size_t i = 0; i < bytes; i += 4) {
                struct slot *slot = slot_take((const char *)address + i);
                const struct location *l = slot->location;

                for (unsigned k = 0; l && k < model.threads; k++)
                        if (l->access[k] > t->seen[k])
                                model_fail("%s:%d: the memory goes, but an access by thread %u "
                                           "may still come (word at +%zu)",
                                           file, line, k, i);
                slot->gone = file;
                slot->gone_line = (unsigned)line;
        }
}

/* ------------------------------------------------------------------ the operations */

/* The oldest store that the thread may read. */
static unsigned oldest(const struct thread *t, const struct location *l)
{
        unsigned i = l->count - 1;
        int16_t least = t->seen[l->index];

        while (i > 0 && l->stores[i - 1].at >= least)
                i--;
        /* The store at `least` itself may have been forgotten; then all are newer. */
        return l->stores[i].at >= least ? i : l->count - 1;
}

/* Is there a place behind store i, for a store that need not be the newest? */
static bool room_behind(const struct location *l, unsigned i)
{
        return i + 1 == l->count ||
               (!l->stores[i].joined && l->stores[i + 1].at - l->stores[i].at > 1);
}

/* Room for a store behind store i; keeps the newest HISTORY ones. */
static struct store *insert(struct location *l, unsigned i)
{
        struct store *s = l->stores;
        int at = i + 1 == l->count ? s[i].at + GAP : (s[i].at + s[i + 1].at) / 2;

        if (at > INT16_MAX - GAP)
                model_fail("more stores to one word than the model can number");
        if (l->count == HISTORY) {
                memmove(s, s + 1, (HISTORY - 1) * sizeof *s);
                l->count--;
                if (i-- == 0) {
                        /* What it stands behind is forgotten: it is the oldest now. */
                        memmove(s + 1, s, l->count * sizeof *s);
                        l->count++;
                        s[0].at = (int16_t)at;
                        return s;
                }
        }
        memmove(s + i + 2, s + i + 1, (l->count - i - 1) * sizeof *s);
        l->count++;
        s[i + 1].at = (int16_t)at;
        return &s[i + 1];
}

static void put(struct location *l, struct store *s, uint64_t value, const struct message *message)
{
        struct thread *t = model.current;
        int16_t at = s->at;

        *s = (struct store){value, message, at, (uint8_t)thread_index(t), false, model.steps};
        if (s == &l->stores[l->count - 1])
                set_raw((void *)(uintptr_t)l->address, l->bytes, value);
        t->seen[l->index] = at;
        model_written();
}

static void record(const struct model_site *site, const struct location *l, uint64_t before,
                   uint64_t value, const struct store *from)
{
        struct event event = {.step = model.steps,
                              .thread = (uint8_t)thread_index(model.current),
                              .file = site->file,
                              .operation = site->operation,
                              .line = site->line,
                              .address = l ? l->address : NULL,
                              .value = value,
                              .before = before,
                              .reads = from != NULL,
                              .writes = site->kind == MODEL_STORE || site->kind == MODEL_RMW};

        if (from) {
                event.from_step = from->step;
                event.from_thread = from->thread;
                event.choice = (uint8_t)(l->stores + l->count - 1 - from);
        }
        model_record(&event);
}

/* Before each operation: the scheduler, then the location; the access is noted. */
static inline struct location *begin(const void *word, unsigned bytes, struct model_site *site)
{
        struct location *l;
        struct thread *t;

        model_step();
        site->visits++;
        l = model_location(word, bytes);
        t = model.current;
        l->access[thread_index(t)] = t->seen[thread_index(t)];
        return l;
}

uint64_t model_load(const void *word, unsigned bytes, struct model_site *site)
{
        struct location *l;
        struct thread *t;
        const struct store *s;
        unsigned from, k = 0;

        if (!model.running)
                return raw(word, bytes);
        l = begin(word, bytes, site);
        t = model.current;
        from = oldest(t, l);
        if (from + 1 < l->count && t->stale && (k = model_choose(l->count - from)))
                t->stale--;
        s = &l->stores[l->count - 1 - k];
        if (model.tracing)
                record(site, l, s->value, s->value, s);
        t->seen[l->index] = s->at > t->seen[l->index] ? s->at : t->seen[l->index];
        receive(t, s->message, site->order & MODEL_ACQUIRE);
        return s->value;
}

uint64_t model_public_load(const void *word)
{
        static struct model_site site = {
                "runtime/skua_fork.h", "load_relaxed", 58, MODEL_LOAD, 0, 0, 0, 0, 0};

        return model_load(word, 8, &site);
}

void model_store(void *word, unsigned bytes, uint64_t value, struct model_site *site)
{
        const struct message *message;
        struct location *l;
        struct thread *t;
        unsigned i, from, k;

        if (!model.running) {
                set_raw(word, bytes, value);
                return;
        }
        l = begin(word, bytes, site);
        t = model.current;
        i = l->count - 1;
        from = oldest(t, l);
        if (from < i && model.early && (k = model_choose(i - from + 1)) && room_behind(l, i - k)) {
                model.early--;
                i -= k;
        }
        if (model.tracing)
                record(site, l, 0, value, NULL);
        struct store *s = insert(l, i);

        t->seen[l->index] = s->at;
        message = site->order & MODEL_RELEASE ? release(t) : t->released;
        put(l, s, value, message);
}

/* Reads store i and comes directly behind it. */
static uint64_t modify(struct location *l, unsigned i, uint64_t value, unsigned order)
{
        struct thread *t = model.current;
        const struct message *carried = l->stores[i].message, *own;
        uint64_t before = l->stores[i].value;
        int16_t at = l->stores[i].at;
        struct store *s;

        l->stores[i].joined = true;
        s = insert(l, i);
        t->seen[l->index] = at > t->seen[l->index] ? at : t->seen[l->index];
        receive(t, carried, order & MODEL_ACQUIRE);
        t->seen[l->index] = s->at;
        own = order & MODEL_RELEASE ? release(t) : t->released;
        if ((order & MODEL_ACQ_REL) == MODEL_ACQ_REL) {
                t->at_rmw = own;
                /* It may be that a full fence which follows has its effect already here. */
                t->rmw_was_fence = model_whim();
                if (t->rmw_was_fence) {
                        join(model.sc, own->at, MODEL_THREADS, own->length);
                        join(t->seen, model.sc, MODEL_THREADS, model.entries);
                }
        }
        put(l, s, value, both(carried, own));
        return before;
}

/* Which store an RMW reads: the newest, or an older one that nothing is joined to. */
static unsigned rmw_place(const struct thread *t, const struct location *l)
{
        unsigned i = l->count - 1, from = oldest(t, l), k;

        if (from < i && model.early && (k = model_choose(i - from + 1)) && room_behind(l, i - k)) {
                model.early--;
                return i - k;
        }
        return i;
}

bool model_cas(void *word, unsigned bytes, uint64_t values[2], struct model_site *site)
{
        struct location *l;
        struct thread *t;
        const struct store *s;
        unsigned i, from, k = 0;

        if (!model.running) {
                uint64_t found = raw(word, bytes);
                bool won = found == values[0];

                if (won)
                        set_raw(word, bytes, values[1]);
                values[0] = found;
                return won;
        }
        l = begin(word, bytes, site);
        t = model.current;
        i = l->count - 1;
        from = oldest(t, l);
        if (from < i && t->stale && (k = model_choose(i - from + 1)))
                t->stale--;
        s = &l->stores[i - k];
        if (k && s->value == values[0] && !(model.early && room_behind(l, i - k)))
                s = &l->stores[i]; /* it would succeed there, and cannot */
        i = (unsigned)(s - l->stores);
        if (model.tracing)
                record(site, l, s->value, s->value == values[0] ? values[1] : s->value, s);
        if (s->value == values[0]) {
                if (i + 1 < l->count)
                        model.early--;
                modify(l, i, values[1], site->order);
                return true;
        }
        values[0] = s->value;
        t->seen[l->index] = s->at > t->seen[l->index] ? s->at : t->seen[l->index];
        receive(t, s->message, false);
        return false;
}

enum change { CHANGE_SET, CHANGE_ADD, CHANGE_OR, CHANGE_AND };

static uint64_t changed(enum change how, uint64_t old, uint64_t value, unsigned bytes)
{
        uint64_t new = how == CHANGE_SET   ? value
                       : how == CHANGE_ADD ? old + value
                       : how == CHANGE_OR  ? (old | value)
                                           : (old & value);

        return bytes == 4 ? (uint32_t) new : new;
}

static uint64_t rmw(void *word, unsigned bytes, uint64_t value, struct model_site *site,
                    enum change how)
{
        struct location *l;
        uint64_t old, new;
        unsigned i;

        if (!model.running) {
                old = raw(word, bytes);
                set_raw(word, bytes, changed(how, old, value, bytes));
                return old;
        }
        l = begin(word, bytes, site);
        i = rmw_place(model.current, l);
        old = l->stores[i].value;
        new = changed(how, old, value, bytes);
        if (model.tracing)
                record(site, l, old, new, &l->stores[i]);
        return modify(l, i, new, site->order);
}

uint64_t model_exchange(void *word, unsigned bytes, uint64_t value, struct model_site *site)
{
        return rmw(word, bytes, value, site, CHANGE_SET);
}

uint64_t model_fetch_add(void *word, unsigned bytes, uint64_t value, struct model_site *site)
{
        return rmw(word, bytes, value, site, CHANGE_ADD);
}

uint64_t model_fetch_or(void *word, unsigned bytes, uint64_t value, struct model_site *site)
{
        return rmw(word, bytes, value, site, CHANGE_OR);
}

uint64_t model_fetch_and(void *word, unsigned bytes, uint64_t value, struct model_site *site)
{
        return rmw(word, bytes, value, site, CHANGE_AND);
}

/* Orders what was before the last acq_rel RMW, and only that, against all that follows. */
static void fence_after_rmw(struct thread *t)
{
        if (!t->at_rmw)
                return;
        if (!t->released || t->released->at[thread_index(t)] < t->at_rmw->at[thread_index(t)])
                t->released = t->at_rmw;
        if (t->rmw_was_fence)
                return;
        join(model.sc, t->at_rmw->at, MODEL_THREADS, t->at_rmw->length);
        join(t->seen, model.sc, MODEL_THREADS, model.entries);
}

void model_fence(struct model_site *site)
{
        struct thread *t;

        if (!model.running)
                return;
        if (site->order & MODEL_SEQ_CST)
                model_step(); /* the other fences are the thread's own business */
        site->visits++;
        t = model.current;
        if (model.tracing)
                record(site, NULL, 0, 0, NULL);
        if (site->off)
                return;
        if (site->kind == MODEL_FENCE_RMW && site->order & MODEL_SEQ_CST) {
                fence_after_rmw(t);
                return;
        }
        if (site->order & MODEL_ACQUIRE && t->has_pending) {
                join(t->seen, t->pending, 0, model.entries);
                t->has_pending = false;
        }
        if (site->order & MODEL_SEQ_CST) {
                join(t->seen, model.sc, MODEL_THREADS, model.entries);
                join(model.sc, t->seen, MODEL_THREADS, model.entries);
        }
        if (site->order & MODEL_RELEASE)
                t->released = release(t);
}

uint64_t model_newest(const void *address, unsigned bytes)
{
        const struct location *l = model_location(address, bytes);

        return l->stores[l->count - 1].value;
}

uint32_t model_kernel_load(const void *word, bool acquire)
{
        const struct location *l = model_location(word, 4);
        const struct store *s = &l->stores[l->count - 1];
        struct thread *t = model.current;

        if (s->at > t->seen[l->index])
                t->seen[l->index] = s->at;
        receive(t, s->message, acquire);
        return (uint32_t)s->value;
}
