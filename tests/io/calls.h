/* SPDX-License-Identifier: MIT
 *
 * For tests of I/O: operations that a job makes one after the other, and notes of what they have
 * come to.
 */
#ifndef TESTS_IO_CALLS_H
#define TESTS_IO_CALLS_H

#include <arpa/inet.h>
#include <liburing.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "rig.h"

enum { NOTES = 400, MANY = 64 };

/* What an operation has come to. */
struct note {
        const char *name;
        long long res;
        uint32_t flags;
};

struct notes {
        struct note list[NOTES];
        unsigned count;
        char folder[64];
};

struct call {
        struct skua_io io;
        struct skua_group group;
        int32_t results[MANY]; /* of one with several completions */
        uint32_t flags[MANY];
        unsigned numbers[MANY];
        atomic_uint count;
};

static struct notes *notes;
static struct skua_buffers buffers;

static inline void note(const char *name, long long res, uint32_t flags)
{
        notes->list[notes->count++ % NOTES] = (struct note){name, res, flags};
}

static inline void done(struct skua_worker *self, struct skua_job *job)
{
        struct call *c = skua_container(job, struct call, io.job);
        unsigned at = atomic_load(&c->count) % MANY;

        (void)self;
        c->results[at] = c->io.res;
        c->flags[at] = c->io.flags & (IORING_CQE_F_MORE | IORING_CQE_F_BUFFER);
        if (c->io.flags & IORING_CQE_F_BUFFER)
                skua_buffers_data(&buffers, &c->io, &c->numbers[at]);
        atomic_fetch_add(&c->count, 1);
}

static inline struct io_uring_sqe *begin(struct skua_worker *self, struct call *c)
{
        struct skua_target where = SKUA_TARGET_INIT;

        skua_group_init(&c->group);
        atomic_store(&c->count, 0);
        where.group = &c->group;
        return skua_io_prepare_to(self, &c->io, done, &where);
}

static inline int32_t end(struct skua_worker *self, struct call *c, const char *name)
{
        unsigned last;

        skua_await_group(self, &c->group);
        last = atomic_load(&c->count) - 1;
        note(name, c->results[last % MANY], c->flags[last % MANY]);
        return c->results[last % MANY];
}

/* Lets what has been prepared begin, and all that is ready be handled. */
static inline void settle(struct skua_worker *self)
{
        struct call c;

        for (unsigned i = 0; i < 3; i++) {
                io_uring_prep_nop(begin(self, &c));
                skua_await_group(self, &c.group);
        }
}

/* Until so many completions have come, or the last one. */
static inline void until(struct skua_worker *self, struct call *c, unsigned count)
{
        unsigned now;

        while ((now = atomic_load(&c->count)) < count &&
               !(now && !(c->flags[(now - 1) % MANY] & IORING_CQE_F_MORE)))
                settle(self);
}

#define DO(name, prep, ...) (prep(begin(self, &one), __VA_ARGS__), end(self, &one, name))

static inline int listener(struct sockaddr_in *address)
{
        socklen_t size = sizeof *address;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        *address = (struct sockaddr_in){.sin_family = AF_INET};
        address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (bind(fd, (struct sockaddr *)address, size) || listen(fd, 64) ||
            getsockname(fd, (struct sockaddr *)address, &size))
                exit(3);
        return fd;
}

static inline int connected_to(const struct sockaddr_in *address)
{
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        return connect(fd, (const struct sockaddr *)address, sizeof *address) ? -1 : fd;
}

static inline int positive(int32_t *res)
{
        int fd = *res;

        notes->list[notes->count - 1].res = fd >= 0;
        return fd;
}

#endif
