#include "store/sqlite/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "core/queue.h"
#include "store/sqlite/places.h"

namespace rq::store::sqlite {

using base::Result;
using core::Filed;
using core::Finding;
using core::Place;
using core::Seq;

namespace {

constexpr std::int64_t kPieceRows = 1000;                // rows that one piece looks at
constexpr std::size_t kPieceBytes = 16UL * 1024 * 1024;  // of their payloads
constexpr Seq kPassOver = 8;                             // messages; a page holds some tens

// 1: a row stands where the message m says.
std::string is_filed_sql() {
  const auto exists = [](Place place) {
    return fmt::format("WHEN '{}' THEN EXISTS (SELECT 1 FROM {} t WHERE {}) ", sql_of(place).name,
                       sql_of(place).table, fits_sql(place));
  };
  // Of the line the one run that could hold it: the first that does not end before it.
  return fmt::format(
      R"sql(
CASE {} WHEN '{}' THEN coalesce((SELECT t.first_seq FROM ready t
                                  WHERE t.queue = m.queue AND {} AND t.last_seq >= m.seq
                                  ORDER BY t.last_seq LIMIT 1) <= m.seq, 0)
 {}{}{}{}{}{}{}ELSE 0 END)sql",
      place_sql(), sql_of(Place::line).name, sql_of(Place::line).key, exists(Place::lease),
      exists(Place::scheduled), exists(Place::parked), exists(Place::kept), exists(Place::err),
      exists(Place::cancelled), exists(Place::held));
}

// The tables of the places but the line, and their keys: with where they start.
constexpr std::size_t kKeyMax = 4;
struct PlaceKey {
  Place place;  // one of the table
  std::array<const char*, kKeyMax> columns;
  std::array<const char*, kKeyMax> start;
};
constexpr const char* kLeast = "-9223372036854775808";
constexpr std::array<PlaceKey, 4> kPlaceKeys{{
    {Place::lease, {"t.seq"}, {kLeast}},
    {Place::scheduled, {"t.due", "t.seq"}, {kLeast, kLeast}},
    {Place::kept, {"t.queue", "t.kind", "t.at", "t.seq"}, {kLeast, "", kLeast, kLeast}},
    {Place::parked, {"t.queue", "t.seq"}, {kLeast, kLeast}},
}};

// Of a row m of message: its state, as people know it.
std::string state_sql() {
  return fmt::format("CASE {} WHEN '{}' THEN '{}' ELSE m.rest_state END", place_sql(),
                     sql_of(Place::lease).name, name_of(core::State::run));
}

// The next rows after a key: the key, the number, Filed, the kind, and what is wrong with the row.
constexpr int kRowSeq = kKeyMax;
constexpr int kRowFiled = kRowSeq + 1;
constexpr int kRowKind = kRowFiled + 3;
constexpr int kRowWrong = kRowKind + 1;
std::string rows_sql(const PlaceKey& key) {
  const PlaceSql& sql = sql_of(key.place);
  std::string columns;
  std::string after;
  std::string order;
  for (std::size_t i = 0; i < kKeyMax; ++i) {
    const char* column = key.columns.at(i);
    columns += column == nullptr ? "'', " : fmt::format("{}, ", column);
    if (column == nullptr) continue;
    const bool number = std::string_view{key.start.at(i)} == kLeast;
    after += fmt::format("{}{}", order.empty() ? "" : ", ",
                         fmt::format(fmt::runtime(number ? "CAST(?{} AS INTEGER)" : "?{}"), i + 1));
    order += fmt::format("{}{}", order.empty() ? "" : ", ", column);
  }
  const bool finished = std::string_view{sql.table} == "finished";
  const std::string kind = finished ? "t.kind" : fmt::format("'{}'", sql.name);
  using namespace fmt::literals;
  return fmt::format(R"sql(
SELECT {columns}t.seq, {filed}, {kind},
       CASE WHEN m.seq IS NULL THEN 'which is not there'
            WHEN {place} IS NOT {kind} THEN 'which is in state ' || {state}
            WHEN NOT ({key} AND t.queue = m.queue) THEN 'which has another queue or time' END
  FROM {table} t LEFT JOIN message m ON m.seq = t.seq
 WHERE ({order}) > ({after}) ORDER BY {order} LIMIT ?5)sql",
                     "columns"_a = columns, "filed"_a = sql.filed, "kind"_a = kind,
                     "place"_a = place_sql(), "state"_a = state_sql(), "key"_a = sql.key,
                     "table"_a = sql.table, "order"_a = order, "after"_a = after);
}

