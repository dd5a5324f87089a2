// Messages with large payloads: a batch has a bounded piece of them in hand, whatever is asked.
#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "base/limits.h"
#include "store/contract/engine_rig.h"

namespace rq::store::contract {
namespace {

class LargeTest : public EngineSuite {};

using core::Outcome;
using core::Reserved;

// Memory has a bound, whatever somebody asks for (faults.md E, relative): large payloads go in
// several answers, or in several batches.
constexpr std::int64_t kOfABatch = engine::kBatchPayloadBytes / base::kPayloadBytesMax;

void put_large(Rig& rig, std::int64_t n, std::optional<Millis> delay = {}) {
  for (std::int64_t i = 0; i < n; ++i) {
    core::Put put = Rig::put_of("q", std::string(base::kPayloadBytesMax, 'x'));
    put.delay = delay;
    rig.ask<core::PutDone>(std::move(put));
  }
}

TEST_P(LargeTest, AReserveOfLargeMessagesGivesAsManyAsABatchMayHold) {
  Rig rig{GetParam()};
  rig.define("q");
  put_large(rig, kOfABatch + 3);
  const auto first = rig.submit(Rig::reserve_of({{.queue = "q"}}, 100), 1);
  const auto second = rig.submit(Rig::reserve_of({{.queue = "q"}}, 100), 2);
  rig.run();
  EXPECT_EQ(std::ssize(rig.reply<Reserved>(first).messages), kOfABatch);
  EXPECT_FALSE(rig.answered(second)) << "the batch is full";
  EXPECT_LE(rig.engine().next_wake(), rig.now);
  rig.run();
  EXPECT_EQ(rig.reply<Reserved>(second).messages.size(), 3U);
  rig.expect_sound();
}

TEST_P(LargeTest, ManySinglesOfLargeMessagesAreAnsweredInSeveralBatches) {
  Rig rig{GetParam()};
  rig.define("q");
  put_large(rig, kOfABatch + 2);
  core::Reserve each = rig.waiting_reserve({{.queue = "q"}});
  each.limit = kOfABatch + 3;
  each.each = true;
  const auto request = rig.submit(std::move(each));
  rig.skip_requests(static_cast<std::uint64_t>(kOfABatch) + 2);
  rig.run();
  EXPECT_EQ(std::ssize(rig.reply<Reserved>(request).messages), kOfABatch);
  rig.pass(Millis{0});
  const auto rest = request + static_cast<std::uint64_t>(kOfABatch);
  EXPECT_EQ(rig.reply<Reserved>(rest).messages.size(), 2U);
  EXPECT_FALSE(rig.answered(rest + 2)) << "it waits";
  const auto seq = rig.put("q");
  EXPECT_EQ(rig.reply<Reserved>(rest + 2).messages.at(0).seq, seq);
  rig.expect_sound();
}

TEST_P(LargeTest, ReservesThatWaitAreServedInSeveralBatches) {
  Rig rig{GetParam()};
  rig.define("q");
  constexpr auto kServed = static_cast<std::size_t>(kOfABatch);
  std::vector<std::uint64_t> waiting;
  for (std::uint64_t i = 0; i < kServed + 3; ++i) {
    waiting.push_back(rig.submit(rig.waiting_reserve({{.queue = "q"}}), 1 + i));
  }
  rig.run();
  for (std::size_t i = 0; i < waiting.size(); ++i) {
    rig.submit(Rig::put_of("q", std::string(base::kPayloadBytesMax, 'x')), 100);
  }
  rig.run();
  EXPECT_TRUE(rig.answered(waiting.at(kServed - 1)));
  EXPECT_FALSE(rig.answered(waiting.at(kServed)));
  rig.pass(Millis{0});
  for (const auto request : waiting) {
    EXPECT_EQ(rig.reply<Reserved>(request).messages.size(), 1U);
  }
  rig.expect_sound();
}

TEST_P(LargeTest, LeasesOfManyLargeMessagesEndInSeveralBatches) {
  Rig rig{GetParam()};
  rig.define("q");
  const std::int64_t n = kOfABatch + 3;
  put_large(rig, n, seconds{5});
  rig.pass(seconds{5});
  EXPECT_EQ(rig.counters("q").in(State::que), n) << "all that were due are ready";
  std::int64_t taken = std::ssize(rig.take("q", 100));
  taken += std::ssize(rig.take("q", 100));
  ASSERT_EQ(taken, n);
  rig.pass(std::chrono::hours{24});
  EXPECT_EQ(rig.counters("q").in(State::que), n) << "all leases are over";
  core::Finish finish;
  for (int i = 0; i < 2; ++i) {
    for (const core::Message& message : rig.take("q", 100)) {
      finish.items.push_back({.token = Rig::token_of(message), .outcome = Outcome::release});
    }
  }
  const auto finished = rig.submit(std::move(finish));
  rig.run();
  EXPECT_FALSE(rig.answered(finished)) << "it goes on in the next batch";
  rig.pass(Millis{0});
  const auto done = rig.reply<core::FinishDone>(finished);
  ASSERT_EQ(std::ssize(done.items), n);
  for (const auto& item : done.items) EXPECT_TRUE(item.has_value());
  rig.expect_sound();
}

// A bulk action is bounded by bytes (faults.md E, relative).
TEST_P(LargeTest, AnActOnManyLargeMessagesGoesOnOverSeveralBatches) {
  Rig rig{GetParam()};
  rig.define("q");
  const std::int64_t n = kOfABatch + 3;
  core::Act act{.action = core::Action::cancel};
  for (std::int64_t i = 0; i < n; ++i) {
    act.messages.push_back(rig.put("q", std::string(base::kPayloadBytesMax, 'x')));
  }
  for (const auto action : {core::Action::priority, core::Action::clone, core::Action::retry}) {
    act.action = action;
    if (action == core::Action::clone) {
      core::Act cancel{.action = core::Action::cancel, .messages = act.messages};
      rig.submit(std::move(cancel));
      rig.pass(Millis{0});
    }
    const auto request = rig.submit(act);
    rig.run();
    EXPECT_FALSE(rig.answered(request)) << name_of(action);
    rig.pass(Millis{0});
    const auto done = rig.reply<core::ActDone>(request);
    ASSERT_EQ(std::ssize(done.items), n);
    for (const auto& item : done.items) EXPECT_TRUE(item.has_value()) << name_of(action);
  }
  EXPECT_EQ(rig.counters("q").in(State::que), 2 * n);
  const auto deleted = rig.submit(core::DeleteQueue{.queue = "q", .force = true});
  rig.pass(Millis{0});
  rig.reply<core::Ok>(deleted);
  rig.expect_sound();
}

INSTANTIATE_TEST_SUITE_P(Stores, LargeTest, testing::ValuesIn(all_stores()), factory_name);

}  // namespace
}  // namespace rq::store::contract
