/* SPDX-License-Identifier: MIT
 *
 * Users' own queues of completions; see source.h.
 */
#include "io/source.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "core/options.h"
#include "core/runtime.h"
#include "core/worker.h"
#include "io/io.h"

/* How often a worker looks that has no ring to watch a file descriptor with. */
#define BLIND_NS 1000000

static uint64_t bit_of(unsigned index)
{
        return (uint64_t)1 << index;
}

/* ------------------------------------------------------------------ turns */

static bool take_turn(struct source_slot *slot)
{
        uint32_t free = 0;

        /* relaxed: saves an RMW. [SO1] acquire pairs with give_turn(): what the one before did. */
        return !load_relaxed_u32(&slot->turn) && cas_acquire_u32(&slot->turn, &free, 1);
}

static void give_turn(struct source_slot *slot)
{
        /* [SO1] release pairs with take_turn(). */
        store_release_u32(&slot->turn, 0);
}

/* Bound: a call of poll or arm. */
static void wait_turn(struct source_slot *slot)
{
        while (!take_turn(slot))
                kernel_yield();
}

static struct skua_source *source_of(const struct source_slot *slot)
{
        return load_relaxed_ptr(&slot->source); /* relaxed: in the turn */
}

/* Is it for this worker? A look before the turn is taken. */
static bool is_mine(const struct worker *w, const struct source_slot *slot)
{
        uint32_t worker = load_relaxed_u32(&slot->worker); /* relaxed: a hint */

        return !worker || worker == w->index + 1;
}

static struct word32 *epoll_of(struct runtime *rt, unsigned worker)
{
        return worker ? &rt->workers[worker - 1]->sources.own_epoll : &rt->sources.epoll;
}

/* In the turn: nobody will look at it again. */
static void detach(struct runtime *rt, unsigned index)
{
        struct source_slot *slot = &rt->sources.slots[index];
        /* relaxed, all: in the turn; the words are hints to others. */
        struct word32 *epoll = epoll_of(rt, load_relaxed_u32(&slot->worker));

        fetch_and_acq_rel_u64(&rt->sources.anybody, ~bit_of(index));
        fetch_and_acq_rel_u64(&rt->sources.set, ~bit_of(index));
        if (slot->fd >= 0)
                epoll_ctl((int)load_relaxed_u32(epoll) - 1, EPOLL_CTL_DEL, slot->fd, NULL);
        store_relaxed_ptr(&slot->source, NULL); /* relaxed: in the turn */
}

/* ------------------------------------------------------------------ the worker */

/* Calls poll, with max above 0, or arm. They are no job: they may not wait. */
static int call(struct worker *w, struct skua_source *s, unsigned max)
{
        struct scope scope = {.group = NULL}, *outer = w->scope;
        int result;

        w->scope = &scope;
        w->isolated++;
        w->sources.inside = true;
        result = max ? s->poll(&w->face, s, max) : s->arm ? s->arm(&w->face, s) : 0;
        w->sources.inside = false;
        w->isolated--;
        w->scope = outer;
        return result;
}

static void poll_one(struct worker *w, unsigned index)
{
        struct source_slot *slot = &w->runtime->sources.slots[index];
        struct skua_source *s;

        if (!is_mine(w, slot) || !take_turn(slot))
                return;
        s = source_of(slot);
        if (s && is_mine(w, slot) && call(w, s, SOURCES_TURN) < 0)
                detach(w->runtime, index);
        give_turn(slot);
}

void sources_poll(struct worker *w)
{
        /* relaxed: a hint. Bound: 64 bits. */
        uint64_t set = load_relaxed_u64(&w->runtime->sources.set);

        worker_flush(w);
        for (; set; set &= set - 1)
                poll_one(w, (unsigned)__builtin_ctzll(set));
}

/* False: something has come, or somebody else is about to find it. */
static bool arm_one(struct worker *w, unsigned index, int64_t now)
{
        struct source_slot *slot = &w->runtime->sources.slots[index];
        struct skua_source *s;
        int result = 0;

        if (!is_mine(w, slot))
                return true;
        if (!take_turn(slot))
                return false;
        s = source_of(slot);
        if (s && is_mine(w, slot)) {
                result = call(w, s, 0);
                if (s->max_sleep_ns && s->max_sleep_ns < INT64_MAX - now)
                        w->sources.next_ns = earlier_ns(w->sources.next_ns, now + s->max_sleep_ns);
                if (result < 0)
                        detach(w->runtime, index);
        }
        give_turn(slot);
        return result <= 0;
}

