// Queues: made, changed, paused, deleted, shown.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "base/limits.h"
#include "core/name.h"
#include "engine/engine.h"

namespace rq::engine {

using base::Code;
using base::fail;
using base::Result;

namespace {

void add(Counters& sum, const Counters& more) {
  for (std::size_t i = 0; i < sum.in_state.size(); ++i) sum.in_state[i] += more.in_state[i];
  sum.buried += more.buried;
  sum.urgent += more.urgent;
  sum.puts += more.puts;
  sum.dones += more.dones;
  sum.errs += more.errs;
  sum.retries += more.retries;
  sum.losses += more.losses;
  sum.cancels += more.cancels;
  sum.deletes += more.deletes;
}

}  // namespace

Result<Engine::Entry*> Engine::insert_queue(Queue&& queue) {
  if (queues_.size() >= base::kQueuesMax) {
    return fail(Code::too_many, fmt::format("there are {} queues already", queues_.size()),
                "delete some, or use tags to tell messages apart");
  }
  queue.created = now_;
  queue.revision = 1;
  RQ_TRY(store_.insert(queue));
  auto entry = std::make_unique<Entry>();
  entry->queue = std::move(queue);
  Entry* made = entry.get();
  by_name_.emplace(made->queue.name, made);
  queues_.emplace(made->queue.id, std::move(entry));
  needs_disk_ = true;
  note_queue(Notice::What::queue, made->queue);
  return made;
}

Result<Engine::Entry*> Engine::make_on_demand(std::string_view name) {
  RQ_TRY(check_queue_name(name));
  Queue queue;
  queue.name = std::string{name};
  queue.on_demand = true;
  queue.settings.keep_done.count = 0;  // deleted when done, as its clients expect
  queue.settings.losses = 0;           // a reservation may time out for ever
  RQ_TRY_ASSIGN(made, insert_queue(std::move(queue)));
  set_timer(*made, QueueTimer::idle, now_ + base::kOnDemandIdle);
  return made;
}

Result<void> Engine::remove_queue(Entry& entry) {
  while (Waiters::Waiter* waiter = waiters_.first(entry.queue.id)) {
    const Waiters::Waiter gone = waiters_.take(*waiter);
    out_->deliveries.push_back(
        {gone.ticket,
         fail(Code::not_found, fmt::format("queue '{}' was deleted", entry.queue.name))});
  }
  for (const QueueTimer timer :
       {QueueTimer::keep_done, QueueTimer::keep_err, QueueTimer::resume, QueueTimer::idle}) {
    clear_timer(entry, timer);
  }
  add(gone_, entry.queue.counters);
  gone_.in_state = {};
  gone_.buried = 0;
  gone_.urgent = 0;
  store_.erase(entry.queue);
  note_queue(Notice::What::queue_removed, entry.queue);
  needs_disk_ = true;
  const QueueId id = entry.queue.id;
  by_name_.erase(by_name_.find(std::string_view{entry.queue.name}));
  queues_.erase(id);
  return {};
}

Result<Reply> Engine::dispatch(ShowQueue& show) {
  RQ_TRY_ASSIGN(entry, need_queue(show.queue));
  return Reply{
      QueueShown{.queue = entry->queue, .waiting_reserves = waiters_.waiting_in(entry->queue.id)}};
}

Result<Reply> Engine::dispatch(ListQueues& /*list*/) {
  QueuesListed listed;
  listed.queues.reserve(queues_.size());
  for (const auto& [id, entry] : queues_) {
    listed.queues.push_back({.queue = entry->queue, .waiting_reserves = waiters_.waiting_in(id)});
  }
  std::sort(listed.queues.begin(), listed.queues.end(),
            [](const QueueShown& a, const QueueShown& b) { return a.queue.name < b.queue.name; });
  return Reply{std::move(listed)};
}

Result<Reply> Engine::dispatch(EngineStats& /*stats*/) {
  EngineStatsDone done;
  done.boot = store_.boot();
  done.queues = static_cast<std::int64_t>(queues_.size());
  done.totals = gone_;
  for (const auto& [id, entry] : queues_) add(done.totals, entry->queue.counters);
  done.commands = commands_;
  done.batches = batches_;
  done.syncs = syncs_;
  done.waiting_reserves = waiters_.size();
  done.last_seq = last_seq_;
  return Reply{done};
}

Result<Reply> Engine::dispatch(DefineQueue& define) {
  RQ_TRY(check(define.settings));
  Entry* entry = find_queue(define.queue);
  if (entry == nullptr) {
    if (define.mode == DefineQueue::Mode::change) return need_queue(define.queue).error();
    RQ_TRY(check_queue_name(define.queue));
    Queue queue;
    queue.name = define.queue;
    queue.on_demand = define.on_demand;
    queue.settings = std::move(define.settings);
    RQ_TRY_ASSIGN(made, insert_queue(std::move(queue)));
    if (define.on_demand) set_timer(*made, QueueTimer::idle, now_ + base::kOnDemandIdle);
    return Reply{QueueShown{.queue = made->queue, .waiting_reserves = 0}};
  }
  if (define.revision && *define.revision != entry->queue.revision) {
    return fail(Code::wrong_state,
                fmt::format("queue '{}' has changed since: it is at revision {}, not {}",
                            define.queue, entry->queue.revision, *define.revision),
                "read it again and repeat the change");
  }
  const bool same = entry->queue.settings == define.settings;
  if (define.mode == DefineQueue::Mode::create && !same) {
    return fail(Code::exists, fmt::format("queue '{}' exists with other settings", define.queue),
                fmt::format("change it: rq queue set {} …", define.queue));
  }
  // Whoever sets its settings by hand wants to keep it.
  const bool kept = entry->queue.on_demand && !define.on_demand;
  if (!same || kept) {
    entry->queue.settings = std::move(define.settings);
    if (kept) entry->queue.on_demand = false;
    settings_changed(*entry);
  }
  return Reply{
      QueueShown{.queue = entry->queue, .waiting_reserves = waiters_.waiting_in(entry->queue.id)}};
}

void Engine::settings_changed(Entry& entry) {
  ++entry.queue.revision;
  store_.update(entry.queue);
  needs_disk_ = true;
  // A shorter retention takes effect at once; a longer one finds nothing to do.
  const Counters& counters = entry.queue.counters;
  if (counters.in(State::done) + counters.in(State::relayed) + counters.in(State::cancelled) > 0) {
    set_timer(entry, QueueTimer::keep_done, now_);
  }
  if (counters.in(State::err) > 0) set_timer(entry, QueueTimer::keep_err, now_);
  if (!entry.queue.on_demand) clear_timer(entry, QueueTimer::idle);
  note_queue(Notice::What::queue, entry.queue);
  offer(entry);
}

Result<Reply> Engine::dispatch(SetAdmin& set) {
  RQ_TRY_ASSIGN(entry, need_queue(set.queue));
  if (set.lasts && (*set.lasts <= Millis{0} || *set.lasts > base::kLeaseMax)) {
    return fail(Code::bad_value, "for_s is out of bounds",
                fmt::format("give seconds up to {}",
                            std::chrono::duration<double>{base::kLeaseMax}.count()));
  }
  const Instant until = set.lasts ? now_ + *set.lasts : Instant{};
  if (entry->queue.admin != set.admin || entry->queue.paused_until != until) {
    entry->queue.admin = set.admin;
    entry->queue.paused_until = until;
    clear_timer(*entry, QueueTimer::resume);
    if (until != Instant{}) set_timer(*entry, QueueTimer::resume, until);
    settings_changed(*entry);
  }
  return Reply{
      QueueShown{.queue = entry->queue, .waiting_reserves = waiters_.waiting_in(entry->queue.id)}};
}

Result<Reply> Engine::dispatch(DeleteQueue& remove_command) {
  RQ_TRY_ASSIGN(entry, need_queue(remove_command.queue));
  const Counters& counters = entry->queue.counters;
  if (counters.in(State::run) > 0) {
    return fail(Code::wrong_state,
                fmt::format("queue '{}' has {} running messages", entry->queue.name,
                            counters.in(State::run)),
                "wait for them, or cancel them first");
  }
  if (counters.unfinished() > 0 && !remove_command.force) {
    return fail(Code::wrong_state,
                fmt::format("queue '{}' has {} unfinished messages", entry->queue.name,
                            counters.unfinished()),
                "drain it first, or force it to delete them too");
  }
  // By the counters: to find out that a queue is empty the store would look at every message.
  const auto held = [&] {
    return std::accumulate(counters.in_state.begin(), counters.in_state.end(), std::int64_t{0});
  };
  if (held() > base::kSweepMax) {
    return fail(Code::too_many,
                fmt::format("queue '{}' holds {} messages, more than one command may delete",
                            entry->queue.name, held()),
                fmt::format("first: rq remove --queue {}", entry->queue.name));
  }
  while (held() > 0) {
    RQ_TRY_ASSIGN(record, store_.any_message(entry->queue.id));
    if (record == nullptr) break;
    remove(*record);
  }
  RQ_TRY(remove_queue(*entry));
  return Reply{Ok{}};
}

Result<Reply> Engine::dispatch(SetScriptError& set) {
  RQ_TRY_ASSIGN(entry, need_queue(set.queue));
  if (set.error.size() > base::kTextBytesMax) set.error.resize(base::kTextBytesMax);
  if (entry->queue.script_error != set.error) {
    entry->queue.script_error = std::move(set.error);
    settings_changed(*entry);
  }
  return Reply{Ok{}};
}

Result<Reply> Engine::dispatch(ShiftLeases& shift) {
  RQ_TRY(store_.shift_leases(shift.by));
  return Reply{Ok{}};
}

Result<Reply> Engine::dispatch(ForgetWaste& forget) {
  RQ_TRY(store_.forget_waste(forget.folders));
  return Reply{Ok{}};
}

}  // namespace rq::engine
