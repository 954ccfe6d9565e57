/* SPDX-License-Identifier: MIT
 *
 * Cancelling in the ring without io_uring, with io_uring's answers.
 */
#include <errno.h>
#include <fcntl.h>

#include "io/request.h"

int request_withdraw(struct fallback *f, struct request *r)
{
        switch (r->place) {
        case PLACE_DESCRIPTOR:
                descriptor_unpark(f, r);
                break;
        case PLACE_ALARM:
                alarm_disarm(f, r);
                break;
        default:
                if (!offload_withdraw(&f->offload, &r->call))
                        return -EALREADY;
                request_threaded_remove(f, r);
        }
        r->res = r->done ? (int32_t)r->done : -ECANCELED;
        r->failed = true;
        request_end(f, r);
        return 0;
}

struct tally {
        bool all;
        int first;      /* the answer of the first match */
        unsigned count; /* of matches */
};

/* False: that was enough. */
static bool count_in(struct tally *t, int result)
{
        if (!t->count++)
                t->first = result;
        return t->all;
}

static int answer(const struct tally *t)
{
        if (t->all)
                return (int)t->count;
        return t->count ? t->first : -ENOENT;
}

/* In one bucket: those with this user_data, or all. */
static bool cancel_bucket(struct fallback *f, struct request *r, const uint64_t *user_data,
                          struct tally *t)
{
        struct request *next;

        for (; r; r = next) {
                next = r->same; /* an end starts nothing that is in a bucket */
                if (!user_data || r->sqe.user_data == *user_data)
                        if (!count_in(t, request_withdraw(f, r)))
                                return false;
        }
        return true;
}

static void cancel_descriptor(struct fallback *f, int fd, struct tally *t)
{
        struct request *r, *next;
        unsigned parked = descriptor_cancel(f, fd, t->all);

        while (parked--)
                if (!count_in(t, 0))
                        return;
        for (r = f->threaded; r; r = next) {
                next = r->next;
                if (r->sqe.fd == fd && !count_in(t, request_withdraw(f, r)))
                        return;
        }
}

void cancel_on(struct fallback *f, int fd)
{
        struct tally t = {.all = true};

        if (fd >= 0) /* AT_FDCWD is not closed either */
                cancel_descriptor(f, fd, &t);
}

int cancel_matching(struct fallback *f, const struct io_uring_sqe *sqe)
{
        struct tally t = {.all = sqe->cancel_flags &
                                 (IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_ANY)};

        if (sqe->cancel_flags & IORING_ASYNC_CANCEL_ANY) {
                for (unsigned i = 0; i < REQUEST_BUCKETS; i++)
                        cancel_bucket(f, f->buckets[i], NULL, &t);
        } else if (sqe->cancel_flags & IORING_ASYNC_CANCEL_FD) {
                if (fcntl(sqe->fd, F_GETFD) < 0)
                        return -EBADF;
                cancel_descriptor(f, sqe->fd, &t);
        } else {
                uint64_t user_data = sqe->addr;

                cancel_bucket(f, *request_bucket(f, user_data), &user_data, &t);
        }
        return answer(&t);
}

int cancel_named(struct fallback *f, uint64_t user_data, unsigned opcode)
{
        for (struct request *r = *request_bucket(f, user_data); r; r = r->same)
                if (r->sqe.user_data == user_data && r->sqe.opcode == opcode)
                        return request_withdraw(f, r);
        return -ENOENT;
}
