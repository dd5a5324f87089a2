// Somebody steps the wall clock while messages are leased and reserves wait: each lease and each
// wait keeps its length, everybody gets an answer, and nothing runs twice.
#include <gtest/gtest.h>

#include "pipeline/pipeline_rig.h"

namespace rq::pipeline::test {
namespace {

class ClockStep : public ::testing::Test {
 protected:
  ClockStep() {
    rig.start();
    rig.define("work", seconds{60});
    rig.define("empty", seconds{60});
    static_cast<void>(rig.ask<core::PutDone>(Rig::put_of("work")));
    auto got = rig.ask<core::Reserved>(Rig::reserve_of("work"));
    RQ_CHECK(got.messages.size() == 1);
    leased = std::move(got.messages.front());
  }

  // Time passes, the wall clock is stepped besides, and the engine, which looks at the clock each
  // second, has seen both.
  void pass(seconds time, seconds step = seconds{0}) {
    for (seconds left = time; left > seconds{0}; left -= seconds{1}) {
      machine.pass(seconds{1}, std::exchange(step, seconds{0}));
      look();
    }
    passed += time;
  }
  void look() { static_cast<void>(rig.ask<core::EngineStatsDone>(core::EngineStats{})); }
  void expect_leased() {
    const auto lease = rig.look_at_lease(leased);
    ASSERT_TRUE(lease) << lease.error().message;
    EXPECT_EQ(lease->until - rig.clock().now(), seconds{60} + rig.clock().tick() - passed);
    EXPECT_TRUE(rig.ask<core::Reserved>(Rig::reserve_of("work")).messages.empty())
        << "a leased message was given out a second time";
  }

  Machine machine;
  Rig rig{std::make_unique<Clock>(machine.clocks())};
  core::Message leased;
  seconds passed{0};  // since the lease began
};

const std::vector<seconds> kSteps{seconds{90}, hours{1}, -hours{1}, -seconds{90}, -hours{2}};

TEST_F(ClockStep, ALeaseKeepsItsLength) {
  for (const seconds step : kSteps) {
    SCOPED_TRACE(step.count());
    pass(seconds{1}, step);
    expect_leased();
  }
  pass(seconds{59} - passed);
  expect_leased();
  pass(seconds{2});
  const auto lease = rig.look_at_lease(leased);
  ASSERT_FALSE(lease);
  EXPECT_EQ(lease.error().code, Code::lease_lost);
  EXPECT_EQ(rig.ask<core::Reserved>(Rig::reserve_of("work")).messages.size(), 1U);
}

// faults.md B3, relative: where the next server goes on from is what the store knows of.
TEST(Alive, IsToldEachSecondAndAfterEachStepOnceTheStoreHasIt) {
  Machine machine;
  Rig rig{std::make_unique<Clock>(machine.clocks())};
  std::vector<nanoseconds> told;
  rig.pipeline().on_alive([&] { told.push_back(rig.clock().mark().time); });
  rig.start();
  const auto look = [&] { static_cast<void>(rig.ask<core::EngineStatsDone>(core::EngineStats{})); };
  look();
  const std::size_t first = told.size();
  ASSERT_GE(first, 1U);
  machine.pass(Millis{400});
  look();
  EXPECT_EQ(told.size(), first) << "within the second";
  machine.pass(Millis{700});
  look();
  EXPECT_EQ(told.size(), first + 1);
  machine.pass(Millis{300}, hours{1});
  look();
  ASSERT_EQ(told.size(), first + 2) << "at once after a step";
  EXPECT_EQ(told.back() - told[first], Millis{300} + hours{1});
}

TEST_F(ClockStep, ALeaseOutlivesAStopOfTheServer) {
  machine.pass(seconds{600});
  look();
  expect_leased();
  pass(seconds{60});
  EXPECT_EQ(rig.ask<core::Reserved>(Rig::reserve_of("work")).messages.size(), 0U);
  pass(seconds{1});
  EXPECT_FALSE(rig.look_at_lease(leased));
}

TEST_F(ClockStep, AWaitKeepsItsLengthAndIsAnswered) {
  const std::uint64_t short_wait = rig.wait_for("empty", seconds{30}, 1);
  const std::uint64_t long_wait = rig.wait_for("empty", seconds{50}, 1);
  for (const seconds step : kSteps) {
    SCOPED_TRACE(step.count());
    pass(seconds{1}, step);
    EXPECT_TRUE(rig.doors[1].rest().empty()) << "a wait ended before its time";
  }
  pass(seconds{29} - passed);
  EXPECT_TRUE(rig.doors[1].rest().empty()) << "a wait ended before its time";
  pass(seconds{2});
  Delivery first = rig.doors[1].next();
  EXPECT_EQ(first.ticket.request, short_wait);
  EXPECT_TRUE(Rig::as<core::Reserved>(std::move(first.reply)).messages.empty());

  // The other one is still in line for a message.
  const auto put = rig.ask<core::PutDone>(Rig::put_of("empty"));
  Delivery second = rig.doors[1].next();
  EXPECT_EQ(second.ticket.request, long_wait);
  const auto got = Rig::as<core::Reserved>(std::move(second.reply));
  ASSERT_EQ(got.messages.size(), 1U);
  EXPECT_EQ(got.messages.front().seq, put.seq);
}

TEST_F(ClockStep, WhatFallsDueByAStepReachesTheOneWhoWaits) {
  core::Put later = Rig::put_of("empty");
  later.delay = minutes{30};
  const auto put = rig.ask<core::PutDone>(std::move(later));
  const std::uint64_t waits = rig.wait_for("empty", seconds{50}, 1);
  pass(seconds{1}, hours{1});
  Delivery delivery = rig.doors[1].next();
  EXPECT_EQ(delivery.ticket.request, waits);
  const auto got = Rig::as<core::Reserved>(std::move(delivery.reply));
  ASSERT_EQ(got.messages.size(), 1U);
  EXPECT_EQ(got.messages.front().seq, put.seq);
  ASSERT_NE(got.messages.front().lease, nullptr);
  EXPECT_EQ(got.messages.front().lease->until - rig.clock().now(),
            seconds{60} + rig.clock().tick());
}

TEST_F(ClockStep, AWaitThatEndsWhileTheClockIsSteppedIsAnswered) {
  const std::uint64_t waits = rig.wait_for("empty", seconds{30}, 1);
  pass(seconds{31}, hours{1});
  Delivery delivery = rig.doors[1].next();
  EXPECT_EQ(delivery.ticket.request, waits);
  EXPECT_TRUE(Rig::as<core::Reserved>(std::move(delivery.reply)).messages.empty());
}

}  // namespace
}  // namespace rq::pipeline::test
