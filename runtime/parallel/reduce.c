/* SPDX-License-Identifier: MIT
 *
 * skua_reduce.
 */
#include <errno.h>

#include "parallel/range.h"

static void reduce_part(struct skua_worker *self, size_t begin, size_t end, void *acc,
                        const struct range_loop *loop)
{
        const struct skua_reduction *r = loop->user;

        r->body(self, begin, end, acc, r->arg);
}

SKUA_API int skua_reduce(struct skua_worker *self, size_t begin, size_t end, size_t grain,
                         const struct skua_reduction *r, void *result)
{
        struct range_loop loop = {.part = reduce_part, .user = r, .grain = grain};

        if (!r || !r->body || !r->combine || !r->acc_bytes || !result)
                return -EINVAL;
        loop.combine = r->combine;
        loop.acc_bytes = r->acc_bytes;
        loop.identity = r->identity;
        loop.arg = r->arg;
        range_identity(&loop, result);
        return range_run(self, &loop, begin, end, result);
}
