#include "store/sqlite/placed.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "store/sqlite/places.h"

namespace rq::store::sqlite {

using base::Result;
using core::Seq;

namespace {

// Of a run of the line: more are not named one by one.
constexpr Seq kLostNamedMax = 100'000;

// The run p has that number. Old pages give runs that overlap: those of which one may have it begin
// with the first whose `reach` is so far.
std::string has_sql(std::string_view seq) {
  return fmt::format(
      "p.first <= {0} AND p.last >= {0} AND p.first >= "
      "(SELECT x.first FROM placed x WHERE x.reach >= {0} ORDER BY x.reach, x.first LIMIT 1)",
      seq);
}

// A place other than a lease names that message.
std::string is_placed_sql(std::string_view seq) {
  return fmt::format("EXISTS (SELECT 1 FROM placed p WHERE {})", has_sql(seq));
}

// The lease l is of a message that waits, which is not placed too.
std::string runs_alone_sql() {
  return fmt::format(
      "EXISTS (SELECT 1 FROM message m WHERE m.seq = l.seq AND m.rest_state = 'que') AND NOT {}",
      is_placed_sql("l.seq"));
}

// The lease l is of the attempt that is next.
constexpr std::string_view kIsNextSql =
    "EXISTS (SELECT 1 FROM message m WHERE m.seq = l.seq AND m.rest_state = 'que' AND l.attempt = "
    "m.attempts + 1)";

Result<bool> says_yes(Statement& asked) {
  RQ_TRY_ASSIGN(found, asked.step());
  const bool yes = found && asked.integer(0) != 0;
  asked.reset();
  return yes;
}

}  // namespace

Result<void> Placed::open(Db& db) {
  db_ = &db;
  RQ_TRY(
      db.exec("CREATE TABLE placed (first INTEGER NOT NULL, last INTEGER NOT NULL, place TEXT NOT "
              "NULL, rank INTEGER NOT NULL, time INTEGER NOT NULL)"));
  return add_.prepare(db.handle(), "INSERT INTO placed VALUES (?1, ?2, ?3, ?4, ?5)");
}

Result<void> Placed::add(const Run& run) {
  add_.bind(1, run.first).bind(2, run.last).bind(3, run.place);
  return add_.bind(4, run.rank).bind(5, run.time).run();
}

Result<void> Placed::index() {
  add_ = Statement{};
  // `reach`: how far this run goes, or one that begins before it.
  RQ_TRY(db_->exec(R"sql(
CREATE TABLE placed_in_order AS
SELECT *, max(last) OVER (ORDER BY first, last) AS reach FROM placed;
DROP TABLE placed;
ALTER TABLE placed_in_order RENAME TO placed;
CREATE INDEX placed_first ON placed (first);
CREATE INDEX placed_reach ON placed (reach, first);
)sql"));
  RQ_TRY(names_.prepare(
      db_->handle(),
      fmt::format("SELECT {} OR EXISTS (SELECT 1 FROM lease WHERE seq = ?1)", is_placed_sql("?1"))
          .c_str()));
  RQ_TRY(may_run_.prepare(
      db_->handle(),
      fmt::format("SELECT 1 FROM (SELECT ?1 AS seq, ?2 AS attempt) l WHERE {} AND {}", kIsNextSql,
                  runs_alone_sql())
          .c_str()));
  return agrees_.prepare(db_->handle(), fmt::format(R"sql(
SELECT CASE {}
  WHEN 'lease' THEN EXISTS (SELECT 1 FROM lease l WHERE l.seq = m.seq AND l.attempt = m.attempts + 1)
  ELSE EXISTS (SELECT 1 FROM placed p WHERE {} AND p.place = {} AND CASE p.place
    WHEN 'parked' THEN 1
    WHEN 'ready' THEN p.rank = -m.priority AND p.time = coalesce(m.ord, m.due, m.created)
    WHEN 'scheduled' THEN p.time = coalesce(m.due, m.created)
    ELSE p.time = coalesce(m.finished, 0) END) END
  FROM message m WHERE m.seq = ?1)sql",
                                                    place_sql(), has_sql("?1"), place_sql())
                                            .c_str());
}

Result<bool> Placed::names(Seq seq) {
  names_.bind(1, seq);
  return says_yes(names_);
}

Result<bool> Placed::may_run(Seq seq, std::int64_t attempt) {
  may_run_.bind(1, seq).bind(2, attempt);
  return says_yes(may_run_);
}

Result<bool> Placed::agrees(Seq seq) {
  agrees_.bind(1, seq);
  return says_yes(agrees_);
}

Result<void> Placed::missing(const Each& each) {
  Statement runs;
  RQ_TRY(runs.prepare(db_->handle(),
                      "SELECT first, last FROM placed UNION ALL SELECT seq, seq FROM lease"));
  Statement there;
  RQ_TRY(there.prepare(db_->handle(), "SELECT 1 FROM message WHERE seq = ?1"));
  for (;;) {
    RQ_TRY_ASSIGN(any, runs.step());
    if (!any) return {};
    const Seq first = runs.integer(0);
    const Seq last = first + std::min(runs.integer(1) - first, kLostNamedMax);
    for (Seq seq = first; seq <= last; ++seq) {
      RQ_TRY_ASSIGN(is_there, says_yes(there.bind(1, seq)));
      if (!is_there) RQ_TRY(each(seq));
    }
  }
}

Result<void> Placed::mend_leases(const std::map<core::QueueId, std::int64_t>& running, bool sound) {
  RQ_TRY(db_->exec("CREATE TEMP TABLE running (queue INTEGER PRIMARY KEY, n INTEGER)"));
  Statement insert;
  RQ_TRY(insert.prepare(db_->handle(), "INSERT INTO temp.running VALUES (?1, ?2)"));
  for (const auto& [queue, n] : running) RQ_TRY(insert.bind(1, queue).bind(2, n).run());
  RQ_TRY(db_->exec(fmt::format(R"sql(
CREATE TEMP TABLE adrift AS
SELECT m.seq, m.queue, m.attempts FROM message m
 WHERE m.queue IN (SELECT queue FROM temp.running WHERE n > 0)
   AND m.rest_state = 'que' AND m.seq NOT IN (SELECT seq FROM lease) AND NOT {};
)sql",
                               is_placed_sql("m.seq"))
                       .c_str()));
  // No more than there are leases missing.
  const auto keep_the_missing = [this](std::string_view believed) {
    return db_->exec(fmt::format(R"sql(
DELETE FROM temp.adrift WHERE queue NOT IN (
  SELECT a.queue FROM (SELECT queue, count(*) AS n FROM temp.adrift GROUP BY queue) a
    JOIN temp.running r ON r.queue = a.queue
    LEFT JOIN (SELECT m.queue, count(*) AS n FROM lease l JOIN message m ON m.seq = l.seq
                WHERE {} GROUP BY m.queue) s ON s.queue = a.queue
   WHERE a.n <= r.n - coalesce(s.n, 0));
)sql",
                                 believed)
                         .c_str());
  };
  RQ_TRY(keep_the_missing(runs_alone_sql()));
  // Numbers differ in a bit when so does what only one of the two has.
  const std::string other = "((a.seq | l.seq) - (a.seq & l.seq))";
  const std::string theirs = fmt::format(
      "FROM temp.adrift a WHERE a.queue = l.queue AND a.attempts + 1 = l.attempt AND ({0} & ({0} - "
      "1)) = 0",
      other);
  RQ_TRY(db_->exec(fmt::format(R"sql(
UPDATE OR IGNORE lease AS l SET seq = (SELECT a.seq {0})
 WHERE NOT ({1}) AND (SELECT count(*) {0}) = 1;
DELETE FROM temp.adrift WHERE seq IN (SELECT seq FROM lease);
)sql",
                               theirs, runs_alone_sql())
                       .c_str()));
  const std::string believed =
      sound ? fmt::format("({}) OR {}", runs_alone_sql(), kIsNextSql) : runs_alone_sql();
  RQ_TRY(keep_the_missing(believed));
  return db_->exec(fmt::format(R"sql(
DELETE FROM lease AS l WHERE l.queue IN (SELECT queue FROM temp.adrift) AND NOT ({});
INSERT INTO lease
SELECT seq, queue, 0, attempts + 1, 0, unixepoch() * 1000, 0, NULL, NULL, NULL,
       'the store was damaged, and has lost the lease of this attempt'
  FROM temp.adrift;
INSERT INTO corrupt (at, what, seq, why)
SELECT unixepoch() * 1000, 'lease', seq, 'it cannot be found any more: its attempt is told as lost'
  FROM temp.adrift;
DROP TABLE temp.adrift;
DROP TABLE temp.running;
)sql",
                               believed)
                       .c_str());
}

Result<void> Placed::close() {
  add_ = Statement{};
  names_ = Statement{};
  may_run_ = Statement{};
  agrees_ = Statement{};
  return db_->exec("DROP TABLE placed");
}

}  // namespace rq::store::sqlite
