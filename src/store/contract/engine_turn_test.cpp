// The order of one connection's commands and answers: what waits behind a reserve that waits
// (core::Ticket::in_turn).
#include <gtest/gtest.h>

#include <cstddef>
#include <utility>
#include <vector>

#include "store/contract/engine_rig.h"

namespace rq::store::contract {
namespace {

using core::Command;
using std::chrono::seconds;

class InTurn : public EngineSuite {
 protected:
  void SetUp() override { rig.define("q"); }
  static core::Reserve reserve(std::int64_t limit = 1, base::Instant until = base::Instant::max()) {
    core::Reserve r = Rig::reserve_of({{.queue = "q"}}, limit);
    r.each = true;
    r.wait_until = until;
    r.end = core::LeaseEnd::connection;
    return r;
  }
  std::uint64_t submit(Command command, std::uint64_t connection = 5) {
    return rig.submit_in_turn(std::move(command), connection);
  }
  std::vector<core::Seq> got(std::uint64_t request) {
    std::vector<core::Seq> seqs;
    for (const core::Message& m : rig.reply<core::Reserved>(request).messages) {
      seqs.push_back(m.seq);
    }
    return seqs;
  }

  Rig rig{GetParam()};
};

TEST_P(InTurn, WhatFollowsAReserveThatWaitsIsDoneAfterIt) {
  const auto waits = submit(reserve());
  const auto put = submit(Rig::put_of("q"));
  const auto other = submit(Rig::put_of("q"), 6);
  rig.run();
  // The put of the other connection came later, and was done first.
  const auto theirs = rig.reply<core::PutDone>(other).seq;
  EXPECT_EQ(got(waits), std::vector{theirs});
  EXPECT_GT(rig.reply<core::PutDone>(put).seq, theirs);
}

TEST_P(InTurn, ALaterBatchIsHeldToo) {
  const auto first = submit(reserve());
  rig.run();
  const auto second = submit(reserve());
  const auto put = submit(Rig::put_of("q"));
  rig.run();
  EXPECT_FALSE(rig.answered(put));
  const auto a = rig.put("q");
  EXPECT_EQ(got(first), std::vector{a});
  EXPECT_FALSE(rig.answered(put)) << "the second one waits now";
  const auto b = rig.put("q");
  EXPECT_EQ(got(second), std::vector{b});
  EXPECT_TRUE(rig.answered(put));
}

TEST_P(InTurn, ManyReservesAreAnsweredAsTheyGetSomething) {
  const auto many = submit(reserve(3));
  rig.skip_requests(2);
  const auto put = submit(Rig::put_of("q"));
  rig.run();
  const auto a = rig.put("q");
  EXPECT_EQ(got(many), std::vector{a});
  const auto b = rig.put("q");
  const auto c = rig.put("q");
  EXPECT_EQ(got(many + 1), std::vector{b});
  EXPECT_EQ(got(many + 2), std::vector{c});
  EXPECT_TRUE(rig.answered(put));
}

TEST_P(InTurn, ATimeToWaitBeginsWhenItsTurnHasCome) {
  const auto first = submit(reserve());
  const auto second = submit(reserve(1, rig.now + seconds{5}));
  rig.run();
  rig.pass(seconds{60});
  EXPECT_FALSE(rig.answered(second));
  rig.put("q");
  EXPECT_TRUE(rig.answered(first));
  rig.pass(seconds{4});
  EXPECT_FALSE(rig.answered(second));
  rig.pass(seconds{1});
  EXPECT_TRUE(got(second).empty());
}

TEST_P(InTurn, AWaitEndsBeforeALeaseOfTheConnectionDoes) {
  core::Put put = Rig::put_of("q");
  put.message.lease_length = seconds{10};
  rig.ask<core::PutDone>(std::move(put));
  const auto holds = submit(reserve());
  core::Reserve careful = reserve();
  careful.lease_guard = seconds{1};
  const auto waits = submit(std::move(careful));
  const auto behind = submit(core::EngineStats{});
  rig.run();
  EXPECT_EQ(got(holds).size(), 1U);
  rig.pass(seconds{9} - Millis{1});
  EXPECT_FALSE(rig.answered(waits));
  rig.pass(Millis{1});
  EXPECT_TRUE(got(waits).empty());
  EXPECT_TRUE(rig.answered(behind));
}

TEST_P(InTurn, WhoStopsWaitingGetsWhatIsBehind) {
  const auto first = submit(reserve());
  const auto second = submit(reserve());
  const auto put = submit(Rig::put_of("q"));
  const auto third = submit(reserve());
  rig.run();
  rig.submit(core::StopWaiting{}, 5);
  rig.run();
  EXPECT_TRUE(got(first).empty());
  EXPECT_TRUE(got(second).empty());
  EXPECT_EQ(got(third), std::vector{rig.reply<core::PutDone>(put).seq});
}

TEST_P(InTurn, WithItsConnectionAllIsGone) {
  submit(reserve());
  const auto put = submit(Rig::put_of("q"));
  rig.run();
  rig.submit(core::Disconnect{}, 5);
  rig.run();
  rig.put("q");
  EXPECT_FALSE(rig.answered(put));
  EXPECT_EQ(rig.counters("q").puts, 1);
}

INSTANTIATE_TEST_SUITE_P(Stores, InTurn, testing::ValuesIn(all_stores()), factory_name);

}  // namespace
}  // namespace rq::store::contract
