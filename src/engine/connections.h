#pragma once
// The leases that end with their connection: token and end of each, by connection. In memory only:
// those of an earlier start of the server are found as due when the store is opened.
// Thread: whoever has the engine's turn.
#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "core/command.h"

namespace rq::engine {

using namespace core;

class Connections {
 public:
  struct Held {
    Token token;
    Instant until{};
  };

  // The connection holds this lease now; also when its end has moved.
  void hold(const Connection& connection, const Held& held);
  // The lease has a new end, if a connection holds it.
  void extended(Seq seq, Instant until);
  // The lease of the message has ended.
  void ended(Seq seq);
  // When the first of its leases ends; Instant::max(): it has none.
  [[nodiscard]] Instant first_end(const Connection& connection) const;
  // Up to n leases of the connection: those that came first.
  [[nodiscard]] std::vector<Token> some(const Connection& connection, std::int64_t n);

  void shift(Millis by);

  // All since the last begin() is undone: the commit has failed.
  void begin() { undo_.clear(); }
  void roll_back();

 private:
  // What one connection holds, in the order it came. A lease that ends is only counted off: taking
  // it out would touch others.
  struct Leases {
    std::vector<Seq> list;
    std::size_t front = 0;  // before it all have ended
    std::size_t count = 0;  // of those in the list that it still holds
  };
  using ByConnection = std::unordered_map<Connection, Leases, ConnectionHash>;
  struct Place {
    ByConnection::value_type* of = nullptr;
    Held held;
    std::size_t at = 0;  // in its list
  };
  using BySeq = boost::unordered_flat_map<Seq, Place>;  // without a node for each: they are many
  struct Undo {
    Seq seq = 0;
    Connection connection;  // that held it before
    std::optional<Held> held;
  };

  void remember(const Place& before);
  void add(const Connection& connection, const Held& held);
  void erase(BySeq::iterator found);
  void close_gaps(ByConnection::value_type& of);
  [[nodiscard]] const Place* place_in(const ByConnection::value_type& of, std::size_t at) const;
  // Calls act(held) for each lease of the connection.
  template <typename Act>
  void for_each(const Connection& connection, Act act) const;

  BySeq by_seq_;
  ByConnection by_connection_;
  std::vector<Undo> undo_;
};

}  // namespace rq::engine
