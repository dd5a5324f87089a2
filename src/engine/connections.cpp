#include "engine/connections.h"

#include <algorithm>

namespace rq::engine {

// A list is closed up, before one is added, when more than this and more than half of it has ended.
constexpr std::size_t kGapsMin = 16;

void Connections::hold(const Connection& connection, const Held& held) {
  const Seq seq = held.token.seq;
  if (const auto found = by_seq_.find(seq); found != by_seq_.end()) {
    remember(found->second);
    erase(found);
  } else {
    undo_.push_back({seq, {}, std::nullopt});
  }
  add(connection, held);
}

void Connections::extended(Seq seq, Instant until) {
  const auto found = by_seq_.find(seq);
  if (found == by_seq_.end()) return;
  remember(found->second);
  found->second.held.until = until;
}

void Connections::ended(Seq seq) {
  const auto found = by_seq_.find(seq);
  if (found == by_seq_.end()) return;
  remember(found->second);
  erase(found);
}

template <typename Act>
void Connections::for_each(const Connection& connection, Act act) const {
  const auto found = by_connection_.find(connection);
  if (found == by_connection_.end()) return;
  for (std::size_t at = found->second.front; at < found->second.list.size(); ++at) {
    if (const Place* place = place_in(*found, at)) act(place->held);
  }
}

// Null: the lease at this place of the list has ended, or stands in another.
const Connections::Place* Connections::place_in(const ByConnection::value_type& of,
                                                std::size_t at) const {
  const auto found = by_seq_.find(of.second.list[at]);
  const bool is_here = found != by_seq_.end() && found->second.of == &of && found->second.at == at;
  return is_here ? &found->second : nullptr;
}

Instant Connections::first_end(const Connection& connection) const {
  Instant first = Instant::max();
  for_each(connection, [&first](const Held& held) { first = std::min(first, held.until); });
  return first;
}

// A connection that ends asks for the next ones again and again: each is gone past once.
std::vector<Token> Connections::some(const Connection& connection, std::int64_t n) {
  std::vector<Token> out;
  const auto found = by_connection_.find(connection);
  if (found == by_connection_.end()) return out;
  Leases& leases = found->second;
  while (leases.front < leases.list.size() && place_in(*found, leases.front) == nullptr) {
    ++leases.front;
  }
  for (std::size_t at = leases.front; at < leases.list.size() && std::ssize(out) < n; ++at) {
    if (const Place* place = place_in(*found, at)) out.push_back(place->held.token);
  }
  return out;
}

void Connections::shift(Millis by) {
  for (auto& [seq, place] : by_seq_) place.held.until += by;
}

void Connections::roll_back() {
  while (!undo_.empty()) {
    const Undo& undo = undo_.back();
    if (const auto found = by_seq_.find(undo.seq); found != by_seq_.end()) erase(found);
    if (undo.held) add(undo.connection, *undo.held);
    undo_.pop_back();
  }
}

void Connections::remember(const Place& before) {
  undo_.push_back({before.held.token.seq, before.of->first, before.held});
}

void Connections::add(const Connection& connection, const Held& held) {
  ByConnection::value_type& of = *by_connection_.try_emplace(connection).first;
  Leases& leases = of.second;
  if (leases.list.size() >= 2 * leases.count + kGapsMin) close_gaps(of);
  by_seq_.emplace(held.token.seq, Place{&of, held, leases.list.size()});
  leases.list.push_back(held.token.seq);
  ++leases.count;
}

void Connections::erase(BySeq::iterator found) {
  ByConnection::value_type& of = *found->second.of;
  by_seq_.erase(found);
  if (--of.second.count == 0) by_connection_.erase(of.first);
}

void Connections::close_gaps(ByConnection::value_type& of) {
  std::vector<Seq>& list = of.second.list;
  std::size_t kept = 0;
  for (std::size_t at = 0; at < list.size(); ++at) {
    if (place_in(of, at) == nullptr) continue;
    by_seq_.at(list[at]).at = kept;
    list[kept++] = list[at];
  }
  list.resize(kept);
  of.second.front = 0;
}

}  // namespace rq::engine
