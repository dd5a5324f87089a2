#include "store/sqlite/same_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "base/fd.h"

namespace rq::store::sqlite {

using base::Code;
using base::fail;
using base::Result;

namespace {

// Whether the store itself needs no more than that.
bool is_whole(Db& db, std::int64_t bytes) {
  const auto pages = db.one("PRAGMA page_count");
  const auto page_bytes = db.one("PRAGMA page_size");
  return pages && page_bytes && *pages && *page_bytes && **pages > 0 &&
         bytes >= **pages * **page_bytes;
}

}  // namespace

Result<void> SameFiles::remember(const std::filesystem::path& database) {
  const auto paths = files_of(database);
  for (std::size_t i = 0; i < files_.size(); ++i) {
    File& file = files_.at(i);
    file.path = paths.at(i);
    file.seen = look_at_file(file.path.c_str());
    if (file.seen.inode == 0) {
      return fail(
          Code::internal,
          fmt::format("cannot look at {}: {}", file.path.string(), base::text_of_errno(errno)),
          "see that the disk is well and that the folder belongs to rq");
    }
  }
  return {};
}

SameFiles::Seen SameFiles::look(Db& db, std::int64_t log_bytes) {
  Seen seen = look_quickly(db, log_bytes);
  return seen.state == State::same ? look_at(kIndex, db, log_bytes) : seen;
}

SameFiles::Seen SameFiles::look_quickly(Db& db, std::int64_t log_bytes) {
  Seen seen = look_at(kDatabase, db, log_bytes);
  return seen.state == State::same ? look_at(kLog, db, log_bytes) : seen;
}

SameFiles::Seen SameFiles::look_at(std::size_t which, Db& db, std::int64_t log_bytes) {
  File& file = files_.at(which);
  const char* const what = which == kDatabase ? "the store"
                           : which == kLog    ? "the log of the store,"
                                              : "the index of the store's log,";
  const FileLook now = look_at_file(file.path.c_str());
  if (now.device != file.seen.device || now.inode != file.seen.inode) {
    const bool log = which == kLog;
    return {log ? State::log_gone : State::gone,
            fail(Code::unknown_outcome,
                 fmt::format("{} {} is not there any more: somebody has moved, replaced or deleted "
                             "it under the running server",
                             what, file.path.string()),
                 log ? "what was in it is saved now, as the server says: do not put it back"
                 : which == kDatabase ? "put it back and start the server again"
                                      : "start the server again: it is made anew")};
  }
  const std::int64_t expected =
      which == kLog ? std::max(file.seen.bytes, log_bytes) : file.seen.bytes;
  if (now.bytes < expected && !(which == kDatabase && is_whole(db, now.bytes))) {
    return {State::cut,
            fail(Code::unknown_outcome,
                 fmt::format("{} {} was cut from {} to {} bytes under the running server", what,
                             file.path.string(), expected, now.bytes),
                 "what was committed may be lost: start the server again, which makes the store "
                 "anew from what there is; or restore a backup")};
  }
  file.seen = now;
  return {};
}

}  // namespace rq::store::sqlite