/* The ring is told to look at the epoll instance. Without a ring the worker looks by itself. */
static void watch(struct worker *w, const struct word32 *epoll, struct word32 *armed, int64_t now)
{
        /* [SO2] acquire pairs with open_epoll(). */
        uint32_t fd = load_acquire_u32(epoll);

        if (!fd)
                return;
        if (io_have(w))
                io_watch(w, (int)fd - 1, armed);
        else
                w->sources.next_ns = earlier_ns(w->sources.next_ns, now + BLIND_NS);
}

/* Does this worker watch those that are for anybody, from now on or still? */
static bool take_watch(struct worker *w)
{
        struct sources *sources = &w->runtime->sources;
        uint32_t nobody = 0;

        if (!w->sources.watcher)
                /* [SO3] acq_rel pairs with sources_leave(): one has the watch. */
                w->sources.watcher = cas_acq_rel_u32(&sources->watcher, &nobody, w->index + 1);
        return w->sources.watcher;
}

bool sources_arm(struct worker *w)
{
        struct sources *sources = &w->runtime->sources;
        struct source_watch *mine = &w->sources;
        bool quiet = true;
        uint64_t set;
        int64_t now;

        /* [SO4] acquire pairs with publish(): what was added is in the sets; what is added later
         * is seen by the second look. */
        mine->epoch = load_acquire_u64(&sources->epoch);
        mine->next_ns = 0;
        set = load_relaxed_u64(&sources->set); /* relaxed: [SO4] */
        if (!set)
                return true;
        now = kernel_now_ns();
        /* relaxed: [SO4]. */
        if (load_relaxed_u64(&sources->anybody) && take_watch(w))
                watch(w, &sources->epoll, &mine->armed, now);
        else
                set &= ~load_relaxed_u64(&sources->anybody); /* relaxed: [SO4] */
        watch(w, &mine->own_epoll, &mine->own_armed, now);
        for (; set; set &= set - 1)
                quiet &= arm_one(w, (unsigned)__builtin_ctzll(set), now);
        return quiet;
}

void sources_leave(struct worker *w)
{
        w->sources.watcher = false;
        /* [SO3] release pairs with take_watch(); and ordered before the summary's RMW in
         * park_found(), behind which we look, and behind which a later parker sees it. */
        store_release_u32(&w->runtime->sources.watcher, 0);
}

static void close_epoll(struct word32 *epoll)
{
        uint32_t fd = load_relaxed_u32(epoll); /* relaxed, both: no other thread is left */

        if (fd)
                close((int)fd - 1);
        store_relaxed_u32(epoll, 0);
}

void sources_retire(struct runtime *rt)
{
        struct sources *sources = &rt->sources;

        /* relaxed, all: no worker is left, and nobody is accepted any more. */
        store_relaxed_u64(&sources->set, 0);
        store_relaxed_u64(&sources->anybody, 0);
        store_relaxed_u32(&sources->watcher, 0);
        for (unsigned i = 0; i < SOURCES_MAX; i++)
                store_relaxed_ptr(&sources->slots[i].source, NULL); /* relaxed: as above */
        close_epoll(&sources->epoll);
        for (unsigned i = 0; i < rt->worker_count; i++) {
                struct source_watch *watch = &rt->workers[i]->sources;

                close_epoll(&watch->own_epoll);
                store_relaxed_u32(&watch->armed, 0); /* relaxed, both: the ring has gone */
                store_relaxed_u32(&watch->own_armed, 0);
                watch->watcher = false;
        }
}

/* ------------------------------------------------------------------ adding and removing */

