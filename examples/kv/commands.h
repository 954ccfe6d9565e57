/* SPDX-License-Identifier: MIT
 *
 * What the server can be asked. A command runs from its first to its last step with the shards of
 * all its keys locked, so it is one step for everybody else, and it never waits.
 */
#ifndef KV_COMMANDS_H
#define KV_COMMANDS_H

#include "resp.h"

#include <skua.h>
#include <stdatomic.h>

/* For INFO. Counted by relaxed additions: each is a figure by itself. */
struct server {
        struct skua *rt;
        unsigned port;
        int64_t started_ns;
        atomic_ullong clients, connections, commands;
};
extern struct server server;

enum command_result {
        COMMAND_DONE,
        COMMAND_EXPIRES, /* and there is a key that expires, which somebody should look after */
        COMMAND_QUIT     /* the connection is to be closed when the reply has gone */
};

/* Does what the request asks for, and appends the reply to `out`. */
enum command_result command_run(const struct resp *request, struct buffer *out);

#endif
