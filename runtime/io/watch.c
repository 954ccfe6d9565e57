/* SPDX-License-Identifier: MIT
 *
 * The sentinel; see watch.h.
 */
#include "io/watch.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <syslog.h>
#include <unistd.h>

#include "core/runtime.h"
#include "io/io.h"

/* How long a worker may be in a job while something waits; how long the sentinel rests after it has
 * found all well, doubling; how long a kick may take. */
#define STUCK_NS     100000
#define REST_NS_MOST 1600000
#define VAIN_MOST    4 /* doublings of STUCK_NS */
#define KICK_NS      100000

/* What the sentinel has seen of another worker. */
struct watched {
        struct word32 polled; /* a poll of its ring is in flight in ours */
        uint64_t seen_turns;
        int64_t seen_ns; /* when something waited there first, 0: nothing did */
        unsigned vain;   /* kicks since then that have brought nothing */
};

struct watch {
        int64_t rest_ns, rest_until_ns, deadline_ns;
        uint32_t rings; /* that there were at the last look */
        struct watched others[];
};

/* ------------------------------------------------------------------ the signal */

/* Makes what waits in the kernel visible to others, and sends what the worker has prepared. */
static void on_kick(int number)
{
        struct worker *w = self_get();
        int saved = errno;

        (void)number;
        if (w && w->io) {
                ring_enter_signal(&w->io->ring);
                watch_left(w);
        }
        errno = saved;
}

static bool install(int number)
{
        struct sigaction action = {.sa_handler = on_kick, .sa_flags = SA_RESTART}, before;

        sigemptyset(&action.sa_mask);
        if (sigaction(number, NULL, &before))
                return false;
        if (!(before.sa_flags & SA_SIGINFO) && before.sa_handler == on_kick)
                return true;
        return !(before.sa_flags & SA_SIGINFO) && before.sa_handler == SIG_DFL &&
               !sigaction(number, &action, NULL);
}

bool watch_can_kick(struct runtime *rt)
{
        bool can;

        if (!rt->kick_signal)
                return false;
        process_lock();
        can = install(rt->kick_signal);
        process_unlock();
        if (!can)
                runtime_log(rt, LOG_WARNING,
                            "signal %d is in use: busy workers are not interrupted for I/O",
                            rt->kick_signal);
        return can;
}

bool watch_begin(struct worker *w, struct io *io)
{
        unsigned count = w->runtime->worker_count;
        sigset_t set;

        if (w->alone)
                return true;
        if (ring_open_event(&io->ring))
                return false;
        io->watch = calloc(1, sizeof *io->watch + count * sizeof *io->watch->others);
        if (!io->watch)
                return false;
        io->watch->rest_ns = STUCK_NS;
        if (io->ring.deferred) {
                sigemptyset(&set);
                sigaddset(&set, w->runtime->kick_signal);
                pthread_sigmask(SIG_UNBLOCK, &set, NULL);
        }
        return true;
}

void watch_end(struct io *io)
{
        free(io->watch);
}

/* ------------------------------------------------------------------ looking */

static void look_again(struct watch *watch, int64_t ns)
{
        watch->deadline_ns = earlier_ns(watch->deadline_ns, ns);
}

/* Jobs that the worker has begun. */
static uint64_t turns_of(const struct worker *w)
{
        /* relaxed, both: only whether it moves. */
        return load_relaxed_u64(&w->count.run) + load_relaxed_u64(&w->count.cancelled);
}

static bool ring_waits(const struct io *io)
{
        const struct io_ring *ring = &io->ring;
        /* relaxed: a hint. */
        bool unsent = load_relaxed_u32(ring->sq_tail) != load_relaxed_u32(ring->sq_head);

        return ring_ready(ring) || ring_hides(ring) || unsent;
}

/* Who sleeps in its ring looks at it by itself. relaxed: a hint. */
static bool keeps_back(const struct io *io)
{
        return !load_relaxed_u32(&io->asleep) && ring_waits(io);
}

/* Has a timer of the worker expired? Else, if it is awake, when it will. */
static bool timer_waits(struct worker *w, const struct worker *other, int64_t now)
{
        int64_t next = timers_next_ns(other);

        if (!next || now >= next)
                return next;
        if (next < INT64_MAX - STUCK_NS && !park_is_idle(w->runtime, other->index))
                look_again(w->io->watch, next + STUCK_NS);
        return false;
}

