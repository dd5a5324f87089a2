#include "store/sqlite/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "core/queue.h"

namespace rq::store::sqlite {

using base::Result;
using core::Finding;
using core::Seq;

namespace {

constexpr std::int64_t kPieceRows = 1000;                // rows that one piece looks at
constexpr std::size_t kPieceBytes = 16UL * 1024 * 1024;  // of their payloads
constexpr Seq kPassOver = 8;                             // messages; a page holds some tens

// 1: the row stands where its state says.
constexpr const char* kIsFiled =
    "CASE WHEN l.seq IS NOT NULL THEN 1 "
    "WHEN m.rest_state = 'que' THEN coalesce((SELECT r.first_seq FROM ready r WHERE r.queue = "
    "m.queue AND r.rank = -m.priority AND r.ord = coalesce(m.ord, m.due, m.created) AND r.last_seq "
    ">= m.seq ORDER BY r.last_seq LIMIT 1) <= m.seq, 0) "
    "WHEN m.rest_state = 'scheduled' THEN EXISTS (SELECT 1 FROM scheduled s WHERE s.due = "
    "coalesce(m.due, m.created) AND s.seq = m.seq AND s.queue = m.queue) "
    "WHEN m.rest_state IN ('prep', 'throttled', 'depends') THEN EXISTS (SELECT 1 FROM parked p "
    "WHERE p.queue = m.queue AND p.seq = m.seq) "
    "ELSE EXISTS (SELECT 1 FROM finished f WHERE f.queue = m.queue AND f.kind = CASE WHEN "
    "m.rest_state = 'cancelled' THEN 'cancelled' WHEN m.rest_state <> 'err' THEN 'kept' WHEN "
    "m.mark = 'held' THEN 'held' ELSE 'err' END AND f.at = "
    "m.finished AND f.seq = m.seq) END";

// The places but the line. Each query gives, after the key of the last row, the next rows: four
// columns of the key, the number, and whether there is such a message.
struct PlaceQuery {
  const char* table;
  std::array<const char*, 4> start;
  const char* sql;
};
constexpr const char* kLeast = "-9223372036854775808";
constexpr std::array<PlaceQuery, 4> kPlaces{{
    {"lease",
     {kLeast, "", "", ""},
     "SELECT l.seq, ?2, ?3, ?4, l.seq, EXISTS (SELECT 1 FROM message m WHERE m.seq = l.seq AND "
     "m.queue = l.queue) FROM lease l WHERE l.seq > CAST(?1 AS INTEGER) ORDER BY l.seq LIMIT ?5"},
    {"scheduled",
     {kLeast, kLeast, "", ""},
     "SELECT s.due, s.seq, ?3, ?4, s.seq, EXISTS (SELECT 1 FROM message m WHERE m.seq = s.seq AND "
     "m.queue = s.queue AND m.rest_state = 'scheduled' AND coalesce(m.due, m.created) = s.due) "
     "FROM scheduled s WHERE (s.due, s.seq) > (CAST(?1 AS INTEGER), CAST(?2 AS INTEGER)) ORDER BY "
     "s.due, s.seq LIMIT ?5"},
    {"finished",
     {kLeast, "", kLeast, kLeast},
     "SELECT f.queue, f.kind, f.at, f.seq, f.seq, EXISTS (SELECT 1 FROM message m WHERE m.seq = "
     "f.seq AND m.queue = f.queue AND m.finished = f.at AND f.kind = CASE WHEN m.rest_state IN "
     "('done', 'relayed') THEN 'kept' WHEN m.rest_state = 'cancelled' THEN 'cancelled' WHEN "
     "m.rest_state <> 'err' THEN '' WHEN m.mark "
     "= 'held' THEN 'held' ELSE 'err' END) FROM finished f WHERE (f.queue, f.kind, f.at, f.seq) > "
     "(CAST(?1 AS INTEGER), ?2, CAST(?3 AS INTEGER), CAST(?4 AS INTEGER)) ORDER BY f.queue, "
     "f.kind, f.at, f.seq LIMIT ?5"},
    {"parked",
     {kLeast, kLeast, "", ""},
     "SELECT p.queue, p.seq, ?3, ?4, p.seq, EXISTS (SELECT 1 FROM message m WHERE m.seq = p.seq "
     "AND m.queue = p.queue AND m.rest_state IN ('prep', 'throttled', 'depends')) FROM parked p "
     "WHERE (p.queue, p.seq) > (CAST(?1 AS INTEGER), CAST(?2 AS INTEGER)) ORDER BY p.queue, p.seq "
     "LIMIT ?5"},
}};

static_assert(core::kHighPriority == -1024, "the text about `high` says: rank < 1024");
// Each lists what should not be: one line a row.
constexpr std::array<const char*, 7> kSums{
    "SELECT 'queue ' || q.name || ' has lost its counters' FROM queue q WHERE NOT EXISTS (SELECT 1 "
    "FROM counter c WHERE c.queue = q.id)",
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
    "SELECT 'the line has messages ' || r.first_seq || ' to ' || r.last_seq || ' twice in part' "
    "FROM ready r WHERE r.first_seq <= (SELECT p.last_seq FROM ready p WHERE p.queue = r.queue AND "
    "p.rank = r.rank AND p.ord = r.ord AND p.last_seq < r.last_seq ORDER BY p.last_seq DESC LIMIT "
    "1)",
};

}  // namespace

Result<void> Check::prepare(Db& db) {
  db_ = &db;
  RQ_TRY(messages_.prepare(
      db.handle(), fmt::format("SELECT {}, q.id, {} FROM message m {} LEFT JOIN queue q ON q.id = "
                               "m.queue WHERE m.seq > ?1 ORDER BY m.seq LIMIT ?2",
                               kMessageColumns, kIsFiled, kMessageJoins)
                       .c_str()));
  RQ_TRY(next_run_.prepare(
      db.handle(),
      "SELECT queue, rank, ord, first_seq, last_seq FROM ready WHERE (queue, rank, ord, last_seq) "
      "> (?1, ?2, ?3, ?4) ORDER BY queue, rank, ord, last_seq LIMIT 1"));
  RQ_TRY(missing_.prepare(
      db.handle(),
      "WITH RECURSIVE n(seq) AS (VALUES (?1) UNION ALL SELECT seq + 1 FROM n WHERE seq < ?2) "
      "SELECT seq FROM n WHERE NOT EXISTS (SELECT 1 FROM message m WHERE m.seq = n.seq AND m.queue "
      "= ?3 AND m.priority = -?4 AND coalesce(m.ord, m.due, m.created) = ?5 AND m.rest_state = "
      "'que' AND NOT EXISTS (SELECT 1 FROM lease l WHERE l.seq = m.seq))"));
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
    found.push_back(
        {0, fmt::format("messages after {} cannot be read: {}", seq_, why.message), true});
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
    seq_ = seq_of(messages_);
    const auto message = read_message(messages_, crc_from_);
    if (message) bytes += message->payload.size();
    if (!message) {
      found.push_back({seq_, of_message(seq_, message.error()).message});
      continue;
    }
    // Rather the row of the queue is lost than that its messages are wrong.
    const bool lost_queue = messages_.is_null(kMessageColumnCount);
    if (lost_queue && lost_queues_.insert(message->queue).second) {
      found.push_back(
          {0, fmt::format("message {} is of queue {}, which is not there", seq_, message->queue)});
    }
    if (messages_.integer(kMessageColumnCount + 1) == 0) {
      const core::Place place = core::place_of(*message);
      found.push_back(
          {lost_queue ? 0 : seq_,
           fmt::format("message {} rests in {}, but is {}", seq_, name_of(message->state),
                       place == core::Place::line     ? "in no line"
                       : place == core::Place::parked ? "not parked"
                                                      : "not filed so")});
    }
  }
}

