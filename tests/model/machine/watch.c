/* SPDX-License-Identifier: MIT
 *
 * io/watch.c with the modelled machine's signals and memory. Where a scenario does not wish it,
 * nobody looks after others: sleeps then have no deadlines, and no lost wake-up is made good.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "machine.h"
#include "model.h"

static void (*handler)(int number);

static int install_handler(int number, const struct sigaction *action, struct sigaction *before)
{
        (void)number;
        if (before)
                *before = (struct sigaction){.sa_handler = SIG_DFL};
        if (action)
                handler = action->sa_handler;
        return 0;
}

#define pthread_mutex_lock(lock)          ((void)(lock))
#define pthread_mutex_unlock(lock)        ((void)(lock))
#define pthread_sigmask(how, set, before) ((void)(set))
#define pthread_kill(thread, number)      model_signal((unsigned)(thread), handler)
#define sigaction(number, action, before) install_handler(number, action, before)
#define calloc(count, bytes)              model_memory((count) * (bytes))
#define free(memory)                      ((void)(memory))
#define read(file, memory, bytes)         ((void)(memory), rings_event_read(file))
#define watch_can_kick                    real_can_kick
#define watch_begin                       real_begin
#define watch_turn                        real_turn
#define watch_missing                     real_missing
#define watch_opened                      real_opened
#include "runtime/io/watch.c"
#undef watch_can_kick
#undef watch_begin
#undef watch_turn
#undef watch_missing
#undef watch_opened

bool watch_can_kick(struct runtime *rt);
bool watch_begin(struct worker *w, struct io *io);
bool watch_turn(struct worker *w);
bool watch_missing(const struct worker *w);
void watch_opened(struct worker *w);

bool watch_can_kick(struct runtime *rt)
{
        return machine_io.watch && real_can_kick(rt);
}

bool watch_begin(struct worker *w, struct io *io)
{
        return !machine_io.watch || real_begin(w, io);
}

bool watch_missing(const struct worker *w)
{
        return machine_io.watch && real_missing(w);
}

void watch_opened(struct worker *w)
{
        if (machine_io.watch)
                real_opened(w);
}

bool watch_turn(struct worker *w)
{
        return machine_io.watch && real_turn(w);
}

bool machine_rescue(struct worker *w, struct worker *other)
{
        /* [IO3] as in look(). */
        struct io *io = load_acquire_ptr(&other->io_seen);

        return io && ring_waits(io) && rescue(w, other, io);
}
