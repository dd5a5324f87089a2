#pragma once
// The fronts of the lines: for each queue the keys of its first ready messages, in order, so that
// taking the next one costs no query. A window is a cache of table `ready` with the changes of the
// batch; it can be dropped at any time and is read again. What is read for one may be older than
// the records in memory: the changes since are kept here too, and count instead.
// Thread: engine.
#include <cstdint>
#include <deque>
#include <unordered_map>
#include <vector>

#include "core/store.h"

namespace rq::store::sqlite {

class LineWindows {
 public:
  // Invariant: `keys` are exactly the ready keys up to and including `bound` (all of them when
  // complete), in order.
  struct Window {
    std::deque<LineKey> keys;
    bool loaded = false;
    bool complete = false;
    LineKey bound{};
  };

  // Keys kept of one queue. Before all else.
  void set_max(std::size_t keys) { max_ = keys; }

  [[nodiscard]] Window& of(core::QueueId queue) { return windows_[queue]; }
  // A queue that has just been made: nothing is ready in it.
  void start_empty(core::QueueId queue);
  void insert(core::QueueId queue, const LineKey& key);
  void erase(core::QueueId queue, const LineKey& key);
  // The key keeps its place, but what was read of its message before is out of date.
  void touch(core::QueueId queue, const LineKey& key) { changes_.push_back({queue, key, true}); }

  struct Change {
    core::QueueId queue;
    LineKey key;
    bool ready;  // it stands in the line
  };
  // In (after, last] of the queue, since forget_changes(): the last one of each key, in order.
  [[nodiscard]] std::vector<Change> changes(core::QueueId queue, const LineKey& after,
                                            const LineKey& last) const;
  [[nodiscard]] std::size_t change_count() const { return changes_.size(); }
  void forget_changes() { changes_.clear(); }

  // Whether the window has the key, if that is ready.
  [[nodiscard]] bool covers(core::QueueId queue, const LineKey& key) const;
  // True when no key of the window lies in [from, to], and the window reaches that far: then all
  // rows there are gone or going.
  [[nodiscard]] bool clear_between(core::QueueId queue, const LineKey& from,
                                   const LineKey& to) const;
  void forget(core::QueueId queue) { windows_.erase(queue); }
  void clear() {
    windows_.clear();
    changes_.clear();
  }
  // Drops windows while they hold more than the bound, all together.
  void trim();

 private:
  std::unordered_map<core::QueueId, Window> windows_;
  std::vector<Change> changes_;
  std::size_t max_ = 4096;
};

// Queues with a window; some 70 KiB at the most each.
inline constexpr std::size_t kWindowsMax = 20'000;

}  // namespace rq::store::sqlite
