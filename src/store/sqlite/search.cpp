#include "store/sqlite/search.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include "core/fingerprint.h"

namespace rq::store::sqlite {

using core::State;

namespace {

// "%text%" for LIKE ... ESCAPE '\'.
std::string like_pattern(std::string_view text) {
  std::string out = "%";
  for (const char c : text) {
    if (c == '%' || c == '_' || c == '\\') out += '\\';
    out += c;
  }
  return out + "%";
}

// The table that holds all messages of a queue in this state, and nothing else; empty: none does.
std::string_view source_of(State state) {
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
      return "SELECT seq FROM finished WHERE queue = {0} AND kind = 'kept'";
    case State::cancelled:
      return "SELECT seq FROM finished WHERE queue = {0} AND kind = 'cancelled'";
    case State::prep:
    case State::throttled:
    case State::depends:
      return "SELECT seq FROM parked WHERE queue = {0}";
  }
  return {};
}

// Calls each(state) for each of them.
template <typename Each>
void for_each_state(core::StateSet states, Each each) {
  for (int i = 0; i < core::kStateCount; ++i) {
    if (states.has(static_cast<State>(i))) each(static_cast<State>(i));
  }
}

void add_states(Conditions& where, core::StateSet states) {
  if (states.empty()) return;
  std::string rest;
  for_each_state(states, [&rest](State state) {
    if (state == State::run) return;
    rest += fmt::format("{}'{}'", rest.empty() ? "" : ", ", name_of(state));
  });
  std::string sql = states.has(State::run) ? "l.seq IS NOT NULL" : "";
  if (!rest.empty()) {
    sql +=
        fmt::format("{}(l.seq IS NULL AND m.rest_state IN ({}))", sql.empty() ? "" : " OR ", rest);
  }
  where.add("(" + sql + ")");
}

}  // namespace

Result<void> add_functions(Db& db) {
  const auto fingerprint = [](sqlite3_context* context, int /*count*/, sqlite3_value** values) {
    const void* bytes = sqlite3_value_blob(values[0]);
    const auto size = static_cast<std::size_t>(sqlite3_value_bytes(values[0]));
    const std::string out =
        core::fingerprint({bytes == nullptr ? "" : static_cast<const char*>(bytes), size});
    sqlite3_result_text(context, out.data(), static_cast<int>(out.size()), SQLITE_TRANSIENT);
  };
  const int code =
      sqlite3_create_function_v2(db.handle(), "fingerprint", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC,
                                 nullptr, fingerprint, nullptr, nullptr, nullptr);
  if (code == SQLITE_OK) return {};
  return base::fail(base::Code::internal, sqlite3_errstr(code));
}

// --- Conditions ---

void Conditions::add(const std::string& sql) {
  if (!sql_.empty()) sql_ += " AND ";
  sql_ += sql;
}

void Conditions::add(std::string_view sql, std::int64_t value) {
  numbers_.emplace_back(++count_, value);
  add(numbered(sql));
}

void Conditions::add(std::string_view sql, std::string value) {
  texts_.emplace_back(++count_, std::move(value));
  add(numbered(sql));
}

void Conditions::bind(Statement& statement) const {
  for (const auto& [at, value] : numbers_) statement.bind(at, value);
  for (const auto& [at, value] : texts_) statement.bind(at, std::string_view{value});
}

std::string Conditions::numbered(std::string_view sql) const {
  return fmt::format(fmt::runtime(sql), fmt::format("?{}", count_));
}

// --- Filters ---

Conditions conditions_of(const Filter& filter, std::optional<QueueId> queue) {
  Conditions where;
  if (queue) where.add("m.queue = {0}", *queue);
  add_states(where, filter.states);
  if (filter.mark) {
    if (*filter.mark == core::Mark::none) {
      where.add("m.mark IS NULL");
    } else {
      where.add("m.mark = {0}", std::string{name_of(*filter.mark)});
    }
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
  if (!filter.fingerprint.empty()) {
    where.add(
        "l.seq IS NULL AND m.rest_state = 'err' AND fingerprint(coalesce(d.progress, '')) = {0}",
        filter.fingerprint);
  }
  return where;
}

bool takes_all(const Filter& filter) {
  return filter.queue.empty() && filter.states.empty() && !filter.mark && filter.key.empty() &&
         filter.text.empty() && filter.fingerprint.empty() && !filter.after && !filter.before;
}

std::string numbers_in(core::StateSet states, QueueId queue) {
  std::string sql;
  for_each_state(states, [&sql, queue](State state) {
    if (!sql.empty()) sql += " UNION ";
    sql += fmt::format(fmt::runtime(source_of(state)), queue);
  });
  return sql;
}

}  // namespace rq::store::sqlite
