#pragma once
// SQLite's default VFS, for the one connection that writes.
//
// The log in few large writes: SQLite writes each page of a commit, and the header in front of it,
// with a system call of its own. Here what goes to the log is gathered, and written in one piece
// with the last page of the commit. A write that fails there fails the commit, as SQLite expects;
// until then nobody else looks at these pages, for the index of the log does not name them.
//
// The write lock for good: once taken it is kept until the connection is closed, which spares two
// system calls a commit, and refuses whoever would write beside the server.
//
// A log that somebody else has cut is not written to: what was cut off would become a hole, which
// SQLite takes for pages.
//
// While the log is copied, a page of it that is not as it was written is an error: see log_check.h.
//
// Thread: that of the connection.
#include <sqlite3.h>

#include <cstddef>
#include <string>

#include "base/limits.h"
#include "store/sqlite/log_heads.h"

namespace rq::store::sqlite {

// SQLite's own VFS reads and writes less than 128 KiB at once, and takes more for a full disk.
inline constexpr std::size_t kLogPieceBytes = 60 * base::kKiB;

class WriterVfs {
 public:
  WriterVfs();
  WriterVfs(const WriterVfs&) = delete;
  WriterVfs& operator=(const WriterVfs&) = delete;
  ~WriterVfs();  // after the connection is closed

  // For sqlite3_open_v2.
  [[nodiscard]] const char* name() const { return name_.c_str(); }
  // The log was written up to here.
  [[nodiscard]] sqlite3_int64 log_bytes() const { return vfs_.log_bytes; }
  // Whether pages of the log are checked as they are read. REQUIRES: while they are, nothing is
  // uncommitted.
  void check_log(bool check) { vfs_.check_log = check; }
  // Of what is written to the log through it.
  [[nodiscard]] LogHeads& heads() { return heads_; }

 private:
  struct File;
  struct Calls;
  // As SQLite gives it back to the calls.
  struct Vfs {
    sqlite3_vfs base;
    sqlite3_vfs* real;
    sqlite3_int64 log_bytes;
    bool check_log;
    LogHeads* heads;
  };

  Vfs vfs_{};
  LogHeads heads_;
  std::string name_;
};

}  // namespace rq::store::sqlite
