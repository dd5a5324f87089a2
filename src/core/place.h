#pragma once
// Where a message is filed, and in what order.
#include <compare>
#include <cstdint>

#include "core/message.h"
#include "core/queue.h"

namespace rq::core {

// Where a message stands in the line of its queue: the smaller key is leased first.
struct LineKey {
  std::int64_t rank = 0;   // minus the priority
  std::int64_t order = 0;  // Message::order
  Seq seq = 0;
  friend auto operator<=>(const LineKey&, const LineKey&) = default;
};
inline constexpr LineKey kBeforeAll{INT64_MIN, INT64_MIN, INT64_MIN};
inline constexpr LineKey kBehindAll{INT64_MAX, INT64_MAX, INT64_MAX};
[[nodiscard]] inline LineKey line_key(const Message& m) { return {-m.priority, m.order, m.seq}; }

// Where a message is filed: in exactly one place, which follows from its state and mark.
enum class Place : std::uint8_t {
  line,       // que
  scheduled,  // by due time
  lease,      // run, by the end of its lease
  kept,       // done, relayed, by the time it finished
  err,        // likewise
  cancelled,  // likewise
  held,       // err with the mark held, likewise
  parked,     // prep, throttled, depends
  any,        // of all these but lease; only to ask for
};
[[nodiscard]] Place place_of(const Message& message);
// What it is sorted by there, ms: due time, end of the lease, time it finished. 0: by number alone.
[[nodiscard]] std::int64_t time_in_place(const Message& message);

// The row that says so: what the store has of a message besides the message itself.
struct Filed {
  bool anywhere = false;
  Place place = Place::parked;
  QueueId queue = 0;
  std::int64_t rank = 0;  // in the line
  std::int64_t time = 0;  // in the line its order, elsewhere time_in_place()
  friend bool operator==(const Filed&, const Filed&) = default;
  [[nodiscard]] bool in(Place p) const { return anywhere && place == p; }
};
// Here, so that its parts may stay in registers: copied whole, from where they have just been
// stored one by one, they would keep the processor waiting.
[[nodiscard]] inline Filed filed(const Message& m) {
  const Place place = place_of(m);
  const bool in_line = place == Place::line;
  return {.anywhere = true,
          .place = place,
          .queue = m.queue,
          .rank = in_line ? -m.priority : 0,
          .time = in_line ? m.order : time_in_place(m)};
}

}  // namespace rq::core
