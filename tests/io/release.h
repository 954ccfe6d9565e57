/* SPDX-License-Identifier: MIT
 *
 * For tests of I/O: which Linux this is, for those that compare what kernels answer.
 */
#ifndef TESTS_IO_RELEASE_H
#define TESTS_IO_RELEASE_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/utsname.h>

/* Is it older than 6.7? Then pipes that are O_NONBLOCK and timeouts that repeat complete otherwise,
 * and Linux 6.1 was seen to end reads of a pipe that others share with -ECANCELED now and then,
 * which nobody had asked for, and to keep a read in its list of polls (fdinfo of the ring) while
 * the write to the same pipe had completed; why is not known. */
static inline bool kernel_is_old(void)
{
        struct utsname name;
        unsigned major = 0, minor = 0;

        return uname(&name) || sscanf(name.release, "%u.%u", &major, &minor) != 2 || major < 6 ||
               (major == 6 && minor < 7);
}

#endif
