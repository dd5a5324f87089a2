// What every store promises of places other than the line, of time, and of timers.
#include <gtest/gtest.h>

#include <optional>

#include "store/contract/store_rig.h"

namespace rq::store::contract {
namespace {

using core::Mark;

class StorePlaces : public StoreContract {
 protected:
  std::optional<std::int64_t> deadline() {
    const base::Instant at = store->next_deadline();
    return at == base::Instant::max() ? std::optional<std::int64_t>{}
                                      : std::optional{base::to_ms(at)};
  }
  // A batch at this time in which nothing is due.
  void settle(std::int64_t at) {
    EXPECT_EQ(first_due(at), 0);
    EXPECT_EQ(first_ended(at), 0);
    begin({.due = 10});
    commit(Sync::none);
  }
  // All of a place, in its order; takes them away.
  V drain(core::QueueId in, Place place) {
    V out;
    batch([&] {
      while (Record* record = first_record(in, place)) {
        out.push_back(record->message.seq);
        store->erase(*record);
      }
    });
    return out;
  }
};

// --- Due, and the ends of leases ---

TEST_P(StorePlaces, DueIsByTimeThenNumberOverAllQueues) {
  core::QueueId other = 0;
  Seq a = 0, b = 0, c = 0;
  batch([&] {
    other = add_queue("other");
    a = put_due(300).message.seq;
    b = put_due(100, other).message.seq;
    c = put_due(100).message.seq;
  });
  crash();
  EXPECT_EQ(first_due(99), 0);
  EXPECT_EQ(first_due(100), b);
  batch([&] {
    EXPECT_EQ(first(queue, Place::scheduled), c);
    EXPECT_EQ(first(other, Place::scheduled), b);
    ready(need(b));
    EXPECT_EQ(first(other, Place::scheduled), 0);
  });
  EXPECT_EQ(first_due(100), c);
  batch([&] { ready(need(c)); });
  EXPECT_EQ(first_due(100), 0);
  Seq sooner = 0;
  batch([&] {
    sooner = put_due(50).message.seq;
    EXPECT_EQ(first(queue, Place::scheduled), sooner) << "put by this batch";
  });
  EXPECT_EQ(first_due(100), sooner);
  batch([&] {
    store->erase(need(sooner));
    EXPECT_EQ(first(queue, Place::scheduled), a);
    Record& moved = need(a);
    moved.message.queue = other;
    store->changed(moved, Change::whole);
    EXPECT_EQ(first(other, Place::scheduled), a);
    EXPECT_EQ(first(queue, Place::scheduled), 0);
  });
  EXPECT_EQ(first_due(1000), a);
}

TEST_P(StorePlaces, ALeaseIsOverAtItsEnd) {
  Seq a = 0, b = 0;
  batch([&] {
    a = put().message.seq;
    b = put().message.seq;
    lease(need(a), 300);
    lease(need(b), 200);
  });
  crash();
  EXPECT_EQ(first_ended(199), 0);
  EXPECT_EQ(first_ended(200), b);
  batch([&] { extend(need(b), 400); });
  EXPECT_EQ(first_ended(300), a);
  batch([&] { store->erase(need(a)); });
  EXPECT_EQ(first_ended(399), 0);
  EXPECT_EQ(first_ended(400), b);
}

TEST_P(StorePlaces, WhatIsDueComesWithItsPayloadUpToTheNumberAskedFor) {
  batch([&] {
    for (int i = 0; i < 6; ++i) {
      put_due(100 + i);
      lease(put(), 200 + i);
    }
  });
  now = from_ms(1000);
  V due, ended;
  for (int round = 0; round < 20 && (due.size() < 6 || ended.size() < 6); ++round) {
    begin({.due = 4});
    std::size_t n = 0;
    for (;;) {
      auto record = store->next_ended();
      if (seq_of(record) == 0) break;
      ++n;
      EXPECT_EQ((*record)->message.payload, "payload");
      ended.push_back((*record)->message.seq);
      finish(**record, State::done, 1000);
    }
    EXPECT_LE(n, 4U);
    EXPECT_TRUE(n > 0 || ended.size() == 6) << "each batch gets on";
    for (;;) {
      auto record = store->next_due();
      if (seq_of(record) == 0) break;
      EXPECT_EQ((*record)->message.payload, "payload");
      due.push_back((*record)->message.seq);
      finish(**record, State::done, 1000);
    }
    commit();
  }
  EXPECT_EQ(due.size(), 6U);
  EXPECT_EQ(ended.size(), 6U);
  EXPECT_TRUE(std::is_sorted(due.begin(), due.end()));
  EXPECT_TRUE(std::is_sorted(ended.begin(), ended.end()));
}

TEST_P(StorePlaces, LeasesOfAConnectionEndWithTheServerNotWithAFault) {
  Seq connection = 0, deadline_lease = 0;
  batch([&] {
    connection = put().message.seq;
    deadline_lease = put().message.seq;
    lease(need(connection), 1'000'000, core::LeaseEnd::connection);
    lease(need(deadline_lease), 1'000'000, core::LeaseEnd::deadline);
  });
  EXPECT_EQ(first_ended(10), 0);
  ASSERT_TRUE(store->open()) << "as after a fault: the connection is still there";
  EXPECT_EQ(first_ended(10), 0);
  crash();
  EXPECT_LE(deadline().value_or(INT64_MAX), 10) << "somebody has to look at it";
  EXPECT_EQ(first_ended(10), connection);
  ASSERT_TRUE(store->open());
  EXPECT_EQ(first_ended(10), connection) << "of a boot before the first one of this object";
  batch([&] { ready(need(connection)); });
  EXPECT_EQ(first_ended(10), 0);
  EXPECT_EQ(stored(deadline_lease).state, State::run);
}

TEST_P(StorePlaces, AShiftMovesAllLeases) {
  Seq a = 0, b = 0, gone = 0;
  batch([&] {
    a = put().message.seq;
    b = put().message.seq;
    gone = put().message.seq;
    lease(need(a), 300);
    lease(need(b), 200);
    lease(need(gone), 100);
  });
  now = from_ms(1199);
  begin({.due = 10, .shift = Millis{1000}});
  // The end of a lease comes first and has moved already.
  EXPECT_EQ(seq_of(store->next_ended()), gone);
  finish(need(gone), State::done, 5);
  EXPECT_EQ(seq_of(store->next_ended()), 0);
  EXPECT_EQ(need(a).message.lease->until, from_ms(1300));
  extend(need(b), 1250);
  commit();
  crash();
  EXPECT_EQ(stored(a).lease->until, from_ms(1300));
  EXPECT_EQ(stored(b).lease->until, from_ms(1250));
  EXPECT_EQ(first_ended(1249), 0);
  EXPECT_EQ(first_ended(1250), b);
  EXPECT_EQ(stored(gone).state, State::done);
  begin({.shift = Millis{-1000}});
  commit();
  EXPECT_EQ(first_ended(249), 0);
  EXPECT_EQ(first_ended(250), b);
  begin({.shift = Millis{5000}});
  abort();
  EXPECT_EQ(stored(a).lease->until, from_ms(300)) << "an abort takes it back";
  EXPECT_EQ(first_ended(250), b);
}

TEST_P(StorePlaces, TheNextDeadlineIsNeverLaterThanTheTruth) {
  settle(10);
  EXPECT_EQ(deadline(), std::nullopt) << "nothing waits for a time";
  Seq leased = 0;
  batch([&] {
    put_due(500);
    leased = put().message.seq;
    lease(need(leased), 300);
  });
  EXPECT_LE(deadline().value_or(INT64_MAX), 300);
  settle(10);
  EXPECT_EQ(deadline(), 300) << "exact once it has been looked for";
  batch([&] { extend(need(leased), 400); });
  settle(350);
  EXPECT_EQ(deadline(), 400);
  crash();
  settle(350);
  EXPECT_EQ(deadline(), 400);
  look([] {});
  EXPECT_LE(deadline().value_or(INT64_MAX), 400);
  batch([&] {
    store->erase(need(leased));
    store->arm({.what = Timer::What::resume, .at = from_ms(450), .queue = queue});
  });
  settle(360);
  EXPECT_EQ(deadline(), 450);
  batch([&] { store->disarm({.what = Timer::What::resume, .queue = queue}); });
  settle(360);
  EXPECT_EQ(deadline(), 500);
}

TEST_P(StorePlaces, WhatWantsItsSyncSoonGetsItWithinASecond) {
  now = from_ms(5000);
  batch([&] { put(); }, Sync::soon);
  EXPECT_LE(deadline().value_or(INT64_MAX), 6000);
  ASSERT_TRUE(store->open()) << "as after a fault";
  now = from_ms(5500);
  batch([&] { put(); }, Sync::soon);
  EXPECT_LE(deadline().value_or(INT64_MAX), 6000) << "a later one does not put it off";
  now = from_ms(6000);
  begin({.due = 10});
  commit(Sync::none);
  EXPECT_EQ(deadline(), std::nullopt);
}

// --- The first ones of a place ---

TEST_P(StorePlaces, HeldIsByTheTimeItWasHeld) {
  Seq a = 0, b = 0;
  batch([&] {
    a = put().message.seq;
    b = put().message.seq;
    finish(need(a), State::err, 20, Mark::held);
    finish(need(b), State::err, 10, Mark::held);
    finish(put(), State::err, 5, Mark::failed);
    EXPECT_EQ(first(queue, Place::held), b) << "sees the batch";
  });
  batch([&] {
    ready(need(b));
    EXPECT_EQ(first(queue, Place::held), a);
    EXPECT_EQ(first(queue + 1, Place::held), 0);
  });
  EXPECT_EQ(drain(queue, Place::held), V{a});
}

TEST_P(StorePlaces, FinishedOnesAreOfTheirKindAndNeverHeld) {
  Seq held = 0, done = 0, cancelled = 0, relayed = 0, err = 0;
  batch([&] {
    held = put().message.seq;
    finish(need(held), State::err, 1, Mark::held);
    done = put().message.seq;
    finish(need(done), State::done, 30);
    cancelled = put().message.seq;
    finish(need(cancelled), State::cancelled, 20);
    relayed = put().message.seq;
    finish(need(relayed), State::relayed, 25);
    err = put().message.seq;
    finish(need(err), State::err, 10, Mark::failed);
    put();
  });
  crash();
  EXPECT_EQ(drain(queue, Place::kept), (V{relayed, done}));
  EXPECT_EQ(drain(queue, Place::cancelled), V{cancelled});
  EXPECT_EQ(drain(queue, Place::err), V{err});
  EXPECT_EQ(drain(queue, Place::held), V{held});
}

TEST_P(StorePlaces, ParkedIsByNumberAndNeverInTheLine) {
  Seq a = 0, b = 0, c = 0;
  batch([&] {
    a = put_parked().message.seq;
    b = put_parked(State::depends).message.seq;
    c = put_parked(State::throttled).message.seq;
  });
  crash();
  look([&] { EXPECT_EQ(best(queue), 0); });
  batch([&] {
    ready(need(a));
    EXPECT_EQ(first(queue, Place::parked), b);
    EXPECT_EQ(best(queue), a);
  });
  EXPECT_EQ(drain(queue, Place::parked), (V{b, c}));
}

TEST_P(StorePlaces, ALongPlaceIsGivenPieceByPieceInItsOrder) {
  std::vector<std::pair<std::int64_t, Seq>> all;  // by due time, two at a time
  batch([&] {
    for (int i = 0; i < 1300; ++i) {
      const std::int64_t due = 10'000 - i / 2;
      all.emplace_back(due, put_due(due).message.seq);
    }
  });
  std::sort(all.begin(), all.end());
  V want;
  for (const auto& [due, seq] : all) want.push_back(seq);
  crash();
  EXPECT_EQ(drain(queue, Place::scheduled), want);
}

TEST_P(StorePlaces, TheFirstIsTheFirstAlsoWhenFewWereAskedFor) {
  Seq a = 0, b = 0;
  batch([&] {
    a = put_due(100).message.seq;
    b = put_due(200).message.seq;
    put_due(300);
  });
  begin({.firsts = {{queue, Place::scheduled, 1, true}}});
  EXPECT_EQ(seq_of(store->first(queue, Place::scheduled)), a);
  store->erase(need(a));
  const Seq late = put_due(250).message.seq;
  const Seq next = seq_of(store->first(queue, Place::scheduled));
  EXPECT_NE(next, late) << "one that is not loaded stands before it";
  EXPECT_TRUE(next == b || *store->more(queue, Place::scheduled));
  EXPECT_EQ(first(queue, Place::scheduled), b);
  abort();
}

TEST_P(StorePlaces, AnyEmptiesAQueueOfAllThatDoesNotRun) {
  core::QueueId other = 0;
  Seq running = 0;
  batch([&] {
    other = add_queue("other");
    store->insert(message(other));
    put();
    put_due(100);
    put_parked();
    finish(put(), State::done, 1);
    finish(put(), State::err, 1, Mark::failed);
    finish(put(), State::err, 1, Mark::held);
    running = put().message.seq;
    lease(need(running), 1000);
  });
  int n = 0;
  batch([&] {
    put();
    while (Record* record = first_record(queue, Place::any)) {
      ASSERT_EQ(record->message.queue, queue);
      store->erase(*record);
      ++n;
    }
    EXPECT_NE(first(other, Place::any), 0);
  });
  EXPECT_EQ(n, 7);
  EXPECT_EQ(stored(running).state, State::run);
}

// --- Timers ---

TEST_P(StorePlaces, ATimerIsThereUntilItIsDisarmed) {
  const auto timer = [&](Timer::What what, std::int64_t at) {
    return Timer{.what = what, .at = from_ms(at), .queue = queue};
  };
  batch([&] {
    store->arm(timer(Timer::What::keep_done, 300));
    store->arm(timer(Timer::What::idle, 100));
    store->arm(timer(Timer::What::keep_err, 200));
    store->arm(timer(Timer::What::keep_err, 50));  // instead of the one before
    store->arm(timer(Timer::What::resume, 60));
    store->disarm(timer(Timer::What::resume, 0));
  });
  crash();
  EXPECT_TRUE(timers_due(49).empty());
  ASSERT_FALSE(timers_due(50).empty());
  EXPECT_EQ(timers_due(50).front().what, Timer::What::keep_err);
  EXPECT_EQ(timers_due(50).front().at, from_ms(50));
  EXPECT_EQ(timers_due(50).front().queue, queue);
  std::vector<Timer::What> order;
  for (int i = 0; i < 10; ++i) {
    const auto due = timers_due(1000);
    if (due.empty()) break;
    order.push_back(due.front().what);
    batch([&] { store->disarm(due.front()); });
  }
  EXPECT_EQ(order, (std::vector<Timer::What>{Timer::What::keep_err, Timer::What::idle,
                                             Timer::What::keep_done}));
}

TEST_P(StorePlaces, ThereIsOneTimerForAWhatAQueueAndANumber) {
  core::QueueId other = 0;
  batch([&] {
    other = add_queue("other");
    for (const core::QueueId id : {queue, other}) {
      for (const Seq seq : {0, 7}) {
        store->arm({.what = Timer::What::idle, .at = from_ms(10), .queue = id, .seq = seq});
      }
    }
  });
  std::vector<std::pair<core::QueueId, Seq>> seen;
  for (int i = 0; i < 10; ++i) {
    const auto due = timers_due(10);
    if (due.empty()) break;
    seen.emplace_back(due.front().queue, due.front().seq);
    batch([&] { store->disarm(due.front()); });
  }
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(seen, (std::vector<std::pair<core::QueueId, Seq>>{
                      {queue, 0}, {queue, 7}, {other, 0}, {other, 7}}));
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(Stores, StorePlaces, testing::ValuesIn(all_stores()), factory_name);

}  // namespace rq::store::contract
