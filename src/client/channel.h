#pragma once
// One connection to a server, as bytes: a unix socket or TCP. It is an asynchronous stream in the
// sense of Asio, so that asio::async_write and the like take it. TLS will live in here: whoever
// reads and writes through a channel need not know what is underneath.
// Thread: the loop's.
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <string>
#include <utility>

#include "base/address.h"

namespace rq::client {

class Channel {
 public:
  using executor_type = boost::asio::generic::stream_protocol::socket::executor_type;
  using Connected = std::function<void(const boost::system::error_code&)>;

  explicit Channel(boost::asio::io_context& io) : io_(io), socket_(io), resolver_(io) {}

  [[nodiscard]] executor_type get_executor() { return socket_.get_executor(); }
  [[nodiscard]] bool is_open() const { return socket_.is_open(); }

  // Tries each address that the host has. `then` is called once, later, and must keep the channel
  // alive.
  void connect(const base::ServerAddress& address, Connected then);

  template <typename Buffers, typename Handler>
  auto async_read_some(const Buffers& buffers, Handler&& handler) {
    return socket_.async_read_some(buffers, std::forward<Handler>(handler));
  }
  template <typename Buffers, typename Handler>
  auto async_write_some(const Buffers& buffers, Handler&& handler) {
    return socket_.async_write_some(buffers, std::forward<Handler>(handler));
  }

  // Nothing more is sent; what the peer sends still arrives.
  void shutdown_send();
  // What is under way ends with an error.
  void close();
  // Is a connection that waits for nothing still good? Not when the peer has closed it, or has
  // sent something that nobody asked for.
  [[nodiscard]] bool is_quiet();

 private:
  using Results = boost::asio::ip::tcp::resolver::results_type;
  void connect_unix(const std::string& path, Connected then);
  void try_next(Results results, Results::const_iterator at, Connected then);

  boost::asio::io_context& io_;
  boost::asio::generic::stream_protocol::socket socket_;
  boost::asio::ip::tcp::resolver resolver_;
};

}  // namespace rq::client
