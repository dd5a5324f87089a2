#include "core/lifecycle.h"

#include <gtest/gtest.h>

namespace rq::core {
namespace {

TEST(Lifecycle, OnlyTheLineIsLeasedFrom) {
  for (int s = 0; s < kStateCount; ++s) {
    const auto state = static_cast<State>(s);
    EXPECT_EQ(next(state, Event::lease).has_value(), state == State::que) << name_of(state);
  }
}

TEST(Lifecycle, OnlyARunningMessageCanEndItsAttempt) {
  for (int s = 0; s < kStateCount; ++s) {
    const auto state = static_cast<State>(s);
    for (const Event event :
         {Event::done, Event::relayed, Event::err, Event::again, Event::later}) {
      EXPECT_EQ(next(state, event).has_value(), state == State::run)
          << name_of(state) << " " << name_of(event);
    }
  }
}

TEST(Lifecycle, AFinishedMessageLeavesOnlyByRetryAndErrAlsoByCancel) {
  for (int s = 0; s < kStateCount; ++s) {
    const auto state = static_cast<State>(s);
    if (!is_finished(state)) continue;
    for (int e = 0; e < kEventCount; ++e) {
      const auto event = static_cast<Event>(e);
      const bool legal = event == Event::retry || (event == Event::cancel && state == State::err);
      EXPECT_EQ(next(state, event).has_value(), legal) << name_of(state) << " " << name_of(event);
    }
  }
}

TEST(Lifecycle, EveryUnfinishedMessageCanBeCancelled) {
  for (int s = 0; s < kStateCount; ++s) {
    const auto state = static_cast<State>(s);
    if (is_finished(state)) continue;
    EXPECT_EQ(next(state, Event::cancel), State::cancelled) << name_of(state);
  }
}

TEST(Lifecycle, NoStateIsADeadEnd) {
  for (int s = 0; s < kStateCount; ++s) {
    int ways = 0;
    for (int e = 0; e < kEventCount; ++e) {
      const auto to = next(static_cast<State>(s), static_cast<Event>(e));
      if (to && *to != static_cast<State>(s)) ++ways;
    }
    EXPECT_GT(ways, 0) << name_of(static_cast<State>(s));
  }
}

TEST(Names, OfStatesMarksAndEventsAreUniqueAndReadBack) {
  for (int s = 0; s < kStateCount; ++s) {
    const auto state = static_cast<State>(s);
    EXPECT_EQ(state_of(name_of(state)), state);
  }
  for (int m = 0; m <= static_cast<int>(Mark::exhausted); ++m) {
    const auto mark = static_cast<Mark>(m);
    EXPECT_EQ(mark_of(name_of(mark)), mark);
  }
  EXPECT_EQ(state_of("running"), std::nullopt);
  EXPECT_EQ(mark_of(""), std::nullopt);
}

}  // namespace
}  // namespace rq::core
