/* SPDX-License-Identifier: MIT
 *
 * The access log, in the common format, and the time as text. Each worker has its own of both: a
 * job stays on its worker and gives way only where it waits, so nothing here needs a lock. Lines
 * are gathered, and a job per worker writes them away from the requests; if the disk cannot follow,
 * lines are left out rather than requests held up.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "http.h"

enum { LINES_BYTES = 4 << 20, LINE_MOST = TARGET_MOST + 200 };
#define GATHER_NS 20000000

struct local {
        _Alignas(128) struct moment now;
        struct skua_job writer;
        bool writing; /* it is there */
        int filling;  /* which lines; the others are being written */
        size_t used;
        char lines[2][LINES_BYTES]; /* no memory before they are used */
};

static struct local *locals;
static int log_fd = -1;

const struct moment *now(struct skua_worker *self)
{
        struct moment *m = &locals[skua_worker_index(self)].now;
        struct timespec time;
        struct tm t;

        clock_gettime(CLOCK_REALTIME_COARSE, &time);
        if (time.tv_sec != m->second) {
                m->second = time.tv_sec;
                strftime(m->date, sizeof m->date, "Date: %a, %d %b %Y %T GMT\r\n",
                         gmtime_r(&m->second, &t));
                strftime(m->stamp, sizeof m->stamp, "%d/%b/%Y:%T %z", localtime_r(&m->second, &t));
        }
        return m;
}

/* By write(2) when awaiting is over, as the runtime stops. */
static void write_lines(struct skua_worker *self, struct local *l)
{
        const char *from = l->lines[l->filling], *end = from + l->used;
        ssize_t n = -ECANCELED;

        l->filling = !l->filling;
        l->used = 0;
        for (; from < end; from += n) {
                if (self)
                        n = skua_await_write(self, log_fd, from, (size_t)(end - from),
                                             (uint64_t)-1);
                if (n == -ECANCELED)
                        n = write(log_fd, from, (size_t)(end - from));
                if (n <= 0)
                        return; /* as with any log on a full disk */
        }
}

static void run_writer(struct skua_worker *self, struct skua_job *job)
{
        struct local *l = skua_container(job, struct local, writer);

        while (l->used) {
                skua_await_sleep(self, GATHER_NS);
                write_lines(self, l);
        }
        l->writing = false;
}

/* peer - - [time] "GET /target HTTP/1.1" status bytes */
void log_request(struct connection *c)
{
        struct local *l = &locals[skua_worker_index(c->self)];
        struct skua_target where = SKUA_TARGET_INIT;
        const struct request *r = &c->request;
        char *to = l->lines[l->filling] + l->used;

        if (log_fd < 0 || LINES_BYTES - l->used < LINE_MOST)
                return;
        to += sprintf(to, "%s - - [%s] \"%s ", c->peer, now(c->self)->stamp,
                      r->target.at ? http_method_str(r->parser.method) : "-");
        for (size_t i = 0; i < r->target.length; i++) /* no other line, no end of the quotation */
                *to++ = isgraph((unsigned char)r->target.at[i]) && r->target.at[i] != '"'
                                ? r->target.at[i]
                                : '?';
        to += sprintf(to, " HTTP/%u.%u\" %d %llu\n", r->parser.http_major, r->parser.http_minor,
                      r->status, (unsigned long long)r->length);
        l->used = (size_t)(to - l->lines[l->filling]);
        if (l->writing)
                return;
        l->writing = true;
        where.worker = SKUA_WORKER(skua_worker_index(c->self));
        skua_job_init(&l->writer, run_writer);
        skua_submit_to(skua_runtime(c->self), &l->writer, &where);
}

int log_begin(unsigned workers, const char *path)
{
        locals = aligned_alloc(_Alignof(struct local), workers * sizeof *locals);
        if (!locals)
                return -ENOMEM;
        for (unsigned i = 0; i < workers; i++)
                memset(&locals[i], 0, offsetof(struct local, lines));
        if (path)
                log_fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
        return path && log_fd < 0 ? -errno : 0;
}

/* When nothing runs any more. */
void log_end(unsigned workers)
{
        for (unsigned i = 0; i < workers; i++)
                write_lines(NULL, &locals[i]);
        free(locals);
}
