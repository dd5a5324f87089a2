#pragma once
// Sockets to listen on.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "base/address.h"
#include "base/fd.h"
#include "base/result.h"

namespace rq::net {

class Tls;

// Where to listen, over TCP.
struct ListenAddress {
  base::HostPort at;      // an IP address; port 0: one that the system picks
  bool tls = false;       // "https://..." or the like: it was asked for
  bool loopback = false;  // only this machine can reach it

  // As ServerAddress writes it, with `scheme` where there is TLS.
  [[nodiscard]] std::string text(std::string_view scheme) const;
  friend bool operator==(const ListenAddress&, const ListenAddress&) = default;
};
// ADDR:PORT, or with TLS SCHEME://ADDR:PORT. `setting` begins the error: bad_value.
[[nodiscard]] base::Result<ListenAddress> parse_listen_address(std::string_view setting,
                                                               std::string_view scheme,
                                                               std::string_view text);

struct Listener {
  base::Fd socket;   // listening, non-blocking
  std::string host;  // "127.0.0.1", "[::1]"; of a unix socket its path
  std::uint16_t port = 0;
  bool unix_socket = false;
  std::shared_ptr<const Tls> tls;  // null: plain

  [[nodiscard]] std::string address() const;  // "127.0.0.1:3333"
};

// Listens there. `setting` names the address in the error: internal when it cannot be had.
// REQUIRES: `tls` where the address wants it.
[[nodiscard]] base::Result<Listener> listen_tcp(std::string_view setting,
                                                const ListenAddress& address,
                                                std::shared_ptr<const Tls> tls = nullptr);

// Listens on a socket in the file system, for owner and group; one that is left over there goes.
[[nodiscard]] base::Result<Listener> listen_unix(const std::filesystem::path& path);

}  // namespace rq::net
