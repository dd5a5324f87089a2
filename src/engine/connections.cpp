#include "engine/connections.h"

#include <algorithm>

namespace rq::engine {

void Connections::hold(const Connection& connection, const Held& held) {
  const Seq seq = held.token.seq;
  if (const auto found = by_seq_.find(seq); found != by_seq_.end()) {
    undo_.push_back({seq, found->second});
    erase(found);
  } else {
    undo_.push_back({seq, std::nullopt});
  }
  add(connection, held);
}

void Connections::extended(Seq seq, Instant until) {
  const auto found = by_seq_.find(seq);
  if (found == by_seq_.end()) return;
  undo_.push_back({seq, found->second});
  found->second.held.until = until;
}

void Connections::ended(Seq seq) {
  const auto found = by_seq_.find(seq);
  if (found == by_seq_.end()) return;
  undo_.push_back({seq, found->second});
  erase(found);
}

Instant Connections::first_end(const Connection& connection) const {
  Instant first = Instant::max();
  const auto found = by_connection_.find(connection);
  if (found == by_connection_.end()) return first;
  for (const Seq seq : found->second) first = std::min(first, by_seq_.at(seq).held.until);
  return first;
}

std::vector<Token> Connections::some(const Connection& connection, std::int64_t n) const {
  std::vector<Token> out;
  const auto found = by_connection_.find(connection);
  if (found == by_connection_.end()) return out;
  out.reserve(found->second.size());
  for (const Seq seq : found->second) out.push_back(by_seq_.at(seq).held.token);
  std::sort(out.begin(), out.end(), [](const Token& a, const Token& b) { return a.seq < b.seq; });
  if (std::ssize(out) > n) out.resize(static_cast<std::size_t>(n));
  return out;
}

void Connections::shift(Millis by) {
  for (auto& [seq, place] : by_seq_) place.held.until += by;
}

void Connections::roll_back() {
  while (!undo_.empty()) {
    const Undo& undo = undo_.back();
    if (const auto found = by_seq_.find(undo.seq); found != by_seq_.end()) erase(found);
    if (undo.before) add(undo.before->connection, undo.before->held);
    undo_.pop_back();
  }
}

void Connections::add(const Connection& connection, const Held& held) {
  std::vector<Seq>& list = by_connection_[connection];
  by_seq_.emplace(held.token.seq, Place{connection, held, list.size()});
  list.push_back(held.token.seq);
}

void Connections::erase(BySeq::iterator found) {
  const auto entry = by_connection_.find(found->second.connection);
  std::vector<Seq>& list = entry->second;
  // The last one takes its place: a connection may hold any number.
  const std::size_t at = found->second.at;
  if (at + 1 < list.size()) {
    list[at] = list.back();
    by_seq_.at(list[at]).at = at;
  }
  list.pop_back();
  if (list.empty()) by_connection_.erase(entry);
  by_seq_.erase(found);
}

}  // namespace rq::engine
