// What operators and clients do with messages that they do not hold.
#include <gtest/gtest.h>

#include "base/limits.h"
#include "store/contract/engine_rig.h"

namespace rq::store::contract {
namespace {

class Act : public EngineSuite {};
class Cancel : public EngineSuite {};
class Kill : public EngineSuite {};
class Stop : public EngineSuite {};
class Requeue : public EngineSuite {};
class Retry : public EngineSuite {};
class RunNow : public EngineSuite {};
class Clone : public EngineSuite {};
class Move : public EngineSuite {};
class Priority : public EngineSuite {};
class RunEarly : public EngineSuite {};
class RunEarlyOne : public EngineSuite {};
class Peek : public EngineSuite {};
class Urgent : public EngineSuite {};

using core::Action;
using core::Mark;
using core::Message;
using core::Outcome;
using core::StopRequest;

// A message in every state that an operator may meet, in queue "q".
struct Zoo {
  Rig rig{GetParam()};
  core::Seq prep = 0, scheduled = 0, que = 0, run = 0, done = 0, relayed = 0, err = 0,
            cancelled = 0;
  Message running;

  Zoo() {
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
TEST_P(Act, LeadsWhereTheTableSays) {
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
    Zoo zoo;
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

TEST_P(Act, OnManyAnswersEachAlone) {
  Rig rig{GetParam()};
  rig.define("q");
  const auto a = rig.put("q");
  const auto b = rig.put("q");
  const auto done =
      rig.ask<core::ActDone>(core::Act{.action = Action::cancel, .messages = {a, 999, b, a}});
  ASSERT_EQ(done.items.size(), 4U);
  EXPECT_EQ(done.items[0]->state, State::cancelled);
  EXPECT_EQ(done.items[1].error().code, Code::not_found);
  EXPECT_EQ(done.items[2]->seq, b);
  EXPECT_EQ(done.items[3].error().code, Code::wrong_state) << "it is cancelled already";
}

TEST_P(Cancel, OfARunningMessageAsksItsWorkerToStop) {
  Zoo zoo;
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

TEST_P(Kill, EndsInErrWithItsMark) {
  Zoo zoo;
  Rig& rig = zoo.rig;
  ASSERT_TRUE(rig.act(Action::kill, zoo.run));
  ASSERT_TRUE(rig.act(Action::cancel, zoo.run));
  EXPECT_EQ(rig.heartbeat({.token = Rig::token_of(zoo.running)})->stop, StopRequest::kill)
      << "the first word stands";
  EXPECT_EQ(*rig.finish(zoo.running, Outcome::stopped), State::err);
  EXPECT_EQ(rig.show(zoo.run).mark, Mark::killed);
  EXPECT_EQ(rig.attempts(zoo.run).at(0).outcome, "killed");
}

TEST_P(Kill, AWorkerThatWasQuickerIsBelieved) {
  Zoo zoo;
  ASSERT_TRUE(zoo.rig.act(Action::kill, zoo.run));
  EXPECT_EQ(*zoo.rig.finish(zoo.running, Outcome::done), State::done);
}

TEST_P(Stop, ThatNobodyAnswersTakesEffectWhenTheLeaseEnds) {
  for (const Action action : {Action::cancel, Action::kill}) {
    Zoo zoo;
    Rig& rig = zoo.rig;
    ASSERT_TRUE(rig.act(action, zoo.run));
    rig.crash();
    rig.pass(std::chrono::hours{1});
    EXPECT_EQ(rig.state(zoo.run), action == Action::kill ? State::err : State::cancelled);
    EXPECT_EQ(rig.counters("q").losses, 0);
    rig.expect_sound();
  }
}

TEST_P(Requeue, TakesTheLeaseAway) {
  Zoo zoo;
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

TEST_P(Retry, StartsAnewButAttemptsKeepTheirNumbers) {
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

TEST_P(RunNow, AScheduledMessageIsHadAtOnce) {
  Zoo zoo;
  ASSERT_TRUE(zoo.rig.act(Action::run_now, zoo.scheduled));
  zoo.rig.take_one("q");
  EXPECT_EQ(zoo.rig.take_one("q").seq, zoo.scheduled);
}

TEST_P(RunNow, AWaitingMessageGoesBeforeOthersOfItsPriority) {
  Rig rig{GetParam()};
  rig.define("q");
  rig.put("q");
  rig.put("q");
  const auto last = rig.put("q");
  ASSERT_TRUE(rig.act(Action::run_now, last));
  EXPECT_EQ(rig.take_one("q").seq, last);
}

TEST_P(Clone, IsANewMessageThatKnowsWhereItCameFrom) {
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

TEST_P(Move, TakesItsCountsAlongAndServesWhoWaitsThere) {
  Zoo zoo;
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

TEST_P(Move, IsRefusedWhereNothingIsTaken) {
  Zoo zoo;
  Rig& rig = zoo.rig;
  EXPECT_EQ(rig.act(Action::move, zoo.que, "nowhere").error().code, Code::not_found);
  rig.ask<core::QueueShown>(core::SetAdmin{.queue = "other", .admin = core::Admin::drain});
  EXPECT_EQ(rig.act(Action::move, zoo.que, "other").error().code, Code::queue_down);
  EXPECT_TRUE(rig.act(Action::move, zoo.que, "q")) << "to where it is";
}

TEST_P(Priority, ReordersTheLine) {
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

TEST_P(RunEarly, TakesTheBuriedFirstAndThenTheDelayed) {
  Rig rig{GetParam()};
  rig.define("q");
  std::vector<core::Seq> buried;
  for (int i = 0; i < 3; ++i) {
    buried.push_back(rig.put("q"));
    ASSERT_TRUE(rig.finish(rig.take_one("q"), Outcome::hold));
    rig.now += seconds{1};
  }
  core::Put p = Rig::put_of("q");
  p.delay = seconds{100};
  const auto delayed = rig.ask<core::PutDone>(std::move(p)).seq;
  const auto kick = [&](std::int64_t bound) {
    return rig.ask<core::RunEarlyDone>(core::RunEarly{.queue = "q", .bound = bound}).count;
  };
  EXPECT_EQ(kick(2), 2);
  EXPECT_EQ(rig.state(buried[0]), State::que) << "the one that was buried first";
  EXPECT_EQ(rig.state(buried[1]), State::que);
  EXPECT_EQ(rig.state(buried[2]), State::err);
  EXPECT_EQ(kick(10), 1) << "delayed ones are count only when none is buried";
  EXPECT_EQ(rig.state(delayed), State::scheduled);
  EXPECT_EQ(kick(10), 1);
  EXPECT_EQ(rig.state(delayed), State::que);
  EXPECT_EQ(kick(10), 0);
  EXPECT_EQ(rig.ask<core::RunEarlyDone>(core::RunEarly{.queue = "nowhere", .bound = 1}).count, 0);
  EXPECT_EQ(rig.counters("q").buried, 0);
  rig.expect_sound();
}

TEST_P(RunEarly, IsBoundedWhateverTheBoundSays) {
  Rig rig{GetParam()};
  rig.define("q");
  for (std::int64_t i = 0; i <= base::kSweepMax; ++i) {
    core::Put put = Rig::put_of("q", "");
    put.delay = seconds{60};
    rig.submit(std::move(put));
  }
  rig.run();
  const auto kick = [&] {
    return rig.ask<core::RunEarlyDone>(core::RunEarly{.queue = "q", .bound = INT64_MAX}).count;
  };
  EXPECT_EQ(kick(), base::kSweepMax);
  EXPECT_EQ(kick(), 1);
  EXPECT_EQ(kick(), 0);
}

TEST_P(RunEarlyOne, OnlyWhatIsBuriedOrDelayed) {
  Zoo zoo;
  Rig& rig = zoo.rig;
  rig.ask<core::Ok>(core::RunEarlyOne{.seq = zoo.scheduled});
  EXPECT_EQ(rig.state(zoo.scheduled), State::que);
  EXPECT_EQ(rig.refused(core::RunEarlyOne{.seq = zoo.que}).code, Code::wrong_state);
  EXPECT_EQ(rig.refused(core::RunEarlyOne{.seq = zoo.err}).code, Code::wrong_state)
      << "in err, but not buried";
  EXPECT_EQ(rig.refused(core::RunEarlyOne{.seq = 999}).code, Code::not_found);
}

TEST_P(Peek, ShowsTheNextOfEachKindAndTakesNothing) {
  Zoo zoo;
  Rig& rig = zoo.rig;
  const auto peek = [&](core::PeekWhat what) {
    return rig.ask<core::Peeked>(core::Peek{.what = what, .queue = "q"});
  };
  EXPECT_EQ(peek(core::PeekWhat::ready).message.seq, zoo.que);
  EXPECT_EQ(peek(core::PeekWhat::ready).queue, "q");
  EXPECT_EQ(peek(core::PeekWhat::scheduled).message.seq, zoo.scheduled);
  EXPECT_EQ(rig.refused(core::Peek{.what = core::PeekWhat::held, .queue = "q"}).code,
            Code::not_found);
  ASSERT_TRUE(rig.finish(zoo.running, Outcome::hold));
  EXPECT_EQ(peek(core::PeekWhat::held).message.seq, zoo.run);
  EXPECT_EQ(rig.refused(core::Peek{.what = core::PeekWhat::ready, .queue = "nowhere"}).code,
            Code::not_found);
  EXPECT_EQ(rig.refused(core::Peek{.what = core::PeekWhat::message, .seq = 999}).code,
            Code::not_found);
  EXPECT_EQ(rig.state(zoo.que), State::que);
}

// What is in que with a priority above -1024: beanstalkd's urgent jobs, with one below 1024.
TEST_P(Urgent, FollowsStateAndPriority) {
  Rig rig{GetParam()};
  rig.define("q");
  rig.define("other");
  const auto urgent = [&rig] { return rig.counters("q").urgent; };
  const auto prioritise = [&rig](core::Seq seq, std::int64_t priority) {
    return rig.act({.action = Action::priority, .messages = {seq}, .priority = priority});
  };
  rig.put("q", -1024);
  EXPECT_EQ(urgent(), 0);
  const auto seq = rig.put("q", -1023);
  const auto plain = rig.put("q", std::int64_t{0});
  EXPECT_EQ(urgent(), 2);

  const Message taken = rig.take_one("q");
  ASSERT_EQ(taken.seq, plain);
  EXPECT_EQ(urgent(), 1);
  ASSERT_TRUE(
      rig.finish({.token = Rig::token_of(taken), .outcome = Outcome::release, .priority = -5000}));
  EXPECT_EQ(urgent(), 1) << "released with a low priority";
  ASSERT_TRUE(prioritise(plain, 7));
  EXPECT_EQ(urgent(), 2);
  ASSERT_TRUE(prioritise(plain, -1024));
  EXPECT_EQ(urgent(), 1);
  ASSERT_TRUE(rig.act(Action::run_now, plain));
  EXPECT_EQ(urgent(), 2) << "hurried past the bound";
  rig.expect_sound();

  ASSERT_TRUE(rig.act(Action::move, seq, "other"));
  EXPECT_EQ(urgent(), 1);
  EXPECT_EQ(rig.counters("other").urgent, 1);
  ASSERT_TRUE(rig.act(Action::remove, seq));
  EXPECT_EQ(rig.counters("other").urgent, 0);
  rig.crash();
  EXPECT_EQ(urgent(), 1) << "after a crash";
  rig.expect_sound();
}

INSTANTIATE_TEST_SUITE_P(Stores, Act, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, Cancel, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, Kill, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, Stop, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, Requeue, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, Retry, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, RunNow, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, Clone, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, Move, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, Priority, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, RunEarly, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, RunEarlyOne, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, Peek, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, Urgent, testing::ValuesIn(all_stores()), factory_name);

}  // namespace
}  // namespace rq::store::contract
