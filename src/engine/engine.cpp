#include "engine/engine.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "engine/act.h"
#include "engine/finish.h"
#include "engine/put.h"
#include "engine/queues.h"
#include "engine/reserve.h"
#include "engine/timers.h"

namespace rq::engine {

using base::Code;
using base::Error;
using base::Result;

Engine::Engine(Store& store, std::size_t queues_max) : store_(store), desk_(store, queues_max) {}

Result<void> Engine::open() {
  opened_ = false;
  left_over_.clear();
  desk_.batch.offered.clear();
  auto opened = store_.open();
  if (opened) opened = desk_.ledger.open();
  if (!opened) {
    full_ = opened.error().code == Code::disk_full ? std::optional{opened.error()} : std::nullopt;
    return opened;
  }
  full_.reset();
  // What a failed batch gave away is ready again, and somebody may wait for it.
  for (const auto& [id, entry] : desk_.ledger.all()) {
    if (entry->queue.counters.in(State::que) > 0 && desk_.waiters.first(id) != nullptr) {
      desk_.ledger.offer(*entry);
    }
  }
  opened_ = true;
  return {};
}

// --- The batch ---

Committed Engine::run(std::span<Envelope> batch, const Moment& moment, Outbox& out) {
  begin(moment);
  auto decided =
      opened_
          ? decide_all(batch)
          : Result<void>{full_.value_or(base::fail(Code::unknown_outcome, "the store is not open",
                                                   "repeat the request; see the server's log"))};
  Committed committed = decided ? commit() : Committed{Committed::What::no, decided.error(), false};
  if (committed.what != Committed::What::yes) {
    if (!decided && opened_) store_.abort();
    opened_ = false;
    fail(batch, committed.why);
  }
  out.deliveries = std::exchange(desk_.batch.replies, std::move(out.deliveries));
  out.notices = std::exchange(desk_.batch.notices, std::move(out.notices));
  out.waste = std::exchange(desk_.batch.waste, false);
  out.set_aside = std::exchange(desk_.batch.set_aside, {});
  return committed;
}

Result<void> Engine::decide_all(std::span<Envelope> batch) {
  RQ_TRY(load_first(batch));
  RQ_TRY(run_due(desk_));
  RQ_TRY(serve_offered(desk_));
  end_waits(desk_);
  RQ_TRY(fire_left_over());
  RQ_TRY(try_ready());
  for (Envelope& envelope : batch) RQ_TRY(take(envelope));
  const auto unfinished = [this] {
    const bool offers = !desk_.batch.offered.empty() && !desk_.full();
    return !timers_.empty() || offers || desk_.turns.has_more();
  };
  for (int rounds = 1; unfinished() && rounds < store_.rounds_max(); ++rounds) {
    RQ_TRY(load_more());
    RQ_TRY(fire_timers());
    RQ_TRY(serve_offered(desk_));
    RQ_TRY(try_ready());
  }
  left_over_ = std::exchange(timers_, {});
  return {};
}

void Engine::begin(const Moment& moment) {
  Batch& batch = desk_.batch;
  ++batch.number;
  batch.now = moment.now;
  batch.from = moment.now + moment.tick;
  batch.sync = Sync::none;
  batch.no_room = store_.condition().no_room;
  batch.want_notices = moment.want_notices;
  batch.replies.clear();
  batch.notices.clear();
  batch.waste = false;
  batch.set_aside.clear();
  batch.miscounts.clear();
  batch.wanted = {};
  batch.caller_uid = -1;  // of what falls due
  batch.payload_bytes = 0;
  desk_.turns.begin_batch();
  desk_.connections.begin();
  taken_ = 0;
  first_arrival_ = desk_.waiters.arrivals();
  first_deletion_ = desk_.deletions.size();
  disconnected_.clear();
  ++desk_.batches;
  if (moment.shift == Millis{0} && moment.stopped == Millis{0}) return;
  shift_ += moment.shift;
  lease_shift_ += moment.shift + moment.stopped;
  desk_.waiters.shift(moment.shift);
  desk_.connections.shift(moment.shift + moment.stopped);
}

Result<void> Engine::load_first(std::span<Envelope> batch) {
  Needs needs;
  needs.now = desk_.batch.now;
  needs.due = kDueMax;
  needs.shift = lease_shift_;
  if (!store_.late()) {
    for (const Timer& timer : left_over_) engine::needs(desk_, timer, needs);
    needs_of_offers(desk_, needs);
    desk_.turns.for_each_ready([&](const Turns::Held& held) { add_needs(held.envelope, needs); });
    for (const Envelope& envelope : batch) add_needs(envelope, needs);
  }
  desk_.turns.begin();
  RQ_TRY(load(needs));
  if (shift_ != Millis{0}) desk_.ledger.shift_pauses(shift_);
  timers_ = store_.due_timers();
  return {};
}

// What has come up since: commands that lacked something or stood behind others, those who wait,
// timers.
Result<void> Engine::load_more() {
  Needs needs = std::exchange(desk_.batch.wanted, {});
  needs.now = desk_.batch.now;
  if (!store_.late()) {
    for (const Timer& timer : timers_) engine::needs(desk_, timer, needs);
    desk_.turns.for_each_ready([&](const Turns::Held& held) { add_needs(held.envelope, needs); });
  }
  desk_.turns.begin();
  return load(needs);
}

Result<void> Engine::load(const Needs& needs) {
  for (const Needs::Line& line : needs.lines) {
    Entry* entry = desk_.ledger.find(line.queue);
    if (entry == nullptr) continue;
    if (std::exchange(entry->asked, desk_.batch.number) != desk_.batch.number) entry->asked_n = 0;
    entry->asked_n += line.n;
  }
  return store_.load(needs);
}

void Engine::add_needs(const Envelope& envelope, Needs& out) {
  desk_.ticket = envelope.ticket;
  std::visit([&](const auto& command) { needs(desk_, command, out); }, envelope.command);
}

Result<void> Engine::take(Envelope& envelope) {
  ++taken_;
  ++desk_.commands;
  if (desk_.turns.stops(envelope.ticket, desk_.waiters)) {
    desk_.turns.wait({std::move(envelope), desk_.batch.now});
    return {};
  }
  RQ_TRY(step(envelope, desk_.batch.now));
  // What stood behind a reserve that was answered may look at anything only in a late store.
  while (store_.late() && desk_.turns.has_more()) {
    desk_.turns.begin();
    RQ_TRY(try_ready());
  }
  return {};
}

Result<void> Engine::step(Envelope& envelope, Instant since) {
  desk_.ticket = envelope.ticket;
  desk_.batch.caller_uid = envelope.ticket.caller_uid;
  auto step =
      std::visit([this](auto& command) { return decide(desk_, command); }, envelope.command);
  if (std::holds_alternative<Disconnect>(envelope.command)) disconnected_.push_back(desk_.ticket);
  if (!step) {
    desk_.answer(step.error());
    if (base::is_fault(step.error())) return std::move(step).error();
  } else if (*step != Step::done) {
    // In a late store nothing is ever lacking: trying again would never end.
    RQ_CHECK(*step == Step::goes_on || !store_.late());
    envelope.ticket = desk_.ticket;  // it may have got a part of its answer
    desk_.turns.set_aside({std::move(envelope), since}, *step == Step::goes_on);
  }
  return serve_offered(desk_);
}

// Commands that were set aside, and those behind them, as far as their needs are loaded. What comes
// up meanwhile waits for the next round.
Result<void> Engine::try_ready() {
  while (auto held = desk_.turns.next(desk_.waiters)) {
    if (auto* reserve = std::get_if<Reserve>(&held->envelope.command)) {
      // Its time to wait begins now.
      if (reserve->wait_until && *reserve->wait_until != Instant::max()) {
        *reserve->wait_until += desk_.batch.now - held->since;
      }
    }
    RQ_TRY(step(held->envelope, desk_.batch.now));
  }
  return {};
}

// Those that the batch before had no round for: this one has loaded what they look at.
Result<void> Engine::fire_left_over() {
  const std::vector<Timer> left = std::exchange(left_over_, {});
  const auto was_left = [&left](const Timer& timer) {
    return std::any_of(left.begin(), left.end(), [&timer](const Timer& other) {
      return other.what == timer.what && other.queue == timer.queue && other.seq == timer.seq;
    });
  };
  const auto others = std::stable_partition(timers_.begin(), timers_.end(), was_left);
  std::vector<Timer> later(others, timers_.end());
  timers_.erase(others, timers_.end());
  RQ_TRY(fire_timers());
  timers_ = std::move(later);
  return serve_offered(desk_);
}

Result<void> Engine::fire_timers() {
  desk_.batch.caller_uid = -1;
  for (const Timer& timer : std::exchange(timers_, {})) RQ_TRY(fire(desk_, timer));
  return {};
}

Committed Engine::commit() {
  desk_.batch.set_aside = store_.take_set_aside();
  desk_.ledger.save_counters(desk_.batch.set_aside);
  Committed committed = store_.commit(desk_.batch.sync);
  if (committed.what == Committed::What::yes) shift_ = lease_shift_ = Millis{0};
  if (committed.synced) ++desk_.syncs;
  return committed;
}

Instant Engine::next_wake() {
  if (!desk_.batch.offered.empty() || desk_.turns.has_more() || desk_.turns.has_later()) {
    return desk_.batch.now;
  }
  return std::min(desk_.waiters.next_timeout(), store_.next_deadline());
}

// --- When a batch fails ---

// All or nothing: whoever had a part in it gets the fault. What had none stays: commands that were
// set aside, and those who waited before.
void Engine::fail(std::span<Envelope> batch, const Error& why) {
  std::vector<Delivery> failed;
  for (const Delivery& delivery : desk_.batch.replies) failed.push_back({delivery.ticket, why});
  for (const Waiters::Waiter& waiter : desk_.waiters.take_after(first_arrival_)) {
    failed.push_back({waiter.ticket, why});
    desk_.turns.release(connection_of(waiter.ticket));
  }
  for (std::size_t i = first_deletion_; i < desk_.deletions.size(); ++i) {
    failed.push_back({desk_.deletions[i].ticket, why});
  }
  desk_.deletions.resize(std::min(first_deletion_, desk_.deletions.size()));
  std::vector<Envelope> rest = desk_.turns.take_going_on();
  for (Envelope& envelope : batch.subspan(std::min(taken_, batch.size()))) {
    rest.push_back(std::move(envelope));
  }
  for (Envelope& envelope : rest) {
    if (std::holds_alternative<Disconnect>(envelope.command) ||
        std::holds_alternative<StopWaiting>(envelope.command)) {
      repeat(envelope.ticket, std::move(envelope.command));
    } else {
      failed.push_back({envelope.ticket, why});
    }
  }
  desk_.connections.roll_back();
  for (const Ticket& ticket : disconnected_) repeat(ticket, Disconnect{});
  desk_.batch.replies = std::move(failed);
  desk_.batch.notices.clear();
  desk_.batch.waste = false;
  desk_.batch.set_aside.clear();
}

// Commands without a reply, which no client would repeat: the next batch does them.
void Engine::repeat(const Ticket& ticket, Command&& command) {
  desk_.turns.set_aside({{ticket, std::move(command)}, desk_.batch.now}, false);
}

}  // namespace rq::engine
