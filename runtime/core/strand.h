/* SPDX-License-Identifier: MIT
 *
 * Strands.
 */
#ifndef CORE_STRAND_H
#define CORE_STRAND_H

#include "core/job.h"

static inline bool strand_enter(struct skua_strand *strand, struct skua_job *job)
{
        (void)strand, (void)job;
        return true;
}

static inline void job_prepare(struct skua_job *job, struct skua_strand *strand)
{
        job->younger_ = (void *)strand;
        job->flags_ = 0;
}

#endif
