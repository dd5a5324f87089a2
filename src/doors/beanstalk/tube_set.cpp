#include "doors/beanstalk/tube_set.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/limits.h"

namespace rq::doors::beanstalk {

TubeSet::TubeSet(Tubes& tubes) : tubes_(tubes), used_(tubes.find(kDefaultTube)) {
  RQ_CHECK(used_ != nullptr);
  ++used_->users;
  ++used_->watchers;
  watched_.push_back(used_);
}

TubeSet::~TubeSet() {
  --used_->users;
  for (Tube* tube : watched_) --tube->watchers;
  for (Tube* tube : watched_) {
    if (tube != used_) tubes_.release(*tube);
  }
  tubes_.release(*used_);
}

std::shared_ptr<const std::vector<core::ReserveQueue>> TubeSet::queues() {
  if (queues_ == nullptr) {
    auto list = std::make_shared<std::vector<core::ReserveQueue>>();
    list->reserve(watched_.size());
    for (const Tube* tube : watched_) list->push_back({tube->queue, 0});
    queues_ = std::move(list);
  }
  return queues_;
}

TubeSet::Change TubeSet::use(std::string_view name, base::Instant now) {
  auto tube = tubes_.get(name, now);
  if (!tube) return Change::refused;
  Tube* old = std::exchange(used_, *tube);
  ++used_->users;
  --old->users;
  tubes_.release(*old);
  return Change::done;
}

TubeSet::Change TubeSet::watch(std::string_view name, base::Instant now) {
  auto tube = tubes_.get(name, now);
  if (!tube) return Change::refused;
  if (std::find(watched_.begin(), watched_.end(), *tube) != watched_.end()) return Change::none;
  if (watched_.size() == base::kReserveQueuesMax) {
    tubes_.release(**tube);
    return Change::full;
  }
  ++(*tube)->watchers;
  watched_.push_back(*tube);
  queues_.reset();
  return Change::done;
}

TubeSet::Change TubeSet::ignore(std::string_view name) {
  const auto at = std::find_if(watched_.begin(), watched_.end(),
                               [name](const Tube* tube) { return tube->name == name; });
  if (at == watched_.end()) return Change::none;
  if (watched_.size() == 1) return Change::refused;
  Tube* tube = *at;
  // The last one takes its place: so beanstalkd lists them.
  *at = watched_.back();
  watched_.pop_back();
  queues_.reset();
  --tube->watchers;
  tubes_.release(*tube);
  return Change::done;
}

}  // namespace rq::doors::beanstalk
