#pragma once
// A file descriptor that closes itself, and the text of a failed system call.
#include <string>

namespace rq::base {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.release()) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool is_open() const { return fd_ >= 0; }
  // The caller's to close from now on.
  int release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }
  void reset(int fd = -1);

 private:
  int fd_ = -1;
};

// Opens a file that somebody else may have put something in place of: follows no link, and does not
// wait for the other end of a pipe. `how`: flags of open(2). Not open: errno says why, EISDIR when
// it is no file.
[[nodiscard]] Fd open_plain_file(const std::string& path, int how);

// Is the open file the one of that name? Not when that was removed, or moved away.
[[nodiscard]] bool is_file_of(const std::string& path, int fd);

// "Permission denied" for EACCES, and so on.
[[nodiscard]] std::string text_of_errno(int error);

}  // namespace rq::base
