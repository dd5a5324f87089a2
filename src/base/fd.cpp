#include "base/fd.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace rq::base {

namespace {
constexpr unsigned kMode = 0600;  // of a file that is made
}  // namespace

void Fd::reset(int fd) {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

Fd open_plain_file(const std::string& path, int how) {
  Fd file(::open(path.c_str(), how | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, kMode));
  struct stat info {};
  if (file.is_open() && ::fstat(file.get(), &info) == 0 && !S_ISREG(info.st_mode)) {
    file.reset();
    errno = EISDIR;
  }
  return file;
}

bool is_file_of(const std::string& path, int fd) {
  struct stat named {};
  struct stat open {};
  return ::stat(path.c_str(), &named) == 0 && ::fstat(fd, &open) == 0 &&
         named.st_dev == open.st_dev && named.st_ino == open.st_ino;
}

std::string text_of_errno(int error) { return std::generic_category().message(error); }

}  // namespace rq::base
