#include "store/sqlite/log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <string>

#include "base/fd.h"
#include "store/sqlite/log_check.h"
#include "store/sqlite/rebuild_files.h"
#include "store/sqlite/writer_vfs.h"

namespace rq::store::sqlite {

using base::Code;
using base::Result;

namespace {

// A pass beside the engine is the last one when this is left for the engine to copy, or after so
// many.
constexpr std::int64_t kLastPassFrames = 128;
constexpr int kPassesMax = 4;

sqlite3_file* file_of(Db& db, int& code) {
  sqlite3_file* log = nullptr;
  code = sqlite3_file_control(db.handle(), "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
  const bool open = code == SQLITE_OK && log != nullptr && log->pMethods != nullptr;
  return open ? log : nullptr;
}

}  // namespace

Result<void> Log::open(std::int64_t bytes) {
  bytes_max_ = bytes;
  RQ_TRY(start());
  RQ_TRY(db_.exec("PRAGMA wal_autocheckpoint = 0"));
  RQ_TRY_ASSIGN(page_bytes, db_.one("PRAGMA page_size"));
  page_bytes_ = page_bytes.value_or(page_bytes_);
  heads_.begin(static_cast<std::size_t>(page_bytes_));
  sqlite3_wal_hook(
      db_.handle(),
      [](void* frames, sqlite3*, const char*, int in_log) {
        *static_cast<std::int64_t*>(frames) = in_log;
        return SQLITE_OK;
      },
      &frames_);
  return {};
}

Result<void> Log::open_beside(const std::filesystem::path& file) {
  RQ_TRY_ASSIGN(checkpointer, open_checkpointer(file, heads_));
  checkpointer_ = std::move(checkpointer);
  return {};
}

// SQLite stays with another journal, without an error, where a log cannot work.
Result<void> Log::start() {
  Statement mode;
  RQ_TRY(mode.prepare(db_.handle(), "PRAGMA journal_mode = WAL", false));
  RQ_TRY_ASSIGN(found, mode.step());
  if (found && mode.text(0) == "wal") return {};
  return base::fail(
      Code::internal,
      fmt::format("SQLite cannot keep a write-ahead log here: its journal mode is '{}'",
                  found ? mode.text(0) : ""),
      "put the store on a local file system (not a network share)");
}

Result<void> Log::sync() {
  int code = SQLITE_OK;
  if (sqlite3_file* log = file_of(db_, code)) {
    code = log->pMethods->xSync(log, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY);
  }
  if (code != SQLITE_OK) {
    in_doubt_ = true;
    return fault(nullptr, code, "syncing the log to the disk");
  }
  unsynced_ = false;
  return {};
}

Result<void> Log::renew_if_in_doubt() { return in_doubt_ ? renew() : Result<void>{}; }

// After a failed sync the kernel takes the lost pages of the log for written, and the next sync
// says nothing about them: what is appended then could stand behind a hole. So every page of the
// log is written once more, which makes the kernel write it again; until that is synced, nothing
// goes on.
Result<void> Log::renew() {
  const int code = read([](sqlite3_file& log, const std::string& part, sqlite3_int64 at) {
    return log.pMethods->xWrite(&log, part.data(), static_cast<int>(part.size()), at);
  });
  if (code != SQLITE_OK) return fault(nullptr, code, "writing the log once more");
  RQ_TRY(sync());
  in_doubt_ = false;
  return {};
}

template <typename Each>
int Log::read(Each each) {
  int code = SQLITE_OK;
  sqlite3_int64 size = 0;
  sqlite3_file* log = file_of(db_, code);
  if (log != nullptr) code = log->pMethods->xFileSize(log, &size);
  std::string part;
  for (sqlite3_int64 at = 0; code == SQLITE_OK && at < size;) {
    part.resize(std::min(static_cast<std::size_t>(size - at), kLogPieceBytes));
    const int n = static_cast<int>(part.size());
    code = log->pMethods->xRead(log, part.data(), n, at);
    if (code == SQLITE_OK) code = each(*log, part, at);
    at += n;
  }
  return code;
}

Result<void> Log::write_to(const std::filesystem::path& file) {
  const std::filesystem::path making = file.string() + ".new";
  const base::Fd out(::open(making.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  int code = out.is_open() ? SQLITE_OK : SQLITE_CANTOPEN;
  if (code == SQLITE_OK) {
    code = read([&out](sqlite3_file&, const std::string& part, sqlite3_int64 at) {
      const ssize_t n = ::pwrite(out.get(), part.data(), part.size(), at);
      if (n == std::ssize(part)) return SQLITE_OK;
      return n < 0 && errno != ENOSPC ? SQLITE_IOERR_WRITE : SQLITE_FULL;
    });
  }
  if (code == SQLITE_OK &&
      (::fsync(out.get()) != 0 || std::rename(making.c_str(), file.c_str()) != 0 ||
       FileCalls::real().sync_folder(file.parent_path()))) {
    code = SQLITE_IOERR;
  }
  if (code == SQLITE_OK) return {};
  ::unlink(making.c_str());
  return fault(nullptr, code, fmt::format("writing {}", file.string()));
}

bool Log::wants_copying() const {
  if (damaged_) return false;
  const std::int64_t bytes = frames_ * page_bytes_;
  if (!checkpointer_) return bytes >= bytes_max_;
  switch (checkpointer_->state()) {
    case Checkpointer::State::idle:
      return bytes >= bytes_max_ / 4 * 3;
    case Checkpointer::State::running:
      return bytes >= 2 * bytes_max_;  // it does not keep up
    case Checkpointer::State::done:
      return true;
  }
  return false;
}

void Log::copy_rest() {
  int frames = 0;
  int copied = 0;
  const int code =
      sqlite3_wal_checkpoint_v2(db_.handle(), "main", SQLITE_CHECKPOINT_PASSIVE, &frames, &copied);
  if (code == SQLITE_OK && copied == frames) frames_ = 0;
  note_copy(code);
}

// Busy or failed: the log grows on, and the next batch tries again. A disk that fails shows in the
// next batch, whose words go to those who asked.
void Log::note_copy(int code) {
  if (code == SQLITE_OK || (code & 0xff) == SQLITE_BUSY) return;
  (code == kBadLogPage ? damaged_ : in_doubt_) = true;
}

Result<void> Log::copy_whole() {
  if (checkpointer_ && checkpointer_->state() != Checkpointer::State::idle) {
    static_cast<void>(checkpointer_->finish());
  }
  int frames = 0;
  int copied = 0;
  const int code =
      sqlite3_wal_checkpoint_v2(db_.handle(), "main", SQLITE_CHECKPOINT_FULL, &frames, &copied);
  if (code == SQLITE_OK && copied == frames) return {};
  return fault(db_.handle(), code == SQLITE_OK ? SQLITE_BUSY : code, "copying the log");
}

// Has the log copied beside, again and again while much is added meanwhile: what is left at the end
// stops the engine. False: now is the time for that.
bool Log::pass_beside() {
  if (checkpointer_->state() != Checkpointer::State::idle) {
    const CheckpointDone done = checkpointer_->finish();
    note_copy(done.code);
    if (damaged_) {
      passes_ = 0;
      return true;
    }
    if (done.code != SQLITE_OK) passes_ = kPassesMax;
    if (passes_ >= kPassesMax || frames_ - done.frames <= kLastPassFrames ||
        frames_ * page_bytes_ >= 2 * bytes_max_) {
      passes_ = 0;
      return false;
    }
  }
  ++passes_;
  checkpointer_->start({});
  return true;
}

}  // namespace rq::store::sqlite
