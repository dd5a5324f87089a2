#include "pipeline/events.h"

#include <algorithm>

#include <boost/asio/post.hpp>

namespace rq::pipeline {

EventHub::EventHub(Loop& loop) : loop_(loop) {}

void EventHub::publish(const std::shared_ptr<const std::vector<core::Notice>>& notices) {
  boost::asio::post(loop_.io(), [this, notices] {
    for (EventListener* listener : listeners_) listener->on_notices(*notices);
  });
}

void EventHub::add(EventListener& listener) {
  listeners_.push_back(&listener);
  count_.fetch_add(1, std::memory_order_relaxed);
}

void EventHub::remove(EventListener& listener) {
  const auto at = std::find(listeners_.begin(), listeners_.end(), &listener);
  if (at == listeners_.end()) return;
  listeners_.erase(at);
  count_.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace rq::pipeline
