// How attempts end, and the copies that they make.
#include <gtest/gtest.h>

#include "base/limits.h"
#include "store/contract/engine_rig.h"

namespace rq::store::contract {
namespace {

QueueSettings settings(auto change) {
  core::QueueSettings s;
  change(s);
  return s;
}

class EndTest : public EngineSuite {};
class CopyTest : public EngineSuite {};

// faults.md D5
TEST_P(EndTest, WhatItsWorkersDeathEndsIsALoss) {
  Rig rig{GetParam()};
  rig.define("q", settings([](auto& s) { s.losses = 2; }));
  const auto seq = rig.put("q");
  EXPECT_EQ(*rig.finish(rig.take_one("q"), Outcome::lost, "its worker died"), State::que);
  EXPECT_EQ(rig.show(seq).losses, 1);
  EXPECT_EQ(rig.attempts(seq).at(0).outcome, "lost");
  EXPECT_EQ(rig.attempts(seq).at(0).reason, "its worker died");
  EXPECT_EQ(*rig.finish(rig.take_one("q"), Outcome::lost, "its worker died"), State::err);
  EXPECT_EQ(rig.show(seq).mark, Mark::lost);
  EXPECT_EQ(rig.counters("q").losses, 2);
}

TEST_P(EndTest, WhatRanOutSaysWhy) {
  Rig rig{GetParam()};
  rig.define("q", settings([](auto& s) {
               s.lease = Millis{1'500};
               s.losses = 3;
             }));
  const auto seq = rig.put("q");
  const std::string ran_out = "the worker 'w' did not renew its lease within 1.5 s";
  ASSERT_TRUE(rig.finish(rig.take_one("q"), Outcome::release, "not now"));
  rig.take_one("q");
  rig.notices.clear();
  rig.pass(Millis{1'500});
  EXPECT_EQ(rig.attempts(seq).back().reason, ran_out) << "and not what was said before it";
  EXPECT_EQ(rig.show(seq).detail_or_default().progress, ran_out);
  ASSERT_FALSE(rig.notices.empty());
  EXPECT_EQ(rig.notices.back().text, ran_out);
  const Message m = rig.take_one("q");
  ASSERT_TRUE(rig.heartbeat({.token = Rig::token_of(m), .progress = "half way", .extend = false}));
  rig.pass(Millis{1'500});
  EXPECT_EQ(rig.attempts(seq).back().reason, ran_out + "; its last text: half way");
  rig.take_one("q");
  rig.pass(Millis{1'500});
  EXPECT_EQ(rig.show(seq).detail_or_default().progress,
            "lease lost 3 times in a row; the last: " + ran_out);
}

TEST_P(EndTest, WhatEndsWellTellsNothingOfALeaseThatWasLostBeforeIt) {
  Rig rig{GetParam()};
  rig.define("q", settings([](auto& s) { s.lease = seconds{1}; }));
  const auto seq = rig.put("q");
  rig.take_one("q");
  rig.pass(seconds{1});
  ASSERT_NE(rig.show(seq).detail_or_default().progress, "");
  ASSERT_TRUE(rig.finish(rig.take_one("q"), Outcome::done));
  EXPECT_EQ(rig.show(seq).detail_or_default().progress, "");
}

// faults.md B6
TEST_P(EndTest, AReasonReplacesTheLastTextAlsoWithNothing) {
  Rig rig{GetParam()};
  rig.define("q");
  struct Row {
    std::optional<std::string> reason;
    std::string text;
  };
  for (const Row& row : {Row{"all", "all"}, Row{"", ""}, Row{std::nullopt, "half"}}) {
    const auto seq = rig.put("q");
    const Message m = rig.take_one("q");
    ASSERT_TRUE(rig.heartbeat({.token = Rig::token_of(m), .progress = "half"}));
    ASSERT_TRUE(rig.finish(m, Outcome::done, row.reason));
    EXPECT_EQ(rig.show(seq).detail_or_default().progress, row.text);
    EXPECT_EQ(rig.attempts(seq).at(0).reason, row.text);
  }
  // What an attempt before it has said goes too.
  rig.define("again", settings([](auto& s) { s.retries = 5; }));
  const auto seq = rig.put("again");
  ASSERT_TRUE(rig.finish(rig.take_one("again"), Outcome::release, "not now"));
  ASSERT_TRUE(rig.finish(rig.take_one("again"), Outcome::done, ""));
  EXPECT_EQ(rig.show(seq).detail_or_default().progress, "");
}

// faults.md B10
TEST_P(CopyTest, KeepsTheFullIdOfTheFirstMessage) {
  Rig rig{GetParam()};
  for (const char* queue : {"a", "b", "c"}) rig.define(queue);
  const Message first = rig.show(rig.put("a"));
  const std::string full = "http://h:1/q/a/" + core::format_id(first);
  const auto copy_to = [&](const char* from, const char* to, const char* host) {
    const Message m = rig.take_one(from);
    const auto done = rig.ask<core::PutDone>(core::Duplicate{
        .token = Rig::token_of(m), .queue = to, .delay = seconds{0}, .key = {}, .host = host});
    return rig.show(done.seq).detail_or_default().orig_id;
  };
  EXPECT_EQ(copy_to("a", "b", "http://h:1/"), full);
  EXPECT_EQ(copy_to("b", "c", "http://other/"), full);
}

// faults.md B9
TEST_P(CopyTest, ARepeatWithItsKeyMakesNoSecondCopy) {
  Rig rig{GetParam()};
  rig.define("a");
  rig.define("b");
  rig.put("a");
  const Message m = rig.take_one("a");
  const auto copy = [&] {
    return rig.ask<core::PutDone>(core::Duplicate{
        .token = Rig::token_of(m), .queue = "b", .delay = seconds{0}, .key = "dup-1", .host = {}});
  };
  const auto first = copy();
  const auto second = copy();
  EXPECT_EQ(first.seq, second.seq);
  EXPECT_TRUE(second.repeated);
  EXPECT_EQ(rig.counters("b").in(State::que), 1);
}

INSTANTIATE_TEST_SUITE_P(Stores, EndTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, CopyTest, testing::ValuesIn(all_stores()), factory_name);

}  // namespace
}  // namespace rq::store::contract
