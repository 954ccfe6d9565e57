/* SPDX-License-Identifier: MIT
 *
 * Requests that wait for a descriptor. Each descriptor has two lists: who waits for a state (data,
 * room) is told again and again by a level-triggered set, who waits for changes (multishot poll)
 * once each by an edge-triggered one. What epoll has been told to watch is taken back only when it
 * reports something that nobody waits for, so that one receive after the other costs no epoll_ctl
 * but the one that finds out whether the number is still that of the same file. A file that was
 * closed behind our back but lives on in a duplicate cannot be taken out of a set any more: its
 * events are known by their generation, and the set is made anew.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io/request.h"

enum { EVENTS_MOST = 64, TABLE_LEAST = 64 };

/* What an event of the set is about, when it is not a descriptor's number. */
#define DATA_EDGES UINT64_MAX
#define DATA_OWN   (UINT64_MAX - 1) /* no descriptor has bit 31 */

#define ALWAYS ((uint32_t)(EPOLLERR | EPOLLHUP))

/* In `armed`, whatever is watched for; never told to epoll. */
#define IN_SET ((uint32_t)EPOLLONESHOT)

static uint64_t data_of(const struct descriptor *d, int fd, unsigned side)
{
        return (uint64_t)d->side[side].generation << 32 | (uint32_t)fd;
}

static int open_set(void)
{
        int fd = epoll_create1(EPOLL_CLOEXEC);

        return fd < 0 ? -errno : fd;
}

int descriptors_open(struct fallback *f)
{
        f->edges = -1;
        f->epoll = open_set();
        return f->epoll < 0 ? f->epoll : 0;
}

void descriptors_close(struct fallback *f)
{
        if (f->edges >= 0)
                close(f->edges);
        close(f->epoll);
        free(f->table);
}

static int control(int set, int operation, int fd, uint32_t events, uint64_t data)
{
        struct epoll_event event = {.events = events, .data.u64 = data};

        return epoll_ctl(set, operation, fd, &event) ? -errno : 0;
}

int descriptors_add_event(struct fallback *f, int fd)
{
        return control(f->epoll, EPOLL_CTL_ADD, fd, EPOLLIN, DATA_OWN);
}

static int set_of(struct fallback *f, unsigned side)
{
        int result;

        if (!side || f->edges >= 0)
                return side ? f->edges : f->epoll;
        f->edges = open_set();
        if (f->edges < 0)
                return f->edges;
        result = control(f->epoll, EPOLL_CTL_ADD, f->edges, EPOLLIN, DATA_EDGES);
        if (!result)
                return f->edges;
        close(f->edges);
        f->edges = -1;
        return result;
}

static int grow(struct fallback *f, unsigned fd)
{
        unsigned count = f->table_count ? f->table_count : TABLE_LEAST;
        struct descriptor *table;

        while (count <= fd)
                count *= 2;
        table = realloc(f->table, count * sizeof *table);
        if (!table)
                return -ENOMEM;
        memset(table + f->table_count, 0, (count - f->table_count) * sizeof *table);
        f->table = table;
        f->table_count = count;
        return 0;
}

static void append(struct fallback *f, struct request *r)
{
        struct descriptor *d = &f->table[r->sqe.fd];

        r->next = NULL;
        r->previous = d->side[r->edges].last;
        *(r->previous ? &r->previous->next : &d->side[r->edges].first) = r;
        d->side[r->edges].last = r;
        f->parked++;
}

void descriptor_unpark(struct fallback *f, struct request *r)
{
        struct descriptor *d = &f->table[r->sqe.fd];

        *(r->previous ? &r->previous->next : &d->side[r->edges].first) = r->next;
        *(r->next ? &r->next->previous : &d->side[r->edges].last) = r->previous;
        f->parked--;
}

static uint32_t wanted(const struct descriptor *d, unsigned side)
{
        uint32_t events = 0;

        for (const struct request *r = d->side[side].first; r; r = r->next)
                events |= r->events;
        return events;
}

static void cancel_side(struct fallback *f, int fd, unsigned side)
{
        struct request *r;

        while ((r = f->table[fd].side[side].first))
                request_withdraw(f, r);
}

