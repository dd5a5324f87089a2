#pragma once
// Where a server is, as people and programs write it. One grammar for what the command line, the
// worker and the server's own settings take.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace rq::base {

struct HostPort {
  std::string host;  // without brackets
  std::uint16_t port = 0;
  // "127.0.0.1:3333", "[::1]:3333"
  [[nodiscard]] std::string text() const;
  friend bool operator==(const HostPort&, const HostPort&) = default;
};
// HOST:PORT; a host with colons stands in brackets. The error says what is wrong with `text`.
[[nodiscard]] Result<HostPort> parse_host_port(std::string_view text);

struct ServerAddress {
  std::string socket_path;  // of a unix socket; empty: TCP
  HostPort tcp;

  // "unix:/run/rq.sock", "http://127.0.0.1:3333": parse_server_address() takes it back.
  [[nodiscard]] std::string text() const;
  friend bool operator==(const ServerAddress&, const ServerAddress&) = default;
};
// unix:PATH, a PATH that starts with / or ., or http://HOST[:PORT][/].
[[nodiscard]] Result<ServerAddress> parse_server_address(std::string_view text);

}  // namespace rq::base
