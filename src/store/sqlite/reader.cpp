#include "store/sqlite/reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "base/limits.h"
#include "store/sqlite/rows.h"

namespace rq::store::sqlite {

using core::State;

namespace {
constexpr const char* kSmallCache = "PRAGMA cache_size = -8192";  // KiB, of each reader
constexpr core::StateSet kRunning{State::run};
constexpr int kStepsUnasked = 1000;  // of SQLite's machine: far below a millisecond
// The pages of a larger store are left to rq doctor, bytes.
constexpr std::int64_t kPagesBesideMax = 1LL << 30U;
constexpr std::size_t kDamagedMax = 100;  // told of at once; the next look-up meets the others
}  // namespace

Result<void> SqliteReader::open(const std::filesystem::path& file) {
  RQ_TRY(db_.open(file, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX));
  RQ_TRY(db_.exec(kWaitForOthers));
  RQ_TRY(db_.exec("PRAGMA query_only = 1"));
  RQ_TRY(db_.exec(kSmallCache));
  RQ_TRY(add_functions(db_));
  RQ_TRY_ASSIGN(from, read_crc_from(db_));
  crc_from_ = from;
  RQ_TRY(files_.remember(file));
  const std::string select =
      fmt::format("SELECT {}, q.name FROM message m JOIN queue q ON q.id = m.queue {} ",
                  kMessageColumns, kMessageJoins);
  RQ_TRY(by_seq_.prepare(db_.handle(), (select + "WHERE m.seq = ?1").c_str()));
  RQ_TRY(by_key_.prepare(
      db_.handle(), (select + "WHERE m.seq = (SELECT seq FROM detail WHERE key = ?1)").c_str()));
  RQ_TRY(attempts_.prepare(db_.handle(),
                           "SELECT seq, number, worker, started, ended, outcome, reason, "
                           "post_mortem FROM attempt WHERE seq = ?1 ORDER BY number"));
  RQ_TRY(ahead_.prepare(db_.handle(),
                        // The runs before it, and what is before it in its own.
                        "SELECT coalesce(sum(n), 0) FROM (SELECT * FROM (SELECT last_seq - "
                        "first_seq + 1 AS n FROM ready WHERE queue = ?1 AND (rank, ord, last_seq) "
                        "< (?2, ?5, ?3) LIMIT ?4) UNION ALL SELECT * FROM (SELECT max(0, ?3 - "
                        "first_seq) FROM ready WHERE queue = ?1 AND rank = ?2 AND ord = ?5 AND "
                        "last_seq >= ?3 ORDER BY last_seq LIMIT 1))"));
  RQ_TRY(oldest_.prepare(db_.handle(),
                         // The first of each priority; from one to the next by the index.
                         "WITH RECURSIVE line(rank) AS (SELECT min(rank) FROM ready WHERE queue = "
                         "?1 UNION ALL SELECT (SELECT min(rank) FROM ready WHERE queue = ?1 AND "
                         "rank > line.rank) FROM line WHERE line.rank IS NOT NULL LIMIT 1000) "
                         "SELECT m.created FROM message m WHERE m.seq = (SELECT min((SELECT "
                         "first_seq FROM ready WHERE queue = ?1 AND rank = line.rank ORDER BY "
                         "ord, last_seq LIMIT 1)) FROM line WHERE line.rank IS NOT NULL)"));
  RQ_TRY(queue_id_.prepare(db_.handle(), "SELECT id FROM queue WHERE name = ?1"));
  return waste_.prepare(db_.handle(),
                        "SELECT folder FROM waste WHERE folder > ?1 ORDER BY folder LIMIT ?2");
}

Result<std::optional<MessageRow>> SqliteReader::one(Statement& query) {
  RQ_TRY_ASSIGN(found, query.step());
  if (!found) return std::optional<MessageRow>{};
  const Seq seq = seq_of(query);
  auto message = read_message(query, crc_from_);
  std::string queue{query.text(kMessageColumnCount)};
  query.reset();
  if (!message) {
    is_damaged(seq);
    return of_message(seq, std::move(message).error());
  }
  return std::optional<MessageRow>{
      MessageRow{.message = std::move(*message), .queue = std::move(queue)}};
}

void SqliteReader::is_damaged(Seq seq) {
  if (damaged_.size() < kDamagedMax) damaged_.push_back({.seq = seq, .unreadable = true});
}

Result<std::optional<MessageRow>> SqliteReader::message(Seq seq) {
  return one(by_seq_.bind(1, seq));
}

Result<std::optional<MessageRow>> SqliteReader::message_by_key(std::string_view key) {
  return one(by_key_.bind(1, key));
}

Result<std::vector<Attempt>> SqliteReader::attempts(Seq seq) {
  std::vector<Attempt> out;
  attempts_.bind(1, seq);
  for (;;) {
    RQ_TRY_ASSIGN(found, attempts_.step());
    if (!found) return out;
    out.push_back(read_attempt(attempts_));
  }
}

Result<std::int64_t> SqliteReader::ahead_of(const MessageRow& row, std::int64_t bound) {
  const core::Message& m = row.message;
  ahead_.bind(1, m.queue).bind(2, -m.priority).bind(3, m.seq).bind(4, bound).bind(5, m.order);
  RQ_TRY_ASSIGN(found, ahead_.step());
  const std::int64_t ahead = found ? std::min(ahead_.integer(0), bound) : 0;
  ahead_.reset();
  return ahead;
}

Result<std::optional<Instant>> SqliteReader::oldest_ready(QueueId queue) {
  RQ_TRY_ASSIGN(found, oldest_.bind(1, queue).step());
  if (!found) return std::optional<Instant>{};
  const Instant created = oldest_.instant(0);
  oldest_.reset();
  return std::optional<Instant>{created};
}

Result<std::vector<std::string>> SqliteReader::waste(std::string_view after, std::int64_t limit) {
  std::vector<std::string> out;
  waste_.bind(1, after).bind(2, limit);
  for (;;) {
    RQ_TRY_ASSIGN(found, waste_.step());
    if (!found) return out;
    out.emplace_back(waste_.text(0));
  }
}

Result<std::optional<QueueId>> SqliteReader::queue_id(std::string_view name) {
  RQ_TRY_ASSIGN(found, queue_id_.bind(1, name).step());
  if (!found) return std::optional<QueueId>{};
  const QueueId id = queue_id_.integer(0);
  queue_id_.reset();
  return std::optional<QueueId>{id};
}

Result<std::int64_t> SqliteReader::count_in(QueueId queue, State state) {
  // The columns of counter bear the names of the states.
  Statement count;
  RQ_TRY(count.prepare(
      db_.handle(), fmt::format("SELECT {} FROM counter WHERE queue = ?1", name_of(state)).c_str(),
      false));
  RQ_TRY_ASSIGN(found, count.bind(1, queue).step());
  return found ? count.integer(0) : 0;
}

Result<void> SqliteReader::check_still_there() {
  SameFiles::Seen seen = files_.look(db_);
  return seen.state == SameFiles::State::same ? Result<void>{} : Result<void>{std::move(seen.why)};
}

void SqliteReader::stop_when(std::function<bool()> stop) {
  stop_ = std::move(stop);
  sqlite3_progress_handler(
      db_.handle(), kStepsUnasked,
      [](void* reader) { return static_cast<SqliteReader*>(reader)->stop_() ? 1 : 0; }, this);
}

// A piece sees one state of the store. What cannot be read ends the check, with a fault and a
// finding: nobody has looked at what is behind it. The pages come last: they cannot be read in
// pieces, and of a large store not at all beside others.
Result<bool> SqliteReader::check(std::vector<core::Finding>& found) {
  auto more = check_piece(found);
  if (!more && is_damage(db_)) found.push_back({.text = more.error().message, .page = true});
  static_cast<void>(db_.exec("COMMIT"));
  if (!more || !*more) check_.reset();
  return more;
}

Result<bool> SqliteReader::check_piece(std::vector<core::Finding>& found) {
  RQ_TRY(db_.exec("BEGIN"));
  if (!check_) {
    check_ = std::make_unique<Check>();
    RQ_TRY(check_->prepare(db_));
  }
  RQ_TRY_ASSIGN(more, check_->step(found));
  if (more) return true;
  RQ_TRY_ASSIGN(bytes, db_.one("SELECT page_count * page_size FROM pragma_page_count(), "
                               "pragma_page_size()"));
  if (bytes.value_or(0) <= kPagesBesideMax) RQ_TRY(check_->pages(found));
  return false;
}

// --- Lists ---

Result<std::optional<QueueId>> SqliteReader::queue_of(const Filter& filter) {
  if (filter.queue.empty()) return std::optional<QueueId>{};
  RQ_TRY_ASSIGN(queue, queue_id(filter.queue));
  if (queue) return queue;
  return base::fail(base::Code::not_found, fmt::format("there is no queue '{}'", filter.queue),
                    "see: rq queue list");
}

// Small sets are found through their own index. Others are walked by number, through all messages,
// those of a tag or those that run, at most `scan_max` rows of them.
Result<SqliteReader::Walk> SqliteReader::walk(const Filter& filter, Range range,
                                              std::int64_t scan_max) {
  RQ_TRY_ASSIGN(queue, queue_of(filter));
  Walk out{.where = conditions_of(filter, queue)};
  const bool tagged = !filter.tag.empty();
  const char* table = tagged ? "tag" : "message";
  if (tagged) {
    out.from = "tag t CROSS JOIN message m ON m.seq = t.seq";
    out.number = "t.seq";
    out.where.add("t.tag = {0}", filter.tag);
  } else if (filter.states == kRunning) {
    table = "lease";
    out.from = "lease w CROSS JOIN message m ON m.seq = w.seq";
    out.number = "w.seq";
  }
  bool few = !filter.key.empty() || takes_all(filter);
  if (!few && queue && !filter.states.empty() && !tagged) {
    std::int64_t count = 0;
    for (int i = 0; i < core::kStateCount; ++i) {
      const auto state = static_cast<State>(i);
      if (!filter.states.has(state)) continue;
      RQ_TRY_ASSIGN(n, count_in(*queue, state));
      count += n;
    }
    few = count <= kSortedStateMax;
    if (few) out.where.add("m.seq IN (" + numbers_in(filter.states, *queue) + ")");
  }
  if (!few) {
    Statement last;
    const std::string sql = fmt::format(
        "SELECT seq FROM {} WHERE seq > ?1 AND seq < ?2 {} ORDER BY seq {} LIMIT 1 OFFSET ?3",
        table, tagged ? "AND tag = ?4" : "", range.newest_first ? "DESC" : "ASC");
    RQ_TRY(last.prepare(db_.handle(), sql.c_str(), false));
    last.bind(1, range.above).bind(2, range.below).bind(3, scan_max);
    if (tagged) last.bind(4, std::string_view{filter.tag});
    RQ_TRY_ASSIGN(more, last.step());
    if (more) {
      out.stop = last.integer(0);
      (range.newest_first ? range.above : range.below) = *out.stop;
    }
  }
  out.where.add(out.number + " > {0}", range.above);
  out.where.add(out.number + " < {0}", range.below);
  return out;
}

namespace {

// Of a message in a list: its payload is cut, and what is cut cannot be held against its checksum.
std::string columns_of(const Page& page) {
  std::string columns = kMessageColumns;
  const auto put = [&columns](std::string_view name, const std::string& instead) {
    columns.replace(columns.find(name), name.size(), instead);
  };
  put("m.crc", page.payloads
                   ? fmt::format("iif(length(m.payload) <= {}, m.crc, NULL)", kListPayloadBytes)
                   : "NULL");
  put("m.payload",
      page.payloads ? fmt::format("substr(m.payload, 1, {})", kListPayloadBytes) : "x''");
  return columns;
}

}  // namespace

Result<Listed> SqliteReader::list(const Page& page) {
  Range range{.newest_first = page.newest_first};
  if (page.cursor > 0) (page.newest_first ? range.below : range.above) = page.cursor;
  RQ_TRY_ASSIGN(rows, walk(page.filter, range, static_cast<std::int64_t>(base::kListScanMax)));
  Listed out;
  const std::string sql = fmt::format(
      "SELECT {}, q.name, length(m.payload), m.crc IS NULL FROM {} CROSS JOIN queue q ON q.id = "
      "m.queue {} WHERE "
      "{} ORDER BY {} {} LIMIT {}",
      columns_of(page), rows.from, kMessageJoins, rows.where.where(), rows.number,
      page.newest_first ? "DESC" : "ASC", page.limit + 1);
  Statement query;
  RQ_TRY(query.prepare(db_.handle(), sql.c_str(), false));
  rows.where.bind(query);
  Seq last = 0;
  for (std::int64_t looked = 0;; ++looked) {
    RQ_TRY_ASSIGN(found, query.step());
    if (!found) break;
    if (looked == page.limit) {
      out.cursor = last;
      return out;
    }
    last = seq_of(query);
    auto message = read_message(query, INT64_MAX);
    const bool has_lost_crc = last >= crc_from_ && query.integer(kMessageColumnCount + 2) != 0;
    if (!message || has_lost_crc) {  // it is set aside or mended soon, and not shown
      is_damaged(last);
      continue;
    }
    out.rows.push_back({.message = std::move(*message),
                        .queue = std::string{query.text(kMessageColumnCount)},
                        .payload_bytes = query.integer(kMessageColumnCount + 1)});
  }
  if (rows.stop) {
    out.cut = true;
    out.cursor = page.newest_first ? *rows.stop + 1 : *rows.stop - 1;
  }
  return out;
}

Result<core::FoundPage> SqliteReader::find(const core::Search& search) {
  core::FoundPage out{.until = search.until};
  if (out.until == 0) {
    RQ_TRY_ASSIGN(newest, db_.one("SELECT max(seq) FROM message"));
    out.until = newest.value_or(0);
  }
  RQ_TRY_ASSIGN(rows,
                walk(search.filter, {.above = search.after, .below = out.until + 1}, kFindScanMax));
  const std::string sql = fmt::format(
      "SELECT {0}, m.created, m.queue, CASE WHEN l.seq IS NULL THEN m.rest_state ELSE 'run' END "
      "FROM {1} {2} WHERE {3} ORDER BY {0} LIMIT {4}",
      rows.number, rows.from, kMessageJoins, rows.where.where(), search.limit + 1);
  Statement query;
  RQ_TRY(query.prepare(db_.handle(), sql.c_str(), false));
  rows.where.bind(query);
  Seq last = 0;
  for (std::int64_t looked = 0;; ++looked) {
    RQ_TRY_ASSIGN(found, query.step());
    if (!found) break;
    if (looked == search.limit) {
      out.after = last;
      return out;
    }
    last = query.integer(0);
    const auto state = core::state_of(query.text(3));
    if (!state) {
      is_damaged(last);
      continue;
    }
    out.found.push_back({.seq = query.integer(0),
                         .created = query.instant(1),
                         .queue = query.integer(2),
                         .state = *state});
  }
  if (rows.stop) out.after = *rows.stop - 1;
  return out;
}

}  // namespace rq::store::sqlite
