#pragma once
// Commands that wait for their turn. Commands of one connection run in the order they came. Behind
// one that is set aside all later ones wait; behind a reserve that waits for a message only those
// that asked for it (Ticket::in_turn).
// Thread: whoever has the engine's turn.
#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>
#include <vector>

#include "core/command.h"
#include "engine/connections.h"
#include "engine/waiters.h"

namespace rq::engine {

class Turns {
 public:
  struct Held {
    Envelope envelope;
    Instant since{};
  };

  // Whether a command with this ticket has to wait behind others of its connection.
  [[nodiscard]] bool stops(const Ticket& ticket, const Waiters& waiters) const;
  // It waits behind them.
  void wait(Held&& held);
  // It comes first of its connection, and will be tried again before anything behind it: in the
  // next round, or in the next batch.
  void set_aside(Held&& held, bool next_batch);
  // The reserve of this connection that waited has been answered: what is behind it is to be tried.
  void release(const Connection& connection);

  // Those that are to be tried: a connection at a time, and of it one command after the other while
  // nothing stops it. begin() takes what is to be tried now; what comes meanwhile is for the next.
  void begin();
  [[nodiscard]] std::optional<Held> next(const Waiters& waiters);
  // Whether begin() would find any; in this batch, or in the next one.
  [[nodiscard]] bool has_more() const { return !ready_.empty(); }
  [[nodiscard]] bool has_later() const { return !later_.empty(); }
  // A new batch: what was kept for it is to be tried, and what a batch that failed did not get to.
  void begin_batch();

  // Calls each(held) for all commands that would be tried.
  template <typename Each>
  void for_each_ready(Each each) {
    for (const Connection& connection : ready_) {
      const auto line = lines_.find(connection);
      if (line == lines_.end()) continue;
      for (Held& held : line->second.commands) each(held);
    }
  }
  // Calls each(command) for what is held of the connection.
  template <typename Each>
  void for_each_of(const Connection& connection, Each each) {
    const auto line = lines_.find(connection);
    if (line == lines_.end()) return;
    for (Held& held : line->second.commands) each(held.envelope.command);
  }
  // The connection is gone: what is held behind its reserve will not be done.
  void drop(const Connection& connection);
  // Of what is to go on in the next batch, the first of each connection; it is not held any more.
  [[nodiscard]] std::vector<Envelope> take_going_on();

 private:
  // When the first of a line is tried.
  enum class When : std::uint8_t { reserve_answered, now, next_round, next_batch };
  struct Line {
    std::deque<Held> commands;
    When when = When::reserve_answered;
  };

  std::unordered_map<Connection, Line, ConnectionHash> lines_;
  std::deque<Connection> ready_;
  std::deque<Connection> trying_;
  std::vector<Connection> later_;
};

}  // namespace rq::engine
