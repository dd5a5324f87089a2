#include "net/loop.h"

#include "base/check.h"

namespace rq::net {

// The hint 1 spares the locks of handlers that only the one thread touches; posting from other
// threads stays allowed.
Loop::Loop() : io_(1), work_(boost::asio::make_work_guard(io_)) {}

Loop::~Loop() { stop(); }

void Loop::tell_turn_end(TurnEnd& listener) {
  RQ_CHECK(listener_ == nullptr && !thread_.joinable());
  listener_ = &listener;
}

void Loop::start() {
  RQ_CHECK(!thread_.joinable());
  thread_ = std::thread([this] { io_.run(); });
}

void Loop::stop() {
  if (!thread_.joinable()) return;
  io_.stop();
  thread_.join();
}

void Loop::end_turn() {
  end_posted_ = false;
  if (listener_ != nullptr) listener_->on_turn_end();
}

}  // namespace rq::net
