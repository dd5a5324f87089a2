#pragma once
// The tables and their versions. To change them: add a step to kMigrations (never edit one that has
// shipped), say what changed in docs/STORAGE.md, and let the migration test open the older files.
#include "base/result.h"
#include "store/sqlite/db.h"

namespace rq::store::sqlite {

// Brings an open database to the newest version, in one transaction a step. A database of a newer
// rq is refused.
[[nodiscard]] base::Result<void> migrate(Db& db);

[[nodiscard]] int newest_version();
// Stores of this version and later ones say who they are.
inline constexpr int kIdentityVersion = 4;

}  // namespace rq::store::sqlite
