// How many requests to the store common walks take: loads and commits, the same for one message and
// for many.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "store/contract/engine_rig.h"
#include "store/contract/memory_rig.h"

namespace rq::store::contract {
namespace {

using core::Action;
using core::Outcome;

struct Requests {
  int loads = 0;
  int commits = 0;
  friend bool operator==(const Requests&, const Requests&) = default;
};
void PrintTo(const Requests& requests, std::ostream* out) {
  *out << requests.loads << " loads + " << requests.commits << " commits";
}

// A store in memory that counts what it is asked.
class CountingStore final : public memory::MemoryStore {
 public:
  CountingStore(std::shared_ptr<memory::Disk> disk, Requests& counted)
      : MemoryStore(std::move(disk), {}), counted_(counted) {}
  Result<void> load(const core::Needs& needs) override {
    ++counted_.loads;
    return MemoryStore::load(needs);
  }
  core::Committed commit(core::Sync sync) override {
    ++counted_.commits;
    return MemoryStore::commit(sync);
  }

 private:
  Requests& counted_;
};

class CountingHome final : public Home {
 public:
  explicit CountingHome(Requests& counted) : counted_(counted) {}
  std::unique_ptr<Store> make() override {
    return std::make_unique<CountingStore>(disk_, counted_);
  }
  std::unique_ptr<Reader> reader() override { return memory::make_reader(disk_); }
  void crash() override { disk_ = std::make_shared<memory::Disk>(*disk_); }
  std::vector<std::string> findings() override { return disk_->content().findings(); }
  std::string dump() override { return disk_->content().dump(); }

 private:
  Requests& counted_;
  std::shared_ptr<memory::Disk> disk_ = std::make_shared<memory::Disk>();
};

class WalksTest : public testing::Test {
 protected:
  void SetUp() override {
    rig.define("q");
    rig.define("other");
  }
  void TearDown() override { rig.expect_sound(); }

  // What has been asked of the store since the last time.
  Requests asked() { return std::exchange(counted, {}); }
  // Batches until nothing is left to be done now.
  void rest() {
    do {
      rig.run();
    } while (rig.engine().next_wake() <= rig.now);
  }
  std::vector<core::Message> lease(std::int64_t n, core::LeaseEnd end = core::LeaseEnd::deadline) {
    core::Reserve reserve = Rig::reserve_of({{.queue = "q"}}, n);
    reserve.end = end;
    auto messages = rig.ask<core::Reserved>(std::move(reserve)).messages;
    EXPECT_EQ(std::ssize(messages), n);
    return messages;
  }
  void put_many(int n) {
    core::PutMany many;
    for (int i = 0; i < n; ++i) many.puts.push_back(Rig::put_of("q"));
    rig.ask<core::PutManyDone>(std::move(many));
  }

