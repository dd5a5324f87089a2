#include "base/socket_path.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <utility>

namespace rq::base {
namespace {

constexpr std::size_t kBytesMax = sizeof(sockaddr_un::sun_path) - 1;

}  // namespace

std::optional<SocketPath> SocketPath::of(const std::string& path) {
  if (path.size() <= kBytesMax) return SocketPath(Fd(), path);
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos || slash == 0) {
    errno = ENAMETOOLONG;
    return std::nullopt;
  }
  Fd folder(::open(path.substr(0, slash).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!folder.is_open()) return std::nullopt;
  std::string text = fmt::format("/proc/self/fd/{}{}", folder.get(), path.substr(slash));
  if (text.size() > kBytesMax) {
    errno = ENAMETOOLONG;
    return std::nullopt;
  }
  return SocketPath(std::move(folder), std::move(text));
}

}  // namespace rq::base
