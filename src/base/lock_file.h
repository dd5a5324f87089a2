#pragma once
// A lock on a file that one process holds at a time, with the holder's pid in a file beside it. The
// lock ends with the process, however that ends; the pid file may stay behind.
#include <filesystem>

#include "base/fd.h"
#include "base/result.h"

namespace rq::base {

class LockFile {
 public:
  // Makes both files where they are missing. Errors: exists when another process holds the lock
  // (the caller says what that means), internal when a file cannot be made or written.
  [[nodiscard]] static Result<LockFile> take(const std::filesystem::path& lock,
                                             const std::filesystem::path& pid_file);
  // A lock that this process holds already, by a descriptor that it was handed. Files that are
  // gone, and cannot be made again now, are keep()'s to make.
  [[nodiscard]] static Result<LockFile> take_over(Fd held, const std::filesystem::path& lock,
                                                  const std::filesystem::path& pid_file);
  // Does a live process hold it? `lock`: the file, opened for that; its name may be gone by now.
  [[nodiscard]] static bool is_held(const Fd& lock);
  // What a holder has written; 0 when there is no such file, or no number in it.
  [[nodiscard]] static int pid_in(const std::filesystem::path& pid_file);

  LockFile(LockFile&&) noexcept = default;
  LockFile& operator=(LockFile&&) = delete;
  LockFile(const LockFile&) = delete;
  LockFile& operator=(const LockFile&) = delete;
  // Removes the pid file, then lets go.
  ~LockFile();

  // Makes anew what somebody has removed or moved away beside a process that holds it, as long as
  // nobody else has: call it again and again. The descriptor keeps its number. Errors: as take().
  [[nodiscard]] Result<void> keep();

  [[nodiscard]] int fd() const { return file_.get(); }
  // It is another process's business from now on, which holds the same descriptor.
  void disown() { file_.release(); }

 private:
  LockFile(Fd file, std::filesystem::path lock, std::filesystem::path pid_file);

  Fd file_;
  std::filesystem::path lock_;
  std::filesystem::path pid_file_;
};

}  // namespace rq::base
