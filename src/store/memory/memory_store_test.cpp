// What the store in memory does beyond the contract: it is strict, it fails when it is told to, and
// several may be open on one disk.
#include "store/memory/memory_store.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "store/memory/memory_reader.h"

namespace rq::store::memory {
namespace {

using What = Committed::What;

// A store that is open on a disk, and its faults.
struct Opened {
  explicit Opened(std::shared_ptr<Disk> on) : store(std::move(on), options()) {
    EXPECT_TRUE(store.open());
  }
  Options options() {
    Options out;
    out.load_fails = [this] { return std::exchange(load_fails, false); };
    out.commit_fails = [this] { return std::exchange(fault, Fault::none); };
    return out;
  }
  void begin(Needs needs = {}) {
    needs.now = now;
    ASSERT_TRUE(store.load(needs));
  }
  QueueId queue(const std::string& name) {
    Queue q;
    q.name = name;
    return store.insert(q);
  }
  Seq put(QueueId in, const std::string& key = {}) {
    Message m;
    m.seq = store.next_number();
    m.queue = in;
    m.payload = "payload";
    if (!key.empty()) m.detail().key = key;
    return store.insert(std::move(m)).message.seq;
  }
  What commit(Sync sync = Sync::disk) { return store.commit(sync).what; }

  bool load_fails = false;
  Fault fault = Fault::none;
  Instant now{};
  MemoryStore store;
};

class MemoryStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    first.begin();
    queue = first.queue("q");
    seq = first.put(queue, "k");
    ASSERT_EQ(first.commit(), What::yes);
  }
  [[nodiscard]] std::size_t messages() const { return disk->content().messages.size(); }

  std::shared_ptr<Disk> disk = std::make_shared<Disk>();
  Opened first{disk};
  QueueId queue = 0;
  Seq seq = 0;
};

// --- Strict ---

using MemoryStoreDeathTest = MemoryStoreTest;

TEST_F(MemoryStoreDeathTest, ALookAtWhatWasNotAskedForAborts) {
  first.begin();
  EXPECT_DEATH(static_cast<void>(first.store.find(seq)), "bug");
  EXPECT_DEATH(static_cast<void>(first.store.find_key("k")), "bug");
  EXPECT_DEATH(static_cast<void>(first.store.peek(queue)), "bug");
  EXPECT_DEATH(static_cast<void>(first.store.known(queue)), "bug");
  EXPECT_DEATH(static_cast<void>(first.store.first(queue, Place::any)), "bug");
  EXPECT_DEATH(static_cast<void>(first.store.more(queue, Place::line)), "bug");
  first.begin({.numbers = {{seq}}, .keys = {"k"}, .lines = {{queue, 1}}});
  EXPECT_TRUE(first.store.find(seq));
  EXPECT_TRUE(first.store.find_key("k"));
  EXPECT_TRUE(first.store.peek(queue));
}

TEST_F(MemoryStoreDeathTest, WhatWasAskedForIsForgottenWithTheBatch) {
  first.begin({.numbers = {{seq}}});
  ASSERT_EQ(first.commit(), What::yes);
  first.begin();
  EXPECT_DEATH(static_cast<void>(first.store.find(seq)), "bug");
}

TEST_F(MemoryStoreDeathTest, AChangeOfWhatIsNotOfTheBatchAborts) {
  first.begin({.numbers = {{seq}}});
  Record* record = *first.store.find(seq);
  Record other;
  other.message.seq = seq;
  EXPECT_DEATH(first.store.changed(other, Change::whole), "bug");
  first.store.erase(*record);
  EXPECT_DEATH(first.store.changed(*record, Change::whole), "bug");
}

TEST_F(MemoryStoreDeathTest, OnlyTheBestOfWhatIsKnownCanBeTaken) {
  first.begin();
  first.put(queue);
  ASSERT_EQ(first.commit(), What::yes);
  first.begin({.lines = {{queue, 1}}});
  first.store.erase(**first.store.take(queue));
  const Seq last = first.put(queue);
  EXPECT_EQ((*first.store.peek(queue))->seq, last) << "the best of what is loaded";
  EXPECT_LT(first.store.known(queue).seq, last);
  EXPECT_DEATH(static_cast<void>(first.store.take(queue)), "bug");
}

TEST_F(MemoryStoreDeathTest, AChangeOfThePlaceMayChangeNothingElse) {
  first.begin({.numbers = {{seq}}});
  Record* record = *first.store.find(seq);
  record->message.attempts = 5;
  first.store.changed(*record, Change::place);
  EXPECT_DEATH(static_cast<void>(first.commit()), "bug");
}

TEST_F(MemoryStoreDeathTest, NothingGoesOnAfterAFaultButOpen) {
  first.fault = Fault::no;
  first.begin();
  ASSERT_EQ(first.commit(), What::no);
  EXPECT_DEATH(static_cast<void>(first.store.load({})), "bug");
  EXPECT_TRUE(first.store.open());
  first.begin();
}

TEST_F(MemoryStoreTest, APayloadThatWasNotAskedForIsNotThereAndNeverWritten) {
  first.begin({.numbers = {{seq}}});
  Record* record = *first.store.find(seq);
  EXPECT_EQ(record->message.payload, kNotAskedFor);
  record->message.count = 3;
  first.store.changed(*record, Change::whole);
  ASSERT_EQ(first.commit(), What::yes);
  EXPECT_EQ(disk->content().messages.at(seq)->payload, "payload");
  EXPECT_EQ(disk->content().messages.at(seq)->count, 3);
  first.begin({.numbers = {{seq}}, .keys = {"k"}});
  EXPECT_EQ((*first.store.find(seq))->message.payload, "payload") << "the key brings it";
}

