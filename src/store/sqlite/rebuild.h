#pragma once
// A store whose file is damaged, made anew from what can be read of it. Messages, their details,
// leases, attempts and queues are taken over; lines, counters, tags and timers follow from them.
// What does not pass its checksum is set aside into table `corrupt`.
#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"
#include "store/sqlite/db.h"
#include "store/sqlite/identity.h"
#include "store/sqlite/log_frames.h"
#include "store/sqlite/rebuild_files.h"

namespace rq::store::sqlite {

// The store is not open, nor has anybody else it open; no rebuild is unfinished. Rebuilds it when
// its start would fail, or when it is marked. What it was stays beside it. Refused when nothing of
// a store can be found in it. What an operator is to be told; empty: nothing.
[[nodiscard]] base::Result<std::string> rebuild_if_damaged(RebuildFiles& files,
                                                           const Remembered& remembered);
// What is said of a log that is damaged.
[[nodiscard]] std::string damage_of_log(const std::filesystem::path& file, const LogFrames& log);
// While it is open on `db`, which is in no transaction. A copy of what it was stays beside it; a
// fault leaves everything as it was. What an operator is to be told.
[[nodiscard]] base::Result<std::string> rebuild_open(RebuildFiles& files, Db& db,
                                                     const Remembered& remembered,
                                                     std::string_view why);

}  // namespace rq::store::sqlite
