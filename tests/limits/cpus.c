/* SPDX-License-Identifier: MIT
 *
 * On which CPUs the pool's threads may run: on all that the runtime has, whoever started them.
 */
#include <sched.h>

#include "limits/held.h"

static int read_affinity(void *arg)
{
        return sched_getaffinity(0, sizeof(cpu_set_t), arg) ? -errno : 0;
}

static void ask(struct skua_worker *self, void *arg)
{
        cpu_set_t *sets = arg;

        read_affinity(&sets[0]);
        skua_await_blocking(self, read_affinity, &sets[1]);
}

int main(void)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        cpu_set_t all, sets[2];
        struct skua *rt;

        tap_plan(2, 60);
        CPU_ZERO(&all);
        if (read_affinity(&all) || CPU_COUNT(&all) < 2) {
                tap_skip(2, "needs two CPUs");
                return tap_done();
        }
        options.flags = SKUA_PIN;
        rt = rig_start(1, &options);
        skua_run(rt, ask, sets);
        tap_is(CPU_COUNT(&sets[0]), 1, "a worker that is bound to its CPU");
        tap_ok(CPU_EQUAL(&sets[1], &all), "starts a thread of the pool, which is not");
        rig_stop(rt);
        return tap_done();
}
