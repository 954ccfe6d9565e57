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

#include "core/runtime.h"
#include "io/io.h"

/* How long a worker may be in a job while something waits; how long the sentinel rests after it has
 * found all well, doubling; how long a kick may take. */
#define STUCK_NS     100000
#define REST_NS_MOST 1600000
#define KICK_NS      100000

/* What the sentinel has seen of another worker. */
struct watched {
        struct word32 polled; /* a poll of its ring is in flight in ours */
        uint64_t seen_turns;
        int64_t seen_ns; /* when something waited there first, 0: nothing did */
};

struct watch {
        int64_t rest_ns, rest_until_ns, deadline_ns;
        uint32_t rings; /* how many there were when we looked */
        struct watched others[];
};

/* ------------------------------------------------------------------ the signal */

/* Makes what waits in the kernel visible to others, and sends what the worker has prepared. */
static void on_kick(int number)
{
        struct worker *w = self_get();
        int saved = errno;

        (void)number;
        if (w && w->io)
                ring_enter_signal(&w->io->ring);
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
        static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
        bool can;

        if (!rt->kick_signal)
                return false;
        pthread_mutex_lock(&lock);
        can = install(rt->kick_signal);
        pthread_mutex_unlock(&lock);
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

/* Jobs that the worker has begun. */
static uint64_t turns_of(const struct worker *w)
{
        /* relaxed, both: only whether it moves. */
        return load_relaxed_u64(&w->count.run) + load_relaxed_u64(&w->count.cancelled);
}

static bool waits(const struct io_ring *ring)
{
        /* relaxed: a hint. */
        bool unsent = load_relaxed_u32(ring->sq_tail) != load_relaxed_u32(ring->sq_head);

        return ring_ready(ring) || ring_hides(ring) || unsent;
}

/* Takes the completions of a stuck worker. True: there are jobs. */
static bool rescue(struct worker *w, struct worker *other, struct io *io)
{
        int64_t now = kernel_now_ns(), deadline = now + KICK_NS;
        unsigned count;

        /* relaxed: a hint. It is not in a job, and about to look itself. */
        if (load_relaxed_u32(&io->asleep))
                return false;
        count_add(&w->count.kicks, 1);
        if (io->ring.deferred)
                pthread_kill(other->thread.id, w->runtime->kick_signal);
        for (; !ring_ready(&io->ring) && now < deadline; now = kernel_now_ns())
                spin_hint();
        io_lock(io);
        /* [IO6] acquire pairs with io_sleep_end(). */
        count = load_acquire_u32(&io->asleep) ? 0 : io_reap(io, w);
        io_unlock(io);
        if (count > 1) {
                /* [PK1] pairs with [PK2]: the jobs are visible before our look. */
                fence_seq_cst();
                park_publish(w->runtime, w->node_index);
        }
        return count;
}

static void look_again(struct watch *watch, int64_t ns)
{
        if (!watch->deadline_ns || ns < watch->deadline_ns)
                watch->deadline_ns = ns;
}

/* One of the others. True: there are jobs. */
static bool look(struct worker *w, struct worker *other, int64_t now)
{
        struct watch *watch = w->io->watch;
        struct watched *watched = &watch->others[other->index];
        /* [IO3] pairs with open_io(). */
        struct io *io = load_acquire_ptr(&other->io_seen);
        uint64_t turns;

        if (!io || io->ring.fallback)
                return false;
        if (!waits(&io->ring)) {
                watched->seen_ns = 0;
                if (now >= watch->rest_until_ns)
                        io_watch(w, io->ring.uring.ring_fd, &watched->polled);
                else
                        look_again(watch, watch->rest_until_ns);
                return false;
        }
        turns = turns_of(other);
        if (!watched->seen_ns) {
                watched->seen_ns = now;
                watched->seen_turns = turns;
        } else if (turns != watched->seen_turns) {
                watched->seen_ns = 0; /* all is well: look again after a rest */
                watch->rest_until_ns = now + watch->rest_ns;
                watch->rest_ns = watch->rest_ns < REST_NS_MOST ? watch->rest_ns * 2 : REST_NS_MOST;
        } else if (now - watched->seen_ns >= STUCK_NS) {
                watched->seen_ns = 0;
                watch->rest_ns = STUCK_NS;
                if (rescue(w, other, io))
                        return true;
                watch->rest_until_ns = now + STUCK_NS; /* it has been quicker, or was asleep */
        }
        look_again(watch, watched->seen_ns ? watched->seen_ns + STUCK_NS : watch->rest_until_ns);
        return false;
}

bool watch_missing(const struct worker *w)
{
        const struct runtime *rt = w->runtime;
        /* relaxed, all: behind the caller's fence [PK2]. */
        uint32_t rings = load_relaxed_u32(&rt->ring_count);

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

        /* relaxed: looked at again by who parks, see watch_missing(). */
        if (w->alone || !load_relaxed_u32(&rt->ring_count))
                return false;
        if (!w->sentinel) {
                /* [WA1] acq_rel pairs with watch_leave(): one sentinel at a time. relaxed: the CAS
                 * checks it. */
                if (load_relaxed_u32(&rt->sentinel) ||
                    !cas_acq_rel_u32(&rt->sentinel, &nobody, w->index + 1))
                        return false;
                w->sentinel = true;
        }
        if (!io_have(w))
                return false;
        /* [WA2] acquire pairs with open_io(): so many are seen. */
        w->io->watch->rings = load_acquire_u32(&rt->ring_count);
        if (w->io->ring.fallback)
                return false;
        now = kernel_now_ns();
        w->io->watch->deadline_ns = 0;
        for (unsigned i = 0; i < rt->worker_count && !found; i++)
                if (i != w->index)
                        found = look(w, rt->workers[i], now);
        return found;
}

int64_t watch_deadline_ns(const struct worker *w)
{
        return w->sentinel && w->io && w->io->watch ? w->io->watch->deadline_ns : 0;
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