// Some messages of the line, each of which must be there.
Result<bool> Check::line(std::vector<Finding>& found) {
  for (std::int64_t left = kPieceRows; left > 0;) {
    if (run_.first > run_.last) {
      const Run before = run_;
      next_run_.bind(1, before.queue).bind(2, before.rank).bind(3, before.order);
      RQ_TRY_ASSIGN(there, next_run_.bind(4, before.last).step());
      if (!there) return false;
      run_ = {.queue = next_run_.integer(0),
              .rank = next_run_.integer(1),
              .order = next_run_.integer(2),
              .first = next_run_.integer(3),
              .last = next_run_.integer(4)};
      next_run_.reset();
      --left;
      if (run_.first > run_.last) {
        found.push_back({0, fmt::format("the line has messages {} to {}, which are not in que",
                                        run_.first, run_.last)});
        continue;
      }
    }
    const Seq end = std::min(run_.last, run_.first + left - 1);
    const std::int64_t looked = end - run_.first + 1;
    missing_.bind(1, run_.first).bind(2, end).bind(3, run_.queue).bind(4, run_.rank);
    missing_.bind(5, run_.order);
    std::vector<Finding> missing;
    for (;;) {
      RQ_TRY_ASSIGN(there, missing_.step());
      if (!there) break;
      const Seq seq = missing_.integer(0);
      missing.push_back(
          {seq, fmt::format("the line has message {}, which is not there or not in que", seq)});
    }
    if (std::ssize(missing) == kPieceRows) {
      // Rather the row of the line is wrong than so many messages.
      found.push_back({0, fmt::format("the line has messages {} to {}, of which most are not there "
                                      "or not in que",
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
  if (place_ == kPlaces.size()) return false;
  const PlaceQuery& place = kPlaces.at(place_);
  if (!last_key_) {
    last_key_.emplace();
    for (std::size_t i = 0; i < last_key_->size(); ++i) last_key_->at(i) = place.start.at(i);
  }
  Statement rows;
  RQ_TRY(rows.prepare(db_->handle(), place.sql, false));
  const auto after = *last_key_;
  for (std::size_t i = 0; i < after.size(); ++i) {
    rows.bind(static_cast<int>(i) + 1, std::string_view{after.at(i)});
  }
  rows.bind(5, kPieceRows);
  std::int64_t n = 0;
  for (;; ++n) {
    RQ_TRY_ASSIGN(there, rows.step());
    if (!there) break;
    for (std::size_t i = 0; i < after.size(); ++i) {
      last_key_->at(i) = rows.text(static_cast<int>(i));
    }
    const Seq seq = rows.integer(4);
    if (rows.integer(5) == 0) {
      found.push_back({seq, fmt::format("table {} has message {}, which is not there or not so",
                                        place.table, seq)});
    }
  }
  if (n < kPieceRows) {
    ++place_;
    last_key_.reset();
  }
  return true;
}

Result<void> Check::sums(std::vector<Finding>& found) {
  for (const char* rule : kSums) {
    Statement broken;
    RQ_TRY(broken.prepare(db_->handle(), rule, false));
    for (;;) {
      RQ_TRY_ASSIGN(there, broken.step());
      if (!there) break;
      found.push_back({0, std::string{broken.text(0)}});
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
    if (const auto queue = read_queue(queues); !queue) found.push_back({0, queue.error().message});
  }
}

Result<void> Check::pages(std::vector<Finding>& found) {
  Statement check;
  RQ_TRY(check.prepare(db_->handle(), "PRAGMA integrity_check", false));
  for (;;) {
    RQ_TRY_ASSIGN(there, check.step());
    if (!there) return {};
    if (check.text(0) != "ok") found.push_back({0, std::string{check.text(0)}, true});
  }
}

}  // namespace rq::store::sqlite
