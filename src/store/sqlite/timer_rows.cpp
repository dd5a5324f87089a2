#include "store/sqlite/timer_rows.h"

#include <array>

namespace rq::store::sqlite {

using base::Result;

namespace {
// As the tables have them; `going` is a queue that is being deleted.
constexpr std::array<std::string_view, 6> kNames{"keep_done", "keep_err", "keep_cancelled",
                                                 "resume",    "idle",     "going"};
}  // namespace

std::string_view name_of(Timer::What what) { return kNames.at(static_cast<std::size_t>(what)); }

Result<void> TimerRows::prepare(Db& db) {
  RQ_TRY(all_.prepare(db.handle(), "SELECT what, queue, seq, at FROM timer"));
  RQ_TRY(replace_.prepare(db.handle(), "INSERT OR REPLACE INTO timer VALUES (?1,?2,?3,?4)"));
  return remove_.prepare(db.handle(),
                         "DELETE FROM timer WHERE what = ?1 AND queue = ?2 AND seq = ?3");
}

Result<void> TimerRows::load() {
  at_.clear();
  by_time_.clear();
  changed_.clear();
  for (;;) {
    RQ_TRY_ASSIGN(found, all_.step());
    if (!found) return {};
    for (std::size_t i = 0; i < kNames.size(); ++i) {
      if (all_.text(0) != kNames.at(i)) continue;
      const Key key{static_cast<Timer::What>(i), all_.integer(1), all_.integer(2)};
      at_.emplace(key, all_.instant(3));
      by_time_.emplace(all_.instant(3), key);
    }
  }
}

void TimerRows::arm(const Timer& timer) {
  const Key key = key_of(timer);
  const auto [place, made] = at_.try_emplace(key, timer.at);
  if (!made) {
    if (place->second == timer.at) return;
    by_time_.erase({place->second, key});
    place->second = timer.at;
  }
  by_time_.emplace(timer.at, key);
  changed_.insert(key);
}

void TimerRows::disarm(const Timer& timer) {
  const auto found = at_.find(key_of(timer));
  if (found == at_.end()) return;
  by_time_.erase({found->second, found->first});
  changed_.insert(found->first);
  at_.erase(found);
}

std::vector<Timer> TimerRows::due(Instant now, std::int64_t n) const {
  std::vector<Timer> out;
  for (const auto& [at, key] : by_time_) {
    if (at > now || std::ssize(out) >= n) break;
    out.push_back({.what = key.what, .at = at, .queue = key.queue, .seq = key.seq});
  }
  return out;
}

Instant TimerRows::next() const {
  return by_time_.empty() ? Instant::max() : by_time_.begin()->first;
}

Result<void> TimerRows::flush() {
  for (const Key& key : changed_) {
    const auto found = at_.find(key);
    Statement& statement = found == at_.end() ? remove_ : replace_;
    statement.bind(1, name_of(key.what)).bind(2, key.queue).bind(3, key.seq);
    if (found != at_.end()) statement.bind(4, base::to_ms(found->second));
    RQ_TRY(statement.run());
  }
  changed_.clear();
  return {};
}

}  // namespace rq::store::sqlite
