#include "client/channel.h"

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <memory>
#include <string>
#include <utility>

#include "base/socket_path.h"
#include "base/time.h"
#include "client/limits.h"

namespace rq::client {
namespace {

namespace asio = boost::asio;
using asio::generic::stream_protocol;
using boost::system::error_code;

constexpr int kKeepAlives = 3;

// A peer that is gone without a word, behind a network that drops what is sent there, is an error
// within kGoneAfter: of what waits to be acknowledged, and of a connection where nothing is said.
void notice_when_gone(int socket) {
  const auto set = [socket](int level, int option, int value) {
    ::setsockopt(socket, level, option, &value, sizeof value);
  };
  const auto seconds = static_cast<int>(kGoneAfter.count());
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(base::Millis(kGoneAfter).count()));
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, seconds / kKeepAlives);
  set(IPPROTO_TCP, TCP_KEEPINTVL, seconds / kKeepAlives);
  set(IPPROTO_TCP, TCP_KEEPCNT, kKeepAlives);
}

}  // namespace

void Channel::connect(const Server& server, Connected then) {
  const base::ServerAddress& address = server.address;
  if (!address.socket_path.empty()) {
    connect_unix(address.socket_path, std::move(then));
    return;
  }
  if (address.tls) {
    then = [this, tls = server.tls, host = address.tcp.host,
            then = std::move(then)](const error_code& error) mutable {
      if (error) return then(error);
      shake_hands(*tls, host, std::move(then));
    };
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
    if (!error) notice_when_gone(socket_.native_handle());
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

void Channel::shake_hands(Tls& tls, const std::string& host, Connected then) {
  tls_ = tls.stream(socket_, host, doubt_);
  tls_->async_handshake(asio::ssl::stream_base::client,
                        [this, &tls, then = std::move(then)](const error_code& error) {
                          const bool believed = error || tls.is_expected(*tls_, doubt_);
                          then(believed ? error : error_code(asio::error::access_denied));
                        });
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
  if (tls_ && ::SSL_has_pending(tls_->native_handle()) != 0) return false;
  return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

}  // namespace rq::client
