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

#include "base/address.h"
#include "base/fd.h"
#include "base/socket_path.h"

namespace rq::net {
namespace {

using base::Code;
using base::fail;
using base::Result;
using Endpoint = boost::asio::ip::tcp::endpoint;

Result<Endpoint> parse_address(std::string_view setting, const std::string& text) {
  const auto bad = [&](std::string_view why) {
    return fail(Code::bad_value, fmt::format("{} address '{}': {}", setting, text, why),
                "give ADDRESS:PORT, such as 127.0.0.1:3333 or [::1]:3333");
  };
  base::Result<base::HostPort> given = base::parse_host_port(text);
  if (!given) return bad(given.error().message);
  const std::string host = given->host == "localhost" ? "127.0.0.1" : given->host;
  boost::system::error_code ec;
  const auto address = boost::asio::ip::make_address(host, ec);
  if (ec) return bad("it is no IP address");
  if (!address.is_loopback()) {
    return fail(Code::forbidden,
                fmt::format("{} address '{}' can be reached from other machines", setting, text),
                "there is no authentication yet, so only loopback addresses are served: use "
                "127.0.0.1:PORT, and a tunnel (ssh -L) from elsewhere");
  }
  return Endpoint{address, given->port};
}

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

Result<Listener> listen_tcp(std::string_view setting, const std::string& text) {
  RQ_TRY_ASSIGN(endpoint, parse_address(setting, text));
  base::Fd socket = listen_on(endpoint.data(), static_cast<socklen_t>(endpoint.size()));
  if (!socket.is_open()) {
    return fail(Code::internal,
                fmt::format("cannot listen on {} address {}: {}", setting, text,
                            base::text_of_errno(errno)),
                "give another port, or end what uses this one");
  }
  auto size = static_cast<socklen_t>(endpoint.capacity());
  ::getsockname(socket.get(), endpoint.data(), &size);
  const auto address = endpoint.address();
  return Listener{
      .socket = std::move(socket),
      .host = address.is_v6() ? fmt::format("[{}]", address.to_string()) : address.to_string(),
      .port = endpoint.port()};
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
  return Listener{
      .socket = std::move(socket), .host = path.string(), .port = 0, .unix_socket = true};
}

}  // namespace rq::net
