#include "store/sqlite/identity.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#include "base/fd.h"
#include "base/machine.h"

namespace rq::store::sqlite {

using base::Code;
using base::fail;
using base::Result;

namespace {

base::Error cannot(std::string_view what, const std::filesystem::path& file) {
  const bool full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
  return fail(full ? Code::disk_full : Code::internal,
              fmt::format("cannot {} {}: {}", what, file.string(), base::text_of_errno(errno)),
              full ? "free some space on that disk"
                   : "see that the disk is well and that the folder belongs to rq");
}

// Stands at the end, where an older rq reads no further.
constexpr std::string_view kMachine = "machine";

}  // namespace

Identity::Identity(std::filesystem::path file)
    : file_(std::move(file)), beside_(file_.string() + ".identity") {}

Result<void> Identity::check_file() const {
  RQ_TRY_ASSIGN(written, read());
  struct stat now {};
  const bool has_content = ::stat(file_.c_str(), &now) == 0 && now.st_size > 0;
  if (!written.any || has_content) return {};
  return not_the_one("is gone or empty");
}

Result<void> Identity::check(std::int64_t identity, core::Boot boot) {
  RQ_TRY_ASSIGN(written, read());
  if (written.any && written.identity != identity) return not_the_one("is another one");
  if (written.any && written.boot > boot) return not_the_one("is older than it was");
  identity_ = identity;
  return {};
}

Result<void> Identity::remember(core::Boot boot, Db& db) const {
  Remembered now{.any = true, .identity = identity_, .boot = boot};
  Statement tables;
  RQ_TRY(tables.prepare(
      db.handle(), "SELECT name, rootpage FROM sqlite_schema WHERE type = 'table' AND rootpage > 0",
      false));
  for (;;) {
    RQ_TRY_ASSIGN(found, tables.step());
    if (!found) return write(now);
    now.roots.emplace(tables.text(0), static_cast<std::uint32_t>(tables.integer(1)));
  }
}

base::Error Identity::not_the_one(const char* what) const {
  return fail(
      Code::internal,
      fmt::format("the store {} {} ({} remembers it)", file_.string(), what, beside_.string()),
      fmt::format("restore it with its -wal file; or, if it is meant to be so (a backup, a "
                  "new beginning), delete {}",
                  beside_.string()));
}

Result<Remembered> Identity::read() const {
  std::ifstream in{beside_};
  if (!in) return Remembered{};
  Remembered written{.any = true};
  if (in >> written.identity >> written.boot) {
    std::string table;
    std::uint32_t root = 0;
    while (in >> table && table != kMachine && in >> root) written.roots[table] = root;
    std::string run;
    written.same_run = in >> run && run == base::run_of_machine();
    return written;
  }
  return fail(Code::internal, fmt::format("{} is damaged", beside_.string()),
              "delete it, if the store beside it is the right one");
}

// Whole or not at all: beside it, synced, renamed.
Result<void> Identity::write(const Remembered& written) const {
  std::string text = fmt::format("{} {}\n", written.identity, written.boot);
  for (const auto& [table, root] : written.roots) text += fmt::format("{} {}\n", table, root);
  if (const std::string run = base::run_of_machine(); !run.empty()) {
    text += fmt::format("{} {}\n", kMachine, run);
  }
  const std::string fresh = beside_.string() + ".new";
  const base::Fd file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file.is_open()) return cannot("write", fresh);
  const ssize_t written_bytes = ::write(file.get(), text.data(), text.size());
  if (written_bytes >= 0 && static_cast<std::size_t>(written_bytes) < text.size()) errno = ENOSPC;
  if (written_bytes != static_cast<ssize_t>(text.size()) || ::fdatasync(file.get()) != 0 ||
      ::rename(fresh.c_str(), beside_.c_str()) != 0)
    return cannot("write", beside_);
  const base::Fd folder(::open(beside_.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.is_open() || ::fsync(folder.get()) != 0) {
    return cannot("sync", beside_.parent_path());
  }
  return {};
}

}  // namespace rq::store::sqlite
