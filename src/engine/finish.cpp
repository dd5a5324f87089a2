#include "engine/finish.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/json_writer.h"
#include "base/limits.h"
#include "engine/checks.h"

namespace rq::engine {

using base::Code;
using base::fail;
using base::Result;

namespace {

State fail_attempt(Desk& desk, Record& record, Mark mark, std::string_view outcome) {
  Message& message = record.message;
  const QueueSettings& settings = desk.ledger.of(message).queue.settings;
  const Details& details = message.detail_or_default();
  ++message.failures;
  const std::int64_t retries = details.retries ? *details.retries : settings.retries;
  if (message.failures > retries) {
    return finish_as(desk, record, Event::err, retries > 0 ? Mark::exhausted : mark, outcome);
  }
  const Backoff& backoff = details.backoff ? *details.backoff : settings.backoff;
  const auto seed = static_cast<std::uint64_t>(message.seq) * 1'000'003U +
                    static_cast<std::uint64_t>(message.failures);
  return send_back(desk, record, delay_after(backoff, message.failures, seed), outcome);
}

std::string_view outcome_of(StopRequest stop) {
  return stop == StopRequest::kill ? "killed" : "cancelled";
}

// The words of whoever asked for the stop stand before what came of it.
std::string after_stop(const Lease& lease, std::string text) {
  if (text.empty()) return lease.progress;
  if (text.ends_with(lease.progress)) return text;
  text = fmt::format("{} - {}", lease.progress, text);
  cut_text(text);
  return text;
}

// `outcome`: of the attempt that has ended.
State stop_attempt(Desk& desk, Record& record, std::string_view outcome) {
  desk.ledger.sync(desk.ledger.of(record.message));
  if (record.message.lease->stop == StopRequest::kill) {
    return finish_as(desk, record, Event::err, Mark::killed, outcome);
  }
  return finish_as(desk, record, Event::cancel, Mark::none, outcome);
}

// What ends the message stands before the reason of its last attempt.
void tell_the_end(Message& message, std::string why) {
  std::string& last = message.detail().progress;
  if (!last.empty()) why += "; the last: " + last;
  last = std::move(why);
  cut_text(last);
}

State resend(Desk& desk, Record& record, Millis delay) {
  Message& message = record.message;
  if (++message.count < message.max_count) return send_back(desk, record, delay, "resend");
  tell_the_end(message, fmt::format("resent {} time{}, the most allowed", message.count,
                                    message.count == 1 ? "" : "s"));
  return finish_as(desk, record, Event::err, Mark::exhausted, "resend");
}

// Why a lease has ended by itself, with the last text of its attempt.
std::string why_ended(const Lease& lease, Instant now) {
  constexpr core::Boot kNobody = 0;  // a store that was damaged has made it, and says why
  if (lease.boot == kNobody) return lease.progress;
  std::string text;
  if (lease.until > now) {
    text = "the connection of its lease has gone with an earlier start of the server";
  } else {
    text = lease.worker.empty() ? "its worker" : fmt::format("the worker '{}'", lease.worker);
    text += " did not renew its lease within ";
    base::append_seconds(text, lease.length);
    text += " s";
  }
  // Once it is to stop, its text is the reason for that.
  if (lease.stop == StopRequest::none && !lease.progress.empty()) {
    text += "; its last text: " + lease.progress;
  }
  cut_text(text);
  return text;
}

State lose_lease(Desk& desk, Record& record, std::optional<std::string>&& reason) {
  Message& message = record.message;
  Entry& entry = desk.ledger.of(message);
  if (const StopRequest stop = message.lease->stop; stop != StopRequest::none) {
    end_attempt(desk, record, outcome_of(stop),
                after_stop(*message.lease, std::move(reason).value_or("")), {});
    return stop_attempt(desk, record, outcome_of(stop));
  }
  ++entry.queue.counters.losses;
  ++message.losses;
  end_attempt(desk, record, "lost", std::move(reason), {});
  if (entry.queue.settings.losses > 0 && message.losses >= entry.queue.settings.losses) {
    desk.ledger.sync(entry);
    tell_the_end(message, fmt::format("lease lost {} times in a row", message.losses));
    return finish_as(desk, record, Event::err, Mark::lost, "lost");
  }
  return send_back(desk, record, Millis{0}, "lost");
}

// The attempt has ended with this outcome: where the message goes.
State end_as(Desk& desk, Record& record, const Finish::Item& item) {
  const std::string_view outcome = name_of(item.outcome);
  switch (item.outcome) {
    case Outcome::done:
      return finish_as(desk, record, Event::done, Mark::none, outcome);
    case Outcome::relayed:
      return finish_as(desk, record, Event::relayed, Mark::none, outcome);
    case Outcome::err:
      return finish_as(desk, record, Event::err, Mark::failed, outcome);
    case Outcome::failed:
      return fail_attempt(desk, record, Mark::failed, outcome);
    case Outcome::timed_out:
      return fail_attempt(desk, record, Mark::timed_out, outcome);
    case Outcome::hold:
      if (record.message.lease->stop != StopRequest::none) break;
      return finish_as(desk, record, Event::err, Mark::held, outcome);
    case Outcome::resend:
      return resend(desk, record, item.delay);
    case Outcome::release:
      return send_back(desk, record, item.delay, outcome);
    case Outcome::stopped:
    case Outcome::lost:  // see finish_one()
      return stop_attempt(desk, record, outcome);
  }
  return stop_attempt(desk, record, outcome);
}

Result<HeartbeatDone::Item> heartbeat_one(Desk& desk, Heartbeat::Item& item) {
  if (item.progress) cut_text(*item.progress);
  if (item.lease) RQ_TRY(check_lease(*item.lease));
  RQ_TRY_ASSIGN(record, need_leased(desk, item.token));
  Lease& lease = *record->message.lease;
  if (item.lease) lease.length = *item.lease;
  if (item.extend) lease.until = std::max(lease.until, desk.batch.from + lease.length);
  if (lease.end == LeaseEnd::connection) desk.connections.extended(item.token.seq, lease.until);
  // Once it is to stop, its text is the reason for that.
  if (item.progress && lease.stop == StopRequest::none) {
    lease.progress = std::move(*item.progress);
    desk.ledger.note(Notice::What::progress, record->message, State::run, lease.progress);
  }
  desk.store.changed(*record, Change::place);
  return HeartbeatDone::Item{.until = lease.until, .stop = lease.stop};
}

Result<void> check_item(const Finish::Item& item) {
  if (item.result && item.result->size() > base::kResultBytesMax) {
    return fail(Code::too_large, fmt::format("result has {} bytes", item.result->size()),
                fmt::format("at most {} bytes are allowed", base::kResultBytesMax));
  }
  RQ_CHECK(!item.remove || item.outcome == Outcome::done);
  RQ_TRY(check_delay(item.delay));
  return item.priority ? check_priority(*item.priority) : Result<void>{};
}

// Whether the message may be ready again in this batch, and so be given away with its payload.
bool may_come_back(const Finish::Item& item) {
  switch (item.outcome) {
    case Outcome::failed:
    case Outcome::timed_out:
    case Outcome::resend:
    case Outcome::release:
    case Outcome::lost:
    case Outcome::hold:  // whoever sends held ones on does not name them
      return !item.remove;
    case Outcome::done:
    case Outcome::relayed:
    case Outcome::err:
    case Outcome::stopped:
      return false;
  }
  return false;
}

bool ends_well(Outcome outcome) { return outcome == Outcome::done || outcome == Outcome::relayed; }

Result<State> finish_one(Desk& desk, Finish::Item& item) {
  RQ_TRY(check_item(item));
  RQ_TRY_ASSIGN(record, need_leased(desk, item.token));
  Message& message = record->message;
  Entry& entry = desk.ledger.of(message);
  if (item.reason) cut_text(*item.reason);

  if (item.remove) {
    desk.ledger.sync(entry);
    end_attempt(desk, *record, name_of(item.outcome), std::nullopt, {});
    desk.ledger.advance(*record, Event::done, Mark::none, name_of(item.outcome));
    message.finished = desk.batch.now;
    desk.ledger.remove(*record);
    return State::done;
  }
  if (item.outcome == Outcome::lost) {
    return lose_lease(desk, *record, std::move(item.reason));
  }
  if (item.outcome == Outcome::stopped) {
    const StopRequest stop = message.lease->stop;
    if (stop == StopRequest::none) {
      return fail(Code::wrong_state, fmt::format("nobody asked to stop message {}", message.seq),
                  "end the attempt as failed or release");
    }
    end_attempt(desk, *record, outcome_of(stop),
                after_stop(*message.lease, std::move(item.reason).value_or("")),
                std::move(item.post_mortem));
    return stop_attempt(desk, *record, outcome_of(stop));
  }
  if (item.reason && message.lease->stop != StopRequest::none && may_come_back(item)) {
    item.reason = after_stop(*message.lease, *std::move(item.reason));  // see send_back()
  }
  // What ends well tells nothing of the attempts before it.
  if (ends_well(item.outcome) && !item.reason && message.lease->progress.empty()) item.reason = "";
  if (item.result) message.detail().result = std::move(*item.result);
  if (item.priority) desk.ledger.set_priority(*record, *item.priority);
  end_attempt(desk, *record, name_of(item.outcome), std::move(item.reason),
              std::move(item.post_mortem));
  if (item.outcome != Outcome::release) {
    message.losses = 0;
    desk.ledger.sync(entry);
  }
  return end_as(desk, *record, item);
}

}  // namespace

// --- Commands ---

void needs(Desk& /*desk*/, const Heartbeat& heartbeat, Needs& out) {
  for (std::size_t i = heartbeat.done.items.size(); i < heartbeat.items.size(); ++i) {
    out.numbers.push_back({heartbeat.items[i].token.seq});
  }
}

Result<Step> decide(Desk& desk, Heartbeat& heartbeat) {
  return each_item(desk, heartbeat.items, heartbeat.done,
                   [&desk](Heartbeat::Item& item) { return heartbeat_one(desk, item); });
}

void needs(Desk& /*desk*/, const Finish& finish, Needs& out) {
  for (std::size_t i = finish.done.items.size(); i < finish.items.size(); ++i) {
    const Finish::Item& item = finish.items[i];
    out.numbers.push_back({item.token.seq, may_come_back(item)});
  }
}

Result<Step> decide(Desk& desk, Finish& finish) {
  return each_item(desk, finish.items, finish.done,
                   [&desk](Finish::Item& item) { return finish_one(desk, item); });
}

// --- For the other families ---

bool is_live(const Record& record, const Token& token) {
  if (record.message.state != State::run) return false;
  const Lease& lease = *record.message.lease;
  return lease.attempt == token.attempt && lease.boot == token.boot;
}

Result<Record*> need_leased(Desk& desk, const Token& token) {
  RQ_TRY_ASSIGN(record, desk.store.find(token.seq));
  if (record != nullptr && is_live(*record, token)) {
    desk.has(record->message);
    return record;
  }
  return fail(
      Code::lease_lost,
      fmt::format("token {} is not the live lease of message {}", to_string(token), token.seq),
      "stop working on it: the message is gone or somebody else has it");
}

void end_attempt(Desk& desk, Record& record, std::string_view outcome,
                 std::optional<std::string>&& reason, std::string&& post_mortem) {
  Message& message = record.message;
  Lease& lease = *message.lease;
  if (lease.end == LeaseEnd::connection) desk.connections.ended(message.seq);
  ++message.attempts;
  std::string& text = reason ? *reason : lease.progress;
  // Queues made on demand keep no history of their attempts.
  if (desk.ledger.of(message).queue.on_demand) return;
  desk.store.append(Attempt{.seq = message.seq,
                            .number = lease.attempt,
                            .worker = lease.worker,
                            .started = lease.since,
                            .ended = desk.batch.now,
                            .outcome = std::string{outcome},
                            .reason = text,
                            .post_mortem = std::move(post_mortem)});
  if (!text.empty() || (reason && !message.detail_or_default().progress.empty())) {
    message.detail().progress = std::move(text);
  }
}

void release_lease(Desk& desk, Record& record, std::string&& reason) {
  const Lease& lease = *record.message.lease;
  if (lease.stop != StopRequest::none) reason = after_stop(lease, std::move(reason));
  end_attempt(desk, record, "released", std::move(reason), {});
  static_cast<void>(send_back(desk, record, Millis{0}, "released"));
}

void end_lease(Desk& desk, Record& record) {
  static_cast<void>(lose_lease(desk, record, why_ended(*record.message.lease, desk.batch.now)));
}

State send_back(Desk& desk, Record& record, Millis delay, std::string_view outcome) {
  Message& message = record.message;
  // Who asked for the stop was told that it ends: it does not come back.
  if (message.lease->stop != StopRequest::none) return stop_attempt(desk, record, outcome);
  if (delay > Millis{0}) {
    message.due = desk.batch.from + delay;
    desk.ledger.line_up(message);
  }
  desk.ledger.advance(record, delay > Millis{0} ? Event::later : Event::again, Mark::none, outcome);
  desk.store.changed(record, Change::whole);
  return message.state;
}

State finish_as(Desk& desk, Record& record, Event event, Mark mark, std::string_view outcome) {
  Message& message = record.message;
  desk.ledger.advance(record, event, mark, outcome);
  message.finished = desk.batch.now;
  desk.store.changed(record, Change::whole);
  const State state = message.state;
  desk.ledger.keep_or_remove(record);
  return state;
}

}  // namespace rq::engine
