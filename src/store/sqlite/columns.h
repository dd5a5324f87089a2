#pragma once
// The columns of a table, in the order of its rows. Thread: any one.
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "store/sqlite/db.h"
#include "store/sqlite/raw_file.h"

namespace rq::store::sqlite {

struct Columns {
  std::vector<std::string> names;
  std::vector<std::string> types;
  std::vector<bool> never_null;

  [[nodiscard]] base::Result<void> read(Db& db, std::string_view table);
  [[nodiscard]] std::size_t at(std::string_view name) const;
  // Whether the table takes such values: it keeps the types. The first one may be the number of the
  // row, which stands elsewhere; the last ones may be missing.
  [[nodiscard]] bool fit(const RawRow& row) const;
};

}  // namespace rq::store::sqlite
