/* SPDX-License-Identifier: MIT
 *
 * Sizes of queues and maps. A modelled build gives smaller ones, so that queues are full and wrap
 * after a few steps; nothing else may depend on them. Slots are powers of two.
 */
#ifndef CORE_SIZES_H
#define CORE_SIZES_H

#ifndef SIZE_RING
#define SIZE_RING       1024 /* published forks of a worker */
#define SIZE_QUEUE      1024 /* its run queue */
#define SIZE_BATCH      128  /* what it has from an injector */
#define SIZE_BATCH_MOST 64   /* taken at once, at most half of that */
#define SIZE_CPUS       8192 /* that a runtime knows */
#define SIZE_NODES      1024
#define SIZE_LOOKS      100 /* at a lock that is held, before one sleeps */
#define SIZE_TURNS      61  /* of a worker, from one that looks for old work to the next */
#define SIZE_SLAB       64  /* stacks in one mapping */
#define SIZE_STACKS     64  /* that a worker keeps for itself */
/* After so long memory that is not in use is given back; 0: never. */
#define SIZE_IDLE_NS    200000000
#endif

#endif