static int open_epoll(struct word32 *epoll, int fd)
{
        struct epoll_event event = {.events = EPOLLIN};
        uint32_t instance = load_relaxed_u32(epoll); /* relaxed: under the lock */

        if (!instance) {
                int made = epoll_create1(EPOLL_CLOEXEC);

                if (made < 0)
                        return -errno;
                instance = (uint32_t)made + 1;
                /* [SO2] release pairs with watch(). */
                store_release_u32(epoll, instance);
        }
        return epoll_ctl((int)instance - 1, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

/* A free slot, or -EEXIST, -EAGAIN. */
static int find_slot(const struct sources *sources, const struct skua_source *s)
{
        int found = -EAGAIN;

        for (int i = SOURCES_MAX - 1; i >= 0; i--) {
                /* relaxed: in no turn; only we fill a slot, under the lock, and our own source is
                 * not being removed unless the caller races with itself. */
                const void *there = load_relaxed_ptr(&sources->slots[i].source);

                if (there == s)
                        return -EEXIST;
                if (!there)
                        found = i;
        }
        return found;
}

static void publish(struct runtime *rt, unsigned index, unsigned worker)
{
        struct sources *sources = &rt->sources;

        if (!worker)
                /* [SO4] the sets before the epoch. */
                fetch_or_acq_rel_u64(&sources->anybody, bit_of(index));
        fetch_or_acq_rel_u64(&sources->set, bit_of(index)); /* [SO4] as above */
        /* [SO4] release pairs with the acquire in sources_arm(). */
        fetch_add_acq_rel_u64(&sources->epoch, 1);
}

static int add(struct runtime *rt, struct skua_source *s)
{
        struct sources *sources = &rt->sources;
        int index = find_slot(sources, s), result;
        struct source_slot *slot;

        if (index < 0)
                return index;
        result = s->fd < 0 ? 0 : open_epoll(epoll_of(rt, s->worker), s->fd);
        if (result)
                return result;
        slot = &sources->slots[index];
        wait_turn(slot); /* of who looks at it in vain, or is just removing another */
        slot->fd = s->fd < 0 ? -1 : s->fd;
        /* relaxed, both: in the turn. */
        store_relaxed_u32(&slot->worker, s->worker);
        store_relaxed_ptr(&slot->source, s);
        give_turn(slot);
        publish(rt, (unsigned)index, s->worker);
        return 0;
}

static int check(const struct runtime *rt, const struct skua_source *s)
{
        struct skua_source copy;
        int result;

        if (!rt || !s)
                return -EINVAL;
        /* relaxed: set in the child of a fork by its only thread. */
        if (load_relaxed_u32(&rt->orphan))
                return -EOWNERDEAD;
        result = options_copy(&copy, sizeof copy, s, sizeof copy);
        if (!result && (!copy.poll || copy.max_sleep_ns < 0 ||
                        (copy.fd < 0 && !copy.max_sleep_ns) || copy.worker > rt->worker_count))
                result = -EINVAL;
        return result;
}

/* Who is to watch a new source: its worker, or who watches the others already, else anybody. */
static void wake_for(struct runtime *rt, unsigned worker)
{
        /* [SO3] relaxed, behind the fence in skua_source_add(): a watcher that we see here and that
         * is giving up finds the new source unwatched, behind its own fence. */
        unsigned watcher = worker ? worker : load_relaxed_u32(&rt->sources.watcher);

        if (watcher)
                park_wake_worker(rt, watcher - 1);
        else
                park_publish(rt, runtime_node_here(rt));
}

SKUA_API int skua_source_add(struct skua *handle, struct skua_source *s)
{
        struct runtime *rt = runtime_of(handle);
        int result = check(rt, s);

        if (!result)
                result = runtime_accept(rt, generation_of(handle), true);
        if (result)
                return result;
        /* [SO5] acquire pairs with the release below. Bound: the holder's few steps, but for one
         * poll of a source that is going. */
        while (exchange_acq_rel_u32(&rt->sources.lock, 1))
                kernel_yield();
        result = add(rt, s);
        store_release_u32(&rt->sources.lock, 0); /* [SO5] as above */
        if (!result) {
                /* [PK1] pairs with [PK2]: the source is visible before our look, [SO3]. */
                fence_seq_cst();
                wake_for(rt, s->worker);
        }
        runtime_unaccept(rt);
        return result;
}

static int remove_from(struct runtime *rt, const struct skua_source *s)
{
        for (unsigned i = 0; i < SOURCES_MAX; i++) {
                struct source_slot *slot = &rt->sources.slots[i];
                bool there;

                /* relaxed: it has been added before we were called. */
                if (load_relaxed_ptr(&slot->source) != s)
                        continue;
                wait_turn(slot);
                there = source_of(slot) == s;
                if (there)
                        detach(rt, i);
                give_turn(slot);
                if (there)
                        return 0;
        }
        return -ENOENT;
}

SKUA_API int skua_source_remove(struct skua *handle, struct skua_source *s)
{
        struct runtime *rt = runtime_of(handle);
        struct worker *w = worker_self();
        int result;

        if (!rt || !s)
                return -EINVAL;
        /* relaxed: set in the child of a fork by its only thread. */
        if (load_relaxed_u32(&rt->orphan))
                return -EOWNERDEAD;
        if (w && w->sources.inside)
                return -EDEADLK;
        if (runtime_accept(rt, generation_of(handle), false))
                return -ENOENT;
        result = remove_from(rt, s);
        runtime_unaccept(rt);
        return result;
}
