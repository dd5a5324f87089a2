#include "store/sqlite/same_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

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

// Without its times: who asks for them makes the next write give it finer ones, which the next sync
// then has to write as well. False: errno says why not.
bool look_at_file(const std::filesystem::path& path, struct statx& now) {
  return ::statx(AT_FDCWD, path.c_str(), 0, STATX_INO | STATX_SIZE, &now) == 0;
}

dev_t device_of(const struct statx& file) {
  return makedev(file.stx_dev_major, file.stx_dev_minor);
}

}  // namespace

FileSize size_of(const char* path) {
  struct statx now {};
  if (!look_at_file(path, now)) return {};
  return {.inode = now.stx_ino, .bytes = static_cast<std::int64_t>(now.stx_size)};
}

Result<void> SameFiles::remember(const std::filesystem::path& database) {
  constexpr std::array kEnds{"", "-wal", "-shm"};
  for (std::size_t i = 0; i < files_.size(); ++i) {
    File& file = files_.at(i);
    file.path = database.string() + kEnds.at(i);
    struct statx now {};
    if (!look_at_file(file.path, now)) {
      return fail(
          Code::internal,
          fmt::format("cannot look at {}: {}", file.path.string(), base::text_of_errno(errno)),
          "see that the disk is well and that the folder belongs to rq");
    }
    file.device = device_of(now);
    file.inode = now.stx_ino;
    file.bytes = static_cast<std::int64_t>(now.stx_size);
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
  struct statx now {};
  if (!look_at_file(file.path, now) || device_of(now) != file.device || now.stx_ino != file.inode) {
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
  const auto bytes = static_cast<std::int64_t>(now.stx_size);
  const std::int64_t expected = which == kLog ? std::max(file.bytes, log_bytes) : file.bytes;
  if (bytes < expected && !(which == kDatabase && is_whole(db, bytes))) {
    return {State::cut,
            fail(Code::unknown_outcome,
                 fmt::format("{} {} was cut from {} to {} bytes under the running server", what,
                             file.path.string(), expected, bytes),
                 "what was committed may be lost: start the server again, which makes the store "
                 "anew from what there is; or restore a backup")};
  }
  file.bytes = bytes;
  return {};
}

}  // namespace rq::store::sqlite
