/* SPDX-License-Identifier: MIT
 *
 * What the parts of the load generator share: the settings of a run, the connections, the samples.
 * One thread does everything; nothing here is shared between threads.
 */
#ifndef LOAD_H
#define LOAD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct settings {
        struct sockaddr_in server;
        unsigned connections;
        unsigned bytes; /* of one message */
        unsigned depth; /* messages in flight of one connection, at most */
        double seconds, warm_seconds;
        double rate;            /* requests per second of all connections; 0: a closed loop */
        unsigned heavy_percent; /* 0: all messages are light */
        uint64_t seed;          /* decides which messages are heavy */
        int server_pid;         /* 0: its processor time is not asked for */
        bool spin;              /* never sleeps: the server never pays for waking the client */
};

/* ---------------------------------------------------------------- samples */

/* Latencies in ns. Four bytes each, as they are as many as the messages: longer than 4.29 s counts
   as that. */
struct samples {
        uint32_t *values;
        uint64_t count, count_max;
};

struct quantiles {
        uint64_t count;
        double p50_us, p90_us, p99_us, p999_us, max_us;
};

void samples_init(struct samples *s, uint64_t count_max);
void samples_add(struct samples *s, int64_t ns);

/* By the histogram's program, which lies beside this one; exits when it is not there. */
void samples_quantiles(const struct samples *list, size_t count, struct quantiles *results);

/* ---------------------------------------------------------------- connections */

enum mark { MARK_LIGHT, MARK_HEAVY, MARKS };

/* A request from its begin to the last byte of its echo. */
struct request {
        int64_t begin_ns; /* in an open loop when it was to be sent, however late it was */
        enum mark mark;
};

struct connection {
        int fd;
        unsigned index;
        uint64_t due;     /* requests that the schedule of an open loop has reached */
        uint64_t begun;   /* requests that were sent or wait in us for room in the socket */
        uint64_t written; /* whole messages that the socket has taken */
        uint64_t done;    /* whole messages that came back */
        unsigned written_bytes, done_bytes; /* of the next one */
        struct request *flight;             /* depth of them: request n is at n % depth */
};

/* Called for each whole echo. */
typedef void wire_done(const struct request *r, int64_t now_ns);

struct wire {
        const struct settings *set;
        struct connection *list;
        unsigned char *pattern[MARKS]; /* what the connections send, and expect */
        unsigned char *in;
        wire_done *done;
        int epoll;
        uint64_t random;
};

/* Connections of one source address: the kernel gives out 28,000 ports. */
enum { WIRE_PORTS = 25000 };

/* As many sockets as asked for, each connected; exits with the reason. */
int wire_connect(const struct settings *set, unsigned index);
void wire_files(unsigned count);
void wire_open(struct wire *w, const struct settings *set, wire_done *done);

/* A new request of the connection; the caller sees to depth, and then flushes. */
void wire_begin(struct wire *w, struct connection *c, int64_t begin_ns);
void wire_flush(struct wire *w, struct connection *c);

/* All that has come on the connection, checked byte by byte; the time is when it was read. */
int64_t wire_receive(struct wire *w, struct connection *c);

/* ---------------------------------------------------------------- others */

int64_t now_ns(void);
void idle(const struct settings *set);
void churn(const struct settings *set);
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
