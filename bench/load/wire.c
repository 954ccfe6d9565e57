/* SPDX-License-Identifier: MIT
 *
 * The messages and the sockets. All messages are cut out of one pattern that repeats after PERIOD
 * messages, so sending and checking copy nothing: what a connection sends next lies there already,
 * as long a run as depth asks for. Each connection begins elsewhere in it, so that bytes which went
 * to the wrong connection or overtook others do not fit. The first byte is the mark: L or H.
 */
#include "load.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

enum {
        PERIOD = 8,
        IN_BYTES = 1 << 17,
};

static const unsigned char marks[MARKS] = {'L', 'H'};

static uint64_t next_random(uint64_t *state)
{
        uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        return z ^ (z >> 31);
}

/* ---------------------------------------------------------------- sockets */

static void set(int fd, int level, int option, const char *name)
{
        int one = 1;

        if (setsockopt(fd, level, option, &one, sizeof one) != 0)
                fail("%s: %s", name, strerror(errno));
}

int wire_connect(const struct settings *s, unsigned index)
{
        unsigned nth = index / WIRE_PORTS;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (fd < 0)
                fail("socket %u: %s", index, strerror(errno));
        set(fd, IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY");
        if (nth > 0) {
                struct sockaddr_in from = {.sin_family = AF_INET};
                /* The port is chosen by connect(), which sees the whole connection: else the
                   ports of all addresses together would be used up. */
                set(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, "IP_BIND_ADDRESS_NO_PORT");
                from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + nth);
                if (bind(fd, (struct sockaddr *)&from, sizeof from) != 0)
                        fail("bind to 127.0.0.%u: %s", 1 + nth, strerror(errno));
        }
        if (connect(fd, (const struct sockaddr *)&s->server, sizeof s->server) != 0)
                fail("connect %u: %s", index, strerror(errno));
        return fd;
}

void wire_files(unsigned count)
{
        struct rlimit limit;
        rlim_t need = count + 32;

        if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= need)
                return;
        limit.rlim_cur = need;
        if (limit.rlim_max < need)
                limit.rlim_max = need;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
                fail("%u open files are not allowed: %s", count, strerror(errno));
}

/* ---------------------------------------------------------------- messages */

/* So long that a run of messages never has to be cut at the period's end. */
static unsigned char *make_pattern(const struct settings *s, enum mark mark)
{
        uint64_t seed = 1;
        size_t count = PERIOD + s->depth;
        unsigned char *p = malloc(count * s->bytes);

        if (p == NULL)
                fail("no memory for the messages");
        for (size_t i = 0; i < (size_t)PERIOD * s->bytes; i++)
                p[i] = (unsigned char)next_random(&seed);
        for (size_t i = 0; i < PERIOD; i++)
                p[i * s->bytes] = marks[mark];
        for (size_t i = PERIOD; i < count; i++)
                memcpy(p + i * s->bytes, p + (i - PERIOD) * s->bytes, s->bytes);
        return p;
}

static unsigned char *place(const struct wire *w, const struct connection *c, uint64_t n,
                            enum mark mark)
{
        return w->pattern[mark] + (n + c->index) % PERIOD * w->set->bytes;
}

static struct request *request(const struct wire *w, const struct connection *c, uint64_t n)
{
        return &c->flight[n % w->set->depth];
}

void wire_open(struct wire *w, const struct settings *s, wire_done *done)
{
        w->set = s;
        w->done = done;
        w->random = s->seed;
        w->epoll = epoll_create1(EPOLL_CLOEXEC);
        w->list = calloc(s->connections, sizeof *w->list);
        w->in = aligned_alloc(4096, IN_BYTES);
        if (w->epoll < 0 || w->list == NULL || w->in == NULL)
                fail("no memory for %u connections", s->connections);
        for (enum mark m = 0; m < MARKS; m++)
                w->pattern[m] = make_pattern(s, m);
        wire_files(s->connections);
        for (unsigned i = 0; i < s->connections; i++) {
                struct connection *c = &w->list[i];
                struct epoll_event e = {EPOLLIN | EPOLLOUT | EPOLLET, {.ptr = c}};
                c->index = i;
                c->flight = calloc(s->depth, sizeof *c->flight);
                c->fd = wire_connect(s, i);
                if (c->flight == NULL || epoll_ctl(w->epoll, EPOLL_CTL_ADD, c->fd, &e) != 0)
                        fail("connection %u: %s", i, strerror(errno));
        }
}

void wire_begin(struct wire *w, struct connection *c, int64_t begin_ns)
{
        struct request *r = request(w, c, c->begun++);
        unsigned percent = w->set->heavy_percent;

        r->begin_ns = begin_ns;
        r->mark = percent != 0 && next_random(&w->random) % 100 < percent ? MARK_HEAVY : MARK_LIGHT;
}

/* As many of the messages that wait as lie one after the other in the pattern. */
static size_t next_run(const struct wire *w, const struct connection *c, enum mark *mark)
{
        uint64_t n = c->written;

        *mark = request(w, c, n)->mark;
        if (w->set->heavy_percent == 0)
                n = c->begun;
        while (n < c->begun && request(w, c, n)->mark == *mark)
                n++;
        return (n - c->written) * w->set->bytes - c->written_bytes;
}

void wire_flush(struct wire *w, struct connection *c)
{
        unsigned bytes = w->set->bytes;
        enum mark mark;

        while (c->written < c->begun) {
                size_t run = next_run(w, c, &mark);
                const unsigned char *at = place(w, c, c->written, mark) + c->written_bytes;
                ssize_t n = send(c->fd, at, run, MSG_DONTWAIT | MSG_NOSIGNAL);
                if (n < 0 && errno == EAGAIN)
                        return; /* epoll tells when there is room */
                if (n < 0)
                        fail("send on connection %u: %s", c->index, strerror(errno));
                size_t all = c->written_bytes + (size_t)n;
                c->written += all / bytes;
                c->written_bytes = (unsigned)(all % bytes);
        }
}

_Noreturn static void wrong(const struct connection *c, const char *what)
{
        fail("WRONG ECHO: connection %u, message %llu after byte %u: %s", c->index,
             (unsigned long long)c->done, c->done_bytes, what);
}

static void check(struct wire *w, struct connection *c, const unsigned char *in, size_t n,
                  int64_t now)
{
        unsigned bytes = w->set->bytes;

        while (n > 0) {
                size_t part = bytes - c->done_bytes;
                const struct request *r = request(w, c, c->done);
                if (c->done >= c->begun)
                        wrong(c, "more than was sent");
                if (part > n)
                        part = n;
                if (memcmp(in, place(w, c, c->done, r->mark) + c->done_bytes, part) != 0)
                        wrong(c, "other bytes than were sent");
                in += part;
                n -= part;
                c->done_bytes += (unsigned)part;
                if (c->done_bytes == bytes) {
                        w->done(r, now);
                        c->done++;
                        c->done_bytes = 0;
                }
        }
}

int64_t wire_receive(struct wire *w, struct connection *c)
{
        ssize_t n;
        int64_t now = 0;

        /* Less than asked for: it was all, and the next byte is an event of its own. */
        do {
                n = recv(c->fd, w->in, IN_BYTES, MSG_DONTWAIT);
                now = now_ns();
                if (n < 0 && errno == EAGAIN)
                        return now;
                if (n <= 0)
                        fail("connection %u: %s", c->index,
                             n == 0 ? "closed by the server" : strerror(errno));
                check(w, c, w->in, (size_t)n, now);
        } while (n == IN_BYTES);
        return now;
}
