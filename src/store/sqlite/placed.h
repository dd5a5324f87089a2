#pragma once
// Of a rebuild: which messages the line and the other places name, and which of them were running.
// On disk, for there may be as many as messages. Thread: the connection's.
#include <cstdint>
#include <functional>
#include <map>
#include <string_view>

#include "base/result.h"
#include "core/queue.h"
#include "store/sqlite/db.h"

namespace rq::store::sqlite {

class Placed {
 public:
  // Messages that a row of a narrow table names, and what it says of them.
  struct Run {
    core::Seq first = 0;
    core::Seq last = 0;
    std::string_view place;  // as place_sql() says
    std::int64_t rank = 0;
    std::int64_t time = 0;
  };
  // In the transaction of the rebuild.
  [[nodiscard]] base::Result<void> open(Db& db);
  [[nodiscard]] base::Result<void> add(const Run& run);
  // All were added.
  [[nodiscard]] base::Result<void> index();
  // A place or a lease names it.
  [[nodiscard]] base::Result<bool> names(core::Seq seq);
  // A lease of this attempt that may have been deleted can be true: the message is there, waits by
  // its own row for that attempt, and no place names it.
  [[nodiscard]] base::Result<bool> may_run(core::Seq seq, std::int64_t attempt);
  // The row of that message is as the place or the lease says that names it.
  [[nodiscard]] base::Result<bool> agrees(core::Seq seq);
  // Calls each() for those that are named and not there.
  using Each = std::function<base::Result<void>(core::Seq seq)>;
  [[nodiscard]] base::Result<void> missing(const Each& each);

  // `running`: how many messages of each queue had a lease. Where so many leases are missing now,
  // the messages that nothing names were running. A lease with one wrong bit in its number is
  // theirs again. The others get one that has ended, so that they are told as lost before they run
  // again; what cannot be true goes then. Are there more such messages than missing leases, a page
  // of the line is lost or old, and they wait. `sound`: nothing was wrong with the pages of the
  // leases. Then a lease is believed rather than the line.
  [[nodiscard]] base::Result<void> mend_leases(const std::map<core::QueueId, std::int64_t>& running,
                                               bool sound);
  [[nodiscard]] base::Result<void> close();

 private:
  Db* db_ = nullptr;
  Statement add_, names_, may_run_, agrees_;
};

}  // namespace rq::store::sqlite
