/* SPDX-License-Identifier: MIT
 *
 * Reading the options of skua_start().
 */
#include "core/options.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>

#include "core/runtime.h"

enum { SPIN_NS = 10000, SPIN_NS_MOST = 1000000000 };
enum { RING_ENTRIES = 256, RING_ENTRIES_MOST = 32768 };
enum { STACK_LEAST = 16384, STACK_COUNT = 100000 };
enum { BLOCKING_MAX = 512, BLOCKING_MOST = 32768, BLOCKING_IDLE_MS = 10000 };
#define STACK_BYTES      ((size_t)64 << 20)
#define STACK_BYTES_MOST ((size_t)1 << 40)
#define FLAGS_BUILT      (SKUA_PIN | SKUA_NO_PIN | SKUA_NO_RING | SKUA_NO_KICK)
#define FLAGS_LATER      (SKUA_TIME_JOBS | SKUA_CATCH_FAULTS)

int options_copy(void *ours, size_t ours_bytes, const void *theirs, size_t least_bytes)
{
        const unsigned char *bytes = theirs;
        size_t size;

        memcpy(&size, theirs, sizeof size);
        if (size < least_bytes || size > 65536)
                return -EINVAL;
        for (size_t i = ours_bytes; i < size; i++)
                if (bytes[i])
                        return -EOPNOTSUPP;
        memset(ours, 0, ours_bytes);
        memcpy(ours, theirs, size < ours_bytes ? size : ours_bytes);
        return 0;
}

/* A field of something that is not built: not asking for it, or for none of it, is fine. */
static bool wished(uint64_t value, uint64_t none)
{
        return value && value != none;
}

static bool unbuilt(const struct skua_options *o)
{
        const unsigned none = (unsigned)SKUA_NONE;

        return wished(o->min_workers, none) || wished(o->worker_idle_ms, none) ||
               wished(o->stall_ms, none) || o->on_stall || o->flags & FLAGS_LATER;
}

/* A field that may be "none". */
static unsigned given(unsigned value, unsigned normal)
{
        return value == (unsigned)SKUA_NONE ? 0 : value ? value : normal;
}

static bool absurd(const struct skua_options *o)
{
        bool workers = o->workers > RUNTIME_WORKERS_MAX;
        bool spin = o->spin_ns != (unsigned)SKUA_NONE && o->spin_ns > SPIN_NS_MOST;
        bool stack = o->stack_bytes &&
                     (o->stack_bytes < STACK_LEAST || o->stack_bytes > STACK_BYTES_MOST);
        bool ring = o->ring_entries != (unsigned)SKUA_NONE && o->ring_entries > RING_ENTRIES_MOST;
        bool kick = o->kick_signal && o->kick_signal != SKUA_NONE &&
                    (o->kick_signal < SIGRTMIN || o->kick_signal > SIGRTMAX);
        bool pins = o->flags & SKUA_PIN && o->flags & SKUA_NO_PIN;
        bool cpus = (o->cpus && !o->cpus_size) || (!o->cpus && o->cpus_size);
        bool elastic = o->min_workers != (unsigned)SKUA_NONE && o->workers &&
                       o->min_workers > o->workers;
        unsigned threads = given(o->blocking_max, BLOCKING_MOST);
        bool blocking = threads > BLOCKING_MOST || given(o->blocking_min, 0) > threads;

        return workers || spin || stack || ring || kick || pins || cpus || elastic || blocking ||
               o->flags & ~(unsigned)(FLAGS_BUILT | FLAGS_LATER);
}

static size_t bound(size_t wish, size_t normal)
{
        return wish == 0 ? normal : wish == (size_t)SKUA_NONE ? DOOR_COUNT_MASK : wish;
}

static int kick_signal(const struct skua_options *o)
{
        if (o->flags & SKUA_NO_KICK || o->kick_signal == SKUA_NONE)
                return 0;
        return o->kick_signal ? o->kick_signal : SIGRTMAX - 2;
}

int settings_read(struct settings *out, const struct skua_options *options)
{
        struct skua_options o = SKUA_OPTIONS_INIT;
        int result = options ? options_copy(&o, sizeof o, options, sizeof o) : 0;

        if (result)
                return result;
        if (absurd(&o))
                return -EINVAL;
        if (unbuilt(&o))
                return -EOPNOTSUPP;
        memset(out, 0, sizeof *out);
        out->workers = o.workers;
        out->flags = o.flags;
        out->spin_ns = !o.spin_ns ? SPIN_NS : o.spin_ns == (unsigned)SKUA_NONE ? 0 : o.spin_ns;
        out->cpus = o.cpus;
        out->cpus_size = o.cpus_size;
        out->stack_bytes = o.stack_bytes ? o.stack_bytes : STACK_BYTES;
        out->stack_max = bound(o.stack_max, STACK_COUNT);
        out->ring_entries = o.ring_entries && o.ring_entries != (unsigned)SKUA_NONE ? o.ring_entries
                                                                                    : RING_ENTRIES;
        out->blocking_min = given(o.blocking_min, 0);
        out->blocking_max = given(o.blocking_max, BLOCKING_MAX);
        if (!o.blocking_max && out->blocking_max < out->blocking_min)
                out->blocking_max = out->blocking_min;
        out->blocking_idle_ms = given(o.blocking_idle_ms, BLOCKING_IDLE_MS);
        out->blocking_queue_limit = bound(o.blocking_queue_limit, DOOR_COUNT_MASK);
        out->kick_signal = kick_signal(&o);
        out->queue_limit = bound(o.queue_limit, DOOR_COUNT_MASK);
        strncpy(out->name, o.name ? o.name : "skua", 6);
        out->user = o.user;
        out->on_thread = o.on_thread;
        out->on_log = o.on_log;
        return 0;
}
