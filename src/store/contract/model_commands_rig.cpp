// The commands of the plain model.
#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "base/check.h"
#include "core/store.h"
#include "store/contract/model_rig.h"

namespace rq::store::contract {

using base::Code;
using base::fail;
using base::Result;

void Model::take_up(const Envelope& envelope) {
  const Ticket& ticket = envelope.ticket;
  if (ticket.in_turn && (holds(ticket.connection) || waits(ticket.connection))) {
    held_[ticket.connection].push_back({copy_of(envelope), now_});
    return;
  }
  ticket_ = ticket;
  std::visit([this](const auto& command) { decide(command); }, envelope.command);
  serve();
}

// --- Putting ---

Result<PutDone> Model::put_one(const Put& put) {
  Queue* queue = find_queue(put.queue);
  if (queue == nullptr && !put.make_queue) return fail(Code::not_found, "");
  if (queue != nullptr) RQ_TRY(takes(*queue));
  if (choices_.no_room) return fail(Code::disk_full, "");
  const std::string& key = put.message.detail_or_default().key;
  for (const auto& [seq, first] : stored_.messages) {
    const Details& a = first.detail_or_default();
    if (key.empty() || a.key != key) continue;
    const Details& b = put.message.detail_or_default();
    const auto content = [](const Details& d) {
      return std::tie(d.param1, d.param2, d.param3, d.param4, d.content_type, d.headers);
    };
    if (queue == nullptr || first.queue != queue->id || first.payload != put.message.payload ||
        content(a) != content(b)) {
      return fail(Code::exists, "");
    }
    return PutDone{.seq = seq, .created = first.created, .state = first.state, .repeated = true};
  }
  if (queue == nullptr) queue = &make_queue(put.queue, true, {});
  if (queue->settings.messages_max > 0 &&
      shown(*queue).queue->counters.unfinished() >= queue->settings.messages_max) {
    return fail(Code::queue_full, "");
  }
  RQ_CHECK(!choices_.numbers.empty());
  Message message = put.message.copy();
  message.seq = choices_.numbers.front();
  choices_.numbers.pop_front();
  message.queue = queue->id;
  message.created = now_;
  message.priority = put.priority.value_or(queue->settings.priority);
  message.max_count = put.max_count.value_or(static_cast<std::int32_t>(queue->settings.max_count));
  message.due = put.due ? *put.due : now_ + put.delay.value_or(Millis{0});
  message.state = put.prep ? State::prep : message.due > now_ ? State::scheduled : State::que;
  line_up(message);
  ++queue->counters.puts;
  use(*queue);
  const PutDone done{.seq = message.seq, .created = now_, .state = message.state};
  stored_.messages.emplace(message.seq, std::move(message));
  return done;
}

void Model::decide(const Put& put) {
  const auto done = put_one(put);
  if (!done) return answer(done.error());
  answer(ticket_.request, text_of(Reply{*done}));
}

void Model::decide(const PutMany& many) {
  PutManyDone done;
  for (const Put& put : many.puts) done.puts.push_back(put_one(put));
  answer(ticket_.request, text_of(Reply{std::move(done)}));
}

void Model::decide(const Duplicate& duplicate) {
  const auto found = need_leased(duplicate.token);
  if (!found) return answer(found.error());
  const Message& from = **found;
  Put put{.queue = duplicate.queue,
          .priority = from.priority,
          .max_count = from.max_count,
          .delay = duplicate.delay};
  put.message.payload = from.payload;
  Details& to = put.message.detail();
  const std::string orig_id = from.detail_or_default().orig_id;
  if (from.details) {
    to = *from.details;
    to.cloned_from = to.dup_of = to.progress = to.result = to.folder = {};
    to.force_remote = false;
    to.retries = {};
    to.backoff = {};
    to.timeout = {};
  }
  to.dest = duplicate.queue;
  to.key = duplicate.key;
  to.orig_id = orig_id.empty() ? full_id(duplicate.host, queue_of(from).name, from) : orig_id;
  decide(put);
}

// --- Leasing ---

void Model::decide(const Reserve& reserve) {
  if (reserve.only) return reserve_one(reserve);
  if (reserve.limit < 1) return answer(fail(Code::bad_value, ""));
  std::vector<std::string> queues;
  for (const ReserveQueue& wanted : *reserve.queues) {
    if (!reserve.make_queue && find_queue(wanted.queue) == nullptr) {
      return answer(fail(Code::not_found, ""));
    }
  }
  for (const ReserveQueue& wanted : *reserve.queues) {
    Queue* queue = find_queue(wanted.queue);
    if (queue == nullptr) queue = &make_queue(wanted.queue, true, {});
    if (std::find(queues.begin(), queues.end(), wanted.queue) != queues.end()) continue;
    use(*queue);
    queues.push_back(wanted.queue);
  }
  Ticket ticket = ticket_;
  Reserve rest = reserve;
  if (!give(ticket, rest)) return;
  if (!wait(ticket, std::move(rest), std::move(queues))) {
    answer(ticket.request, text_of_reserved({}));
  }
}

void Model::reserve_one(const Reserve& reserve) {
  const auto found = need(*reserve.only);
  if (!found) return answer(found.error());
  Message& message = **found;
  if (const auto good = works(queue_of(message)); !good) return answer(good.error());
  const bool held = message.state == State::err && message.mark == Mark::held;
  if (message.state != State::que && message.state != State::scheduled && !held) {
    return answer(fail(Code::wrong_state, ""));
  }
  if (held) {
    message.finished = Instant{};
    ++queue_of(message).counters.retries;
  }
  answer(ticket_.request, text_of_reserved({lease(message, ticket_, reserve)}));
}

void Model::decide(const Disconnect& /*disconnect*/) {
  const std::uint64_t connection = ticket_.connection;
  std::erase_if(waiting_,
                [&](const Waiting& waiting) { return waiting.ticket.connection == connection; });
  held_.erase(connection);
  std::vector<Token> tokens;
  for (const auto& [seq, lease] : leases_) {
    if (lease.connection == connection) tokens.push_back(lease.token);
  }
  for (const Token& token : tokens) {
    const auto found = need_leased(token);
    RQ_CHECK(found.has_value());
    const core::Lease& lease = *(*found)->lease;
    std::string text = "the connection ended";
    if (lease.stop != StopRequest::none) text = after_stop(lease, std::move(text));
    end_attempt(**found, "released", std::move(text), {});
    static_cast<void>(send_back(**found, Millis{0}));
  }
}

void Model::decide(const StopWaiting& /*stop*/) {
  const std::uint64_t connection = ticket_.connection;
  for (Held& held : held_[connection]) {
    if (auto* reserve = std::get_if<Reserve>(&held.envelope.command)) reserve->wait_until.reset();
  }
  std::erase_if(waiting_, [&](const Waiting& waiting) {
    if (waiting.ticket.connection != connection) return false;
    answer(waiting.ticket.request, text_of_reserved({}));
    return true;
  });
  released_.push_back(connection);
}

Result<HeartbeatDone::Item> Model::heartbeat_one(const Heartbeat::Item& item) {
  const auto found = need_leased(item.token);
  if (!found) return found.error();
  core::Lease& lease = *(*found)->lease;
  if (item.lease) lease.length = *item.lease;
  if (item.extend) lease.until = std::max(lease.until, now_ + lease.length);
  if (const auto held = leases_.find(item.token.seq); held != leases_.end()) {
    held->second.until = lease.until;
  }
  if (item.progress && lease.stop == StopRequest::none) lease.progress = *item.progress;
  return HeartbeatDone::Item{.until = lease.until, .stop = lease.stop};
}

void Model::decide(const Heartbeat& heartbeat) {
  HeartbeatDone done;
  for (const Heartbeat::Item& item : heartbeat.items) done.items.push_back(heartbeat_one(item));
  answer(ticket_.request, text_of(Reply{std::move(done)}));
}

State Model::end_as(Message& message, const Finish::Item& item) {
  const QueueSettings& settings = queue_of(message).settings;
  switch (item.outcome) {
    case Outcome::done:
      return finish_as(message, Event::done, Mark::none);
    case Outcome::relayed:
      return finish_as(message, Event::relayed, Mark::none);
    case Outcome::err:
      return finish_as(message, Event::err, Mark::failed);
    case Outcome::hold:
      if (message.lease->stop != StopRequest::none) return stop_attempt(message);
      return finish_as(message, Event::err, Mark::held);
    case Outcome::release:
      return send_back(message, item.delay);
    case Outcome::resend: {
      if (++message.count < message.max_count) return send_back(message, item.delay);
      std::string& text = message.detail().progress;
      if (!text.empty()) text = "; the last: " + text;
      text = "resent " + std::to_string(message.count) + (message.count == 1 ? " time" : " times") +
             ", the most allowed" + text;
      return finish_as(message, Event::err, Mark::exhausted);
    }
    case Outcome::failed:
    case Outcome::timed_out:
      break;
    case Outcome::lost:
    case Outcome::stopped:
      return stop_attempt(message);
  }
  const Mark mark = item.outcome == Outcome::failed ? Mark::failed : Mark::timed_out;
  const Details& details = message.detail_or_default();
  const std::int64_t retries = details.retries.value_or(settings.retries);
  if (++message.failures > retries) {
    return finish_as(message, Event::err, retries > 0 ? Mark::exhausted : mark);
  }
  const auto seed = static_cast<std::uint64_t>(message.seq) * 1'000'003U +
                    static_cast<std::uint64_t>(message.failures);
  return send_back(message,
                   delay_after(details.backoff.value_or(settings.backoff), message.failures, seed));
}

Result<State> Model::finish_one(const Finish::Item& item) {
  const auto found = need_leased(item.token);
  if (!found) return found.error();
  Message& message = **found;
  if (item.remove) {
    ++queue_of(message).counters.dones;
    end_attempt(message, {}, {}, {});
    erase(message);
    return State::done;
  }
  if (item.outcome == Outcome::lost) {
    return lose(message, item.reason);
  }
  if (item.outcome == Outcome::stopped) {
    const StopRequest stop = message.lease->stop;
    if (stop == StopRequest::none) return fail(Code::wrong_state, "");
    end_attempt(message, stop == StopRequest::kill ? "killed" : "cancelled",
                after_stop(*message.lease, item.reason.value_or("")), item.post_mortem);
    return stop_attempt(message);
  }
  if (item.result) message.detail().result = *item.result;
  if (item.priority) message.priority = *item.priority;
  std::optional<std::string> reason = item.reason;
  const bool ends_well_or_in_err = item.outcome == Outcome::done ||
                                   item.outcome == Outcome::relayed || item.outcome == Outcome::err;
  if (reason && message.lease->stop != StopRequest::none && !ends_well_or_in_err) {
    reason = after_stop(*message.lease, *std::move(reason));
  }
  const bool ends_well = item.outcome == Outcome::done || item.outcome == Outcome::relayed;
  if (ends_well && !reason && message.lease->progress.empty()) reason = "";
  end_attempt(message, name_of(item.outcome), std::move(reason), item.post_mortem);
  if (item.outcome != Outcome::release) message.losses = 0;
  return end_as(message, item);
}

void Model::decide(const Finish& finish) {
  FinishDone done;
  for (const Finish::Item& item : finish.items) done.items.push_back(finish_one(item));
  answer(ticket_.request, text_of(Reply{std::move(done)}));
}

// --- Acting ---

Result<ActDone::Item> Model::act_one(const Act& act, Seq seq) {
  const auto found = need(seq);
  if (!found) return found.error();
  Message& message = **found;
  const State state = message.state;
  const bool finished = is_finished(state);
  const base::Error wrong = fail(Code::wrong_state, "");
  const auto say_why = [&] {
    if (!act.reason.empty()) message.detail().progress = act.reason;
  };
  ActDone::Item item{.seq = seq, .created = message.created, .state = state, .was = state};
  switch (act.action) {
    case Action::commit:
      if (state != State::prep) return wrong;
      RQ_TRY(works(queue_of(message)));
      say_why();
      message.state = message.due > now_ ? State::scheduled : State::que;
      break;
    case Action::retry:
      if (!finished) return wrong;
      RQ_TRY(takes(queue_of(message)));
      restart(message);
      say_why();
      break;
    case Action::requeue:
      if (!finished && state != State::run) return wrong;
      RQ_TRY(finished ? takes(queue_of(message)) : works(queue_of(message)));
      if (!finished && message.lease->stop != StopRequest::none) return wrong;
      if (finished) {
        restart(message);
        say_why();
      } else {
        end_attempt(message, "requeued",
                    act.reason.empty() ? std::nullopt : std::optional{act.reason}, {});
        static_cast<void>(send_back(message, Millis{0}));
      }
      break;
    case Action::run_now:
      if (state != State::scheduled && state != State::que) return wrong;
      RQ_TRY(works(queue_of(message)));
      say_why();
      message.due = std::min(message.due, now_);
      message.order = -base::to_ms(now_);
      message.state = State::que;
      break;
    case Action::cancel:
    case Action::kill: {
      const bool kill = act.action == Action::kill;
      if (state == State::run) {
        const StopRequest wanted = kill ? StopRequest::kill : StopRequest::cancel;
        if (message.lease->stop != StopRequest::none && message.lease->stop != wanted) return wrong;
        if (message.lease->stop == StopRequest::none) {
          message.lease->stop = wanted;
          if (!act.reason.empty()) message.lease->progress = act.reason;
        }
        return item;
      }
      if (kill || !next(state, Event::cancel)) return wrong;
      say_why();
      item.state = finish_as(message, Event::cancel, Mark::none);
      return item;
    }
    case Action::clone: {
      if (!finished) return wrong;
      Put put{.queue = act.queue.empty() ? queue_of(message).name : act.queue,
              .message = message.copy(),
              .priority = message.priority,
              .max_count = message.max_count};
      Message& m = put.message;
      m.attempts = m.failures = m.losses = m.count = 0;
      m.finished = Instant{};
      m.mark = Mark::none;
      Details& details = m.detail();
      details.key = details.progress = details.result = details.folder = details.dup_of = {};
      details.cloned_from = format_id(message);
      if (details.orig_id.empty()) {
        details.orig_id = full_id(act.host, queue_of(message).name, message);
      }
      const auto done = put_one(put);
      if (!done) return done.error();
      return ActDone::Item{.seq = done->seq, .created = done->created, .state = done->state};
    }
    case Action::move: {
      if (state == State::run) return wrong;
      Queue* to = find_queue(act.queue);
      if (to == nullptr) return fail(Code::not_found, "");
      RQ_TRY(takes(*to));
      if (to->id == message.queue) return wrong;
      use(queue_of(message));
      use(*to);
      message.queue = to->id;
      line_up(message);
      break;
    }
    case Action::remove:
      if (state == State::run) return wrong;
      if (act.if_unfinished && finished && message.mark != Mark::held) {
        return fail(Code::not_found, "");
      }
      erase(message);
      return item;
    case Action::priority:
      if (finished) return wrong;
      message.priority = act.priority;
      break;
  }
  item.state = message.state;
  return item;
}

void Model::decide(const Act& act) {
  ActDone done;
  for (const Seq seq : act.messages) done.items.push_back(act_one(act, seq));
  answer(ticket_.request, text_of(Reply{std::move(done)}));
}

void Model::decide(const RunEarly& early) {
  const bool held = !in_order(early.queue, true).empty();
  RunEarlyDone done;
  const Queue* queue = find_queue(early.queue);
  if (queue != nullptr && !works(*queue)) return answer(ticket_.request, text_of(Reply{done}));
  for (const Seq seq : in_order(early.queue, held)) {
    if (done.count == early.bound) break;
    make_ready(stored_.messages.at(seq));
    ++done.count;
  }
  answer(ticket_.request, text_of(Reply{done}));
}

void Model::decide(const RunEarlyOne& early) {
  const auto found = need(early.seq);
  if (!found) return answer(found.error());
  Message& message = **found;
  if (message.mark != Mark::held && message.state != State::scheduled) {
    return answer(fail(Code::wrong_state, ""));
  }
  if (const auto good = works(queue_of(message)); !good) return answer(good.error());
  make_ready(message);
  answer(ticket_.request, text_of(Reply{Ok{}}));
}

void Model::decide(const Peek& peek) {
  Message* message = nullptr;
  if (peek.what == PeekWhat::message) {
    message = find(peek.seq);
  } else if (peek.what == PeekWhat::ready) {
    const Queue* queue = find_queue(peek.queue);
    for (auto& [seq, one] : stored_.messages) {
      if (queue == nullptr || one.queue != queue->id || one.state != State::que) continue;
      if (message == nullptr || line_key(one) < line_key(*message)) message = &one;
    }
  } else {
    const auto found = in_order(peek.queue, peek.what == PeekWhat::held);
    if (!found.empty()) message = find(found.front());
  }
  if (message == nullptr) return answer(fail(Code::not_found, ""));
  answer(ticket_.request, "peeked " + text_of(*message, queue_of(*message).name));
}

// --- Queues ---

void Model::decide(const ShowQueue& show) {
  const Queue* queue = find_queue(show.queue);
  if (queue == nullptr) return answer(fail(Code::not_found, ""));
  answer(ticket_.request, text_of(shown(*queue)));
}

void Model::decide(const ListQueues& /*list*/) {
  QueuesListed listed;
  for (const auto& [name, queue] : stored_.queues) listed.queues.push_back(shown(queue));
  answer(ticket_.request, text_of(Reply{std::move(listed)}));
}

void Model::decide(const EngineStats& /*stats*/) {
  EngineStatsDone done;
  done.queues = std::ssize(stored_.queues);
  done.waiting_reserves = std::ssize(waiting_);
  answer(ticket_.request, text_of(Reply{done}));
}

void Model::decide(const DefineQueue& define) {
  Queue* queue = find_queue(define.queue);
  if (queue == nullptr) {
    if (define.mode == DefineQueue::Mode::change) return answer(fail(Code::not_found, ""));
    queue = &make_queue(define.queue, define.on_demand, *define.settings);
  } else if (!define.on_demand) {
    if (define.revision && *define.revision != queue->revision) {
      return answer(fail(Code::wrong_state, ""));
    }
    const bool same = queue->settings == *define.settings;
    if (define.mode == DefineQueue::Mode::create && !same) return answer(fail(Code::exists, ""));
    if (!same || queue->on_demand) {
      queue->settings = *define.settings;
      if (queue->settings.script.empty()) queue->script_error.clear();
      if (queue->on_demand) {
        queue->on_demand = false;
        stored_.idle.erase(define.queue);
      }
      changed(*queue);
    }
  }
  answer(ticket_.request, text_of(shown(*queue)));
}

void Model::decide(const SetAdmin& set) {
  Queue* queue = find_queue(set.queue);
  if (queue == nullptr) return answer(fail(Code::not_found, ""));
  const Instant until = set.lasts ? now_ + *set.lasts : Instant{};
  if (queue->admin != set.admin || queue->paused_until != until) {
    queue->admin = set.admin;
    queue->paused_until = until;
    changed(*queue);
  }
  answer(ticket_.request, text_of(shown(*queue)));
}

void Model::decide(const DeleteQueue& remove) {
  Queue* queue = find_queue(remove.queue);
  if (queue == nullptr) return answer(fail(Code::not_found, ""));
  const Counters counters = shown(*queue).queue->counters;
  if (counters.in(State::run) > 0 || (counters.all() > 0 && !remove.force)) {
    return answer(fail(Code::wrong_state, ""));
  }
  std::vector<Seq> seqs;
  for (const auto& [seq, message] : stored_.messages) {
    if (message.queue == queue->id) seqs.push_back(seq);
  }
  for (const Seq seq : seqs) erase(stored_.messages.at(seq));
  answer(ticket_.request, text_of(Reply{Ok{}}));
  remove_queue(remove.queue);
}

void Model::decide(const SetScriptError& set) {
  Queue* queue = find_queue(set.queue);
  if (queue == nullptr) return answer(fail(Code::not_found, ""));
  if (queue->script_error != set.error) {
    queue->script_error = set.error;
    changed(*queue);
  }
  answer(ticket_.request, text_of(Reply{Ok{}}));
}

void Model::decide(const ForgetWaste& /*forget*/) { answer(ticket_.request, text_of(Reply{Ok{}})); }
void Model::decide(const Examine& /*examine*/) { answer(ticket_.request, text_of(Reply{Ok{}})); }

}  // namespace rq::store::contract
