#include "pipeline/desk.h"

#include <utility>

#include <boost/asio/post.hpp>

#include "base/result.h"

namespace rq::pipeline {

Desk::Desk(net::Loop& loop, Pipeline& pipeline) : loop_(loop), pipeline_(pipeline) {
  loop.tell_turn_end(*this);
}

std::uint32_t Desk::add_door(LoopDoor& door) {
  const std::uint32_t number = pipeline_.add_door(door);
  doors_.emplace_back(number, &door);
  return number;
}

void Desk::on_turn_end() {
  if (pending_.empty()) return;
  leaving_.swap(pending_);  // a reply may bring the next command
  if (!pipeline_.run_here(leaving_) && !pipeline_.submit(leaving_)) refuse(leaving_);
  leaving_.clear();
}

void Desk::refuse(const std::vector<core::Envelope>& commands) {
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
    boost::asio::post(loop_.io(), [target = door, moved = std::move(refused)]() mutable {
      target->on_deliveries(moved);
    });
  }
}

void LoopDoor::deliver(std::vector<core::Delivery>&& deliveries) {
  if (desk_.loop().is_here()) return on_deliveries(deliveries);
  boost::asio::post(desk_.loop().io(),
                    [this, moved = std::move(deliveries)]() mutable { on_deliveries(moved); });
}

}  // namespace rq::pipeline
