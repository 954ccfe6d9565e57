/* SPDX-License-Identifier: MIT
 *
 * The inside of the ring without io_uring. A request is a submitted entry under way. It is tried
 * at once (attempt.c); what would wait is parked at its descriptor until epoll says that it is
 * worth another try (descriptor.c), given to a thread that may block (offload.c), or armed in a
 * heap of times (alarm.c). Its end appends a completion (fallback.c). All of it is the owner's but
 * the calls that the threads run.
 */
#ifndef IO_REQUEST_H
#define IO_REQUEST_H

#include "io/offload.h"
#include "io/ring.h"

enum { REQUEST_BUCKETS = 1024, REQUEST_TURN = 16 };

/* What an attempt has come to. */
enum verdict {
        REQUEST_DONE,  /* res and flags say how */
        REQUEST_WAIT,  /* for `events` of its descriptor */
        REQUEST_BLOCK, /* only a thread can do it */
        REQUEST_TIMED  /* until due_ns */
};

enum request_place { PLACE_NONE, PLACE_DESCRIPTOR, PLACE_THREAD, PLACE_ALARM };

struct request {
        struct io_uring_sqe sqe;
        struct request *next, *previous;   /* at its descriptor or among those with a thread;
                                              next: of those that are to start, or spare */
        struct request *same, **same_link; /* in its bucket, while it can be cancelled */
        struct request *chained;           /* starts when this one has ended well */
        struct request *later;             /* completions held back: the next one */
        struct offload_call call;
        void *copy;       /* of what its pointers showed; NULL: they still do */
        size_t done;      /* bytes moved by earlier attempts */
        int64_t due_ns;   /* of a timeout */
        int64_t every_ns; /* of one that comes again */
        unsigned heap_index;
        uint32_t events; /* of epoll: what it waits for */
        int32_t res;
        uint32_t flags; /* of the completion */
        enum request_place place;
        bool edges;   /* waits for changes, not for a state */
        bool failed;  /* what is chained to it must not start */
        bool held;    /* its completion is held back */
        bool endures; /* that is not its last one */
};

struct request_chunk;

/* Who waits at a descriptor for a state, and who for changes; what epoll has been told. */
struct descriptor {
        struct {
                struct request *first, *last;
                uint32_t armed;      /* 0: not in the epoll set */
                uint32_t generation; /* counts its entries into the set */
        } side[2];
};

struct fallback {
        struct io_ring *ring;
        uint32_t cq_tail;         /* our copy */
        unsigned looks_missed;    /* enters since the last look at the descriptors */
        unsigned look_gap;        /* turns between looks that bring nothing */
        int epoll, edges;         /* sets of descriptors; the second is in the first; or -1 */
        struct descriptor *table; /* by number */
        unsigned table_count;
        unsigned parked; /* requests at descriptors */
        unsigned in_threads;
        struct request *threaded; /* they */
        struct request *spare;
        unsigned spare_count;
        struct request_chunk *chunks;
        struct request *starting, **starting_end; /* next of a chain, oldest first */
        struct request *held, **held_end;         /* completions that found no room */
        struct request **heap;                    /* by due_ns */
        unsigned heap_count, heap_room;
        bool event_added; /* of the threads, to the set */
        struct offload offload;
        struct request *buckets[REQUEST_BUCKETS]; /* by user_data */
        struct word32 sq_head, sq_tail, sq_flags;
        _Alignas(ARCH_APART) struct word32 cq_tail_word;
        _Alignas(ARCH_APART) struct word32 cq_head;
};

/* ---- fallback.c */

/* May a request append another completion? */
bool request_room(struct fallback *f);

/* Appends a completion that is not the last one; there is room. */
void request_more(struct fallback *f, struct request *r, int32_t res, uint32_t flags);

/* The same for one that waits for changes, which are put together while there is no room. */
void request_event(struct fallback *f, struct request *r, uint32_t events);

/* Ends a request with res and flags; it is in no list. Room is not needed. */
void request_end(struct fallback *f, struct request *r);

/* Off the list of those that a thread has. */
void request_threaded_remove(struct fallback *f, struct request *r);

/* What an attempt at a request that is in no list has come to. */
void request_put(struct fallback *f, struct request *r, enum verdict verdict);

static inline struct request **request_bucket(struct fallback *f, uint64_t user_data)
{
        return &f->buckets[(user_data * 0x9e3779b97f4a7c15u) >> 54];
}

/* ---- attempt.c */

/* 0, or why the entry cannot be done here at all. */
int attempt_admit(const struct io_uring_sqe *sqe);

/* `ready`: what epoll has said; 0: nothing yet. */
enum verdict attempt(struct fallback *f, struct request *r, uint32_t ready);

/* On a thread that may block: leaves the result in res. */
void attempt_block(struct offload_call *call);

/* Copies what the entry's pointers show, which may go after the submission. 0 or -ENOMEM. */
int attempt_keep(struct request *r);

/* A buffer for one that goes to a thread after all. False: there is none. */
bool attempt_pick(struct fallback *f, struct request *r);

/* ---- withdraw.c */

/* 0; -EALREADY: a thread has begun with it. */
int request_withdraw(struct fallback *f, struct request *r);

/* Cancels who waits at a descriptor, and calls on it for which no thread has come. */
void cancel_on(struct fallback *f, int fd);

/* What ASYNC_CANCEL, POLL_REMOVE and TIMEOUT_REMOVE answer. */
int cancel_matching(struct fallback *f, const struct io_uring_sqe *sqe);
int cancel_named(struct fallback *f, uint64_t user_data, unsigned opcode);

/* ---- descriptor.c */

int descriptors_open(struct fallback *f);
void descriptors_close(struct fallback *f);

/* 0 or a negative errno; -EPERM: it cannot be waited for. */
int descriptor_park(struct fallback *f, struct request *r);
void descriptor_unpark(struct fallback *f, struct request *r);

/* It is about to be closed, and nobody waits there any more. */
void descriptor_forget(struct fallback *f, int fd);

/* Cancels who waits there: how many; at most one if not `all`. */
unsigned descriptor_cancel(struct fallback *f, int fd, bool all);

/* Waits up to timeout_ns (negative: for ever) and serves what is ready. 0 or a negative errno. */
int descriptors_look(struct fallback *f, int64_t timeout_ns);

/* Adds a descriptor of our own, which wakes a sleeper and is served by others. */
int descriptors_add_event(struct fallback *f, int fd);

/* ---- alarm.c */

int alarm_arm(struct fallback *f, struct request *r);
void alarm_disarm(struct fallback *f, struct request *r);
void alarms_expire(struct fallback *f);

/* The earliest, or 0. */
static inline int64_t alarms_next_ns(const struct fallback *f)
{
        return f->heap_count ? f->heap[0]->due_ns : 0;
}

#endif
