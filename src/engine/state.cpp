// How a message moves: state, counters, notices and retention change together, here.
#include <fmt/format.h>

#include "base/check.h"
#include "base/limits.h"
#include "engine/engine.h"

namespace rq::engine {

using base::Code;
using base::fail;

Engine::Entry& Engine::entry_of(const Message& message) {
  const auto found = queues_.find(message.queue);
  RQ_CHECK(found != queues_.end());
  return *found->second;
}

Engine::Entry* Engine::find_queue(std::string_view name) {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : found->second;
}

base::Result<Engine::Entry*> Engine::need_queue(std::string_view name) {
  if (Entry* entry = find_queue(name)) return entry;
  return fail(Code::not_found, fmt::format("there is no queue '{}'", name),
              fmt::format("create it: rq queue create {}", name));
}

base::Result<Engine::Record*> Engine::need_message(Seq seq) {
  RQ_TRY_ASSIGN(record, store_.find(seq));
  if (record != nullptr) return record;
  return fail(Code::not_found, fmt::format("there is no message {}", seq),
              "it may be finished and past its queue's retention; see: rq list");
}

bool Engine::starts(const Entry& entry) const {
  return (entry.queue.admin == Admin::up || entry.queue.admin == Admin::drain) &&
         entry.queue.script_error.empty();
}

void Engine::sync(const Entry& entry) {
  if (entry.queue.settings.sync == SyncClass::always) {
    needs_disk_ = true;
  } else if (relaxed_sync_at_ == Instant::max()) {
    relaxed_sync_at_ = now_ + base::kRelaxedSyncEvery;
  }
}

void Engine::offer(Entry& entry) {
  if (entry.offered) return;
  entry.offered = true;
  offered_.push_back(entry.queue.id);
}

void Engine::note(Notice::What what, const Message& message, State from, std::string_view text) {
  if (!want_notices_) return;
  out_->notices.push_back({.what = what,
                           .at = now_,
                           .queue = entry_of(message).queue.name,
                           .seq = message.seq,
                           .created = message.created,
                           .from = from,
                           .to = message.state,
                           .mark = message.mark,
                           .text = std::string{text}});
}

void Engine::note_queue(Notice::What what, const Queue& queue) {
  if (!want_notices_) return;
  Notice notice;
  notice.what = what;
  notice.at = now_;
  notice.queue = queue.name;
  notice.text = queue.script_error;
  out_->notices.push_back(std::move(notice));
}

void Engine::tally(Entry& entry, const Message& message, std::int64_t by) {
  Counters& counters = entry.queue.counters;
  counters.in(message.state) += by;
  if (message.mark == Mark::buried) counters.buried += by;
  if (message.state == State::que && message.priority > kUrgentPriority) counters.urgent += by;
  count(entry);
}

void Engine::set_priority(Message& message, std::int64_t priority) {
  Entry& entry = entry_of(message);
  tally(entry, message, -1);
  message.priority = priority;
  tally(entry, message, 1);
}

void Engine::arrive(Record& record) {
  Entry& entry = entry_of(record.message);
  ++entry.queue.counters.puts;
  tally(entry, record.message, 1);
  clear_timer(entry, QueueTimer::idle);
  sync(entry);
  note(Notice::What::message, record.message, record.message.state);
  if (record.message.state == State::que) offer(entry);
}

void Engine::advance(Record& record, Event event, Mark mark) {
  Message& message = record.message;
  const auto to = next(message.state, event);
  RQ_CHECK(to.has_value());
  Entry& entry = entry_of(message);
  const State from = message.state;
  tally(entry, message, -1);
  message.state = *to;
  message.mark = mark;
  tally(entry, message, 1);
  note(Notice::What::message, message, from,
       message.details ? std::string_view{message.details->progress} : std::string_view{});
  if (*to == State::que) offer(entry);
}

void Engine::remove(Record& record) {
  Entry& entry = entry_of(record.message);
  ++entry.queue.counters.deletes;
  tally(entry, record.message, -1);
  note(Notice::What::removed, record.message, record.message.state);
  if (out_ != nullptr && record.message.details && !record.message.details->folder.empty()) {
    out_->waste = true;
  }
  store_.erase(record);
  if (entry.queue.on_demand) set_timer(entry, QueueTimer::idle, now_ + base::kOnDemandIdle);
}

void Engine::keep_or_remove(Record& record) {
  Entry& entry = entry_of(record.message);
  const bool err = record.message.state == State::err;
  const Retention& keep = err ? entry.queue.settings.keep_err : entry.queue.settings.keep_done;
  // A buried message waits for its client, whatever the retention.
  if (keep.count == 0 && record.message.mark != Mark::buried) {
    remove(record);
    return;
  }
  const Counters& counters = entry.queue.counters;
  const std::int64_t kept =
      err ? counters.in(State::err)
          : counters.in(State::done) + counters.in(State::relayed) + counters.in(State::cancelled);
  const QueueTimer timer = err ? QueueTimer::keep_err : QueueTimer::keep_done;
  if (kept > keep.count) {
    set_timer(entry, timer, now_);
  } else if (entry.timers[static_cast<std::size_t>(timer)] == Instant{}) {
    set_timer(entry, timer, now_ + keep.age);
  }
}

void Engine::set_timer(Entry& entry, QueueTimer timer, Instant at) {
  Instant& set = entry.timers[static_cast<std::size_t>(timer)];
  if (set == at) return;
  if (set != Instant{}) queue_timers_.erase({set, entry.queue.id, timer});
  set = at;
  queue_timers_.insert({at, entry.queue.id, timer});
}

void Engine::clear_timer(Entry& entry, QueueTimer timer) {
  Instant& set = entry.timers[static_cast<std::size_t>(timer)];
  if (set == Instant{}) return;
  queue_timers_.erase({set, entry.queue.id, timer});
  set = Instant{};
}

}  // namespace rq::engine
