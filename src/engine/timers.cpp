#include "engine/timers.h"

#include <algorithm>
#include <optional>

#include "engine/finish.h"
#include "engine/queues.h"

namespace rq::engine {

using base::Result;

namespace {

// Finished messages go when they are too old or too many; the timer is set for the next one.
Result<void> sweep(Desk& desk, Entry& entry, Keep kind) {
  const Retention& keep = retention(entry.queue.settings, kind);
  const QueueId queue = entry.queue.id;
  for (std::int64_t i = 0; i < kRetentionStep && !desk.full(); ++i) {
    RQ_TRY_ASSIGN(oldest, desk.store.first(queue, place_of(kind)));
    if (oldest == nullptr) {
      RQ_TRY_ASSIGN(more, desk.store.more(queue, place_of(kind)));
      if (!more) {
        desk.ledger.arm(entry, kind, std::nullopt);
        return {};
      }
      break;
    }
    const Instant ends = oldest->message.finished + keep.age;
    if (kept(entry.queue.counters, kind) <= keep.count && ends > desk.batch.now) {
      desk.ledger.arm(entry, kind, ends);
      return {};
    }
    desk.has(oldest->message);
    desk.ledger.remove(*oldest, Removal::retention);
  }
  desk.ledger.arm(entry, kind, desk.batch.now);
  return {};
}

// Of a timer of retention.
std::optional<Keep> keep_of(Timer::What what) {
  for (const Keep keep : kKeeps) {
    if (timer_of(keep) == what) return keep;
  }
  return std::nullopt;
}

// An unused queue that was made on demand goes.
void look_at_idle(Desk& desk, Entry& entry) {
  if (!is_unused(desk, entry)) desk.ledger.use(entry);
  const Instant idle = entry.used + kOnDemandIdle;
  if (idle <= desk.batch.now) return remove_queue(desk, entry);
  desk.ledger.arm(entry, Timer::What::idle, idle);
}

}  // namespace

Result<void> run_due(Desk& desk) {
  while (!desk.full()) {
    RQ_TRY_ASSIGN(record, desk.store.next_ended());
    if (record == nullptr) break;
    desk.has(record->message);
    end_lease(desk, *record);
  }
  while (!desk.full()) {
    RQ_TRY_ASSIGN(record, desk.store.next_due());
    if (record == nullptr) break;
    desk.has(record->message);
    desk.ledger.advance(*record, Event::ready);
    desk.store.changed(*record, Change::whole);
  }
  return {};
}

void needs(Desk& /*desk*/, const Timer& timer, Needs& out) {
  switch (timer.what) {
    case Timer::What::keep_done:
    case Timer::What::keep_err:
    case Timer::What::keep_cancelled:
      out.firsts.push_back({timer.queue, place_of(*keep_of(timer.what)), kRetentionStep});
      break;
    case Timer::What::deletion:
      needs_of_going(timer.queue, out);
      break;
    case Timer::What::resume:
    case Timer::What::idle:
      break;
  }
}

Result<void> fire(Desk& desk, const Timer& timer) {
  Entry* entry = desk.ledger.find(timer.queue);
  if (entry == nullptr) {
    desk.store.disarm(timer);
    return {};
  }
  switch (timer.what) {
    case Timer::What::keep_done:
    case Timer::What::keep_err:
    case Timer::What::keep_cancelled:
      return sweep(desk, *entry, *keep_of(timer.what));
    // A command of this batch may have changed what the timer was armed for.
    case Timer::What::resume: {
      const Instant until = entry->queue.paused_until;
      if (until != Instant{} && until <= desk.batch.now) resume(desk, *entry);
      return {};
    }
    case Timer::What::idle:
      if (entry->queue.on_demand) look_at_idle(desk, *entry);
      return {};
    case Timer::What::deletion:
      return entry->queue.being_deleted ? go_on_deleting(desk, *entry) : Result<void>{};
  }
  return {};
}

}  // namespace rq::engine
