#pragma once
// The contract of store/store.h as a suite: contract_test.cpp holds the tests, and each store's
// folder names its factory in an INSTANTIATE_TEST_SUITE_P(..., StoreContract, ...).
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "store/contract/home.h"

namespace rq::store::contract {

class StoreContract : public testing::TestWithParam<Factory> {
 protected:
  using State = core::State;
  using Millis = base::Millis;

  void SetUp() override {
    home = GetParam().make();
    store = home->open();
    batch([&] { queue = add_queue("q"); });
  }
  void TearDown() override {
    if (!store) return;
    for (const std::string& finding : home->findings()) {
      // The suite keeps no counters.
      if (!finding.starts_with("counter of queue")) ADD_FAILURE() << finding;
    }
  }

  template <typename Work>
  void batch(Work work, Sync sync = Sync::disk) {
    ASSERT_TRUE(store->begin());
    work();
    const auto done = store->commit(sync);
    ASSERT_TRUE(done) << done.error().message;
  }
  // The process dies and starts again.
  void crash() {
    home->crash();
    store.reset();
    store = home->open();
  }
  void reopen() {
    store.reset();
    store = home->open();
  }

  core::QueueId add_queue(const std::string& name) {
    core::Queue q;
    q.name = name;
    q.created = base::from_ms(1);
    q.revision = 1;
    const auto ok = store->insert(q);
    EXPECT_TRUE(ok);
    return q.id;
  }
  Message message(core::QueueId in, std::int64_t priority = 0) {
    Message m;
    const auto seq = store->next_seq();
    EXPECT_TRUE(seq);
    m.seq = *seq;
    m.queue = in;
    m.priority = priority;
    m.created = base::from_ms(1'000'000 + m.seq);
    m.due = m.created;
    m.payload = "payload";
    return m;
  }
  Record& put(std::int64_t priority = 0) { return store->insert(message(queue, priority)); }
  Record& put_with_key(const std::string& key) {
    Message m = message(queue);
    m.detail().key = key;
    return store->insert(std::move(m));
  }
  Record& put_due(std::int64_t due, core::QueueId in = 0) {
    Message m = message(in == 0 ? queue : in);
    m.state = State::scheduled;
    m.due = base::from_ms(due);
    return store->insert(std::move(m));
  }
  void lease(Record& record, std::int64_t until, core::LeaseEnd end = core::LeaseEnd::deadline) {
    Message& m = record.message;
    m.state = State::run;
    m.lease = std::make_unique<core::Lease>();
    m.lease->attempt = m.attempts + 1;
    m.lease->boot = store->boot();
    m.lease->since = base::from_ms(1);
    m.lease->until = base::from_ms(until);
    m.lease->length = Millis{1000};
    m.lease->end = end;
    m.lease->worker = "w";
    store->changed(record, Change::place);
  }
  void finish(Record& record, State state, std::int64_t at, core::Mark mark = core::Mark::none) {
    Message& m = record.message;
    m.state = state;
    m.mark = mark;
    m.finished = base::from_ms(at);
    m.lease.reset();
    store->changed(record, Change::whole);
  }
  Record* find(Seq seq) {
    auto found = store->find(seq);
    EXPECT_TRUE(found) << found.error().message;
    return found ? *found : nullptr;
  }
  Record& need(Seq seq) {
    Record* found = find(seq);
    EXPECT_NE(found, nullptr) << seq;
    if (found == nullptr) std::abort();
    return *found;
  }
  static Seq seq_of(const Result<Record*>& found) {
    EXPECT_TRUE(found) << found.error().message;
    return found && *found != nullptr ? (*found)->message.seq : 0;
  }
  // Takes what is ready, in its order.
  std::vector<Seq> take_ready(core::QueueId from, std::size_t most = SIZE_MAX) {
    std::vector<Seq> out;
    while (out.size() < most) {
      auto next = store->next_ready(from);
      EXPECT_TRUE(next);
      if (!next || *next == nullptr) break;
      out.push_back((*next)->message.seq);
      lease(**next, 1'000'000'000);
    }
    return out;
  }

  std::unique_ptr<Home> home;
  std::unique_ptr<Store> store;
  core::QueueId queue = 0;
};

// The same with a second queue and a reader.
class StoreReaders : public StoreContract {
 protected:
  void SetUp() override {
    StoreContract::SetUp();
    batch([&] { other = add_queue("other"); });
    reader = home->reader();
  }
  std::vector<Seq> list(Page page) {
    auto listed = reader->list(page);
    EXPECT_TRUE(listed) << listed.error().message;
    std::vector<Seq> out;
    if (listed) {
      for (const MessageRow& row : listed->rows) out.push_back(row.message.seq);
    }
    return out;
  }
  std::vector<Seq> matching(Filter filter) {
    return list({.filter = std::move(filter), .newest_first = false});
  }
  void count(core::QueueId id, State state, std::int64_t n) {
    core::Queue q;
    q.id = id;
    q.counters.in(state) = n;
    store->update_counters(q);
  }

  core::QueueId other = 0;
  std::unique_ptr<Reader> reader;
};

}  // namespace rq::store::contract
