#include "core/failures.h"

#include <algorithm>

#include "base/utf8.h"
#include "core/fingerprint.h"
#include "core/message.h"

namespace rq::core {

bool Failures::add(const Listed& page) {
  for (const MessageRow& row : page.rows) add(row);
  if (!page.cursor) return false;
  cut_ = ++pages_ >= kFailurePagesMax;
  return !cut_;
}

void Failures::add(const MessageRow& row) {
  ++looked_at_;
  const std::string& reason = row.message.detail_or_default().progress;
  const std::string kind = fingerprint(reason);
  auto found = kinds_.find(kind);
  if (found == kinds_.end()) {
    if (kinds_.size() >= kFailureKindsMax) {
      ++others_;
      return;
    }
    found = kinds_.emplace(kind, Kind{}).first;
    found->second.fingerprint = kind;
    found->second.text = base::cut_utf8(reason, kFailureTextBytesMax);
    found->second.queue = row.queue;
    found->second.newest = format_id(row.message);
  }
  ++found->second.count;
  found->second.oldest = format_id(row.message);
}

std::vector<Failures::Kind> Failures::kinds() const {
  std::vector<Kind> sorted;
  sorted.reserve(kinds_.size());
  for (const auto& [fingerprint, kind] : kinds_) sorted.push_back(kind);
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const Kind& a, const Kind& b) { return a.count > b.count; });
  return sorted;
}

}  // namespace rq::core
