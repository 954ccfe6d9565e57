/* SPDX-License-Identifier: MIT
 *
 * For the tests of groups: threads that wait for one.
 */
#ifndef TESTS_CORE_WAITERS_H
#define TESTS_CORE_WAITERS_H

#include "core/crew.h"
#include "core/group.h"

struct wait_case {
        struct skua_group *group;
        struct tally ready, go, done;
        int64_t timeout_ns;
        atomic_int results[8];
        atomic_uint result_count, timeouts;
};

static inline void *wait_thread(void *arg)
{
        struct wait_case *c = arg;
        int result;

        tally_add(&c->ready, 1);
        result = skua_group_wait(c->group, c->timeout_ns);
        if (result == -ETIMEDOUT)
                atomic_fetch_add(&c->timeouts, 1);
        else
                atomic_store(&c->results[atomic_fetch_add(&c->result_count, 1)], result);
        return NULL;
}

static inline void until_listed(struct skua_group *g, unsigned count)
{
        unsigned listed;

        do {
                struct waiter *waiter;
                uint64_t word = __atomic_load_n(&g->word_, __ATOMIC_ACQUIRE);

                sched_yield();
                listed = 0;
                if (word & GROUP_LOCKED || !(word & GROUP_WAITED))
                        continue;
                /* As the runtime does it: the list belongs to whoever has LOCKED. */
                if (!__atomic_compare_exchange_n(&g->word_, &word, word | GROUP_LOCKED, false,
                                                 __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
                        continue;
                for (waiter = g->waiters_; waiter; waiter = waiter->next)
                        listed++;
                __atomic_fetch_and(&g->word_, ~GROUP_LOCKED, __ATOMIC_ACQ_REL);
        } while (listed != count);
}

#endif
