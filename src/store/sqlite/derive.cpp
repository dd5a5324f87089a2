#include "store/sqlite/derive.h"

#include <fmt/format.h>

#include <string>
#include <string_view>

#include "core/message.h"
#include "store/sqlite/places.h"

namespace rq::store::sqlite {

using base::Result;

Result<void> derive(Db& db) {
  const std::string line = sql_of(core::Place::line).name;
  // What each column of counter counts, of the view.
  std::string counts;
  std::string sets;
  const auto count = [&](std::string_view column, const std::string& which) {
    counts += fmt::format(", count(*) FILTER (WHERE {}) AS {}", which, column);
    sets += fmt::format("{}{} = n.{}", sets.empty() ? "" : ", ", column, column);
  };
  for (int i = 0; i < core::kStateCount; ++i) {
    const auto state = static_cast<core::State>(i);
    if (state == core::State::run || state == core::State::que) continue;
    count(name_of(state), fmt::format("rest_state = '{}'", name_of(state)));
  }
  count("que", fmt::format("place = '{}'", line));
  count("high", fmt::format("place = '{}' AND rank < {}", line, -core::kHighPriority));
  count("run", fmt::format("place = '{}'", sql_of(core::Place::lease).name));
  count("held", fmt::format("place = '{}'", sql_of(core::Place::held).name));
  RQ_TRY(db.exec(R"sql(
DELETE FROM detail WHERE seq NOT IN (SELECT seq FROM message WHERE detailed = 1);
DELETE FROM attempt WHERE seq NOT IN (SELECT seq FROM message);
DELETE FROM lease WHERE seq NOT IN (SELECT seq FROM message WHERE rest_state = 'que');
UPDATE lease SET queue = (SELECT queue FROM message m WHERE m.seq = lease.seq);
INSERT OR IGNORE INTO tag SELECT t.value, d.seq FROM detail d, json_each(d.tags) t
 WHERE d.tags IS NOT NULL;
)sql"));
  RQ_TRY(db.exec(fmt::format(R"sql(
CREATE TEMP VIEW resting AS SELECT m.seq, m.queue, m.rest_state, {} AS place, -m.priority AS rank,
  coalesce(m.ord, m.due, m.created) AS ord, coalesce(m.due, m.created) AS due,
  coalesce(m.finished, 0) AS finished FROM main.message m;
INSERT INTO ready SELECT queue, rank, ord, max(seq), min(seq)
  FROM (SELECT queue, rank, ord, seq,
               seq - row_number() OVER (PARTITION BY queue, rank, ord ORDER BY seq) AS run
          FROM temp.resting WHERE place = '{}')
 GROUP BY queue, rank, ord, run;
INSERT INTO scheduled SELECT due, seq, queue FROM temp.resting WHERE place = 'scheduled';
INSERT INTO parked SELECT queue, seq FROM temp.resting WHERE place = 'parked';
INSERT INTO finished SELECT queue, place, finished, seq FROM temp.resting
 WHERE place IN ('kept', 'err', 'cancelled', 'held');
)sql",
                             place_sql(), line)
                     .c_str()));
  RQ_TRY(
      db.exec(fmt::format("UPDATE counter SET {} FROM (SELECT queue{} FROM temp.resting GROUP BY "
                          "queue) n WHERE n.queue = counter.queue",
                          sets, counts)
                  .c_str()));
  return db.exec(R"sql(
DELETE FROM counter WHERE queue NOT IN (SELECT id FROM queue);
INSERT INTO timer SELECT 'keep_done', queue, 0, 0 FROM counter WHERE done + relayed > 0;
INSERT INTO timer SELECT 'keep_cancelled', queue, 0, 0 FROM counter WHERE cancelled > 0;
INSERT INTO timer SELECT 'keep_err', queue, 0, 0 FROM counter WHERE err > held;
INSERT INTO timer SELECT 'resume', id, 0, paused_until FROM queue WHERE paused_until IS NOT NULL;
INSERT INTO timer SELECT 'idle', id, 0, 0 FROM queue WHERE on_demand;
INSERT INTO timer SELECT 'going', id, 0, 0 FROM queue WHERE going;
)sql");
}

}  // namespace rq::store::sqlite