// What a counter says, what there is, and what is to be changed when the two differ.
struct Sum {
  const char* said;
  const char* what;
  std::string there;
  std::int64_t& (*counter)(core::Counters& counters);
};
template <core::State state>
std::int64_t& of_state(core::Counters& counters) {
  return counters.in(state);
}
std::vector<Sum> sums_of_counters() {
  const std::string line =
      "(SELECT CAST(total(last_seq - first_seq + 1) AS INTEGER) FROM ready r WHERE r.queue = "
      "q.id{})";
  const auto rows = [](std::string_view table) {
    return fmt::format("(SELECT count(*) FROM {} t WHERE t.queue = q.id)", table);
  };
  const auto ended = [](const char* kinds) {
    return fmt::format("(SELECT count(*) FROM finished t WHERE t.queue = q.id AND t.kind IN ({}))",
                       kinds);
  };
  using core::State;
  return {
      {"c.que", "in que", fmt::format(fmt::runtime(line), ""), of_state<State::que>},
      {"c.high", "in que with a high priority",
       fmt::format(fmt::runtime(line), fmt::format(" AND r.rank < {}", -core::kHighPriority)),
       [](core::Counters& counters) -> std::int64_t& { return counters.high; }},
      {"c.run", "in run", rows("lease"), of_state<State::run>},
      {"c.scheduled", "scheduled", rows("scheduled"), of_state<State::scheduled>},
      {"c.prep + c.throttled + c.depends", "parked", rows("parked"), of_state<State::prep>},
      {"c.done + c.relayed", "done", ended("'kept'"), of_state<State::done>},
      {"c.err", "in err", ended("'err', 'held'"), of_state<State::err>},
      {"c.held", "in err and held", ended("'held'"),
       [](core::Counters& counters) -> std::int64_t& { return counters.held; }},
      {"c.cancelled", "cancelled", ended("'cancelled'"), of_state<State::cancelled>},
  };
}

// Each lists what should not be: one line a row.
std::vector<std::string> rules() {
  std::vector<std::string> out{
      "SELECT 'queue ' || q.name || ' has lost its counters' FROM queue q WHERE NOT EXISTS (SELECT "
      "1 FROM counter c WHERE c.queue = q.id)",
      "SELECT 'the line has messages ' || r.first_seq || ' to ' || r.last_seq || ' twice in part' "
      "FROM ready r WHERE r.first_seq <= (SELECT p.last_seq FROM ready p WHERE p.queue = r.queue "
      "AND p.rank = r.rank AND p.ord = r.ord AND p.last_seq < r.last_seq ORDER BY p.last_seq DESC "
      "LIMIT 1)"};
  return out;
}

// The queues of which the two differ: a text, the number, and by how much.
std::string wrong_sql(const Sum& sum) {
  return fmt::format(R"sql(
WITH n AS MATERIALIZED (SELECT q.name, q.id, {} AS said, {} AS there
                          FROM queue q JOIN counter c ON c.queue = q.id)
SELECT 'counter of queue ' || name || ': ' || said || ' {}, the table has ' || there, id,
       there - said FROM n WHERE said <> there)sql",
                     sum.said, sum.there, sum.what);
}

