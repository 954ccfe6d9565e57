/* SPDX-License-Identifier: MIT
 *
 * For reference: the ring and futex of bench/baseline/ring_pool.c, about the least that a pool for
 * outside jobs can do.
 */
#define BASELINE_POOL   ring_pool
#define BASELINE_NAME   "yardstick"
#define BASELINE_SLOWER 1
#include "baseline_peer.h"
