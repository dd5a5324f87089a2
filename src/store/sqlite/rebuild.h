#pragma once
// A store whose file is damaged, made anew from what can be read of it. Messages, their details,
// leases, attempts and queues are taken over; lines, counters, tags and timers follow from them.
// What does not pass its checksum is set aside into table `corrupt`.
#include <filesystem>

#include "base/result.h"
#include "store/sqlite/db.h"
#include "store/sqlite/identity.h"

namespace rq::store::sqlite {

// `file` is not open, nor has anybody else it open. Puts a store in its place that was rebuilt
// before the server died.
[[nodiscard]] base::Result<void> finish_rebuild(const std::filesystem::path& file);
// Likewise. Rebuilds it when its start would fail, or when rebuild_mark(file) is there. What it was
// stays beside it: `file` with `.damaged-1` and so on. Refused when nothing of a store can be found
// in it.
[[nodiscard]] base::Result<void> rebuild_if_damaged(const std::filesystem::path& file,
                                                    const Remembered& remembered);
// While it is open on `db`, which is in no transaction. A copy of what it was stays beside it.
[[nodiscard]] base::Result<void> rebuild_open(const std::filesystem::path& file, Db& db,
                                              const Remembered& remembered);

}  // namespace rq::store::sqlite