std::optional<Place> place_named(std::string_view name) {
  for (const Place place : {Place::lease, Place::scheduled, Place::kept, Place::err,
                            Place::cancelled, Place::held, Place::parked}) {
    if (sql_of(place).name == name) return place;
  }
  return std::nullopt;
}

}  // namespace

Result<void> Check::prepare(Db& db) {
  db_ = &db;
  RQ_TRY(messages_.prepare(
      db.handle(),
      fmt::format("SELECT {}, q.id, {}, EXISTS (SELECT 1 FROM message k WHERE k.seq = m.seq) FROM "
                  "message m {} LEFT JOIN queue q ON q.id = m.queue WHERE m.seq > ?1 ORDER BY "
                  "m.seq LIMIT ?2",
                  kMessageColumns, is_filed_sql(), kMessageJoins)
          .c_str()));
  RQ_TRY(next_run_.prepare(
      db.handle(),
      "SELECT queue, rank, ord, first_seq, last_seq FROM ready WHERE (queue, rank, ord, last_seq) "
      "> (?1, ?2, ?3, ?4) ORDER BY queue, rank, ord, last_seq LIMIT 1"));
  const std::string missing = fmt::format(
      R"sql(
WITH RECURSIVE n(seq) AS (VALUES (?1) UNION ALL SELECT seq + 1 FROM n WHERE seq < ?2),
     t(queue, rank, ord) AS (VALUES (?3, ?4, ?5))
SELECT n.seq, {3} FROM n CROSS JOIN t LEFT JOIN message m ON m.seq = n.seq
 WHERE NOT coalesce(t.queue = m.queue AND {1} AND {0} = '{2}', 0))sql",
      place_sql(), sql_of(Place::line).key, sql_of(Place::line).name, state_sql());
  RQ_TRY(missing_.prepare(db.handle(), missing.c_str()));
  RQ_TRY_ASSIGN(from, read_crc_from(db));
  crc_from_ = from;
  return {};
}

Result<bool> Check::step(std::vector<Finding>& found) {
  switch (part_) {
    case Part::messages: {
      const auto more = messages(found);
      if (!more) return pass_over(more.error(), found);
      unreadable_ = false;
      if (!*more) part_ = Part::line;
      return true;
    }
    case Part::line: {
      RQ_TRY_ASSIGN(more, line(found));
      if (!more) part_ = Part::places;
      return true;
    }
    case Part::places: {
      RQ_TRY_ASSIGN(more, rows_of_a_place(found));
      if (!more) part_ = Part::sums;
      return true;
    }
    case Part::sums:
      break;
  }
  RQ_TRY(sums(found));
  part_ = Part::messages;
  unreadable_ = false;
  lost_queues_.clear();
  seq_ = 0;
  run_ = {};
  place_ = 0;
  last_key_ = {};
  return false;
}

// Pages that cannot be read: goes on behind them.
Result<bool> Check::pass_over(const base::Error& why, std::vector<Finding>& found) {
  if (!is_damage(*db_)) return why;
  if (!std::exchange(unreadable_, true)) {
    found.push_back({.text = fmt::format("messages after {} cannot be read: {}", seq_, why.message),
                     .page = true});
  }
  seq_ += kPassOver;
  RQ_TRY_ASSIGN(end, db_->one("SELECT value FROM meta WHERE key = 'next_seq'"));
  if (seq_ >= end.value_or(0)) part_ = Part::line;
  return true;
}

