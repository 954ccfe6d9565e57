/* SPDX-License-Identifier: MIT
 *
 * The floor: one hand-written io_uring loop per worker, and one system call per turn of it. The
 * ring belongs to its thread and runs completions only when that asks (SINGLE_ISSUER,
 * DEFER_TASKRUN, a registered ring descriptor); accept and receive are armed once (multishot);
 * connections are files of the ring only; receives take buffers from a ring that is shared with the
 * kernel, and the echo is sent out of them. A connection has one send under way, so that nothing
 * overtakes; what comes meanwhile waits in its buffers and goes out together.
 */
/* link: -luring */
#include "server.h"

#include <errno.h>
#include <liburing.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum {
        BUFFERS = 256,
        BUFFER = 64 << 10,
        WINDOW = 256 << 10, /* see limit() */
        LEAST = 4,
        GROUP = 1,
        ENTRIES = 1024,
        COMPLETIONS = 8192,
        FILES_MOST = 1 << 17,
        /* Without the step all buffers would begin in the same few sets of the caches. */
        STRIDE = BUFFER + 3 * 64,
        NONE = UINT16_MAX,
        GATHER = 16, /* buffers that go out together, at most */
};

enum operation { ACCEPT, RECEIVE, SEND, CLOSE };

/* One that has been received and is not sent yet, or is being sent. */
struct buffer {
        uint32_t bytes;
        uint16_t next;
};

struct connection {
        uint16_t first, last; /* buffers in the order of the stream */
        uint16_t sending;     /* the first so many are under way */
        bool receiving, broken, listed;
        unsigned at; /* for server_burn() */
};

struct loop {
        const struct server *server;
        struct io_uring ring;
        struct io_uring_buf_ring *provided;
        char *memory;
        int listener;
        unsigned provided_count; /* buffers that the kernel has not used */
        unsigned spare_count;    /* buffers that are kept from it */
        unsigned average;        /* bytes of a receive, over the last few */
        unsigned file_count;
        unsigned todo_count, hungry_first, hungry_count;
        uint32_t *todo;   /* connections with something to send or to close */
        uint32_t *hungry; /* connections that found no buffer: a ring of file_count */
        struct connection *list;
        struct buffer buffers[BUFFERS];
        uint16_t spare[BUFFERS];
        struct iovec gather[ENTRIES * 2]; /* of the sends that are not submitted */
        struct msghdr headers[ENTRIES];
        unsigned gather_count, header_count;
};

/* ---------------------------------------------------------------- requests */

static struct io_uring_sqe *request(struct loop *l)
{
        struct io_uring_sqe *sqe = io_uring_get_sqe(&l->ring);

        if (sqe == NULL) {
                io_uring_submit(&l->ring);
                l->gather_count = l->header_count = 0;
                sqe = io_uring_get_sqe(&l->ring);
        }
        return sqe;
}

/* Preparing clears what a request has: user_data comes last. */
static void ready(struct io_uring_sqe *sqe, enum operation op, uint32_t file)
{
        sqe->flags |= op == RECEIVE || op == SEND ? IOSQE_FIXED_FILE : 0;
        sqe->user_data = (uint64_t)file << 8 | op;
}

static void arm_accept(struct loop *l)
{
        struct io_uring_sqe *sqe = request(l);

        io_uring_prep_multishot_accept_direct(sqe, l->listener, NULL, NULL, 0);
        ready(sqe, ACCEPT, 0);
}

static void arm_receive(struct loop *l, uint32_t file)
{
        struct io_uring_sqe *sqe = request(l);

        io_uring_prep_recv_multishot(sqe, (int)file, NULL, 0, 0);
        sqe->flags |= IOSQE_BUFFER_SELECT;
        sqe->buf_group = GROUP;
        ready(sqe, RECEIVE, file);
        l->list[file].receiving = true;
}

static void request_close(struct loop *l, uint32_t file)
{
        struct io_uring_sqe *sqe = request(l);

        io_uring_prep_close_direct(sqe, file);
        ready(sqe, CLOSE, file);
}

/* ---------------------------------------------------------------- buffers */

static char *memory_of(struct loop *l, unsigned id)
{
        return l->memory + (size_t)id * STRIDE;
}

static void give_back(struct loop *l, unsigned id)
{
        l->spare[l->spare_count++] = (uint16_t)id;
}

