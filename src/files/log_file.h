#pragma once
// Reading the log of a message: the file job/stdio.log in its folder. Scripts may write there, so
// nothing in it is trusted: no symbolic link is followed, and only a regular file is read.
// Thread: any; these calls read from disk.
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "base/fd.h"
#include "base/result.h"

namespace rq::files {

inline constexpr std::int64_t kTailBytesMax = 16 * 1024 * 1024;
inline constexpr std::int64_t kChunkBytes = 64 * 1024;  // read at once

class LogFile {
 public:
  // `folder` below `dir`; empty, or no file yet: an empty log.
  LogFile(const std::filesystem::path& dir, std::string_view folder);

  [[nodiscard]] std::int64_t size() const { return size_; }
  // Up to `bytes` from `offset`; less at the end of the file.
  [[nodiscard]] base::Result<std::string> read(std::int64_t offset, std::int64_t bytes) const;
  // The open file itself; this object is of no use after it.
  [[nodiscard]] base::Fd take() { return std::move(file_); }
  // Where the last `lines` lines begin; looks at most kTailBytesMax back.
  [[nodiscard]] base::Result<std::int64_t> tail_offset(std::int64_t lines) const;

 private:
  base::Fd file_;
  std::int64_t size_ = 0;
};

[[nodiscard]] std::filesystem::path log_path(const std::filesystem::path& dir,
                                             std::string_view folder);

}  // namespace rq::files
