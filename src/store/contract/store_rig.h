#pragma once
// The contract of core/store.h as a suite: store_test.cpp and reader_test.cpp hold the tests,
// stores_test.cpp names the stores. The helpers ask for what they look at.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "store/contract/home_rig.h"

namespace rq::store::contract {

using base::from_ms;

class StoreContract : public testing::TestWithParam<Factory> {
 protected:
  using State = core::State;
  using Millis = base::Millis;
  using V = std::vector<Seq>;

  void SetUp() override {
    home = GetParam().make();
    open();
    batch([&] { queue = add_queue("q"); });
  }
  void TearDown() override {
    if (!store) return;
    for (const std::string& finding : home->findings()) {
      // The suite keeps no counters.
      if (!finding.starts_with("counter of queue")) ADD_FAILURE() << finding;
    }
  }

  // --- Batches ---
  void load(Needs needs = {}) {
    needs.now = now;
    const auto loaded = store->load(needs);
    ASSERT_TRUE(loaded) << loaded.error().message;
  }
  void begin(Needs needs = {}) {
    asked.clear();
    load(std::move(needs));
  }
  void commit(Sync sync = Sync::disk) {
    const Committed done = store->commit(sync);
    ASSERT_EQ(done.what, Committed::What::yes) << done.why.message;
  }
  template <typename Work>
  void batch(Work work, Sync sync = Sync::disk) {
    begin();
    work();
    commit(sync);
  }
  // Looks, and changes nothing.
  template <typename Work>
  void look(Work work) {
    batch(work, Sync::none);
  }
  // As after a fault: what the batch did is gone.
  void abort() {
    store->abort();
    const auto opened = store->open();
    ASSERT_TRUE(opened) << opened.error().message;
  }
  void open() {
    store = home->make();
    const auto opened = store->open();
    ASSERT_TRUE(opened) << opened.error().message;
  }
  // The process dies and starts again.
  void crash() {
    home->crash();
    store.reset();
    open();
  }
  void reopen() {
    store.reset();
    open();
  }

