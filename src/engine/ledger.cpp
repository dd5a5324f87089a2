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
  sum.expired += more.expired;
  sum.expired_errs += more.expired_errs;
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
Instant since(const Message& message, State from, Instant now) {
  if (from == State::run && message.lease) return message.lease->since;
  return is_finished(from) ? message.finished : std::min(message.due, now);
}

// Counts it in (1) or out (-1), as it is now: before and after each change of what is counted.
void tally(Counters& counters, const Message& message, std::int64_t by) {
  counters.in(message.state) += by;
  if (message.mark == Mark::held) counters.held += by;
  if (message.state == State::que && message.priority > kHighPriority) counters.high += by;
}

}  // namespace

Place place_of(Keep keep) {
  if (keep == Keep::err) return Place::err;
  return keep == Keep::cancelled ? Place::cancelled : Place::kept;
}

Timer::What timer_of(Keep keep) {
  if (keep == Keep::err) return Timer::What::keep_err;
  return keep == Keep::cancelled ? Timer::What::keep_cancelled : Timer::What::keep_done;
}

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
  return fail(
      Code::not_found, fmt::format("there is no queue '{}'", name),
      fmt::format("rq queue list shows those that are there; create it: rq queue create {}", name));
}

Entry& Ledger::of(const Message& message) {
  Entry* entry = find(message.queue);
  RQ_CHECK(entry != nullptr);
  return *entry;
}

Result<void> Ledger::check_room(std::string_view name, std::size_t more) {
  while (queues_.size() + more > queues_max_ && name != kDefaultQueue) {
    if (make_room()) continue;
    return fail(Code::too_many, fmt::format("there are {} queues already", queues_.size()),
                "delete some, or use tags to tell messages apart; unused ones that were made on "
                "demand go by themselves");
  }
  return {};
}

Result<Entry*> Ledger::make(Queue&& queue) {
  RQ_TRY(check_room(queue.name, 1));
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
  note(*entry, Notice::What::queue, "it is new");
  return entry;
}

bool Ledger::make_room() {
  if (no_room_until_ > batch_.now) return false;
  std::vector<Entry*> idle;
  for (const auto& [id, entry] : queues_) {
    const Queue& queue = entry->queue;
    // One that this batch has used may be in the hands of the command that runs.
    if (!queue.on_demand || queue.being_deleted || entry->used >= batch_.now) continue;
    if (queue.counters.all() == 0 && waiters_.waiting_in(id) == 0) idle.push_back(entry.get());
  }
  if (idle.empty()) {
    no_room_until_ = batch_.now + kRoomPause;
    return false;
  }
  const std::size_t n = std::min(idle.size(), kRoomStep);
  std::partial_sort(idle.begin(), idle.begin() + static_cast<std::ptrdiff_t>(n), idle.end(),
                    [](const Entry* a, const Entry* b) {
                      return std::pair{a->used, a->queue.id} < std::pair{b->used, b->queue.id};
                    });
  idle.resize(n);
  for (Entry* entry : idle) remove(*entry);
  return true;
}

Result<Queue> Ledger::on_demand(std::string_view name, std::size_t others) {
  RQ_TRY(check_queue_name(name));
  RQ_TRY(check_room(name, others + 1));
  Queue queue;
  queue.name = std::string{name};
  queue.on_demand = true;
  queue.settings.keep_done.count = 0;  // deleted when done, as its clients expect
  queue.settings.losses = 0;           // a lease may be lost any number of times
  return queue;
}

void Ledger::changed(Entry& entry, std::string&& what) {
  ++entry.queue.revision;
  store_.changed(entry.queue);
  sync_disk();
  // A shorter retention takes effect at once; a longer one finds nothing to do.
  for (const Keep keep : kKeeps) {
    if (kept(entry.queue.counters, keep) > 0) arm(entry, keep, batch_.now);
  }
  note(entry, Notice::What::queue, std::move(what));
  offer(entry);
}

