#pragma once
// Sockets to listen on. What other machines could reach is refused: there is no authentication yet.
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"

namespace rq::net {

struct Listener {
  base::Fd socket;   // listening, non-blocking
  std::string host;  // "127.0.0.1", "[::1]"; of a unix socket its path
  std::uint16_t port = 0;
  bool unix_socket = false;
};

// Listens on ADDR:PORT; port 0: one that the system picks. `setting` names the address in errors:
// bad_value when it is none, forbidden when it is not a loopback one, internal when it cannot be
// had.
[[nodiscard]] base::Result<Listener> listen_tcp(std::string_view setting, const std::string& text);

// Listens on a socket in the file system, for owner and group; one that is left over there goes.
[[nodiscard]] base::Result<Listener> listen_unix(const std::filesystem::path& path);

}  // namespace rq::net
