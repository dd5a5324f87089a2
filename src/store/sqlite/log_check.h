#pragma once
// SQLite looks at the checksums of a log when it opens it, and never again: a bit that changes
// under the running server would be copied into the database with its page. So whoever copies the
// log looks at each page that it has read.
// Thread: that of the file.
#include <sqlite3.h>

#include "store/sqlite/log_heads.h"

namespace rq::store::sqlite {

// What becomes of a page that is not as it was written.
inline constexpr int kBadLogPage = SQLITE_IOERR_DATA;

// xRead of the log has given these bytes: kBadLogPage when they are a page that does not pass the
// checksum of its frame. REQUIRES: that frame is committed.
[[nodiscard]] int check_log_page(sqlite3_file& log, const LogHeads& heads, const void* read,
                                 int bytes, sqlite3_int64 at);

}  // namespace rq::store::sqlite