void Ledger::remove(Entry& entry) {
  for (const Keep keep : kKeeps) arm(entry, keep, std::nullopt);
  for (const Timer::What what : {Timer::What::resume, Timer::What::idle, Timer::What::deletion}) {
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
  tally(change_counters(entry), message, 1);
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
  tally(change_counters(entry), message, -1);
  message.state = *to;
  message.mark = mark;
  tally(change_counters(entry), message, 1);
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
  tally(change_counters(from), message, -1);
  message.queue = to.queue.id;
  line_up(message);
  tally(change_counters(to), message, 1);
  use(from);
  use(to);
  store_.changed(record, Change::whole);
  note(Notice::What::moved, message, message.state);
  if (batch_.want_notices) batch_.notices.back().from_queue = from.queue.name;
  if (message.state == State::que) offer(to);
  if (is_finished(message.state)) arm(to, keep_of(message.state), batch_.now);
}

void Ledger::remove(Record& record, Removal why) {
  Entry& entry = of(record.message);
  if (why == Removal::retention) {
    ++entry.queue.counters.expired;
    if (record.message.state == State::err) ++entry.queue.counters.expired_errs;
  }
  tally(change_counters(entry), record.message, -1);
  ++entry.queue.counters.deletes;
  use(entry);
  note(Notice::What::removed, record.message, record.message.state);
  if (record.message.details && !record.message.details->folder.empty()) batch_.waste = true;
  store_.erase(record);
}

void Ledger::keep_or_remove(Record& record) {
  const Message& message = record.message;
  Entry& entry = of(message);
  const Keep kind = keep_of(message.state);
  const Retention& keep = retention(entry.queue.settings, kind);
  // A held message waits for whoever held it, whatever the retention.
  if (message.mark == Mark::held) return;
  if (keep.count == 0) return remove(record, Removal::retention);
  const std::int64_t n = kept(entry.queue.counters, kind);
  const Instant armed = entry.armed.at(static_cast<std::size_t>(kind));
  if (n > keep.count) {
    if (armed == Instant{} || armed > batch_.now) arm(entry, kind, batch_.now);
  } else if (armed == Instant{}) {
    // Whether older ones are there the rule finds out, once for each start of the server.
    arm(entry, kind, n == 1 ? message.finished + keep.age : batch_.now);
  } else if (armed > message.finished + keep.age) {
    arm(entry, kind, message.finished + keep.age);  // the clock was stepped back
  }
}

void Ledger::set_priority(Record& record, std::int64_t priority) {
  Entry& entry = of(record.message);
  tally(change_counters(entry), record.message, -1);
  record.message.priority = priority;
  tally(change_counters(entry), record.message, 1);
}

void Ledger::line_up(Message& message) {
  message.order = of(message).queue.on_demand ? 0 : base::to_ms(message.due);
}

Counters& Ledger::change_counters(Entry& entry) {
  Counters& counters = entry.queue.counters;
  if (entry.touched != batch_.number) {
    entry.touched = batch_.number;
    entry.ready_before = counters.in(State::que);
  }
  if (!entry.counters_changed) {
    entry.counters_changed = true;
    counted_.push_back(entry.queue.id);
  }
  return counters;
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
  notice.since = since(message, from, batch_.now);
  notice.caller_uid = batch_.caller_uid;
  if (message.lease) {
    notice.attempt = message.lease->attempt;
    notice.boot = message.lease->boot;
    notice.worker = message.lease->worker;
  }
}

void Ledger::note(const Entry& entry, Notice::What what, std::string&& text) {
  if (!batch_.want_notices) return;
  Notice& notice = batch_.notices.emplace_back();
  notice.what = what;
  notice.at = batch_.now;
  notice.queue = entry.queue.name;
  notice.text = std::move(text);
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

void Ledger::save_counters(const std::vector<SetAside>& gone) {
  for (const SetAside& one : gone) {
    Entry* entry = find(one.queue);
    if (entry == nullptr) continue;
    Message counted;
    counted.state = one.state;
    counted.mark = one.held ? Mark::held : Mark::none;
    counted.priority = one.high ? kHighPriority + 1 : kHighPriority;
    tally(change_counters(*entry), counted, -1);
  }
  for (const Miscount& wrong : batch_.miscounts) {
    Entry* entry = find(wrong.queue);
    if (entry == nullptr) continue;
    add(change_counters(*entry), wrong.by);
    offer(*entry);  // to whoever found it empty
  }
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
  store_.arm({.what = what, .at = at, .queue = entry.queue.id});
}

void Ledger::disarm(Entry& entry, Timer::What what) {
  store_.disarm({.what = what, .at = {}, .queue = entry.queue.id});
}

void Ledger::arm(Entry& entry, Keep keep, std::optional<Instant> at) {
  entry.armed.at(static_cast<std::size_t>(keep)) = at.value_or(Instant{});
  at ? arm(entry, timer_of(keep), *at) : disarm(entry, timer_of(keep));
}

}  // namespace rq::engine
