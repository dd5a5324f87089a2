#include "store/sqlite/row_check.h"

#include <fmt/format.h>

#include <string>

#include "store/sqlite/rows.h"

namespace rq::store::sqlite {

using base::Result;

namespace {

// Columns, of which the last one is the checksum; rows of older versions have one less.
constexpr std::ptrdiff_t kMessage = kMessageTableColumns;
constexpr std::ptrdiff_t kDetail = kDetailTableColumns;
constexpr std::ptrdiff_t kQueue = kQueueTableColumns;

std::string give_what_is_bound(int columns) {
  std::string sql = "SELECT ?1";
  for (int i = 2; i <= columns; ++i) sql += fmt::format(", ?{}", i);
  return sql;
}

// The columns of the row but its first one, which is its number. What is not bound is NULL.
void bind_from(Statement& statement, int at, const RawRow& row) {
  for (std::size_t i = 1; i < row.values.size(); ++i) bind_value(statement, at++, row.values[i]);
}

// Tables of rq have no other types.
RawValue value_under(const Statement& statement, int column) {
  const int type = statement.type(column);
  if (type == SQLITE_INTEGER) return statement.integer(column);
  std::string bytes{statement.text(column)};
  if (type == SQLITE_TEXT) return bytes;
  if (type == SQLITE_BLOB) return RawBlob{std::move(bytes)};
  return RawNull{};
}

void clear(Statement& statement, int columns) {
  for (int i = 1; i <= columns; ++i) statement.bind_null(i);
}

}  // namespace

void bind_value(Statement& statement, int at, const RawValue& value) {
  if (const auto* n = std::get_if<std::int64_t>(&value)) {
    statement.bind(at, *n);
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    statement.bind(at, std::string_view{*text});
  } else if (const auto* blob = std::get_if<RawBlob>(&value)) {
    statement.bind_blob(at, blob->bytes);
  } else {
    statement.bind_null(at);
  }
}

RawRow row_under(const Statement& statement) {
  RawRow row{.rowid = statement.integer(0), .values = {RawNull{}}};
  for (int i = 1; i < statement.columns(); ++i) row.values.push_back(value_under(statement, i));
  return row;
}

Result<void> RowCheck::prepare(Db& db) {
  RQ_TRY(message_columns_.read(db, "message"));
  RQ_TRY(detail_columns_.read(db, "detail"));
  RQ_TRY(queue_columns_.read(db, "queue"));
  RQ_TRY(message_.prepare(db.handle(), give_what_is_bound(kMessageColumnCount).c_str()));
  return queue_.prepare(db.handle(), give_what_is_bound(kQueueColumnCount).c_str());
}

bool RowCheck::is_message(const RawRow& row) {
  clear(message_, kMessageColumnCount);
  message_.bind(1, row.rowid);
  bind_from(message_, 2, row);
  const auto there = message_.step();
  const bool fits = there && *there && read_plain_message(message_, crc_from_).has_value();
  message_.reset();
  return fits;
}

bool RowCheck::is_detail(const RawRow& row) {
  clear(message_, kMessageColumnCount);
  message_.bind(1, row.rowid);
  bind_from(message_, kDetailColumn + 1, row);
  const auto there = message_.step();
  const bool fits = there && *there && check_details(message_, crc_from_).has_value();
  message_.reset();
  return fits;
}

bool RowCheck::is_queue(const RawRow& row) {
  clear(queue_, kQueueColumnCount);
  for (int i = static_cast<int>(kQueue) + 1; i <= kQueueColumnCount; ++i) {
    queue_.bind(i, std::int64_t{0});  // its counters
  }
  queue_.bind(1, row.rowid);
  bind_from(queue_, 2, row);
  const auto there = queue_.step();
  bool fits = there && *there;
  if (fits) {
    // Settings of another rq are no damage.
    const auto queue = read_queue(queue_);
    fits = queue || queue.error().code != base::Code::internal;
  }
  queue_.reset();
  return fits;
}

RowFit RowCheck::fit(const RawRow& row) {
  const std::ptrdiff_t columns = std::ssize(row.values);
  const auto like = [columns](std::ptrdiff_t table) {
    return columns == table || columns == table - 1;
  };
  bool fits = false;
  if (like(kMessage)) {
    fits = message_columns_.fit(row) && is_message(row);
  } else if (like(kDetail)) {
    fits = detail_columns_.fit(row) && is_detail(row);
  } else if (like(kQueue)) {
    // As wide as table lease, which has a number there.
    if (std::holds_alternative<std::int64_t>(row.values[1])) return RowFit::unknown;
    fits = queue_columns_.fit(row) && is_queue(row);
  }
  if (!fits) return RowFit::no;
  const bool has_checksum = (columns == kMessage || columns == kDetail || columns == kQueue) &&
                            std::holds_alternative<std::int64_t>(row.values.back());
  if (!has_checksum) return RowFit::unknown;
  return columns == kMessage ? RowFit::yes_in_parts : RowFit::yes;
}

}  // namespace rq::store::sqlite
