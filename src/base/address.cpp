#include "base/address.h"

#include <fmt/format.h>

#include <system_error>

#include "base/number.h"

namespace rq::base {
namespace {

constexpr std::string_view kUnix = "unix:";
constexpr std::string_view kHttp = "http://";
constexpr std::uint16_t kHttpPort = 80;

Error no_address(std::string_view text, std::string_view why) {
  return fail(Code::bad_value, fmt::format("server '{}': not an address: {}", text, why),
              "write unix:PATH or http://HOST:PORT");
}

// "localhost:3333", "myhost", "var"
Error no_scheme(std::string_view text) {
  Error error = no_address(text, "it begins neither with unix: nor with http://");
  if (parse_host_port(text)) {
    error.remedy = fmt::format("write {}{}", kHttp, text);
  } else {
    error.remedy += "; the directory of a server is named with --dir DIR";
  }
  return error;
}

Error bad_host_port(std::string why) { return fail(Code::bad_value, std::move(why)); }

}  // namespace

std::string HostPort::text() const {
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port)
                                             : fmt::format("[{}]:{}", host, port);
}

Result<HostPort> parse_host_port(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || text.ends_with(']')) {
    return bad_host_port("it has no port");
  }
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return bad_host_port("an IPv6 address stands in brackets: [::1]:3333");
  }
  if (host.empty()) return bad_host_port("it has no host");
  if (host.find_first_of("/?#@[]% \t\r\n") != std::string_view::npos) {
    return bad_host_port("the host has a character that no host has");
  }
  const std::string_view digits = text.substr(colon + 1);
  const auto port = whole_number<std::uint16_t>(digits);
  if (!port) return bad_host_port("the port is not a number up to 65535");
  return HostPort{.host = std::string(host), .port = *port};
}

std::string ServerAddress::text() const {
  return socket_path.empty() ? fmt::format("{}{}", kHttp, tcp.text())
                             : fmt::format("{}{}", kUnix, socket_path);
}

Result<ServerAddress> parse_server_address(std::string_view text) {
  std::string_view rest = text;
  const bool named_unix = rest.starts_with(kUnix);
  if (named_unix) rest.remove_prefix(kUnix.size());
  if (named_unix || rest.starts_with('/') || rest.starts_with('.')) {
    while (rest.starts_with("//")) rest.remove_prefix(1);
    if (rest.empty()) return no_address(text, "it has no path");
    if (rest.find('\0') != std::string_view::npos) return no_address(text, "its path has a NUL");
    return ServerAddress{.socket_path = std::string(rest), .tcp = {}};
  }
  if (rest.starts_with("https://")) return no_address(text, "rq speaks no TLS");
  if (!rest.starts_with(kHttp)) return no_scheme(text);
  rest.remove_prefix(kHttp.size());
  while (rest.ends_with('/')) rest.remove_suffix(1);
  // A last colon outside of brackets is that of a port.
  const std::size_t colon = rest.rfind(':');
  const bool has_port = colon != std::string_view::npos && !rest.ends_with(']');
  const std::string with_port =
      has_port ? std::string(rest) : fmt::format("{}:{}", rest, kHttpPort);
  Result<HostPort> tcp = parse_host_port(with_port);
  if (!tcp) return no_address(text, tcp.error().message);
  if (tcp->port == 0) return no_address(text, "the port is 0");
  return ServerAddress{.socket_path = {}, .tcp = *std::move(tcp)};
}

}  // namespace rq::base
