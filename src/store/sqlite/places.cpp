#include "store/sqlite/places.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

#include "base/check.h"

namespace rq::store::sqlite {

using core::Mark;
using core::Place;
using core::State;

namespace {

// In the order of core::Place.
constexpr std::array<PlaceSql, 8> kPlaces{{
    {"ready", "ready", "t.queue, t.rank, t.ord", "t.first_seq <= {0} AND t.last_seq >= {0}", "1",
     "t.rank = -m.priority AND t.ord = coalesce(m.ord, m.due, m.created)"},
    {"scheduled", "scheduled", "t.queue, 0, t.due", "t.seq = {0}", "1",
     "t.due = coalesce(m.due, m.created)"},
    {"lease", "lease", "t.queue, 0, t.until", "t.seq = {0}", "1", "1"},
    {"kept", "finished", "t.queue, 0, t.at", "t.seq = {0}", "t.kind = 'kept'",
     "t.at = coalesce(m.finished, 0)"},
    {"err", "finished", "t.queue, 0, t.at", "t.seq = {0}", "t.kind = 'err'",
     "t.at = coalesce(m.finished, 0)"},
    {"cancelled", "finished", "t.queue, 0, t.at", "t.seq = {0}", "t.kind = 'cancelled'",
     "t.at = coalesce(m.finished, 0)"},
    {"held", "finished", "t.queue, 0, t.at", "t.seq = {0}", "t.kind = 'held'",
     "t.at = coalesce(m.finished, 0)"},
    {"parked", "parked", "t.queue, 0, 0", "t.seq = {0}", "1", "1"},
}};
static_assert(static_cast<std::size_t>(Place::parked) + 1 == kPlaces.size());

std::string make_place_sql() {
  const std::string que{name_of(State::que)};
  std::string sql = fmt::format(
      "CASE WHEN m.rest_state = '{}' AND EXISTS (SELECT 1 FROM lease x WHERE x.seq = m.seq) THEN "
      "'{}'",
      que, sql_of(Place::lease).name);
  core::Message m;
  for (int i = 0; i < core::kStateCount; ++i) {
    m.state = static_cast<State>(i);
    if (m.state == State::run) continue;  // it is of a lease
    m.mark = Mark::none;
    const Place plain = place_of(m);
    m.mark = Mark::held;
    const Place held = place_of(m);
    if (held != plain) {
      sql += fmt::format(" WHEN m.rest_state = '{}' AND m.mark = '{}' THEN '{}'", name_of(m.state),
                         name_of(m.mark), sql_of(held).name);
    }
    sql += fmt::format(" WHEN m.rest_state = '{}' THEN '{}'", name_of(m.state), sql_of(plain).name);
  }
  return sql + " END";
}

}  // namespace

const std::string& place_sql() {
  static const std::string sql = make_place_sql();
  return sql;
}

const PlaceSql& sql_of(Place place) {
  RQ_CHECK(place != Place::any);
  return kPlaces.at(static_cast<std::size_t>(place));
}

std::string fits_sql(Place place) {
  const PlaceSql& sql = sql_of(place);
  return fmt::format("t.queue = m.queue AND {} AND {} AND {}", sql.kind, sql.key,
                     fmt::format(fmt::runtime(sql.is_of), "m.seq"));
}

std::string row_sql(const core::Filed& row, std::string_view seq) {
  const PlaceSql& sql = sql_of(row.place);
  return fmt::format("({}) = ({}, {}, {}) AND {} AND {}", sql.filed, row.queue, row.rank, row.time,
                     sql.kind, fmt::format(fmt::runtime(sql.is_of), seq));
}

}  // namespace rq::store::sqlite
