/* SPDX-License-Identifier: MIT
 *
 * Posting an event while somebody works on the list of those who wait, as a signal handler or
 * another CPU may: each one who waits is worth a post, and none is worth two.
 */
#include "wait/permits.c"

#include "wait/event.c"

#include "core/crew.h"
#include "rig.h"

enum { CHECKS = 9 };

static struct skua_event event;

static void *wait_for_post(void *arg)
{
        (void)arg;
        return (void *)(intptr_t)skua_wait_event(&event, -1);
}

static void *wait_in_vain(void *arg)
{
        (void)arg;
        return (void *)(intptr_t)skua_wait_event(&event, 1000000);
}

static void unlock(void)
{
        struct wakelist woken = {NULL, NULL};

        unlock_list(permits_of(&event), &kind, &woken);
}

static unsigned listed(void)
{
        unsigned count = 0;

        lock_list(permits_of(&event), NEVER, 0);
        for (struct listed *l = permits_of(&event)->list.first; l; l = l->next)
                count++;
        unlock();
        return count;
}

/* So many wait when so many posts come while the list is locked: afterwards it is set, or not. */
static void test_posts(unsigned waiters, unsigned posts, bool set)
{
        pthread_t threads[2];
        intptr_t result = 0;
        void *end;

        skua_event_init(&event);
        for (unsigned i = 0; i < waiters; i++)
                threads[i] = go(wait_for_post, NULL);
        while (listed() < waiters)
                sched_yield();
        lock_list(permits_of(&event), NEVER, 0);
        for (unsigned i = 0; i < posts; i++)
                skua_event_post(&event);
        unlock();
        for (unsigned i = 0; i < waiters; i++) {
                pthread_join(threads[i], &end);
                result |= (intptr_t)end;
        }
        tap_ok(!result && skua_try_event(&event) == set && !skua_try_event(&event),
               "%u wait, %u posts", waiters, posts);
}

/* The only one that waits gives up; the posts were for it and for nobody. */
static void test_gone(void)
{
        pthread_t thread;
        void *end;

        skua_event_init(&event);
        thread = go(wait_in_vain, NULL);
        pthread_join(thread, &end);
        tap_ok((intptr_t)end == -ETIMEDOUT && !listed(), "one has waited in vain");
        skua_event_post(&event);
        skua_event_post(&event);
        tap_ok(skua_try_event(&event) && !skua_try_event(&event), "two posts for nobody are one");
}

int main(void)
{
        tap_plan(CHECKS, 60);
        test_posts(0, 1, true);
        test_posts(0, 3, true);
        test_posts(1, 1, false);
        test_posts(1, 2, true);
        test_posts(2, 2, false);
        test_posts(2, 3, true);
        test_posts(2, 5, true);
        test_gone();
        return tap_done();
}
