/* SPDX-License-Identifier: MIT
 *
 * What happened, for people: the last steps of an execution that has been run once more.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"

enum { EVENTS = 1 << 14, NAMES = 64, PRINTED = 250 };

static struct event events[EVENTS];
static unsigned event_count, name_count;
static struct name {
        const char *begin, *end, *text;
} names[NAMES];

void model_trace_begin(void)
{
        event_count = name_count = 0;
}

void model_record(const struct event *event)
{
        events[event_count++ % EVENTS] = *event;
}

void model_name(const void *address, size_t bytes, const char *name)
{
        if (!model.tracing || name_count == NAMES)
                return;
        names[name_count++] = (struct name){address, (const char *)address + bytes, name};
}

/* A name and what is behind its beginning, or the number. */
static const char *show(const void *address, char *text, size_t bytes)
{
        const char *at = address;

        for (unsigned i = name_count; i--;)
                if (at >= names[i].begin && at < names[i].end) {
                        snprintf(text, bytes, at == names[i].begin ? "%s" : "%s+%td", names[i].text,
                                 at - names[i].begin);
                        return text;
                }
        snprintf(text, bytes, (uintptr_t)at < 4096 ? "%" PRIuPTR : "0x%" PRIxPTR, (uintptr_t)at);
        return text;
}

static void print(const struct event *e)
{
        char where[64], value[64], before[64];
        const char *file = strstr(e->file, "/");

        printf("#   %5u  T%u  %-24s", e->step, e->thread, e->operation);
        if (e->address) {
                printf(" %-22s", show(e->address, where, sizeof where));
                show((void *)(uintptr_t)e->before, before, sizeof before);
                show((void *)(uintptr_t)e->value, value, sizeof value);
                if (e->reads && e->value != e->before)
                        printf(" %s -> %s", before, value);
                else
                        printf(" %s", value);
        }
        if (e->reads && e->from_thread == MODEL_THREADS)
                printf("  (initial");
        else if (e->reads)
                printf("  (of T%u at %u", e->from_thread, e->from_step);
        if (e->reads)
                printf(e->choice ? ", %u newer)" : ")", e->choice);
        if (e->line)
                printf("  %s:%d", file ? file + 1 : e->file, e->line);
        putchar('\n');
}

void model_trace_print(void)
{
        const char *all = getenv("TRACE");
        unsigned wanted = all && *all ? (unsigned)atoi(all) : PRINTED;
        unsigned first = event_count > EVENTS ? event_count - EVENTS : 0;

        if (event_count - first > wanted)
                first = event_count - wanted;
        if (first)
                printf("#   ... %u steps before (TRACE=%u shows more)\n", first, event_count);
        for (unsigned i = first; i < event_count; i++)
                print(&events[i % EVENTS]);
}
