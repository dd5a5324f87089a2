#include "base/lock_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <string>
#include <utility>

namespace rq::base {
namespace {

Error cannot(const std::filesystem::path& file, int error) {
  std::error_code unseen;
  const auto there = std::filesystem::symlink_status(file, unseen);
  if (std::filesystem::exists(there) && !std::filesystem::is_regular_file(there)) {
    return fail(Code::internal,
                fmt::format("'{}' is not a file: {}", file.string(), text_of_errno(error)),
                "somebody has put something else in its place: move that away");
  }
  return fail(Code::internal, fmt::format("'{}': {}", file.string(), text_of_errno(error)),
              "see to the disk and to the rights of the folder");
}

Result<Fd> open_locked(const std::filesystem::path& lock, const std::filesystem::path& pid_file) {
  Fd file(::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file.is_open()) return cannot(lock, errno);
  if (::flock(file.get(), LOCK_EX | LOCK_NB) == 0) return file;
  if (errno != EWOULDBLOCK) return cannot(lock, errno);
  return fail(
      Code::exists,
      fmt::format("'{}' is locked by process {}", lock.string(), LockFile::pid_in(pid_file)),
      "end that process first");
}

// A new file in the place of the old one: nobody reads half of it, and what a link there points to
// is not written to.
Result<void> write_pid(const std::filesystem::path& pid_file) {
  const std::string fresh = pid_file.string() + ".new";
  ::unlink(fresh.c_str());
  const Fd out(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!out.is_open()) return cannot(pid_file, errno);
  const std::string pid = fmt::format("{}\n", ::getpid());
  if (::write(out.get(), pid.data(), pid.size()) != static_cast<ssize_t>(pid.size()) ||
      ::rename(fresh.c_str(), pid_file.c_str()) != 0) {
    const int why = errno;
    ::unlink(fresh.c_str());
    return cannot(pid_file, why);
  }
  return {};
}

}  // namespace

LockFile::LockFile(Fd file, std::filesystem::path lock, std::filesystem::path pid_file)
    : file_(std::move(file)), lock_(std::move(lock)), pid_file_(std::move(pid_file)) {}

LockFile::~LockFile() {
  // In a directory that was moved away, and made anew at its place, it is another process's.
  if (file_.is_open() && pid_in(pid_file_) == ::getpid()) ::unlink(pid_file_.c_str());
}

Result<LockFile> LockFile::take(const std::filesystem::path& lock,
                                const std::filesystem::path& pid_file) {
  RQ_TRY_ASSIGN(file, open_locked(lock, pid_file));
  RQ_TRY(write_pid(pid_file));
  return LockFile(std::move(file), lock, pid_file);
}

Result<LockFile> LockFile::take_over(Fd held, const std::filesystem::path& lock,
                                     const std::filesystem::path& pid_file) {
  if (::flock(held.get(), LOCK_EX | LOCK_NB) != 0 ||
      ::fcntl(held.get(), F_SETFD, FD_CLOEXEC) != 0) {
    return cannot(lock, errno);
  }
  LockFile taken(std::move(held), lock, pid_file);
  static_cast<void>(taken.keep());  // whoever calls it again is told why not
  return taken;
}

Result<void> LockFile::keep() {
  if (!is_file_of(lock_.string(), file_.get())) {
    // With the folder that they are in, but not where the one above it is gone as well.
    ::mkdir(lock_.parent_path().c_str(), 0700);
    RQ_TRY_ASSIGN(fresh, open_locked(lock_, pid_file_));
    if (::dup3(fresh.get(), file_.get(), O_CLOEXEC) < 0) return cannot(lock_, errno);
  }
  if (pid_in(pid_file_) == ::getpid()) return {};
  return write_pid(pid_file_);
}

bool LockFile::is_held(const Fd& lock) {
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) return errno == EWOULDBLOCK;
  ::flock(lock.get(), LOCK_UN);
  return false;
}

int LockFile::pid_in(const std::filesystem::path& pid_file) {
  std::error_code unseen;
  if (!std::filesystem::is_regular_file(pid_file, unseen)) return 0;  // reading a pipe may hang
  std::ifstream in{pid_file};
  int pid = 0;
  in >> pid;
  return in ? pid : 0;
}

}  // namespace rq::base
