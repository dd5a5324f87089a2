#include "engine/queues.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "core/bounds.h"
#include "core/name.h"
#include "core/settings_json.h"
#include "engine/checks.h"
#include "engine/gate.h"

namespace rq::engine {

using base::Code;
using base::fail;
using base::Result;

namespace {

QueueShown shown(const Desk& desk, const Entry& entry) {
  return {.queue = entry.queue, .waiting_reserves = desk.waiters.waiting_in(entry.queue.id)};
}

// Those who wait there will want the front of its line when it opens.
void needs_of_opening(Desk& desk, std::string_view name, Needs& out) {
  const Entry* entry = desk.ledger.find(name);
  if (entry == nullptr || entry->queue.counters.in(State::que) == 0) return;
  const std::int64_t n = std::min(desk.waiters.waiting_in(entry->queue.id), kStepMax);
  if (n > 0) out.lines.push_back({entry->queue.id, n});
}

// "5 que, 2 err"
std::string text_of(const Counters& counters) {
  std::string text;
  for (int i = 0; i < kStateCount; ++i) {
    const auto state = static_cast<State>(i);
    if (counters.in(state) == 0) continue;
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", counters.in(state), name_of(state));
  }
  return text;
}

Result<Entry*> create(Desk& desk, DefineQueue& define) {
  if (define.mode == DefineQueue::Mode::change) return desk.ledger.need(define.queue).error();
  RQ_TRY(check_queue_name(define.queue));
  if (define.on_demand) {
    RQ_TRY_ASSIGN(made, desk.ledger.on_demand(define.queue));
    return desk.ledger.make(std::move(made));
  }
  Queue queue;
  queue.name = define.queue;
  queue.settings = std::move(*define.settings);
  return desk.ledger.make(std::move(queue));
}

Result<void> change(Desk& desk, DefineQueue& define, Entry& entry) {
  Queue& queue = entry.queue;
  // Made on demand it has settings of its own, and otherwise those that somebody gave it.
  if (define.on_demand) return {};
  if (define.revision && *define.revision != queue.revision) {
    return fail(Code::wrong_state,
                fmt::format("queue '{}' has changed since: it is at revision {}, not {}",
                            define.queue, queue.revision, *define.revision),
                "read it again, and repeat the change on what it is now");
  }
  const bool same = queue.settings == *define.settings;
  if (define.mode == DefineQueue::Mode::create && !same) {
    return fail(Code::exists, fmt::format("queue '{}' exists with other settings", define.queue),
                fmt::format("change it: rq queue set {} …", define.queue));
  }
  // Settings that are set by hand make an on-demand queue permanent.
  if (same && !queue.on_demand) return {};
  std::string what = fmt::format("settings: {}", changed_names(queue.settings, *define.settings));
  if (same) what = "made on demand, and permanent now";
  queue.settings = std::move(*define.settings);
  // No worker looks after it any more.
  if (queue.settings.script.empty()) queue.script_error.clear();
  if (queue.on_demand) {
    queue.on_demand = false;
    desk.ledger.disarm(entry, Timer::What::idle);
  }
  desk.ledger.changed(entry, std::move(what));
  return {};
}

// With these no script could start. Not among core's checks: a queue may have them from before.
Result<void> check_scripts_start(const QueueSettings& settings) {
  const std::int64_t files = settings.limits.open_files;
  if (files > 0 && files < base::kOpenFilesMin) {
    return fail(Code::bad_value,
                fmt::format("limits.open_files: {} is too few to start a script", files),
                fmt::format("give {} or more, or 0 for no limit", base::kOpenFilesMin));
  }
  std::size_t bytes = 0;
  for (const auto& [name, value] : settings.env_vars) bytes += name.size() + value.size();
  if (bytes <= base::kEnvVarsBytesMax) return {};
  return fail(Code::too_large, fmt::format("env_vars has {} bytes in all", bytes),
              fmt::format("at most {} are allowed, as no program can be given much more: put what "
                          "is large into a file",
                          base::kEnvVarsBytesMax));
}

}  // namespace

// --- Made and changed ---

void needs(Desk& desk, const DefineQueue& define, Needs& out) {
  needs_of_opening(desk, define.queue, out);
}

Result<Step> decide(Desk& desk, DefineQueue& define) {
  RQ_TRY(check(*define.settings));
  RQ_TRY(check_scripts_start(*define.settings));
  Entry* entry = desk.ledger.find(define.queue);
  if (entry == nullptr) {
    RQ_TRY_ASSIGN(made, create(desk, define));
    entry = made;
  } else {
    RQ_TRY(change(desk, define, *entry));
  }
  desk.answer(shown(desk, *entry));
  return Step::done;
}

void needs(Desk& desk, const SetAdmin& set, Needs& out) { needs_of_opening(desk, set.queue, out); }

Result<Step> decide(Desk& desk, SetAdmin& set) {
  RQ_TRY_ASSIGN(entry, desk.ledger.need(set.queue));
  if (set.by_client) {
    const Admin is = entry->queue.admin;
    if (is == Admin::drain || is == Admin::down) {
      desk.answer(shown(desk, *entry));
      return Step::done;
    }
    if (set.lasts == Millis{0}) {
      set.admin = Admin::up;
      set.lasts.reset();
    }
  }
  if (set.lasts) RQ_TRY(in_range("for_s", *set.lasts, Millis{1}, base::kLeaseMax));
  Queue& queue = entry->queue;
  const Instant until = set.lasts ? desk.batch.from + *set.lasts : Instant{};
  if (queue.admin != set.admin || queue.paused_until != until) {
    queue.admin = set.admin;
    queue.paused_until = until;
    if (until == Instant{}) {
      desk.ledger.disarm(*entry, Timer::What::resume);
    } else {
      desk.ledger.arm(*entry, Timer::What::resume, until);
    }
    desk.ledger.changed(*entry, fmt::format("admin: {}", name_of(queue.admin)));
  }
  desk.answer(shown(desk, *entry));
  return Step::done;
}

void resume(Desk& desk, Entry& entry) {
  entry.queue.admin = Admin::up;
  entry.queue.paused_until = Instant{};
  desk.ledger.disarm(entry, Timer::What::resume);
  desk.ledger.changed(entry, fmt::format("admin: {}", name_of(entry.queue.admin)));
}

void needs(Desk& desk, const SetScriptError& set, Needs& out) {
  needs_of_opening(desk, set.queue, out);
}

Result<Step> decide(Desk& desk, SetScriptError& set) {
  RQ_TRY_ASSIGN(entry, desk.ledger.need(set.queue));
  cut_text(set.error);
  if (entry->queue.script_error != set.error) {
    entry->queue.script_error = std::move(set.error);
    const std::string& error = entry->queue.script_error;
    desk.ledger.changed(*entry, error.empty() ? "the script can run again" : std::string{error});
  }
  desk.answer(Ok{});
  return Step::done;
}

// --- Deleted ---

bool is_unused(const Desk& desk, const Entry& entry) {
  return entry.queue.empty_on_demand() && desk.waiters.waiting_in(entry.queue.id) == 0;
}

void needs_of_going(QueueId queue, Needs& out) {
  out.firsts.push_back({queue, Place::any, kStepMax});
}

void needs(Desk& desk, const DeleteQueue& remove, Needs& out) {
  const Entry* entry = desk.ledger.find(remove.queue);
  if (entry != nullptr && entry->queue.counters.all() > 0) needs_of_going(entry->queue.id, out);
}

Result<Step> decide(Desk& desk, DeleteQueue& remove) {
  if (remove.if_unused) {
    Entry* entry = desk.ledger.find(remove.queue);
    if (entry != nullptr && is_unused(desk, *entry)) remove_queue(desk, *entry);
    desk.answer(Ok{});
    return Step::done;
  }
  RQ_TRY_ASSIGN(entry, desk.ledger.need(remove.queue));
  Queue& queue = entry->queue;
  const Counters& counters = queue.counters;
  if (counters.in(State::run) > 0) {
    return fail(
        Code::wrong_state,
        fmt::format("queue '{}' has {} running messages", queue.name, counters.in(State::run)),
        fmt::format("wait for them, or cancel them first: rq cancel --queue {} --state run",
                    queue.name));
  }
  if (counters.all() > 0 && !remove.force && !queue.being_deleted) {
    return fail(Code::wrong_state,
                fmt::format("queue '{}' holds messages: {}", queue.name, text_of(counters)),
                fmt::format("to delete them with it: rq queue delete {} --force (HTTP: ?force=1); "
                            "rq list {} shows them",
                            queue.name, queue.name));
  }
  desk.deletions.push_back({queue.id, desk.ticket});
  RQ_TRY(go_on_deleting(desk, *entry));
  return Step::done;
}

Result<void> go_on_deleting(Desk& desk, Entry& entry) {
  for (std::int64_t i = 0; i < kStepMax && entry.queue.counters.all() > 0 && !desk.full(); ++i) {
    RQ_TRY_ASSIGN(record, desk.store.first(entry.queue.id, Place::any));
    if (record == nullptr) {
      RQ_TRY_ASSIGN(more, desk.store.more(entry.queue.id, Place::any));
      if (more) break;
      // The counters say more than the tables hold (doctor will tell).
      entry.queue.counters.in_state = {};
    } else {
      desk.has(record->message);
      desk.ledger.remove(*record);
    }
  }
  if (entry.queue.counters.all() == 0) {
    remove_queue(desk, entry);
  } else if (!entry.queue.being_deleted) {
    // It takes a while, and goes on after a crash.
    entry.queue.being_deleted = true;
    desk.ledger.arm(entry, Timer::What::deletion, desk.batch.now);
    desk.ledger.changed(entry, "it is being deleted");
  }
  return {};
}

void remove_queue(Desk& desk, Entry& entry) {
  while (Waiters::Waiter* waiter = desk.waiters.first(entry.queue.id)) {
    const Waiters::Waiter gone = desk.waiters.take(*waiter);
    desk.answer(gone.ticket,
                fail(Code::not_found, fmt::format("queue '{}' was deleted", entry.queue.name),
                     "ask for others, or create it again"));
    desk.turns.release(connection_of(gone.ticket));
  }
  std::erase_if(desk.deletions, [&](const Desk::Deletion& deletion) {
    if (deletion.queue != entry.queue.id) return false;
    desk.answer(deletion.ticket, Ok{});
    return true;
  });
  desk.ledger.remove(entry);
}

// --- Shown ---

namespace {

std::int64_t ready_for_scripts(Desk& desk) {
  std::int64_t ready = 0;
  for (const auto& [id, entry] : desk.ledger.all()) {
    const Queue& queue = entry->queue;
    const std::int64_t here = queue.counters.in(State::que);
    if (here == 0 || queue.settings.script.empty() || queue.settings.num_workers == 0) continue;
    if (!why_closed(queue) && desk.waiters.waiting_in(id) == 0) ready += here;
  }
  return ready;
}

}  // namespace

Result<Step> decide(Desk& desk, ShowQueue& show) {
  RQ_TRY_ASSIGN(entry, desk.ledger.need(show.queue));
  desk.answer(shown(desk, *entry));
  return Step::done;
}

Result<Step> decide(Desk& desk, ListQueues& /*list*/) {
  QueuesListed listed;
  listed.queues.reserve(desk.ledger.all().size());
  for (const auto& [id, entry] : desk.ledger.all()) listed.queues.push_back(shown(desk, *entry));
  std::sort(listed.queues.begin(), listed.queues.end(),
            [](const QueueShown& a, const QueueShown& b) { return a.queue->name < b.queue->name; });
  desk.answer(std::move(listed));
  return Step::done;
}

Result<Step> decide(Desk& desk, EngineStats& stats) {
  EngineStatsDone done;
  done.boot = desk.store.boot();
  done.queues = std::ssize(desk.ledger.all());
  done.totals = desk.ledger.totals();
  done.commands = desk.commands;
  done.batches = desk.batches;
  done.syncs = desk.syncs;
  done.waiting_reserves = desk.waiters.size();
  done.ready_for_scripts = ready_for_scripts(desk);
  done.last_seq = desk.last_seq;
  done.set_aside = desk.store.set_aside_count();
  done.no_room = desk.batch.no_room;
  if (stats.names) {
    for (const auto& [id, entry] : desk.ledger.all()) {
      if (!entry->queue.empty_on_demand()) done.in_use.push_back(entry->name);
    }
  }
  desk.answer(std::move(done));
  return Step::done;
}

Result<Step> decide(Desk& desk, ForgetWaste& forget) {
  desk.store.forget_waste(forget.folders);
  desk.answer(Ok{});
  return Step::done;
}

void needs(Desk& /*desk*/, const Examine& /*examine*/, Needs& /*out*/) {}

Result<Step> decide(Desk& desk, Examine& examine) {
  if (examine.rebuild) RQ_TRY(desk.store.request_rebuild(*examine.rebuild));
  for (const Miscount& wrong : std::exchange(examine.miscounts, {})) {
    desk.batch.miscounts.push_back(wrong);
  }
  for (std::int64_t i = 0; i < kExaminedMax && !examine.suspects.empty(); ++i) {
    RQ_TRY(desk.store.examine(examine.suspects.back()));
    examine.suspects.pop_back();
  }
  if (!examine.suspects.empty()) return Step::goes_on;
  desk.answer(Ok{});
  return Step::done;
}

}  // namespace rq::engine
