#include "engine/gate.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/check.h"

namespace rq::engine {

using base::Result;

namespace {

// Messages of a line that are loaded at least, when what was loaded has not been enough.
constexpr std::int64_t kLineMore = 16;

void want_more(Desk& desk, const Entry& entry, std::int64_t limit) {
  const std::int64_t had = entry.asked == desk.batch.number ? entry.asked_n : 0;
  desk.batch.wanted.lines.push_back({entry.queue.id, std::max({2 * had, limit, kLineMore})});
}

// Whether there is anything to be had.
bool has_ready(const Entry& entry) {
  return is_open(entry) && entry.queue.counters.in(State::que) > 0;
}

}  // namespace

bool may_look(const Desk& desk, const Entry& entry) {
  return desk.store.late() || entry.asked == desk.batch.number ||
         desk.ledger.ready_before(entry) == 0;  // all that is ready there has come in this batch
}

LineKey known_of(const Desk& desk, const Entry& entry) {
  if (desk.store.late() || desk.ledger.ready_before(entry) == 0) return kBehindAll;
  if (entry.asked != desk.batch.number) return kBeforeAll;
  return desk.store.known(entry.queue.id);
}

bool is_open(const Entry& entry) { return !why_closed(entry.queue); }

bool find_watched(Desk& desk, const Reserve& reserve) {
  bool all = true;
  desk.watched.clear();
  const std::uint64_t round = ++desk.rounds;
  for (const ReserveQueue& wanted : *reserve.queues) {
    Entry* entry = desk.ledger.find(wanted.queue);
    if (entry == nullptr) {
      all = false;
    } else if (std::exchange(entry->round, round) != round) {
      desk.watched.push_back({.entry = entry, .left = wanted.limit > 0 ? wanted.limit : INT64_MAX});
    }
  }
  return all;
}

void needs_of_lines(Desk& desk, const Reserve& reserve, Needs& out) {
  static_cast<void>(find_watched(desk, reserve));  // what is not there has no line
  for (const Source& source : desk.watched) {
    if (!has_ready(*source.entry)) continue;
    out.lines.push_back({source.entry->queue.id, std::min(source.left, reserve.limit)});
  }
}

Result<Taken> take_best(Desk& desk, const Ticket& ticket, const Reserve& reserve) {
  Taken out;
  std::vector<Source>& sources = desk.sources;
  sources.clear();
  const bool all_known = desk.store.late();
  for (Source& source : desk.watched) {
    const Entry& entry = *source.entry;
    if (!has_ready(entry)) continue;
    if (!all_known) source.known = known_of(desk, entry);
    if (all_known || may_look(desk, entry)) {
      RQ_TRY_ASSIGN(key, desk.store.peek(entry.queue.id));
      source.key = key.value_or(kBehindAll);
    }
    if (source.key != kBehindAll || source.known != kBehindAll) sources.push_back(source);
  }
  while (std::ssize(out.messages) < reserve.limit && !sources.empty()) {
    const auto best =
        std::min_element(sources.begin(), sources.end(),
                         [](const Source& a, const Source& b) { return a.key < b.key; });
    const bool certain =
        best->key != kBehindAll &&
        (all_known || std::all_of(sources.begin(), sources.end(),
                                  [&](const Source& source) { return best->key <= source.known; }));
    if (!certain) {
      out.lacks = true;
      for (const Source& source : sources) {
        if (source.known != kBehindAll) want_more(desk, *source.entry, reserve.limit);
      }
      break;
    }
    RQ_TRY_ASSIGN(record, desk.store.take(best->entry->queue.id));
    if (record != nullptr) {
      lease(desk, *record, ticket, reserve, out);
      --best->left;
      if (desk.full()) {
        out.full = true;
        break;
      }
    }
    if (best->left > 0 && std::ssize(out.messages) < reserve.limit) {
      RQ_TRY_ASSIGN(key, desk.store.peek(best->entry->queue.id));
      best->key = key.value_or(kBehindAll);
      if (key || best->known != kBehindAll) continue;
    }
    sources.erase(best);
  }
  return out;
}

void lease(Desk& desk, Record& record, const Ticket& ticket, const Reserve& reserve, Taken& out) {
  Message& message = record.message;
  const Entry& entry = desk.ledger.of(message);

  auto lease = std::make_unique<Lease>();
  lease->attempt = message.attempts + 1;
  lease->boot = desk.store.boot();
  lease->since = desk.batch.now;
  lease->length = reserve.lease          ? *reserve.lease
                  : message.lease_length ? *message.lease_length
                                         : entry.queue.settings.lease;
  lease->until = desk.batch.from + lease->length;
  lease->end = reserve.end;
  lease->worker = reserve.worker;
  if (reserve.end == LeaseEnd::connection) {
    const Token token{.seq = message.seq, .attempt = lease->attempt, .boot = lease->boot};
    desk.connections.hold(connection_of(ticket), {token, lease->until});
  }
  message.lease = std::move(lease);
  desk.ledger.advance(record, Event::lease);

  Change change = Change::place;
  if (reserve.folder && message.detail_or_default().folder.empty()) {
    message.detail().folder = folder_of(entry.queue, message);
    change = Change::whole;
  }
  desk.store.changed(record, change);
  desk.has(message);
  out.messages.push_back(message.copy());
  if (reserve.names) out.names.push_back(entry.name);
}

}  // namespace rq::engine
