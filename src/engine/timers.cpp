#include "engine/timers.h"

#include <algorithm>

#include "engine/finish.h"
#include "engine/queues.h"

namespace rq::engine {

using base::Result;

namespace {

Place place_of(Timer::What what) {
  return what == Timer::What::keep_err ? Place::err : Place::kept;
}

// Finished messages go when they are too old or too many; the timer is set for the next one.
Result<void> sweep(Desk& desk, Entry& entry, Timer::What what) {
  const QueueSettings& settings = entry.queue.settings;
  const Retention& keep = what == Timer::What::keep_err ? settings.keep_err : settings.keep_done;
  const QueueId queue = entry.queue.id;
  for (std::int64_t i = 0; i < kRetentionStep; ++i) {
    RQ_TRY_ASSIGN(oldest, desk.store.first(queue, place_of(what)));
    if (oldest == nullptr) {
      RQ_TRY_ASSIGN(more, desk.store.more(queue, place_of(what)));
      if (!more) {
        desk.ledger.disarm(entry, what);
        return {};
      }
      break;
    }
    const Instant ends = oldest->message.finished + keep.age;
    if (Ledger::kept(entry, what) <= keep.count && ends > desk.batch.now) {
      desk.ledger.arm(entry, what, ends);
      return {};
    }
    desk.ledger.remove(*oldest);
  }
  desk.ledger.arm(entry, what, desk.batch.now);
  return {};
}

// An unused queue that was made on demand goes.
void look_at_idle(Desk& desk, Entry& entry) {
  if (entry.queue.counters.all() > 0 || desk.waiters.waiting_in(entry.queue.id) > 0)
    desk.ledger.use(entry);
  const Instant idle = entry.used + kOnDemandIdle;
  if (idle <= desk.batch.now) return remove_queue(desk, entry);
  desk.ledger.arm(entry, Timer::What::idle, idle);
}

}  // namespace

Result<void> run_due(Desk& desk) {
  for (;;) {
    RQ_TRY_ASSIGN(record, desk.store.next_ended());
    if (record == nullptr) break;
    lose_lease(desk, *record);
  }
  for (;;) {
    RQ_TRY_ASSIGN(record, desk.store.next_due());
    if (record == nullptr) break;
    desk.ledger.advance(*record, Event::ready);
    desk.store.changed(*record, Change::whole);
  }
  return {};
}

void needs(Desk& /*desk*/, const Timer& timer, Needs& out) {
  switch (timer.what) {
    case Timer::What::keep_done:
    case Timer::What::keep_err:
      out.firsts.push_back({timer.queue, place_of(timer.what), kRetentionStep});
      break;
    case Timer::What::going:
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
      return sweep(desk, *entry, timer.what);
    // A command of this batch may have changed what the timer was armed for.
    case Timer::What::resume: {
      const Instant until = entry->queue.paused_until;
      if (until != Instant{} && until <= desk.batch.now) resume(desk, *entry);
      return {};
    }
    case Timer::What::idle:
      if (entry->queue.on_demand) look_at_idle(desk, *entry);
      return {};
    case Timer::What::going:
      return entry->queue.going ? go_on_deleting(desk, *entry) : Result<void>{};
  }
  return {};
}

}  // namespace rq::engine
