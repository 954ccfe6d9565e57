/* SPDX-License-Identifier: MIT
 *
 * RESP, version 2: requests are read as they come in, in whatever pieces, and replies written.
 * https://redis.io/docs/reference/protocol-spec has the format. Nothing here waits or locks; one
 * reader belongs to one connection.
 */
#ifndef KV_RESP_H
#define KV_RESP_H

#include "memory.h"

#include <stdint.h>
#include <sys/types.h>

enum {
        RESP_INLINE_MOST = 65536,    /* bytes of a request in one line */
        RESP_ARGS_MOST = 65536,      /* of a request, the command counted */
        RESP_BULK_MOST = 16 << 20,   /* bytes of one argument */
        RESP_REQUEST_MOST = 64 << 20 /* of all; also of a reply */
};

struct resp_arg {
        const char *data;
        uint32_t bytes;
        uint32_t offset; /* of the request's; while it is being read */
};

/* A request that is being read; zeroed: none. Between two calls its bytes may move. */
struct resp {
        struct resp_arg *args;
        size_t count;      /* of the arguments that are read */
        const char *error; /* what is wrong with the request */
        size_t room;       /* for arguments */
        size_t wanted;     /* arguments in all, as its first line says */
        size_t at;         /* bytes of it that are read */
        long bulk;         /* length of the argument at hand; -1: not read yet */
        enum { RESP_BEGIN, RESP_ARGS, RESP_DONE } state;
};

/* Goes on with the request that begins at data, of which so many bytes have come (not fewer than
 * last time). How many bytes it has: it is complete, and its arguments point into data; there may
 * be none. 0: more is needed. -1: error says what is wrong; what follows cannot be read. */
ssize_t resp_read(struct resp *r, const char *data, size_t bytes);
void resp_free(struct resp *r);

/* Each appends to `out`; false: no room, and what is there is cut short. */
bool resp_text(struct buffer *out, const char *text); /* as it is, with its \r\n */
bool resp_integer(struct buffer *out, int64_t value);
bool resp_array(struct buffer *out, size_t count); /* so many replies follow */
bool resp_bulk(struct buffer *out, const char *data, size_t bytes);

#endif
