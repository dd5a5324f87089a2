#pragma once
// A store whose file is damaged, made anew from what can be read of it. Messages, their details,
// leases, attempts and queues are taken over; lines, counters, tags and timers follow from them.
// What does not pass its checksum is set aside into table `corrupt`.
#include <filesystem>
#include <string>

#include "base/result.h"
#include "core/message.h"
#include "store/sqlite/db.h"

namespace rq::store::sqlite {

// What is known of it from elsewhere.
struct Known {
  std::int64_t identity = 0;  // 0: nothing
  core::Boot boot = 0;        // boots up to it may have been taken
  std::string why;            // it is rebuilt
};

// Before `file` is opened, and nobody has it open. Rebuilds it when its start would fail, or when
// rebuild_mark(file) is there. What it was stays beside it: `file` with `.damaged-1` and so on.
// Refused when nothing of a store can be found in it.
[[nodiscard]] base::Result<void> rebuild_if_damaged(const std::filesystem::path& file,
                                                    Known known);
// While it is open on `db`, which is in no transaction. A copy of what it was stays beside it.
[[nodiscard]] base::Result<void> rebuild_open(const std::filesystem::path& file, Db& db,
                                              const Known& known);

}  // namespace rq::store::sqlite
