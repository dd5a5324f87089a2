#include "base/whole_file.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/bytes.h"

namespace rq::base {
namespace {

constexpr std::size_t kReadBytes = 64 * kKiB;

}  // namespace

std::string read_whole(int fd, std::size_t bytes_max) {
  std::string text;
  while (text.size() < bytes_max) {
    const std::size_t at = text.size();
    text.resize(at + std::min(kReadBytes, bytes_max - at));
    const ssize_t n = ::read(fd, text.data() + at, text.size() - at);
    text.resize(at + static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    if (n == 0 || (n < 0 && errno != EINTR)) break;
  }
  return text;
}

bool write_whole(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) errno = ENOSPC;
    if (n <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

}  // namespace rq::base
