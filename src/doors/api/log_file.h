#pragma once
// Reading the log of a message: the file job/stdio.log in its folder. Scripts may write there, so
// nothing in it is trusted: no symbolic link is followed, and only a regular file is read.
// Thread: any; these calls read from disk.
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace rq::doors::api {

class LogFile {
 public:
  // `folder` below `dir`; empty, or no file yet: an empty log.
  LogFile(const std::filesystem::path& dir, std::string_view folder);
  ~LogFile();
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

  [[nodiscard]] std::int64_t size() const { return size_; }
  // Up to `bytes` from `offset`; less at the end of the file.
  [[nodiscard]] base::Result<std::string> read(std::int64_t offset, std::int64_t bytes) const;
  // Where the last `lines` lines begin; looks at most kLogRangeBytesMax back.
  [[nodiscard]] base::Result<std::int64_t> tail_offset(std::int64_t lines) const;

 private:
  int fd_ = -1;
  std::int64_t size_ = 0;
};

[[nodiscard]] std::filesystem::path log_path(const std::filesystem::path& dir,
                                             std::string_view folder);

// "bytes=0-99", "bytes=100-", "bytes=-50". `first` to `last`, both inclusive. Absent: it asks for
// nothing that is there (416), or is no such range.
struct ByteRange {
  std::int64_t first = 0;
  std::int64_t last = 0;
};
[[nodiscard]] std::optional<ByteRange> parse_range(std::string_view text, std::int64_t size);

}  // namespace rq::doors::api
