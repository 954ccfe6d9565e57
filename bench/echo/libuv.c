/* SPDX-License-Identifier: MIT
 *
 * Contestant: libuv, a loop per worker. The reads of a loop share one buffer, and an echo goes out
 * of it by uv_try_write() at once; only what the socket does not take is copied and queued. With -o
 * heavy messages go through its pool of threads (uv_queue_work), as its guide has it.
 */
/* link: -luv */
#include "server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { BUFFER = 1 << 16, BACKLOG = 4096 };

struct loop {
        const struct server *server;
        char buffer[BUFFER];
};

struct connection {
        uv_tcp_t tcp;
        unsigned at; /* for server_burn() */
};

struct rest {
        uv_write_t write;
        char data[];
};

/* Heavy messages, which a thread of the pool works on; meanwhile their connection is not read. */
struct heavy {
        uv_work_t work;
        uv_stream_t *stream;
        unsigned count;
        size_t bytes;
        char data[];
};

static void check(int error, const char *call)
{
        if (error < 0)
                server_fail(call, -error);
}

static void closed(uv_handle_t *handle)
{
        free(handle);
}

static void close_connection(uv_stream_t *stream)
{
        if (!uv_is_closing((uv_handle_t *)stream))
                uv_close((uv_handle_t *)stream, closed);
}

static void written(uv_write_t *write, int status)
{
        if (status < 0)
                close_connection(write->handle);
        free(write);
}

static void queue_rest(uv_stream_t *stream, const char *data, size_t bytes)
{
        struct rest *r = malloc(sizeof *r + bytes);
        uv_buf_t buffer;

        if (r == NULL)
                server_fail("write", ENOMEM);
        memcpy(r->data, data, bytes);
        buffer = uv_buf_init(r->data, (unsigned)bytes);
        if (uv_write(&r->write, stream, &buffer, 1, written) < 0) {
                free(r);
                close_connection(stream);
        }
}

static void echo(uv_stream_t *stream, char *data, size_t bytes)
{
        uv_buf_t out = uv_buf_init(data, (unsigned)bytes);
        int n = uv_try_write(stream, &out, 1);
        size_t done = n > 0 ? (size_t)n : 0;

        if (n < 0 && n != UV_EAGAIN)
                close_connection(stream);
        else if (done < bytes)
                queue_rest(stream, data + done, bytes - done);
}

static void work_heavy(uv_work_t *work)
{
        for (unsigned i = 0; i < ((struct heavy *)work)->count; i++)
                server_burn_one();
}

static void give_buffer(uv_handle_t *handle, size_t wanted, uv_buf_t *buffer)
{
        struct loop *l = handle->loop->data;

        (void)wanted;
        *buffer = uv_buf_init(l->buffer, BUFFER);
}

static void received(uv_stream_t *stream, ssize_t bytes, const uv_buf_t *buffer);

static void worked_heavy(uv_work_t *work, int status)
{
        struct heavy *h = (struct heavy *)work;

        check(status, "work");
        echo(h->stream, h->data, h->bytes);
        if (!uv_is_closing((uv_handle_t *)h->stream))
                check(uv_read_start(h->stream, give_buffer, received), "uv_read_start");
        free(h);
}

static void queue_heavy(uv_stream_t *stream, unsigned count, const char *data, size_t bytes)
{
        struct heavy *h = malloc(sizeof *h + bytes);

        if (h == NULL)
                server_fail("work", ENOMEM);
        *h = (struct heavy){.stream = stream, .count = count, .bytes = bytes};
        memcpy(h->data, data, bytes);
        check(uv_read_stop(stream), "uv_read_stop");
        check(uv_queue_work(stream->loop, &h->work, work_heavy, worked_heavy), "uv_queue_work");
}

static void received(uv_stream_t *stream, ssize_t bytes, const uv_buf_t *buffer)
{
        struct connection *c = (struct connection *)stream;
        struct loop *l = stream->loop->data;
        unsigned heavy;

        if (bytes == 0)
                return;
        if (bytes < 0) {
                close_connection(stream);
                return;
        }
        heavy = l->server->mixed ? server_heavy(&c->at, buffer->base, (size_t)bytes) : 0;
        if (heavy > 0 && l->server->offload) {
                queue_heavy(stream, heavy, buffer->base, (size_t)bytes);
                return;
        }
        for (; heavy > 0; heavy--)
                server_burn_one();
        echo(stream, buffer->base, (size_t)bytes);
}

static void connected(uv_stream_t *listener, int status)
{
        struct connection *c = calloc(1, sizeof *c);

        if (c == NULL)
                server_fail("connection", ENOMEM);
        check(status, "listen");
        check(uv_tcp_init(listener->loop, &c->tcp), "uv_tcp_init");
        if (uv_accept(listener, (uv_stream_t *)&c->tcp) == 0)
                check(uv_read_start((uv_stream_t *)&c->tcp, give_buffer, received),
                      "uv_read_start");
        else
                close_connection((uv_stream_t *)&c->tcp);
}

static void loop(const struct server *s)
{
        struct loop *l = malloc(sizeof *l);
        uv_loop_t loop;
        uv_tcp_t listener;

        if (l == NULL)
                server_fail("loop", ENOMEM);
        l->server = s;
        check(uv_loop_init(&loop), "uv_loop_init");
        loop.data = l;
        check(uv_tcp_init(&loop, &listener), "uv_tcp_init");
        /* Its own way to bind knows no SO_REUSEPORT. */
        check(uv_tcp_open(&listener, server_listen(s)), "uv_tcp_open");
        check(uv_listen((uv_stream_t *)&listener, BACKLOG, connected), "uv_listen");
        uv_run(&loop, UV_RUN_DEFAULT);
}

int main(int argc, char **argv)
{
        struct server s = server_options(argc, argv, "libuv", uv_version_string());

        server_run(&s, loop);
}
