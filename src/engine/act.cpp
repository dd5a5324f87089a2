#include "engine/act.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "engine/checks.h"
#include "engine/finish.h"
#include "engine/gate.h"
#include "engine/put.h"

namespace rq::engine {

using base::Code;
using base::Error;
using base::fail;
using base::Result;

namespace {

std::string deed(Action action, const Message& message) {
  const std::string id = format_id(message);
  switch (action) {
    case Action::run_now:
      return fmt::format("run message {} early", id);
    case Action::priority:
      return fmt::format("set the priority of message {}", id);
    default:
      return fmt::format("{} message {}", name_of(action), id);
  }
}

Error wrong_state(const Message& message, Action action, std::string_view remedy) {
  return fail(Code::wrong_state,
              fmt::format("cannot {}: it is {}", deed(action, message), name_of(message.state)),
              std::string{remedy});
}

// Of a cancel and a kill the first one stands.
Error told_to_stop(const Message& message, Action action, std::string remedy) {
  return fail(Code::wrong_state,
              fmt::format("cannot {}: it was told to stop ({}), and its script has not ended yet",
                          deed(action, message),
                          message.lease->stop == StopRequest::kill ? "kill" : "cancel"),
              std::move(remedy));
}

// Why, said by whoever acts: the text of the message, until another comes.
void keep_reason(Message& message, const std::string& reason) {
  if (!reason.empty()) message.detail().progress = reason;
}

// Finished: again, from the start. Attempts keep their numbers, which fence.
void restart(Desk& desk, Record& record, const std::string& reason) {
  Message& message = record.message;
  message.failures = 0;
  message.losses = 0;
  message.count = 0;
  if (message.details) {
    message.details->progress.clear();
    message.details->result.clear();
  }
  keep_reason(message, reason);
  message.due = desk.batch.now;
  desk.ledger.line_up(message);
  desk.ledger.advance(record, Event::retry);
  message.finished = Instant{};
  desk.store.changed(record, Change::whole);
}

void commit(Desk& desk, const Act& act, Record& record) {
  keep_reason(record.message, act.reason);
  const bool early = record.message.due > desk.batch.now;
  desk.ledger.advance(record, early ? Event::defer : Event::commit);
  desk.store.changed(record, Change::whole);
}

Result<void> requeue(Desk& desk, const Act& act, Record& record) {
  const Message& message = record.message;
  if (message.state == State::run) {
    RQ_TRY(check_works(desk.ledger.of(message)));
    if (message.lease->stop != StopRequest::none) {
      return told_to_stop(message, act.action,
                          fmt::format("to run it again after that: rq retry {}", message.seq));
    }
    desk.ledger.note(Notice::What::stop, message, State::run, "requeue");
    end_attempt(desk, record, "requeued",
                act.reason.empty() ? std::nullopt : std::optional{act.reason}, {});
    static_cast<void>(send_back(desk, record, Millis{0}, "requeued"));
    return {};
  }
  if (is_finished(message.state)) {
    RQ_TRY(check_takes(desk.ledger.of(message)));
    restart(desk, record, act.reason);
    return {};
  }
  return wrong_state(message, act.action, "it waits already; to run it early: run-now");
}

Result<void> run_now(Desk& desk, const Act& act, Record& record) {
  Message& message = record.message;
  if (message.state != State::scheduled && message.state != State::que) {
    return wrong_state(message, act.action, "only a waiting message can be run early");
  }
  RQ_TRY(check_works(desk.ledger.of(message)));
  keep_reason(message, act.reason);
  message.due = std::min(message.due, desk.batch.now);
  message.order = -base::to_ms(desk.batch.now);  // before all that is due; the last one first
  desk.ledger.advance(record, Event::run_now);
  desk.store.changed(record, Change::whole);
  return {};
}

// Cancel, and kill: a running message is asked to stop.
Result<State> stop(Desk& desk, const Act& act, Record& record) {
  Message& message = record.message;
  const bool kill = act.action == Action::kill;
  if (message.state == State::run) {
    Lease& lease = *message.lease;
    const StopRequest wanted = kill ? StopRequest::kill : StopRequest::cancel;
    if (lease.stop != StopRequest::none && lease.stop != wanted) {
      return told_to_stop(message, act.action, "there is no more to do; its grace bounds the wait");
    }
    if (lease.stop == StopRequest::none) {
      lease.stop = wanted;
      if (!act.reason.empty()) lease.progress = act.reason;
      desk.store.changed(record, Change::place);
    }
    desk.ledger.note(Notice::What::stop, message, State::run, name_of(act.action));
    return message.state;
  }
  if (kill) return wrong_state(message, act.action, "only a running message can be killed");
  if (!next(message.state, Event::cancel)) {
    return wrong_state(message, act.action, "it is finished already");
  }
  keep_reason(message, act.reason);
  static_cast<void>(finish_as(desk, record, Event::cancel, Mark::none));
  return State::cancelled;
}

// A new message like a finished one; the count starts anew and it may run at once.
Result<ActDone::Item> clone(Desk& desk, const Act& act, const Record& record) {
  const Message& from = record.message;
  if (!is_finished(from.state)) {
    return wrong_state(from, act.action, "only a finished message can be cloned");
  }
  Put put;
  put.queue = act.queue.empty() ? desk.ledger.of(from).queue.name : act.queue;
  put.message = from.copy();
  desk.has(put.message);
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
  if (details.orig_id.empty()) {
    details.orig_id = full_id(act.host, desk.ledger.of(from).queue.name, from);
  }
  PutDone done;
  RQ_TRY(put_one(desk, put, done));
  return ActDone::Item{.seq = done.seq, .created = done.created, .state = done.state};
}

Result<void> move(Desk& desk, const Act& act, Record& record) {
  if (record.message.state == State::run) {
    if (record.message.lease->stop != StopRequest::none) {
      return told_to_stop(record.message, act.action, "move it when it has ended, and retry it");
    }
    return wrong_state(record.message, act.action, "take it from its worker first: rq requeue");
  }
  RQ_TRY_ASSIGN(to, desk.ledger.need(act.queue));
  RQ_TRY(check_takes(*to));
  RQ_TRY(check_caller(desk, *to));
  if (&desk.ledger.of(record.message) == to) {
    return fail(Code::wrong_state,
                fmt::format("message {} is in queue '{}' already", record.message.seq, act.queue),
                "name another queue");
  }
  desk.ledger.move(record, *to);
  return {};
}

Result<void> set_priority(Desk& desk, const Act& act, Record& record) {
  if (is_finished(record.message.state)) {
    return wrong_state(record.message, act.action,
                       "only an unfinished message has a turn to wait for");
  }
  desk.ledger.set_priority(record, act.priority);
  desk.store.changed(record, Change::whole);
  return {};
}

Result<ActDone::Item> act_one(Desk& desk, const Act& act, Seq seq) {
  RQ_TRY_ASSIGN(record, need_message(desk, seq));
  Message& message = record->message;
  const Entry& entry = desk.ledger.of(message);
  ActDone::Item item{
      .seq = seq, .created = message.created, .state = message.state, .was = message.state};
  switch (act.action) {
    case Action::commit:
      if (message.state != State::prep) {
        return wrong_state(message, act.action, "it is work already");
      }
      RQ_TRY(check_works(entry));
      commit(desk, act, *record);
      break;
    case Action::retry:
      if (!is_finished(message.state)) {
        return wrong_state(message, act.action, "only a finished message can be retried");
      }
      RQ_TRY(check_takes(entry));
      restart(desk, *record, act.reason);
      break;
    case Action::requeue:
      RQ_TRY(requeue(desk, act, *record));
      break;
    case Action::run_now:
      RQ_TRY(run_now(desk, act, *record));
      break;
    case Action::cancel:
    case Action::kill: {
      desk.ledger.sync(entry);
      RQ_TRY_ASSIGN(state, stop(desk, act, *record));  // it may be gone now
      item.state = state;
      return item;
    }
    case Action::clone:
      return clone(desk, act, *record);
    case Action::move:
      RQ_TRY(move(desk, act, *record));
      break;
    case Action::remove:
      if (message.state == State::run) {
        return wrong_state(message, act.action, fmt::format("first: rq cancel {}", seq));
      }
      if (act.if_unfinished && is_finished(message.state) && message.mark != Mark::held) {
        return no_message(seq);
      }
      desk.ledger.sync(entry);
      desk.ledger.remove(*record);
      return item;
    case Action::priority:
      RQ_TRY(set_priority(desk, act, *record));
      break;
  }
  desk.ledger.sync(desk.ledger.of(message));
  item.state = message.state;
  return item;
}

// Held, or scheduled: it is to be had now.
void make_ready(Desk& desk, Record& record) {
  desk.has(record.message);
  if (record.message.state == State::err) return restart(desk, record, {});
  // Where the number alone is the order, the time that it was to wait for stays to be seen.
  if (!desk.ledger.of(record.message).queue.on_demand) record.message.due = desk.batch.now;
  desk.ledger.line_up(record.message);
  desk.ledger.advance(record, Event::run_now);
  desk.store.changed(record, Change::whole);
}

Place place_of(PeekWhat what) { return what == PeekWhat::held ? Place::held : Place::scheduled; }

// Null: the queue holds none. Nothing: it was not loaded.
Result<std::optional<Record*>> peek_first(Desk& desk, const Peek& peek, Entry& entry) {
  if (peek.what == PeekWhat::ready) {
    if (entry.queue.counters.in(State::que) == 0) return std::optional<Record*>{nullptr};
    if (!may_look(desk, entry)) return std::optional<Record*>{};
    for (;;) {
      RQ_TRY_ASSIGN(key, desk.store.peek(entry.queue.id));
      const LineKey known = known_of(desk, entry);
      if (!key && known == kBehindAll) return std::optional<Record*>{nullptr};
      if (!key || *key > known) return std::optional<Record*>{};
      RQ_TRY_ASSIGN(record, desk.store.take(entry.queue.id));
      if (record != nullptr) return std::optional{record};
    }
  }
  RQ_TRY_ASSIGN(record, desk.store.first(entry.queue.id, place_of(peek.what)));
  if (record != nullptr) return std::optional{record};
  RQ_TRY_ASSIGN(more, desk.store.more(entry.queue.id, place_of(peek.what)));
  return more ? std::optional<Record*>{} : std::optional<Record*>{nullptr};
}

}  // namespace

// --- Acting ---

void needs(Desk& /*desk*/, const Act& act, Needs& out) {
  // What may be ready after it may be given away in this batch.
  const bool payload =
      act.action != Action::cancel && act.action != Action::kill && act.action != Action::remove;
  for (std::size_t i = act.done.items.size(); i < act.messages.size(); ++i) {
    out.numbers.push_back({act.messages[i], payload});
  }
}

Result<Step> decide(Desk& desk, Act& act) {
  if (act.action == Action::priority) RQ_TRY(check_priority(act.priority));
  cut_text(act.reason);
  return each_item(desk, act.messages, act.done, [&](Seq seq) { return act_one(desk, act, seq); });
}

// --- Running early ---

void needs(Desk& desk, const RunEarly& early, Needs& out) {
  const Entry* entry = desk.ledger.find(early.queue);
  if (entry == nullptr) return;
  const std::int64_t n = std::min(early.bound - early.done, kStepMax);
  out.firsts.push_back({entry->queue.id, Place::held, n, true});
  out.firsts.push_back({entry->queue.id, Place::scheduled, n, true});
}

Result<Step> decide(Desk& desk, RunEarly& early) {
  Entry* entry = desk.ledger.find(early.queue);
  if (entry == nullptr || !check_works(*entry)) {
    desk.answer(RunEarlyDone{.count = early.done});
    return Step::done;
  }
  desk.ledger.sync(*entry);
  if (early.done == 0) early.held = entry->queue.counters.held > 0;
  const Place place = early.held ? Place::held : Place::scheduled;
  const std::int64_t step_ends = std::min(early.bound, early.done + kStepMax);
  bool all = false;
  while (early.done < step_ends && !all && !desk.full()) {
    RQ_TRY_ASSIGN(record, desk.store.first(entry->queue.id, place));
    if (record == nullptr) {
      RQ_TRY_ASSIGN(more, desk.store.more(entry->queue.id, place));
      if (more) return Step::goes_on;
      all = true;
    } else {
      make_ready(desk, *record);
      ++early.done;
    }
  }
  if (!all && early.done < early.bound) return Step::goes_on;
  desk.answer(RunEarlyDone{.count = early.done});
  return Step::done;
}

void needs(Desk& /*desk*/, const RunEarlyOne& early, Needs& out) {
  out.numbers.push_back({early.seq, true});
}

Result<Step> decide(Desk& desk, RunEarlyOne& early) {
  RQ_TRY_ASSIGN(record, need_message(desk, early.seq));
  const Message& message = record->message;
  const bool held = message.state == State::err && message.mark == Mark::held;
  if (!held && message.state != State::scheduled) {
    return fail(Code::wrong_state,
                fmt::format("message {} is {}", message.seq, name_of(message.state)),
                "only a held or scheduled message can be run early");
  }
  RQ_TRY(check_works(desk.ledger.of(message)));
  desk.ledger.sync(desk.ledger.of(message));
  make_ready(desk, *record);
  desk.answer(Ok{});
  return Step::done;
}

// --- Looking ---

void needs(Desk& desk, const Peek& peek, Needs& out) {
  if (peek.what == PeekWhat::message) {
    out.numbers.push_back({peek.seq, true});
    return;
  }
  const Entry* entry = desk.ledger.find(peek.queue);
  if (entry == nullptr) return;
  if (peek.what == PeekWhat::ready) {
    out.lines.push_back({entry->queue.id, 1});
  } else {
    out.firsts.push_back({entry->queue.id, place_of(peek.what), 1, true});
  }
}

Result<Step> decide(Desk& desk, Peek& peek) {
  if (desk.full()) return Step::goes_on;
  Record* record = nullptr;
  if (peek.what == PeekWhat::message) {
    RQ_TRY_ASSIGN(found, need_message(desk, peek.seq));
    record = found;
  } else {
    RQ_TRY_ASSIGN(entry, desk.ledger.need(peek.queue));
    RQ_TRY_ASSIGN(first, peek_first(desk, peek, *entry));
    if (!first) {
      needs(desk, peek, desk.batch.wanted);
      return Step::lacks;
    }
    record = *first;
    if (record == nullptr) {
      return fail(Code::not_found,
                  fmt::format("queue '{}' holds no such message", entry->queue.name),
                  fmt::format("see what it holds: rq queue show {}", entry->queue.name));
    }
  }
  desk.has(record->message);  // the copy
  desk.answer(Peeked{.message = record->message.copy(),
                     .queue = desk.ledger.of(record->message).queue.name});
  return Step::done;
}

}  // namespace rq::engine
