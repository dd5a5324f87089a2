#pragma once
// The fronts of the lines: for each queue the keys of its first ready messages, in order, so that
// taking the next one costs no query. A window is a cache of table `ready` with the changes of the
// batch; it can be dropped between batches and is read again. What is read for one may be older
// than the records in memory: the changes since behind the windows are kept here too, and count
// instead. Thread: engine.
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

    // It has the key, if that is ready.
    [[nodiscard]] bool covers(const LineKey& key) const {
      return loaded && (complete || key <= bound);
    }
  };

  // Keys kept of one queue. Before all else.
  void set_max(std::size_t keys) { max_ = keys; }

  [[nodiscard]] Window& of(core::QueueId queue) {
    Window* window = find(queue);
    return window != nullptr ? *window : windows_[queue];
  }
  // A queue that has just been made: nothing is ready in it.
  void start_empty(core::QueueId queue);
  void insert(core::QueueId queue, const LineKey& key);
  void erase(core::QueueId queue, const LineKey& key);
  // The key keeps its place, but what was read of its message before is out of date.
  void touch(core::QueueId queue, const LineKey& key);

  struct Change {
    core::QueueId queue;
    LineKey key;
    bool ready;  // it stands in the line
  };
  // In (after, last] of the queue, since forget_changes(): the last one of each key, in order.
  // REQUIRES: its window has reached to `after` at most all the while.
  [[nodiscard]] std::vector<Change> changes(core::QueueId queue, const LineKey& after,
                                            const LineKey& last) const;
  [[nodiscard]] std::size_t change_count() const { return changes_.size(); }
  void forget_changes() {
    changes_.clear();
    kept_changes_ = 0;
  }
  // After each batch, while a line is read ahead.
  void forget_changes_but(core::QueueId queue);

  // Whether the window has the key, if that is ready.
  [[nodiscard]] bool covers(core::QueueId queue, const LineKey& key);
  // True when no key of the window lies in [from, to], and the window reaches that far: then all
  // rows there are gone or going.
  [[nodiscard]] bool clear_between(core::QueueId queue, const LineKey& from, const LineKey& to);
  void forget(core::QueueId queue) {
    last_ = nullptr;
    windows_.erase(queue);
  }
  void clear() {
    last_ = nullptr;
    windows_.clear();
    long_.clear();
    forget_changes();
  }
  // At the end of a batch: cuts windows that have grown too long, drops them when there are too
  // many. Of which queues; what is being read for these does not fit any more.
  [[nodiscard]] std::vector<core::QueueId> trim();

 private:
  // Null: there is none. Most often it is that of the call before.
  [[nodiscard]] Window* find(core::QueueId queue) {
    if (last_ != nullptr && last_of_ == queue) return last_;
    const auto found = windows_.find(queue);
    if (found == windows_.end()) return nullptr;
    last_of_ = queue;
    return last_ = &found->second;
  }
  // Null: it has none that covers the key.
  [[nodiscard]] Window* covering(core::QueueId queue, const LineKey& key);
  void note(core::QueueId queue, const LineKey& key, bool ready);

  std::unordered_map<core::QueueId, Window> windows_;
  Window* last_ = nullptr;  // of the queue `last_of_`; null: not known
  core::QueueId last_of_ = 0;
  std::vector<Change> changes_;      // behind the windows
  std::size_t kept_changes_ = 0;     // so many of them are of the line that is read ahead
  std::vector<core::QueueId> long_;  // in this batch: above the bound
  std::size_t max_ = 4096;
};

// Queues with a window; some 70 KiB at the most each.
inline constexpr std::size_t kWindowsMax = 20'000;

}  // namespace rq::store::sqlite
