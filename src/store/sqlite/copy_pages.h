#pragma once
// All pages of a store at once, as SQLite reads and writes them.
// Thread: the connections'.
#include <filesystem>

#include "base/result.h"
#include "store/sqlite/db.h"
#include "store/sqlite/rebuild_files.h"
#include "store/sqlite/writer_vfs.h"

namespace rq::store::sqlite {

// All pages of one become those of the other, in one transaction. Neither is in one.
[[nodiscard]] base::Result<void> copy_pages(Db& from, Db& to);

// The log of the store that is open on `db` has a page that is not as it was written, and most
// often SQLite has it still in memory: all pages are written to the log once more, behind the bad
// one. A fault when it is not; then nothing has changed. A copy of the log stays: where. `vfs`: of
// the connection.
[[nodiscard]] base::Result<std::filesystem::path> write_pages_anew(RebuildFiles& files, Db& db,
                                                                   WriterVfs& vfs);

}  // namespace rq::store::sqlite
