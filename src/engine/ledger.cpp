#include "engine/ledger.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "core/name.h"

namespace rq::engine {

using base::Code;
using base::fail;
using base::Result;

namespace {

void add(Counters& sum, const Counters& more) {
  for (std::size_t i = 0; i < sum.in_state.size(); ++i) sum.in_state[i] += more.in_state[i];
  sum.held += more.held;
  sum.high += more.high;
  sum.puts += more.puts;
  sum.dones += more.dones;
  sum.errs += more.errs;
  sum.retries += more.retries;
  sum.losses += more.losses;
  sum.cancels += more.cancels;
  sum.deletes += more.deletes;
}

void count(Counters& counters, Event event) {
  switch (event) {
    case Event::done:
    case Event::relayed:
      ++counters.dones;
      return;
    case Event::err:
      ++counters.errs;
      return;
    case Event::cancel:
      ++counters.cancels;
      return;
    case Event::again:
    case Event::later:
    case Event::retry:
      ++counters.retries;
      return;
    case Event::commit:
    case Event::ready:
    case Event::defer:
    case Event::lease:
    case Event::run_now:
      return;
  }
}

// Since when a message has been in the state that it leaves.
Instant since(const Message& message, State from) {
  if (from == State::run && message.lease) return message.lease->since;
  return is_finished(from) ? message.finished : message.due;
}

bool is_keep(Timer::What what) {
  return what == Timer::What::keep_done || what == Timer::What::keep_err;
}

}  // namespace

// --- Queues ---

Result<void> Ledger::open() {
  last_ = nullptr;
  by_name_.clear();
  queues_.clear();
  counted_.clear();
  RQ_TRY_ASSIGN(stored, store_.queues());
  for (Queue& queue : stored) {
    auto entry = std::make_unique<Entry>();
    entry->queue = std::move(queue);
    entry->name = std::make_shared<const std::string>(entry->queue.name);
    by_name_.emplace(*entry->name, entry.get());
    queues_.emplace(entry->queue.id, std::move(entry));
  }
  return {};
}

Entry* Ledger::find(std::string_view name) {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : found->second;
}

// Most often it is that of the call before.
Entry* Ledger::find(QueueId id) {
  if (last_ != nullptr && last_->queue.id == id) return last_;
  const auto found = queues_.find(id);
  if (found == queues_.end()) return nullptr;
  last_ = found->second.get();
  return last_;
}

Result<Entry*> Ledger::need(std::string_view name) {
  if (Entry* entry = find(name)) return entry;
  return fail(Code::not_found, fmt::format("there is no queue '{}'", name),
              fmt::format("create it: rq queue create {}", name));
}

Entry& Ledger::of(const Message& message) {
  Entry* entry = find(message.queue);
  RQ_CHECK(entry != nullptr);
  return *entry;
}

Result<void> Ledger::check_room(std::size_t more) const {
  if (queues_.size() + more <= kQueuesMax) return {};
  return fail(Code::too_many, fmt::format("there are {} queues already", queues_.size()),
              "delete some, or use tags to tell messages apart");
}

Result<Entry*> Ledger::make(Queue&& queue) {
  RQ_TRY(check_room(1));
  queue.created = batch_.now;
  queue.revision = 1;
  queue.id = store_.insert(queue);
  auto made = std::make_unique<Entry>();
  Entry* entry = made.get();
  entry->queue = std::move(queue);
  entry->name = std::make_shared<const std::string>(entry->queue.name);
  entry->used = batch_.now;
  entry->touched = batch_.number;  // its line is empty, and known
  by_name_.emplace(*entry->name, entry);
  queues_.emplace(entry->queue.id, std::move(made));
  if (entry->queue.on_demand) arm(*entry, Timer::What::idle, batch_.now + kOnDemandIdle);
  sync_disk();
  note(*entry, Notice::What::queue);
  return entry;
}

Result<Queue> Ledger::on_demand(std::string_view name, std::size_t others) const {
  RQ_TRY(check_queue_name(name));
  RQ_TRY(check_room(others + 1));
  Queue queue;
  queue.name = std::string{name};
  queue.on_demand = true;
  queue.settings.keep_done.count = 0;  // deleted when done, as its clients expect
  queue.settings.losses = 0;           // a lease may be lost any number of times
  return queue;
}

void Ledger::changed(Entry& entry) {
  ++entry.queue.revision;
  store_.changed(entry.queue);
  sync_disk();
  // A shorter retention takes effect at once; a longer one finds nothing to do.
  for (const Timer::What what : {Timer::What::keep_done, Timer::What::keep_err}) {
    if (kept(entry, what) > 0) arm(entry, what, batch_.now);
  }
  note(entry, Notice::What::queue);
  offer(entry);
}

void Ledger::remove(Entry& entry) {
  for (const Timer::What what : {Timer::What::keep_done, Timer::What::keep_err, Timer::What::resume,
                                 Timer::What::idle, Timer::What::going}) {
    disarm(entry, what);
  }
  Counters gone = entry.queue.counters;
  gone.in_state = {};
  gone.held = 0;
  gone.high = 0;
  add(gone_, gone);
  store_.erase(entry.queue);
  note(entry, Notice::What::queue_removed);
  sync_disk();
  last_ = nullptr;
  by_name_.erase(std::string_view{*entry.name});
  queues_.erase(entry.queue.id);
}

Counters Ledger::totals() const {
  Counters sum = gone_;
  for (const auto& [id, entry] : queues_) add(sum, entry->queue.counters);
  return sum;
}

void Ledger::shift_pauses(Millis by) {
  for (auto& [id, entry] : queues_) {
    if (entry->queue.paused_until == Instant{}) continue;
    entry->queue.paused_until += by;
    store_.changed(entry->queue);
    arm(*entry, Timer::What::resume, entry->queue.paused_until);
  }
}

// --- Messages ---

void Ledger::arrive(Record& record) {
  Message& message = record.message;
  Entry& entry = of(message);
  tally(entry, message, 1);
  ++entry.queue.counters.puts;
  use(entry);
  sync(entry);
  note(Notice::What::put, message, message.state);
  if (message.state == State::que) offer(entry);
}

void Ledger::advance(Record& record, Event event, Mark mark, std::string_view outcome) {
  Message& message = record.message;
  const auto to = next(message.state, event);
  RQ_CHECK(to.has_value());
  Entry& entry = of(message);
  const State from = message.state;
  tally(entry, message, -1);
  message.state = *to;
  message.mark = mark;
  tally(entry, message, 1);
  count(entry.queue.counters, event);
  if (batch_.want_notices) {
    note(Notice::What::message, message, from,
         message.details ? std::string_view{message.details->progress} : std::string_view{});
    Notice& noted = batch_.notices.back();
    noted.event = event;
    noted.outcome = outcome;
  }
  if (*to != State::run) message.lease.reset();
  if (*to == State::que) offer(entry);
}

void Ledger::move(Record& record, Entry& to) {
  Message& message = record.message;
  Entry& from = of(message);
  sync(from);
  tally(from, message, -1);
  message.queue = to.queue.id;
  line_up(message);
  tally(to, message, 1);
  use(from);
  use(to);
  store_.changed(record, Change::whole);
  note(Notice::What::moved, message, message.state);
  if (batch_.want_notices) batch_.notices.back().from_queue = from.queue.name;
  if (message.state == State::que) offer(to);
  if (is_finished(message.state)) {
    arm(to, message.state == State::err ? Timer::What::keep_err : Timer::What::keep_done,
        batch_.now);
  }
}

void Ledger::remove(Record& record) {
  Entry& entry = of(record.message);
  tally(entry, record.message, -1);
  ++entry.queue.counters.deletes;
  use(entry);
  note(Notice::What::removed, record.message, record.message.state);
  if (record.message.details && !record.message.details->folder.empty()) batch_.waste = true;
  store_.erase(record);
}

void Ledger::keep_or_remove(Record& record) {
  const Message& message = record.message;
  Entry& entry = of(message);
  const bool err = message.state == State::err;
  const Retention& keep = err ? entry.queue.settings.keep_err : entry.queue.settings.keep_done;
  // A held message waits for whoever held it, whatever the retention.
  if (message.mark == Mark::held) return;
  if (keep.count == 0) return remove(record);
  const Timer::What what = err ? Timer::What::keep_err : Timer::What::keep_done;
  const std::int64_t n = kept(entry, what);
  const Instant armed = entry.armed.at(static_cast<std::size_t>(what));
  if (n > keep.count) {
    if (armed == Instant{} || armed > batch_.now) arm(entry, what, batch_.now);
  } else if (armed == Instant{}) {
    // Whether older ones are there the rule finds out, once for each start of the server.
    arm(entry, what, n == 1 ? message.finished + keep.age : batch_.now);
  } else if (armed > message.finished + keep.age) {
    arm(entry, what, message.finished + keep.age);  // the clock was stepped back
  }
}

void Ledger::set_priority(Record& record, std::int64_t priority) {
  Entry& entry = of(record.message);
  tally(entry, record.message, -1);
  record.message.priority = priority;
  tally(entry, record.message, 1);
}

void Ledger::line_up(Message& message) {
  message.order = of(message).queue.on_demand ? 0 : base::to_ms(message.due);
}

void Ledger::tally(Entry& entry, const Message& message, std::int64_t by) {
  Counters& counters = entry.queue.counters;
  if (entry.touched != batch_.number) {
    entry.touched = batch_.number;
    entry.ready_before = counters.in(State::que);
  }
  counters.in(message.state) += by;
  if (message.mark == Mark::held) counters.held += by;
  if (message.state == State::que && message.priority > kHighPriority) counters.high += by;
  if (entry.counters_changed) return;
  entry.counters_changed = true;
  counted_.push_back(entry.queue.id);
}

void Ledger::note(Notice::What what, const Message& message, State from, std::string_view text) {
  if (!batch_.want_notices) return;
  Notice& notice = batch_.notices.emplace_back();
  notice.what = what;
  notice.at = batch_.now;
  notice.queue = of(message).queue.name;
  notice.seq = message.seq;
  notice.created = message.created;
  notice.from = from;
  notice.to = message.state;
  notice.mark = message.mark;
  notice.text = text;
  notice.since = since(message, from);
  notice.caller_uid = batch_.caller_uid;
  if (message.lease) {
    notice.attempt = message.lease->attempt;
    notice.boot = message.lease->boot;
    notice.worker = message.lease->worker;
  }
}

void Ledger::note(const Entry& entry, Notice::What what) {
  if (!batch_.want_notices) return;
  Notice& notice = batch_.notices.emplace_back();
  notice.what = what;
  notice.at = batch_.now;
  notice.queue = entry.queue.name;
  notice.text = entry.queue.script_error;
  notice.caller_uid = batch_.caller_uid;
}

// --- The batch ---

void Ledger::sync(const Entry& entry) {
  const Sync wanted = entry.queue.settings.sync == SyncClass::always ? Sync::disk : Sync::soon;
  batch_.sync = std::max(batch_.sync, wanted);
}

void Ledger::offer(Entry& entry) {
  if (entry.offered) return;
  entry.offered = true;
  batch_.offered.push_back(entry.queue.id);
}

void Ledger::forget_offers() {
  for (const QueueId id : batch_.offered) {
    if (Entry* entry = find(id)) entry->offered = false;
  }
  batch_.offered.clear();
}

void Ledger::save_counters() {
  for (const QueueId id : counted_) {
    Entry* entry = find(id);
    if (entry == nullptr) continue;
    entry->counters_changed = false;
    store_.counted(entry->queue);
  }
  counted_.clear();
}

std::int64_t Ledger::ready_before(const Entry& entry) const {
  return entry.touched == batch_.number ? entry.ready_before : entry.queue.counters.in(State::que);
}

void Ledger::arm(Entry& entry, Timer::What what, Instant at) {
  if (is_keep(what)) entry.armed.at(static_cast<std::size_t>(what)) = at;
  store_.arm({.what = what, .at = at, .queue = entry.queue.id});
}

void Ledger::disarm(Entry& entry, Timer::What what) {
  if (is_keep(what)) entry.armed.at(static_cast<std::size_t>(what)) = Instant{};
  store_.disarm({.what = what, .at = {}, .queue = entry.queue.id});
}

std::int64_t Ledger::kept(const Entry& entry, Timer::What what) {
  const Counters& c = entry.queue.counters;
  if (what == Timer::What::keep_err) return c.in(State::err)-c.held;
  return c.in(State::done) + c.in(State::relayed) + c.in(State::cancelled);
}

}  // namespace rq::engine
