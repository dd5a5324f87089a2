#include "store/sqlite/same_files.h"

#include <fcntl.h>
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
  const std::filesystem::path folder = database.has_parent_path() ? database.parent_path() : ".";
  folder_.reset(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  for (std::size_t i = 0; i < files_.size(); ++i) {
    File& file = files_.at(i);
    file.path = paths.at(i);
    file.name = file.path.filename().string();
    file.seen = look_at_file(file.path.c_str());
    if (file.seen.inode == 0 || !folder_.is_open()) {
      return fail(
          Code::internal,
          fmt::format("cannot look at {}: {}", file.path.string(), base::text_of_errno(errno)),
          "see that the disk is well and that the folder belongs to rq");
    }
  }
  return {};
}

SameFiles::Seen SameFiles::look(Db& db, std::int64_t log_bytes) {
  for (std::size_t which = 0; which < files_.size(); ++which) {
    Seen seen = judge(which, look_at_file(files_.at(which).path.c_str()), db, log_bytes);
    if (seen.state != State::same) return seen;
  }
  return {};
}

SameFiles::Seen SameFiles::look_quickly(Db& db, std::int64_t log_bytes) {
  for (const std::size_t which : {kDatabase, kLog}) {
    const FileLook now = look_at_file(folder_.get(), files_.at(which).name.c_str());
    Seen seen = judge(which, now, db, log_bytes);
    if (seen.state != State::same) return seen;
  }
  return {};
}

SameFiles::Seen SameFiles::judge(std::size_t which, const FileLook& now, Db& db,
                                 std::int64_t log_bytes) {
  File& file = files_.at(which);
  const char* const what = which == kDatabase ? "the store"
                           : which == kLog    ? "the log of the store,"
                                              : "the index of the store's log,";
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
