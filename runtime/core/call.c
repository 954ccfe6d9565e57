/* SPDX-License-Identifier: MIT
 *
 * Functions as jobs: skua_run, which waits for one, and skua_post, which copies its argument.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/group.h"
#include "core/runtime.h"
#include "core/worker.h"

struct call {
        struct skua_job job;
        void (*fn)(struct skua_worker *self, void *arg);
        void *arg;
};

static void call_run(struct skua_worker *self, struct skua_job *job)
{
        struct call *call = skua_container(job, struct call, job);

        call->fn(self, call->arg);
}

SKUA_API int skua_run(struct skua *rt, void (*fn)(struct skua_worker *self, void *arg), void *arg)
{
        struct worker *w = self_get();
        struct skua_group group;
        struct call call;
        int result;

        if (!rt || !fn)
                return -EINVAL;
        if (w && w->runtime == runtime_of(rt))
                return load_relaxed_u32(&w->runtime->orphan) ? -EOWNERDEAD : -EDEADLK; /* relaxed */
        skua_group_init(&group);
        skua_job_init(&call.job, call_run);
        call.fn = fn;
        call.arg = arg;
        result = skua_group_submit(rt, &group, &call.job);
        return result ? result : group_wait_any(&group);
}

struct post {
        struct skua_job job;
        void (*fn)(struct skua_worker *self, void *arg);
        _Alignas(max_align_t) unsigned char arg[];
};

struct post_frame {
        struct exit_frame exit;
        struct post *post;
};

static void leave_post(struct worker *w, struct exit_frame *frame)
{
        (void)w;
        free(skua_container(frame, struct post_frame, exit)->post);
}

static void post_run(struct skua_worker *self, struct skua_job *job)
{
        struct post_frame frame = {.post = skua_container(job, struct post, job)};

        exit_push(worker_of(self), &frame.exit, leave_post);
        frame.post->fn(self, frame.post->arg);
        exit_pop(worker_of(self), &frame.exit);
        free(frame.post);
}

SKUA_API int skua_post(struct skua *rt, void (*fn)(struct skua_worker *self, void *arg),
                       const void *arg, size_t size)
{
        struct post *post;
        int result;

        if (!rt || !fn || (!arg && size) || size > SIZE_MAX / 2)
                return -EINVAL;
        if (!(post = malloc(sizeof *post + size)))
                return -ENOMEM;
        skua_job_init(&post->job, post_run);
        post->fn = fn;
        if (size)
                memcpy(post->arg, arg, size);
        result = skua_submit(rt, &post->job);
        if (result)
                free(post);
        return result;
}
