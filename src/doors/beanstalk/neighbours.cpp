#include "doors/beanstalk/neighbours.h"

#include <utility>

#include "base/limits.h"
#include "doors/beanstalk/bounds.h"

namespace rq::doors::beanstalk {

void Neighbours::open(Kind kind) {
  if (kind_ == kind) return;
  flush();
  kind_ = kind;
  first_ = slots_.next();
}

core::Put& Neighbours::add_put() {
  open(Kind::put);
  return puts_.puts.emplace_back();
}

core::Finish::Item& Neighbours::add_finish() {
  open(Kind::finish);
  return finishes_.items.emplace_back();
}

core::Heartbeat::Item& Neighbours::add_touch() {
  open(Kind::touch);
  return touches_.items.emplace_back();
}

void Neighbours::add_reserve(std::optional<base::Instant> until) {
  if (kind_ != Kind::reserve || reserve_until_ != until) {
    flush();
    open(Kind::reserve);
    reserve_until_ = until;
  }
  ++reserves_;
}

bool Neighbours::full() const { return reserves_ == base::kReserveMessagesMax; }

core::Reserve Neighbours::take_reserves() {
  core::Reserve command;
  command.queues = tubes_.queues();
  command.limit = std::exchange(reserves_, 0);
  command.each = true;
  command.wait_until = reserve_until_;
  command.lease_guard = kSafetyMargin;
  command.end = core::LeaseEnd::connection;
  command.make_queue = true;
  return command;
}

void Neighbours::flush() {
  const Kind kind = std::exchange(kind_, Kind::none);
  if (kind == Kind::none) return;
  ReplySlots::Slot* slot = slots_.find(first_);
  if (slot == nullptr) return;
  core::Command command;
  switch (kind) {
    case Kind::put:
      slot->group = static_cast<std::uint32_t>(puts_.puts.size());
      if (puts_.puts.size() == 1) {
        command = std::move(puts_.puts.front());
        puts_.puts.clear();
      } else {
        command = std::exchange(puts_, {});
      }
      break;
    case Kind::finish:
      slot->group = static_cast<std::uint32_t>(finishes_.items.size());
      command = std::exchange(finishes_, {});
      break;
    case Kind::touch:
      slot->group = static_cast<std::uint32_t>(touches_.items.size());
      command = std::exchange(touches_, {});
      break;
    case Kind::reserve:
      slot->group = reserves_;
      command = take_reserves();
      break;
    case Kind::none:
      return;
  }
  host_.submit({0, connection_, first_, true}, std::move(command));
}

}  // namespace rq::doors::beanstalk
