/* SPDX-License-Identifier: MIT
 *
 * What newer kernels know and liburing 2.3 does not name. Numbers of the kernel's interface; used
 * only after a probe has shown that the running kernel has them.
 */
#ifndef IO_COMPAT_H
#define IO_COMPAT_H

#include <liburing.h>

enum {
        COMPAT_OP_READ_MULTISHOT = 49, /* 6.7 */
        COMPAT_OP_FUTEX_WAIT = 51      /* 6.7 */
};

#define COMPAT_ENTER_NO_IOWAIT   (1u << 7)  /* 6.15 */
#define COMPAT_FEATURE_NO_IOWAIT (1u << 17) /* 6.15 */
#define COMPAT_TIMEOUT_MULTISHOT (1u << 6)  /* 6.4 */
#define COMPAT_FUTEX_U32         0x02u
#define COMPAT_FUTEX_PRIVATE     0x80u
#define COMPAT_FUTEX_MATCH_ANY   0xffffffffu

#define COMPAT_ERESTARTSYS 512 /* the kernel's own, which some operations let out */

#endif
