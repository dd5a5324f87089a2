#include "store/sqlite/same_files.h"

#include <fmt/format.h>
#include <sys/stat.h>

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
  constexpr std::array kEnds{"", "-wal", "-shm"};
  for (std::size_t i = 0; i < files_.size(); ++i) {
    File& file = files_.at(i);
    file.path = database.string() + kEnds.at(i);
    struct stat now {};
    if (::stat(file.path.c_str(), &now) != 0) {
      return fail(
          Code::internal,
          fmt::format("cannot look at {}: {}", file.path.string(), base::text_of_errno(errno)),
          "see that the disk is well and that the folder belongs to rq");
    }
    file.device = now.st_dev;
    file.inode = now.st_ino;
    file.bytes = now.st_size;
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
  struct stat now {};
  if (::stat(file.path.c_str(), &now) != 0 || now.st_dev != file.device ||
      now.st_ino != file.inode) {
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
  const std::int64_t expected = which == kLog ? std::max(file.bytes, log_bytes) : file.bytes;
  if (now.st_size < expected && !(which == kDatabase && is_whole(db, now.st_size))) {
    return {State::cut,
            fail(Code::unknown_outcome,
                 fmt::format("{} {} was cut from {} to {} bytes under the running server", what,
                             file.path.string(), expected, now.st_size),
                 "what was committed may be lost: start the server again, which makes the store "
                 "anew from what there is; or restore a backup")};
  }
  file.bytes = now.st_size;
  return {};
}

}  // namespace rq::store::sqlite
