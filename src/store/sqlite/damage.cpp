#include "store/sqlite/damage.h"

#include <fmt/format.h>

#include <algorithm>

#include "store/sqlite/places.h"

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

Result<void> Damage::find(const std::string& sql, Place place, Seq seq, std::vector<Filed>& out) {
  Statement rows;
  RQ_TRY(rows.prepare(db_->handle(), sql.c_str(), false));
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

Result<std::vector<Filed>> Damage::places_of(const core::Suspect& suspect) {
  std::vector<Filed> out;
  const Seq seq = suspect.seq;
  for (const Place place : {Place::lease, Place::line, Place::scheduled, Place::kept, Place::err,
                            Place::held, Place::cancelled, Place::parked}) {
    const PlaceSql& sql = sql_of(place);
    // A lease has its number as its key, whatever the message says.
    const std::string source = place == Place::lease
                                   ? "lease t WHERE t.seq = ?1"
                                   : fmt::format("message m CROSS JOIN {} t ON {} WHERE m.seq = ?1",
                                                 sql.table, fits_sql(place));
    RQ_TRY(find(fmt::format("SELECT {} FROM {}", sql.filed, source), place, seq, out));
  }
  if (const auto& row = suspect.row) {
    const PlaceSql& sql = sql_of(row->place);
    RQ_TRY(
        find(fmt::format("SELECT {} FROM {} t WHERE {}", sql.filed, sql.table, row_sql(*row, "?1")),
             row->place, seq, out));
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

Result<std::int64_t> Damage::keep(Seq seq, const std::vector<Filed>& places, std::string_view why,
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
  std::int64_t kept = 0;
  for (const char* table : {"message", "detail", "lease"}) {
    RQ_TRY_ASSIGN(row, quoted_row(*db_, table));
    RQ_TRY_ASSIGN(n, insert(table, fmt::format("SELECT ?1, ?2, ?3, ?4, {} FROM {} WHERE seq = ?3",
                                               row, table)));
    kept += n;
  }
  if (kept > 0) return kept;
  for (const Filed& place : places) {
    RQ_TRY_ASSIGN(
        n, insert(sql_of(place.place).table, fmt::format("VALUES (?1, ?2, ?3, ?4, '{}, {}, {}')",
                                                         place.queue, place.rank, place.time)));
    kept += n;
  }
  return kept;
}

Result<void> Damage::note(std::string_view what, std::string_view why, core::Instant now) {
  Statement insert;
  RQ_TRY(insert.prepare(db_->handle(), "INSERT INTO corrupt (at, what, why) VALUES (?1, ?2, ?3)",
                        false));
  return insert.bind(1, base::to_ms(now)).bind(2, what).bind(3, why).run();
}

Result<bool> Damage::note_once(std::string_view what, std::string_view why, core::Instant now) {
  Statement insert;
  RQ_TRY(insert.prepare(db_->handle(),
                        "INSERT INTO corrupt (at, what, why) SELECT ?1, ?2, ?3 WHERE NOT EXISTS "
                        "(SELECT 1 FROM corrupt WHERE what = ?2 AND why = ?3)",
                        false));
  RQ_TRY(insert.bind(1, base::to_ms(now)).bind(2, what).bind(3, why).run());
  return sqlite3_changes(db_->handle()) > 0;
}

Result<void> Damage::forget_note(std::string_view what, std::string_view why) {
  Statement gone;
  RQ_TRY(gone.prepare(db_->handle(), "DELETE FROM corrupt WHERE what = ?1 AND why = ?2", false));
  return gone.bind(1, what).bind(2, why).run();
}

Result<void> Damage::run(std::string_view sql, Seq seq) {
  Statement statement;
  RQ_TRY(statement.prepare(db_->handle(), std::string{sql}.c_str(), false));
  return statement.bind(1, seq).run();
}

Result<void> Damage::take_from_line(const Filed& place, Seq seq) {
  const std::string here = row_sql(place, "?1");
  // What follows it, then what is before it.
  RQ_TRY(run("CREATE TEMP TABLE IF NOT EXISTS cut (queue, rank, ord, last_seq, first_seq)", seq));
  RQ_TRY(run("DELETE FROM temp.cut", seq));
  RQ_TRY(run("INSERT INTO temp.cut SELECT * FROM ready t WHERE " + here, seq));
  RQ_TRY(run("DELETE FROM ready AS t WHERE " + here, seq));
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
    RQ_TRY(place.in(Place::line) ? take_from_line(place, seq)
                                 : run(fmt::format("DELETE FROM {} AS t WHERE {}",
                                                   sql_of(place.place).table, row_sql(place, "?1")),
                                       seq));
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