  // --- Changes ---
  core::QueueId add_queue(const std::string& name) {
    core::Queue q;
    q.name = name;
    q.created = from_ms(1);
    q.revision = 1;
    return store->insert(q);
  }
  Message message(core::QueueId in, std::int64_t priority = 0) {
    Message m;
    m.seq = store->next_number();
    m.queue = in;
    m.priority = priority;
    m.created = from_ms(1'000'000 + m.seq);
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
  Record& put_in_order(std::int64_t order, std::int64_t priority = 0) {
    Message m = message(queue, priority);
    m.order = order;
    return store->insert(std::move(m));
  }
  Record& put_due(std::int64_t due, core::QueueId in = 0) {
    Message m = message(in == 0 ? queue : in);
    m.state = State::scheduled;
    m.due = from_ms(due);
    return store->insert(std::move(m));
  }
  Record& put_parked(State state = State::prep) {
    Message m = message(queue);
    m.state = state;
    return store->insert(std::move(m));
  }
  void lease(Record& record, std::int64_t until, core::LeaseEnd end = core::LeaseEnd::deadline) {
    Message& m = record.message;
    m.state = State::run;
    m.lease = std::make_unique<core::Lease>();
    m.lease->attempt = m.attempts + 1;
    m.lease->boot = store->boot();
    m.lease->since = from_ms(1);
    m.lease->until = from_ms(until);
    m.lease->length = Millis{1000};
    m.lease->end = end;
    m.lease->worker = "w";
    store->changed(record, Change::place);
  }
  void extend(Record& record, std::int64_t until) {
    record.message.lease->until = from_ms(until);
    store->changed(record, Change::place);
  }
  void finish(Record& record, State state, std::int64_t at, core::Mark mark = core::Mark::none) {
    Message& m = record.message;
    m.state = state;
    m.mark = mark;
    m.finished = from_ms(at);
    m.lease.reset();
    store->changed(record, Change::whole);
  }
  void ready(Record& record) {
    Message& m = record.message;
    m.state = State::que;
    m.mark = core::Mark::none;
    m.finished = {};
    m.lease.reset();
    store->changed(record, Change::whole);
  }

  // --- Looks ---
  Record* find(Seq seq) {
    load({.numbers = {{seq, true}}});
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
  // As it is committed; between batches.
  Message stored(Seq seq) {
    Message out;
    look([&] { out = need(seq).message.copy(); });
    return out;
  }
  static Seq seq_of(const Result<Record*>& found) {
    EXPECT_TRUE(found) << found.error().message;
    return found && *found != nullptr ? (*found)->message.seq : 0;
  }
  Seq find_key(const std::string& key) {
    load({.keys = {key}});
    return seq_of(store->find_key(key));
  }
  // Asks for more of the line, or of the place, than before.
  void ask_line(core::QueueId in) {
    std::int64_t& n = asked[{in, Place::line}];
    n = n == 0 ? 2 : n * 2;
    load({.lines = {{in, n}}});
  }
  void ask_first(core::QueueId in, Place place) {
    std::int64_t& n = asked[{in, place}];
    n = n == 0 ? 2 : n * 2;
    load({.firsts = {{in, place, n, true}}});
  }
  std::optional<LineKey> peek(core::QueueId in) {
    if (!asked.contains({in, Place::line})) ask_line(in);
    for (;;) {
      const auto key = store->peek(in);
      EXPECT_TRUE(key) << key.error().message;
      if (!key) return {};
      const LineKey known = store->known(in);
      if (known == kBehindAll || (*key && **key <= known)) return *key;
      ask_line(in);
    }
  }
  // The best of the line; null when it is empty.
  Record* take(core::QueueId in) {
    if (!peek(in)) return nullptr;
    auto taken = store->take(in);
    EXPECT_TRUE(taken) << taken.error().message;
    return taken ? *taken : nullptr;
  }
  Seq best(core::QueueId in) {
    const auto key = peek(in);
    return key ? key->seq : 0;
  }
  // Leases what is ready, in its order.
  V take_ready(core::QueueId from, std::size_t most = SIZE_MAX) {
    V out;
    while (out.size() < most) {
      Record* record = take(from);
      if (record == nullptr) break;
      out.push_back(record->message.seq);
      lease(*record, 1'000'000'000);
    }
    return out;
  }
  Record* first_record(core::QueueId in, Place place) {
    if (!asked.contains({in, place})) ask_first(in, place);
    for (;;) {
      auto found = store->first(in, place);
      EXPECT_TRUE(found) << found.error().message;
      if (!found || *found != nullptr) return found ? *found : nullptr;
      const auto more = store->more(in, place);
      EXPECT_TRUE(more) << more.error().message;
      if (!more || !*more) return nullptr;
      ask_first(in, place);
    }
  }
  Seq first(core::QueueId in, Place place) {
    const Record* record = first_record(in, place);
    return record == nullptr ? 0 : record->message.seq;
  }
  // The lease that ended first, the message that fell due first, by this time; between batches.
  Seq first_ended(std::int64_t at) {
    now = from_ms(at);
    begin({.due = 10});
    const Seq seq = seq_of(store->next_ended());
    abort();
    return seq;
  }
  Seq first_due(std::int64_t at) {
    now = from_ms(at);
    begin({.due = 10});
    const Seq seq = seq_of(store->next_due());
    abort();
    return seq;
  }
  std::vector<Timer> timers_due(std::int64_t at) {
    now = from_ms(at);
    begin({.due = 10});
    auto due = store->due_timers();
    abort();
    return due;
  }

  std::unique_ptr<Home> home;
  std::unique_ptr<Store> store;
  core::QueueId queue = 0;
  base::Instant now = from_ms(1);                                 // of the batches
  std::map<std::pair<core::QueueId, Place>, std::int64_t> asked;  // in this batch
};

// The same with a second queue and a reader.
class StoreReaders : public StoreContract {
 protected:
  void SetUp() override {
    StoreContract::SetUp();
    batch([&] { other = add_queue("other"); });
    reader = home->reader();
  }
  V list(Page page) {
    auto listed = reader->list(page);
    EXPECT_TRUE(listed) << listed.error().message;
    V out;
    if (listed) {
      for (const MessageRow& row : listed->rows) out.push_back(row.message.seq);
    }
    return out;
  }
  V matching(Filter filter) { return list({.filter = std::move(filter), .newest_first = false}); }
  void count(core::QueueId id, State state, std::int64_t n) {
    core::Queue q;
    q.id = id;
    q.counters.in(state) = n;
    store->counted(q);
  }

  core::QueueId other = 0;
  std::unique_ptr<Reader> reader;
};

}  // namespace rq::store::contract
