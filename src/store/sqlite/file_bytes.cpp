#include "store/sqlite/file_bytes.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace rq::store::sqlite {

using base::Result;

Result<void> FileBytes::open(const std::filesystem::path& file) {
  name_ = file.string();
  fd_.reset(::open(name_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd_.is_open() && errno == ENOENT) return {};
  struct stat info {};
  if (!fd_.is_open() || ::fstat(fd_.get(), &info) != 0) return cannot(base::text_of_errno(errno));
  size_ = static_cast<std::size_t>(info.st_size);
  return {};
}

Result<void> FileBytes::open(Db& db, const std::filesystem::path& file) {
  name_ = file.string();
  sqlite3_int64 size = 0;
  int code = sqlite3_file_control(db.handle(), "main", SQLITE_FCNTL_FILE_POINTER, &of_sqlite_);
  if (code == SQLITE_OK) code = of_sqlite_->pMethods->xFileSize(of_sqlite_, &size);
  if (code != SQLITE_OK) return cannot(sqlite3_errstr(code));
  size_ = static_cast<std::size_t>(size);
  return {};
}

Result<std::string_view> FileBytes::read(std::size_t at, std::size_t bytes) {
  if (at > size_ || bytes > size_ - at) return cannot("it ends before that");
  if (at < piece_at_ || at + bytes > piece_at_ + piece_.size()) {
    RQ_TRY(load(at, std::max(bytes, std::min(ahead_, size_ - at))));
  }
  return std::string_view{piece_}.substr(at - piece_at_, bytes);
}

Result<void> FileBytes::load(std::size_t at, std::size_t bytes) {
  piece_at_ = at;
  piece_.resize(bytes);
  if (of_sqlite_ != nullptr) {
    const int code = of_sqlite_->pMethods->xRead(of_sqlite_, piece_.data(), static_cast<int>(bytes),
                                                 static_cast<sqlite3_int64>(at));
    if (code == SQLITE_OK) return {};
    piece_.clear();
    return cannot(sqlite3_errstr(code));
  }
  for (std::size_t done = 0; done < bytes;) {
    const ssize_t n =
        ::pread(fd_.get(), piece_.data() + done, bytes - done, static_cast<off_t>(at + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const std::string why = n == 0 ? "it has become shorter" : base::text_of_errno(errno);
      piece_.clear();
      return cannot(why);
    }
    done += static_cast<std::size_t>(n);
  }
  return {};
}

base::Error FileBytes::cannot(std::string_view why) const {
  return base::fail(
      base::Code::internal, fmt::format("cannot read {}: {}", name_, why),
      "see that the disk is well and that the file belongs to the user of the server");
}

}  // namespace rq::store::sqlite