  Requests counted;
  Rig rig{{.name = "memory", .make = [this] { return std::make_unique<CountingHome>(counted); }}};
};

TEST_F(WalksTest, Put) {
  for (const int n : {1, 1000}) {
    for (int i = 0; i < n; ++i) {
      core::Put put = Rig::put_of("q");
      put.message.detail().key = "key " + std::to_string(n) + "." + std::to_string(i);
      rig.submit(std::move(put));
    }
    asked();
    rig.run();
    EXPECT_EQ(asked(), (Requests{1, 1})) << n;
  }
}

TEST_F(WalksTest, AReserveThatFinds) {
  put_many(1001);
  for (const int n : {1, 1000}) {
    for (int i = 0; i < n; ++i) rig.submit(Rig::reserve_of({{.queue = "q"}, {.queue = "other"}}));
    asked();
    rig.run();
    EXPECT_EQ(asked(), (Requests{1, 1})) << n;
  }
  EXPECT_EQ(rig.counters("q").in(State::run), 1001);
}

TEST_F(WalksTest, AReserveThatWaitsAndThenAPut) {
  for (const int n : {1, 1000}) {
    std::vector<std::uint64_t> waiting;
    for (int i = 0; i < n; ++i)
      waiting.push_back(rig.submit(rig.waiting_reserve({{.queue = "q"}})));
    asked();
    rig.run();
    EXPECT_EQ(asked(), (Requests{1, 1})) << n << " that wait";
    for (int i = 0; i < n; ++i) rig.submit(Rig::put_of("q"));
    asked();
    rig.run();
    EXPECT_EQ(asked(), (Requests{1, 1})) << n;
    for (const std::uint64_t request : waiting) EXPECT_TRUE(rig.answered(request));
  }
}

TEST_F(WalksTest, Done) {
  put_many(1001);
  for (const int n : {1, 1000}) {
    for (const core::Message& message : lease(n)) {
      core::Finish finish;
      finish.items.push_back({.token = Rig::token_of(message), .outcome = Outcome::done});
      rig.submit(std::move(finish));
    }
    asked();
    rig.run();
    EXPECT_EQ(asked(), (Requests{1, 1})) << n;
  }
}

TEST_F(WalksTest, AnErrorAndARetryAfterADelay) {
  core::QueueSettings settings;
  settings.retries = 1;
  settings.backoff = {.kind = core::BackoffKind::fixed, .base = seconds{5}, .jitter_percent = 0};
  rig.define("q", settings);
  for (const int n : {1, 1000}) {
    put_many(n);
    for (const core::Message& message : lease(n)) {
      core::Finish finish;
      finish.items.push_back({.token = Rig::token_of(message), .outcome = Outcome::failed});
      rig.submit(std::move(finish));
    }
    asked();
    rig.run();
    rig.now += seconds{5};
    rig.run();
    EXPECT_EQ(asked(), (Requests{2, 2})) << n;
    EXPECT_EQ(rig.counters("q").in(State::scheduled), 0);
    lease(n);  // out of the way
  }
}

TEST_F(WalksTest, AHundredMixedOnOneQueue) {
  put_many(200);
  const auto leased = lease(25);
  asked();
  for (std::size_t i = 0; i < 25; ++i) {
    rig.submit(Rig::put_of("q"));
    rig.submit(Rig::reserve_of({{.queue = "q"}}));
    core::Finish finish;
    finish.items.push_back({.token = Rig::token_of(leased[i])});
    rig.submit(std::move(finish));
    rig.submit(core::Peek{.what = core::PeekWhat::ready, .queue = "q"});
  }
  rig.run();
  EXPECT_EQ(asked(), (Requests{1, 1}));
}

TEST_F(WalksTest, AThousandLeasesThatEnd) {
  put_many(1000);
  lease(1000);
  rig.now += std::chrono::hours{1};
  asked();
  rig.run();
  EXPECT_EQ(asked(), (Requests{1, 1}));
  EXPECT_EQ(rig.counters("q").in(State::que), 1000);
}

TEST_F(WalksTest, AConnectionThatEndsWithItsLeases) {
  put_many(50);
  lease(50, core::LeaseEnd::connection);
  rig.submit(core::Disconnect{});
  asked();
  rig.run();
  EXPECT_EQ(asked(), (Requests{1, 1}));
  EXPECT_EQ(rig.counters("q").in(State::que), 50);
}

TEST_F(WalksTest, AnActOnAMessageThatThisBatchIsAskedToPutAgain) {
  core::Put put = Rig::put_of("q");
  put.message.detail().key = "k";
  const core::Seq seq = rig.ask<core::PutDone>(std::move(put)).seq;
  core::Put again = Rig::put_of("q");
  again.message.detail().key = "k";
  const auto repeated = rig.submit(std::move(again));
  const auto acted = rig.submit(core::Act{.action = Action::cancel, .messages = {seq}});
  asked();
  rig.run();
  EXPECT_EQ(asked(), (Requests{1, 1}));
  EXPECT_TRUE(rig.reply<core::PutDone>(repeated).repeated);
  EXPECT_TRUE(rig.reply<core::ActDone>(acted).items.at(0));
}

TEST_F(WalksTest, AnActOnAMessageThatThisBatchPuts) {
  const core::Seq before = rig.ask<core::PutDone>(Rig::put_of("q")).seq;
  core::Put put = Rig::put_of("q");
  put.message.detail().key = "k";
  const auto done = rig.submit(std::move(put));
  const auto acted = rig.submit(core::Act{.action = Action::cancel, .messages = {before + 1}});
  asked();
  rig.run();
  EXPECT_EQ(asked(), (Requests{1, 1}));
  EXPECT_EQ(rig.reply<core::PutDone>(done).seq, before + 1);
  EXPECT_TRUE(rig.reply<core::ActDone>(acted).items.at(0));
}

TEST_F(WalksTest, AQueueOf2500ThatIsDeleted) {
  put_many(2500);
  const auto deleted = rig.submit(core::DeleteQueue{.queue = "q", .force = true});
  asked();
  rest();
  const Requests requests = asked();
  EXPECT_EQ(requests.commits, 3);
  // One at the start of each batch; and since that is how a batch learns that its timer is due, one
  // for what the timer looks at.
  EXPECT_EQ(requests.loads, 5);
  rig.reply<core::Ok>(deleted);
}

}  // namespace
}  // namespace rq::store::contract
