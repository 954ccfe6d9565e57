/* SPDX-License-Identifier: MIT
 *
 * skua_for and skua_run_for.
 */
#include <errno.h>

#include "parallel/range.h"

static void for_part(struct skua_worker *self, size_t begin, size_t end, void *acc,
                     const struct range_loop *loop)
{
        skua_range_fn *const *body = loop->user;

        (void)acc;
        (*body)(self, begin, end, loop->arg);
}

SKUA_API int skua_for(struct skua_worker *self, size_t begin, size_t end, size_t grain,
                      skua_range_fn *body, void *arg)
{
        struct range_loop loop = {.part = for_part, .user = &body, .grain = grain, .arg = arg};

        return body ? range_run(self, &loop, begin, end, NULL) : -EINVAL;
}

struct outside_for {
        size_t begin, end, grain;
        skua_range_fn *body;
        void *arg;
        int result;
};

static void outside_for_run(struct skua_worker *self, void *arg)
{
        struct outside_for *o = arg;

        o->result = skua_for(self, o->begin, o->end, o->grain, o->body, o->arg);
}

SKUA_API int skua_run_for(struct skua *rt, size_t begin, size_t end, size_t grain,
                          skua_range_fn *body, void *arg)
{
        struct outside_for o = {begin, end, grain, body, arg, 0};
        int result = body ? skua_run(rt, outside_for_run, &o) : -EINVAL;

        return result ? result : o.result;
}
