/* SPDX-License-Identifier: MIT
 *
 * What a handle can be asked: constant facts of a runtime or a worker, and what a runtime would
 * find here.
 */
#include "core/runtime.h"
#include "core/worker.h"

SKUA_API int skua_advise(unsigned *cpus, unsigned *nodes)
{
        struct topology_input input = {0};
        struct topology topology;
        unsigned count = 0;
        int result = topology_read(&topology, &input);

        if (result)
                return result;
        for (unsigned i = 0; i < topology.node_count; i++)
                count += topology.nodes[i].cpu_count > 0;
        if (cpus)
                *cpus = placement_default_workers(&topology);
        if (nodes)
                *nodes = count;
        topology_fini(&topology);
        return 0;
}

SKUA_API unsigned skua_workers(const struct skua *rt)
{
        return runtime_of(rt)->worker_count;
}

SKUA_API void *skua_user(const struct skua *rt)
{
        return runtime_of(rt)->user;
}

SKUA_API struct skua_worker *skua_self(void)
{
        struct worker *w = worker_self();

        return w ? &w->face : NULL;
}

SKUA_API struct skua *skua_runtime(const struct skua_worker *self)
{
        return worker_of(self)->runtime->handle;
}

SKUA_API unsigned skua_worker_index(const struct skua_worker *self)
{
        return worker_of(self)->index;
}

SKUA_API unsigned skua_worker_node(const struct skua_worker *self)
{
        struct worker *w = worker_of(self);

        return w->runtime->nodes[w->node_index].id;
}

SKUA_API int64_t skua_now_ns(void)
{
        return kernel_now_ns();
}
