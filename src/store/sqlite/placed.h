#pragma once
// Of a rebuild: which messages the line and the other places name, and which of them were running.
// On disk, for there may be as many as messages. Thread: the connection's.
#include <cstdint>
#include <functional>
#include <map>

#include "base/result.h"
#include "core/queue.h"
#include "store/sqlite/db.h"

namespace rq::store::sqlite {

class Placed {
 public:
  // In the transaction of the rebuild.
  [[nodiscard]] base::Result<void> open(Db& db);
  [[nodiscard]] base::Result<void> add(core::Seq first, core::Seq last);
  // All were added.
  [[nodiscard]] base::Result<void> index();
  // A place or a lease names it.
  [[nodiscard]] bool names(core::Seq seq);
  // A lease of it can be true: the message is there, waits by its own row, and no place names it.
  [[nodiscard]] bool may_run(core::Seq seq);
  // Calls each() for those that are named and not there.
  using Each = std::function<base::Result<void>(core::Seq seq)>;
  [[nodiscard]] base::Result<void> missing(const Each& each);

  // `running`: how many messages of each queue had a lease. Where there are fewer leases now that
  // can be true, the messages that nothing names were running. A lease with one wrong bit in its
  // number is theirs again. The others get one that has ended, so that they are told as lost before
  // they run again; what cannot be true goes then.
  [[nodiscard]] base::Result<void> mend_leases(
      const std::map<core::QueueId, std::int64_t>& running);
  [[nodiscard]] base::Result<void> close();

 private:
  Db* db_ = nullptr;
  Statement add_, names_, may_run_;
};

}  // namespace rq::store::sqlite
