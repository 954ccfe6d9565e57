/* SPDX-License-Identifier: MIT
 *
 * Contestant: Boost.Asio, one io_context that all workers run. A connection has one operation under
 * way at any time, so it needs no strand. A receive takes what there is, async_write() sends all.
 */
#include "server.h"

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <boost/version.hpp>

namespace asio = boost::asio;
using asio::ip::tcp;

class connection : public std::enable_shared_from_this<connection>
{
      public:
        connection(tcp::socket socket, const server &s)
            : socket_(std::move(socket)), mixed_(s.mixed), data_(s.buffer_bytes)
        {
        }

        void receive()
        {
                socket_.async_read_some(
                        asio::buffer(data_),
                        [self = shared_from_this()](boost::system::error_code e, size_t bytes) {
                                if (!e)
                                        self->echo(bytes);
                        });
        }

      private:
        void echo(size_t bytes)
        {
                if (mixed_)
                        server_burn(&at_, data_.data(), bytes);
                asio::async_write(socket_, asio::buffer(data_, bytes),
                                  [self = shared_from_this()](boost::system::error_code e, size_t) {
                                          if (!e)
                                                  self->receive();
                                  });
        }

        tcp::socket socket_;
        const bool mixed_;
        unsigned at_ = 0;
        std::vector<char> data_;
};

static void accept(tcp::acceptor &acceptor, const server &s)
{
        acceptor.async_accept([&acceptor, &s](boost::system::error_code e, tcp::socket socket) {
                if (!e) {
                        socket.set_option(tcp::no_delay(true), e);
                        std::make_shared<connection>(std::move(socket), s)->receive();
                }
                accept(acceptor, s);
        });
}

int main(int argc, char **argv)
{
        const std::string version = std::to_string(BOOST_VERSION / 100000) + "." +
                                    std::to_string(BOOST_VERSION / 100 % 1000) + "." +
                                    std::to_string(BOOST_VERSION % 100);
        const server s = server_options(argc, argv, "Boost.Asio", version.c_str());

        /* With one thread it may leave its locks out, which the manual offers for that. */
        asio::io_context context(s.workers == 1 ? BOOST_ASIO_CONCURRENCY_HINT_UNSAFE_IO
                                                : static_cast<int>(s.workers));
        tcp::acceptor acceptor(context, tcp::v4(), server_listen(&s));
        std::vector<std::thread> threads;

        accept(acceptor, s);
        for (unsigned i = 1; i < s.workers; i++)
                threads.emplace_back([&context] { context.run(); });
        context.run();
}
