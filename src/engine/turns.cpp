#include "engine/turns.h"

#include <utility>

namespace rq::engine {

bool Turns::stops(const Ticket& ticket, const Waiters& waiters) const {
  if (!lines_.empty()) {
    const auto line = lines_.find(connection_of(ticket));
    if (line != lines_.end() && (line->second.when != When::reserve_answered || ticket.in_turn)) {
      return true;
    }
  }
  return ticket.in_turn && waiters.waits(connection_of(ticket));
}

void Turns::wait(Held&& held) {
  lines_[connection_of(held.envelope.ticket)].commands.push_back(std::move(held));
}

void Turns::set_aside(Held&& held, bool next_batch) {
  const Connection connection = connection_of(held.envelope.ticket);
  Line& line = lines_[connection];
  line.commands.push_front(std::move(held));
  line.when = next_batch ? When::next_batch : When::next_round;
  if (next_batch) {
    later_.push_back(connection);
  } else {
    ready_.push_back(connection);
  }
}

void Turns::release(const Connection& connection) {
  if (lines_.empty()) return;
  const auto line = lines_.find(connection);
  if (line == lines_.end() || line->second.when != When::reserve_answered) return;
  line->second.when = When::next_round;
  ready_.push_back(connection);
}

void Turns::begin() {
  for (const Connection& connection : ready_) {
    if (const auto line = lines_.find(connection); line != lines_.end()) {
      line->second.when = When::now;
    }
  }
  trying_ = std::exchange(ready_, {});
}

std::optional<Turns::Held> Turns::next(const Waiters& waiters) {
  while (!trying_.empty()) {
    const Connection connection = trying_.front();
    const auto found = lines_.find(connection);
    if (found != lines_.end() && found->second.when == When::now) {
      Line& line = found->second;
      if (line.commands.empty()) {
        lines_.erase(found);
      } else if (line.commands.front().envelope.ticket.in_turn && waiters.waits(connection)) {
        line.when = When::reserve_answered;
      } else {
        Held held = std::move(line.commands.front());
        line.commands.pop_front();
        return held;
      }
    }
    trying_.pop_front();
  }
  return std::nullopt;
}

void Turns::begin_batch() {
  // The batch before failed in the middle of these.
  for (const Connection& connection : trying_) {
    const auto line = lines_.find(connection);
    if (line == lines_.end() || line->second.when != When::now) continue;
    line->second.when = When::next_round;
    ready_.push_back(connection);
  }
  trying_.clear();
  for (const Connection& connection : later_) {
    if (const auto line = lines_.find(connection); line != lines_.end()) {
      line->second.when = When::next_round;
      ready_.push_back(connection);
    }
  }
  later_.clear();
}

void Turns::drop(const Connection& connection) { lines_.erase(connection); }

std::vector<Envelope> Turns::take_going_on() {
  std::vector<Envelope> taken;
  for (const Connection& connection : later_) {
    const auto line = lines_.find(connection);
    if (line == lines_.end() || line->second.commands.empty()) continue;
    taken.push_back(std::move(line->second.commands.front().envelope));
    line->second.commands.pop_front();
    line->second.when = When::next_round;
    ready_.push_back(connection);  // what is behind it is done in the next batch
  }
  later_.clear();
  return taken;
}

}  // namespace rq::engine
