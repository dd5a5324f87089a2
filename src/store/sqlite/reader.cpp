#include "store/sqlite/reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "base/limits.h"
#include "store/sqlite/rows.h"

namespace rq::store::sqlite {

using core::State;

namespace {
constexpr int kStepsUnasked = 1000;  // of SQLite's machine: far below a millisecond
// The pages of a larger store are left to rq doctor, bytes.
constexpr std::int64_t kPagesBesideMax = 1LL << 30U;
}  // namespace

Result<void> SqliteReader::open(const std::filesystem::path& file) {
  RQ_TRY(db_.open(file, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX));
  RQ_TRY(db_.exec("PRAGMA busy_timeout = 2000"));
  RQ_TRY(db_.exec("PRAGMA query_only = 1"));
  RQ_TRY(db_.exec("PRAGMA cache_size = -8192"));
  RQ_TRY_ASSIGN(from, read_crc_from(db_));
  crc_from_ = from;
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
  if (!message) return of_message(seq, std::move(message).error());
  return std::optional<MessageRow>{
      MessageRow{.message = std::move(*message), .queue = std::move(queue)}};
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

void SqliteReader::stop_when(std::function<bool()> stop) {
  stop_ = std::move(stop);
  sqlite3_progress_handler(
      db_.handle(), kStepsUnasked,
      [](void* reader) { return static_cast<SqliteReader*>(reader)->stop_() ? 1 : 0; }, this);
}

// A piece sees one state of the store. The pages come last: they cannot be read in pieces, and of a
// large store not at all beside others.
Result<bool> SqliteReader::check(std::vector<core::Finding>& found) {
  auto more = check_piece(found);
  if (!more && is_damage(db_)) {
    found.push_back({0, more.error().message, true});
    more = false;
  }
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

namespace {

// A condition with the values that its question marks stand for.
class Conditions {
 public:
  void add(const std::string& sql) {
    if (!sql_.empty()) sql_ += " AND ";
    sql_ += sql;
  }
  // `{0}` in `sql` stands for the value.
  void add(std::string_view sql, std::int64_t value) {
    numbers_.emplace_back(++count_, value);
    add(numbered(sql));
  }
  void add(std::string_view sql, std::string value) {
    texts_.emplace_back(++count_, std::move(value));
    add(numbered(sql));
  }
  [[nodiscard]] std::string where() const { return sql_.empty() ? "1" : sql_; }
  void bind(Statement& statement) const {
    for (const auto& [at, value] : numbers_) statement.bind(at, value);
    for (const auto& [at, value] : texts_) statement.bind(at, std::string_view{value});
  }

 private:
  [[nodiscard]] std::string numbered(std::string_view sql) const {
    return fmt::format(fmt::runtime(sql), fmt::format("?{}", count_));
  }

  std::string sql_;
  std::vector<std::pair<int, std::int64_t>> numbers_;
  std::vector<std::pair<int, std::string>> texts_;
  int count_ = 0;
};

// "%text%" for LIKE ... ESCAPE '\'.
std::string like_pattern(std::string_view text) {
  std::string out = "%";
  for (const char c : text) {
    if (c == '%' || c == '_' || c == '\\') out += '\\';
    out += c;
  }
  return out + "%";
}

void add_state(Conditions& where, State state) {
  if (state == State::run) {
    where.add("l.seq IS NOT NULL");
  } else if (state == State::que) {
    where.add("m.rest_state = 'que' AND l.seq IS NULL");
  } else {
    where.add("m.rest_state = {0}", std::string{name_of(state)});
  }
}

Conditions conditions_of(const Filter& filter, std::optional<QueueId> queue) {
  Conditions where;
  if (queue) where.add("m.queue = {0}", *queue);
  if (filter.state) add_state(where, *filter.state);
  if (filter.mark) {
    if (*filter.mark == core::Mark::none) {
      where.add("m.mark IS NULL");
    } else {
      where.add("m.mark = {0}", std::string{name_of(*filter.mark)});
    }
  }
  if (!filter.tag.empty()) {
    where.add("m.seq IN (SELECT seq FROM tag WHERE tag = {0})", filter.tag);
  }
  if (!filter.key.empty()) {
    where.add("m.seq = (SELECT seq FROM detail WHERE key = {0})", filter.key);
  }
  if (filter.after) where.add("m.created >= {0}", base::to_ms(*filter.after));
  if (filter.before) where.add("m.created < {0}", base::to_ms(*filter.before));
  if (!filter.text.empty()) {
    where.add(
        "(CAST(m.payload AS TEXT) || char(10) || coalesce(d.param1, '') || char(10) || "
        "coalesce(d.param2, '') || char(10) || coalesce(d.param3, '') || char(10) || "
        "coalesce(d.param4, '') || char(10) || coalesce(d.progress, '') || char(10) || "
        "coalesce(d.result, '') || char(10) || coalesce(d.src, '') || char(10) || "
        "coalesce(d.dest, '')) LIKE {0} ESCAPE '\\'",
        like_pattern(filter.text));
  }
  return where;
}

// The table that holds all messages of a queue in this state, and nothing else; empty: none does.
std::string source_of(State state) {
  switch (state) {
    case State::que:
      return "SELECT w.seq FROM ready r CROSS JOIN message w ON w.seq BETWEEN r.first_seq AND "
             "r.last_seq WHERE r.queue = {0}";
    case State::scheduled:
      return "SELECT seq FROM scheduled WHERE queue = {0}";
    case State::run:
      return "SELECT seq FROM lease WHERE queue = {0}";
    case State::err:
      return "SELECT seq FROM finished WHERE queue = {0} AND kind IN ('err', 'held')";
    case State::done:
    case State::relayed:
    case State::cancelled:
      return "SELECT seq FROM finished WHERE queue = {0} AND kind = 'kept'";
    case State::prep:
    case State::throttled:
    case State::depends:
      return "SELECT seq FROM parked WHERE queue = {0}";
  }
  return {};
}

}  // namespace

Result<Listed> SqliteReader::list(const Page& page) {
  Listed out;
  const Filter& filter = page.filter;
  std::optional<QueueId> queue;
  if (!filter.queue.empty()) {
    RQ_TRY_ASSIGN(id, queue_id(filter.queue));
    if (!id) {
      return base::fail(base::Code::not_found, fmt::format("there is no queue '{}'", filter.queue),
                        "see: rq queue list");
    }
    queue = id;
  }
  Conditions where = conditions_of(filter, queue);
  if (page.cursor > 0) {
    if (page.newest_first) {
      where.add("m.seq < {0}", page.cursor);
    } else {
      where.add("m.seq > {0}", page.cursor);
    }
  }

  // Small sets are found through their own index; otherwise the rows are walked in their order, at
  // most kListScanMax of them.
  bool walked = filter.key.empty() && filter.tag.empty();
  if (queue && filter.state && walked) {
    RQ_TRY_ASSIGN(count, count_in(*queue, *filter.state));
    const std::string source = source_of(*filter.state);
    if (!source.empty() && count <= kSortedStateMax) {
      where.add("m.seq IN (" + fmt::format(fmt::runtime(source), *queue) + ")");
      walked = false;
    }
  }
  std::optional<Seq> scan_end;
  if (walked) {
    // The row where the walk must stop.
    Statement last;
    RQ_TRY(last.prepare(
        db_.handle(),
        page.newest_first ? "SELECT seq FROM message WHERE seq < ?1 ORDER BY seq DESC LIMIT 1 "
                            "OFFSET ?2"
                          : "SELECT seq FROM message WHERE seq > ?1 ORDER BY seq LIMIT 1 OFFSET ?2",
        false));
    const Seq from = page.cursor > 0 ? page.cursor : (page.newest_first ? INT64_MAX : 0);
    last.bind(1, from).bind(2, static_cast<std::int64_t>(base::kListScanMax));
    RQ_TRY_ASSIGN(more, last.step());
    if (more) {
      scan_end = last.integer(0);
      if (page.newest_first) {
        where.add("m.seq > {0}", *scan_end);
      } else {
        where.add("m.seq < {0}", *scan_end);
      }
    }
  }

  // What is cut cannot be held against its checksum.
  std::string columns = kMessageColumns;
  const auto crc = columns.find("m.crc");
  columns.replace(crc, std::string_view{"m.crc"}.size(),
                  page.payloads
                      ? fmt::format("iif(length(m.payload) <= {}, m.crc, NULL)", kListPayloadBytes)
                      : std::string{"NULL"});
  const auto payload = columns.find("m.payload");
  columns.replace(payload, std::string_view{"m.payload"}.size(),
                  page.payloads ? fmt::format("substr(m.payload, 1, {})", kListPayloadBytes)
                                : std::string{"x''"});
  const std::string sql = fmt::format(
      "SELECT {}, q.name, length(m.payload) FROM message m JOIN queue q ON q.id = m.queue {} WHERE "
      "{} ORDER BY m.seq {} LIMIT {}",
      columns, kMessageJoins, where.where(), page.newest_first ? "DESC" : "ASC", page.limit + 1);
  Statement query;
  RQ_TRY(query.prepare(db_.handle(), sql.c_str(), false));
  where.bind(query);
  for (;;) {
    RQ_TRY_ASSIGN(found, query.step());
    if (!found) break;
    if (static_cast<std::int64_t>(out.rows.size()) == page.limit) {
      out.cursor = out.rows.back().message.seq;
      return out;
    }
    auto message = read_message(query, INT64_MAX);
    if (!message) continue;  // damaged: it will be set aside, and is not shown
    out.rows.push_back({.message = std::move(*message),
                        .queue = std::string{query.text(kMessageColumnCount)},
                        .payload_bytes = query.integer(kMessageColumnCount + 1)});
  }
  if (scan_end) {
    out.cut = true;
    out.cursor = page.newest_first ? *scan_end + 1 : *scan_end - 1;
  }
  return out;
}

}  // namespace rq::store::sqlite
