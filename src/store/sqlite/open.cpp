#include "store/sqlite/open.h"

#include <fmt/format.h>

#include <array>

#include "store/sqlite/reader.h"
#include "store/sqlite/schema.h"
#include "store/sqlite/sqlite_store.h"

namespace rq::store::sqlite {

namespace {

// Once, before the first connection: SQLite counts no memory, which spares a lock at each of its
// allocations.
void configure_once() {
  static const int kConfigured = sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  static_cast<void>(kConfigured);  // refused when something used SQLite before us: only slower
}

}  // namespace

std::unique_ptr<Store> make_store(const std::filesystem::path& file, const Options& options) {
  configure_once();
  return std::make_unique<SqliteStore>(file, options);
}

Result<std::unique_ptr<Reader>> open_reader(const std::filesystem::path& file) {
  auto reader = std::make_unique<SqliteReader>();
  RQ_TRY(reader->open(file));
  return std::unique_ptr<Reader>{std::move(reader)};
}

namespace {

// Each query lists what should not be: one line a row.
constexpr std::array<const char*, 11> kRules{
    "SELECT 'counter of queue ' || q.name || ': ' || c.que || ' in que, the line has ' || "
    "(SELECT coalesce(sum(last_seq - first_seq + 1), 0) FROM ready r WHERE r.queue = q.id) FROM "
    "queue q JOIN counter c ON c.queue = q.id WHERE c.que <> (SELECT coalesce(sum(last_seq - "
    "first_seq + 1), 0) FROM ready r WHERE r.queue = q.id)",
    "SELECT 'counter of queue ' || q.name || ': ' || c.high || ' high, the line has ' || "
    "(SELECT coalesce(sum(last_seq - first_seq + 1), 0) FROM ready r WHERE r.queue = q.id AND "
    "r.rank < 1024) FROM queue q JOIN counter c ON c.queue = q.id WHERE c.high <> (SELECT "
    "coalesce(sum(last_seq - first_seq + 1), 0) FROM ready r WHERE r.queue = q.id AND r.rank < "
    "1024)",
    "SELECT 'counter of queue ' || q.name || ': ' || c.run || ' in run, there are leases: ' || "
    "(SELECT count(*) FROM lease l WHERE l.queue = q.id) FROM queue q JOIN counter c ON c.queue = "
    "q.id WHERE c.run <> (SELECT count(*) FROM lease l WHERE l.queue = q.id)",
    "SELECT 'counter of queue ' || q.name || ': ' || c.scheduled || ' scheduled, there are ' || "
    "(SELECT count(*) FROM scheduled s WHERE s.queue = q.id) FROM queue q JOIN counter c ON "
    "c.queue = q.id WHERE c.scheduled <> (SELECT count(*) FROM scheduled s WHERE s.queue = q.id)",
    "SELECT 'counter of queue ' || q.name || ': ' || (c.done + c.relayed + c.cancelled + c.err) "
    "|| ' finished, there are ' || (SELECT count(*) FROM finished f WHERE f.queue = q.id) FROM "
    "queue q JOIN counter c ON c.queue = q.id WHERE c.done + c.relayed + c.cancelled + c.err <> "
    "(SELECT count(*) FROM finished f WHERE f.queue = q.id)",
    "SELECT 'message ' || m.seq || ' is finished, but not filed so' FROM message m WHERE "
    "m.finished IS NOT NULL AND NOT EXISTS (SELECT 1 FROM finished f WHERE f.queue = m.queue AND "
    "f.kind = CASE WHEN m.rest_state = 'cancelled' THEN 'cancelled' WHEN m.rest_state <> "
    "'err' THEN 'kept' WHEN m.mark = 'held' THEN 'held' ELSE 'err' END AND f.at = m.finished AND "
    "f.seq = m.seq)",
    "SELECT 'message ' || m.seq || ' rests in que, but is in no line and has no lease' FROM "
    "message m WHERE m.rest_state = 'que' AND NOT EXISTS (SELECT 1 FROM lease l WHERE l.seq = "
    "m.seq) AND NOT EXISTS (SELECT 1 FROM ready r WHERE r.queue = m.queue AND r.rank = -m.priority "
    "AND r.ord = coalesce(m.ord, m.due, m.created) AND r.last_seq >= m.seq AND r.first_seq <= "
    "m.seq)",
    "SELECT 'message ' || m.seq || ' rests in ' || m.rest_state || ', but is not parked' FROM "
    "message m WHERE m.rest_state IN ('prep', 'throttled', 'depends') AND NOT EXISTS (SELECT 1 "
    "FROM "
    "parked p WHERE p.queue = m.queue AND p.seq = m.seq)",
    "SELECT 'lease of message ' || l.seq || ', which is not there' FROM lease l WHERE NOT EXISTS "
    "(SELECT 1 FROM message m WHERE m.seq = l.seq)",
    "SELECT 'the line has messages ' || r.first_seq || ' to ' || r.last_seq || ', of which some "
    "are not there or not in que' FROM ready r WHERE r.first_seq > r.last_seq OR r.last_seq - "
    "r.first_seq + 1 <> (SELECT "
    "count(*) FROM message m WHERE m.seq BETWEEN r.first_seq AND r.last_seq AND m.queue = r.queue "
    "AND m.priority = -r.rank AND coalesce(m.ord, m.due, m.created) = r.ord AND m.rest_state = "
    "'que' AND NOT EXISTS (SELECT 1 FROM lease l WHERE "
    "l.seq = m.seq))",
    "SELECT 'the line has messages ' || r.first_seq || ' to ' || r.last_seq || ' twice in part' "
    "FROM ready r WHERE r.first_seq <= (SELECT p.last_seq FROM ready p WHERE p.queue = r.queue AND "
    "p.rank = r.rank AND p.ord = r.ord AND p.last_seq < r.last_seq ORDER BY p.last_seq DESC LIMIT "
    "1)",
};
constexpr std::size_t kFindingsMax = 100;

}  // namespace

Result<std::vector<std::string>> check_store(const std::filesystem::path& file) {
  Db db;
  RQ_TRY(db.open(file, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX));
  RQ_TRY(db.exec("PRAGMA busy_timeout = 5000"));
  std::vector<std::string> findings;
  RQ_TRY_ASSIGN(version, db.one("PRAGMA user_version"));
  if (version.value_or(0) != newest_version()) {
    findings.push_back(
        fmt::format("schema version {}, this rq knows {}", version.value_or(0), newest_version()));
    return findings;
  }
  Statement pages;
  RQ_TRY(pages.prepare(db.handle(), "PRAGMA quick_check", false));
  for (;;) {
    RQ_TRY_ASSIGN(found, pages.step());
    if (!found) break;
    if (pages.text(0) != "ok") findings.emplace_back(pages.text(0));
  }
  // One transaction: the server may go on writing meanwhile.
  RQ_TRY(db.exec("BEGIN"));
  for (const char* rule : kRules) {
    Statement broken;
    RQ_TRY(broken.prepare(db.handle(), rule, false));
    while (findings.size() < kFindingsMax) {
      RQ_TRY_ASSIGN(found, broken.step());
      if (!found) break;
      findings.emplace_back(broken.text(0));
    }
  }
  return findings;
}

}  // namespace rq::store::sqlite
