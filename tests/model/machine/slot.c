/* SPDX-License-Identifier: MIT
 *
 * core/slot.c with a way to forget its slots, whose memory goes with the execution. Its lock is
 * left away: it is not one of the modelled machine's, and no thread is switched while it is held.
 */
#include <pthread.h>

#define pthread_mutex_lock(lock)   ((void)(lock))
#define pthread_mutex_unlock(lock) ((void)(lock))
#include "runtime/core/slot.c"

#include "machine.h"

void slots_forget(void)
{
        store_relaxed_ptr(&slots, NULL);
}
