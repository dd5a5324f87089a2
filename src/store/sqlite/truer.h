#pragma once
// Of a rebuild: which one counts where two pages have a row of the same message, or of its details.
// Thread: the connection's.
#include <string_view>

#include "base/result.h"
#include "core/message.h"
#include "store/sqlite/db.h"
#include "store/sqlite/placed.h"
#include "store/sqlite/row_check.h"

namespace rq::store::sqlite {

class Truer {
 public:
  Truer(Placed& placed, RowCheck& check) : placed_(placed), check_(check) {}
  // The tables of the new store are there, and the places are known.
  [[nodiscard]] base::Result<void> prepare(Db& db);
  // Of the row that is there now; the higher, the truer. A message agrees with its place first of
  // all, and then with its checksum. Details agree with their checksum, and then with how the last
  // attempt has ended.
  [[nodiscard]] base::Result<int> rank_message(core::Seq seq);
  [[nodiscard]] base::Result<int> rank_detail(core::Seq seq);

 private:
  [[nodiscard]] base::Result<bool> fits(Statement& row, core::Seq seq);

  Placed& placed_;
  RowCheck& check_;
  Statement message_, detail_, ended_;
};

}  // namespace rq::store::sqlite
