/* SPDX-License-Identifier: MIT
 *
 * A floor: one hand-written epoll loop per worker. Edge-triggered, so that a connection costs no
 * second look; a receive that fills less than the buffer was all there is, but for the end of the
 * stream, which the event tells of; the echo goes out of the same buffer at once. What the socket
 * does not take is kept, and until it is gone the connection is not read: the client's own window
 * slows it down.
 */
#include "server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define SEEN (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

enum { EVENTS = 512, BUFFER = 1 << 17 };

struct connection {
        int fd;
        unsigned at; /* for server_burn() */
        char *rest;  /* not sent yet; NULL: nothing */
        size_t rest_from, rest_bytes;
};

struct loop {
        const struct server *server;
        int epoll, listener;
        char *buffer;
};

static void close_connection(struct connection *c)
{
        close(c->fd);
        free(c->rest);
        free(c);
}

static void accept_all(struct loop *l)
{
        int fd;

        while ((fd = accept4(l->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
                struct connection *c = calloc(1, sizeof *c);
                struct epoll_event e = {SEEN, {.ptr = c}};
                if (c == NULL)
                        server_fail("connection", ENOMEM);
                c->fd = fd;
                if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &e) != 0)
                        server_fail("epoll_ctl", errno);
        }
}

/* Sends, or keeps what does not go out. False: the connection is broken. */
static bool echo(struct connection *c, const char *data, size_t bytes)
{
        ssize_t n = send(c->fd, data, bytes, MSG_NOSIGNAL);

        if (n == (ssize_t)bytes)
                return true;
        if (n < 0 && errno != EAGAIN)
                return false;
        c->rest_from = 0;
        c->rest_bytes = bytes - (n > 0 ? (size_t)n : 0);
        c->rest = malloc(c->rest_bytes);
        if (c->rest == NULL)
                return false;
        memcpy(c->rest, data + bytes - c->rest_bytes, c->rest_bytes);
        return true;
}

static bool send_rest(struct connection *c)
{
        ssize_t n = send(c->fd, c->rest + c->rest_from, c->rest_bytes, MSG_NOSIGNAL);

        if (n < 0)
                return errno == EAGAIN;
        c->rest_from += (size_t)n;
        c->rest_bytes -= (size_t)n;
        if (c->rest_bytes == 0) {
                free(c->rest);
                c->rest = NULL;
        }
        return true;
}

static bool serve(struct loop *l, struct connection *c, unsigned events)
{
        bool ends = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
        ssize_t n;

        if (c->rest != NULL && !send_rest(c))
                return false;
        while (c->rest == NULL) {
                n = recv(c->fd, l->buffer, BUFFER, 0);
                if (n <= 0)
                        return n < 0 && errno == EAGAIN;
                if (l->server->mixed)
                        server_burn(&c->at, l->buffer, (size_t)n);
                if (!echo(c, l->buffer, (size_t)n))
                        return false;
                if (n < BUFFER && !ends)
                        return true;
        }
        return true;
}

static void loop(const struct server *s)
{
        struct loop l = {s, epoll_create1(EPOLL_CLOEXEC), server_listen(s), malloc(BUFFER)};
        struct epoll_event events[EVENTS], e = {EPOLLIN | EPOLLET, {.ptr = NULL}};

        if (l.epoll < 0 || l.buffer == NULL ||
            epoll_ctl(l.epoll, EPOLL_CTL_ADD, l.listener, &e) != 0)
                server_fail("epoll", errno);
        for (;;) {
                int n = epoll_wait(l.epoll, events, EVENTS, -1);
                for (int i = 0; i < n; i++)
                        if (events[i].data.ptr == NULL)
                                accept_all(&l);
                        else if (!serve(&l, events[i].data.ptr, events[i].events))
                                close_connection(events[i].data.ptr);
        }
}

int main(int argc, char **argv)
{
        struct server s = server_options(argc, argv, "epoll", "by hand");

        server_run(&s, loop);
}
