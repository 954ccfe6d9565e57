/* SPDX-License-Identifier: MIT
 *
 * What a program wished, checked and with the defaults filled in. Structs of the public interface
 * grow at their ends: a shorter or longer one than ours is read as far as both sides know it.
 */
#ifndef CORE_OPTIONS_H
#define CORE_OPTIONS_H

#include "skua.h"

struct settings {
        unsigned workers; /* 0: what the machine gives */
        unsigned flags;
        int64_t spin_ns;
        const cpu_set_t *cpus;
        size_t cpus_size;
        size_t stack_bytes, stack_max, queue_limit;
        unsigned ring_entries;
        unsigned blocking_min, blocking_max, blocking_idle_ms;
        size_t blocking_queue_limit;
        int kick_signal; /* 0: none */
        char name[8];
        void *user;
        void (*on_thread)(struct skua *rt, int starting, void *user);
        void (*on_log)(int level, const char *message, void *user);
};

/* 0, -EINVAL or -EOPNOTSUPP. `options` may be NULL. */
int settings_read(struct settings *out, const struct skua_options *options);

/* Copies a public struct of the caller's size to one of ours: 0; -EINVAL: too small to be one;
 * -EOPNOTSUPP: longer, and what we do not know is not zero. The first field is its size. */
int options_copy(void *ours, size_t ours_bytes, const void *theirs, size_t least_bytes);

#endif