/* Takes what a stuck worker keeps back. True: there are jobs. */
static bool rescue(struct worker *w, struct worker *other, struct io *io)
{
        int64_t now = kernel_now_ns(), deadline = now + KICK_NS;
        uint64_t before = queue_count(&w->batch);
        bool asked = false;

        /* relaxed: a hint. It is not in a job, and about to look itself. */
        if (io && load_relaxed_u32(&io->asleep))
                return false;
        count_add(&w->count.kicks, 1);
        if (io && io->ring.deferred)
                pthread_kill(other->thread.id, w->runtime->kick_signal);
        for (; io && !io->ring.fallback && !ring_ready(&io->ring) && now < deadline;
             now = kernel_now_ns())
                spin_hint();
        if (io) {
                io_lock(io);
                /* [IO6] acquire pairs with io_sleep_end(). */
                if (!io->ring.fallback && !load_acquire_u32(&io->asleep))
                        io_reap(io, w);
        }
        timers_serve(other, w, now);
        if (io) {
                asked = io->asked;
                io_unlock(io);
        }
        /* Deadlines of operations have passed, which only their ring can cancel. */
        if (asked)
                gate_request(w->runtime, other->index, GATE_REQUEST_CANCEL);
        if (queue_count(&w->batch) > before + 1)
                worker_moved(w);
        return queue_count(&w->batch) > before;
}

/* Something waits there: for how long already? True: there are jobs. */
static bool judge(struct worker *w, struct worker *other, struct io *io, int64_t now)
{
        struct watch *watch = w->io->watch;
        struct watched *watched = &watch->others[other->index];
        uint64_t turns = turns_of(other);

        if (!watched->seen_ns) {
                watched->seen_ns = now;
                watched->seen_turns = turns;
                watched->vain = 0;
        } else if (turns != watched->seen_turns) {
                watched->seen_ns = 0; /* all is well: look again after a rest */
                watch->rest_until_ns = now + watch->rest_ns;
                watch->rest_ns = watch->rest_ns < REST_NS_MOST ? watch->rest_ns * 2 : REST_NS_MOST;
        } else if (now - watched->seen_ns >= STUCK_NS << watched->vain) {
                watched->seen_ns = now;
                watch->rest_ns = STUCK_NS;
                if (rescue(w, other, io)) {
                        watched->vain = 0;
                        return true;
                }
                /* Its thread does not run, or the kernel's flag stands for nothing. */
                watched->seen_ns = kernel_now_ns();
                watched->vain += watched->vain < VAIN_MOST;
        }
        look_again(watch, watched->seen_ns ? watched->seen_ns + (STUCK_NS << watched->vain)
                                           : watch->rest_until_ns);
        return false;
}

/* Sleep shall end when something comes there. True: it has. */
static bool poll_ring(struct worker *w, struct io *io, struct watched *watched)
{
        /* [IO5] relaxed: armed by us alone, and perhaps still in flight. */
        bool polled = load_relaxed_u32(&watched->polled);
        uint64_t old;

        if (!polled && read(io->ring.event, &old, sizeof old) < 0)
                old = 0; /* nothing since the last time */
        /* [WA4] relaxed, behind the fence in watch_turn(): the owner sees that there is a sentinel
         * when it wakes up, or we see that it is awake. */
        if (!load_relaxed_u32(&io->asleep))
                ring_set_event(&io->ring, true);
        /* [WA3] pairs with the kernel's barrier between a completion and its look at the flag:
         * either it signals the event, or we see the completion. [WA5] pairs with io_between(),
         * behind the RMW by which we have begun to search. */
        fence_seq_cst();
        if (keeps_back(io)) {
                ring_set_event(&io->ring, false);
                return true;
        }
        if (!polled)
                io_watch(w, io->ring.event, &watched->polled);
        return false;
}

/* One of the others. True: there are jobs. */
static bool look(struct worker *w, struct worker *other, int64_t now)
{
        struct watch *watch = w->io->watch;
        struct watched *watched = &watch->others[other->index];
        /* [IO3] pairs with open_io(). */
        struct io *io = load_acquire_ptr(&other->io_seen);
        /* One in plain memory is not watched; but its operations have deadlines. */
        bool watched_ring = io && !io->ring.fallback;

        if (timer_waits(w, other, now) || (watched_ring && keeps_back(io))) {
                if (watched_ring)
                        ring_set_event(&io->ring, false);
                return judge(w, other, io, now);
        }
        watched->seen_ns = 0;
        if (watched_ring && now < watch->rest_until_ns)
                look_again(watch, watch->rest_until_ns);
        else if (watched_ring && poll_ring(w, io, watched))
                return judge(w, other, io, now);
        return false;
}