/* Watched already, or so we think: a file that was closed behind our back is not, and whoever waits
 * for it will wait for ever, unless its number is used again: then they are cancelled, lest they
 * take what is the new file's. */
static int watch_more(struct fallback *f, struct request *r, uint32_t events)
{
        struct descriptor *d = &f->table[r->sqe.fd];
        uint32_t edge = r->edges ? (uint32_t)EPOLLET : 0;
        int set = set_of(f, r->edges), result;

        if (set < 0)
                return set;
        if (d->side[r->edges].armed) {
                events |= d->side[r->edges].armed & EPOLLIN;
                result = control(set, EPOLL_CTL_MOD, r->sqe.fd, events | edge,
                                 data_of(d, r->sqe.fd, r->edges));
                if (result != -ENOENT && result != -EPERM && result != -EBADF)
                        goto known;
                d->side[r->edges].armed = 0;
        }
        if (d->side[r->edges].first) {
                cancel_side(f, r->sqe.fd, r->edges);
                events = r->events;
        }
        d->side[r->edges].generation++;
        result = control(set, EPOLL_CTL_ADD, r->sqe.fd, events | edge,
                         data_of(d, r->sqe.fd, r->edges));
        if (result == -EEXIST)
                result = control(set, EPOLL_CTL_MOD, r->sqe.fd, events | edge,
                                 data_of(d, r->sqe.fd, r->edges));
known:
        if (!result)
                d->side[r->edges].armed = events | IN_SET;
        return result == -ENOSPC ? -ENOMEM : result;
}

int descriptor_park(struct fallback *f, struct request *r)
{
        unsigned fd = (unsigned)r->sqe.fd;
        int result;

        if (r->sqe.fd < 0)
                return -EBADF;
        result = fd < f->table_count ? 0 : grow(f, fd);
        if (!result)
                result = watch_more(f, r, r->events | wanted(&f->table[fd], r->edges));
        if (!result)
                append(f, r);
        return result;
}

unsigned descriptor_cancel(struct fallback *f, int fd, bool all)
{
        unsigned count = 0;

        if (fd < 0 || (unsigned)fd >= f->table_count)
                return 0;
        for (unsigned side = 0; side < 2; side++)
                while (f->table[fd].side[side].first && (all || !count)) {
                        request_withdraw(f, f->table[fd].side[side].first);
                        count++;
                }
        return count;
}

void descriptor_forget(struct fallback *f, int fd)
{
        if (fd < 0 || (unsigned)fd >= f->table_count)
                return;
        for (unsigned side = 0; side < 2; side++) {
                if (f->table[fd].side[side].armed)
                        control(set_of(f, side), EPOLL_CTL_DEL, fd, 0, 0);
                f->table[fd].side[side].armed = 0;
        }
}

/* Takes what is watched for at a descriptor into a new set, if it is still the file that the old
 * one has. -ENOMEM: perhaps another time. */
static int carry_over(struct fallback *f, unsigned side, int fd, int old, int set)
{
        struct descriptor *d = &f->table[fd];
        uint32_t events = (d->side[side].armed & ~IN_SET) | (side ? (uint32_t)EPOLLET : 0);
        uint64_t data = data_of(d, fd, side);
        int result = control(old, EPOLL_CTL_MOD, fd, events, data);

        if (!result)
                result = control(set, EPOLL_CTL_ADD, fd, events, data);
        if (result == -ENOMEM || result == -ENOSPC)
                return -ENOMEM;
        if (result) /* closed: who waits there does so until the number is used again */
                d->side[side].armed = 0;
        return 0;
}

/* A set like the old one, without what should not be in it any more. Short of descriptors or
 * memory, the old one stays: what it tells is looked at in vain. */
