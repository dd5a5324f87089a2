// Leasing: reserve, heartbeat, and the ways in which an attempt ends.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/limits.h"
#include "engine/engine.h"

namespace rq::engine {

using base::Code;
using base::fail;
using base::Kind;
using base::Result;
using core::Change;

namespace {

base::Error bad_lease() {
  return fail(Code::bad_value, "lease_s is out of bounds",
              fmt::format("give seconds from {} to {}",
                          std::chrono::duration<double>{base::kLeaseMin}.count(),
                          std::chrono::duration<double>{base::kLeaseMax}.count()));
}

}  // namespace

// --- Reserve ---

Result<Reply> Engine::dispatch(Reserve& reserve) {
  if (reserve.lease && (*reserve.lease < base::kLeaseMin || *reserve.lease > base::kLeaseMax)) {
    return bad_lease();
  }
  if (reserve.only) {
    RQ_TRY_ASSIGN(message, reserve_only(ticket_, reserve));
    Reserved reserved;
    reserved.messages.push_back(std::move(message));
    return Reply{std::move(reserved)};
  }
  // One that can take nothing would wait at the head of the line and stop all behind it.
  if (reserve.limit < 1) {
    return fail(Code::bad_value, fmt::format("limit: {} is not allowed", reserve.limit),
                "ask for one message or more");
  }
  std::vector<QueueId> watched;
  watched.reserve(reserve.queues->size());
  const std::uint64_t round = ++rounds_;
  for (const ReserveQueue& wanted : *reserve.queues) {
    Entry* entry = find_queue(wanted.queue);
    if (entry == nullptr) {
      if (!reserve.make_queue) return need_queue(wanted.queue).error();
      RQ_TRY_ASSIGN(made, make_on_demand(wanted.queue));
      entry = made;
    }
    if (std::exchange(entry->round, round) != round) watched.push_back(entry->queue.id);
  }
  Reserved reserved;
  RQ_TRY(collect(ticket_, reserve, reserved.messages));
  if (!tell_part(ticket_, reserve, reserved)) return Reply{std::move(reserved)};
  RQ_TRY_ASSIGN(waits, wait(ticket_, std::move(reserve), std::move(watched)));
  return waits ? Reply{Waiting{}} : Reply{Reserved{}};
}

// Whether the reserve goes on with nothing: `reserved` is empty, or the first part of the answer,
// which is told here; then `ticket` and `reserve` become those of the rest.
bool Engine::tell_part(Ticket& ticket, Reserve& reserve, Reserved& reserved) {
  const auto got = static_cast<std::int64_t>(reserved.messages.size());
  if (got == 0) return true;
  if (!reserve.each || got >= reserve.limit) return false;
  out_->deliveries.push_back({ticket, std::move(reserved)});
  ticket.request += static_cast<std::uint64_t>(got);
  reserve.limit -= got;
  return true;
}

// False: its time is over already.
Result<bool> Engine::wait(const Ticket& ticket, Reserve&& reserve, std::vector<QueueId>&& queues) {
  if (!reserve.wait_until) return false;
  if (reserve.margin > Millis{0}) {
    const auto leases = leases_of_connection_.find({ticket.door, ticket.connection});
    if (leases != leases_of_connection_.end()) {
      for (const Seq seq : leases->second) {
        RQ_TRY_ASSIGN(record, store_.find(seq));
        if (record == nullptr || !record->message.lease) continue;
        const Instant begins = record->message.lease->until - reserve.margin;
        reserve.wait_until = std::min(*reserve.wait_until, begins);
      }
    }
  }
  if (*reserve.wait_until <= now_) return false;
  waiters_.add(ticket, std::move(reserve), std::move(queues));
  return true;
}

Result<Message> Engine::reserve_only(const Ticket& ticket, const Reserve& reserve) {
  RQ_TRY_ASSIGN(record, need_message(*reserve.only));
  const Message& message = record->message;
  const bool buried = message.state == State::err && message.mark == Mark::buried;
  if (message.state != State::que && message.state != State::scheduled && !buried) {
    return fail(Code::wrong_state,
                fmt::format("message {} is {}", message.seq, name_of(message.state)),
                "only a waiting message can be reserved");
  }
  if (buried) {
    record->message.finished = Instant{};
    advance(*record, Event::retry);
  }
  if (message.state == State::scheduled) advance(*record, Event::ready);
  store_.changed(*record, Change::whole);
  return lease_to(*record, ticket, reserve);
}

// Takes the best messages over all queues: largest priority, then smallest sequence number.
Result<void> Engine::collect(const Ticket& ticket, const Reserve& reserve,
                             std::vector<Message>& out) {
  struct Source {
    Entry* entry;
    std::int64_t left;
    std::optional<core::Store::ReadyKey> key;
  };
  std::vector<Source> sources;
  sources.reserve(reserve.queues->size());
  const std::uint64_t round = ++rounds_;
  for (const ReserveQueue& wanted : *reserve.queues) {
    Entry* entry = find_queue(wanted.queue);
    // A queue named twice counts as the first of them says.
    if (entry == nullptr || std::exchange(entry->round, round) == round) continue;
    if (!starts(*entry) || entry->queue.counters.in(State::que) == 0) continue;
    RQ_TRY_ASSIGN(key, store_.peek_ready(entry->queue.id));
    if (!key) continue;
    sources.push_back({entry, wanted.limit > 0 ? wanted.limit : INT64_MAX, key});
  }
  while (static_cast<std::int64_t>(out.size()) < reserve.limit && !sources.empty()) {
    const auto best =
        std::min_element(sources.begin(), sources.end(), [](const Source& a, const Source& b) {
          return std::pair{-a.key->priority, a.key->seq} < std::pair{-b.key->priority, b.key->seq};
        });
    RQ_TRY_ASSIGN(record, store_.next_ready(best->entry->queue.id));
    RQ_CHECK(record != nullptr);
    out.push_back(lease_to(*record, ticket, reserve));
    if (--best->left > 0 && static_cast<std::int64_t>(out.size()) < reserve.limit) {
      RQ_TRY_ASSIGN(key, store_.peek_ready(best->entry->queue.id));
      best->key = key;
    } else {
      best->key.reset();
    }
    if (!best->key) sources.erase(best);
  }
  return {};
}

Message Engine::lease_to(Record& record, const Ticket& ticket, const Reserve& reserve) {
  Message& message = record.message;
  const Entry& entry = entry_of(message);
  const Details& details = message.detail_or_default();

  auto lease = std::make_unique<Lease>();
  lease->attempt = message.attempts + 1;
  lease->boot = store_.boot();
  lease->since = now_;
  lease->length = reserve.lease          ? *reserve.lease
                  : message.lease_length ? *message.lease_length
                                         : entry.queue.settings.lease;
  lease->until = now_ + lease->length;
  lease->end = reserve.end;
  lease->worker = reserve.worker;
  message.lease = std::move(lease);
  advance(record, Event::lease);

  Change change = Change::place;
  if (reserve.folder && details.folder.empty()) {
    message.detail().folder = fmt::format("queue/{}/{}", entry.queue.name, format_id(message));
    change = Change::whole;
  }
  store_.changed(record, change);
  if (reserve.end == LeaseEnd::connection) {
    leases_of_connection_[{ticket.door, ticket.connection}].insert(message.seq);
    connection_of_lease_[message.seq] = {ticket.door, ticket.connection};
  }
  return message.copy();
}

// Gives what has become ready to the reserves that wait for it: in the order they came, over all
// the queues in which something has become ready.
Result<void> Engine::serve_offered() {
  while (!offered_.empty()) {
    Waiters::Waiter* longest = nullptr;
    std::erase_if(offered_, [&](QueueId id) {
      const auto found = queues_.find(id);
      if (found == queues_.end()) return true;
      Entry& entry = *found->second;
      Waiters::Waiter* waiter = nullptr;
      if (starts(entry) && entry.queue.counters.in(State::que) > 0) waiter = waiters_.first(id);
      if (waiter == nullptr) {
        entry.offered = false;
        return true;
      }
      if (longest == nullptr || waiter->arrival < longest->arrival) longest = waiter;
      return false;
    });
    if (longest == nullptr) break;
    Reserved reserved;
    RQ_TRY(collect(longest->ticket, longest->reserve, reserved.messages));
    if (reserved.messages.empty()) {
      // The counters say more than the line holds (doctor will tell): nobody can be served.
      for (const QueueId id : offered_) queues_.at(id)->offered = false;
      offered_.clear();
      break;
    }
    Waiters::Waiter served = waiters_.take(*longest);
    if (!tell_part(served.ticket, served.reserve, reserved)) {
      out_->deliveries.push_back({served.ticket, std::move(reserved)});
    } else {
      RQ_TRY_ASSIGN(waits,
                    wait(served.ticket, std::move(served.reserve), std::move(served.queues)));
      if (waits) continue;
      out_->deliveries.push_back({served.ticket, Reserved{}});
    }
    release(served.ticket);
  }
  return {};
}

Result<Reply> Engine::dispatch(Disconnect& /*disconnect*/) {
  waiters_.take_all(ticket_.door, ticket_.connection);
  held_.erase({ticket_.door, ticket_.connection});
  const auto found = leases_of_connection_.find({ticket_.door, ticket_.connection});
  if (found != leases_of_connection_.end()) {
    std::vector<Seq> leased(found->second.begin(), found->second.end());
    std::sort(leased.begin(), leased.end());
    for (const Seq seq : leased) {
      // After a batch that failed, the list may name what another connection holds by now.
      const auto holder = connection_of_lease_.find(seq);
      if (holder == connection_of_lease_.end() ||
          holder->second != std::pair{ticket_.door, ticket_.connection}) {
        continue;
      }
      RQ_TRY_ASSIGN(record, store_.find(seq));
      if (record != nullptr && record->message.state == State::run) {
        end_attempt(*record, "released", "the connection ended", {});
        static_cast<void>(send_back(*record, Millis{0}));
      }
    }
    leases_of_connection_.erase({ticket_.door, ticket_.connection});
  }
  return Reply{Waiting{}};
}

Result<Reply> Engine::dispatch(StopWaiting& /*stop*/) {
  if (const auto line = held_.find({ticket_.door, ticket_.connection}); line != held_.end()) {
    for (Held& held : line->second) {
      if (auto* reserve = std::get_if<Reserve>(&held.envelope.command)) reserve->wait_until.reset();
    }
  }
  for (const Waiters::Waiter& waiter : waiters_.take_all(ticket_.door, ticket_.connection)) {
    out_->deliveries.push_back({waiter.ticket, Reserved{}});
  }
  release(ticket_);
  return Reply{Waiting{}};
}

// --- Keeping and ending ---

Result<Engine::Record*> Engine::find_leased(const Token& token) {
  RQ_TRY_ASSIGN(record, store_.find(token.seq));
  if (record != nullptr && record->message.state == State::run) {
    const Lease& lease = *record->message.lease;
    if (lease.attempt == token.attempt && lease.boot == token.boot) return record;
  }
  return fail(
      Code::lease_lost,
      fmt::format("token {} is not the live lease of message {}", to_string(token), token.seq),
      "stop working on it: the message is gone or somebody else has it");
}

Result<Reply> Engine::dispatch(Heartbeat& heartbeat) {
  HeartbeatDone done;
  done.items.reserve(heartbeat.items.size());
  for (Heartbeat::Item& item : heartbeat.items) {
    auto one = heartbeat_one(item);
    if (!one && base::row_of(one.error().code).kind == Kind::fault) return std::move(one).error();
    done.items.push_back(std::move(one));
  }
  return Reply{std::move(done)};
}

Result<HeartbeatDone::Item> Engine::heartbeat_one(Heartbeat::Item& item) {
  if (item.progress && item.progress->size() > base::kTextBytesMax) {
    item.progress->resize(base::kTextBytesMax);
  }
  if (item.lease && (*item.lease < base::kLeaseMin || *item.lease > base::kLeaseMax)) {
    return bad_lease();
  }
  RQ_TRY_ASSIGN(record, find_leased(item.token));
  Lease& lease = *record->message.lease;
  if (item.lease) lease.length = *item.lease;
  if (item.extend) lease.until = std::max(lease.until, now_ + lease.length);
  if (item.progress) {
    lease.progress = std::move(*item.progress);
    note(Notice::What::progress, record->message, State::run, lease.progress);
  }
  store_.changed(*record, Change::place);
  return HeartbeatDone::Item{.until = lease.until, .stop = lease.stop};
}

Result<Reply> Engine::dispatch(Finish& finish) {
  FinishDone done;
  done.items.reserve(finish.items.size());
  for (Finish::Item& item : finish.items) {
    auto one = finish_one(item);
    if (!one && base::row_of(one.error().code).kind == Kind::fault) return std::move(one).error();
    done.items.push_back(std::move(one));
  }
  return Reply{std::move(done)};
}

Result<State> Engine::finish_one(Finish::Item& item) {
  if (item.result && item.result->size() > base::kResultBytesMax) {
    return fail(Code::too_large, fmt::format("result has {} bytes", item.result->size()),
                fmt::format("at most {} bytes are allowed", base::kResultBytesMax));
  }
  if (item.delay < Millis{0} || item.delay > base::kDelayMax) {
    return fail(Code::bad_value, "delay_s is out of bounds",
                fmt::format("give seconds from 0 to {}",
                            std::chrono::duration<double>{base::kDelayMax}.count()));
  }
  if (item.priority &&
      (*item.priority < base::kPriorityMin || *item.priority > base::kPriorityMax)) {
    return fail(Code::bad_value, fmt::format("priority: {} is not allowed", *item.priority),
                fmt::format("give a number from {} to {}", base::kPriorityMin, base::kPriorityMax));
  }
  RQ_TRY_ASSIGN(record, find_leased(item.token));
  Message& message = record->message;
  if (item.reason.size() > base::kTextBytesMax) item.reason.resize(base::kTextBytesMax);

  if (item.remove) {
    sync(entry_of(message));
    ++entry_of(message).queue.counters.dones;
    end_attempt(*record, name_of(item.outcome), {}, {});
    remove(*record);
    return State::done;
  }
  if (item.outcome == Outcome::stopped) {
    if (message.lease->stop == StopRequest::none) {
      return fail(Code::wrong_state, fmt::format("nobody asked to stop message {}", message.seq),
                  "end the attempt as failed or release");
    }
    end_attempt(*record, message.lease->stop == StopRequest::kill ? "killed" : "cancelled",
                std::move(item.reason), std::move(item.post_mortem));
    return stop_attempt(*record);
  }
  if (item.result) message.detail().result = std::move(*item.result);
  if (item.priority) set_priority(message, *item.priority);
  end_attempt(*record, name_of(item.outcome), std::move(item.reason), std::move(item.post_mortem));
  if (item.outcome != Outcome::release) {
    message.losses = 0;
    sync(entry_of(message));
  }
  switch (item.outcome) {
    case Outcome::done:
      return finish_as(*record, Event::done, Mark::none);
    case Outcome::relayed:
      return finish_as(*record, Event::relayed, Mark::none);
    case Outcome::err:
      return finish_as(*record, Event::err, Mark::failed);
    case Outcome::failed:
      return fail_attempt(*record, Mark::failed);
    case Outcome::timed_out:
      return fail_attempt(*record, Mark::timed_out);
    case Outcome::bury:
      return finish_as(*record, Event::err, Mark::buried);
    case Outcome::resend:
      if (++message.count >= message.max_count) {
        message.detail().progress = "HIT MAX RESEND COUNT - MOVING TO ERR";
        return finish_as(*record, Event::err, Mark::exhausted);
      }
      return send_back(*record, item.delay);
    case Outcome::release:
      return send_back(*record, item.delay);
    case Outcome::stopped:
      break;
  }
  return stop_attempt(*record);
}

// The lease ends: it becomes a row of the attempts, its last text that of the message. The state
// is still run: the caller moves it on, and says what changed.
void Engine::end_attempt(Record& record, std::string_view outcome, std::string&& reason,
                         std::string&& post_mortem) {
  Message& message = record.message;
  Lease& lease = *message.lease;
  if (lease.end == LeaseEnd::connection) {
    if (const auto found = connection_of_lease_.find(message.seq);
        found != connection_of_lease_.end()) {
      const auto leases = leases_of_connection_.find(found->second);
      if (leases != leases_of_connection_.end()) {
        leases->second.erase(message.seq);
        if (leases->second.empty()) leases_of_connection_.erase(leases);
      }
      connection_of_lease_.erase(found);
    }
  }
  ++message.attempts;
  std::string& text = reason.empty() ? lease.progress : reason;
  // A client of the beanstalkd protocol has no use for a history of its reservations.
  if (!entry_of(message).queue.on_demand) {
    store_.insert(Attempt{.seq = message.seq,
                          .number = lease.attempt,
                          .worker = std::move(lease.worker),
                          .started = lease.since,
                          .ended = now_,
                          .outcome = std::string{outcome},
                          .reason = text,
                          .post_mortem = std::move(post_mortem)});
    if (!text.empty()) message.detail().progress = std::move(text);
  }
}

State Engine::finish_as(Record& record, Event event, Mark mark) {
  Message& message = record.message;
  Counters& counters = entry_of(message).queue.counters;
  message.finished = now_;
  message.lease.reset();
  if (event == Event::done || event == Event::relayed) ++counters.dones;
  if (event == Event::err) ++counters.errs;
  if (event == Event::cancel) ++counters.cancels;
  advance(record, event, mark);
  store_.changed(record, Change::whole);
  const State state = message.state;
  keep_or_remove(record);
  return state;
}

State Engine::send_back(Record& record, Millis delay) {
  Message& message = record.message;
  ++entry_of(message).queue.counters.retries;
  message.lease.reset();
  message.due = now_ + delay;
  advance(record, delay > Millis{0} ? Event::later : Event::again);
  store_.changed(record, Change::whole);
  return message.state;
}

State Engine::fail_attempt(Record& record, Mark mark) {
  Message& message = record.message;
  const QueueSettings& settings = entry_of(message).queue.settings;
  const Details& details = message.detail_or_default();
  ++message.failures;
  const std::int64_t retries = details.retries ? *details.retries : settings.retries;
  if (message.failures > retries) {
    return finish_as(record, Event::err, retries > 0 ? Mark::exhausted : mark);
  }
  const Backoff& backoff = details.backoff ? *details.backoff : settings.backoff;
  const auto seed = static_cast<std::uint64_t>(message.seq) * 1'000'003U +
                    static_cast<std::uint64_t>(message.failures);
  return send_back(record, delay_after(backoff, message.failures, seed));
}

State Engine::stop_attempt(Record& record) {
  sync(entry_of(record.message));
  const StopRequest stop = record.message.lease->stop;
  if (stop == StopRequest::kill) return finish_as(record, Event::err, Mark::killed);
  return finish_as(record, Event::cancel, Mark::none);
}

// Its time is over, or its connection gone with the server.
void Engine::lose_lease(Record& record) {
  Message& message = record.message;
  Entry& entry = entry_of(message);
  if (message.lease->stop != StopRequest::none) {
    end_attempt(record, message.lease->stop == StopRequest::kill ? "killed" : "cancelled",
                "its worker did not answer", {});
    static_cast<void>(stop_attempt(record));
    return;
  }
  ++entry.queue.counters.losses;
  ++message.losses;
  end_attempt(record, "lost", {}, {});
  if (entry.queue.settings.losses > 0 && message.losses >= entry.queue.settings.losses) {
    sync(entry);
    message.detail().progress = fmt::format("lease lost {} times in a row", message.losses);
    static_cast<void>(finish_as(record, Event::err, Mark::lost));
    return;
  }
  static_cast<void>(send_back(record, Millis{0}));
}

// --- RQ's dup ---

Result<Reply> Engine::dispatch(Duplicate& duplicate) {
  RQ_TRY_ASSIGN(record, find_leased(duplicate.token));
  Put put;
  put.queue = std::move(duplicate.queue);
  put.delay = duplicate.delay;
  const Message& message = record->message;
  put.message.payload = message.payload;
  put.priority = message.priority;
  put.max_count = message.max_count;
  if (message.details) {
    const Details& from = *message.details;
    Details& to = put.message.detail();
    to.dest = put.queue;
    to.src = from.src;
    to.orig_id = from.orig_id.empty() ? format_id(message) : from.orig_id;
    to.param1 = from.param1;
    to.param2 = from.param2;
    to.param3 = from.param3;
    to.param4 = from.param4;
    to.content_type = from.content_type;
    to.tags = from.tags;
    to.headers = from.headers;
    to.webhooks = from.webhooks;
  }
  RQ_TRY_ASSIGN(done, put_one(put));
  return Reply{done};
}

}  // namespace rq::engine
