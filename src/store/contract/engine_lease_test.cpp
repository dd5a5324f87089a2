// Leasing: who gets what, for how long, and how an attempt ends.
#include <gtest/gtest.h>

#include "base/limits.h"
#include "store/contract/engine_rig.h"

namespace rq::store::contract {
namespace {

class ReserveTest : public EngineSuite {};
class LeaseTest : public EngineSuite {};
class TokenTest : public EngineSuite {};
class HeartbeatTest : public EngineSuite {};
class FinishTest : public EngineSuite {};
class DuplicateTest : public EngineSuite {};
class ConnectionLeaseTest : public EngineSuite {};
class ClockStepTest : public EngineSuite {};

using core::Action;
using core::Mark;
using core::Message;
using core::Outcome;
using core::Reserved;

core::QueueSettings settings(auto change) {
  core::QueueSettings s;
  change(s);
  return s;
}

TEST_P(ReserveTest, GivesByPriorityAndThenByArrival) {
  Rig rig{GetParam()};
  rig.define("q");
  const auto low = rig.put("q", std::int64_t{-1});
  const auto first = rig.put("q", std::int64_t{0});
  const auto second = rig.put("q", std::int64_t{0});
  const auto high = rig.put("q", std::int64_t{5});
  std::vector<core::Seq> got;
  for (const Message& m : rig.take("q", 10)) got.push_back(m.seq);
  EXPECT_EQ(got, (std::vector<core::Seq>{high, first, second, low}));
}

TEST_P(ReserveTest, TakesTheBestOverAllQueuesWithinTheirLimits) {
  Rig rig{GetParam()};
  for (const char* name : {"a", "b", "c"}) rig.define(name);
  const auto a1 = rig.put("a", std::int64_t{0});
  const auto b1 = rig.put("b", std::int64_t{0});
  const auto b2 = rig.put("b", std::int64_t{9});
  const auto b3 = rig.put("b", std::int64_t{8});
  const auto a2 = rig.put("a", std::int64_t{1});
  const auto reserved = rig.ask<Reserved>(
      Rig::reserve_of({{.queue = "a"}, {.queue = "b", .limit = 2}, {.queue = "c"}}, 4));
  std::vector<core::Seq> got;
  for (const Message& m : reserved.messages) got.push_back(m.seq);
  EXPECT_EQ(got, (std::vector<core::Seq>{b2, b3, a2, a1}));
  EXPECT_EQ(rig.state(b1), State::que) << "two of b, and no more";
}

// The second mention once kept the key of a message that the first had taken.
TEST_P(ReserveTest, AQueueNamedTwiceIsOneQueue) {
  Rig rig{GetParam()};
  rig.define("q");
  rig.put("q");
  const auto got = rig.ask<Reserved>(Rig::reserve_of({{.queue = "q"}, {.queue = "q"}}, 5));
  EXPECT_EQ(got.messages.size(), 1U);
  const auto request = rig.submit(rig.waiting_reserve({{.queue = "q"}, {.queue = "q"}}));
  rig.run();
  EXPECT_EQ(rig.queue("q").waiting_reserves, 1);
  rig.put("q");
  EXPECT_EQ(rig.reply<Reserved>(request).messages.size(), 1U);
}

TEST_P(ReserveTest, OfNothingIsRefusedAndBlocksNobody) {
  Rig rig{GetParam()};
  rig.define("q");
  for (const std::int64_t limit : {std::int64_t{0}, std::int64_t{-1}}) {
    core::Reserve none = rig.waiting_reserve({{.queue = "q"}});
    none.limit = limit;
    EXPECT_EQ(rig.refused(std::move(none)).code, Code::bad_value);
  }
  core::Reserve too_short = Rig::reserve_of({{.queue = "q"}});
  too_short.lease = Millis{0};
  EXPECT_EQ(rig.refused(std::move(too_short)).code, Code::bad_value);
}

TEST_P(ReserveTest, OfAQueueThatIsNotThereIsRefused) {
  Rig rig{GetParam()};
  EXPECT_EQ(rig.refused(Rig::reserve_of({{.queue = "nowhere"}})).code, Code::not_found);
}

TEST_P(ReserveTest, AnswersEmptyAtOnceWhenItDoesNotWait) {
  Rig rig{GetParam()};
  rig.define("q");
  EXPECT_TRUE(rig.take("q").empty());
  core::Reserve past = rig.waiting_reserve({{.queue = "q"}}, rig.now);
  EXPECT_TRUE(rig.ask<Reserved>(std::move(past)).messages.empty());
}

TEST_P(ReserveTest, WaitsInOrderOfArrivalOverAllItsQueues) {
  Rig rig{GetParam()};
  rig.define("a");
  rig.define("b");
  const auto first = rig.submit(rig.waiting_reserve({{.queue = "a"}, {.queue = "b"}}));
  const auto second = rig.submit(rig.waiting_reserve({{.queue = "b"}}));
  const auto third = rig.submit(rig.waiting_reserve({{.queue = "b"}, {.queue = "a"}}));
  rig.run();
  EXPECT_FALSE(rig.answered(first));
  const auto b = rig.put("b");
  ASSERT_TRUE(rig.answered(first));
  EXPECT_EQ(rig.reply<Reserved>(first).messages.at(0).seq, b);
  const auto a = rig.put("a");
  EXPECT_FALSE(rig.answered(second)) << "it does not watch a";
  EXPECT_EQ(rig.reply<Reserved>(third).messages.at(0).seq, a);
  rig.put("b");
  EXPECT_TRUE(rig.answered(second));
}

TEST_P(ReserveTest, ManyThatWaitAreServedFirstComeFirstByOneBatch) {
  Rig rig{GetParam()};
  rig.define("q");
  std::vector<std::uint64_t> waiting;
  for (int i = 0; i < 20; ++i) {
    waiting.push_back(
        rig.submit(rig.waiting_reserve({{.queue = "q"}}), static_cast<std::uint64_t>(i)));
  }
  rig.run();
  core::PutMany many;
  for (int i = 0; i < 15; ++i) many.puts.push_back(Rig::put_of("q"));
  rig.served.clear();
  rig.ask<core::PutManyDone>(std::move(many));
  std::vector<std::uint64_t> served;
  for (const auto request : rig.served) {
    if (request <= waiting.back()) served.push_back(request);
  }
  EXPECT_EQ(served, std::vector<std::uint64_t>(waiting.begin(), waiting.begin() + 15));
  EXPECT_EQ(rig.queue("q").waiting_reserves, 5);
}

// When several queues got something at once, the queue that was looked at first once decided who
// was served, and with what.
TEST_P(ReserveTest, ThatCameFirstIsServedFirstAlsoWhenManyQueuesFillAtOnce) {
  Rig rig{GetParam()};
  rig.define("a");
  rig.define("b");
  const auto first = rig.submit(rig.waiting_reserve({{.queue = "b"}}));
  const auto second = rig.submit(rig.waiting_reserve({{.queue = "a"}, {.queue = "b"}}));
  rig.run();
  core::PutMany many;
  many.puts.push_back(Rig::put_of("a"));
  many.puts.push_back(Rig::put_of("b"));
  many.puts.back().priority = 9;
  rig.ask<core::PutManyDone>(std::move(many));
  ASSERT_TRUE(rig.answered(first)) << "there is something for both";
  EXPECT_EQ(rig.reply<Reserved>(first).messages.at(0).priority, 9);
  EXPECT_EQ(rig.reply<Reserved>(second).messages.at(0).priority, 0);
}

TEST_P(ReserveTest, WaitsNoLongerThanItSaid) {
  Rig rig{GetParam()};
  rig.define("q");
  const auto request = rig.submit(rig.waiting_reserve({{.queue = "q"}}, rig.now + seconds{5}));
  rig.run();
  rig.pass(Millis{4'999});
  EXPECT_FALSE(rig.answered(request));
  rig.pass(Millis{1});
  EXPECT_TRUE(rig.reply<Reserved>(request).messages.empty());
  EXPECT_EQ(rig.queue("q").waiting_reserves, 0);
}

TEST_P(ReserveTest, WhatIsDueWhenTheWaitEndsIsStillGiven) {
  Rig rig{GetParam()};
  rig.define("q");
  core::Put p = Rig::put_of("q");
  p.delay = seconds{5};
  rig.ask<core::PutDone>(std::move(p));
  const auto request = rig.submit(rig.waiting_reserve({{.queue = "q"}}, rig.now + seconds{5}));
  rig.run();
  rig.pass(seconds{5});
  EXPECT_EQ(rig.reply<Reserved>(request).messages.size(), 1U);
}

TEST_P(ReserveTest, ThatWaitsIsForgottenWithItsConnection) {
  Rig rig{GetParam()};
  rig.define("q");
  const auto gone = rig.submit(rig.waiting_reserve({{.queue = "q"}}), 5);
  rig.run();
  const auto disconnect = rig.submit(core::Disconnect{}, 5);
  rig.run();
  EXPECT_FALSE(rig.answered(disconnect)) << "nobody is there to hear it";
  const auto seq = rig.put("q");
  EXPECT_FALSE(rig.answered(gone));
  EXPECT_EQ(rig.state(seq), State::que);
}

TEST_P(ReserveTest, LeaseLengthComesFromTheCallThenTheMessageThenTheQueue) {
  Rig rig{GetParam()};
  rig.define("q", settings([](auto& s) { s.lease = seconds{30}; }));
  rig.put("q");
  core::Put own = Rig::put_of("q");
  own.message.lease_length = seconds{20};
  rig.ask<core::PutDone>(std::move(own));
  core::Put both = Rig::put_of("q");
  both.message.lease_length = seconds{20};
  rig.ask<core::PutDone>(std::move(both));
  EXPECT_EQ(rig.take_one("q").lease->until, rig.now + seconds{30});
  EXPECT_EQ(rig.take_one("q").lease->until, rig.now + seconds{20});
  core::Reserve r = Rig::reserve_of({{.queue = "q"}});
  r.lease = seconds{10};
  EXPECT_EQ(rig.ask<Reserved>(std::move(r)).messages.at(0).lease->until, rig.now + seconds{10});
}

TEST_P(ReserveTest, AFolderIsNamedOnceAndKept) {
  Rig rig{GetParam()};
  rig.define("q");
  const auto seq = rig.put("q");
  core::Reserve r = Rig::reserve_of({{.queue = "q"}});
  r.folder = true;
  const auto m = std::move(rig.ask<Reserved>(r).messages.at(0));
  EXPECT_EQ(m.details->folder, "queue/q/" + core::format_id(m));
  ASSERT_TRUE(rig.finish(m, Outcome::done));
  ASSERT_TRUE(rig.act(Action::remove, seq));
  auto reader = rig.home().reader();
  auto waste = reader->waste({}, 10);
  ASSERT_TRUE(waste);
  EXPECT_EQ(*waste, std::vector<std::string>{m.details->folder});
  rig.ask<core::Ok>(core::ForgetWaste{.folders = *waste});
  EXPECT_TRUE(reader->waste({}, 10)->empty());
}

TEST_P(ReserveTest, OfOneMessageTakesItFromTheLineTheScheduleOrTheHeld) {
  Rig rig{GetParam()};
  rig.define("q");
  const auto only = [&](core::Seq seq) {
    core::Reserve r;
    r.only = seq;
    return rig.submit(std::move(r));
  };
  rig.put("q");
  const auto second = rig.put("q");
  auto request = only(second);
  rig.run();
  const auto m = std::move(rig.reply<Reserved>(request).messages.at(0));
  EXPECT_EQ(m.seq, second);
  request = only(second);
  rig.run();
  EXPECT_EQ(rig.reply<Error>(request).code, Code::wrong_state) << "it is leased";

  core::Put later = Rig::put_of("q");
  later.delay = seconds{100};
  const auto scheduled = rig.ask<core::PutDone>(std::move(later)).seq;
  request = only(scheduled);
  rig.run();
  EXPECT_EQ(rig.reply<Reserved>(request).messages.size(), 1U);

  ASSERT_TRUE(rig.finish(m, Outcome::hold));
  request = only(second);
  rig.run();
  const auto again = std::move(rig.reply<Reserved>(request).messages.at(0));
  EXPECT_EQ(again.mark, Mark::none);
  EXPECT_EQ(again.finished, base::Instant{}) << "it is not finished while it runs";
  EXPECT_EQ(rig.counters("q").held, 0);
  request = only(999);
  rig.run();
  EXPECT_EQ(rig.reply<Error>(request).code, Code::not_found);
  rig.expect_sound();
}

// A held message that is leased by its number was once still filed as finished, and retention
// took it away from its worker.
TEST_P(ReserveTest, OfAHeldMessageTakesItOutOfRetention) {
  Rig rig{GetParam()};
  rig.define("q", settings([](auto& s) {
               s.keep_done.age = seconds{10};
               s.keep_err.age = seconds{10};
               s.lease = seconds{1000};
             }));
  const auto other = rig.put("q");
  ASSERT_TRUE(rig.finish(rig.take_one("q"), Outcome::done));
  const auto seq = rig.put("q");
  ASSERT_TRUE(rig.finish(rig.take_one("q"), Outcome::hold));
  core::Reserve r;
  r.only = seq;
  const auto m = std::move(rig.ask<Reserved>(std::move(r)).messages.at(0));
  rig.pass(seconds{100});
  EXPECT_FALSE(rig.exists(other));
  ASSERT_TRUE(rig.exists(seq));
  EXPECT_EQ(rig.state(seq), State::run);
  ASSERT_TRUE(rig.finish(m, Outcome::done));
  rig.expect_sound();
}

TEST_P(LeaseTest, LostGoesBackToTheLineWithItsHistory) {
  Rig rig{GetParam()};
  rig.define("q", settings([](auto& s) { s.lease = seconds{30}; }));
  const auto seq = rig.put("q");
  const Message first = rig.take_one("q");
  EXPECT_EQ(first.lease->attempt, 1);
  rig.pass(Millis{29'999});
  EXPECT_EQ(rig.state(seq), State::run);
  rig.pass(Millis{1});
  const Message back = rig.show(seq);
  EXPECT_EQ(back.state, State::que);
  EXPECT_EQ(back.attempts, 1);
  EXPECT_EQ(back.losses, 1);
  EXPECT_EQ(back.failures, 0) << "a lost lease is no failure of the work";
  EXPECT_EQ(rig.counters("q").losses, 1);
  const auto attempts = rig.attempts(seq);
  ASSERT_EQ(attempts.size(), 1U);
  EXPECT_EQ(attempts[0].outcome, "lost");
  EXPECT_EQ(attempts[0].worker, "w");
  EXPECT_EQ(attempts[0].ended, rig.now);
  EXPECT_EQ(rig.take_one("q").lease->attempt, 2);
}

TEST_P(LeaseTest, LostTooOftenInARowEndsInErr) {
  Rig rig{GetParam()};
  rig.define("q", settings([](auto& s) {
               s.lease = seconds{1};
               s.losses = 3;
             }));
  const auto seq = rig.put("q");
  for (int i = 0; i < 2; ++i) {
    rig.take_one("q");
    rig.pass(seconds{1});
    EXPECT_EQ(rig.state(seq), State::que);
  }
  rig.take_one("q");
  rig.pass(seconds{1});
  const Message m = rig.show(seq);
  EXPECT_EQ(m.state, State::err);
  EXPECT_EQ(m.mark, Mark::lost);
  EXPECT_EQ(rig.counters("q").errs, 1);
}

TEST_P(LeaseTest, AnOrderlyEndForgetsTheLosses) {
  Rig rig{GetParam()};
  rig.define("q", settings([](auto& s) {
               s.lease = seconds{1};
               s.losses = 2;
               s.retries = 5;
               s.backoff = {
                   .kind = core::BackoffKind::fixed, .base = Millis{0}, .jitter_percent = 0};
             }));
  const auto seq = rig.put("q");
  rig.take_one("q");
  rig.pass(seconds{1});
  ASSERT_TRUE(rig.finish(rig.take_one("q"), Outcome::failed));
  rig.take_one("q");
  rig.pass(seconds{1});
  EXPECT_EQ(rig.state(seq), State::que);
}

TEST_P(LeaseTest, ZeroLossesMeansAnyNumber) {
  Rig rig{GetParam()};
  rig.define("q", settings([](auto& s) {
               s.lease = seconds{1};
               s.losses = 0;
             }));
  const auto seq = rig.put("q");
  for (int i = 0; i < 50; ++i) {
    rig.take_one("q");
    rig.pass(seconds{1});
  }
  EXPECT_EQ(rig.state(seq), State::que);
  EXPECT_EQ(rig.show(seq).losses, 50);
}

TEST_P(TokenTest, OfAnEarlierAttemptIsRefused) {
  Rig rig{GetParam()};
  rig.define("q", settings([](auto& s) { s.lease = seconds{1}; }));
  const auto seq = rig.put("q");
  const Message old = rig.take_one("q");
  rig.pass(seconds{1});
  const Message live = rig.take_one("q");
  const auto late = rig.finish(old, Outcome::done);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Code::lease_lost);
  EXPECT_NE(late.error().message.find(core::to_string(Rig::token_of(old))), std::string::npos);
  EXPECT_EQ(rig.heartbeat({.token = Rig::token_of(old)}).error().code, Code::lease_lost);
  EXPECT_EQ(rig.refused(core::Duplicate{.token = Rig::token_of(old), .queue = "q"}).code,
            Code::lease_lost);
  EXPECT_EQ(rig.state(seq), State::run);
  EXPECT_EQ(*rig.finish(live, Outcome::done), State::done);
}

TEST_P(TokenTest, StaysGoodOverARestartOfTheServer) {
  Rig rig{GetParam()};
  rig.define("q");
  const auto seq = rig.put("q");
  const Message m = rig.take_one("q");
  rig.crash();
  EXPECT_EQ(rig.state(seq), State::run);
  ASSERT_TRUE(rig.heartbeat({.token = Rig::token_of(m)}));
  EXPECT_EQ(*rig.finish(m, Outcome::done), State::done);
}

// The lease was never synced: after a loss of power the message waits again, and its attempt number
// is given a second time, by a server with another boot number.
TEST_P(TokenTest, OfAnEarlierBootDoesNotFitALaterLeaseOfTheSameNumber) {
  Rig rig{GetParam()};
  rig.define("q");
  rig.put("q");
  Message m = rig.take_one("q");
  rig.reopen();
  Token forged = Rig::token_of(m);
  ++forged.boot;
  EXPECT_EQ(rig.finish({.token = forged}).error().code, Code::lease_lost);
  forged.boot -= 2;
  EXPECT_EQ(rig.finish({.token = forged}).error().code, Code::lease_lost);
}

TEST_P(TokenTest, OfAMessageThatIsGoneIsRefused) {
  Rig rig{GetParam()};
  EXPECT_EQ(rig.finish({.token = {.seq = 77, .attempt = 1, .boot = 1}}).error().code,
            Code::lease_lost);
}

TEST_P(HeartbeatTest, ExtendsButNeverShortens) {
  Rig rig{GetParam()};
  rig.define("q", settings([](auto& s) { s.lease = seconds{100}; }));
  rig.put("q");
  const Message m = rig.take_one("q");
  const auto until = m.lease->until;
  rig.pass(seconds{50});
  EXPECT_EQ(rig.heartbeat({.token = Rig::token_of(m), .lease = seconds{1}})->until, until);
  EXPECT_EQ(rig.heartbeat({.token = Rig::token_of(m), .lease = seconds{80}})->until,
            rig.now + seconds{80});
  rig.pass(seconds{10});
  EXPECT_EQ(rig.heartbeat({.token = Rig::token_of(m)})->until, rig.now + seconds{80})
      << "the new length holds";
  const auto bad = rig.heartbeat({.token = Rig::token_of(m), .lease = Millis{1}});
  EXPECT_EQ(bad.error().code, Code::bad_value);
}

TEST_P(HeartbeatTest, WithProgressOnlyDoesNotExtend) {
  Rig rig{GetParam()};
  rig.define("q", settings([](auto& s) { s.lease = seconds{100}; }));
  const auto seq = rig.put("q");
  const Message m = rig.take_one("q");
  rig.pass(seconds{50});
  rig.notices.clear();
  const auto beat =
      rig.heartbeat({.token = Rig::token_of(m), .progress = "half way", .extend = false});
  EXPECT_EQ(beat->until, m.lease->until);
  ASSERT_EQ(rig.notices.size(), 1U);
  EXPECT_EQ(rig.notices[0].what, core::Notice::What::progress);
  EXPECT_EQ(rig.notices[0].text, "half way");
  EXPECT_EQ(rig.show(seq).lease->progress, "half way");
  rig.pass(seconds{50});
  EXPECT_EQ(rig.show(seq).detail_or_default().progress,
            "the worker 'w' did not renew its lease within 100 s; its last text: half way")
      << "the last word of a lost attempt stays with the message";
}

TEST_P(FinishTest, DoneKeepsResultReasonAndPostMortem) {
  Rig rig{GetParam()};
  rig.define("q");
  const auto seq = rig.put("q");
  const Message m = rig.take_one("q");
  rig.pass(seconds{2});
  EXPECT_EQ(*rig.finish({.token = Rig::token_of(m),
                         .reason = "all well",
                         .result = "42",
                         .post_mortem = R"({"exit_code":0})"}),
            State::done);
  const Message after = rig.show(seq);
  EXPECT_EQ(after.state, State::done);
  EXPECT_EQ(after.finished, rig.now);
  EXPECT_EQ(after.details->result, "42");
  EXPECT_EQ(after.details->progress, "all well");
  const auto attempts = rig.attempts(seq);
  ASSERT_EQ(attempts.size(), 1U);
  EXPECT_EQ(attempts[0].outcome, "done");
  EXPECT_EQ(attempts[0].post_mortem, R"({"exit_code":0})");
  EXPECT_EQ(rig.counters("q").dones, 1);
  EXPECT_EQ(rig.finish(m, Outcome::done).error().code, Code::lease_lost) << "once is enough";
}

TEST_P(FinishTest, RelayedCountsAsDone) {
  Rig rig{GetParam()};
  rig.define("q");
  rig.put("q");
  EXPECT_EQ(*rig.finish(rig.take_one("q"), Outcome::relayed), State::relayed);
  EXPECT_EQ(rig.counters("q").dones, 1);
  EXPECT_EQ(rig.counters("q").in(State::relayed), 1);
}

TEST_P(FinishTest, ErrIsFinalWhateverTheRetries) {
  Rig rig{GetParam()};
  rig.define("q", settings([](auto& s) { s.retries = 5; }));
  const auto seq = rig.put("q");
  EXPECT_EQ(*rig.finish(rig.take_one("q"), Outcome::err, "no such file"), State::err);
  EXPECT_EQ(rig.show(seq).mark, Mark::failed);
  EXPECT_EQ(rig.show(seq).details->progress, "no such file");
}

TEST_P(FinishTest, FailedRetriesWithBackoffAndThenIsExhausted) {
  Rig rig{GetParam()};
  rig.define("q", settings([](auto& s) {
               s.retries = 2;
               s.backoff = {.kind = core::BackoffKind::exponential,
                            .base = seconds{10},
                            .max = seconds{1000},
                            .jitter_percent = 0};
             }));
  const auto seq = rig.put("q");
  EXPECT_EQ(*rig.finish(rig.take_one("q"), Outcome::failed), State::scheduled);
  EXPECT_EQ(rig.show(seq).due, rig.now + seconds{10});
  rig.pass(seconds{10});
  EXPECT_EQ(*rig.finish(rig.take_one("q"), Outcome::timed_out), State::scheduled);
  EXPECT_EQ(rig.show(seq).due, rig.now + seconds{20});
  rig.pass(seconds{20});
  EXPECT_EQ(*rig.finish(rig.take_one("q"), Outcome::failed), State::err);
  const Message m = rig.show(seq);
  EXPECT_EQ(m.mark, Mark::exhausted);
  EXPECT_EQ(m.failures, 3);
  EXPECT_EQ(m.attempts, 3);
  EXPECT_EQ(rig.counters("q").retries, 2);
  EXPECT_EQ(rig.attempts(seq).size(), 3U);
}

TEST_P(FinishTest, FailedWithoutRetriesSaysHowItFailed) {
  Rig rig{GetParam()};
  rig.define("q");
  const auto a = rig.put("q");
  EXPECT_EQ(*rig.finish(rig.take_one("q"), Outcome::failed), State::err);
  EXPECT_EQ(rig.show(a).mark, Mark::failed);
  const auto b = rig.put("q");
  EXPECT_EQ(*rig.finish(rig.take_one("q"), Outcome::timed_out), State::err);
  EXPECT_EQ(rig.show(b).mark, Mark::timed_out);
}

TEST_P(FinishTest, AMessageOverridesRetriesAndBackoffOfItsQueue) {
  Rig rig{GetParam()};
  rig.define("q");
  core::Put p = Rig::put_of("q");
  p.message.detail().retries = 1;
  p.message.detail().backoff =
      core::Backoff{.kind = core::BackoffKind::fixed, .base = seconds{7}, .jitter_percent = 0};
  const auto seq = rig.ask<core::PutDone>(std::move(p)).seq;
  EXPECT_EQ(*rig.finish(rig.take_one("q"), Outcome::failed), State::scheduled);
  EXPECT_EQ(rig.show(seq).due, rig.now + seconds{7});
}

TEST_P(FinishTest, ResendComesBackAfterItsDelayUntilMaxCount) {
  Rig rig{GetParam()};
  rig.define("q", settings([](auto& s) { s.max_count = 3; }));
  const auto seq = rig.put("q");
  for (int count = 1; count < 3; ++count) {
    const Message m = rig.take_one("q");
    EXPECT_EQ(
        *rig.finish({.token = Rig::token_of(m), .outcome = Outcome::resend, .delay = seconds{10}}),
        State::scheduled);
    EXPECT_EQ(rig.show(seq).count, count);
    rig.pass(seconds{10});
  }
  EXPECT_EQ(*rig.finish(rig.take_one("q"), Outcome::resend), State::err);
  const Message m = rig.show(seq);
  EXPECT_EQ(m.count, 3);
  EXPECT_EQ(m.mark, Mark::exhausted);
  EXPECT_EQ(m.details->progress, "resent 3 times, the most allowed");
}

TEST_P(FinishTest, WhatIsResentTooOftenKeepsItsReason) {
  Rig rig{GetParam()};
  rig.define("q", settings([](auto& s) { s.max_count = 1; }));
  const auto seq = rig.put("q");
  EXPECT_EQ(*rig.finish({.token = Rig::token_of(rig.take_one("q")),
                         .outcome = Outcome::resend,
                         .reason = "no room"}),
            State::err);
  EXPECT_EQ(rig.show(seq).details->progress, "resent 1 time, the most allowed; the last: no room");
}

TEST_P(FinishTest, ReleaseGivesItBackUntouchedWithAnotherPriority) {
  Rig rig{GetParam()};
  rig.define("q");
  const auto seq = rig.put("q");
  const Message m = rig.take_one("q");
  EXPECT_EQ(*rig.finish({.token = Rig::token_of(m), .outcome = Outcome::release, .priority = 9}),
            State::que);
  EXPECT_EQ(rig.show(seq).priority, 9);
  EXPECT_EQ(rig.show(seq).failures, 0);
  const Message again = rig.take_one("q");
  EXPECT_EQ(*rig.finish(
                {.token = Rig::token_of(again), .outcome = Outcome::release, .delay = seconds{5}}),
            State::scheduled);
}

TEST_P(FinishTest, HoldIsErrUntilItIsRunEarly) {
  Rig rig{GetParam()};
  rig.define("q", settings([](auto& s) { s.keep_err.count = 0; }));
  const auto seq = rig.put("q");
  EXPECT_EQ(*rig.finish(rig.take_one("q"), Outcome::hold), State::err);
  EXPECT_EQ(rig.show(seq).mark, Mark::held);
  EXPECT_EQ(rig.counters("q").held, 1);
  rig.pass(std::chrono::hours{24 * 365});
  EXPECT_TRUE(rig.exists(seq)) << "it waits for its client, whatever the retention";
}

TEST_P(FinishTest, WithRemoveLeavesNothing) {
  Rig rig{GetParam()};
  rig.define("q");
  core::Put p = Rig::put_of("q");
  p.message.detail().tags = {"t"};
  const auto seq = rig.ask<core::PutDone>(std::move(p)).seq;
  const Message m = rig.take_one("q");
  ASSERT_TRUE(rig.finish({.token = Rig::token_of(m), .remove = true}));
  EXPECT_FALSE(rig.exists(seq));
  auto reader = rig.home().reader();
  EXPECT_TRUE(reader->attempts(seq)->empty());
  EXPECT_TRUE(reader->list({.filter = {.tag = "t"}})->rows.empty());
  EXPECT_EQ(rig.counters("q").dones, 1);
  EXPECT_EQ(rig.counters("q").deletes, 1);
}

TEST_P(FinishTest, RefusesWhatIsOutOfBoundsAndKeepsTheLease) {
  Rig rig{GetParam()};
  rig.define("q");
  const auto seq = rig.put("q");
  const Message m = rig.take_one("q");
  const Token t = Rig::token_of(m);
  EXPECT_EQ(
      rig.finish({.token = t, .result = std::string(base::kResultBytesMax + 1, 'x')}).error().code,
      Code::too_large);
  EXPECT_EQ(rig.finish({.token = t, .outcome = Outcome::resend, .delay = Millis{-1}}).error().code,
            Code::bad_value);
  EXPECT_EQ(
      rig.finish({.token = t, .outcome = Outcome::release, .priority = base::kPriorityMax + 1})
          .error()
          .code,
      Code::bad_value);
  EXPECT_EQ(rig.finish({.token = t, .outcome = Outcome::stopped}).error().code, Code::wrong_state);
  EXPECT_EQ(rig.state(seq), State::run);
  EXPECT_EQ(*rig.finish(m, Outcome::done), State::done);
}

TEST_P(DuplicateTest, CopiesWhatTheWorkIsAndNotWhatHappenedToIt) {
  Rig rig{GetParam()};
  rig.define("q");
  rig.define("other");
  core::Put p = Rig::put_of("q", "body");
  p.priority = 4;
  p.message.detail().param2 = "two";
  p.message.detail().key = "k";
  p.message.detail().tags = {"t"};
  rig.ask<core::PutDone>(std::move(p));
  const Message m = rig.take_one("q");
  const auto dup = rig.ask<core::PutDone>(
      core::Duplicate{.token = Rig::token_of(m), .queue = "other", .delay = seconds{0}});
  const Message copy = rig.show(dup.seq);
  EXPECT_EQ(copy.payload, "body");
  EXPECT_EQ(copy.priority, 4);
  EXPECT_EQ(copy.details->param2, "two");
  EXPECT_EQ(copy.details->tags, std::vector<std::string>{"t"});
  EXPECT_EQ(copy.details->key, "") << "a key is of one message";
  EXPECT_EQ(copy.details->orig_id, core::full_id({}, "q", m));
  EXPECT_EQ(copy.details->dest, "other");
  EXPECT_EQ(rig.refused(core::Duplicate{.token = Rig::token_of(m), .queue = "nowhere"}).code,
            Code::not_found);
}

TEST_P(ConnectionLeaseTest, IsGivenBackWhenTheConnectionEnds) {
  Rig rig{GetParam()};
  rig.define("q");
  rig.put("q");
  rig.put("q");
  core::Reserve r = Rig::reserve_of({{.queue = "q"}});
  r.end = core::LeaseEnd::connection;
  const auto mine = std::move(rig.ask<Reserved>(r, 5).messages.at(0));
  const auto other = std::move(rig.ask<Reserved>(r, 6).messages.at(0));
  rig.submit(core::Disconnect{}, 5);
  rig.run();
  EXPECT_EQ(rig.state(mine.seq), State::que);
  EXPECT_EQ(rig.state(other.seq), State::run);
  EXPECT_EQ(rig.counters("q").losses, 0) << "released, not lost";
}

TEST_P(ConnectionLeaseTest, IsGivenBackWhenTheServerStartsAgain) {
  Rig rig{GetParam()};
  rig.define("q");
  const auto seq = rig.put("q");
  const auto kept = rig.put("q");
  core::Reserve r = Rig::reserve_of({{.queue = "q"}});
  r.end = core::LeaseEnd::connection;
  rig.ask<Reserved>(r);
  rig.take_one("q");
  rig.crash();
  EXPECT_EQ(rig.state(seq), State::que);
  EXPECT_EQ(rig.attempts(seq).at(0).reason,
            "the connection of its lease has gone with an earlier start of the server");
  EXPECT_EQ(rig.state(kept), State::run) << "a worker outlives the server";
  rig.expect_sound();
}

TEST_P(ConnectionLeaseTest, ThatHasMovedOnIsNotTakenFromItsNewHolder) {
  Rig rig{GetParam()};
  rig.define("q", settings([](auto& s) { s.lease = seconds{10}; }));
  const auto seq = rig.put("q");
  core::Reserve r = Rig::reserve_of({{.queue = "q"}});
  r.end = core::LeaseEnd::connection;
  rig.ask<Reserved>(r, 5);
  rig.pass(seconds{10});
  rig.ask<Reserved>(r, 6);
  rig.submit(core::Disconnect{}, 5);
  rig.run();
  EXPECT_EQ(rig.state(seq), State::run);
}

// faults.md A1: the clock moves, and what lasts keeps its length; nothing runs twice.
TEST_P(ClockStepTest, LeasesWaitsAndPausesKeepTheirLength) {
  for (const seconds step : {seconds{90}, seconds{3600}, seconds{-3600}}) {
    Rig rig{GetParam()};
    rig.define("q", settings([](auto& s) { s.lease = seconds{60}; }));
    rig.define("other");
    const auto seq = rig.put("q");
    const Message m = rig.take_one("q");
    core::Reserve for_connection = rig.waiting_reserve({{.queue = "q"}}, rig.now + seconds{30});
    for_connection.each = true;
    for_connection.end = core::LeaseEnd::connection;
    const auto one = rig.submit_in_turn(std::move(for_connection), 5);
    const auto behind = rig.submit_in_turn(core::EngineStats{}, 5);
    const auto two = rig.submit(rig.waiting_reserve({{.queue = "q"}}, rig.now + seconds{30}), 6);
    rig.ask<core::QueueShown>(
        core::SetAdmin{.queue = "other", .admin = core::Admin::pause, .lasts = seconds{40}});
    rig.pass(seconds{10});

    // The clock is stepped; the next batch is the first to hear of it.
    rig.now += step;
    rig.shift = step;
    rig.run();
    EXPECT_EQ(rig.state(seq), State::run) << step.count();
    EXPECT_FALSE(rig.answered(one));
    EXPECT_FALSE(rig.answered(two));
    EXPECT_EQ(rig.show(seq).lease->until, m.lease->until + step);
    EXPECT_TRUE(rig.heartbeat({.token = Rig::token_of(m), .extend = false}));

    rig.pass(seconds{19});
    EXPECT_FALSE(rig.answered(one));
    rig.pass(seconds{1});
    EXPECT_TRUE(rig.reply<Reserved>(one).messages.empty());
    EXPECT_TRUE(rig.answered(behind));
    EXPECT_TRUE(rig.reply<Reserved>(two).messages.empty());
    rig.pass(seconds{9});
    EXPECT_EQ(rig.queue("other").queue->admin, core::Admin::pause);
    rig.pass(seconds{1});
    EXPECT_EQ(rig.queue("other").queue->admin, core::Admin::up);
    rig.pass(seconds{20});
    EXPECT_EQ(rig.state(seq), State::que) << "60 seconds after it was leased";
    rig.expect_sound();
  }
}

// faults.md A1, relative.
TEST_P(ClockStepTest, AServerThatWasStoppedGivesLeasesTheTimeBack) {
  Rig rig{GetParam()};
  rig.define("q", settings([](auto& s) { s.lease = seconds{60}; }));
  rig.define("other");
  const auto seq = rig.put("q");
  const Message m = rig.take_one("q");
  const auto waits = rig.submit(rig.waiting_reserve({{.queue = "q"}}, rig.now + seconds{30}), 6);
  rig.ask<core::QueueShown>(
      core::SetAdmin{.queue = "other", .admin = core::Admin::pause, .lasts = seconds{40}});
  rig.now += seconds{600};
  rig.stopped = seconds{600};
  rig.run();
  EXPECT_EQ(rig.state(seq), State::run);
  EXPECT_EQ(rig.show(seq).lease->until, m.lease->until + seconds{600});
  EXPECT_TRUE(rig.reply<Reserved>(waits).messages.empty()) << "its time was over";
  EXPECT_EQ(rig.queue("other").queue->admin, core::Admin::up);
  rig.pass(seconds{60});
  EXPECT_EQ(rig.state(seq), State::que);
}

INSTANTIATE_TEST_SUITE_P(Stores, ReserveTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, LeaseTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, TokenTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, HeartbeatTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, FinishTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, DuplicateTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, ConnectionLeaseTest, testing::ValuesIn(all_stores()),
                         factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, ClockStepTest, testing::ValuesIn(all_stores()), factory_name);

}  // namespace
}  // namespace rq::store::contract
