#include "store/sqlite/columns.h"

#include <algorithm>

#include "base/check.h"

namespace rq::store::sqlite {

using base::Result;

namespace {

// SQLite would make a text of a number, and so take rows of another table.
bool is_of_type(const RawValue& value, std::string_view type) {
  return (type == "INTEGER" && std::holds_alternative<std::int64_t>(value)) ||
         (type == "TEXT" && std::holds_alternative<std::string>(value)) ||
         (type == "BLOB" && std::holds_alternative<RawBlob>(value));
}

}  // namespace

Result<void> Columns::read(Db& db, std::string_view table) {
  Statement all;
  RQ_TRY(all.prepare(db.handle(),
                     "SELECT name, \"notnull\", type FROM pragma_table_info(?1) ORDER BY cid",
                     false));
  all.bind(1, table);
  for (;;) {
    RQ_TRY_ASSIGN(found, all.step());
    if (!found) return {};
    names.emplace_back(all.text(0));
    never_null.push_back(all.integer(1) != 0);
    types.emplace_back(all.text(2));
  }
}

std::size_t Columns::at(std::string_view name) const {
  const auto found = std::find(names.begin(), names.end(), name);
  RQ_CHECK(found != names.end());
  return static_cast<std::size_t>(found - names.begin());
}

bool Columns::fit(const RawRow& row) const {
  const std::size_t n = row.values.size();
  if (n == 0 || n > types.size()) return false;
  for (std::size_t i = 0; i < n; ++i) {
    const bool is_null = std::holds_alternative<RawNull>(row.values[i]);
    if (is_null ? never_null[i] : !is_of_type(row.values[i], types[i])) return false;
  }
  return true;
}

}  // namespace rq::store::sqlite
