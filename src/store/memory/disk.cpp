#include "store/memory/disk.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace rq::store::memory {

Seq Disk::take_numbers(Seq n, Seq gap) {
  const Seq first = numbers_ + gap + 1;
  numbers_ = first + n - 1;
  return first;
}

void Disk::commit(Content&& content, bool synced) {
  if (!synced) before_.push_back(std::move(content_));
  content_ = std::move(content);
  if (synced) sync();
}

void Disk::sync_at(Instant at) { sync_at_ = std::min(sync_at_, at); }

void Disk::sync() {
  before_.clear();
  sync_at_ = Instant::max();
}

void Disk::lose_power(std::size_t commits) {
  RQ_CHECK(commits <= before_.size());
  if (commits > 0) {
    content_ = std::move(before_[before_.size() - commits]);
  }
  sync();
  newest_ = 0;
}

}  // namespace rq::store::memory
