#pragma once
// Reserves that found nothing and wait, in the order they came, over all queues that they watch.
// Nothing here is in the store: with the server they are gone, and their clients ask again.
// Thread: engine.
#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/command.h"

namespace rq::engine {

using namespace core;  // the engine speaks of the words that core defines

class Waiters {
 public:
  struct Waiter {
    Ticket ticket;
    Reserve reserve;
    std::vector<QueueId> queues;
    std::uint64_t arrival = 0;  // 0: the slot is free
  };

  // Starts to wait in `queues`.
  void add(const Ticket& ticket, Reserve&& reserve, std::vector<QueueId> queues);
  // The one that has waited longest for this queue; null when there is none. Valid until the next
  // call of a non-const function.
  [[nodiscard]] Waiter* first(QueueId queue);
  // Takes it out of all queues.
  [[nodiscard]] Waiter take(Waiter& waiter);
  // One whose time is over at `now`.
  [[nodiscard]] std::optional<Waiter> take_timed_out(Instant now);
  // When the next time is over; Instant::max() for never.
  [[nodiscard]] Instant next_timeout();
  // Takes all of a connection, in the order they came.
  std::vector<Waiter> take_all(const Connection& connection);
  // Takes all that came after the first `arrivals`.
  std::vector<Waiter> take_after(std::uint64_t arrivals);

  // The clock was stepped: everybody waits for as long as before.
  void shift(Millis by);

  [[nodiscard]] bool waits(const Connection& connection) const {
    return by_connection_.contains(connection);
  }
  [[nodiscard]] std::uint64_t arrivals() const { return arrivals_; }  // ever
  [[nodiscard]] std::int64_t waiting_in(QueueId queue) const;
  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(alive_); }
  // Entries in all lists, stale ones with them: what memory is spent on.
  [[nodiscard]] std::size_t places_held() const;

 private:
  struct Place {  // of a waiter, in a list; stale when the slot's arrival has changed
    std::uint32_t slot = 0;
    std::uint64_t arrival = 0;
  };
  struct Timeout {
    Instant at;
    Place place;
    friend bool operator>(const Timeout& a, const Timeout& b) {
      return std::pair{a.at, a.place.arrival} > std::pair{b.at, b.place.arrival};
    }
  };
  struct Line {
    std::deque<Place> places;
    std::int64_t stale = 0;  // of places; swept when they are the larger part
  };

  [[nodiscard]] bool live(const Place& place) const {
    return slots_[place.slot].arrival == place.arrival;
  }
  void sweep(Line& line) const;
  void sweep_timeouts();

  std::deque<Waiter> slots_;  // stable addresses
  std::vector<std::uint32_t> free_slots_;
  std::unordered_map<QueueId, Line> lines_;
  std::vector<Timeout> timeouts_;  // a heap, the earliest at the front
  std::int64_t stale_timeouts_ = 0;
  std::unordered_map<Connection, std::vector<Place>, ConnectionHash> by_connection_;
  std::uint64_t arrivals_ = 0;
  std::size_t alive_ = 0;
};

}  // namespace rq::engine
