#pragma once
// What follows from messages, details, leases and queues: lines and other places, counters, tags
// and timers. Of a rebuild, in its transaction.
#include "base/result.h"
#include "store/sqlite/db.h"

namespace rq::store::sqlite {

// Whatever else there is of them goes. REQUIRES: these tables are empty, and each queue has a row
// in table counter, with its totals.
[[nodiscard]] base::Result<void> derive(Db& db);

}  // namespace rq::store::sqlite
