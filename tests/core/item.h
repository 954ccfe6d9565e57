/* SPDX-License-Identifier: MIT
 *
 * For the tests of submission: a job that notes where and when it has run.
 */
#ifndef TESTS_CORE_ITEM_H
#define TESTS_CORE_ITEM_H

#include "core/crew.h"

struct item {
        struct skua_job job;
        struct tally *tally;
        unsigned number, worker, node, fails, spawns;
        unsigned *order; /* the next place in it */
        unsigned place;
};

/* With one worker, or on one: no race for *order. */
static inline void item_run(struct skua_worker *self, struct skua_job *job)
{
        struct item *item = skua_container(job, struct item, job);

        item->worker = skua_worker_index(self);
        item->node = skua_worker_node(self);
        if (item->order)
                item->place = (*item->order)++;
        if (item->fails)
                skua_fail(self, -(int)item->fails);
        if (item->spawns) {
                item->spawns--;
                skua_spawn(self, job);
        }
        tally_add(item->tally, 1);
}

static inline void item_init(struct item *item, struct tally *tally, unsigned number)
{
        memset(item, 0, sizeof *item);
        skua_job_init(&item->job, item_run);
        item->tally = tally;
        item->number = number;
        item->worker = UINT_MAX;
}

#endif
