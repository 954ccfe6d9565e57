/* SPDX-License-Identifier: MIT
 *
 * For reference: the textbook pool of bench/baseline/mutex_pool.c.
 */
#define BASELINE_POOL   mutex_pool
#define BASELINE_NAME   "mutex-pool"
#define BASELINE_SLOWER 4
#include "baseline_peer.h"
