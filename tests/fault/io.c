/* SPDX-License-Identifier: MIT
 *
 * I/O without io_uring, and without something else: the n-th allocation, mapping, thread, epoll
 * set, epoll_ctl or eventfd of a run fails, for every n. Each operation completes all the same,
 * with what it should or with the error, and nothing leaks.
 */
/* link: -Wl,--wrap=mmap,--wrap=munmap,--wrap=mprotect,--wrap=pthread_create */
/* link: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free */
/* link: -Wl,--wrap=pthread_attr_init,--wrap=openat,--wrap=clock_gettime,--wrap=sched_getcpu */
/* link: -Wl,--wrap=sched_setaffinity,--wrap=sched_getaffinity */
/* link: -Wl,--wrap=kernel_guard_stack */
/* link: -Wl,--wrap=syscall,--wrap=kernel_futex_wait,--wrap=kernel_futex_wake */
/* link: -Wl,--wrap=epoll_create1,--wrap=epoll_ctl,--wrap=eventfd */
/* link: -luring */
#include "fault/calls.h"

#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

/* ------------------------------------------------------------------ calls of their own */

enum own { OWN_SET, OWN_CONTROL, OWN_EVENT, OWN_CALLS };

static atomic_int own_at[OWN_CALLS];
static atomic_uint own_failed;

/* Every one, in place of the n-th. */
enum { ALL = -1 };

static bool own_fails(enum own call)
{
        int at = atomic_load(&own_at[call]);
        bool due = at == ALL || (at > 0 && atomic_fetch_sub(&own_at[call], 1) == 1);

        atomic_fetch_add(&own_failed, due);
        return due;
}

int __real_epoll_create1(int flags);
int __wrap_epoll_create1(int flags);
int __wrap_epoll_create1(int flags)
{
        return own_fails(OWN_SET) ? fail_with(EMFILE) : __real_epoll_create1(flags);
}

int __real_epoll_ctl(int set, int operation, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int set, int operation, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int set, int operation, int fd, struct epoll_event *event)
{
        return operation == EPOLL_CTL_ADD && own_fails(OWN_CONTROL)
                       ? fail_with(ENOMEM)
                       : __real_epoll_ctl(set, operation, fd, event);
}

int __real_eventfd(unsigned value, int flags);
int __wrap_eventfd(unsigned value, int flags);
int __wrap_eventfd(unsigned value, int flags)
{
        return own_fails(OWN_EVENT) ? fail_with(EMFILE) : __real_eventfd(value, flags);
}

/* ------------------------------------------------------------------ a little of everything */

struct deed {
        struct skua_io io;
        struct skua_group group;
        int32_t res;
};

static struct skua_buffers buffers;
static atomic_uint wrong;

static void done(struct skua_worker *self, struct skua_job *job)
{
        struct deed *c = skua_container(job, struct deed, io.job);
        uint32_t number;

        c->res = c->io.res;
        if (c->io.flags & IORING_CQE_F_BUFFER && skua_buffers_data(&buffers, &c->io, &number))
                skua_buffers_return(self, &buffers, number);
}

static struct io_uring_sqe *begin(struct skua_worker *self, struct deed *c)
{
        struct skua_target where = SKUA_TARGET_INIT;

        skua_group_init(&c->group);
        where.group = &c->group;
        return skua_io_prepare_to(self, &c->io, done, &where);
}

/* What it should be, or an error that says what was missing. */
static int32_t end(struct skua_worker *self, struct deed *c, int32_t expected)
{
        skua_await_group(self, &c->group);
        if (c->res != expected && c->res != -ENOMEM && c->res != -EAGAIN && c->res != -EMFILE) {
                printf("# %d instead of %d\n", c->res, expected);
                atomic_fetch_add(&wrong, 1);
        }
        return c->res;
}

static void blocking(struct skua_worker *self)
{
        struct iovec vector = {(void *)(uintptr_t) "text", 4};
        struct deed c[4];
        char text[4];
        int fd = open("/tmp", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);

        if (fd < 0)
                return;
        io_uring_prep_openat(begin(self, &c[0]), AT_FDCWD, "/none/such", O_RDONLY, 0);
        io_uring_prep_writev(begin(self, &c[1]), fd, &vector, 1, 0);
        io_uring_prep_fsync(begin(self, &c[2]), fd, 0);
        end(self, &c[0], -ENOENT);
        end(self, &c[2], 0);
        if (end(self, &c[1], 4) == 4) {
                io_uring_prep_read(begin(self, &c[3]), fd, text, 4, 0);
                end(self, &c[3], 4);
        }
        close(fd);
}

