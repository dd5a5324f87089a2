#pragma once
// The fronts of the lines: for each queue the keys of its first ready messages, in order, so that
// taking the next one costs no query. A window is a cache of table `ready` with the changes of the
// batch; it can be dropped at any time and is read again.
// Thread: engine.
#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>

#include "core/message.h"

namespace rq::store::sqlite {

struct ReadyKey {
  std::int64_t rank = 0;  // minus the priority: smaller first
  core::Seq seq = 0;
  friend auto operator<=>(const ReadyKey&, const ReadyKey&) = default;
};

class ReadyWindows {
 public:
  // Invariant: `keys` are exactly the ready keys up to and including `bound` (all of them when
  // complete), in order.
  struct Window {
    std::deque<ReadyKey> keys;
    bool loaded = false;
    bool complete = false;
    ReadyKey bound{};
  };

  [[nodiscard]] Window& of(core::QueueId queue) { return windows_[queue]; }
  // A queue that has just been made: nothing is ready in it.
  void start_empty(core::QueueId queue);
  void insert(core::QueueId queue, const ReadyKey& key);
  void erase(core::QueueId queue, const ReadyKey& key);
  // True when no key of the window lies in [from, to], and the window reaches that far: then all
  // rows there are gone or going.
  [[nodiscard]] bool clear_between(core::QueueId queue, const ReadyKey& from,
                                   const ReadyKey& to) const;
  void forget(core::QueueId queue) { windows_.erase(queue); }
  void clear() { windows_.clear(); }
  // Drops windows while they hold more than the bound, all together.
  void trim();

 private:
  std::unordered_map<core::QueueId, Window> windows_;
};

// Keys read at once, and kept of one queue.
inline constexpr std::size_t kWindowRead = 512;
inline constexpr std::size_t kWindowMax = 4096;
inline constexpr std::size_t kWindowsMax =
    20'000;  // queues with a window; some 70 KiB at the most each
static_assert(kWindowRead <= kWindowMax);

}  // namespace rq::store::sqlite
