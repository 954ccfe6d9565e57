/* SPDX-License-Identifier: MIT
 *
 * Contestant: Eigen's ThreadPool, the non-blocking one, with its own way of spinning. A queue holds
 * 1,024 jobs; when it is full, Schedule() runs the job at once, in the thread that submits.
 */
#include "peer.h"

#include <unsupported/Eigen/CXX11/ThreadPool>

#include <string>

static void *start(unsigned workers)
{
        return new Eigen::ThreadPool(static_cast<int>(workers));
}

static void stop(void *pool)
{
        delete static_cast<Eigen::ThreadPool *>(pool);
}

static void submit(void *handle, peer_job *jobs, size_t count)
{
        auto *pool = static_cast<Eigen::ThreadPool *>(handle);

        for (size_t i = 0; i < count; i++)
                pool->Schedule([job = &jobs[i]] { job->run(job); });
}

static void run(void *handle)
{
        Eigen::Notification done;

        static_cast<Eigen::ThreadPool *>(handle)->Schedule([&done] { done.Notify(); });
        done.Wait();
}

int main(int argc, char **argv)
{
        const std::string version = std::to_string(EIGEN_WORLD_VERSION) + "." +
                                    std::to_string(EIGEN_MAJOR_VERSION) + "." +
                                    std::to_string(EIGEN_MINOR_VERSION);
        peer contestant = {};

        contestant.name = "Eigen";
        contestant.version = version.c_str();
        contestant.start = start;
        contestant.stop = stop;
        contestant.submit = submit;
        contestant.spawn = submit;
        contestant.run = run;
        contestant.no_work = "a job that waits for another blocks its thread";
        contestant.slower = 1;

        return peer_main(&contestant, argc, argv);
}
