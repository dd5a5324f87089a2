// What every store promises to the engine. Readers have a file of their own.
#include "store/contract/store_rig.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/limits.h"

namespace rq::store::contract {
namespace {

// --- Batches ---

TEST_P(StoreContract, WhatIsCommittedIsThereAfterReopening) {
  Seq seq = 0;
  batch([&] {
    Message m = message(queue, 3);
    m.payload = std::string("a\0b", 3);
    core::Details& d = m.detail();
    d.key = "k";
    d.dest = "d";
    d.param1 = "1";
    d.param4 = "4";
    d.content_type = "text/plain";
    d.force_remote = true;
    d.tags = {"t2", "t1"};
    d.headers = {{"b", "1"}, {"a", "2"}};
    d.webhooks = {"http://x"};
    d.retries = 2;
    d.backoff = core::Backoff{.kind = core::BackoffKind::fixed, .base = Millis{5}};
    d.timeout = Millis{7};
    m.lease_length = Millis{8};
    d.progress = "p";
    d.result = "{}";
    d.folder = "queue/q/x";
    seq = store->insert(std::move(m)).message.seq;
  });
  const Message before = stored(seq);
  reopen();
  const Message after = stored(seq);
  EXPECT_EQ(after.payload, before.payload);
  EXPECT_EQ(after.priority, 3);
  EXPECT_EQ(after.created, before.created);
  EXPECT_EQ(after.due, before.due);
  ASSERT_NE(after.details, nullptr);
  EXPECT_EQ(*after.details, *before.details);
  EXPECT_EQ(after.lease, nullptr);
}

TEST_P(StoreContract, ALeaseComesBackWholeAfterACrash) {
  Seq seq = 0;
  batch([&] { seq = put().message.seq; });
  batch(
      [&] {
        Record& r = need(seq);
        lease(r, 5000, core::LeaseEnd::deadline);
        r.message.lease->stop = core::StopRequest::kill;
        r.message.lease->progress = "half";
        store->changed(r, Change::place);
      },
      Sync::none);
  const core::Lease before = *stored(seq).lease;
  crash();
  const Message after = stored(seq);
  EXPECT_EQ(after.state, State::run);
  ASSERT_NE(after.lease, nullptr);
  EXPECT_EQ(*after.lease, before);
}

TEST_P(StoreContract, AnAbortForgetsAll) {
  Seq kept = 0;
  Seq leased = 0;
  Seq gone = 0;
  batch([&] {
    kept = put_with_key("kept").message.seq;
    leased = put().message.seq;
    finish(put(), State::done, 5);
  });
  begin();
  gone = put_with_key("gone").message.seq;
  store->erase(need(kept));
  lease(need(leased), 10);
  const auto other = add_queue("other");
  store->append(Attempt{.seq = leased, .number = 1, .outcome = "x"});
  store->arm({.what = Timer::What::idle, .at = from_ms(2), .queue = queue});
  EXPECT_EQ(first(queue, Place::scheduled), 0);
  abort();

  EXPECT_EQ(first_ended(100), 0);
  EXPECT_TRUE(timers_due(100).empty());
  begin();
  EXPECT_EQ(find(gone), nullptr);
  EXPECT_EQ(find_key("gone"), 0);
  EXPECT_EQ(find_key("kept"), kept);
  EXPECT_EQ(need(leased).message.state, State::que);
  EXPECT_EQ(need(leased).message.lease, nullptr);
  EXPECT_EQ(take_ready(queue), (V{kept, leased}));
  abort();
  const auto queues = store->queues();
  ASSERT_TRUE(queues);
  EXPECT_EQ(queues->size(), 1U);
  EXPECT_NE(other, queue);
}

TEST_P(StoreContract, NothingIsVisibleBeforeTheCommit) {
  auto reader = home->reader();
  begin();
  const Seq seq = put().message.seq;
  EXPECT_EQ(first(queue, Place::scheduled), 0);
  EXPECT_FALSE(reader->message(seq)->has_value());
  commit(Sync::none);
  EXPECT_TRUE(reader->message(seq)->has_value());
}

TEST_P(StoreContract, AnEmptyBatchCostsNothingAndIsAllowed) {
  for (int i = 0; i < 3; ++i) batch([] {}, Sync::disk);
}

// --- Boots ---

TEST_P(StoreContract, EachOpenTakesANewBoot) {
  core::Boot last = store->boot();
  EXPECT_GE(last, 1);
  const auto grows = [&] {
    EXPECT_GT(store->boot(), last);
    last = store->boot();
  };
  reopen();
  grows();
  crash();
  grows();
  for (int i = 0; i < 40; ++i) {
    ASSERT_TRUE(store->open()) << "as after a fault";
    grows();
  }
  crash();
  grows();
}

TEST_P(StoreContract, AnOpenForgetsTheBatch) {
  begin();
  const Seq seq = put().message.seq;
  ASSERT_TRUE(store->open());
  look([&] { EXPECT_EQ(find(seq), nullptr); });
}

// --- Sequence numbers ---

TEST_P(StoreContract, ASequenceNumberIsNeverGivenTwice) {
  std::set<Seq> given;
  const auto draw = [&](int n) {
    for (int i = 0; i < n; ++i) {
      const Seq seq = put().message.seq;
      EXPECT_TRUE(given.insert(seq).second) << seq;
      EXPECT_EQ(seq, *given.rbegin()) << "they only grow";
    }
  };
  batch([&] { draw(10); });
  begin();
  draw(10);
  abort();
  batch([&] { draw(10); });
  crash();
  batch([&] { draw(10); });
  reopen();
  batch([&] { draw(10); });
  batch([&] { draw(25'000); }, Sync::none);
  crash();
  batch([&] { draw(10); });
}

// --- Finding ---

TEST_P(StoreContract, FindsByNumberWithinAndAcrossBatches) {
  Seq seq = 0;
  batch([&] {
    Record& r = put();
    seq = r.message.seq;
    EXPECT_EQ(find(seq), &r) << "one record a message";
    EXPECT_EQ(find(seq + 1), nullptr);
    EXPECT_EQ(find(0), nullptr);
    EXPECT_EQ(find(-5), nullptr);
    EXPECT_EQ(find(INT64_MAX), nullptr);
  });
  batch([&] {
    EXPECT_EQ(need(seq).message.payload, "payload");
    EXPECT_EQ(find(seq), find(seq));
  });
  crash();
  batch([&] { EXPECT_EQ(need(seq).message.payload, "payload"); });
}

TEST_P(StoreContract, FindsByKeyWithinAndAcrossBatches) {
  Seq seq = 0;
  batch([&] {
    EXPECT_EQ(find_key("k"), 0);
    seq = put_with_key("k").message.seq;
    EXPECT_EQ(find_key("k"), seq);
    EXPECT_EQ(find_key("K"), 0) << "keys are exact";
  });
  batch([&] { EXPECT_EQ(find_key("k"), seq); });
  crash();
  batch([&] {
    EXPECT_EQ(find_key("k"), seq);
    store->erase(need(seq));
    EXPECT_EQ(find_key("k"), 0);
    EXPECT_EQ(find(seq), nullptr);
  });
  batch([&] { EXPECT_EQ(find_key("k"), 0); });
}

TEST_P(StoreContract, AKeyCanBeErasedAndUsedAgainInOneBatch) {
  Seq old_seq = 0;
  Seq mid = 0;
  Seq last = 0;
  batch([&] { old_seq = put_with_key("k").message.seq; });
  batch([&] {
    // The old one is changed first, so that it comes first in whatever order there is.
    Record& old = need(old_seq);
    lease(old, 10);
    store->erase(old);
    mid = put_with_key("k").message.seq;
    store->erase(need(mid));
    last = put_with_key("k").message.seq;
    EXPECT_EQ(find_key("k"), last);
  });
  crash();
  batch([&] {
    EXPECT_EQ(find_key("k"), last);
    EXPECT_EQ(find(old_seq), nullptr);
    EXPECT_EQ(find(mid), nullptr);
  });
}

TEST_P(StoreContract, ErasedInTheBatchOfItsInsertLeavesNothing) {
  Seq seq = 0;
  batch([&] {
    Message m = message(queue);
    m.detail().tags = {"t"};
    Record& r = store->insert(std::move(m));
    seq = r.message.seq;
    store->append(Attempt{.seq = seq, .number = 1, .outcome = "x"});
    store->erase(r);
    EXPECT_EQ(find(seq), nullptr);
    EXPECT_EQ(best(queue), 0);
  });
  auto reader = home->reader();
  EXPECT_FALSE(reader->message(seq)->has_value());
  EXPECT_TRUE(reader->attempts(seq)->empty());
}

TEST_P(StoreContract, ErasedAfterALookInTheSameBatchLeavesNothing) {
  Seq seq = 0;
  batch([&] {
    Message m = message(queue);
    m.detail().tags = {"t"};
    m.attempts = 1;
    seq = store->insert(std::move(m)).message.seq;
    store->append(Attempt{.seq = seq, .number = 1, .outcome = "x"});
    EXPECT_EQ(first(queue, Place::scheduled), 0);
    store->erase(need(seq));
  });
  auto reader = home->reader();
  EXPECT_FALSE(reader->message(seq)->has_value());
  EXPECT_TRUE(reader->attempts(seq)->empty());
  EXPECT_TRUE(reader->list({.filter = {.tag = "t"}})->rows.empty());
}

// Records whose numbers fall on the same place in memory, more of them than there are places.
TEST_P(StoreContract, ManyRecordsOfOneBatchStayApart) {
  constexpr Seq kApart = 32'768;
  V seqs;
  batch([&] {
    for (Seq i = 0; i < kApart + 100; ++i) seqs.push_back(put().message.seq);
    for (const std::size_t i : {0U, 50U, 99U}) {
      Record& low = need(seqs[i]);
      Record& high = need(seqs[i + kApart]);
      ASSERT_NE(&low, &high);
      EXPECT_EQ(low.message.seq, seqs[i]);
      EXPECT_EQ(high.message.seq, seqs[i + kApart]);
      lease(low, 100);
      store->erase(high);
    }
  });
  batch([&] {
    for (const std::size_t i : {0U, 50U, 99U}) {
      EXPECT_EQ(need(seqs[i]).message.state, State::run);
      EXPECT_EQ(find(seqs[i + kApart]), nullptr);
      // Both again, from the tables, in one batch.
      EXPECT_EQ(need(seqs[i + 1]).message.seq, seqs[i + 1]);
      if (i + 1 + kApart < seqs.size()) {
        Record& high = need(seqs[i + 1 + kApart]);
        high.message.priority = 9;
        store->changed(high, Change::whole);
        EXPECT_EQ(need(seqs[i + 1]).message.priority, 0);
      }
    }
  });
  crash();
  batch([&] { EXPECT_EQ(need(seqs[51 + kApart]).message.priority, 9); });
}

// --- What is next ---

TEST_P(StoreContract, ReadyIsByPriorityThenNumberAlsoWithinTheBatch) {
  Seq a = 0, b = 0, c = 0;
  batch([&] {
    a = put(0).message.seq;
    b = put(5).message.seq;
    c = put(0).message.seq;
    EXPECT_EQ(best(queue), b);
  });
  batch([&] {
    const Seq d = put(5).message.seq;
    const Seq e = put(9).message.seq;
    const Seq f = put(-1).message.seq;
    const auto key = peek(queue);
    ASSERT_TRUE(key);
    EXPECT_EQ(key->seq, e);
    EXPECT_EQ(key->rank, -9);
    Record& moved = need(c);
    moved.message.priority = 7;
    store->changed(moved, Change::whole);
    EXPECT_EQ(take_ready(queue), (V{e, c, b, d, a, f}));
    EXPECT_FALSE(peek(queue).has_value());
  });
  crash();
  batch([&] { EXPECT_TRUE(take_ready(queue).empty()); });
}

TEST_P(StoreContract, TheLineIsByPriorityThenOrderThenNumber) {
  Seq a = 0, b = 0, c = 0, d = 0, e = 0, f = 0;
  batch([&] {
    a = put_in_order(50).message.seq;
    b = put_in_order(20).message.seq;
    c = put_in_order(50, 1).message.seq;
    d = put_in_order(20).message.seq;
    e = put_in_order(-7).message.seq;
  });
  crash();
  begin();
  {
    EXPECT_EQ(peek(queue), (LineKey{-1, 50, c}));
    f = put_in_order(30).message.seq;
    EXPECT_EQ(take_ready(queue), (V{c, e, b, d, f, a})) << "with what this batch put";
    EXPECT_EQ(store->known(queue), kBehindAll);
  }
  abort();
  batch([&] {
    Record& record = need(a);
    record.message.order = -10;
    store->changed(record, Change::whole);
  });
  crash();
  batch([&] { EXPECT_EQ(take_ready(queue), (V{c, a, e, b, d})); });
}

TEST_P(StoreContract, AMessageThatIsReadyAgainInTheSameBatchKeepsItsPlace) {
  V seqs;
  batch([&] {
    for (int i = 0; i < 3; ++i) seqs.push_back(put().message.seq);
  });
  batch([&] {
    Record* record = take(queue);
    ASSERT_NE(record, nullptr);
    lease(*record, 100);
    EXPECT_EQ(best(queue), seqs[1]);
    ready(*record);
    EXPECT_EQ(best(queue), seqs[0]);
    EXPECT_EQ(record->message.payload, "payload");
  });
  crash();
  batch([&] { EXPECT_EQ(take_ready(queue), seqs); });
}

TEST_P(StoreContract, ReadyOfAQueueThatDoesNotExistIsNothing) {
  batch([&] {
    EXPECT_EQ(best(queue + 1000), 0);
    EXPECT_EQ(first(queue + 1000, Place::any), 0);
  });
}

TEST_P(StoreContract, AMessageThatChangesInTheLineIsGivenAsItIs) {
  constexpr int kMessages = 60;
  V seqs;
  batch([&] {
    for (int i = 0; i < kMessages; ++i) seqs.push_back(put().message.seq);
  });
  reopen();
  for (std::size_t i = 0; i < seqs.size(); i += 3) {
    batch([&] { EXPECT_EQ(take_ready(queue, 3).size(), 3U); });
    batch([&] {
      for (std::size_t j = i + 3; j < seqs.size(); j += 5) {
        Record& record = need(seqs[j]);
        ++record.message.count;
        store->changed(record, Change::whole);
      }
    });
  }
  for (std::size_t i = 0; i < seqs.size(); ++i) {
    // Changed after each of the takes before it that was as many times five behind.
    int count = 0;
    for (std::size_t took = 0; took + 3 <= i; took += 3) count += (i - took - 3) % 5 == 0 ? 1 : 0;
    EXPECT_EQ(stored(seqs[i]).count, count) << i;
  }
}

// Long lines are read and kept in windows; whatever is put, taken and moved around, the order is
// that of a sorted set.
TEST_P(StoreContract, ALongLineKeepsItsOrderOverManyBatches) {
  std::set<std::pair<std::int64_t, Seq>> line;  // minus the priority, number
  std::uint64_t random = 42;
  const auto draw = [&](std::uint64_t below) {
    random = random * 6364136223846793005ULL + 1442695040888963407ULL;
    return (random >> 33U) % below;
  };
  const auto add = [&] {
    const auto priority = static_cast<std::int64_t>(draw(4));
    line.emplace(-priority, put(priority).message.seq);
  };
  const auto take = [&] {
    const Seq expected = line.empty() ? 0 : line.begin()->second;
    const Seq got = best(queue);
    ASSERT_EQ(got, expected);
    if (got == 0) return;
    line.erase(line.begin());
    switch (draw(3)) {
      case 0:
        store->erase(need(got));
        break;
      case 1:
        finish(need(got), State::done, 5);
        break;
      default:
        lease(need(got), 1'000'000'000);
    }
  };
  const auto shuffle = [&] {
    if (line.empty()) return;
    auto at = line.begin();
    std::advance(at, static_cast<std::ptrdiff_t>(draw(std::min<std::size_t>(line.size(), 800))));
    const Seq seq = at->second;
    line.erase(at);
    Record& r = need(seq);
    switch (draw(3)) {
      case 0:
        r.message.priority = static_cast<std::int64_t>(draw(6));
        line.emplace(-r.message.priority, seq);
        store->changed(r, Change::whole);
        break;
      case 1:
        r.message.state = State::scheduled;
        r.message.due = base::from_ms(2'000'000'000);
        store->changed(r, Change::whole);
        break;
      default:
        store->erase(r);
    }
  };
  batch([&] {
    for (int i = 0; i < 6000; ++i) add();  // more than a window keeps
  });
  for (int round = 0; round < 60 && !HasFatalFailure(); ++round) {
    if (round % 7 == 3) crash();
    const bool aborted = round % 5 == 4;
    const auto before = line;
    begin();
    const int steps = static_cast<int>(draw(400));
    for (int i = 0; i < steps && !HasFatalFailure(); ++i) {
      const auto what = draw(10);
      if (what < 3) {
        add();
      } else if (what < 8) {
        take();
      } else {
        shuffle();
      }
    }
    if (aborted) {
      abort();
      line = before;
    } else {
      commit(Sync::none);
    }
  }
  batch([&] {
    while (!line.empty() && !HasFatalFailure()) take();
    take();
  });
}

// --- Attempts, tags, waste ---

TEST_P(StoreContract, AttemptsAreKeptUpToTheirBound) {
  const std::int64_t n = core::kAttemptsKept + 30;
  Seq seq = 0;
  batch([&] { seq = put().message.seq; });
  for (std::int64_t i = 1; i <= n; ++i) {
    batch(
        [&] {
          Record& r = need(seq);
          r.message.attempts = static_cast<std::int32_t>(i);
          store->changed(r, Change::whole);
          store->append(Attempt{.seq = seq,
                                .number = i,
                                .worker = "w",
                                .started = base::from_ms(i),
                                .ended = base::from_ms(i + 1),
                                .outcome = "lost",
                                .reason = "why",
                                .post_mortem = "{}"});
        },
        Sync::none);
  }
  auto reader = home->reader();
  auto kept = reader->attempts(seq);
  ASSERT_TRUE(kept);
  ASSERT_EQ(static_cast<std::int64_t>(kept->size()), core::kAttemptsKept);
  EXPECT_EQ(kept->front().number, n - core::kAttemptsKept + 1);
  const Attempt& last = kept->back();
  EXPECT_EQ(last.number, n);
  EXPECT_EQ(last.worker, "w");
  EXPECT_EQ(last.started, base::from_ms(n));
  EXPECT_EQ(last.ended, base::from_ms(n + 1));
  EXPECT_EQ(last.outcome, "lost");
  EXPECT_EQ(last.reason, "why");
  EXPECT_EQ(last.post_mortem, "{}");
  batch([&] { store->erase(need(seq)); });
  EXPECT_TRUE(reader->attempts(seq)->empty());
}

TEST_P(StoreContract, AFolderIsWasteOnceItsMessageIsGone) {
  Seq seq = 0;
  batch([&] {
    Message m = message(queue);
    m.detail().folder = "queue/q/1";
    seq = store->insert(std::move(m)).message.seq;
    put();
  });
  auto reader = home->reader();
  EXPECT_TRUE(reader->waste({}, 10)->empty());
  batch([&] { store->erase(need(seq)); });
  crash();
  reader = home->reader();
  EXPECT_EQ(*reader->waste({}, 10), std::vector<std::string>{"queue/q/1"});
  batch([&] { store->forget_waste({"queue/q/1", "never/was"}); });
  EXPECT_TRUE(reader->waste({}, 10)->empty());
}

// --- Queues ---

TEST_P(StoreContract, QueuesComeBackWithSettingsAndCounters) {
  core::Queue q;
  q.name = "other";
  q.admin = core::Admin::pause;
  q.paused_until = base::from_ms(77);
  q.settings.script = "/bin/x";
  q.settings.env_vars = {{"A", "1"}};
  q.revision = 4;
  q.created = base::from_ms(5);
  q.on_demand = true;
  q.script_error = "broken";
  batch([&] { q.id = store->insert(q); });
  EXPECT_GT(q.id, 0);
  EXPECT_NE(q.id, queue);
  q.revision = 5;
  q.settings.nice = 3;
  for (int s = 0; s < core::kStateCount; ++s) q.counters.in(static_cast<State>(s)) = s + 1;
  q.counters.in(State::run) = 0;  // a store with fewer leases than that is damaged
  q.counters.held = 20;
  q.counters.puts = 21;
  q.counters.dones = 22;
  q.counters.errs = 23;
  q.counters.retries = 24;
  q.counters.losses = 25;
  q.counters.cancels = 26;
  q.counters.deletes = 27;
  q.counters.high = 28;
  q.counters.expired = 29;
  q.counters.expired_errs = 30;
  q.being_deleted = true;
  batch([&] {
    store->changed(q);
    store->counted(q);
  });
  crash();
  const auto queues = store->queues();
  ASSERT_TRUE(queues);
  ASSERT_EQ(queues->size(), 2U);
  const core::Queue& after = (*queues)[1];
  EXPECT_EQ(after.id, q.id);
  EXPECT_EQ(after.name, "other");
  EXPECT_EQ(after.admin, core::Admin::pause);
  EXPECT_EQ(after.paused_until, base::from_ms(77));
  EXPECT_EQ(after.settings, q.settings);
  EXPECT_EQ(after.revision, 5);
  EXPECT_EQ(after.created, base::from_ms(5));
  EXPECT_TRUE(after.on_demand);
  EXPECT_TRUE(after.being_deleted);
  EXPECT_EQ(after.script_error, "broken");
  EXPECT_EQ(after.counters, q.counters);
  batch([&] { store->erase(q); });
  EXPECT_EQ(store->queues()->size(), 1U);
}

TEST_P(StoreContract, AQueueCanBeErasedAndMadeAgainInOneBatch) {
  core::Queue old;
  old.id = queue;
  old.name = "q";
  core::QueueId made = 0;
  batch([&] {
    store->erase(old);
    made = add_queue("q");
    store->insert(message(made));
  });
  EXPECT_NE(made, queue) << "the id of a queue that is gone is not used again";
  crash();
  const auto queues = store->queues();
  ASSERT_TRUE(queues);
  ASSERT_EQ(queues->size(), 1U);
  EXPECT_EQ(queues->front().id, made);
  batch([&] { EXPECT_EQ(take_ready(made).size(), 1U); });
}

TEST_P(StoreContract, AQueueThatIsMadeAndErasedInOneBatchLeavesNothing) {
  batch([&] {
    core::Queue q;
    q.name = "short-lived";
    q.id = store->insert(q);
    EXPECT_EQ(best(q.id), 0);
    store->counted(q);
    store->erase(q);
  });
  EXPECT_EQ(store->queues()->size(), 1U);
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(Stores, StoreContract, testing::ValuesIn(all_stores()), factory_name);

}  // namespace rq::store::contract
