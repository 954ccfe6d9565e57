/* SPDX-License-Identifier: MIT
 *
 * The machine under a modelled runtime: its nodes, and what must be forgotten between executions.
 */
#ifndef MODEL_MACHINE_H
#define MODEL_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

/* Workers are dealt out to so many nodes, CPU i is on node i; 1 unless a scenario says otherwise.
 */
extern unsigned machine_nodes;

/* At the begin of an execution that starts a runtime. */
void machine_begin(unsigned nodes);

/* What rings there are; set after machine_begin(), which says none. */
struct machine_io {
        bool ring;     /* io_uring, with: */
        bool futex;    /* waits for a word */
        bool deferred; /* completions seen only when the owner enters */
        bool watch;    /* busy workers are looked after, and interrupted */
};
extern struct machine_io machine_io;

/* Operations on these wait for the device; for nothing but their end. */
enum { MACHINE_DEVICE = 200, MACHINE_SILENT = 300 };

/* The device completes an operation, when there is one; false: it has been switched off. */
bool machine_device(int32_t res, bool more);
void machine_device_off(void);

/* ring.c, for kernel.c and place.c. The first two: inside the kernel. How many were woken. */
int rings_futex_wake(const void *word, int count);
void rings_event_signal(unsigned event);
int rings_event_open(void);
void rings_forget(void);

/* Of a ring's event: 8 if it has been signalled since the last time, else -1. */
int rings_event_read(int fd);

/* watch.c: takes another worker's completions, if it has any, as if it had been stuck for long.
 * True: there are jobs. */
struct worker;
bool machine_rescue(struct worker *w, struct worker *other);

/* slot.c */
void slots_forget(void);

#endif