/* The kernel fills what it finds before we send the first of it. With all buffers at hand and much
   in flight that would leave the cache; so it gets as many as WINDOW bytes need. The last used is
   the first. */
static unsigned limit(const struct loop *l)
{
        unsigned n = WINDOW / (l->average + 1);

        return n < LEAST ? LEAST : n > BUFFERS ? BUFFERS : n;
}

static void publish_buffers(struct loop *l)
{
        unsigned most = limit(l);
        int n = 0;

        for (; l->spare_count > 0 && l->provided_count < most; l->provided_count++) {
                unsigned id = l->spare[--l->spare_count];
                io_uring_buf_ring_add(l->provided, memory_of(l, id), BUFFER, (unsigned short)id,
                                      BUFFERS - 1, n++);
        }
        if (n > 0)
                io_uring_buf_ring_advance(l->provided, n);
}

/* ---------------------------------------------------------------- a connection */

static void list_todo(struct loop *l, uint32_t file)
{
        if (l->list[file].listed)
                return;
        l->list[file].listed = true;
        l->todo[l->todo_count++] = file;
}

static void append(struct loop *l, struct connection *c, uint16_t id, uint32_t bytes)
{
        l->buffers[id] = (struct buffer){bytes, NONE};
        if (c->first == NONE)
                c->first = id;
        else
                l->buffers[c->last].next = id;
        c->last = id;
}

static void send_one(struct loop *l, struct io_uring_sqe *sqe, uint32_t file, uint16_t id)
{
        io_uring_prep_send(sqe, (int)file, memory_of(l, id), l->buffers[id].bytes,
                           MSG_WAITALL | MSG_NOSIGNAL);
        l->list[file].sending = 1;
}

static void send_gathered(struct loop *l, struct io_uring_sqe *sqe, uint32_t file, uint16_t id)
{
        struct iovec *from = &l->gather[l->gather_count];
        struct msghdr *header = &l->headers[l->header_count++];
        uint16_t n = 0;

        for (; id != NONE && n < GATHER; id = l->buffers[id].next, n++)
                from[n] = (struct iovec){memory_of(l, id), l->buffers[id].bytes};
        *header = (struct msghdr){.msg_iov = from, .msg_iovlen = n};
        l->gather_count += n;
        io_uring_prep_sendmsg(sqe, (int)file, header, MSG_WAITALL | MSG_NOSIGNAL);
        l->list[file].sending = n;
}

static void send_pending(struct loop *l, uint32_t file)
{
        uint16_t id = l->list[file].first;
        struct io_uring_sqe *sqe = request(l);

        if (l->buffers[id].next != NONE &&
            l->gather_count + GATHER <= sizeof l->gather / sizeof *l->gather)
                send_gathered(l, sqe, file, id);
        else
                send_one(l, sqe, file, id);
        ready(sqe, SEND, file);
}

static void drop_buffers(struct loop *l, struct connection *c, unsigned count)
{
        for (; count > 0 && c->first != NONE; count--) {
                uint16_t id = c->first;
                c->first = l->buffers[id].next;
                give_back(l, id);
        }
}

/* Once in a turn for each connection to which something has happened. */
static void work_todo(struct loop *l)
{
        for (unsigned i = 0; i < l->todo_count; i++) {
                uint32_t file = l->todo[i];
                struct connection *c = &l->list[file];
                c->listed = false;
                if (c->sending > 0)
                        continue;
                if (c->broken)
                        drop_buffers(l, c, BUFFERS);
                if (c->first != NONE)
                        send_pending(l, file);
                else if (!c->receiving)
                        request_close(l, file);
        }
        l->todo_count = 0;
}

static void work_hungry(struct loop *l)
{
        for (unsigned n = l->provided_count; l->hungry_count > 0 && n > 0; n--) {
                arm_receive(l, l->hungry[l->hungry_first]);
                l->hungry_first = (l->hungry_first + 1) % l->file_count;
                l->hungry_count--;
        }
}

/* ---------------------------------------------------------------- completions */

static void accepted(struct loop *l, const struct io_uring_cqe *cqe)
{
        if (cqe->res >= 0) {
                l->list[cqe->res] = (struct connection){.first = NONE};
                arm_receive(l, (uint32_t)cqe->res);
        }
        if (!(cqe->flags & IORING_CQE_F_MORE))
                arm_accept(l);
}