Result<bool> Check::messages(std::vector<Finding>& found) {
  messages_.bind(1, seq_).bind(2, kPieceRows);
  std::int64_t rows = 0;
  std::size_t bytes = 0;
  for (;; ++rows) {
    RQ_TRY_ASSIGN(there, messages_.step());
    if (!there) return rows == kPieceRows;
    if (bytes > kPieceBytes) {  // what stands there now is for the next piece
      messages_.reset();
      return true;
    }
    // No tree has its rows in another order, or rows that their number does not lead to: a page is
    // damaged. Each of them set aside by itself would be lost.
    const bool is_led_to = messages_.integer(kMessageColumnCount + 2) != 0;
    if (seq_of(messages_) <= seq_ || !is_led_to) {
      messages_.reset();
      found.push_back(
          {.text = fmt::format("messages after {} are not in their order", seq_), .page = true});
      return base::fail(base::Code::internal, found.back().text);
    }
    seq_ = seq_of(messages_);
    const auto message = read_message(messages_, crc_from_);
    if (message) bytes += message->payload.size();
    if (!message) {
      found.push_back({.suspect = {.seq = seq_, .unreadable = true},
                       .text = of_message(seq_, message.error()).message});
      continue;
    }
    // Rather the row of the queue is lost than that its messages are wrong.
    const bool lost_queue = messages_.is_null(kMessageColumnCount);
    if (lost_queue && lost_queues_.insert(message->queue).second) {
      found.push_back({.text = fmt::format("message {} is of queue {}, which is not there", seq_,
                                           message->queue)});
    }
    if (messages_.integer(kMessageColumnCount + 1) == 0) {
      found.push_back(
          {.suspect = {.seq = lost_queue ? 0 : seq_},
           .text = fmt::format("message {} is {}, but table {} has no row for it", seq_,
                               name_of(message->state), sql_of(core::place_of(*message)).table)});
    }
  }
}

// Some messages of the line, each of which must be there.
Result<bool> Check::line(std::vector<Finding>& found) {
  RQ_TRY_ASSIGN(next_seq, db_->one("SELECT value FROM meta WHERE key = 'next_seq'"));
  const Seq numbers_end = next_seq.value_or(0);
  for (std::int64_t left = kPieceRows; left > 0;) {
    if (run_.first > run_.last) {
      const Run before = run_;
      next_run_.bind(1, before.queue).bind(2, before.rank).bind(3, before.order);
      RQ_TRY_ASSIGN(there, next_run_.bind(4, before.key).step());
      if (!there) return false;
      run_ = {.queue = next_run_.integer(0),
              .rank = next_run_.integer(1),
              .order = next_run_.integer(2),
              .key = next_run_.integer(4),
              .first = next_run_.integer(3),
              .last = next_run_.integer(4)};
      next_run_.reset();
      --left;
      const bool backwards = run_.first > run_.last;
      if (backwards || run_.first < 1 || run_.last >= numbers_end) {
        found.push_back(
            {.text = fmt::format(
                 "the line has a row of messages {} to {}: {}", run_.first, run_.last,
                 backwards ? "it ends before it begins" : "no message has such a number")});
        run_.first = 1;
        run_.last = 0;
        continue;
      }
    }
    const std::int64_t looked = std::min(run_.last - run_.first + 1, left);
    const Seq end = run_.first + looked - 1;
    missing_.bind(1, run_.first).bind(2, end).bind(3, run_.queue).bind(4, run_.rank);
    missing_.bind(5, run_.order);
    std::vector<Finding> missing;
    for (;;) {
      RQ_TRY_ASSIGN(there, missing_.step());
      if (!there) break;
      const Seq seq = missing_.integer(0);
      missing.push_back(
          {.suspect = {.seq = seq,
                       .row = Filed{.anywhere = true,
                                    .place = Place::line,
                                    .queue = run_.queue,
                                    .rank = run_.rank,
                                    .time = run_.order}},
           .text = missing_.is_null(1)
                       ? fmt::format("the line has message {}, which is not there", seq)
                       : fmt::format("the line has message {} in a wrong place; it is in state {}",
                                     seq, missing_.text(1))});
    }
    if (std::ssize(missing) == kPieceRows) {
      // Rather the row of the line is wrong than so many messages.
      found.push_back({.text = fmt::format("the line has messages {} to {}, most of which are not "
                                           "there or not in que",
                                           run_.first, run_.last)});
      run_.first = run_.last + 1;
      continue;
    }
    found.insert(found.end(), std::make_move_iterator(missing.begin()),
                 std::make_move_iterator(missing.end()));
    run_.first = end + 1;
    left -= looked;
  }
  return true;
}

