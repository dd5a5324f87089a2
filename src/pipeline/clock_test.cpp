#include "pipeline/clock.h"

#include <gtest/gtest.h>

namespace rq::pipeline {
namespace {

using base::Millis;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

// A machine whose clocks stand still until the test moves them.
struct Machine {
  nanoseconds boot = hours{5};
  nanoseconds wall = seconds{1'700'000'000};

  [[nodiscard]] MachineClocks clocks() {
    return {.since_boot = [this] { return boot; }, .wall = [this] { return wall; }};
  }
  void pass(nanoseconds time) {
    boot += time;
    wall += time;
  }
};

class ClockTest : public ::testing::Test {
 protected:
  // Of the server, since the machine's first moment.
  [[nodiscard]] static Millis since_start(base::Instant at) {
    return at - base::from_ms(1'700'000'000'000);
  }

  Machine machine;
  Clock clock{machine.clocks()};
};

TEST_F(ClockTest, StartsAtTheWallClock) {
  EXPECT_EQ(since_start(clock.now()), Millis{0});
  EXPECT_EQ(since_start(clock.read().now), Millis{0});
}

TEST_F(ClockTest, FollowsTimeThatPasses) {
  machine.pass(milliseconds{70});
  EXPECT_EQ(since_start(clock.read().now), Millis{70});
  machine.pass(hours{20});
  const Clock::Reading reading = clock.read();
  EXPECT_EQ(since_start(reading.now), Millis{70} + hours{20});
  EXPECT_FALSE(reading.step.has_value());
  EXPECT_EQ(clock.now(), reading.now);
}

TEST_F(ClockTest, AStopIsToldOnceWhetherTheWallClockWasSteppedOrNot) {
  machine.pass(kStoppedMin - milliseconds{1});
  EXPECT_EQ(clock.read().stopped, Millis{0});
  machine.pass(kStoppedMin);
  EXPECT_EQ(clock.read().stopped, kStoppedMin);
  EXPECT_EQ(clock.read().stopped, Millis{0});
  machine.pass(hours{1});
  machine.wall += seconds{90};
  const Clock::Reading reading = clock.read();
  EXPECT_EQ(reading.stopped, hours{1});
  EXPECT_EQ(reading.step, seconds{90});
}

TEST_F(ClockTest, AStepIsToldOnceAndFollowedAtOnce) {
  for (const Millis by : {Millis{hours{1}}, Millis{seconds{-90}}, kStepMin, -kStepMin}) {
    machine.wall += by;
    machine.pass(kLookEvery);
    const base::Instant before = clock.now();
    const Clock::Reading reading = clock.read();
    ASSERT_TRUE(reading.step.has_value()) << by.count();
    EXPECT_EQ(*reading.step, by);
    EXPECT_EQ(reading.now - before, kLookEvery + by);
    machine.pass(kLookEvery);
    EXPECT_FALSE(clock.read().step.has_value()) << by.count();
  }
}

TEST_F(ClockTest, ASmallDifferenceIsFollowedSlowlyAndIsNoStep) {
  machine.wall += kStepMin - Millis{1};
  const base::Instant start = clock.now();
  Millis ahead{0};
  for (int looks = 1; ahead < kStepMin - Millis{1}; ++looks) {
    ASSERT_LT(looks, 1'000) << "the server's clock never reached the wall clock";
    machine.pass(kLookEvery);
    const Clock::Reading reading = clock.read();
    ASSERT_FALSE(reading.step.has_value());
    const Millis now_ahead = reading.now - start - looks * kLookEvery;
    ASSERT_LE(now_ahead - ahead, kLookEvery / kSlewPart);
    ASSERT_GT(now_ahead, ahead);
    ahead = now_ahead;
  }
  EXPECT_EQ(ahead, kStepMin - Millis{1});
}

TEST_F(ClockTest, ASmallStepBackNeverMakesTimeRunBackwards) {
  machine.wall -= kStepMin - Millis{1};
  base::Instant last = clock.now();
  for (int i = 0; i < 500; ++i) {
    machine.pass(milliseconds{i % 3 == 0 ? 0 : 300});
    const Clock::Reading reading = clock.read();
    ASSERT_FALSE(reading.step.has_value());
    ASSERT_GE(reading.now, last);
    last = reading.now;
  }
  EXPECT_EQ(last, base::from_ms(machine.wall / milliseconds{1}));
}

TEST_F(ClockTest, AStepIsSeenAtTheNextLookAndNotBefore) {
  machine.wall += hours{1};
  machine.pass(kLookEvery - Millis{1});
  EXPECT_FALSE(clock.read().step.has_value());
  machine.pass(Millis{1});
  EXPECT_TRUE(clock.read().step.has_value());
}

TEST_F(ClockTest, SleepOfTheMachineIsTimeThatPasses) {
  machine.pass(hours{9});  // since_boot counts it
  const Clock::Reading reading = clock.read();
  EXPECT_FALSE(reading.step.has_value());
  EXPECT_EQ(since_start(reading.now), hours{9});
}

// faults.md A1, relative: a date that is wrong for a moment makes nothing due, and nothing too old.
TEST_F(ClockTest, AStepOfDaysIsFollowedWhenItStands) {
  machine.wall += hours{24 * 400};
  machine.pass(kLookEvery);
  const Clock::Reading first = clock.read();
  EXPECT_EQ(first.doubt, hours{24 * 400});
  EXPECT_FALSE(first.step.has_value());
  EXPECT_EQ(since_start(first.now), kLookEvery);
  machine.pass(seconds{1});
  EXPECT_FALSE(clock.read().doubt.has_value()) << "told once";
  EXPECT_EQ(clock.doubt(), hours{24 * 400});
  machine.wall -= hours{24 * 400};
  machine.pass(seconds{1});
  EXPECT_FALSE(clock.read().step.has_value()) << "nothing has happened";
  EXPECT_EQ(clock.doubt(), Millis{0});

  machine.wall -= kDoubtMin;
  for (Millis passed{}; passed < kDoubt; passed += seconds{4}) {
    machine.pass(seconds{4});
    const Clock::Reading reading = clock.read();
    ASSERT_EQ(reading.doubt.has_value(), passed == Millis{0});
    ASSERT_FALSE(reading.step.has_value());
  }
  machine.pass(seconds{4});
  EXPECT_EQ(clock.read().step, -kDoubtMin);
  machine.pass(seconds{4});
  EXPECT_FALSE(clock.read().step.has_value());
}

TEST_F(ClockTest, AnotherStepBeginsAnotherDoubt) {
  machine.wall += kDoubtMin;
  machine.pass(seconds{1});
  EXPECT_TRUE(clock.read().doubt.has_value());
  machine.pass(kDoubt - Millis{1});
  machine.wall += kDoubtMin;
  EXPECT_EQ(clock.read().doubt, 2 * kDoubtMin);
  machine.wall -= kDoubtMin + hours{1};  // 47 hours are believed
  machine.pass(seconds{1});
  EXPECT_EQ(clock.read().step, kDoubtMin - hours{1});
}

// faults.md A1, relative.
TEST_F(ClockTest, StepsThatFollowOneAnotherCountTogether) {
  const hours step = kDoubtMin - hours{1};
  machine.wall += step;
  machine.pass(seconds{1});
  EXPECT_EQ(clock.read().step, step);
  machine.wall += step;
  machine.pass(seconds{1});
  EXPECT_EQ(clock.read().doubt, step);
  machine.wall -= step;  // and back: nothing is apart
  machine.pass(seconds{1});
  EXPECT_FALSE(clock.read().step);
  EXPECT_EQ(clock.doubt(), Millis{0});
  for (Millis passed{}; passed < kDoubt; passed += seconds{4}) {
    machine.pass(seconds{4});
    static_cast<void>(clock.read());
  }
  machine.wall += step;
  machine.pass(seconds{1});
  EXPECT_EQ(clock.read().step, step) << "the first one has stood for long enough";
}

// faults.md A1, relative: a restart between two steps does not make the second one the first.
TEST_F(ClockTest, StepsCountTogetherAlsoWhenTheServerWasRestartedBetween) {
  const hours step = kDoubtMin - hours{1};
  machine.wall += step;
  machine.pass(seconds{1});
  EXPECT_EQ(clock.read().step, step);
  const Clock::Mark before = clock.mark();
  machine.pass(seconds{20});
  machine.wall += step;
  for (const bool same_run : {true, false}) {
    Clock next{machine.clocks()};
    next.go_on_from(before, same_run);
    const Clock::Reading reading = next.read();
    EXPECT_EQ(reading.step.has_value(), false) << same_run;
    EXPECT_EQ(reading.doubt.has_value(), same_run) << "else a clock that went on is believed";
  }
  machine.wall -= step;
  machine.pass(kDoubt);
  machine.wall += step;
  Clock late{machine.clocks()};
  late.go_on_from(before, true);
  EXPECT_EQ(late.read().step, step) << "the first one has stood for long enough";
}

// faults.md B3, relative: leases keep their length while no server runs.
TEST_F(ClockTest, GoesOnFromTheServerBefore) {
  machine.pass(seconds{3});
  const Clock::Mark before = clock.mark();
  machine.pass(seconds{70});
  machine.wall += hours{1};
  Clock next{machine.clocks()};
  next.go_on_from(before, true);
  const Clock::Reading reading = next.read();
  EXPECT_EQ(reading.stopped, seconds{70});
  EXPECT_EQ(reading.step, hours{1});
  EXPECT_EQ(since_start(reading.now), seconds{73} + hours{1});
  machine.pass(seconds{1});
  EXPECT_EQ(next.read().stopped, Millis{0});
}

TEST_F(ClockTest, GoesOnFromAServerBeforeTheMachineWasStarted) {
  const Clock::Mark before = clock.mark();
  machine.boot = seconds{20};
  machine.wall += hours{24 * 14};
  Clock next{machine.clocks()};
  next.go_on_from(before, false);
  const Clock::Reading reading = next.read();
  EXPECT_EQ(reading.stopped, hours{24 * 14});
  EXPECT_FALSE(reading.step || reading.doubt);
  EXPECT_EQ(since_start(reading.now), hours{24 * 14});
  // A machine that has forgotten the date.
  machine.wall = hours{1};
  Clock lost{machine.clocks()};
  lost.go_on_from(before, false);
  const Clock::Reading doubtful = lost.read();
  EXPECT_EQ(doubtful.stopped, Millis{0});
  EXPECT_TRUE(doubtful.doubt.has_value());
  EXPECT_EQ(since_start(doubtful.now), Millis{0});
}

// faults.md E5: what is cut off of two clocks is no difference between them.
TEST_F(ClockTest, PartsOfAMillisecondAreNotSlewed) {
  const base::Instant start = clock.now();
  machine.wall += nanoseconds{300'000};
  machine.boot += nanoseconds{800'000};
  for (int i = 1; i <= 100; ++i) {
    machine.pass(kLookEvery);
    const Millis off = clock.read().now - start - i * kLookEvery;
    ASSERT_GE(off, Millis{0}) << i;
    ASSERT_LE(off, Millis{1}) << i;
  }
}

// faults.md E5: a time counts from an instant that is not before the true one.
TEST_F(ClockTest, AWaitBeginsNotBeforeTheTrueTime) {
  machine.pass(nanoseconds{70'900'000});
  EXPECT_EQ(since_start(clock.now()), Millis{0});  // nobody has read it
  EXPECT_EQ(since_start(clock.live()), Millis{70});
  EXPECT_EQ(since_start(clock.ahead()), Millis{71});
}

TEST(ManualClock, MovesOnlyWhenItIsTold) {
  Clock clock{Clock::Mode::manual, base::from_ms(1'000)};
  EXPECT_EQ(clock.read().now, base::from_ms(1'000));
  EXPECT_EQ(clock.advance(Millis{500}), base::from_ms(1'500));
  const Clock::Reading reading = clock.read();
  EXPECT_EQ(reading.now, base::from_ms(1'500));
  EXPECT_FALSE(reading.step.has_value());
  EXPECT_EQ(clock.ahead(), base::from_ms(1'500));
}

TEST(MachineClock, TellsTheTimeOfTheMachine) {
  const Clock clock{Clock::Mode::wall};
  const auto apart =
      std::chrono::system_clock::now().time_since_epoch() - clock.now().time_since_epoch();
  EXPECT_LT(std::chrono::abs(apart), std::chrono::minutes{5});
}

}  // namespace
}  // namespace rq::pipeline
