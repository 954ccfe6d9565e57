/* SPDX-License-Identifier: MIT
 *
 * Contestant: the thread_pool of Boost.Asio, by post() from any thread.
 */
#include "peer.h"

#include <utility>

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/version.hpp>

#include <string>

namespace asio = boost::asio;

static void *start(unsigned workers)
{
        return new asio::thread_pool(workers);
}

static void stop(void *handle)
{
        auto *pool = static_cast<asio::thread_pool *>(handle);

        pool->join();
        delete pool;
}

static void submit(void *handle, peer_job *jobs, size_t count)
{
        auto &pool = *static_cast<asio::thread_pool *>(handle);

        for (size_t i = 0; i < count; i++)
                asio::post(pool, [job = &jobs[i]] { job->run(job); });
}

static void run(void *handle)
{
        auto &pool = *static_cast<asio::thread_pool *>(handle);

        asio::post(pool, asio::use_future([] {})).get();
}

int main(int argc, char **argv)
{
        const std::string version = std::to_string(BOOST_VERSION / 100000) + "." +
                                    std::to_string(BOOST_VERSION / 100 % 1000) + "." +
                                    std::to_string(BOOST_VERSION % 100);
        peer contestant = {};

        contestant.name = "Boost.Asio";
        contestant.version = version.c_str();
        contestant.start = start;
        contestant.stop = stop;
        contestant.submit = submit;
        contestant.spawn = submit;
        contestant.run = run;
        contestant.no_work = "a job that waits for another blocks its thread";
        contestant.slower = 2;

        return peer_main(&contestant, argc, argv);
}
