#pragma once
// SQLite's write-ahead log on the writing connection: when it is synced, what follows a failed
// sync, and how it gets back into the database.
// Thread: engine.
#include <cstdint>
#include <filesystem>
#include <memory>

#include "base/result.h"
#include "store/sqlite/checkpointer.h"
#include "store/sqlite/db.h"
#include "store/sqlite/log_heads.h"

namespace rq::store::sqlite {

class Log {
 public:
  Log(Db& db, LogHeads& heads) : db_(db), heads_(heads) {}

  // The connection is open. The log is copied into the database when it has grown to `bytes`.
  [[nodiscard]] base::Result<void> open(std::int64_t bytes);
  // Most of that on a thread of its own.
  [[nodiscard]] base::Result<void> open_beside(const std::filesystem::path& file);

  void committed() { unsynced_ = true; }
  // Something is committed and not synced yet.
  [[nodiscard]] bool unsynced() const { return unsynced_; }
  [[nodiscard]] base::Result<void> sync();
  // A fault may have been one of a sync: renew() before anything else.
  void doubt() { in_doubt_ = true; }
  [[nodiscard]] base::Result<void> renew_if_in_doubt();

  [[nodiscard]] bool wants_copying() const;
  // A page that was to be copied is not as it was written. Nothing is copied until it is mended.
  [[nodiscard]] bool is_damaged() const { return damaged_; }
  void mended() { damaged_ = false; }
  // All of it, at once. Its name is not needed, only that it is still open. REQUIRES: this
  // connection reads nothing.
  [[nodiscard]] base::Result<void> copy_whole();
  // Writes what this connection has open as its log to that file, whole or not at all.
  [[nodiscard]] base::Result<void> write_to(const std::filesystem::path& file);
  // Copies it, or has it copied beside. `wait_for_readers` is called before it starts anew.
  template <typename WaitForReaders>
  void copy(WaitForReaders wait_for_readers) {
    if (checkpointer_ && pass_beside()) return;
    wait_for_readers();
    copy_rest();
  }

 private:
  [[nodiscard]] base::Result<void> start();
  [[nodiscard]] base::Result<void> renew();
  // Calls each(log, bytes, at) for all of it, piece by piece, while that gives SQLITE_OK. The code
  // that ended it.
  template <typename Each>
  [[nodiscard]] int read(Each each);
  [[nodiscard]] bool pass_beside();
  void copy_rest();
  void note_copy(int code);

  Db& db_;
  LogHeads& heads_;
  std::unique_ptr<Checkpointer> checkpointer_;  // null: no thread
  std::int64_t bytes_max_ = 0;
  std::int64_t page_bytes_ = 4096;
  std::int64_t frames_ = 0;  // as of the last commit
  int passes_ = 0;           // begun by the checkpointer since the log was to be copied
  bool unsynced_ = false;
  bool in_doubt_ = false;
  bool damaged_ = false;
};

}  // namespace rq::store::sqlite
