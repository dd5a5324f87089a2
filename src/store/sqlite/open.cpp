#include "store/sqlite/open.h"

#include <fmt/format.h>

#include <optional>

#include "base/json_writer.h"
#include "base/utf8.h"
#include "store/sqlite/check.h"
#include "store/sqlite/identity.h"
#include "store/sqlite/log_frames.h"
#include "store/sqlite/meta.h"
#include "store/sqlite/reader.h"
#include "store/sqlite/rebuild.h"
#include "store/sqlite/schema.h"
#include "store/sqlite/sqlite_store.h"
#include "store/sqlite/store_files.h"

namespace rq::store::sqlite {

namespace {

// Once, before the first connection: SQLite counts no memory, which spares a lock at each of its
// allocations.
void configure_once() {
  static const int kConfigured = sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  static_cast<void>(kConfigured);  // refused when something used SQLite before us: only slower
}

}  // namespace

std::filesystem::path store_file(const std::filesystem::path& dir) { return dir / "db" / "rq.db"; }

StoreFiles store_files(const std::filesystem::path& file) {
  return {.database = file,
          .log = log_of(file),
          .index = index_of(file),
          .identity = identity_of(file)};
}

std::unique_ptr<Store> make_store(const std::filesystem::path& file, const Options& options) {
  configure_once();
  return std::make_unique<SqliteStore>(file, options);
}

Result<std::unique_ptr<Reader>> open_reader(const std::filesystem::path& file) {
  auto reader = std::make_unique<SqliteReader>();
  RQ_TRY(reader->open(file));
  return std::unique_ptr<Reader>{std::move(reader)};
}

Result<void> check_identity(const std::filesystem::path& file) {
  Identity identity(file);
  RQ_TRY(identity.check_file());
  Db db;
  if (!db.open(file, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX)) return {};
  auto meta = read_meta(db);
  if (!meta || !meta->identity || !meta->boot) return {};
  RQ_TRY_ASSIGN(remembered, identity.read());
  const std::string mended = meta->mend(remembered);
  RQ_TRY(identity.check(*meta->identity, *meta->boot));
  if (mended.empty()) return {};
  return base::fail(base::Code::internal, fmt::format("table meta has a wrong bit in {}", mended),
                    "start the server, or restart it: it sets that right");
}

namespace {
constexpr std::size_t kFindingsMax = 1000;  // then it has said enough

// Before SQLite reads it. A server may write it meanwhile: then it is another frame each time that
// is not whole yet.
Result<LogFrames> look_at_log(const std::filesystem::path& file, bool with_index) {
  const auto remembered = Identity(file).read();
  if (!remembered || !remembered->same_run) return LogFrames{};
  const auto read = [&] {
    return read_log_of(file, with_index ? read_index_of(file) : std::optional<LogIndex>{});
  };
  RQ_TRY_ASSIGN(log, read());
  if (!log.is_damaged()) return log;
  RQ_TRY_ASSIGN(again, read());
  return again.whole_bytes == log.whole_bytes && again.told == log.told ? log : LogFrames{};
}

std::optional<std::string> damaged_log(const std::filesystem::path& file) {
  const auto log = look_at_log(file, false);
  if (!log) return log.error().message;
  return log->is_damaged() ? std::optional{damage_of_log(file, *log)} : std::nullopt;
}

// What is damaged may be no text any more.
std::string readable(std::string_view text) {
  if (base::is_utf8(text)) return std::string{text};
  std::string quoted;
  base::append_json_string(quoted, text);
  return quoted.substr(1, quoted.size() - 2);
}
}  // namespace

std::optional<std::string> log_for_the_server(const std::filesystem::path& file) {
  const auto log = look_at_log(file, true);
  return log && log->lacks() ? std::optional{damage_of_log(file, *log)} : std::nullopt;
}

Result<std::vector<std::string>> check_store(const std::filesystem::path& file) {
  const std::optional<std::string> log = damaged_log(file);
  Db db;
  RQ_TRY(db.open(file, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX));
  RQ_TRY(db.exec(kWaitForOthers));
  std::vector<core::Finding> found;
  const auto checked = [&]() -> Result<void> {
    RQ_TRY_ASSIGN(version, db.one("PRAGMA user_version"));
    if (version.value_or(0) != newest_version()) {
      found.push_back({.text = fmt::format("schema version {}, this rq knows {}",
                                           version.value_or(0), newest_version())});
      return {};
    }
    // One transaction: the server may go on writing meanwhile.
    RQ_TRY(db.exec("BEGIN"));
    Check check;
    RQ_TRY(check.prepare(db));
    RQ_TRY(check.pages(found));
    for (bool more = true; more && found.size() < kFindingsMax;) {
      RQ_TRY_ASSIGN(goes_on, check.step(found));
      more = goes_on;
    }
    return {};
  }();
  if (!checked) {
    // What was found before stays damage, whatever has ended the check.
    if (!is_damage(db) && found.empty()) return checked.error();
    const bool is_told = !found.empty() && found.back().text == checked.error().message;
    if (!is_told) found.push_back({.text = checked.error().message});
  }
  std::vector<std::string> findings;
  findings.reserve(found.size() + 2);
  if (log) findings.push_back(*log);
  for (const core::Finding& finding : found) findings.push_back(readable(finding.text));
  if (found.size() >= kFindingsMax) {
    findings.push_back(fmt::format("… after {} findings it has not looked further", found.size()));
  }
  return findings;
}

Result<RowsSetAside> set_aside_in(const std::filesystem::path& file) {
  Db db;
  RQ_TRY(db.open(file, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX));
  RQ_TRY(db.exec(kWaitForOthers));
  Statement rows;
  RQ_TRY(rows.prepare(
      db.handle(),
      "SELECT datetime(at / 1000, 'unixepoch') || ': ' || iif(seq IS NULL, what, 'message ' || seq "
      "|| ' (' || what || ')') || ': ' || why FROM corrupt ORDER BY id DESC LIMIT ?1",
      false));
  rows.bind(1, static_cast<std::int64_t>(kFindingsMax));
  RQ_TRY_ASSIGN(total, db.one("SELECT count(*) FROM corrupt"));
  RowsSetAside out{.total = total.value_or(0)};
  for (;;) {
    RQ_TRY_ASSIGN(found, rows.step());
    if (!found) return out;
    out.newest.push_back(readable(rows.text(0)));
  }
}

}  // namespace rq::store::sqlite
