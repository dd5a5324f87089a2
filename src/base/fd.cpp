#include "base/fd.h"

#include <unistd.h>

#include <system_error>

namespace rq::base {

void Fd::reset(int fd) {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

std::string text_of_errno(int error) { return std::generic_category().message(error); }

}  // namespace rq::base
