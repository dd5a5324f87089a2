#include "engine/reserve.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "engine/checks.h"
#include "engine/finish.h"
#include "engine/gate.h"
#include "engine/put.h"

namespace rq::engine {

using base::Code;
using base::fail;
using base::Result;

namespace {

Reserved reserved_of(Taken&& taken) {
  return {.messages = std::move(taken.messages), .queues = std::move(taken.names)};
}

// Whether the reserve goes on with nothing: `taken` is empty, or the first part of the answer,
// which is told here; then `ticket` and `reserve` become those of the rest.
bool tell_part(Desk& desk, Ticket& ticket, Reserve& reserve, Taken& taken) {
  const std::int64_t got = std::ssize(taken.messages);
  if (got == 0) return true;
  if (!reserve.each || got >= reserve.limit) return false;
  desk.answer(ticket,
              reserved_of(std::exchange(taken, {.lacks = taken.lacks, .full = taken.full})));
  ticket.request += static_cast<std::uint64_t>(got);
  reserve.limit -= got;
  return true;
}

// False: its time is over already.
bool wait(Desk& desk, const Ticket& ticket, Reserve&& reserve, std::vector<QueueId>&& queues) {
  if (!reserve.wait_until) return false;
  if (reserve.lease_guard > Millis{0}) {
    const Instant end = desk.connections.first_end(connection_of(ticket));
    if (end != Instant::max()) {
      reserve.wait_until = std::min(*reserve.wait_until, end - reserve.lease_guard);
    }
  }
  if (*reserve.wait_until <= desk.batch.now) return false;
  desk.waiters.add(ticket, std::move(reserve), std::move(queues));
  return true;
}

std::vector<QueueId> ids_of(const std::vector<Source>& watched) {
  std::vector<QueueId> ids;
  ids.reserve(watched.size());
  for (const Source& source : watched) ids.push_back(source.entry->queue.id);
  return ids;
}

// All are looked at before the first is made: a refusal changes nothing.
Result<void> make_missing(Desk& desk, const Reserve& reserve) {
  std::vector<Queue> missing;
  for (const ReserveQueue& wanted : *reserve.queues) {
    if (Entry* entry = desk.ledger.find(wanted.queue)) {
      desk.ledger.use(*entry);  // so it does not go to make room for the others
      continue;
    }
    if (!reserve.make_queue) return desk.ledger.need(wanted.queue).error();
    RQ_TRY_ASSIGN(queue, desk.ledger.on_demand(wanted.queue, missing.size()));
    missing.push_back(std::move(queue));
  }
  for (Queue& queue : missing) {
    if (desk.ledger.find(queue.name) != nullptr) continue;  // it was named twice
    RQ_TRY_ASSIGN(made, desk.ledger.make(std::move(queue)));
    static_cast<void>(made);
  }
  return {};
}

// Paused or not: who names a message may have it, unless its queue is down or on its way out.
Result<void> check_gives(const Entry& entry) {
  if (!entry.queue.being_deleted) return check_works(entry);
  return fail(Code::not_found, fmt::format("queue '{}' is being deleted", entry.queue.name),
              "reserve from others, or create it again when it is gone");
}

Result<Step> reserve_one(Desk& desk, const Reserve& reserve) {
  RQ_TRY_ASSIGN(record, need_message(desk, *reserve.only));
  Message& message = record->message;
  const bool held = message.state == State::err && message.mark == Mark::held;
  RQ_TRY(check_gives(desk.ledger.of(message)));
  if (message.state != State::que && message.state != State::scheduled && !held) {
    return fail(Code::wrong_state,
                fmt::format("message {} is {}", message.seq, name_of(message.state)),
                "only a waiting message can be reserved");
  }
  if (held) {
    desk.ledger.advance(*record, Event::retry);
    message.finished = Instant{};
  }
  if (message.state == State::scheduled) desk.ledger.advance(*record, Event::ready);
  desk.store.changed(*record, Change::whole);
  Taken taken;
  lease(desk, *record, desk.ticket, reserve, taken);
  desk.answer(reserved_of(std::move(taken)));
  return Step::done;
}

}  // namespace

// --- Reserve ---

void needs(Desk& desk, const Reserve& reserve, Needs& out) {
  if (reserve.only) {
    out.numbers.push_back({*reserve.only, true});
  } else if (reserve.limit > 0) {
    needs_of_lines(desk, reserve, out);
  }
}

Result<Step> decide(Desk& desk, Reserve& reserve) {
  if (reserve.lease) RQ_TRY(check_lease(*reserve.lease));
  if (desk.full()) return Step::goes_on;
  if (reserve.only) return reserve_one(desk, reserve);
  // A reserve that can take nothing would block all who wait behind it.
  if (reserve.limit < 1) {
    return fail(Code::bad_value, fmt::format("limit: {} is not allowed", reserve.limit),
                "ask for one message or more");
  }
  if (!find_watched(desk, reserve)) {
    RQ_TRY(make_missing(desk, reserve));
    RQ_CHECK(find_watched(desk, reserve));
  }
  for (const Source& source : desk.watched) desk.ledger.use(*source.entry);
  RQ_TRY_ASSIGN(taken, take_best(desk, desk.ticket, reserve));
  const bool told = !taken.messages.empty();
  if (!tell_part(desk, desk.ticket, reserve, taken)) {
    desk.answer(reserved_of(std::move(taken)));
    return Step::done;
  }
  // One that was told a part has a share in this batch: if it fails, so does the rest.
  if (taken.full) return Step::goes_on;
  if (taken.lacks) return told ? Step::goes_on : Step::lacks;
  if (!wait(desk, desk.ticket, std::move(reserve), ids_of(desk.watched))) desk.answer(Reserved{});
  return Step::done;
}

// --- Those who wait ---

void needs_of_offers(Desk& desk, Needs& out) {
  for (const QueueId id : desk.batch.offered) {
    Waiters::Waiter* waiter = desk.waiters.first(id);
    if (waiter != nullptr) needs_of_lines(desk, waiter->reserve, out);
  }
}

Result<void> serve_offered(Desk& desk) {
  auto& offered = desk.batch.offered;
  while (!offered.empty() && !desk.full()) {
    Waiters::Waiter* longest = nullptr;
    std::erase_if(offered, [&](QueueId id) {
      Entry* entry = desk.ledger.find(id);
      if (entry == nullptr) return true;
      Waiters::Waiter* waiter = nullptr;
      if (is_open(*entry) && entry->queue.counters.in(State::que) > 0) {
        waiter = desk.waiters.first(id);
      }
      if (waiter == nullptr) {
        entry->offered = false;
        return true;
      }
      if (longest == nullptr || waiter->arrival < longest->arrival) longest = waiter;
      return false;
    });
    if (longest == nullptr) break;
    static_cast<void>(find_watched(desk, longest->reserve));  // some may be gone meanwhile
    RQ_TRY_ASSIGN(taken, take_best(desk, longest->ticket, longest->reserve));
    if (taken.messages.empty()) {
      if (taken.lacks) break;
      // The counters are wrong (doctor reports it): the line is empty, so nobody is served.
      desk.ledger.forget_offers();
      break;
    }
    Waiters::Waiter served = desk.waiters.take(*longest);
    if (!tell_part(desk, served.ticket, served.reserve, taken)) {
      desk.answer(served.ticket, reserved_of(std::move(taken)));
    } else {
      if (wait(desk, served.ticket, std::move(served.reserve), std::move(served.queues))) continue;
      desk.answer(served.ticket, Reserved{});
    }
    desk.turns.release(connection_of(served.ticket));
  }
  return {};
}

void end_waits(Desk& desk) {
  while (auto waiter = desk.waiters.take_timed_out(desk.batch.now)) {
    desk.answer(waiter->ticket, Reserved{});
    desk.turns.release(connection_of(waiter->ticket));
  }
}

// --- The end of a connection, or of its waiting ---

void needs(Desk& desk, const Disconnect& /*disconnect*/, Needs& out) {
  for (const Token& token : desk.connections.some(connection_of(desk.ticket), kStepMax)) {
    out.numbers.push_back({token.seq, true});
  }
}

Result<Step> decide(Desk& desk, Disconnect& /*disconnect*/) {
  const Connection connection = connection_of(desk.ticket);
  static_cast<void>(desk.waiters.take_all(connection));
  desk.turns.drop(connection);
  const std::vector<Token> leases = desk.connections.some(connection, kStepMax);
  for (const Token& token : leases) {
    if (desk.full()) return Step::goes_on;
    RQ_TRY_ASSIGN(record, desk.store.find(token.seq));
    desk.connections.ended(token.seq);
    if (record == nullptr || !is_live(*record, token)) continue;
    desk.has(record->message);
    release_lease(desk, *record, "the connection ended");
  }
  return std::ssize(leases) < kStepMax ? Step::done : Step::goes_on;
}

Result<Step> decide(Desk& desk, StopWaiting& /*stop*/) {
  const Connection connection = connection_of(desk.ticket);
  desk.turns.for_each_of(connection, [](Command& command) {
    if (auto* reserve = std::get_if<Reserve>(&command)) reserve->wait_until.reset();
  });
  for (const Waiters::Waiter& waiter : desk.waiters.take_all(connection)) {
    desk.answer(waiter.ticket, Reserved{});
  }
  desk.turns.release(connection);
  return Step::done;
}

}  // namespace rq::engine
