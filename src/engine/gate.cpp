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

struct Source {
  Entry* entry;
  std::int64_t left;
  LineKey key;    // the best one; kBehindAll: there is none
  LineKey known;  // all better ones than this are known
};

void want_more(Desk& desk, const Entry& entry, std::int64_t limit) {
  const std::int64_t had = entry.asked == desk.batch.number ? entry.asked_n : 0;
  desk.batch.wanted.lines.push_back({entry.queue.id, std::max({2 * had, limit, kLineMore})});
}

// Calls each(entry, limit) for every queue of the reserve that is open and holds ready messages. A
// queue named twice counts as the first of them says.
template <typename Each>
Result<void> for_each_open(Desk& desk, const Reserve& reserve, Each each) {
  const std::uint64_t round = ++desk.rounds;
  for (const ReserveQueue& wanted : *reserve.queues) {
    Entry* entry = desk.ledger.find(wanted.queue);
    if (entry == nullptr || std::exchange(entry->round, round) == round) continue;
    if (!is_open(*entry) || entry->queue.counters.in(State::que) == 0) continue;
    RQ_TRY(each(*entry, wanted.limit > 0 ? wanted.limit : INT64_MAX));
  }
  return {};
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

bool is_open(const Entry& entry) {
  const Queue& queue = entry.queue;
  return (queue.admin == Admin::up || queue.admin == Admin::drain) && queue.script_error.empty() &&
         !queue.going;
}

void needs_of_lines(Desk& desk, const Reserve& reserve, Needs& out) {
  static_cast<void>(for_each_open(desk, reserve, [&](Entry& entry, std::int64_t limit) {
    out.lines.push_back({entry.queue.id, std::min(limit, reserve.limit)});
    return Result<void>{};
  }));
}

Result<Taken> take_best(Desk& desk, const Ticket& ticket, const Reserve& reserve) {
  Taken out;
  std::vector<Source> sources;
  sources.reserve(reserve.queues->size());
  RQ_TRY(for_each_open(desk, reserve, [&](Entry& entry, std::int64_t limit) -> Result<void> {
    Source source{&entry, limit, kBehindAll, known_of(desk, entry)};
    if (may_look(desk, entry)) {
      RQ_TRY_ASSIGN(key, desk.store.peek(entry.queue.id));
      source.key = key.value_or(kBehindAll);
    }
    if (source.key != kBehindAll || source.known != kBehindAll) sources.push_back(source);
    return {};
  }));
  while (std::ssize(out.messages) < reserve.limit && !sources.empty()) {
    const auto best =
        std::min_element(sources.begin(), sources.end(),
                         [](const Source& a, const Source& b) { return a.key < b.key; });
    const bool certain = best->key != kBehindAll &&
                         std::all_of(sources.begin(), sources.end(), [&](const Source& source) {
                           return best->key <= source.known;
                         });
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
  lease->until = desk.batch.now + lease->length;
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
  out.messages.push_back(message.copy());
  if (reserve.names) out.names.push_back(entry.name);
}

}  // namespace rq::engine
