#include "net/listener.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "base/check.h"
#include "base/socket_path.h"
#include "base/utf8.h"
#include "net/tls.h"

namespace rq::net {
namespace {

using base::Code;
using base::fail;
using base::Result;
using Endpoint = boost::asio::ip::tcp::endpoint;

// A new socket, bound and listening. Not open: errno says why not.
base::Fd listen_on(const sockaddr* address, socklen_t size) {
  base::Fd socket(::socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.is_open()) return socket;
  const int on = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(socket.get(), address, size) != 0 || ::listen(socket.get(), SOMAXCONN) != 0) {
    const int why = errno;
    socket.reset();
    errno = why;
  }
  return socket;
}

}  // namespace

std::string ListenAddress::text(std::string_view scheme) const {
  return tls ? fmt::format("{}://{}", scheme, at.text()) : at.text();
}

Result<ListenAddress> parse_listen_address(std::string_view setting, std::string_view scheme,
                                           std::string_view text) {
  const auto bad = [&](std::string_view why) {
    return fail(Code::bad_value,
                fmt::format("{} address '{}': {}", setting, base::shown(text), why),
                fmt::format("give ADDRESS:PORT, such as 127.0.0.1:3333 or [::1]:3333; with TLS "
                            "{}://ADDRESS:PORT",
                            scheme));
  };
  std::string_view rest = text;
  ListenAddress out;
  if (const std::size_t at = rest.find("://"); at != std::string_view::npos) {
    const std::string_view given = rest.substr(0, at);
    out.tls = given == scheme;
    if (!out.tls && given != "http") return bad("it begins with a scheme that is not spoken here");
    rest.remove_prefix(at + 3);
  }
  base::Result<base::HostPort> at = base::parse_host_port(rest);
  if (!at) return bad(at.error().message);
  out.at = *std::move(at);
  if (out.at.host == "localhost") out.at.host = "127.0.0.1";
  boost::system::error_code ec;
  const auto address = boost::asio::ip::make_address(out.at.host, ec);
  if (ec) return bad("it is no IP address");
  out.loopback = address.is_loopback();
  return out;
}

std::string Listener::address() const { return fmt::format("{}:{}", host, port); }

Result<Listener> listen_tcp(std::string_view setting, const ListenAddress& address,
                            std::shared_ptr<const Tls> tls) {
  RQ_CHECK(!address.tls || tls != nullptr);
  Endpoint endpoint{boost::asio::ip::make_address(address.at.host), address.at.port};
  base::Fd socket = listen_on(endpoint.data(), static_cast<socklen_t>(endpoint.size()));
  if (!socket.is_open()) {
    return fail(Code::internal,
                fmt::format("cannot listen on {} address {}: {}", setting, address.at.text(),
                            base::text_of_errno(errno)),
                "give another port, or end what uses this one");
  }
  auto size = static_cast<socklen_t>(endpoint.capacity());
  ::getsockname(socket.get(), endpoint.data(), &size);
  const auto bound = endpoint.address();
  return Listener{
      .socket = std::move(socket),
      .host = bound.is_v6() ? fmt::format("[{}]", bound.to_string()) : bound.to_string(),
      .port = endpoint.port(),
      .tls = address.tls ? std::move(tls) : nullptr};
}

Result<Listener> listen_unix(const std::filesystem::path& path) {
  const auto name = base::SocketPath::of(path.string());
  if (!name) {
    return fail(Code::internal,
                fmt::format("cannot listen on {}: {}", path.string(), base::text_of_errno(errno)),
                "check that its folder is there, and its rights");
  }
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, name->text().c_str(), name->text().size() + 1);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    return fail(Code::internal,
                fmt::format("{} is in the way of the socket, and cannot be removed: {}",
                            path.string(), base::text_of_errno(errno)),
                "move it away: the server makes a socket there");
  }
  base::Fd socket = listen_on(reinterpret_cast<const sockaddr*>(&address), sizeof address);
  if (!socket.is_open() || ::chmod(path.c_str(), 0660) != 0) {
    return fail(Code::internal,
                fmt::format("cannot listen on {}: {}", path.string(), base::text_of_errno(errno)),
                "check the rights of the directory");
  }
  return Listener{.socket = std::move(socket),
                  .host = path.string(),
                  .port = 0,
                  .unix_socket = true,
                  .tls = nullptr};
}

}  // namespace rq::net