static void waiting(struct skua_worker *self)
{
        struct __kernel_timespec time = {.tv_nsec = 100000};
        struct deed receive, poll, many, send, timeout;
        struct io_uring_sqe *sqe;
        char text[8];
        int fd[2], other[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) ||
            socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, other))
                return;
        io_uring_prep_recv(begin(self, &receive), fd[0], text, 8, 0);
        io_uring_prep_poll_multishot(begin(self, &poll), fd[0], POLLIN);
        sqe = begin(self, &many);
        io_uring_prep_recv_multishot(sqe, other[0], NULL, 0, 0);
        skua_buffers_use(self, &buffers, &many.io, sqe);
        io_uring_prep_timeout(begin(self, &timeout), &time, 0, 0);
        end(self, &timeout, -ETIME);
        io_uring_prep_send(begin(self, &send), fd[1], "abc", 3, 0);
        end(self, &send, 3);
        io_uring_prep_send(begin(self, &send), other[1], "abc", 3, 0);
        end(self, &send, 3);
        end(self, &receive, 3);
        skua_io_cancel(self, &poll.io);
        end(self, &poll, -ECANCELED);
        close(other[1]);
        end(self, &many, 0);
        close(other[0]);
        close(fd[0]);
        close(fd[1]);
}

static void everything(struct skua_worker *self, void *arg)
{
        (void)arg;
        if (skua_io_reserve(self, 1)) /* there is no ring */
                return;
        blocking(self);
        waiting(self);
}

/* ------------------------------------------------------------------ each of it fails */

static void run_once(enum call call, int own, unsigned n)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct skua *rt;

        options.flags = SKUA_NO_RING;
        rt = rig_start(1, &options);
        if (skua_buffers_init(rt, &buffers, 4, 64))
                exit(3);
        atomic_store(&own_failed, 0);
        if (own >= 0)
                atomic_store(&own_at[own], (int)n);
        else
                fail_at(call, n);
        skua_run(rt, everything, NULL);
        if (own >= 0)
                atomic_store(&own_at[own], 0);
        else
                atomic_fetch_add(&own_failed, fail_no_more(call));
        rig_stop(rt);
        skua_buffers_fini(&buffers);
}

static void fail_each(const char *name, enum call call, int own)
{
        struct holdings before = holdings();
        unsigned n = 0, leaked;

        atomic_store(&wrong, 0);
        do
                run_once(call, own, ++n);
        while (atomic_load(&own_failed) && n < 1000);
        leaked = leaks(&before);
        if (!tap_ok(n > 1 && n < 1000 && !atomic_load(&wrong) && !leaked, "the n-th %s fails",
                    name))
                printf("# %u runs, %u wrong, %u leaks\n", n, atomic_load(&wrong), leaked);
}

static void reserve(struct skua_worker *self, void *arg)
{
        *(int *)arg = skua_io_reserve(self, 1);
}

/* In a ring whose worker nobody could wake, it could not sleep either. */
static void test_no_event(void)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        int without = 0, with = 1;
        struct skua *rt;

        options.flags = SKUA_NO_RING;
        rt = rig_start(2, &options);
        atomic_store(&own_at[OWN_EVENT], ALL);
        skua_run(rt, reserve, &without);
        rig_until_idle(rt, 2);
        atomic_store(&own_at[OWN_EVENT], 0);
        skua_run(rt, reserve, &with);
        rig_stop(rt);
        tap_ok(without == -ENOMEM && !with,
               "without an eventfd there is no ring (%d), with one there is (%d)", without, with);
}

int main(void)
{
        tap_plan(7, 120);
        test_no_event();                   /* first, as events stay */
        run_once(CALLS, OWN_SET, 1000000); /* what the C library allocates once */
        fail_each("malloc", CALL_MALLOC, -1);
        fail_each("mmap", CALL_MMAP, -1);
        fail_each("pthread_create", CALL_THREAD, -1);
        fail_each("epoll_create1", CALLS, OWN_SET);
        fail_each("epoll_ctl", CALLS, OWN_CONTROL);
        fail_each("eventfd", CALLS, OWN_EVENT);
        return tap_done();
}
