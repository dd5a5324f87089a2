#pragma once
// All that a store in memory holds: plain maps. Rows are never changed, only replaced, so that a
// copy of the whole costs little.
#include <compare>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/store.h"

namespace rq::store::memory {

// Where a message is filed. Outside the line the key is {0, time_in_place(), number}.
struct Filed {
  QueueId queue = 0;
  Place place = Place::line;
  LineKey key;
  friend auto operator<=>(const Filed&, const Filed&) = default;
};
[[nodiscard]] Filed placed(const Message& message);

struct TimerKey {
  Timer::What what = Timer::What::keep_done;
  QueueId queue = 0;
  Seq seq = 0;
  friend auto operator<=>(const TimerKey&, const TimerKey&) = default;
};

struct Content {
  std::map<Seq, std::shared_ptr<const Message>> messages;
  std::map<std::string, Seq, std::less<>> keys;
  std::set<Filed> places;
  std::map<Seq, std::vector<Attempt>> attempts;
  std::map<QueueId, Queue> queues;
  std::map<TimerKey, Instant> timers;
  std::set<std::string> waste;

  // Instead of the one with this number, if there is one.
  void put(Message&& message);
  void erase(Seq seq);
  // Ignored when the message is not there.
  void append(Attempt&& attempt);

  // Calls each(filed) for all that is in that place of the queue, in its order, while it says so.
  template <typename Each>
  void for_each_in(QueueId queue, Place place, Each each) const {
    for (auto at = places.lower_bound({queue, place, kBeforeAll}); at != places.end(); ++at) {
      if (at->queue != queue || at->place != place || !each(*at)) return;
    }
  }
  [[nodiscard]] bool empty(QueueId queue, Place place) const;

  // What is wrong with it, in words.
  [[nodiscard]] std::vector<std::string> findings() const;
  // All of it, as text: the same for the same content.
  [[nodiscard]] std::string dump() const;
};

// The places that Place::any stands for.
inline constexpr Place kAnyPlace[] = {Place::line,      Place::scheduled, Place::kept,  Place::err,
                                      Place::cancelled, Place::held,      Place::parked};

[[nodiscard]] std::string text_of(const Message& message);

}  // namespace rq::store::memory
