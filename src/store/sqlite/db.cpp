#include "store/sqlite/db.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "base/fd.h"
#include "store/sqlite/store_files.h"

namespace rq::store::sqlite {

using base::Code;
using base::Result;

namespace {
// Its beginning tells which one it is; some have a thousand characters.
constexpr std::size_t kSqlShown = 60;
std::string shown(std::string_view sql) {
  if (sql.size() <= kSqlShown) return fmt::format("running '{}'", sql);
  return fmt::format("running '{}…'", sql.substr(0, kSqlShown));
}

std::string_view remedy_of(int primary) {
  switch (primary) {
    case SQLITE_CANTOPEN:
      return "see that it is a file, that file and folder belong to rq, and that enough files may "
             "be open (ulimit -n)";
    case SQLITE_READONLY:
    case SQLITE_PERM:
      return "see that the disk can be written and that file and folder belong to rq";
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return "end what else has the store open: another server, or a program such as sqlite3";
    default:
      return "repeat the request; see the server's log";
  }
}

}  // namespace

base::Error fault(sqlite3* db, int code, std::string_view doing) {
  const std::string words = db != nullptr ? sqlite3_errmsg(db) : sqlite3_errstr(code);
  const int primary = code & 0xff;
  if (primary == SQLITE_FULL) {
    return base::fail(Code::disk_full, fmt::format("no room on the disk while {}", doing),
                      "free some space; nothing was changed");
  }
  if (primary == SQLITE_INTERRUPT) {
    return base::fail(Code::timed_out, "the look-up was stopped", "ask again");
  }
  // The index of the log could not grow: what was written before it may count, or not.
  const int why = db != nullptr && primary == SQLITE_IOERR ? sqlite3_system_errno(db) : 0;
  if (why == ENOSPC || why == EDQUOT) {
    return base::fail(Code::unknown_outcome,
                      fmt::format("no room on the disk while {}: {} ({})", doing, words, code),
                      "free some space; then look whether it was done");
  }
  return base::fail(Code::unknown_outcome,
                    fmt::format("the store failed while {}: {} ({})", doing, words, code),
                    std::string{remedy_of(primary)});
}

void keep_private(const std::filesystem::path& file) {
  constexpr mode_t kOwner = 0600;
  const base::Fd made(
      ::open(file.c_str(), O_RDWR | O_CREAT | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC, kOwner));
  for (const std::filesystem::path& path : files_of(file)) {
    struct stat info {};
    // What a link leads to is somebody else's.
    if (::lstat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode)) ::chmod(path.c_str(), kOwner);
  }
}

Statement::Statement(Statement&& other) noexcept
    : db_(std::exchange(other.db_, nullptr)), handle_(std::exchange(other.handle_, nullptr)) {}

Statement& Statement::operator=(Statement&& other) noexcept {
  std::swap(db_, other.db_);
  std::swap(handle_, other.handle_);
  return *this;
}

Result<void> Statement::prepare(sqlite3* db, const char* sql, bool for_life) {
  db_ = db;
  const int code =
      sqlite3_prepare_v3(db, sql, -1, for_life ? SQLITE_PREPARE_PERSISTENT : 0U, &handle_, nullptr);
  if (code != SQLITE_OK) return fault(db, code, shown(sql));
  return {};
}

Result<bool> Statement::step() {
  const int code = sqlite3_step(handle_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) {
    sqlite3_reset(handle_);
    return false;
  }
  auto error = fault(db_, code, shown(sqlite3_sql(handle_)));
  sqlite3_reset(handle_);
  return error;
}

Result<void> Statement::run() {
  const int code = sqlite3_step(handle_);
  if (code == SQLITE_DONE || code == SQLITE_ROW) {
    sqlite3_reset(handle_);
    return {};
  }
  auto error = fault(db_, code, shown(sqlite3_sql(handle_)));
  sqlite3_reset(handle_);
  return error;
}

Result<void> Db::open(const std::filesystem::path& file, int flags, const char* vfs) {
  const int code = sqlite3_open_v2(file.c_str(), &handle_, flags, vfs);
  if (code != SQLITE_OK) return fault(handle_, code, fmt::format("opening {}", file.string()));
  sqlite3_extended_result_codes(handle_, 1);
  return {};
}

Result<void> Db::exec(const char* sql) {
  const int code = sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return fault(handle_, code, shown(sql));
  return {};
}

Result<std::optional<std::int64_t>> Db::one(const char* sql) {
  Statement statement;
  RQ_TRY(statement.prepare(handle_, sql, false));
  RQ_TRY_ASSIGN(row, statement.step());
  if (!row) return std::optional<std::int64_t>{};
  return std::optional<std::int64_t>{statement.integer(0)};
}

void Db::reset_all() {
  for (sqlite3_stmt* one = nullptr; (one = sqlite3_next_stmt(handle_, one)) != nullptr;) {
    sqlite3_reset(one);
  }
}

bool is_damage(const Db& db) {
  const int code = sqlite3_errcode(db.handle()) & 0xff;
  // What the store writes breaks no constraint, but together with a row that is damaged.
  return code == SQLITE_CORRUPT || code == SQLITE_NOTADB || code == SQLITE_CONSTRAINT;
}

bool lacks_schema(const Db& db) { return (sqlite3_errcode(db.handle()) & 0xff) == SQLITE_ERROR; }

}  // namespace rq::store::sqlite
