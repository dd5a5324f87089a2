#include "client/channel.h"

#include <sys/socket.h>

#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <memory>
#include <string>
#include <utility>

#include "base/socket_path.h"

namespace rq::client {
namespace {

namespace asio = boost::asio;
using asio::generic::stream_protocol;
using boost::system::error_code;

}  // namespace

void Channel::connect(const base::ServerAddress& address, Connected then) {
  if (!address.socket_path.empty()) {
    connect_unix(address.socket_path, std::move(then));
    return;
  }
  resolver_.async_resolve(
      address.tcp.host, std::to_string(address.tcp.port), asio::ip::resolver_base::numeric_service,
      [this, then = std::move(then)](const error_code& error, const Results& results) mutable {
        if (error || results.empty()) {
          then(error ? error : asio::error::host_not_found);
        } else {
          try_next(results, results.begin(), std::move(then));
        }
      });
}

void Channel::connect_unix(const std::string& path, Connected then) {
  auto name = base::SocketPath::of(path);
  if (!name) {
    asio::post(io_, [then = std::move(then),
                     error = error_code(errno, boost::system::system_category())] { then(error); });
    return;
  }
  const auto held = std::make_shared<base::SocketPath>(*std::move(name));
  const asio::local::stream_protocol::endpoint endpoint(held->text());
  socket_.async_connect(stream_protocol::endpoint(endpoint),
                        [then = std::move(then), held](const error_code& error) { then(error); });
}

void Channel::try_next(Results results, Results::const_iterator at, Connected then) {
  const stream_protocol::endpoint endpoint(at->endpoint());
  ++at;
  const auto connected = [this, results, at, then](const error_code& error) {
    if (!error || at == results.end() || error == asio::error::operation_aborted) {
      then(error);
      return;
    }
    error_code ignored;
    socket_.close(ignored);
    try_next(results, at, then);
  };
  socket_.async_connect(endpoint, connected);
}

void Channel::shutdown_send() {
  error_code ignored;
  if (socket_.is_open()) socket_.shutdown(stream_protocol::socket::shutdown_send, ignored);
}

void Channel::close() {
  error_code ignored;
  resolver_.cancel();
  socket_.close(ignored);
}

bool Channel::is_quiet() {
  char byte = 0;
  const ssize_t got = ::recv(socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

}  // namespace rq::client
