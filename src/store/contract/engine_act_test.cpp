// What operators and clients do with messages that they do not hold.
#include <gtest/gtest.h>

#include "base/limits.h"
#include "store/contract/engine_rig.h"

namespace rq::store::contract {
namespace {

class ActTest : public EngineSuite {};
class CancelTest : public EngineSuite {};
class KillTest : public EngineSuite {};
class StopTest : public EngineSuite {};
class RequeueTest : public EngineSuite {};
class RetryTest : public EngineSuite {};
class RunNowTest : public EngineSuite {};
class CloneTest : public EngineSuite {};
class MoveTest : public EngineSuite {};
class PriorityTest : public EngineSuite {};
class RunEarlyTest : public EngineSuite {};
class OrderTest : public EngineSuite {};
class RunEarlyOneTest : public EngineSuite {};
class PeekTest : public EngineSuite {};
class HighTest : public EngineSuite {};

using core::Action;
using core::Mark;
using core::Message;
using core::Outcome;
using core::StopRequest;

// A message in every state that an operator may meet, in queue "q".
struct Zoo {
  Rig rig;
  core::Seq prep = 0, scheduled = 0, que = 0, run = 0, done = 0, relayed = 0, err = 0,
            cancelled = 0;
  Message running;

  explicit Zoo(const Factory& factory) : rig(factory) {
    rig.define("q");
    rig.define("other");
    const auto ended = [&](Outcome outcome) {
      const auto seq = rig.put("q");
      EXPECT_TRUE(rig.finish(rig.take_one("q"), outcome));
      return seq;
    };
    done = ended(Outcome::done);
    relayed = ended(Outcome::relayed);
    err = ended(Outcome::err);
    cancelled = rig.put("q");
    EXPECT_TRUE(rig.act(Action::cancel, cancelled));
    run = rig.put("q");
    running = rig.take_one("q");
    que = rig.put("q");
    core::Put p = Rig::put_of("q");
    p.prep = true;
    prep = rig.ask<core::PutDone>(std::move(p)).seq;
    core::Put later = Rig::put_of("q");
    later.delay = seconds{100};
    scheduled = rig.ask<core::PutDone>(std::move(later)).seq;
  }
  [[nodiscard]] std::vector<core::Seq> all() const {
    return {prep, scheduled, que, run, done, relayed, err, cancelled};
  }
};

// Every action on every state: where it leads, or that it is refused.
TEST_P(ActTest, LeadsWhereTheTableSays) {
  using enum State;
  using Row = std::array<std::optional<State>, 8>;
  constexpr std::nullopt_t kNo = std::nullopt;
  const struct {
    Action action;
    Row to;  // of prep, scheduled, que, run, done, relayed, err, cancelled
  } table[] = {
      {Action::commit, {que, kNo, kNo, kNo, kNo, kNo, kNo, kNo}},
      {Action::retry, {kNo, kNo, kNo, kNo, que, que, que, que}},
      {Action::requeue, {kNo, kNo, kNo, que, que, que, que, que}},
      {Action::run_now, {kNo, que, que, kNo, kNo, kNo, kNo, kNo}},
      {Action::cancel, {cancelled, cancelled, cancelled, run, kNo, kNo, cancelled, kNo}},
      {Action::kill, {kNo, kNo, kNo, run, kNo, kNo, kNo, kNo}},
      {Action::clone, {kNo, kNo, kNo, kNo, que, que, que, que}},
      {Action::move, {prep, scheduled, que, kNo, done, relayed, err, cancelled}},
      {Action::remove, {prep, scheduled, que, kNo, done, relayed, err, cancelled}},
      {Action::priority, {prep, scheduled, que, run, kNo, kNo, kNo, kNo}},
  };
  for (const auto& row : table) {
    Zoo zoo{GetParam()};
    for (std::size_t i = 0; i < row.to.size(); ++i) {
      const core::Seq seq = zoo.all()[i];
      const State before = zoo.rig.state(seq);
      const std::string what = fmt::format("{} of {}", name_of(row.action), name_of(before));
      const auto counters = zoo.rig.counters("q");
      const auto did = zoo.rig.act(row.action, seq, row.action == Action::move ? "other" : "");
      ASSERT_EQ(did.has_value(), row.to[i].has_value())
          << what << (did ? " was allowed" : ": " + did.error().message);
      if (did) {
        EXPECT_EQ(did->state, *row.to[i]) << what;
        if (row.action == Action::remove) {
          EXPECT_FALSE(zoo.rig.exists(seq));
        } else {
          EXPECT_EQ(zoo.rig.state(did->seq), *row.to[i]) << what;
        }
      } else {
        EXPECT_EQ(did.error().code, Code::wrong_state) << what;
        EXPECT_NE(did.error().message.find(name_of(before)), std::string::npos) << what;
        EXPECT_FALSE(did.error().remedy.empty()) << what;
        EXPECT_EQ(zoo.rig.state(seq), before) << what;
        EXPECT_EQ(zoo.rig.counters("q"), counters) << what << ": a refusal changes nothing";
      }
    }
    zoo.rig.expect_sound();
  }
}

TEST_P(ActTest, OnManyAnswersEachAlone) {
  Rig rig{GetParam()};
  rig.define("q");
  const auto a = rig.put("q");
  const auto b = rig.put("q");
  const auto done =
      rig.ask<core::ActDone>(core::Act{.action = Action::cancel, .messages = {a, 999, b, a}});
  ASSERT_EQ(done.items.size(), 4U);
  EXPECT_EQ(done.items[0]->state, State::cancelled);
  EXPECT_EQ(done.items[0]->was, State::que);
  EXPECT_EQ(done.items[1].error().code, Code::not_found);
  EXPECT_EQ(done.items[2]->seq, b);
  EXPECT_EQ(done.items[3].error().code, Code::wrong_state) << "it is cancelled already";
}

TEST_P(CancelTest, OfARunningMessageAsksItsWorkerToStop) {
  Zoo zoo{GetParam()};
  Rig& rig = zoo.rig;
  rig.notices.clear();
  ASSERT_TRUE(rig.act({.action = Action::cancel, .messages = {zoo.run}, .reason = "not wanted"}));
  ASSERT_FALSE(rig.notices.empty());
  EXPECT_EQ(rig.notices[0].what, core::Notice::What::stop);
  EXPECT_EQ(rig.notices[0].text, "cancel");
  EXPECT_EQ(rig.heartbeat({.token = Rig::token_of(zoo.running)})->stop, StopRequest::cancel);
  EXPECT_EQ(*rig.finish(zoo.running, Outcome::stopped), State::cancelled);
  EXPECT_EQ(rig.show(zoo.run).details->progress, "not wanted");
  EXPECT_EQ(rig.attempts(zoo.run).at(0).outcome, "cancelled");
}

TEST_P(KillTest, EndsInErrWithItsMark) {
  Zoo zoo{GetParam()};
  Rig& rig = zoo.rig;
  ASSERT_TRUE(rig.act(Action::kill, zoo.run));
  ASSERT_TRUE(rig.act(Action::kill, zoo.run)) << "the same again";
  const auto cancelled = rig.act(Action::cancel, zoo.run);
  ASSERT_FALSE(cancelled);
  EXPECT_EQ(cancelled.error().code, base::Code::wrong_state);
  EXPECT_NE(cancelled.error().message.find("told to stop (kill)"), std::string::npos);
  EXPECT_EQ(rig.heartbeat({.token = Rig::token_of(zoo.running)})->stop, StopRequest::kill)
      << "the first word stands";
  EXPECT_EQ(*rig.finish(zoo.running, Outcome::stopped), State::err);
  EXPECT_EQ(rig.show(zoo.run).mark, Mark::killed);
  EXPECT_EQ(rig.attempts(zoo.run).at(0).outcome, "killed");
}

// faults.md C6
TEST_P(KillTest, ItsReasonStaysWhateverTheScriptSaysAfterIt) {
  Zoo zoo{GetParam()};
  Rig& rig = zoo.rig;
  ASSERT_TRUE(rig.act({.action = Action::kill, .messages = {zoo.run}, .reason = "by mistake"}));
  ASSERT_TRUE(rig.heartbeat({.token = Rig::token_of(zoo.running), .progress = "cleaning up"}));
  EXPECT_EQ(rig.show(zoo.run).lease->progress, "by mistake");
  EXPECT_EQ(*rig.finish(zoo.running, Outcome::stopped, "stopped after 2.0 s"), State::err);
  EXPECT_EQ(rig.show(zoo.run).details->progress, "by mistake - stopped after 2.0 s");
  EXPECT_EQ(rig.attempts(zoo.run).at(0).reason, "by mistake - stopped after 2.0 s");
}

// faults.md C6, relative
TEST_P(KillTest, ItsReasonStaysWhenItsWorkerDoesNotAnswer) {
  Zoo zoo{GetParam()};
  Rig& rig = zoo.rig;
  ASSERT_TRUE(rig.act({.action = Action::kill, .messages = {zoo.run}, .reason = "by mistake"}));
  rig.pass(std::chrono::hours{1});
  EXPECT_EQ(rig.show(zoo.run).details->progress,
            "by mistake - the worker 'w' did not renew its lease within 60 s");
}

TEST_P(KillTest, AWorkerThatWasQuickerIsBelieved) {
  Zoo zoo{GetParam()};
  ASSERT_TRUE(zoo.rig.act(Action::kill, zoo.run));
  EXPECT_EQ(*zoo.rig.finish(zoo.running, Outcome::done), State::done);
}

TEST_P(StopTest, ThatNobodyAnswersTakesEffectWhenTheLeaseEnds) {
  for (const Action action : {Action::cancel, Action::kill}) {
    Zoo zoo{GetParam()};
    Rig& rig = zoo.rig;
    ASSERT_TRUE(rig.act(action, zoo.run));
    rig.crash();
    rig.pass(std::chrono::hours{1});
    EXPECT_EQ(rig.state(zoo.run), action == Action::kill ? State::err : State::cancelled);
    EXPECT_EQ(rig.counters("q").losses, 0);
    rig.expect_sound();
  }
}

// faults.md C6, relative: told "cancelled when its script has ended", and then it ran again.
TEST_P(StopTest, HoldsWhateverEndsTheAttempt) {
  const struct {
    Outcome outcome;
    std::optional<State> to;
  } table[] = {{Outcome::failed, std::nullopt}, {Outcome::timed_out, std::nullopt},
               {Outcome::resend, std::nullopt}, {Outcome::release, std::nullopt},
               {Outcome::hold, std::nullopt},   {Outcome::err, State::err},
               {Outcome::done, State::done}};
  for (const Action action : {Action::cancel, Action::kill}) {
    for (const auto& row : table) {
      Zoo zoo{GetParam()};
      Rig& rig = zoo.rig;
      const std::string what =
          fmt::format("{}, {}", core::name_of(action), core::name_of(row.outcome));
      core::QueueSettings settings;
      settings.retries = 5;
      rig.define("q", settings);
      ASSERT_TRUE(rig.act({.action = action, .messages = {zoo.run}, .reason = "not wanted"}));
      const State ends = action == Action::kill ? State::err : State::cancelled;
      EXPECT_EQ(*rig.finish(zoo.running, row.outcome, "exit 3"), row.to.value_or(ends)) << what;
      EXPECT_EQ(rig.show(zoo.run).details->progress, row.to ? "exit 3" : "not wanted - exit 3")
          << what;
      EXPECT_EQ(rig.attempts(zoo.run).at(0).outcome, core::name_of(row.outcome)) << what;
      rig.expect_sound();
    }
  }
}

// faults.md C6, relative: a requeue dropped the cancel without a word.
TEST_P(RequeueTest, OfAMessageThatWasToldToStopIsRefused) {
  for (const Action action : {Action::cancel, Action::kill}) {
    Zoo zoo{GetParam()};
    Rig& rig = zoo.rig;
    ASSERT_TRUE(rig.act(action, zoo.run));
    const auto did = rig.act(Action::requeue, zoo.run);
    ASSERT_FALSE(did);
    EXPECT_EQ(did.error().code, Code::wrong_state);
    EXPECT_NE(did.error().message.find("told to stop"), std::string::npos) << did.error().message;
    EXPECT_NE(did.error().remedy.find("rq retry"), std::string::npos) << did.error().remedy;
    EXPECT_EQ(rig.heartbeat({.token = Rig::token_of(zoo.running)})->stop,
              action == Action::kill ? StopRequest::kill : StopRequest::cancel);
    EXPECT_EQ(*rig.finish(zoo.running, Outcome::stopped),
              action == Action::kill ? State::err : State::cancelled);
    EXPECT_EQ(rig.act(Action::requeue, zoo.run)->state, State::que) << "then it is free";
  }
}

TEST_P(RequeueTest, TakesTheLeaseAway) {
  Zoo zoo{GetParam()};
  Rig& rig = zoo.rig;
  rig.notices.clear();
  ASSERT_TRUE(rig.act(Action::requeue, zoo.run));
  EXPECT_EQ(rig.notices.at(0).what, core::Notice::What::stop);
  EXPECT_EQ(rig.finish(zoo.running, Outcome::done).error().code, Code::lease_lost);
  EXPECT_EQ(rig.attempts(zoo.run).at(0).outcome, "requeued");
  const Message again = rig.take_one("q");
  EXPECT_EQ(again.seq, zoo.run) << "it keeps its place in the order of arrival";
  EXPECT_EQ(again.lease->attempt, 2);
}

TEST_P(RetryTest, StartsAnewButAttemptsKeepTheirNumbers) {
  Rig rig{GetParam()};
  rig.define("q");
  const auto seq = rig.put("q");
  Message m = rig.take_one("q");
  ASSERT_TRUE(rig.finish({.token = Rig::token_of(m), .outcome = Outcome::failed, .result = "r"}));
  ASSERT_TRUE(rig.act(Action::retry, seq));
  const Message after = rig.show(seq);
  EXPECT_EQ(after.failures, 0);
  EXPECT_EQ(after.count, 0);
  EXPECT_EQ(after.mark, Mark::none);
  EXPECT_EQ(after.finished, base::Instant{});
  EXPECT_EQ(after.detail_or_default().result, "");
  EXPECT_EQ(rig.take_one("q").lease->attempt, 2);
}

// faults.md C6, relative: whoever acts says why, and the message has it where one looks for it.
TEST_P(RetryTest, TheReasonIsKeptUntilTheNextText) {
  for (const Action action : {Action::retry, Action::requeue, Action::run_now, Action::commit}) {
    Zoo zoo{GetParam()};
    const auto seq = action == Action::run_now  ? zoo.scheduled
                     : action == Action::commit ? zoo.prep
                                                : zoo.err;
    ASSERT_TRUE(zoo.rig.act({.action = action, .messages = {seq}, .reason = "disk replaced"}));
    EXPECT_EQ(zoo.rig.show(seq).detail_or_default().progress, "disk replaced")
        << core::name_of(action);
  }
}

TEST_P(RunNowTest, AScheduledMessageIsHadAtOnce) {
  Zoo zoo{GetParam()};
  ASSERT_TRUE(zoo.rig.act(Action::run_now, zoo.scheduled));
  EXPECT_EQ(zoo.rig.take_one("q").seq, zoo.scheduled) << "before all that is due";
  EXPECT_EQ(zoo.rig.take_one("q").seq, zoo.que);
}

TEST_P(RunNowTest, AWaitingMessageGoesBeforeOthersOfItsPriority) {
  Rig rig{GetParam()};
  rig.define("q");
  rig.put("q");
  rig.put("q");
  const auto last = rig.put("q");
  ASSERT_TRUE(rig.act(Action::run_now, last));
  EXPECT_EQ(rig.take_one("q").seq, last);
}

TEST_P(CloneTest, IsANewMessageThatKnowsWhereItCameFrom) {
  Rig rig{GetParam()};
  rig.define("q");
  rig.define("other");
  core::Put p = Rig::put_of("q", "body");
  p.priority = 3;
  p.message.detail().key = "k";
  p.message.detail().param1 = "one";
  rig.ask<core::PutDone>(std::move(p));
  const Message m = rig.take_one("q");
  ASSERT_TRUE(rig.finish({.token = Rig::token_of(m), .outcome = Outcome::err, .result = "r"}));
  const auto cloned = rig.act(Action::clone, m.seq, "other");
  ASSERT_TRUE(cloned);
  EXPECT_NE(cloned->seq, m.seq);
  const Message c = rig.show(cloned->seq);
  EXPECT_EQ(c.payload, "body");
  EXPECT_EQ(c.priority, 3);
  EXPECT_EQ(c.attempts, 0);
  EXPECT_EQ(c.details->param1, "one");
  EXPECT_EQ(c.details->cloned_from, core::format_id(m));
  EXPECT_EQ(c.details->key, "");
  EXPECT_EQ(c.details->result, "");
  EXPECT_EQ(rig.state(m.seq), State::err) << "the old one stays";
  EXPECT_EQ(rig.counters("other").in(State::que), 1);
  EXPECT_EQ(rig.act(Action::clone, m.seq, "nowhere").error().code, Code::not_found);
}

TEST_P(MoveTest, TakesItsCountsAlongAndServesWhoWaitsThere) {
  Zoo zoo{GetParam()};
  Rig& rig = zoo.rig;
  const auto waiting = rig.submit(rig.waiting_reserve({{.queue = "other"}}));
  rig.run();
  ASSERT_TRUE(rig.act(Action::move, zoo.que, "other"));
  EXPECT_EQ(rig.reply<core::Reserved>(waiting).messages.at(0).seq, zoo.que);
  ASSERT_TRUE(rig.act(Action::move, zoo.err, "other"));
  ASSERT_TRUE(rig.act(Action::move, zoo.scheduled, "other"));
  EXPECT_EQ(rig.counters("q").in(State::que), 0);
  EXPECT_EQ(rig.counters("q").in(State::err), 0);
  EXPECT_EQ(rig.counters("q").in(State::scheduled), 0);
  EXPECT_EQ(rig.counters("other").in(State::run), 1);
  EXPECT_EQ(rig.counters("other").in(State::err), 1);
  EXPECT_EQ(rig.counters("other").in(State::scheduled), 1);
  rig.crash();
  rig.pass(seconds{100});
  EXPECT_EQ(rig.counters("other").in(State::que), 2) << "one came due, one lease was lost";
  rig.expect_sound();
}

TEST_P(MoveTest, IsRefusedWhereNothingIsTaken) {
  Zoo zoo{GetParam()};
  Rig& rig = zoo.rig;
  EXPECT_EQ(rig.act(Action::move, zoo.que, "nowhere").error().code, Code::not_found);
  rig.ask<core::QueueShown>(core::SetAdmin{.queue = "other", .admin = core::Admin::drain});
  EXPECT_EQ(rig.act(Action::move, zoo.que, "other").error().code, Code::queue_down);
  // faults.md C22, relative: a move that moves nothing.
  EXPECT_EQ(rig.act(Action::move, zoo.que, "q").error().code, Code::wrong_state);
}

TEST_P(PriorityTest, ReordersTheLine) {
  Rig rig{GetParam()};
  rig.define("q");
  const auto a = rig.put("q");
  const auto b = rig.put("q");
  ASSERT_TRUE(rig.act({.action = Action::priority, .messages = {b}, .priority = 5}));
  const auto got = rig.take("q", 2);
  ASSERT_EQ(got.size(), 2U);
  EXPECT_EQ(got[0].seq, b);
  EXPECT_EQ(got[1].seq, a);
  const Error e = rig.refused(
      core::Act{.action = Action::priority, .messages = {a}, .priority = base::kPriorityMax + 1});
  EXPECT_EQ(e.code, Code::bad_value);
}

TEST_P(RunEarlyTest, TakesTheHeldFirstAndThenTheScheduled) {
  Rig rig{GetParam()};
  rig.define("q");
  std::vector<core::Seq> held;
  for (int i = 0; i < 3; ++i) {
    held.push_back(rig.put("q"));
    ASSERT_TRUE(rig.finish(rig.take_one("q"), Outcome::hold));
    rig.now += seconds{1};
  }
  core::Put p = Rig::put_of("q");
  p.delay = seconds{100};
  const auto delayed = rig.ask<core::PutDone>(std::move(p)).seq;
  const auto run_early = [&](std::int64_t bound) {
    return rig.ask<core::RunEarlyDone>(core::RunEarly{.queue = "q", .bound = bound}).count;
  };
  EXPECT_EQ(run_early(2), 2);
  EXPECT_EQ(rig.state(held[0]), State::que) << "the one that was held first";
  EXPECT_EQ(rig.state(held[1]), State::que);
  EXPECT_EQ(rig.state(held[2]), State::err);
  EXPECT_EQ(run_early(10), 1) << "scheduled ones count only when none is held";
  EXPECT_EQ(rig.state(delayed), State::scheduled);
  EXPECT_EQ(run_early(10), 1);
  EXPECT_EQ(rig.state(delayed), State::que);
  EXPECT_EQ(run_early(10), 0);
  EXPECT_EQ(rig.ask<core::RunEarlyDone>(core::RunEarly{.queue = "nowhere", .bound = 1}).count, 0);
  EXPECT_EQ(rig.counters("q").held, 0);
  rig.expect_sound();
}

TEST_P(RunEarlyTest, GoesOnOverSeveralBatchesAndTellsTheSum) {
  constexpr std::int64_t kMessages = 2 * core::kStepMax + 500;
  Rig rig{GetParam()};
  rig.define("q");
  for (std::int64_t i = 0; i < kMessages; ++i) {
    core::Put put = Rig::put_of("q", "");
    put.delay = seconds{60};
    rig.submit(std::move(put));
  }
  rig.run();
  const auto early = rig.submit(core::RunEarly{.queue = "q", .bound = INT64_MAX}, 5);
  const auto behind = rig.submit(core::ShowQueue{.queue = "q"}, 5);
  const auto other = rig.submit(core::ShowQueue{.queue = "q"}, 6);
  rig.run();
  EXPECT_FALSE(rig.answered(early));
  EXPECT_FALSE(rig.answered(behind)) << "its connection stays behind it";
  EXPECT_EQ(rig.reply<core::QueueShown>(other).queue->counters.in(State::que), core::kStepMax);
  rig.run();
  EXPECT_FALSE(rig.answered(early));
  rig.pass(Millis{0});
  EXPECT_EQ(rig.reply<core::RunEarlyDone>(early).count, kMessages);
  EXPECT_EQ(rig.reply<core::QueueShown>(behind).queue->counters.in(State::que), kMessages);
  EXPECT_EQ(rig.ask<core::RunEarlyDone>(core::RunEarly{.queue = "q", .bound = 5}).count, 0);
  rig.expect_sound();
}

// faults.md A5
TEST_P(OrderTest, TheSmallestDueGoesFirstWithinAPriority) {
  Rig rig{GetParam()};
  rig.define("q");
  rig.ask<core::QueueShown>(core::SetAdmin{.queue = "q", .admin = core::Admin::pause, .lasts = {}});
  const auto due = [&](Millis before, std::int64_t priority = 0) {
    core::Put p = Rig::put_of("q");
    p.due = rig.now - before;
    p.priority = priority;
    return rig.ask<core::PutDone>(std::move(p)).seq;
  };
  const auto now = due(Millis{0});
  const auto hundred = due(seconds{100});
  const auto two_hundred = due(seconds{200});
  const auto high = due(Millis{0}, 1);
  const auto last = due(Millis{0});
  rig.crash();
  rig.ask<core::QueueShown>(core::SetAdmin{.queue = "q", .admin = core::Admin::up, .lasts = {}});
  std::vector<core::Seq> got;
  for (const Message& m : rig.take("q", 10)) got.push_back(m.seq);
  EXPECT_EQ(got, (std::vector{high, two_hundred, hundred, now, last}));
}

TEST_P(OrderTest, WhatComesBackAtOnceKeepsItsPlace) {
  Rig rig{GetParam()};
  rig.define("q");
  const auto first = rig.put("q");
  rig.now += seconds{1};
  const auto second = rig.put("q");
  const Message m = rig.take_one("q");
  ASSERT_EQ(m.seq, first);
  rig.now += seconds{1};
  ASSERT_TRUE(rig.finish(m, Outcome::release));
  EXPECT_EQ(rig.take_one("q").seq, first);
  EXPECT_EQ(rig.take_one("q").seq, second);
}

TEST_P(OrderTest, OfAQueueMadeOnDemandIsTheNumberAlone) {
  Rig rig{GetParam()};
  core::Put later = Rig::put_of("t");
  later.make_queue = true;
  later.delay = seconds{10};
  const auto first = rig.ask<core::PutDone>(std::move(later)).seq;
  const auto second = rig.put("t");
  rig.pass(seconds{10});
  EXPECT_EQ(rig.take_one("t").seq, first) << "due later, put first";
  EXPECT_EQ(rig.take_one("t").seq, second);
}

TEST_P(RunEarlyOneTest, OnlyWhatIsHeldOrScheduled) {
  Zoo zoo{GetParam()};
  Rig& rig = zoo.rig;
  rig.ask<core::Ok>(core::RunEarlyOne{.seq = zoo.scheduled});
  EXPECT_EQ(rig.state(zoo.scheduled), State::que);
  EXPECT_EQ(rig.refused(core::RunEarlyOne{.seq = zoo.que}).code, Code::wrong_state);
  EXPECT_EQ(rig.refused(core::RunEarlyOne{.seq = zoo.err}).code, Code::wrong_state)
      << "in err, but not held";
  EXPECT_EQ(rig.refused(core::RunEarlyOne{.seq = 999}).code, Code::not_found);
}

TEST_P(PeekTest, ShowsTheNextOfEachKindAndTakesNothing) {
  Zoo zoo{GetParam()};
  Rig& rig = zoo.rig;
  const auto peek = [&](core::PeekWhat what) {
    return rig.ask<core::Peeked>(core::Peek{.what = what, .queue = "q"});
  };
  EXPECT_EQ(peek(core::PeekWhat::ready).message->seq, zoo.que);
  EXPECT_EQ(peek(core::PeekWhat::ready).queue, "q");
  EXPECT_EQ(peek(core::PeekWhat::scheduled).message->seq, zoo.scheduled);
  EXPECT_EQ(rig.refused(core::Peek{.what = core::PeekWhat::held, .queue = "q"}).code,
            Code::not_found);
  ASSERT_TRUE(rig.finish(zoo.running, Outcome::hold));
  EXPECT_EQ(peek(core::PeekWhat::held).message->seq, zoo.run);
  EXPECT_EQ(rig.refused(core::Peek{.what = core::PeekWhat::ready, .queue = "nowhere"}).code,
            Code::not_found);
  EXPECT_EQ(rig.refused(core::Peek{.what = core::PeekWhat::message, .seq = 999}).code,
            Code::not_found);
  EXPECT_EQ(rig.state(zoo.que), State::que);
}

// What is in que with a priority above kHighPriority.
TEST_P(HighTest, FollowsStateAndPriority) {
  Rig rig{GetParam()};
  rig.define("q");
  rig.define("other");
  const auto high = [&rig] { return rig.counters("q").high; };
  const auto prioritise = [&rig](core::Seq seq, std::int64_t priority) {
    return rig.act({.action = Action::priority, .messages = {seq}, .priority = priority});
  };
  rig.put("q", -1024);
  EXPECT_EQ(high(), 0);
  const auto seq = rig.put("q", -1023);
  const auto plain = rig.put("q", std::int64_t{0});
  EXPECT_EQ(high(), 2);

  const Message taken = rig.take_one("q");
  ASSERT_EQ(taken.seq, plain);
  EXPECT_EQ(high(), 1);
  ASSERT_TRUE(
      rig.finish({.token = Rig::token_of(taken), .outcome = Outcome::release, .priority = -5000}));
  EXPECT_EQ(high(), 1) << "released with a low priority";
  ASSERT_TRUE(prioritise(plain, 7));
  EXPECT_EQ(high(), 2);
  ASSERT_TRUE(prioritise(plain, -1024));
  EXPECT_EQ(high(), 1);
  ASSERT_TRUE(prioritise(plain, -1023));
  EXPECT_EQ(high(), 2);
  rig.expect_sound();

  ASSERT_TRUE(rig.act(Action::move, seq, "other"));
  EXPECT_EQ(high(), 1);
  EXPECT_EQ(rig.counters("other").high, 1);
  ASSERT_TRUE(rig.act(Action::remove, seq));
  EXPECT_EQ(rig.counters("other").high, 0);
  rig.crash();
  EXPECT_EQ(high(), 1) << "after a crash";
  rig.expect_sound();
}

// faults.md C2: a bulk action counts what it changes, so it must know what the engine does.
TEST_P(ActTest, IsDoneToMessagesInTheStatesItSaysAndInNoOthers) {
  for (int i = 0; i <= static_cast<int>(Action::priority); ++i) {
    const auto action = static_cast<Action>(i);
    Zoo zoo{GetParam()};
    for (const core::Seq seq : {zoo.prep, zoo.scheduled, zoo.que, zoo.run, zoo.done, zoo.relayed,
                                zoo.err, zoo.cancelled}) {
      const State state = zoo.rig.state(seq);
      const auto done = zoo.rig.act(action, seq, action == Action::move ? "other" : "");
      EXPECT_EQ(done.has_value(), core::states_of(action).has(state))
          << name_of(action) << " in " << name_of(state);
      if (!done) {
        EXPECT_EQ(done.error().code, Code::wrong_state);
      }
    }
    EXPECT_EQ(core::usual_states_of(action).common(core::states_of(action)),
              core::usual_states_of(action))
        << name_of(action);
  }
}

// faults.md A5: a run_now goes before all others of its priority, whatever its state and queue.
TEST_P(RunNowTest, PutsToTheFrontInEveryState) {
  for (const bool on_demand : {false, true}) {
    for (const bool scheduled : {false, true}) {
      Rig rig{GetParam()};
      rig.ask<core::QueueShown>(core::DefineQueue{.queue = "q", .on_demand = on_demand});
      const auto later = [&](Millis delay) {
        core::Put p = Rig::put_of("q");
        p.delay = delay;
        return rig.ask<core::PutDone>(std::move(p)).seq;
      };
      const auto first = later(Millis{100});
      rig.pass(seconds{1});
      const auto second = rig.put("q");
      const auto chosen = scheduled ? later(seconds{100}) : rig.put("q");
      rig.pass(seconds{1});
      ASSERT_TRUE(rig.act(Action::run_now, chosen));
      EXPECT_EQ(rig.take_one("q").seq, chosen) << on_demand << scheduled;
      EXPECT_EQ(rig.take_one("q").seq, first);
      EXPECT_EQ(rig.take_one("q").seq, second);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Stores, ActTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, CancelTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, KillTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, StopTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, RequeueTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, RetryTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, RunNowTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, CloneTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, MoveTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, PriorityTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, OrderTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, RunEarlyTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, RunEarlyOneTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, PeekTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, HighTest, testing::ValuesIn(all_stores()), factory_name);

}  // namespace
}  // namespace rq::store::contract
