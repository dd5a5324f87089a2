#include "store/sqlite/line_windows.h"

#include <algorithm>

namespace rq::store::sqlite {

void LineWindows::start_empty(core::QueueId queue) {
  Window& window = windows_[queue];
  window.loaded = true;
  window.complete = true;
}

void LineWindows::insert(core::QueueId queue, const LineKey& key) {
  changes_.push_back({queue, key, true});
  const auto found = windows_.find(queue);
  if (found == windows_.end() || !found->second.loaded) return;
  Window& window = found->second;
  if (!window.complete && key > window.bound) return;
  if (window.keys.empty() || key > window.keys.back()) {
    window.keys.push_back(key);
  } else {
    window.keys.insert(std::lower_bound(window.keys.begin(), window.keys.end(), key), key);
  }
  if (window.keys.size() > max_) {
    // Cut well below the bound, so that a growing line does not cut at each put.
    window.keys.resize(max_ / 2);
    window.bound = window.keys.back();
    window.complete = false;
  }
}

void LineWindows::erase(core::QueueId queue, const LineKey& key) {
  changes_.push_back({queue, key, false});
  const auto found = windows_.find(queue);
  if (found == windows_.end() || !found->second.loaded) return;
  auto& keys = found->second.keys;
  if (!keys.empty() && keys.front() == key) {
    keys.pop_front();
    return;
  }
  const auto at = std::lower_bound(keys.begin(), keys.end(), key);
  if (at != keys.end() && *at == key) keys.erase(at);
}

bool LineWindows::covers(core::QueueId queue, const LineKey& key) const {
  const auto found = windows_.find(queue);
  if (found == windows_.end() || !found->second.loaded) return false;
  return found->second.complete || key <= found->second.bound;
}

bool LineWindows::clear_between(core::QueueId queue, const LineKey& from, const LineKey& to) const {
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

void LineWindows::trim() {
  if (windows_.size() > kWindowsMax) windows_.clear();
}

}  // namespace rq::store::sqlite
