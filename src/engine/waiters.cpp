#include "engine/waiters.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace rq::engine {

namespace {
constexpr std::int64_t kWorthSweeping = 64;  // fewer stale entries cost less than looking at them

bool has_timeout(const Reserve& reserve) {
  return reserve.wait_until && *reserve.wait_until != Instant::max();
}
}  // namespace

void Waiters::add(const Ticket& ticket, Reserve&& reserve, std::vector<QueueId> queues) {
  std::uint32_t slot = 0;
  if (free_slots_.empty()) {
    slot = static_cast<std::uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    slot = free_slots_.back();
    free_slots_.pop_back();
  }
  Waiter& waiter = slots_[slot];
  waiter.ticket = ticket;
  waiter.reserve = std::move(reserve);
  waiter.queues = std::move(queues);
  waiter.arrival = ++arrivals_;
  ++alive_;
  const Place place{.slot = slot, .arrival = waiter.arrival};
  for (const QueueId queue : waiter.queues) lines_[queue].places.push_back(place);
  by_connection_[connection_of(ticket)].push_back(place);
  if (has_timeout(waiter.reserve)) {
    timeouts_.push_back({.at = *waiter.reserve.wait_until, .place = place});
    std::push_heap(timeouts_.begin(), timeouts_.end(), std::greater<>{});
  }
}

Waiters::Waiter* Waiters::first(QueueId queue) {
  const auto found = lines_.find(queue);
  if (found == lines_.end()) return nullptr;
  Line& line = found->second;
  while (!line.places.empty() && !live(line.places.front())) {
    line.places.pop_front();
    --line.stale;
  }
  if (line.places.empty()) {
    lines_.erase(found);
    return nullptr;
  }
  return &slots_[line.places.front().slot];
}

Waiters::Waiter Waiters::take(Waiter& waiter) {
  RQ_CHECK(waiter.arrival != 0);
  Waiter out = std::exchange(waiter, Waiter{});
  const std::uint64_t arrival = out.arrival;
  --alive_;

  // Find the slot through the connection, whose list is short.
  const auto found = by_connection_.find(connection_of(out.ticket));
  RQ_CHECK(found != by_connection_.end());
  auto& places = found->second;
  const auto place = std::find_if(places.begin(), places.end(),
                                  [&](const Place& p) { return p.arrival == arrival; });
  RQ_CHECK(place != places.end());
  const std::uint32_t slot = place->slot;
  places.erase(place);
  if (places.empty()) by_connection_.erase(found);

  for (const QueueId queue : out.queues) {
    const auto line = lines_.find(queue);
    if (line == lines_.end()) continue;
    ++line->second.stale;
    sweep(line->second);
  }
  if (has_timeout(out.reserve)) {
    ++stale_timeouts_;
    sweep_timeouts();
  }
  free_slots_.push_back(slot);
  return out;
}

void Waiters::sweep(Line& line) const {
  if (line.stale < kWorthSweeping ||
      line.stale * 2 < static_cast<std::int64_t>(line.places.size())) {
    return;
  }
  std::erase_if(line.places, [this](const Place& p) { return !live(p); });
  line.stale = 0;
}

void Waiters::sweep_timeouts() {
  if (stale_timeouts_ < kWorthSweeping ||
      stale_timeouts_ * 2 < static_cast<std::int64_t>(timeouts_.size())) {
    return;
  }
  std::erase_if(timeouts_, [this](const Timeout& t) { return !live(t.place); });
  std::make_heap(timeouts_.begin(), timeouts_.end(), std::greater<>{});
  stale_timeouts_ = 0;
}

std::optional<Waiters::Waiter> Waiters::take_timed_out(Instant now) {
  if (next_timeout() > now || timeouts_.empty()) return std::nullopt;
  return take(slots_[timeouts_.front().place.slot]);
}

Instant Waiters::next_timeout() {
  while (!timeouts_.empty() && !live(timeouts_.front().place)) {
    std::pop_heap(timeouts_.begin(), timeouts_.end(), std::greater<>{});
    timeouts_.pop_back();
    --stale_timeouts_;
  }
  return timeouts_.empty() ? Instant::max() : timeouts_.front().at;
}

std::vector<Waiters::Waiter> Waiters::take_all(const Connection& connection) {
  std::vector<Waiter> taken;
  const auto found = by_connection_.find(connection);
  if (found == by_connection_.end()) return taken;
  const std::vector<Place> places = found->second;
  for (const Place& place : places) taken.push_back(take(slots_[place.slot]));
  return taken;
}

std::vector<Waiters::Waiter> Waiters::take_after(std::uint64_t arrivals) {
  std::vector<Waiter> taken;
  for (Waiter& waiter : slots_) {
    if (waiter.arrival > arrivals) taken.push_back(take(waiter));
  }
  return taken;
}

void Waiters::shift(Millis by) {
  for (Waiter& waiter : slots_) {
    if (waiter.arrival != 0 && has_timeout(waiter.reserve)) *waiter.reserve.wait_until += by;
  }
  for (Timeout& timeout : timeouts_) timeout.at += by;
}

std::size_t Waiters::places_held() const {
  std::size_t n = timeouts_.size();
  for (const auto& [queue, line] : lines_) n += line.places.size();
  for (const auto& [connection, places] : by_connection_) n += places.size();
  return n;
}

std::int64_t Waiters::waiting_in(QueueId queue) const {
  const auto found = lines_.find(queue);
  if (found == lines_.end()) return 0;
  return std::count_if(found->second.places.begin(), found->second.places.end(),
                       [this](const Place& p) { return live(p); });
}

}  // namespace rq::engine
