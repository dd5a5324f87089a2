#pragma once
// Rows of the batch as a table that SQL can read: one `INSERT INTO t SELECT * FROM batch_t` writes
// them all, with one cursor and one end of a statement, where a statement for each row spends more
// on starting and ending than on the row.
// Thread: that of the connection.
#include <vector>

#include "store/sqlite/db.h"

namespace rq::store::sqlite {

class BatchRows {
 public:
  // Gives `column` (from 0) of `row` to SQLite; text and blobs need not be copied, they live until
  // the statement ends.
  using Column = void (*)(sqlite3_context* out, const void* row, int column);

  // Makes the table `name` with `columns` columns known to the connection. REQUIRES: *this outlives
  // the connection.
  [[nodiscard]] base::Result<void> attach(Db& db, const char* name, int columns, Column column);

  std::vector<const void*> rows;

 private:
  friend struct BatchTable;

  int columns_ = 0;
  Column column_ = nullptr;
};

}  // namespace rq::store::sqlite
