#include "files/log_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "base/fd.h"

namespace rq::files {
namespace {

using base::Code;
using base::fail;

// Opens step by step: a symbolic link anywhere on the way, or a step back, is not followed.
base::Fd open_beneath(const std::filesystem::path& dir, const std::filesystem::path& relative) {
  constexpr int kFolder = O_PATH | O_DIRECTORY | O_CLOEXEC;
  base::Fd at(::open(dir.c_str(), kFolder));
  const auto last = std::prev(relative.end());
  for (auto step = relative.begin(); step != last && at.is_open(); ++step) {
    at.reset(*step == ".." ? -1 : ::openat(at.get(), step->c_str(), kFolder | O_NOFOLLOW));
  }
  if (!at.is_open()) return {};
  // Not blocking: a script could have put a pipe there.
  return base::Fd(
      ::openat(at.get(), last->c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
}

}  // namespace

std::filesystem::path log_path(const std::filesystem::path& dir, std::string_view folder) {
  return dir / folder / "job" / "stdio.log";
}

LogFile::LogFile(const std::filesystem::path& dir, std::string_view folder) {
  if (folder.empty()) return;
  file_ = open_beneath(dir, log_path({}, folder));
  if (!file_.is_open()) return;
  struct stat info {};
  if (::fstat(file_.get(), &info) == 0 && S_ISREG(info.st_mode)) {
    size_ = info.st_size;
  } else {
    file_.reset();
  }
}

base::Result<std::string> LogFile::read(std::int64_t offset, std::int64_t bytes) const {
  std::string out;
  if (!file_.is_open() || offset >= size_) return out;
  out.resize(static_cast<std::size_t>(std::min(bytes, size_ - offset)));
  std::size_t have = 0;
  while (have < out.size()) {
    const ssize_t got = ::pread(file_.get(), out.data() + have, out.size() - have,
                                offset + static_cast<std::int64_t>(have));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return fail(Code::internal,
                  fmt::format("cannot read the log: {}", base::text_of_errno(errno)),
                  "look at the file in the folder of the message");
    }
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  out.resize(have);
  return out;
}

base::Result<std::int64_t> LogFile::tail_offset(std::int64_t lines) const {
  if (lines == 0) return size_;
  const std::int64_t floor = std::max<std::int64_t>(0, size_ - kTailBytesMax);
  std::int64_t left = lines;
  for (std::int64_t end = size_; end > floor;) {
    const std::int64_t start = std::max(floor, end - kChunkBytes);
    RQ_TRY_ASSIGN(chunk, read(start, end - start));
    for (std::size_t at = chunk.size(); at > 0; --at) {
      const std::int64_t place = start + static_cast<std::int64_t>(at);
      // The newline that ends the file ends its last line; it does not begin another.
      if (chunk[at - 1] == '\n' && place < size_ && --left == 0) return place;
    }
    end = start;
  }
  return floor;
}

}  // namespace rq::files
