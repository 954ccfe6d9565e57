/* SPDX-License-Identifier: MIT
 *
 * Inboxes: answers for a thread with an event loop of its own. What has been posted is a stack
 * through the jobs; who runs it takes it as a whole and turns it round. ready_, oldest first,
 * belongs to who runs.
 *
 * The file descriptor is written by who posts to an empty stack, after the push, and its count is
 * read by who runs before it takes. So no wake-up is lost: a job pushed before the take is taken;
 * the first one pushed after it finds the stack empty and writes, and that is after the read.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/job.h"

static_assert(sizeof(struct skua_inbox) == 40, "part of the binary interface");

static struct wordptr *inbox_head(struct skua_inbox *in)
{
        return (struct wordptr *)(void *)&in->head_;
}

/* How many who found it empty may still be on their way to the file descriptor. */
static struct word32 *inbox_writers(struct skua_inbox *in)
{
        return (struct word32 *)(void *)&in->writers_;
}

/* A debug build catches a job that is queued already. */
static void mark(struct skua_job *job, bool queued)
{
#ifdef SKUA_DEBUG
        if (job->flags_ & JOB_QUEUED && queued) {
                fputs("skua: skua_inbox_post: the job is queued already\n", stderr);
                abort();
        }
        job->flags_ = queued ? JOB_QUEUED : 0;
#endif
        (void)job, (void)queued;
}

/* Makes it readable. It cannot fail but when it is readable already. */
static void signal_fd(int fd)
{
        uint64_t one = 1;

        if (write(fd, &one, sizeof one) < 0)
                return;
}

/* Makes it unreadable, if it is readable. */
static void clear_fd(int fd)
{
        uint64_t count;

        if (read(fd, &count, sizeof count) < 0)
                return;
}

SKUA_API int skua_inbox_init(struct skua_inbox *in)
{
        memset(in, 0, sizeof *in);
        in->fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        return in->fd_ < 0 ? -errno : 0;
}

SKUA_API int skua_inbox_fd(const struct skua_inbox *in)
{
        return in->fd_;
}

SKUA_API void skua_inbox_post(struct skua_inbox *in, struct skua_job *job)
{
        struct wordptr *head = inbox_head(in);
        /* relaxed: the CAS checks it. */
        void *old = load_relaxed_ptr(head);
        bool counted = false;

        mark(job, true);
        do {
                if (!old && !counted) {
                        /* [IN3] relaxed: the CAS below orders it, so who finds the job finds us
                         * counted. */
                        fetch_add_relaxed_u32(inbox_writers(in), 1);
                        counted = true;
                }
                job->next_ = old;
                shared_write(&job->next_, sizeof job->next_);
                /* [IN1] release pairs with the exchange in take(): the job before its pointer.
                 * [IN2] acquire pairs with the same: who finds it empty writes after the read
                 * there. A failure means that another call went ahead: lock-free. */
        } while (!cas_acq_rel_ptr(head, &old, job));
        /* From here on the job may have been run; unless we are counted, `in` may have gone. */
        if (!old)
                signal_fd(in->fd_);
        if (counted)
                /* [IN3] release pairs with the load in skua_inbox_fini(). Our last touch. */
                fetch_add_acq_rel_u32(inbox_writers(in), -1u);
}

/* All that has been posted, oldest first. */
static struct skua_job *take(struct skua_inbox *in)
{
        struct skua_job *job, *first = NULL, *older;

        clear_fd(in->fd_);
        /* [IN1] acquire and [IN2] release pair with the CAS in skua_inbox_post(): the jobs before
         * their pointers; and the read before the next write. */
        job = exchange_acq_rel_ptr(inbox_head(in), NULL);
        for (; job; job = older) {
                shared_read(&job->next_, sizeof job->next_);
                older = job->next_;
                job->next_ = first;
                first = job;
        }
        return first;
}

static size_t call(struct skua_inbox *in, size_t max)
{
        struct skua_job *job;
        size_t count = 0;

        while (count < max && (job = in->ready_)) {
                in->ready_ = job->next_;
                mark(job, false);
                job->run_(NULL, job);
                count++;
        }
        return count;
}

SKUA_API size_t skua_inbox_run(struct skua_inbox *in, size_t max)
{
        size_t count = call(in, max);

        /* While ready_ has jobs the file descriptor is readable, and stays so. */
        if (count == max)
                return count;
        in->ready_ = take(in);
        count += call(in, max - count);
        if (in->ready_)
                signal_fd(in->fd_);
        return count;
}

SKUA_API int skua_inbox_fini(struct skua_inbox *in)
{
        /* relaxed: what has been posted by calls that have ended is seen anyway. */
        if (in->ready_ || load_relaxed_ptr(inbox_head(in)))
                return -EBUSY;
        /* [IN3] acquire pairs with the end of skua_inbox_post(). Bound: one system call of each who
         * has posted what has been run. */
        while (load_acquire_u32(inbox_writers(in)))
                kernel_yield();
        close(in->fd_);
        in->fd_ = -1;
        return 0;
}
