#include "store/sqlite/batch_rows.h"

#include <fmt/format.h>

#include <string>

namespace rq::store::sqlite {

// The virtual table, in the form that SQLite wants: base structs first.
struct BatchTable {
  sqlite3_vtab base;
  const BatchRows* rows;

  struct Cursor {
    sqlite3_vtab_cursor base;
    std::size_t at;
  };

  static const BatchRows& rows_of(const sqlite3_vtab_cursor* cursor) {
    return *reinterpret_cast<const BatchTable*>(cursor->pVtab)->rows;
  }
  static Cursor& cursor_of(sqlite3_vtab_cursor* cursor) {
    return *reinterpret_cast<Cursor*>(cursor);
  }

  static int connect(sqlite3* db, void* data, int /*argc*/, const char* const* /*argv*/,
                     sqlite3_vtab** out, char** /*error*/) {
    const auto* rows = static_cast<const BatchRows*>(data);
    std::string sql = "CREATE TABLE batch (c0";
    for (int i = 1; i < rows->columns_; ++i) sql += fmt::format(", c{}", i);
    const int code = sqlite3_declare_vtab(db, (sql + ")").c_str());
    if (code != SQLITE_OK) return code;
    *out = &(new BatchTable{.base = {}, .rows = rows})->base;
    return SQLITE_OK;
  }
  static int disconnect(sqlite3_vtab* table) {
    delete reinterpret_cast<BatchTable*>(table);
    return SQLITE_OK;
  }
  static int best_index(sqlite3_vtab* table, sqlite3_index_info* info) {
    info->estimatedRows =
        static_cast<sqlite3_int64>(reinterpret_cast<BatchTable*>(table)->rows->rows.size());
    return SQLITE_OK;
  }
  static int open(sqlite3_vtab* /*table*/, sqlite3_vtab_cursor** out) {
    *out = &(new Cursor{.base = {}, .at = 0})->base;
    return SQLITE_OK;
  }
  static int close(sqlite3_vtab_cursor* cursor) {
    delete &cursor_of(cursor);
    return SQLITE_OK;
  }
  static int filter(sqlite3_vtab_cursor* cursor, int /*index*/, const char* /*name*/, int /*argc*/,
                    sqlite3_value** /*argv*/) {
    cursor_of(cursor).at = 0;
    return SQLITE_OK;
  }
  static int next(sqlite3_vtab_cursor* cursor) {
    ++cursor_of(cursor).at;
    return SQLITE_OK;
  }
  static int eof(sqlite3_vtab_cursor* cursor) {
    return cursor_of(cursor).at >= rows_of(cursor).rows.size() ? 1 : 0;
  }
  static int column(sqlite3_vtab_cursor* cursor, sqlite3_context* out, int column) {
    const BatchRows& rows = rows_of(cursor);
    rows.column_(out, rows.rows[cursor_of(cursor).at], column);
    return SQLITE_OK;
  }
  static int rowid(sqlite3_vtab_cursor* cursor, sqlite3_int64* out) {
    *out = static_cast<sqlite3_int64>(cursor_of(cursor).at);
    return SQLITE_OK;
  }

  static const sqlite3_module* module() {
    // No xCreate: the table is there by its name alone, and nothing of it is stored.
    static const sqlite3_module kModule = [] {
      sqlite3_module m{};
      m.xConnect = connect;
      m.xBestIndex = best_index;
      m.xDisconnect = disconnect;
      m.xOpen = open;
      m.xClose = close;
      m.xFilter = filter;
      m.xNext = next;
      m.xEof = eof;
      m.xColumn = column;
      m.xRowid = rowid;
      return m;
    }();
    return &kModule;
  }
};

base::Result<void> BatchRows::attach(Db& db, const char* name, int columns, Column column) {
  columns_ = columns;
  column_ = column;
  const int code = sqlite3_create_module_v2(db.handle(), name, BatchTable::module(), this, nullptr);
  if (code != SQLITE_OK) return fault(db.handle(), code, fmt::format("making table {}", name));
  return {};
}

}  // namespace rq::store::sqlite
