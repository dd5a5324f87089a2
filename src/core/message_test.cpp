#include "core/message.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "core/command.h"

namespace rq::core {
namespace {

// From 1970 to the year 9999, to the millisecond.
constexpr std::int64_t kLastMs = 253'402'300'799'999;

RC_GTEST_PROP(MessageId, MakesTheRoundTrip, ()) {
  const auto seq = *rc::gen::inRange<std::int64_t>(1, INT64_MAX);
  const auto created = base::from_ms(*rc::gen::inRange<std::int64_t>(0, kLastMs));
  const auto parsed = parse_id(format_id(seq, created));
  RC_ASSERT(parsed.has_value());
  RC_ASSERT(parsed->seq == seq);
  RC_ASSERT(parsed->created == std::optional{created});
}

RC_GTEST_PROP(MessageId, GrowsWithTimeAsText, ()) {
  const auto a = *rc::gen::inRange<std::int64_t>(0, kLastMs);
  const auto b = *rc::gen::inRange<std::int64_t>(0, kLastMs);
  RC_PRE(a < b);
  RC_ASSERT(format_id(9, base::from_ms(a)) < format_id(1, base::from_ms(b)));
}

TEST(MessageId, LooksLikeRqsOwn) {
  EXPECT_EQ(format_id(11026582, base::from_ms(1795220514865)), "20261121.0021.54.865.11026582");
}

TEST(MessageId, TheNumberAloneIsEnough) {
  const auto parsed = parse_id("123");
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->seq, 123);
  EXPECT_EQ(parsed->created, std::nullopt);
}

TEST(MessageId, BadFormsAreRefusedWithTheValueAndTheRemedy) {
  for (const char* text : {"",
                           "0",
                           "-1",
                           "+1",
                           " 1",
                           "1 ",
                           "1x",
                           "x",
                           "9223372036854775808",
                           "20261121.0021.54.865",
                           "20261121.0021.54.865.",
                           "20261121.0021.54.865.0",
                           "20261121.0021.54.865.-5",
                           "20261121.0021.54.865.x",
                           "20261321.0021.54.865.1",
                           "20260230.0021.54.865.1",
                           "20261121.2421.54.865.1",
                           "20261121.0060.54.865.1",
                           "20261121.0021.60.865.1",
                           "20261121.-121.54.865.1",
                           "20261121.00-1.54.865.1",
                           "20261121.0021.-1.865.1",
                           "20261121.0021.54.-12.1",
                           "-0261121.0021.54.865.1",
                           "2026-121.0021.54.865.1",
                           "20261121-0021-54-865-1",
                           "20261121.0021.54.865.1.1"}) {
    const auto parsed = parse_id(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, base::Code::bad_value) << text;
    EXPECT_NE(parsed.error().message.find("'" + std::string{text} + "'"), std::string::npos)
        << parsed.error().message;
    EXPECT_FALSE(parsed.error().remedy.empty());
  }
}

RC_GTEST_PROP(Token, MakesTheRoundTrip, ()) {
  const Token token{.seq = *rc::gen::inRange<std::int64_t>(1, INT64_MAX),
                    .attempt = *rc::gen::inRange<std::int64_t>(1, INT64_MAX),
                    .boot = *rc::gen::inRange<std::int64_t>(1, INT64_MAX)};
  const auto parsed = parse_token(to_string(token));
  RC_ASSERT(parsed.has_value());
  RC_ASSERT(*parsed == token);
}

TEST(Token, BadFormsAreRefused) {
  for (const char* text :
       {"", "1", "1.1", "1.1.1.1", "1.1.", ".1.1", "0.1.1", "1.0.1", "1.1.0", "-1.1.1", "1.-1.1",
        "1.1.1 ", "a.b.c", "1..1", "9223372036854775808.1.1"}) {
    const auto parsed = parse_token(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, base::Code::bad_value) << text;
    EXPECT_FALSE(parsed.error().remedy.empty());
  }
}

TEST(Message, ACopyIsDeep) {
  Message m;
  m.seq = 5;
  m.payload = "p";
  m.order = -7;
  m.detail().key = "k";
  m.lease = std::make_unique<Lease>();
  m.lease->worker = "w";
  const Message copy = m.copy();
  m.detail().key = "other";
  m.lease->worker = "other";
  EXPECT_EQ(copy.seq, 5);
  EXPECT_EQ(copy.payload, "p");
  EXPECT_EQ(copy.order, -7);
  EXPECT_EQ(copy.details->key, "k");
  EXPECT_EQ(copy.lease->worker, "w");
  EXPECT_EQ(Message{}.detail_or_default(), Details{});
}

TEST(Names, OfOutcomesAndActionsReadBack) {
  for (int i = 0; i <= static_cast<int>(Outcome::stopped); ++i) {
    const auto outcome = static_cast<Outcome>(i);
    EXPECT_EQ(outcome_of(name_of(outcome)), outcome);
  }
  for (int i = 0; i <= static_cast<int>(Action::priority); ++i) {
    const auto action = static_cast<Action>(i);
    EXPECT_EQ(action_of(name_of(action)), action);
  }
  EXPECT_EQ(outcome_of("finished"), std::nullopt);
  EXPECT_EQ(action_of(""), std::nullopt);
}

}  // namespace
}  // namespace rq::core
