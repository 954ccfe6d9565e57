/* SPDX-License-Identifier: MIT
 *
 * The machine under a modelled runtime: its nodes, and what must be forgotten between executions.
 */
#ifndef MODEL_MACHINE_H
#define MODEL_MACHINE_H

/* Workers are dealt out to so many nodes, CPU i is on node i; 1 unless a scenario says otherwise.
 */
extern unsigned machine_nodes;

/* At the begin of an execution that starts a runtime. */
void machine_begin(unsigned nodes);

/* slot.c */
void slots_forget(void);

#endif
