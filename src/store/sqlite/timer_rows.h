#pragma once
// The timers: all of them in memory, by their time, and in a table. They are few beside messages.
// Thread: engine.
#include <compare>
#include <cstdint>
#include <map>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "core/store.h"
#include "store/sqlite/db.h"

namespace rq::store::sqlite {

class TimerRows {
 public:
  [[nodiscard]] base::Result<void> prepare(Db& db);
  // Reads all, and forgets what was not flushed.
  [[nodiscard]] base::Result<void> load();

  void arm(const Timer& timer);
  void disarm(const Timer& timer);
  [[nodiscard]] std::vector<Timer> due(Instant now, std::int64_t n) const;
  [[nodiscard]] Instant next() const;  // Instant::max(): there is none

  [[nodiscard]] bool changed() const { return !changed_.empty(); }
  [[nodiscard]] base::Result<void> flush();

 private:
  struct Key {
    Timer::What what;
    QueueId queue;
    Seq seq;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  static Key key_of(const Timer& timer) { return {timer.what, timer.queue, timer.seq}; }

  std::map<Key, Instant> at_;
  std::set<std::pair<Instant, Key>> by_time_;
  std::set<Key> changed_;
  Statement all_, replace_, remove_;
};

// As in the table, and in docs/STORAGE.md.
[[nodiscard]] std::string_view name_of(Timer::What what);

}  // namespace rq::store::sqlite
