#include "store/sqlite/damage.h"

#include <fmt/format.h>

#include <algorithm>

#include "store/sqlite/firsts.h"

namespace rq::store::sqlite {

using base::Result;
using core::State;

Result<std::string> quoted_row(Db& db, std::string_view table) {
  Statement columns;
  RQ_TRY(
      columns.prepare(db.handle(), "SELECT name FROM pragma_table_info(?1) ORDER BY cid", false));
  columns.bind(1, table);
  std::string out;
  for (;;) {
    RQ_TRY_ASSIGN(found, columns.step());
    if (!found) return out;
    if (!out.empty()) out += " || ', ' || ";
    out += fmt::format("quote({}.\"{}\")", table, columns.text(0));
  }
}

Result<void> Damage::find(std::string_view sql, Place place, Seq seq, std::vector<Filed>& out) {
  Statement rows;
  RQ_TRY(rows.prepare(db_->handle(), std::string{sql}.c_str(), false));
  rows.bind(1, seq);
  for (;;) {
    RQ_TRY_ASSIGN(found, rows.step());
    if (!found) return {};
    const Filed filed{.anywhere = true,
                      .place = place,
                      .queue = rows.integer(0),
                      .rank = rows.integer(1),
                      .time = rows.integer(2)};
    if (std::find(out.begin(), out.end(), filed) == out.end()) out.push_back(filed);
  }
}

Result<std::vector<Filed>> Damage::places_of(Seq seq, bool all) {
  std::vector<Filed> out;
  struct Look {
    Place place;
    const char* kind;    // of the rows of finished
    const char* source;  // FROM and WHERE
  };
  // First those that cost little: by the key of the table.
  static constexpr const char* kFinished =
      "SELECT f.queue, 0, f.at FROM message m CROSS JOIN finished f ON f.queue = m.queue AND "
      "f.kind = '{0}' AND f.at = m.finished AND f.seq = m.seq WHERE m.seq = ?1";
  static constexpr const char* kAllFinished =
      "SELECT queue, 0, at FROM finished WHERE seq = ?1 AND kind = '{0}'";
  const Look looks[] = {
      {Place::lease, "", "SELECT queue, 0, until FROM lease WHERE seq = ?1"},
      {Place::line, "",
       "SELECT queue, rank, ord FROM ready WHERE first_seq <= ?1 AND last_seq >= ?1"},
      {Place::scheduled, "",
       "SELECT s.queue, 0, s.due FROM message m CROSS JOIN scheduled s ON s.due = "
       "coalesce(m.due, m.created) AND s.seq = m.seq WHERE m.seq = ?1"},
      {Place::kept, "kept", kFinished},
      {Place::err, "err", kFinished},
      {Place::held, "held", kFinished},
      {Place::cancelled, "cancelled", kFinished},
      {Place::parked, "", "SELECT queue, 0, 0 FROM parked WHERE seq = ?1"},
      {Place::scheduled, "", "SELECT queue, 0, due FROM scheduled WHERE seq = ?1"},
      {Place::kept, "kept", kAllFinished},
      {Place::err, "err", kAllFinished},
      {Place::held, "held", kAllFinished},
      {Place::cancelled, "cancelled", kAllFinished},
  };
  for (const Look& look : looks) {
    if (!all && !out.empty()) break;
    RQ_TRY(find(fmt::format(fmt::runtime(look.source), look.kind), look.place, seq, out));
  }
  return out;
}

Result<State> Damage::state_in(const Filed& place, Seq seq) {
  Statement query;
  RQ_TRY(query.prepare(db_->handle(), "SELECT rest_state FROM message WHERE seq = ?1", false));
  RQ_TRY_ASSIGN(found, query.bind(1, seq).step());
  const auto written = found ? core::state_of(query.text(0)) : std::nullopt;
  const auto one_of = [&written](std::initializer_list<State> states) {
    return written && std::find(states.begin(), states.end(), *written) != states.end()
               ? *written
               : *states.begin();
  };
  switch (place.place) {
    case Place::line:
    case Place::any:
      return State::que;
    case Place::scheduled:
      return State::scheduled;
    case Place::lease:
      return State::run;
    case Place::kept:
      return one_of({State::done, State::relayed});
    case Place::cancelled:
      return State::cancelled;
    case Place::err:
    case Place::held:
      return State::err;
    case Place::parked:
      return one_of({State::prep, State::throttled, State::depends});
  }
  return State::que;
}

Result<void> Damage::keep(Seq seq, const std::vector<Filed>& places, std::string_view why,
                          core::Instant now) {
  const auto insert = [&](std::string_view what, const std::string& values) -> Result<int> {
    Statement copy;
    RQ_TRY(copy.prepare(
        db_->handle(),
        fmt::format("INSERT INTO corrupt (at, what, seq, why, bytes) {}", values).c_str(), false));
    copy.bind(1, base::to_ms(now)).bind(2, what).bind(3, seq).bind(4, why);
    RQ_TRY(copy.run());
    return sqlite3_changes(db_->handle());
  };
  int kept = 0;
  for (const char* table : {"message", "detail", "lease"}) {
    RQ_TRY_ASSIGN(row, quoted_row(*db_, table));
    RQ_TRY_ASSIGN(n, insert(table, fmt::format("SELECT ?1, ?2, ?3, ?4, {} FROM {} WHERE seq = ?3",
                                               row, table)));
    kept += n;
  }
  if (kept > 0) return {};
  for (const Filed& place : places) {
    const std::string_view table = place.place == Place::line        ? "ready"
                                   : place.place == Place::scheduled ? "scheduled"
                                   : place.place == Place::parked    ? "parked"
                                                                     : "finished";
    RQ_TRY(insert(table, fmt::format("VALUES (?1, ?2, ?3, ?4, '{}, {}, {}')", place.queue,
                                     place.rank, place.time)));
  }
  return {};
}

Result<void> Damage::run(std::string_view sql, Seq seq) {
  Statement statement;
  RQ_TRY(statement.prepare(db_->handle(), std::string{sql}.c_str(), false));
  return statement.bind(1, seq).run();
}

Result<void> Damage::take_from_line(const Filed& place, Seq seq) {
  const std::string here =
      fmt::format("queue = {} AND rank = {} AND ord = {} AND first_seq <= ?1 AND last_seq >= ?1",
                  place.queue, place.rank, place.time);
  // What follows it, then what is before it.
  RQ_TRY(run("CREATE TEMP TABLE IF NOT EXISTS cut (queue, rank, ord, last_seq, first_seq)", seq));
  RQ_TRY(run("DELETE FROM temp.cut", seq));
  RQ_TRY(run("INSERT INTO temp.cut SELECT * FROM ready WHERE " + here, seq));
  RQ_TRY(run("DELETE FROM ready WHERE " + here, seq));
  RQ_TRY(
      run("INSERT OR IGNORE INTO ready SELECT queue, rank, ord, ?1 - 1, first_seq FROM temp.cut "
          "WHERE first_seq < ?1",
          seq));
  return run(
      "INSERT OR IGNORE INTO ready SELECT queue, rank, ord, last_seq, ?1 + 1 FROM temp.cut "
      "WHERE last_seq > ?1",
      seq);
}

Result<void> Damage::wipe(Seq seq, const std::vector<Filed>& places) {
  for (const Filed& place : places) {
    switch (place.place) {
      case Place::line:
        RQ_TRY(take_from_line(place, seq));
        break;
      case Place::scheduled:
        RQ_TRY(
            run(fmt::format("DELETE FROM scheduled WHERE due = {} AND seq = ?1", place.time), seq));
        break;
      case Place::kept:
      case Place::err:
      case Place::held:
      case Place::cancelled:
        RQ_TRY(run(fmt::format("DELETE FROM finished WHERE queue = {} AND kind = '{}' AND at = {} "
                               "AND seq = ?1",
                               place.queue, kind_of(place.place), place.time),
                   seq));
        break;
      case Place::parked:
        RQ_TRY(
            run(fmt::format("DELETE FROM parked WHERE queue = {} AND seq = ?1", place.queue), seq));
        break;
      case Place::lease:
      case Place::any:
        break;
    }
  }
  for (const char* table : {"lease", "tag", "detail", "message"}) {
    RQ_TRY(run(fmt::format("DELETE FROM {} WHERE seq = ?1", table), seq));
  }
  return {};
}

Result<std::int64_t> Damage::count() {
  RQ_TRY_ASSIGN(rows, db_->one("SELECT count(*) FROM corrupt"));
  return rows.value_or(0);
}

}  // namespace rq::store::sqlite
