// What operators and clients do with messages that they do not hold: retry, cancel, move, kick ...
#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/limits.h"
#include "engine/engine.h"

namespace rq::engine {

using base::Code;
using base::Error;
using base::fail;
using base::Kind;
using base::Result;
using core::Change;

namespace {

Error wrong_state(const Message& message, Action action, std::string_view remedy) {
  return fail(Code::wrong_state,
              fmt::format("cannot {} message {}: it is {}", name_of(action), format_id(message),
                          name_of(message.state)),
              std::string{remedy});
}

}  // namespace

Result<Reply> Engine::dispatch(Act& act) {
  if (act.action == Action::priority &&
      (act.priority < base::kPriorityMin || act.priority > base::kPriorityMax)) {
    return fail(Code::bad_value, fmt::format("priority: {} is not allowed", act.priority),
                fmt::format("give a number from {} to {}", base::kPriorityMin, base::kPriorityMax));
  }
  if (act.reason.size() > base::kTextBytesMax) act.reason.resize(base::kTextBytesMax);
  ActDone done;
  done.items.reserve(act.messages.size());
  for (const Seq seq : act.messages) {
    auto one = act_one(act, seq);
    if (!one && base::row_of(one.error().code).kind == Kind::fault) return std::move(one).error();
    done.items.push_back(std::move(one));
  }
  return Reply{std::move(done)};
}

Result<ActDone::Item> Engine::act_one(const Act& act, Seq seq) {
  RQ_TRY_ASSIGN(record, need_message(seq));
  Message& message = record->message;
  const State before = message.state;
  const Instant created = message.created;
  switch (act.action) {
    case Action::commit:
      if (before != State::prep) return wrong_state(message, act.action, "it is work already");
      if (message.due > now_) {
        advance(*record, Event::defer);
      } else {
        advance(*record, Event::commit);
      }
      store_.changed(*record, Change::whole);
      break;
    case Action::retry:
      if (!is_finished(before)) {
        return wrong_state(message, act.action, "only a finished message can be retried");
      }
      restart(*record);
      break;
    case Action::requeue:
      if (before == State::run) {
        note(Notice::What::stop, message, before, "requeue");
        end_attempt(*record, "requeued", std::string{act.reason}, {});
        static_cast<void>(send_back(*record, Millis{0}));
      } else if (is_finished(before)) {
        restart(*record);
      } else {
        return wrong_state(message, act.action, "it waits already; to hurry it: run-now");
      }
      break;
    case Action::run_now:
      if (before != State::scheduled && before != State::que) {
        return wrong_state(message, act.action, "only a waiting message can be hurried");
      }
      // Before all others of its priority would need another order; so it takes the next one up.
      if (before == State::que && message.priority < base::kPriorityMax) {
        set_priority(message, message.priority + 1);
      }
      message.due = now_;
      advance(*record, Event::run_now);
      store_.changed(*record, Change::whole);
      break;
    case Action::cancel:
    case Action::kill:
      return stop_one(act, *record);
    case Action::clone:
      return clone_one(act, *record);
    case Action::move:
      RQ_TRY(move_one(act, *record));
      break;
    case Action::remove:
      if (before == State::run) {
        return wrong_state(message, act.action, fmt::format("first: rq cancel {}", seq));
      }
      sync(entry_of(message));
      remove(*record);
      return ActDone::Item{.seq = seq, .created = created, .state = before};
    case Action::priority:
      if (is_finished(before)) {
        return wrong_state(message, act.action,
                           "only an unfinished message has a turn to wait for");
      }
      set_priority(message, act.priority);
      store_.changed(*record, Change::whole);
      break;
  }
  sync(entry_of(message));
  return ActDone::Item{.seq = seq, .created = created, .state = message.state};
}

// Finished: again, from the start. Attempts keep their numbers, which fence.
void Engine::restart(Record& record) {
  Message& message = record.message;
  message.failures = 0;
  message.losses = 0;
  message.count = 0;
  message.due = now_;
  message.finished = Instant{};
  if (message.details) {
    message.details->progress.clear();
    message.details->result.clear();
  }
  ++entry_of(message).queue.counters.retries;
  advance(record, Event::retry);
  store_.changed(record, Change::whole);
}

Result<ActDone::Item> Engine::stop_one(const Act& act, Record& record) {
  Message& message = record.message;
  const bool kill = act.action == Action::kill;
  if (message.state == State::run) {
    Lease& lease = *message.lease;
    // A cancel that came first is not turned into a kill, nor the other way round.
    if (lease.stop == StopRequest::none) {
      lease.stop = kill ? StopRequest::kill : StopRequest::cancel;
      if (!act.reason.empty()) lease.progress = act.reason;
      store_.changed(record, Change::place);
    }
    sync(entry_of(message));
    note(Notice::What::stop, message, State::run, name_of(act.action));
    return ActDone::Item{.seq = message.seq, .created = message.created, .state = message.state};
  }
  if (kill) return wrong_state(message, act.action, "only a running message can be killed");
  if (!next(message.state, Event::cancel)) {
    return wrong_state(message, act.action, "it is finished already");
  }
  if (!act.reason.empty()) message.detail().progress = act.reason;
  sync(entry_of(message));
  const ActDone::Item item{
      .seq = message.seq, .created = message.created, .state = State::cancelled};
  static_cast<void>(finish_as(record, Event::cancel, Mark::none));
  return item;
}

// A new message like a finished one; the count starts anew and it may run at once.
Result<ActDone::Item> Engine::clone_one(const Act& act, const Record& record) {
  const Message& from = record.message;
  if (!is_finished(from.state)) {
    return wrong_state(from, act.action, "only a finished message can be cloned");
  }
  Put put;
  put.queue = act.queue.empty() ? entry_of(from).queue.name : act.queue;
  put.message = from.copy();
  put.message.attempts = put.message.failures = put.message.losses = put.message.count = 0;
  put.message.finished = Instant{};
  put.message.mark = Mark::none;
  put.priority = from.priority;
  put.max_count = from.max_count;
  Details& details = put.message.detail();
  details.key.clear();
  details.progress.clear();
  details.result.clear();
  details.folder.clear();
  details.dup_of.clear();
  details.cloned_from = format_id(from);
  if (details.orig_id.empty()) details.orig_id = format_id(from);
  RQ_TRY_ASSIGN(done, put_one(put));
  return ActDone::Item{.seq = done.seq, .created = done.created, .state = done.state};
}

Result<void> Engine::move_one(const Act& act, Record& record) {
  Message& message = record.message;
  if (message.state == State::run) {
    return wrong_state(message, act.action, "take it from its worker first: rq requeue");
  }
  RQ_TRY_ASSIGN(to, need_queue(act.queue));
  if (to->queue.admin == Admin::drain || to->queue.admin == Admin::down) {
    return fail(Code::queue_down,
                fmt::format("queue '{}' takes no messages: its admin state is {}", to->queue.name,
                            name_of(to->queue.admin)),
                fmt::format("rq queue resume {}", to->queue.name));
  }
  Entry& from = entry_of(message);
  if (&from == to) return {};
  sync(from);
  tally(from, message, -1);
  message.queue = to->queue.id;
  tally(*to, message, 1);
  clear_timer(*to, QueueTimer::idle);
  store_.changed(record, Change::whole);
  note(Notice::What::message, message, message.state);
  if (message.state == State::que) offer(*to);
  if (is_finished(message.state)) {
    set_timer(*to, message.state == State::err ? QueueTimer::keep_err : QueueTimer::keep_done,
              now_);
  }
  if (from.queue.on_demand) set_timer(from, QueueTimer::idle, now_ + base::kOnDemandIdle);
  return {};
}

// --- beanstalkd's kick ---

void Engine::kick_one(Record& record) {
  if (record.message.state == State::err) {
    restart(record);
  } else {
    record.message.due = now_;
    advance(record, Event::run_now);
    store_.changed(record, Change::whole);
  }
}

Result<Reply> Engine::dispatch(Kick& kick) {
  KickDone done;
  Entry* entry = find_queue(kick.queue);
  if (entry == nullptr) return Reply{done};
  sync(*entry);
  const bool buried = entry->queue.counters.buried > 0;
  while (done.kicked < std::min(kick.bound, base::kSweepMax)) {
    auto next =
        buried ? store_.next_buried(entry->queue.id) : store_.next_scheduled(entry->queue.id);
    if (!next) return std::move(next).error();
    if (*next == nullptr) break;
    kick_one(**next);
    ++done.kicked;
  }
  return Reply{done};
}

Result<Reply> Engine::dispatch(KickOne& kick) {
  RQ_TRY_ASSIGN(record, need_message(kick.seq));
  const Message& message = record->message;
  const bool buried = message.state == State::err && message.mark == Mark::buried;
  if (!buried && message.state != State::scheduled) {
    return fail(Code::wrong_state,
                fmt::format("message {} is {}", message.seq, name_of(message.state)),
                "only a buried or scheduled message can be kicked");
  }
  sync(entry_of(message));
  kick_one(*record);
  return Reply{Ok{}};
}

Result<Reply> Engine::dispatch(Peek& peek) {
  Record* record = nullptr;
  if (peek.what == PeekWhat::message) {
    RQ_TRY_ASSIGN(found, need_message(peek.seq));
    record = found;
  } else {
    RQ_TRY_ASSIGN(entry, need_queue(peek.queue));
    auto next = peek.what == PeekWhat::ready     ? store_.next_ready(entry->queue.id)
                : peek.what == PeekWhat::delayed ? store_.next_scheduled(entry->queue.id)
                                                 : store_.next_buried(entry->queue.id);
    if (!next) return std::move(next).error();
    record = *next;
    if (record == nullptr) {
      return fail(Code::not_found,
                  fmt::format("queue '{}' holds no such message", entry->queue.name));
    }
  }
  return Reply{
      Peeked{.message = record->message.copy(), .queue = entry_of(record->message).queue.name}};
}

}  // namespace rq::engine
