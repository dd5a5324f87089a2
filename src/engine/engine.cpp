// The batch: timers, commands in their order, commit. And putting.
#include "engine/engine.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/limits.h"
#include "core/message_check.h"

namespace rq::engine {

using base::Code;
using base::Error;
using base::fail;
using base::Kind;
using base::Result;

Engine::Engine(core::Store& store) : store_(store) {}

Result<void> Engine::open(Instant now) {
  // After a fault, connections and those who wait are still there.
  opened_ = false;
  queues_.clear();
  by_name_.clear();
  queue_timers_.clear();
  counted_.clear();
  offered_.clear();
  relaxed_sync_at_ = Instant::max();

  RQ_TRY_ASSIGN(stored, store_.queues());
  for (Queue& queue : stored) {
    auto entry = std::make_unique<Entry>();
    entry->queue = std::move(queue);
    by_name_.emplace(entry->queue.name, entry.get());
    const Counters& counters = entry->queue.counters;
    // A retention timer that is due at once finds out by itself when it is really due.
    const std::int64_t kept =
        counters.in(State::done) + counters.in(State::relayed) + counters.in(State::cancelled);
    if (kept > 0) set_timer(*entry, QueueTimer::keep_done, now);
    if (counters.in(State::err) > 0) set_timer(*entry, QueueTimer::keep_err, now);
    if (entry->queue.paused_until != Instant{}) {
      set_timer(*entry, QueueTimer::resume, entry->queue.paused_until);
    }
    if (entry->queue.on_demand) set_timer(*entry, QueueTimer::idle, now + base::kOnDemandIdle);
    queues_.emplace(entry->queue.id, std::move(entry));
  }

  // Connections of an earlier boot are gone, and their leases with them.
  now_ = now;
  want_notices_ = false;
  for (bool more = true; more;) {
    RQ_TRY(store_.begin());
    more = false;
    for (std::size_t i = 0; i < base::kTimersPerBatchMax; ++i) {
      auto orphan = store_.orphan_lease();
      if (!orphan) {
        store_.abort();
        return std::move(orphan).error();
      }
      if (*orphan == nullptr) break;
      lose_lease(**orphan);
      more = true;
    }
    RQ_TRY(commit());
  }
  offered_.clear();
  for (auto& [id, entry] : queues_) entry->offered = false;
  opened_ = true;
  return {};
}

Result<void> Engine::run(std::span<Envelope> batch, Instant now, bool want_notices, Outbox& out,
                         const std::function<void()>& answer) {
  now_ = now;
  want_notices_ = want_notices;
  needs_disk_ = relaxed_sync_at_ <= now;
  out_ = &out;
  const std::size_t first_delivery = out.deliveries.size();
  ++batches_;
  commands_ += static_cast<std::int64_t>(batch.size());

  const std::uint64_t first_arrival = waiters_.arrivals();
  auto ran = opened_ ? run_in_transaction(batch, answer)
                     : Result<void>{fail(Code::unknown_outcome, "the store is not open",
                                         "repeat the request; see the server's log")};
  if (ran) return {};
  opened_ = false;
  fail_batch(batch, first_delivery, first_arrival, ran.error());
  return ran;
}

// All or nothing: whoever would have got a reply of this batch gets the fault, and so does what has
// come and waits.
void Engine::fail_batch(std::span<Envelope> batch, std::size_t first_delivery,
                        std::uint64_t first_arrival, const Error& fault) {
  out_->notices.clear();
  const auto same = [](const Ticket& a, const Ticket& b) {
    return a.door == b.door && a.connection == b.connection && a.request == b.request;
  };
  std::vector<Delivery> failed;
  first_delivery = std::min(first_delivery, out_->deliveries.size());  // answered before
  for (std::size_t i = first_delivery; i < out_->deliveries.size(); ++i) {
    failed.push_back({out_->deliveries[i].ticket, fault});
  }
  for (const Waiters::Waiter& waiter : waiters_.take_after(first_arrival)) {
    failed.push_back({waiter.ticket, fault});
    release(waiter.ticket);
  }
  const auto answered = static_cast<std::ptrdiff_t>(failed.size());
  for (const Envelope& envelope : batch) {
    const Ticket& ticket = envelope.ticket;
    if (const auto line = held_.find({ticket.door, ticket.connection}); line != held_.end()) {
      std::erase_if(line->second,
                    [&](const Held& h) { return same(h.envelope.ticket, envelope.ticket); });
    }
    const bool has_reply = std::any_of(failed.begin(), failed.begin() + answered,
                                       [&](const Delivery& d) { return same(d.ticket, ticket); });
    if (has_reply || std::holds_alternative<Disconnect>(envelope.command) ||
        std::holds_alternative<StopWaiting>(envelope.command)) {
      continue;
    }
    failed.push_back({ticket, fault});
  }
  out_->deliveries.resize(first_delivery);
  for (Delivery& delivery : failed) out_->deliveries.push_back(std::move(delivery));
}

Result<void> Engine::run_in_transaction(std::span<Envelope> batch,
                                        const std::function<void()>& answer) {
  RQ_TRY(store_.begin());
  auto work = [&]() -> Result<void> {
    RQ_TRY(run_timers());
    RQ_TRY(run_released());
    for (Envelope& envelope : batch) {
      if (holds(envelope.ticket)) {
        const Ticket& ticket = envelope.ticket;
        held_[{ticket.door, ticket.connection}].push_back({std::move(envelope), now_});
        continue;
      }
      RQ_TRY(run_one(envelope));
      RQ_TRY(run_released());
    }
    return {};
  };
  if (auto worked = work(); !worked) {
    store_.abort();
    return worked;
  }
  if (answer && promises_nothing()) answer();
  return commit();
}

bool Engine::promises_nothing() const {
  if (needs_disk_) return false;
  return std::all_of(out_->deliveries.begin(), out_->deliveries.end(), [](const Delivery& d) {
    const auto* reserved = std::get_if<Reserved>(&d.reply);
    return reserved != nullptr &&
           std::all_of(reserved->messages.begin(), reserved->messages.end(),
                       [](const Message& m) { return m.lease->end == LeaseEnd::connection; });
  });
}

Result<void> Engine::run_one(Envelope& envelope) {
  ticket_ = envelope.ticket;
  auto reply = apply(envelope.command);
  if (!reply) {
    const bool fault = base::row_of(reply.error().code).kind == Kind::fault;
    out_->deliveries.push_back({ticket_, reply.error()});
    if (fault) return std::move(reply).error();
  } else if (!std::holds_alternative<Waiting>(*reply)) {
    out_->deliveries.push_back({ticket_, std::move(*reply)});
  }
  return serve_offered();
}

// --- In turn ---

bool Engine::holds(const Ticket& ticket) const {
  if (!ticket.in_turn) return false;
  return waiters_.waits(ticket.door, ticket.connection) ||
         (!held_.empty() && held_.contains({ticket.door, ticket.connection}));
}

// The reserve of this ticket has been answered: what is behind it comes next.
void Engine::release(const Ticket& ticket) {
  const Connection connection{ticket.door, ticket.connection};
  if (!held_.empty() && held_.contains(connection)) released_.push_back(connection);
}

Result<void> Engine::run_released() {
  while (!released_.empty()) {
    const Connection connection = released_.back();
    const auto line = held_.find(connection);
    if (line == held_.end() || waiters_.waits(connection.first, connection.second)) {
      released_.pop_back();
      continue;
    }
    if (line->second.empty()) {
      held_.erase(line);
      continue;
    }
    Held next = std::move(line->second.front());
    line->second.pop_front();
    if (auto* reserve = std::get_if<Reserve>(&next.envelope.command)) {
      // Its time to wait begins now.
      if (reserve->wait_until && *reserve->wait_until != Instant::max()) {
        *reserve->wait_until += now_ - next.since;
      }
    }
    RQ_TRY(run_one(next.envelope));
  }
  return {};
}

Result<void> Engine::commit() {
  for (const QueueId id : counted_) {
    const auto found = queues_.find(id);
    if (found == queues_.end()) continue;
    found->second->counters_changed = false;
    store_.update_counters(found->second->queue);
  }
  counted_.clear();
  RQ_TRY(store_.commit(needs_disk_ ? core::Sync::disk : core::Sync::none));
  if (needs_disk_) {
    ++syncs_;
    relaxed_sync_at_ = Instant::max();
  }
  return {};
}

Result<Reply> Engine::apply(Command& command) {
  return std::visit([this](auto& c) { return dispatch(c); }, command);
}

// --- Timers ---

Result<void> Engine::run_timers() {
  for (std::size_t i = 0; i < base::kTimersPerBatchMax; ++i) {
    RQ_TRY_ASSIGN(expired, store_.next_expired(now_));
    if (expired == nullptr) break;
    lose_lease(*expired);
  }
  for (std::size_t i = 0; i < base::kTimersPerBatchMax; ++i) {
    RQ_TRY_ASSIGN(due, store_.next_due(now_));
    if (due == nullptr) break;
    advance(*due, Event::ready);
    store_.changed(*due, core::Change::whole);
  }
  while (!queue_timers_.empty() && std::get<0>(*queue_timers_.begin()) <= now_) {
    const auto [at, id, timer] = *queue_timers_.begin();
    Entry& entry = *queues_.at(id);
    clear_timer(entry, timer);
    RQ_TRY(run_queue_timer(entry, timer));
    // A sweep that has more to do sets itself again for now: that is for the next batch.
    if (!queue_timers_.empty() && *queue_timers_.begin() == std::tuple{now_, id, timer}) break;
  }
  RQ_TRY(serve_offered());
  while (auto waiter = waiters_.take_timed_out(now_)) {
    out_->deliveries.push_back({waiter->ticket, Reserved{}});
    release(waiter->ticket);
  }
  return {};
}

Result<void> Engine::run_queue_timer(Entry& entry, QueueTimer timer) {
  switch (timer) {
    case QueueTimer::keep_done:
      return sweep_finished(entry, false);
    case QueueTimer::keep_err:
      return sweep_finished(entry, true);
    case QueueTimer::resume: {
      SetAdmin resume{.queue = entry.queue.name, .admin = Admin::up, .lasts = {}};
      RQ_TRY(dispatch(resume));
      return {};
    }
    case QueueTimer::idle: {
      const Counters& counters = entry.queue.counters;
      std::int64_t held = 0;
      for (const std::int64_t n : counters.in_state) held += n;
      if (held == 0 && waiters_.waiting_in(entry.queue.id) == 0) return remove_queue(entry);
      set_timer(entry, QueueTimer::idle, now_ + base::kOnDemandIdle);
      return {};
    }
  }
  return {};
}

Result<void> Engine::sweep_finished(Entry& entry, bool err) {
  const Retention keep = err ? entry.queue.settings.keep_err : entry.queue.settings.keep_done;
  const QueueTimer timer = err ? QueueTimer::keep_err : QueueTimer::keep_done;
  const auto kept = [&] {
    const Counters& c = entry.queue.counters;
    // Buried messages wait for their client.
    return err ? c.in(State::err)-c.buried
               : c.in(State::done) + c.in(State::relayed) + c.in(State::cancelled);
  };
  for (std::size_t i = 0; i < base::kRetentionPerBatchMax; ++i) {
    RQ_TRY_ASSIGN(oldest, store_.oldest_finished(entry.queue.id, err));
    if (oldest == nullptr) return {};
    const Instant ends = oldest->message.finished + keep.age;
    if (kept() <= keep.count && ends > now_) {
      set_timer(entry, timer, ends);
      return {};
    }
    remove(*oldest);
  }
  set_timer(entry, timer, now_);
  return {};
}

Result<Instant> Engine::next_wake() {
  if (!released_.empty()) return now_;  // a fault has come between
  Instant at = std::min(waiters_.next_timeout(), relaxed_sync_at_);
  if (!queue_timers_.empty()) at = std::min(at, std::get<0>(*queue_timers_.begin()));
  RQ_TRY_ASSIGN(deadline, store_.next_deadline());
  if (deadline) at = std::min(at, *deadline);
  return at;
}

// --- Putting ---

Result<Reply> Engine::dispatch(Put& put) {
  RQ_TRY_ASSIGN(done, put_one(put));
  return Reply{done};
}

Result<Reply> Engine::dispatch(PutMany& many) {
  PutManyDone done;
  done.puts.reserve(many.puts.size());
  for (Put& put : many.puts) {
    auto one = put_one(put);
    if (!one && base::row_of(one.error().code).kind == Kind::fault) return std::move(one).error();
    done.puts.push_back(std::move(one));
  }
  return Reply{std::move(done)};
}

Result<PutDone> Engine::put_one(Put& put) {
  Entry* entry = find_queue(put.queue);
  if (entry == nullptr) {
    if (!put.make_queue) return need_queue(put.queue).error();
    RQ_TRY_ASSIGN(made, make_on_demand(put.queue));
    entry = made;
  }
  const Queue& queue = entry->queue;
  if (queue.admin == Admin::drain || queue.admin == Admin::down) {
    return fail(Code::queue_down,
                fmt::format("queue '{}' takes no messages: its admin state is {}", queue.name,
                            name_of(queue.admin)),
                fmt::format("put elsewhere, or: rq queue resume {}", queue.name));
  }
  RQ_TRY(check_put(put, queue, now_));
  Message& message = put.message;
  if (message.details && !message.details->key.empty()) {
    RQ_TRY_ASSIGN(first, store_.find_key(message.details->key));
    if (first != nullptr) {
      return PutDone{.seq = first->message.seq,
                     .created = first->message.created,
                     .state = first->message.state,
                     .repeated = true};
    }
  }
  if (queue.settings.messages_max > 0 &&
      queue.counters.unfinished() >= queue.settings.messages_max) {
    return fail(Code::queue_full,
                fmt::format("queue '{}' holds {} unfinished messages, all it may", queue.name,
                            queue.counters.unfinished()),
                "come back later, or raise messages_max of the queue");
  }

  RQ_TRY_ASSIGN(seq, store_.next_seq());
  last_seq_ = seq;
  message.seq = seq;
  message.queue = queue.id;
  message.created = now_;
  message.priority = put.priority.value_or(queue.settings.priority);
  message.max_count = put.max_count.value_or(static_cast<std::int32_t>(queue.settings.max_count));
  message.due = put.due ? *put.due : put.delay ? now_ + *put.delay : now_;
  message.state = put.prep ? State::prep : message.due > now_ ? State::scheduled : State::que;
  Record& record = store_.insert(std::move(message));
  arrive(record);
  return PutDone{.seq = seq, .created = now_, .state = record.message.state, .repeated = false};
}

}  // namespace rq::engine
