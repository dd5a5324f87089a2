#pragma once
// The content of a file, read piece by piece. A sector that cannot be read, or a file that gets
// shorter, is an error; in a file that is mapped it would end the process.
// Thread: one at a time.
#include <sqlite3.h>

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "store/sqlite/db.h"

namespace rq::store::sqlite {

class FileBytes {
 public:
  // `ahead`: at least so many bytes are read at once.
  explicit FileBytes(std::size_t ahead = 0) : ahead_(ahead) {}

  // Nothing is there: it is empty.
  [[nodiscard]] base::Result<void> open(const std::filesystem::path& file);
  // The database that `db` has open, through what SQLite has opened: as soon as a process closes a
  // descriptor of a file, it loses all locks on that file, those of SQLite as well.
  [[nodiscard]] base::Result<void> open(Db& db, const std::filesystem::path& file);

  [[nodiscard]] std::size_t size() const { return size_; }
  // What stands there, until the next call.
  [[nodiscard]] base::Result<std::string_view> read(std::size_t at, std::size_t bytes);

 private:
  [[nodiscard]] base::Result<void> load(std::size_t at, std::size_t bytes);
  [[nodiscard]] base::Error cannot(std::string_view why) const;

  std::size_t ahead_;
  std::string name_;
  base::Fd fd_;
  sqlite3_file* of_sqlite_ = nullptr;
  std::size_t size_ = 0;
  std::string piece_;
  std::size_t piece_at_ = 0;
};

}  // namespace rq::store::sqlite
