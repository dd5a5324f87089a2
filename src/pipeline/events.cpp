#include "pipeline/events.h"

#include <algorithm>

#include <boost/asio/post.hpp>

namespace rq::pipeline {

EventHub::EventHub(net::Loop& loop) : loop_(loop) {}

void EventHub::publish(const std::shared_ptr<const std::vector<core::Notice>>& notices) {
  boost::asio::post(loop_.io(), [this, notices] { tell(*notices); });
}

void EventHub::tell(const std::vector<core::Notice>& notices) {
  telling_ = true;
  // By place: those who come meanwhile are told as well, those who go leave a gap.
  for (std::size_t i = 0; i < listeners_.size(); ++i) {
    if (listeners_[i] != nullptr) listeners_[i]->on_notices(notices);
  }
  telling_ = false;
  std::erase(listeners_, nullptr);
}

void EventHub::add(EventListener& listener) {
  listeners_.push_back(&listener);
  count_.fetch_add(1, std::memory_order_relaxed);
}

void EventHub::remove(EventListener& listener) {
  const auto at = std::find(listeners_.begin(), listeners_.end(), &listener);
  if (at == listeners_.end()) return;
  if (telling_) {
    *at = nullptr;
  } else {
    listeners_.erase(at);
  }
  count_.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace rq::pipeline
