#include "store/sqlite/why_damaged.h"

#include <fmt/format.h>

#include <set>

#include "store/sqlite/db.h"
#include "store/sqlite/file_bytes.h"
#include "store/sqlite/places.h"
#include "store/sqlite/raw_file.h"
#include "store/sqlite/rows.h"
#include "store/sqlite/schema.h"

namespace rq::store::sqlite {

using base::Code;
using base::fail;
using base::Result;

namespace {

// In a file up to this size a start reads all pages to see what rows go on on: no longer than a
// blink.
constexpr std::size_t kRowsLookedAtMax = 64UL * 1024 * 1024;

// Its tables, views and indexes with their columns, as SQLite understands their text.
Result<std::set<std::string>> schema_of(Db& db) {
  Statement all;
  RQ_TRY(all.prepare(
      db.handle(),
      "SELECT m.type || ' ' || m.name || ' of ' || m.tbl_name || coalesce(': ' || c.cid || ' ' || "
      "c.name || ' ' || c.\"notnull\" || c.pk, '') FROM sqlite_schema m LEFT JOIN "
      "pragma_table_info(m.name) c",
      false));
  std::set<std::string> out;
  for (;;) {
    RQ_TRY_ASSIGN(found, all.step());
    if (!found) return out;
    out.emplace(all.text(0));
  }
}

// One bit in the text of the schema, and SQLite knows no such column. What somebody has added does
// no harm.
Result<void> check_schema(Db& db) {
  Db fresh;
  RQ_TRY(fresh.open(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX));
  RQ_TRY(migrate(fresh));
  RQ_TRY_ASSIGN(wanted, schema_of(fresh));
  RQ_TRY_ASSIGN(there, schema_of(db));
  for (const std::string& item : wanted) {
    if (there.contains(item)) continue;
    return fail(Code::internal, fmt::format("its schema does not have {}", item));
  }
  return {};
}

// What a lease tells has no checksum, and one that is not found, or that nobody gave, has scripts
// run twice. A queue may be an older one, which stands in the page still. And SQLite would write
// over a page in use that the list of free ones names.
Result<void> check_pages(Db& db, const std::filesystem::path& file, const RawFile::Roots& roots) {
  FileBytes bytes;
  RawFile raw;
  const bool can_be_read =
      bytes.open(db, file) && raw.open(bytes, file, roots, LogPart::as_sqlite_reads, std::nullopt);
  if (!can_be_read) return {};  // which is no damage
  if (!raw.has_whole_schema()) return fail(Code::internal, "its schema is damaged");
  const auto look =
      bytes.size() <= kRowsLookedAtMax ? RawFile::Look::rows : RawFile::Look::above_leaves;
  if (bytes.size() <= kLookedAtMax && raw.has_wrong_pages(look)) {
    return fail(Code::internal, "a page is in use twice, or in the list of free pages as well");
  }
  for (const char* table : {"meta", "queue"}) {
    raw.walk(table, {});
    if (raw.broken()) return fail(Code::internal, fmt::format("table {} is damaged", table));
  }
  bool whole = true;
  raw.walk("lease", [&whole](const RawRow& row) {
    whole = whole && std::ssize(row.values) == kLeaseTableColumns;
  });
  return whole && !raw.broken() ? Result<void>{} : fail(Code::internal, "table lease is damaged");
}

// Of a message that is somewhere else; or of none, and one that differs in a bit of its number is
// nowhere. Its script would run twice without a word.
Result<bool> has_wrong_lease(Db& db) {
  const std::string in_line = fmt::format(
      "coalesce((SELECT t.first_seq FROM ready t WHERE t.queue = m.queue AND {} AND t.last_seq >= "
      "m.seq ORDER BY t.last_seq LIMIT 1) <= m.seq, 0)",
      sql_of(core::Place::line).key);
  RQ_TRY_ASSIGN(wrong, db.one(fmt::format(R"sql(
WITH RECURSIVE bit(b) AS (VALUES (1) UNION ALL SELECT b << 1 FROM bit WHERE b < 1 << 40)
SELECT count(*) FROM lease l LEFT JOIN message m ON m.seq = l.seq
 WHERE CASE WHEN m.seq IS NULL THEN EXISTS (
              SELECT 1 FROM bit CROSS JOIN message m ON m.seq = (l.seq | b) - (l.seq & b)
               WHERE m.rest_state = 'que' AND m.seq NOT IN (SELECT seq FROM lease) AND NOT {0})
            ELSE m.rest_state <> 'que' OR m.queue <> l.queue OR {0} END)sql",
                                          in_line)
                                  .c_str()));
  return wrong.value_or(0) != 0;
}

// Each batch writes both.
Result<bool> lacks_leases(Db& db) {
  RQ_TRY_ASSIGN(lacking, db.one(R"sql(
SELECT count(*) FROM counter c
  LEFT JOIN (SELECT queue, count(*) AS n FROM lease GROUP BY queue) l ON l.queue = c.queue
 WHERE c.run > coalesce(l.n, 0))sql"));
  return lacking.value_or(0) != 0;
}

// What is wrong with the leases, though all of it can be read. Empty: nothing.
Result<std::string> wrong_leases(Db& db) {
  RQ_TRY_ASSIGN(wrong, has_wrong_lease(db));
  if (wrong) return std::string{"a lease is of no message that runs"};
  RQ_TRY_ASSIGN(lacking, lacks_leases(db));
  return std::string{lacking ? "a queue has fewer leases than running messages" : ""};
}

// What an opening of the store reads; a row that cannot be read is a fault. False: it is of an
// older version.
Result<bool> try_to_read(Db& db, const std::filesystem::path& file, const RawFile::Roots& roots) {
  RQ_TRY_ASSIGN(version, db.one("PRAGMA user_version"));
  if (version.value_or(0) != newest_version()) {
    RQ_TRY(db.one("SELECT count(*) FROM sqlite_schema"));
    return false;
  }
  RQ_TRY(check_schema(db));
  // Each is looked for by itself, as whoever opens the store does: among keys in a wrong order one
  // may be found twice, and another one not.
  std::int64_t keys = 0;
  for (const char* const key : {"boot", "next_seq", "identity", "crc_from"}) {
    RQ_TRY_ASSIGN(
        one,
        db.one(fmt::format("SELECT 1 FROM meta WHERE key = '{}' AND value >= 0", key).c_str()));
    keys += one.value_or(0);
  }
  RQ_TRY_ASSIGN(numbered, db.one("SELECT coalesce(max(seq), 0) < (SELECT value FROM meta WHERE key "
                                 "= 'next_seq') FROM message"));
  if (keys != 4 || numbered.value_or(0) == 0) {
    return fail(Code::internal, "table meta is damaged");
  }
  RQ_TRY_ASSIGN(lost,
                db.one("SELECT count(*) FROM counter WHERE queue NOT IN (SELECT id FROM queue)"));
  if (lost.value_or(0) != 0) return fail(Code::internal, "a queue has lost its row");
  Statement queues;
  RQ_TRY(queues.prepare(
      db.handle(),
      fmt::format("SELECT {} FROM queue q LEFT JOIN counter c ON c.queue = q.id", kQueueColumns)
          .c_str(),
      false));
  for (;;) {
    RQ_TRY_ASSIGN(found, queues.step());
    if (!found) break;
    RQ_TRY(read_queue(queues));
  }
  // Through their indexes as well.
  for (const char* sql :
       {"SELECT id FROM queue", "SELECT 1 FROM queue WHERE name = ''",
        "SELECT sum(until) FROM lease", "SELECT sum(at) FROM timer",
        "SELECT min(due) FROM scheduled", "SELECT due FROM scheduled WHERE queue = 0",
        "SELECT max(seq) FROM message", "SELECT first_seq FROM ready LIMIT 1",
        "SELECT seq FROM finished LIMIT 1", "SELECT seq FROM detail LIMIT 1",
        "SELECT seq FROM detail WHERE key = ''", "SELECT seq FROM parked LIMIT 1",
        "SELECT seq FROM attempt LIMIT 1", "SELECT seq FROM tag LIMIT 1",
        "SELECT folder FROM waste LIMIT 1", "SELECT count(*) FROM corrupt",
        "SELECT seq FROM sqlite_sequence"}) {
    RQ_TRY(db.one(sql));
  }
  RQ_TRY(check_pages(db, file, roots));
  return true;
}

}  // namespace

Result<WhyDamaged> why_damaged(const std::filesystem::path& file, const RawFile::Roots& roots) {
  Db db;
  RQ_TRY(db.open(file, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX));
  const auto read = try_to_read(db, file, roots);
  const bool damaged = !read && (is_damage(db) || read.error().code == Code::internal ||
                                 sqlite3_errcode(db.handle()) == SQLITE_ERROR);
  if (damaged) return WhyDamaged{.why = read.error().message, .can_be_served = false};
  if (!read || !*read) return WhyDamaged{};
  auto wrong = wrong_leases(db);
  if (wrong) return WhyDamaged{.why = *std::move(wrong)};
  return is_damage(db) ? WhyDamaged{.why = wrong.error().message} : WhyDamaged{};
}

}  // namespace rq::store::sqlite
