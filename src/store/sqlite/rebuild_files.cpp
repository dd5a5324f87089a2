#include "store/sqlite/rebuild_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <utility>

#include "base/fd.h"
#include "store/sqlite/open.h"
#include "store/sqlite/store_files.h"
#include "store/sqlite/writer_vfs.h"

namespace rq::store::sqlite {

using base::Code;
using base::Result;
namespace fs = std::filesystem;

namespace {

constexpr int kDamagedKept = 3;  // then the last one is replaced
// A line of the mark.
constexpr std::string_view kWholeLog = "its log is damaged, and to be read to its end";

fs::path with(const fs::path& file, std::string_view ending) {
  return file.string() + std::string{ending};
}

bool is_there(const fs::path& file) {
  std::error_code none;
  return fs::exists(file, none);
}

}  // namespace

// --- Calls ---

FileCalls& FileCalls::real() {
  static FileCalls calls;
  return calls;
}

std::error_code FileCalls::rename(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  return error;
}

std::error_code FileCalls::remove(const fs::path& file) {
  std::error_code error;
  fs::remove(file, error);
  return error;
}

std::error_code FileCalls::copy(FileBytes& from, const fs::path& to) {
  const base::Fd out(::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  const auto failed = [] { return std::error_code{errno, std::generic_category()}; };
  if (!out.is_open()) return failed();
  for (std::size_t at = 0; at < from.size();) {
    const auto piece = from.read(at, std::min(from.size() - at, kLogPieceBytes));
    if (!piece) return std::make_error_code(std::errc::io_error);
    const ssize_t n = ::pwrite(out.get(), piece->data(), piece->size(), static_cast<off_t>(at));
    if (n < 0) return failed();
    if (n == 0) return std::make_error_code(std::errc::no_space_on_device);
    at += static_cast<std::size_t>(n);
  }
  return ::fsync(out.get()) == 0 ? std::error_code{} : failed();
}

std::error_code FileCalls::sync_folder(const fs::path& folder) {
  const base::Fd opened(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (opened.is_open() && ::fsync(opened.get()) == 0) return {};
  return {errno, std::generic_category()};
}

// --- Names ---

RebuildFiles::RebuildFiles(fs::path file, FileCalls& calls)
    : file_(std::move(file)), calls_(calls) {}

fs::path RebuildFiles::making() const { return with(file_, ".making"); }

fs::path RebuildFiles::fresh(int n) const {
  const fs::path& of = is_there(file_) ? file_ : damaged(n);
  return with(file_, fmt::format(".fresh-{}-{}", n, look_at_file(of.c_str()).inode));
}

fs::path RebuildFiles::damaged(int n) const { return with(file_, fmt::format(".damaged-{}", n)); }

std::optional<int> RebuildFiles::fresh() const {
  for (int n = 1; n <= kDamagedKept; ++n) {
    if (is_there(fresh(n))) return n;
  }
  return std::nullopt;
}

// --- The mark ---

bool RebuildFiles::mark(std::string_view why) const {
  if (!is_marked()) std::ofstream{rebuild_mark(file_)} << why << '\n';
  return is_marked();
}

Result<void> RebuildFiles::mark_log(std::string_view why) const {
  mark(why);
  const base::Fd file(::open(rebuild_mark(file_).c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  const std::string line = fmt::format("{}\n", kWholeLog);
  errno = file.is_open() ? ENOSPC : errno;
  if (!file.is_open() || ::write(file.get(), line.data(), line.size()) != std::ssize(line) ||
      ::fsync(file.get()) != 0) {
    return cannot("write", rebuild_mark(file_), {errno, std::generic_category()});
  }
  return sync_folder();
}

bool RebuildFiles::wants_whole_log() const {
  std::ifstream in{rebuild_mark(file_)};
  for (std::string line; std::getline(in, line);) {
    if (line == kWholeLog) return true;
  }
  return false;
}

std::string RebuildFiles::marked_why() const {
  std::string why;
  std::ifstream in{rebuild_mark(file_)};
  std::getline(in, why);
  return why;
}

bool RebuildFiles::is_marked() const { return is_there(rebuild_mark(file_)); }

// One that stays asks for one more rebuild, which does no harm.
void RebuildFiles::unmark() { static_cast<void>(calls_.remove(rebuild_mark(file_))); }

// --- Steps ---

RebuildFiles::Next RebuildFiles::next() const {
  if (!fresh()) return Next::nothing;
  if (is_there(file_)) return Next::keep_store;
  if (is_there(log_of(file_))) return Next::keep_log;
  return Next::take_place;
}

Result<void> RebuildFiles::finish() {
  for (;;) {
    const Next step = next();
    if (step == Next::nothing) {
      static_cast<void>(clear_making());  // somebody may have died at it
      return {};
    }
    const int n = fresh().value_or(0);
    kept_ = damaged(n);
    switch (step) {
      case Next::nothing:
        break;
      case Next::keep_store:
        RQ_TRY(rename(file_, kept_));
        break;
      case Next::keep_log:
        RQ_TRY(rename(log_of(file_), log_of(kept_)));
        break;
      case Next::take_place:
        // SQLite would take what is left of the old log's index, or of the log, for the new one's.
        RQ_TRY(remove(index_of(file_)));
        unmark();
        RQ_TRY(sync_folder());
        RQ_TRY(rename(fresh(n), file_));
        RQ_TRY(sync_folder());
        break;
    }
  }
}

Result<void> RebuildFiles::take_over() {
  RQ_TRY_ASSIGN(n, make_room());
  RQ_TRY(rename(making(), fresh(n)));
  RQ_TRY(sync_folder());
  return finish();
}

Result<void> RebuildFiles::copy_damaged(FileBytes& database) {
  RQ_TRY_ASSIGN(n, make_room());
  const fs::path kept = damaged(n);
  auto copied = [&]() -> Result<void> {
    RQ_TRY(copy(database, kept));
    FileBytes log;
    RQ_TRY(log.open(log_of(file_)));
    return is_there(log_of(file_)) ? copy(log, log_of(kept)) : Result<void>{};
  }();
  if (!copied) {  // half of a copy is of no use
    static_cast<void>(calls_.remove(log_of(kept)));
    static_cast<void>(calls_.remove(kept));
    return copied;
  }
  kept_ = kept;
  return {};
}

Result<fs::path> RebuildFiles::copy_log() {
  RQ_TRY_ASSIGN(n, make_room());
  const fs::path kept = log_of(damaged(n));
  FileBytes log;
  RQ_TRY(log.open(log_of(file_)));
  auto copied = [&]() -> Result<void> {
    RQ_TRY(copy(log, kept));
    return sync_folder();
  }();
  if (copied) return kept;
  static_cast<void>(calls_.remove(kept));
  return std::move(copied).error();
}

Result<void> RebuildFiles::clear_making() {
  for (const fs::path& part : files_of(making())) RQ_TRY(remove(part));
  return remove(with(making(), "-journal"));
}

// The first number of which nothing is there; or the last one, when that has gone.
Result<int> RebuildFiles::make_room() {
  for (int n = 1; n < kDamagedKept; ++n) {
    if (!is_there(damaged(n)) && !is_there(log_of(damaged(n)))) return n;
  }
  RQ_TRY(remove(log_of(damaged(kDamagedKept))));
  RQ_TRY(remove(damaged(kDamagedKept)));
  return kDamagedKept;
}

Result<void> RebuildFiles::rename(const fs::path& from, const fs::path& to) {
  const auto error = calls_.rename(from, to);
  return error ? cannot("rename", from, error) : Result<void>{};
}

Result<void> RebuildFiles::remove(const fs::path& file) {
  const auto error = calls_.remove(file);
  return error ? cannot("delete", file, error) : Result<void>{};
}

Result<void> RebuildFiles::copy(FileBytes& from, const fs::path& to) {
  const auto error = calls_.copy(from, to);
  return error ? cannot("copy what is damaged to", to, error) : Result<void>{};
}

Result<void> RebuildFiles::sync_folder() const {
  const auto error = calls_.sync_folder(file_.parent_path());
  return error ? cannot("sync", file_.parent_path(), error) : Result<void>{};
}

base::Error RebuildFiles::cannot(std::string_view what, const fs::path& file,
                                 const std::error_code& error) const {
  return base::fail(
      error == std::errc::no_space_on_device ? Code::disk_full : Code::internal,
      fmt::format("cannot {} {}: {}", what, file.string(), error.message()),
      fmt::format("see that {} has room and belongs to rq", file_.parent_path().string()));
}

fs::path rebuild_mark(const fs::path& file) { return with(file, ".rebuild"); }

}  // namespace rq::store::sqlite
