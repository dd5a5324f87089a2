#pragma once
// A connection and its prepared statements: SQLite's C interface with Results and lifetimes.
// Only for the files of this folder.
#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"

namespace rq::store::sqlite {

// The fault behind a result code of SQLite.
[[nodiscard]] base::Error fault(sqlite3* db, int code, std::string_view doing);

// The database and the files beside it are their owner's alone, whatever the folder; makes it if it
// is not there. SQLite gives new files the mode of the database. What fails here is told by
// opening it.
void keep_private(const std::filesystem::path& file);

// A prepared statement, kept for life. Binds are 1-based, columns 0-based, as in SQLite.
class Statement {
 public:
  Statement() = default;
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&& other) noexcept;
  ~Statement() { sqlite3_finalize(handle_); }

  [[nodiscard]] base::Result<void> prepare(sqlite3* db, const char* sql, bool for_life = true);

  // Text and blobs are not copied: they must live until reset() or run().
  Statement& bind(int at, std::int64_t value) {
    sqlite3_bind_int64(handle_, at, value);
    return *this;
  }
  Statement& bind(int at, std::string_view text) {
    sqlite3_bind_text(handle_, at, text.data() == nullptr ? "" : text.data(),
                      static_cast<int>(text.size()), SQLITE_STATIC);
    return *this;
  }
  Statement& bind_blob(int at, std::string_view bytes) {
    sqlite3_bind_blob(handle_, at, bytes.data() == nullptr ? "" : bytes.data(),
                      static_cast<int>(bytes.size()), SQLITE_STATIC);
    return *this;
  }
  Statement& bind_null(int at) {
    sqlite3_bind_null(handle_, at);
    return *this;
  }
  // Empty text is stored as NULL.
  Statement& bind_text_or_null(int at, std::string_view text) {
    return text.empty() ? bind_null(at) : bind(at, text);
  }

  // True: a row is there. False: no more; the statement is reset.
  [[nodiscard]] base::Result<bool> step();
  // For statements without rows: steps once and resets.
  [[nodiscard]] base::Result<void> run();
  void reset() { sqlite3_reset(handle_); }

  [[nodiscard]] std::int64_t integer(int column) const {
    return sqlite3_column_int64(handle_, column);
  }
  [[nodiscard]] int type(int column) const { return sqlite3_column_type(handle_, column); }
  [[nodiscard]] bool is_null(int column) const { return type(column) == SQLITE_NULL; }
  // Valid until the next step or reset. Empty for NULL.
  [[nodiscard]] std::string_view text(int column) const {
    const void* bytes = sqlite3_column_blob(handle_, column);
    const int size = sqlite3_column_bytes(handle_, column);
    if (bytes == nullptr || size == 0) return {};
    return {static_cast<const char*>(bytes), static_cast<std::size_t>(size)};
  }
  [[nodiscard]] int columns() const { return sqlite3_column_count(handle_); }
  [[nodiscard]] base::Instant instant(int column) const { return base::from_ms(integer(column)); }

 private:
  sqlite3* db_ = nullptr;
  sqlite3_stmt* handle_ = nullptr;
};

class Db {
 public:
  Db() = default;
  Db(const Db&) = delete;
  Db& operator=(const Db&) = delete;
  ~Db() { sqlite3_close_v2(handle_); }

  // `flags` and `vfs` as for sqlite3_open_v2.
  [[nodiscard]] base::Result<void> open(const std::filesystem::path& file, int flags,
                                        const char* vfs = nullptr);
  [[nodiscard]] base::Result<void> exec(const char* sql);
  // The first column of the first row of `sql`; nothing when there is no row.
  [[nodiscard]] base::Result<std::optional<std::int64_t>> one(const char* sql);
  // All statements, whoever has them.
  void reset_all();
  [[nodiscard]] sqlite3* handle() const { return handle_; }

 private:
  sqlite3* handle_ = nullptr;
};

// How long a connection waits while another one has the file to itself, ms: it recovers or resets
// the log.
inline constexpr const char* kWaitForOthers = "PRAGMA busy_timeout = 2000";

// The last call on this connection has found that the file is damaged.
[[nodiscard]] bool is_damage(const Db& db);
// It has found no such table or column: as the store is opened, after its version was looked at,
// the text of the schema is damaged.
[[nodiscard]] bool lacks_schema(const Db& db);

}  // namespace rq::store::sqlite
