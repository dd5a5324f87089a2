#include "pipeline/loop.h"

#include <utility>

#include <boost/asio/executor_work_guard.hpp>

#include "base/check.h"
#include "base/result.h"

namespace rq::pipeline {
// The hint 1 spares the locks of handlers that only the one thread touches; posting from other
// threads stays allowed.
Loop::Loop(Pipeline& pipeline)
    : pipeline_(pipeline), io_(1), work_(boost::asio::make_work_guard(io_)) {}

Loop::~Loop() { stop(); }

std::uint32_t Loop::add_door(LoopDoor& door) {
  RQ_CHECK(!thread_.joinable());
  const std::uint32_t number = pipeline_.add_door(door);
  doors_.emplace_back(number, &door);
  return number;
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

// True when the commands have run here.
bool Loop::flush() {
  flush_posted_ = false;
  if (pending_.empty()) return false;
  leaving_.swap(pending_);  // a reply may bring the next command
  const bool here = pipeline_.run_here(leaving_);
  if (!here && !pipeline_.submit(leaving_)) refuse(leaving_);
  leaving_.clear();
  return here;
}

void Loop::refuse(const std::vector<core::Envelope>& commands) {
  for (const auto& [number, door] : doors_) {
    std::vector<core::Delivery> refused;
    for (const core::Envelope& envelope : commands) {
      if (envelope.ticket.door != number) continue;
      refused.push_back({envelope.ticket,
                         base::fail(base::Code::busy, "the server has more to do than it can hold",
                                    "repeat the request in a moment")});
    }
    if (refused.empty()) continue;
    // Posted: submit() promises not to refuse from inside.
    boost::asio::post(io_, [target = door, moved = std::move(refused)]() mutable {
      target->on_deliveries(moved);
    });
  }
}

void LoopDoor::deliver(std::vector<core::Delivery>&& deliveries) {
  if (loop_.io().get_executor().running_in_this_thread()) return on_deliveries(deliveries);
  boost::asio::post(loop_.io(),
                    [this, moved = std::move(deliveries)]() mutable { on_deliveries(moved); });
}

}  // namespace rq::pipeline