// --- The four answers of a commit ---

TEST_F(MemoryStoreTest, NoMeansThatNothingIsThere) {
  first.fault = Fault::no;
  first.begin();
  first.put(queue);
  const Committed committed = first.store.commit(Sync::disk);
  EXPECT_EQ(committed.what, What::no);
  EXPECT_EQ(committed.why.code, base::Code::disk_full);
  EXPECT_EQ(messages(), 1U);
}

TEST_F(MemoryStoreTest, UnknownMeansAllOrNothing) {
  for (const Fault fault : {Fault::unknown_and_done, Fault::unknown_and_not}) {
    const std::size_t before = messages();
    first.fault = fault;
    first.begin();
    first.put(queue);
    first.put(queue);
    const Committed committed = first.store.commit(Sync::disk);
    EXPECT_EQ(committed.what, What::unknown);
    EXPECT_EQ(committed.why.code, base::Code::unknown_outcome);
    EXPECT_EQ(messages(), before + (fault == Fault::unknown_and_done ? 2 : 0));
    ASSERT_TRUE(first.store.open());
  }
}

TEST_F(MemoryStoreTest, ALoadThatFailsIsAFaultAndChangesNothing) {
  first.load_fails = true;
  const auto loaded = first.store.load({});
  ASSERT_FALSE(loaded);
  EXPECT_EQ(messages(), 1U);
  ASSERT_TRUE(first.store.open());
  first.begin();
}

TEST_F(MemoryStoreTest, WhoeverOpensItTakesItFromTheOthers) {
  first.begin({.numbers = {{seq}}});
  first.put(queue);
  Opened second{disk};
  EXPECT_GT(second.store.boot(), first.store.boot());
  EXPECT_EQ(first.commit(), What::deposed);
  EXPECT_EQ(messages(), 1U);
  second.begin({.numbers = {{seq}}});
  const Seq other = second.put(queue);
  EXPECT_GT(other, seq + 1) << "numbers of the first are not given again";
  EXPECT_EQ(second.commit(), What::yes);
}

TEST_F(MemoryStoreTest, WhoWasReplacedFindsNothing) {
  Opened second{disk};
  first.begin({.numbers = {{seq}}, .keys = {"k"}, .lines = {{queue, 1}}, .due = 10});
  EXPECT_EQ(*first.store.find(seq), nullptr);
  EXPECT_EQ(*first.store.find_key("k"), nullptr);
  EXPECT_FALSE(first.store.peek(queue)->has_value());
  EXPECT_EQ(first.commit(), What::deposed);
}

// --- A loss of power ---

TEST_F(MemoryStoreTest, ALossOfPowerTakesCommitsSinceTheLastSync) {
  const auto commit_one = [&](Sync sync) {
    first.begin();
    first.put(queue);
    ASSERT_EQ(first.commit(sync), What::yes);
  };
  commit_one(Sync::disk);
  EXPECT_EQ(disk->unsynced(), 0U);
  commit_one(Sync::none);
  commit_one(Sync::soon);
  commit_one(Sync::none);
  EXPECT_EQ(disk->unsynced(), 3U);
  EXPECT_EQ(messages(), 5U);
  disk->lose_power(2);
  EXPECT_EQ(messages(), 3U);
  EXPECT_EQ(disk->unsynced(), 0U);
  first.begin();
  EXPECT_EQ(first.commit(), What::deposed) << "whoever was open is gone";
  Opened second{disk};
  second.begin();
  EXPECT_GT(second.put(queue), 5) << "numbers are set aside on disk";
}

TEST_F(MemoryStoreTest, SoonIsSyncedASecondLater) {
  first.now = base::from_ms(1000);
  first.begin();
  ASSERT_EQ(first.commit(Sync::soon), What::yes);
  EXPECT_EQ(first.store.next_deadline(), base::from_ms(2000));
  first.now = base::from_ms(1999);
  first.begin();
  ASSERT_EQ(first.commit(Sync::none), What::yes);
  EXPECT_EQ(disk->unsynced(), 2U);
  first.now = base::from_ms(2000);
  first.begin();
  ASSERT_EQ(first.commit(Sync::none), What::yes);
  EXPECT_EQ(disk->unsynced(), 0U);
}

// --- What it draws ---

TEST_F(MemoryStoreTest, AShortListGetsOnWithEachLoad) {
  Options options;
  options.short_lists = true;
  options.gap_max = 3;
  options.block_max = 2;
  MemoryStore store{disk, options};
  ASSERT_TRUE(store.open());
  ASSERT_TRUE(store.load({}));
  for (int i = 0; i < 30; ++i) {
    Message m;
    m.seq = store.next_number();
    m.queue = queue;
    store.insert(std::move(m));
  }
  ASSERT_EQ(store.commit(Sync::disk).what, What::yes);
  bool was_short = false;
  LineKey before = kBeforeAll;
  ASSERT_TRUE(store.load({}));
  for (std::int64_t n = 5;; n += 5) {
    ASSERT_LE(n, 500);
    ASSERT_TRUE(store.load({.lines = {{queue, n / 2}, {queue, n - n / 2}}}));
    const LineKey known = store.known(queue);
    ASSERT_GT(known, before);
    before = known;
    if (known == kBehindAll) break;
    std::int64_t had = 0;
    disk->content().for_each_in(queue, Place::line, [&](const Filed& filed) {
      if (filed.key <= known) ++had;
      return true;
    });
    EXPECT_LE(had, std::max<std::int64_t>(n, 31));
    was_short = was_short || had < n;
  }
  EXPECT_TRUE(was_short);
}

}  // namespace
}  // namespace rq::store::memory
