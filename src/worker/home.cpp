#include "worker/home.h"

#include <fmt/format.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "base/fd.h"

namespace rq::worker {

base::Result<std::string> enter_home(const std::string& dir) {
  const std::unique_ptr<char, void (*)(void*)> real(::realpath(dir.c_str(), nullptr), ::free);
  if (!real || ::chdir(real.get()) != 0) {
    return base::fail(base::Code::not_found,
                      fmt::format("directory '{}': {}", dir, base::text_of_errno(errno)),
                      "make it, or name another with --dir");
  }
  return std::string(real.get());
}

bool is_home_at(const std::string& dir) {
  struct stat named {};
  struct stat home {};
  if (::stat(dir.c_str(), &named) != 0) return errno != ENOENT && errno != ENOTDIR;
  return ::stat(".", &home) != 0 || (named.st_dev == home.st_dev && named.st_ino == home.st_ino);
}

bool is_home_removed() {
  struct stat home {};
  return ::stat(".", &home) == 0 && home.st_nlink == 0;
}

}  // namespace rq::worker
