#include "pipeline/events.h"

#include <algorithm>

#include <boost/asio/post.hpp>

namespace rq::pipeline {
namespace {

// Batches whose notices wait to be told. With more of them nobody else has a turn, so that who puts
// faster than can be told is slowed down: a brake, not a bound.
constexpr std::size_t kBatchesWaitingMax = 64;

}  // namespace

EventHub::EventHub(net::Loop& loop) : loop_(loop) {}

void EventHub::publish(const std::shared_ptr<const std::vector<core::Notice>>& notices) {
  boost::asio::post(loop_.io(), [this, notices] {
    waiting_.push_back(notices);
    if (waiting_.size() == 1) tell_next();
  });
}

void EventHub::tell_next() {
  do {
    const std::span<const core::Notice> rest = std::span(*waiting_.front()).subspan(told_);
    const auto piece = rest.first(std::min(rest.size(), kNoticesAtOnce));
    tell(piece);
    told_ += piece.size();
    if (piece.size() < rest.size()) continue;
    waiting_.pop_front();
    told_ = 0;
  } while (waiting_.size() > kBatchesWaitingMax);
  if (!waiting_.empty()) boost::asio::post(loop_.io(), [this] { tell_next(); });
}

void EventHub::tell(std::span<const core::Notice> notices) {
  telling_ = true;
  Happened happened{.notices = notices, .texts = std::vector<std::string>(notices.size())};
  // By place: those who come meanwhile are told as well, those who go leave a gap.
  for (std::size_t i = 0; i < listeners_.size(); ++i) {
    if (listeners_[i] != nullptr) listeners_[i]->on_notices(happened);
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
