#include "store/sqlite/line_windows.h"

#include <algorithm>
#include <utility>

namespace rq::store::sqlite {

void LineWindows::start_empty(core::QueueId queue) {
  Window& window = windows_[queue];
  window.loaded = true;
  window.complete = true;
}

LineWindows::Window* LineWindows::covering(core::QueueId queue, const LineKey& key) {
  Window* window = find(queue);
  return window != nullptr && window->covers(key) ? window : nullptr;
}

// In its place: made elsewhere and copied whole, it would keep the processor waiting for its parts.
void LineWindows::note(core::QueueId queue, const LineKey& key, bool ready) {
  Change& change = changes_.emplace_back();
  change.queue = queue;
  change.key = key;
  change.ready = ready;
}

void LineWindows::insert(core::QueueId queue, const LineKey& key) {
  Window* window = covering(queue, key);
  if (window == nullptr) return note(queue, key, true);
  if (window->keys.empty() || key > window->keys.back()) {
    window->keys.push_back(key);
  } else {
    window->keys.insert(std::lower_bound(window->keys.begin(), window->keys.end(), key), key);
  }
  if (window->keys.size() == max_ + 1) long_.push_back(queue);
}

void LineWindows::erase(core::QueueId queue, const LineKey& key) {
  Window* window = covering(queue, key);
  if (window == nullptr) return note(queue, key, false);
  auto& keys = window->keys;
  if (!keys.empty() && keys.front() == key) {
    keys.pop_front();
    return;
  }
  const auto at = std::lower_bound(keys.begin(), keys.end(), key);
  if (at != keys.end() && *at == key) keys.erase(at);
}

void LineWindows::touch(core::QueueId queue, const LineKey& key) {
  if (covering(queue, key) == nullptr) note(queue, key, true);
}

bool LineWindows::covers(core::QueueId queue, const LineKey& key) {
  const Window* window = find(queue);
  return window != nullptr && window->covers(key);
}

bool LineWindows::clear_between(core::QueueId queue, const LineKey& from, const LineKey& to) {
  if (!covers(queue, to)) return false;
  const Window& window = windows_.at(queue);
  const auto at = std::lower_bound(window.keys.begin(), window.keys.end(), from);
  return at == window.keys.end() || *at > to;
}

std::vector<LineWindows::Change> LineWindows::changes(core::QueueId queue, const LineKey& after,
                                                      const LineKey& last) const {
  std::vector<Change> out;
  for (const Change& change : changes_) {
    if (change.queue == queue && change.key > after && change.key <= last) out.push_back(change);
  }
  // Keeps only the last change of each key.
  std::reverse(out.begin(), out.end());
  std::stable_sort(out.begin(), out.end(),
                   [](const Change& a, const Change& b) { return a.key < b.key; });
  out.erase(std::unique(out.begin(), out.end(),
                        [](const Change& a, const Change& b) { return a.key == b.key; }),
            out.end());
  return out;
}

std::vector<core::QueueId> LineWindows::trim() {
  std::vector<core::QueueId> shorter = std::exchange(long_, {});
  std::erase_if(shorter, [this](core::QueueId queue) {
    Window* window = find(queue);
    if (window == nullptr || window->keys.size() <= max_) return true;
    // Well below the bound, so that a growing line is not cut at each put.
    window->keys.resize(max_ / 2);
    window->bound = window->keys.back();
    window->complete = false;
    return false;
  });
  if (windows_.size() > kWindowsMax) {
    for (const auto& [queue, window] : windows_) shorter.push_back(queue);
    last_ = nullptr;
    windows_.clear();
  }
  return shorter;
}

void LineWindows::forget_changes_but(core::QueueId queue) {
  const auto last = changes_.begin() + static_cast<std::ptrdiff_t>(kept_changes_);
  changes_.erase(std::remove_if(last, changes_.end(),
                                [queue](const Change& change) { return change.queue != queue; }),
                 changes_.end());
  kept_changes_ = changes_.size();
}

}  // namespace rq::store::sqlite
