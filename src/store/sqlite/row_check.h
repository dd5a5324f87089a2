#pragma once
// A row as it stands in a page, against its checksum. Thread: any one.
#include "base/result.h"
#include "core/message.h"
#include "store/sqlite/columns.h"
#include "store/sqlite/db.h"
#include "store/sqlite/raw_file.h"

namespace rq::store::sqlite {

void bind_value(Statement& statement, int at, const RawValue& value);
// The row under the statement, of which the first column is its number.
[[nodiscard]] RawRow row_under(const Statement& statement);

class RowCheck {
 public:
  // Of a store of this version.
  [[nodiscard]] base::Result<void> prepare(Db& db);
  // Messages from this number on have a checksum.
  void set_crc_from(core::Seq crc_from) { crc_from_ = crc_from; }
  // A row of another table than message, detail and queue is unknown, if it looks like one.
  [[nodiscard]] RowFit fit(const RawRow& row);

 private:
  [[nodiscard]] bool is_message(const RawRow& row);
  [[nodiscard]] bool is_detail(const RawRow& row);
  [[nodiscard]] bool is_queue(const RawRow& row);

  Columns message_columns_, detail_columns_, queue_columns_;
  Statement message_, queue_;  // they give what is bound to them, as a SELECT of the table does
  core::Seq crc_from_ = INT64_MAX;
};

}  // namespace rq::store::sqlite