Result<bool> Check::rows_of_a_place(std::vector<Finding>& found) {
  if (place_ == kPlaceKeys.size()) return false;
  const PlaceKey& key = kPlaceKeys.at(place_);
  if (!last_key_) {
    last_key_.emplace();
    for (std::size_t i = 0; i < kKeyMax; ++i) {
      last_key_->at(i) = key.start.at(i) == nullptr ? "" : key.start.at(i);
    }
  }
  Statement rows;
  RQ_TRY(rows.prepare(db_->handle(), rows_sql(key).c_str(), false));
  const auto after = *last_key_;
  for (std::size_t i = 0; i < kKeyMax; ++i) {
    if (key.columns.at(i) == nullptr) continue;
    rows.bind(static_cast<int>(i) + 1, std::string_view{after.at(i)});
  }
  rows.bind(5, kPieceRows);
  std::int64_t n = 0;
  for (;; ++n) {
    RQ_TRY_ASSIGN(there, rows.step());
    if (!there) break;
    for (std::size_t i = 0; i < kKeyMax; ++i) {
      last_key_->at(i) = rows.text(static_cast<int>(i));
    }
    if (rows.is_null(kRowWrong)) continue;
    Finding finding{
        .suspect = {.seq = rows.integer(kRowSeq)},
        .text = fmt::format("table {} has a row ({}) of message {}, {}", sql_of(key.place).table,
                            rows.text(kRowKind), rows.integer(kRowSeq), rows.text(kRowWrong))};
    if (const auto place = place_named(rows.text(kRowKind))) {
      finding.suspect.row = Filed{.anywhere = true,
                                  .place = *place,
                                  .queue = rows.integer(kRowFiled),
                                  .rank = rows.integer(kRowFiled + 1),
                                  .time = rows.integer(kRowFiled + 2)};
    }
    found.push_back(std::move(finding));
  }
  if (n < kPieceRows) {
    ++place_;
    last_key_.reset();
  }
  return true;
}

Result<void> Check::sums(std::vector<Finding>& found) {
  for (const std::string& rule : rules()) {
    Statement broken;
    RQ_TRY(broken.prepare(db_->handle(), rule.c_str(), false));
    for (;;) {
      RQ_TRY_ASSIGN(there, broken.step());
      if (!there) break;
      found.push_back({.text = std::string{broken.text(0)}});
    }
  }
  for (const Sum& sum : sums_of_counters()) {
    Statement wrong;
    RQ_TRY(wrong.prepare(db_->handle(), wrong_sql(sum).c_str(), false));
    for (;;) {
      RQ_TRY_ASSIGN(there, wrong.step());
      if (!there) break;
      core::Miscount miscount{.queue = wrong.integer(1)};
      sum.counter(miscount.by) = wrong.integer(2);
      found.push_back({.text = std::string{wrong.text(0)}, .miscount = miscount});
    }
  }
  Statement queues;
  RQ_TRY(queues.prepare(
      db_->handle(),
      fmt::format("SELECT {} FROM queue q JOIN counter c ON c.queue = q.id", kQueueColumns).c_str(),
      false));
  for (;;) {
    RQ_TRY_ASSIGN(there, queues.step());
    if (!there) return {};
    if (const auto queue = read_queue(queues); !queue)
      found.push_back({.text = queue.error().message});
  }
}

Result<void> Check::pages(std::vector<Finding>& found) {
  Statement check;
  RQ_TRY(check.prepare(db_->handle(), "PRAGMA integrity_check", false));
  for (;;) {
    RQ_TRY_ASSIGN(there, check.step());
    if (!there) return {};
    if (check.text(0) != "ok") found.push_back({.text = std::string{check.text(0)}, .page = true});
  }
}

}  // namespace rq::store::sqlite