static void received(struct loop *l, uint32_t file, const struct io_uring_cqe *cqe)
{
        struct connection *c = &l->list[file];

        if (cqe->flags & IORING_CQE_F_BUFFER) {
                uint16_t id = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
                l->provided_count--;
                if (cqe->res > 0) {
                        l->average = (l->average * 15 + (unsigned)cqe->res) / 16;
                        if (l->server->mixed)
                                server_burn(&c->at, memory_of(l, id), (size_t)cqe->res);
                        append(l, c, id, (uint32_t)cqe->res);
                        list_todo(l, file);
                } else {
                        give_back(l, id);
                }
        }
        if (cqe->flags & IORING_CQE_F_MORE)
                return;
        if (cqe->res > 0) {
                arm_receive(l, file);
        } else if (cqe->res == -ENOBUFS) {
                l->hungry[(l->hungry_first + l->hungry_count++) % l->file_count] = file;
        } else {
                c->receiving = false;
                c->broken = c->broken || cqe->res < 0;
                list_todo(l, file);
        }
}

static void sent(struct loop *l, uint32_t file, const struct io_uring_cqe *cqe)
{
        struct connection *c = &l->list[file];
        unsigned count = c->sending;

        c->sending = 0;
        drop_buffers(l, c, count);
        c->broken = c->broken || cqe->res < 0;
        if (c->first != NONE || !c->receiving)
                list_todo(l, file);
}

static void complete(struct loop *l, const struct io_uring_cqe *cqe)
{
        uint32_t file = (uint32_t)(cqe->user_data >> 8);

        switch ((enum operation)(cqe->user_data & 255)) {
        case ACCEPT:
                accepted(l, cqe);
                break;
        case RECEIVE:
                received(l, file, cqe);
                break;
        case SEND:
                sent(l, file, cqe);
                break;
        case CLOSE:
                break;
        }
}

/* ---------------------------------------------------------------- the loop */

static void check(int error, const char *what)
{
        if (error < 0)
                server_fail(what, -error);
}

static void *memory(size_t bytes)
{
        void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (p == MAP_FAILED)
                server_fail("mmap", errno);
        return p;
}

static void init_buffers(struct loop *l)
{
        struct io_uring_buf_reg reg = {.ring_entries = BUFFERS, .bgid = GROUP};

        l->provided = memory(BUFFERS * sizeof(struct io_uring_buf));
        l->memory = memory((size_t)BUFFERS * STRIDE);
        reg.ring_addr = (uintptr_t)l->provided;
        check(io_uring_register_buf_ring(&l->ring, &reg, 0), "buffer ring");
        io_uring_buf_ring_init(l->provided);
        for (unsigned i = 0; i < BUFFERS; i++)
                give_back(l, i);
        publish_buffers(l);
}

static struct loop *init(const struct server *s)
{
        struct io_uring_params p = {.cq_entries = COMPLETIONS};
        struct loop *l = memory(sizeof *l);
        struct rlimit files;

        p.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE |
                  IORING_SETUP_SUBMIT_ALL;
        l->server = s;
        l->listener = server_listen(s);
        getrlimit(RLIMIT_NOFILE, &files);
        l->file_count = files.rlim_cur < FILES_MOST ? (unsigned)files.rlim_cur : FILES_MOST;
        l->list = memory(l->file_count * sizeof *l->list);
        l->todo = memory(l->file_count * sizeof *l->todo);
        l->hungry = memory(l->file_count * sizeof *l->hungry);
        check(io_uring_queue_init_params(ENTRIES, &l->ring, &p), "io_uring");
        check(io_uring_register_ring_fd(&l->ring), "register the ring");
        check(io_uring_register_files_sparse(&l->ring, l->file_count), "register files");
        init_buffers(l);
        return l;
}

static void loop(const struct server *s)
{
        struct loop *l = init(s);

        arm_accept(l);
        for (;;) {
                struct io_uring_cqe *cqe;
                unsigned head, count = 0;
                int error = io_uring_submit_and_wait(&l->ring, 1);
                if (error < 0 && error != -EINTR)
                        server_fail("io_uring_enter", -error);
                l->gather_count = l->header_count = 0;
                io_uring_for_each_cqe(&l->ring, head, cqe)
                {
                        complete(l, cqe);
                        count++;
                }
                io_uring_cq_advance(&l->ring, count);
                work_todo(l);
                publish_buffers(l);
                work_hungry(l);
        }
}

int main(int argc, char **argv)
{
        struct server s = server_options(argc, argv, "liburing", "by hand");

        server_run(&s, loop);
}
