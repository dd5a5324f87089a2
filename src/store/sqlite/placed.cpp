#include "store/sqlite/placed.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>

namespace rq::store::sqlite {

using base::Result;
using core::Seq;

namespace {

// Of a run of the line: more are not named one by one.
constexpr Seq kLostNamedMax = 100'000;

// A place other than a lease names that message.
std::string is_placed_sql(std::string_view seq) {
  return fmt::format(
      "coalesce((SELECT p.last FROM placed p WHERE p.first <= {0} ORDER BY p.first DESC LIMIT 1) "
      ">= "
      "{0}, 0)",
      seq);
}

// The lease l is of a message that may run.
std::string is_sound_sql() {
  return fmt::format(
      "EXISTS (SELECT 1 FROM message m WHERE m.seq = l.seq AND m.rest_state = 'que') AND NOT {}",
      is_placed_sql("l.seq"));
}

bool says_yes(Statement& asked, Seq seq) {
  const auto found = asked.bind(1, seq).step();
  const bool yes = found && *found && asked.integer(0) != 0;
  asked.reset();
  return yes;
}

}  // namespace

Result<void> Placed::open(Db& db) {
  db_ = &db;
  RQ_TRY(db.exec("CREATE TABLE placed (first INTEGER NOT NULL, last INTEGER NOT NULL)"));
  return add_.prepare(db.handle(), "INSERT INTO placed VALUES (?1, ?2)");
}

Result<void> Placed::add(Seq first, Seq last) { return add_.bind(1, first).bind(2, last).run(); }

Result<void> Placed::index() {
  RQ_TRY(db_->exec("CREATE INDEX placed_first ON placed (first)"));
  RQ_TRY(names_.prepare(
      db_->handle(),
      fmt::format("SELECT {} OR EXISTS (SELECT 1 FROM lease WHERE seq = ?1)", is_placed_sql("?1"))
          .c_str()));
  return may_run_.prepare(
      db_->handle(),
      fmt::format("SELECT 1 FROM (SELECT ?1 AS seq) l WHERE {}", is_sound_sql()).c_str());
}

bool Placed::names(Seq seq) { return says_yes(names_, seq); }

bool Placed::may_run(Seq seq) { return says_yes(may_run_, seq); }

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
      if (!says_yes(there, seq)) RQ_TRY(each(seq));
    }
  }
}

Result<void> Placed::mend_leases(const std::map<core::QueueId, std::int64_t>& running) {
  RQ_TRY(db_->exec("CREATE TEMP TABLE running (queue INTEGER PRIMARY KEY, n INTEGER)"));
  Statement insert;
  RQ_TRY(insert.prepare(db_->handle(), "INSERT INTO temp.running VALUES (?1, ?2)"));
  for (const auto& [queue, n] : running) RQ_TRY(insert.bind(1, queue).bind(2, n).run());
  const std::string of_queue = fmt::format(
      "SELECT m.queue, count(*) AS n FROM lease l JOIN message m ON m.seq = l.seq "
      "WHERE {} GROUP BY m.queue",
      is_sound_sql());
  RQ_TRY(db_->exec(fmt::format(R"sql(
CREATE TEMP TABLE adrift AS
SELECT m.seq, m.queue, m.attempts FROM message m
 WHERE m.queue IN (SELECT r.queue FROM temp.running r LEFT JOIN ({}) s ON s.queue = r.queue
                    WHERE r.n > coalesce(s.n, 0))
   AND m.rest_state = 'que' AND m.seq NOT IN (SELECT seq FROM lease) AND NOT {};
)sql",
                               of_queue, is_placed_sql("m.seq"))
                       .c_str()));
  // Numbers differ in a bit when so does what only one of the two has.
  const std::string other = "((a.seq | l.seq) - (a.seq & l.seq))";
  const std::string theirs = fmt::format(
      "FROM temp.adrift a WHERE a.queue = l.queue AND a.attempts + 1 = l.attempt AND ({0} & ({0} - "
      "1)) = 0",
      other);
  return db_->exec(fmt::format(R"sql(
UPDATE OR IGNORE lease AS l SET seq = (SELECT a.seq {0})
 WHERE NOT ({1}) AND (SELECT count(*) {0}) = 1;
DELETE FROM temp.adrift WHERE seq IN (SELECT seq FROM lease);
DELETE FROM lease AS l WHERE l.queue IN (SELECT queue FROM temp.adrift) AND NOT ({1});
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
                               theirs, is_sound_sql())
                       .c_str());
}

Result<void> Placed::close() {
  add_ = Statement{};
  names_ = Statement{};
  may_run_ = Statement{};
  return db_->exec("DROP TABLE placed");
}

}  // namespace rq::store::sqlite