bool watch_missing(const struct worker *w)
{
        const struct runtime *rt = w->runtime;
        /* relaxed, all: behind the caller's fence [PK2]. */
        uint32_t rings = load_relaxed_u32(&rt->rings);

        if (w->alone || !rings)
                return false;
        if (w->sentinel)
                return w->io && w->io->watch && w->io->watch->rings != rings;
        return !load_relaxed_u32(&rt->sentinel); /* relaxed: as above */
}

void watch_opened(struct worker *w)
{
        struct runtime *rt = w->runtime;
        /* relaxed: behind the caller's fence [PK1]. */
        uint32_t sentinel = load_relaxed_u32(&rt->sentinel);

        if (sentinel)
                park_wake_worker(rt, sentinel - 1);
        else if (!w->alone)
                park_publish(rt, w->node_index);
}

bool watch_turn(struct worker *w)
{
        struct runtime *rt = w->runtime;
        uint32_t nobody = 0;
        int64_t now;
        bool found = false;

        /* relaxed: whoever parks after the first ring or timer has been made looks after it. */
        if (w->alone || !load_relaxed_u32(&rt->watch_wanted))
                return false;
        if (!w->sentinel) {
                /* [WA1] acq_rel pairs with watch_leave(): one sentinel at a time. relaxed: the CAS
                 * checks it. */
                if (load_relaxed_u32(&rt->sentinel) ||
                    !cas_acq_rel_u32(&rt->sentinel, &nobody, w->index + 1))
                        return false;
                /* [WA4] pairs with io_sleep_end(). */
                fence_seq_cst_after_rmw();
                w->sentinel = true;
        }
        if (!io_have(w))
                return false;
        now = kernel_now_ns();
        w->io->watch->deadline_ns = 0;
        /* [WA2] acquire pairs with watch_opened(): the rings that are counted are looked at. */
        w->io->watch->rings = load_acquire_u32(&rt->rings);
        /* From a ring in plain memory none can be watched. Bound: the workers. */
        for (unsigned i = 0; i < rt->worker_count && !found && !w->io->ring.fallback; i++)
                if (i != w->index)
                        found = look(w, rt->workers[i], now);
        return found;
}

int64_t watch_deadline_ns(const struct worker *w)
{
        return w->sentinel && w->io && w->io->watch ? w->io->watch->deadline_ns : 0;
}

void watch_want(struct runtime *rt)
{
        /* relaxed: only a hint, and set for good. */
        if (!load_relaxed_u32(&rt->watch_wanted))
                store_relaxed_u32(&rt->watch_wanted, 1);
}

void watch_asleep(struct worker *w)
{
        ring_set_event(&w->io->ring, false);
}

void watch_awake(struct worker *w)
{
        /* [WA4] relaxed, behind the exchange of `asleep`. */
        uint32_t sentinel = load_relaxed_u32(&w->runtime->sentinel);

        if (!sentinel || sentinel == w->index + 1)
                return;
        ring_set_event(&w->io->ring, true);
        /* [WA3] as in poll_ring(), for watch_left(). */
        fence_seq_cst();
}

/* The event does not tell of that: it was off when it came, or the kernel, which handles some 20
 * ends each time it is entered, has put the others off, after it had made those visible (Linux
 * 6.18); who looked between saw nothing. A request is seen also by one that is about to sleep, and
 * makes it look again. */
void watch_left(struct worker *w)
{
        uint32_t sentinel;

        if (w->alone || w->io->ring.fallback || !ring_waits(w->io))
                return;
        /* [WA3] pairs with poll_ring(): either it sees what is left, or we see that it has turned
         * the event on. While that is off it has a deadline, or there is nobody. */
        fence_seq_cst();
        if (!ring_event_is_on(&w->io->ring))
                return;
        sentinel = load_relaxed_u32(&w->runtime->sentinel); /* relaxed: behind the fence */
        if (sentinel && sentinel != w->index + 1)
                gate_request(w->runtime, sentinel - 1, GATE_REQUEST_CANCEL);
}

void watch_leave(struct worker *w)
{
        struct runtime *rt = w->runtime;

        w->sentinel = false;
        /* [WA1] release pairs with the CAS in watch_turn(). */
        exchange_acq_rel_u32(&rt->sentinel, 0);
        /* [PK1] pairs with [PK2]: a worker that parked while we had the part shall take it now; one
         * that is about to sees that nobody has it. */
        fence_seq_cst_after_rmw();
        park_publish(rt, w->node_index);
}
