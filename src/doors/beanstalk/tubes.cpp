#include "doors/beanstalk/tubes.h"

#include <utility>

#include "base/check.h"
#include "core/name.h"

namespace rq::doors::beanstalk {

Tubes::Tubes() { RQ_CHECK(get(kDefaultTube, {}).has_value()); }

base::Result<Tube*> Tubes::get(std::string_view name, base::Instant now) {
  if (Tube* there = find(name)) return there;
  RQ_TRY_ASSIGN(queue, core::escaped_queue_name(name));
  auto tube = std::make_unique<Tube>();
  tube->name = name;
  tube->queue = std::move(queue);
  tube->number = ++made_;
  tube->made = now;
  Tube* made = tube.get();
  tubes_.emplace(made->name, std::move(tube));
  return made;
}

Tube* Tubes::find(std::string_view name) const {
  const auto at = tubes_.find(name);
  return at == tubes_.end() ? nullptr : at->second.get();
}

void Tubes::release(Tube& tube) {
  if (tube.users > 0 || tube.watchers > 0 || tube.name == kDefaultTube) return;
  const auto at = tubes_.find(tube.name);
  if (at != tubes_.end()) tubes_.erase(at);
}

}  // namespace rq::doors::beanstalk