static void renew(struct fallback *f, unsigned side)
{
        int set = open_set(), old = side ? f->edges : f->epoll, result = 0;

        if (set < 0)
                return;
        for (unsigned fd = 0; fd < f->table_count && !result; fd++)
                if (f->table[fd].side[side].armed)
                        result = carry_over(f, side, (int)fd, old, set);
        if (!result && !side && f->event_added)
                result = control(set, EPOLL_CTL_ADD, f->offload.event, EPOLLIN, DATA_OWN);
        if (!result && !side && f->edges >= 0)
                result = control(set, EPOLL_CTL_ADD, f->edges, EPOLLIN, DATA_EDGES);
        if (!result && side)
                result = control(f->epoll, EPOLL_CTL_ADD, set, EPOLLIN, DATA_EDGES);
        if (!result)
                *(side ? &f->edges : &f->epoll) = set;
        close(result ? set : old);
}

/* Epoll tells of what nobody waits for. */
static void watch_less(struct fallback *f, int fd, unsigned side)
{
        struct descriptor *d = &f->table[fd];
        uint32_t events = wanted(d, side), edge = side ? (uint32_t)EPOLLET : 0;
        int result = -ENOENT;

        if (events)
                result = control(set_of(f, side), EPOLL_CTL_MOD, fd, events | edge,
                                 data_of(d, fd, side));
        if (!result) {
                d->side[side].armed = events | IN_SET;
                return;
        }
        d->side[side].armed = 0;
        if (control(set_of(f, side), EPOLL_CTL_DEL, fd, 0, 0))
                renew(f, side);
}

/* Another try for whoever waits for that: in order, and after one that still has to wait none for
 * the same. */
static void serve(struct fallback *f, uint64_t data, unsigned side, uint32_t events)
{
        struct request *r, *next;
        int fd = (int)(data & INT32_MAX);
        uint32_t waits = 0;
        bool tried = false;
        enum verdict verdict;

        if (data != data_of(&f->table[fd], fd, side)) {
                renew(f, side);
                return;
        }
        for (r = f->table[fd].side[side].first; r; r = next) {
                next = r->next;
                if (!(events & (r->events | ALWAYS)))
                        continue;
                tried = true;
                if (r->sqe.opcode != IORING_OP_POLL_ADD && waits & r->events)
                        continue;
                if (!side && !request_room(f))
                        return; /* it will be told again */
                verdict = attempt(f, r, events);
                if (verdict == REQUEST_WAIT) {
                        waits |= r->sqe.opcode != IORING_OP_POLL_ADD ? r->events : 0;
                        continue;
                }
                descriptor_unpark(f, r);
                request_put(f, r, verdict);
        }
        if (!tried && !side)
                watch_less(f, fd, side);
}

static void serve_edges(struct fallback *f)
{
        struct epoll_event events[EVENTS_MOST];
        int count = epoll_wait(f->edges, events, EVENTS_MOST, 0);

        for (int i = 0; i < count; i++)
                serve(f, events[i].data.u64, 1, events[i].events);
}

/* In nanoseconds where the system can, else rounded up. */
static int wait_for(int set, struct epoll_event *events, int64_t timeout_ns)
{
        int64_t ms = timeout_ns < 0 ? -1 : (timeout_ns + 999999) / 1000000;
#ifdef SYS_epoll_pwait2
        static struct word32 missing;

        /* relaxed, both: all find the same out. */
        if (timeout_ns > 0 && !load_relaxed_u32(&missing)) {
                struct timespec timeout = {timeout_ns / 1000000000, timeout_ns % 1000000000};
                int count = (int)syscall(SYS_epoll_pwait2, set, events, EVENTS_MOST, &timeout, NULL,
                                         (size_t)0);

                if (count >= 0 || (errno != ENOSYS && errno != EPERM))
                        return count;
                store_relaxed_u32(&missing, 1); /* relaxed: see above */
        }
#endif
        return epoll_wait(set, events, EVENTS_MOST, (int)(ms > INT32_MAX ? INT32_MAX : ms));
}

int descriptors_look(struct fallback *f, int64_t timeout_ns)
{
        struct epoll_event events[EVENTS_MOST];
        int count = wait_for(f->epoll, events, timeout_ns);

        if (count < 0)
                return -errno;
        for (int i = 0; i < count; i++) {
                if (events[i].data.u64 == DATA_EDGES)
                        serve_edges(f);
                else if (events[i].data.u64 != DATA_OWN)
                        serve(f, events[i].data.u64, 0, events[i].events);
        }
        return 0;
}
