// What the engine does with puts and with time, over a real SQLite store.
#include <gtest/gtest.h>

#include "base/limits.h"
#include "store/contract/engine_rig.h"

namespace rq::store::contract {
namespace {

class PutTest : public EngineSuite {};
class PutManyTest : public EngineSuite {};
class TimersTest : public EngineSuite {};
class SyncClassTest : public EngineSuite {};

using core::Action;
using core::Admin;
using core::Mark;
using core::Outcome;
using core::Put;
using core::PutDone;

// faults.md D2, relative: where messages say what runs, whoever may bring one in decides that.
TEST_P(PutTest, MessagesComeFromKnownCallersOnlyWhereTheQueueSaysSo) {
  constexpr std::int64_t kSomebody = 1000;
  for (const std::int64_t caller : {std::int64_t{-1}, kSomebody}) {
    Rig rig{GetParam()};
    core::QueueSettings settings;
    settings.put_over_tcp = false;
    rig.define("q", settings);
    rig.define("other");
    rig.caller_uid = kSomebody;
    const auto done = rig.put("q");
    ASSERT_TRUE(rig.finish(rig.take_one("q"), Outcome::done));
    rig.put("other");
    const core::Token token = Rig::token_of(rig.take_one("other"));
    const auto waits = rig.put("other");
    rig.caller_uid = caller;
    const auto act = [](Action action, core::Seq seq) {
      return core::Act{.action = action, .messages = {seq}, .queue = "q"};
    };
    const std::optional<Code> want =
        caller == kSomebody ? std::nullopt : std::optional(Code::forbidden);
    EXPECT_EQ(rig.code_of(Rig::put_of("q")), want);
    EXPECT_EQ(rig.code_of(act(Action::clone, done)), want);
    EXPECT_EQ(rig.code_of(act(Action::move, waits)), want);
    EXPECT_EQ(rig.code_of(core::Duplicate{.token = token, .queue = "q"}), want);
    EXPECT_EQ(rig.code_of(act(Action::retry, done)), std::nullopt) << "it is in there already";
    EXPECT_GT(rig.take_one("q").seq, 0) << "and anybody may work it off";
  }
}

TEST_P(PutTest, IsThereAfterTheServerDies) {
  Rig rig{GetParam()};
  rig.define("q");
  Put put = Rig::put_of("q", std::string("a\0b", 3));
  put.priority = 7;
  put.max_count = 3;
  core::Details& d = put.message.detail();
  d.key = "k";
  d.param1 = "one";
  d.tags = {"x", "y"};
  d.headers = {{"h", "1"}};
  const auto done = rig.ask<PutDone>(std::move(put));
  rig.crash();
  const core::Message m = rig.show(done.seq);
  EXPECT_EQ(m.state, State::que);
  EXPECT_EQ(m.payload, std::string("a\0b", 3));
  EXPECT_EQ(m.priority, 7);
  EXPECT_EQ(m.max_count, 3);
  EXPECT_EQ(m.created, done.created);
  ASSERT_NE(m.details, nullptr);
  EXPECT_EQ(m.details->key, "k");
  EXPECT_EQ(m.details->param1, "one");
  EXPECT_EQ(m.details->tags, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(m.details->headers, (core::TextPairs{{"h", "1"}}));
  rig.expect_sound();
}

TEST_P(PutTest, TakesPriorityAndMaxCountOfTheQueueWhenItHasNone) {
  Rig rig{GetParam()};
  core::QueueSettings s;
  s.priority = -3;
  s.max_count = 4;
  rig.define("q", s);
  const core::Message m = rig.show(rig.put("q"));
  EXPECT_EQ(m.priority, -3);
  EXPECT_EQ(m.max_count, 4);
}

TEST_P(PutTest, OfTheSameKeyAnswersWithTheFirst) {
  Rig rig{GetParam()};
  rig.define("q");
  rig.define("other");
  Put put = Rig::put_of("q", "first");
  put.message.detail().key = "order-7";
  const auto first = rig.ask<PutDone>(std::move(put));
  EXPECT_FALSE(first.repeated);
  rig.now += seconds{5};
  const auto again = [&](const char* queue, const char* payload = "first") {
    Put p = Rig::put_of(queue, payload);
    p.message.detail().key = "order-7";
    return p;
  };
  const auto second = rig.ask<PutDone>(again("q"));
  EXPECT_TRUE(second.repeated);
  EXPECT_EQ(second.seq, first.seq);
  EXPECT_EQ(second.created, first.created);
  rig.crash();
  EXPECT_TRUE(rig.ask<PutDone>(again("q")).repeated);
  EXPECT_EQ(rig.counters("q").puts, 1);
  // Gone is gone: the key is free again.
  ASSERT_TRUE(rig.act(Action::remove, first.seq));
  EXPECT_FALSE(rig.ask<PutDone>(again("q")).repeated);
  rig.expect_sound();
}

// faults.md A7: a repeat is the same queue and the same content; else it says what differs.
TEST_P(PutTest, OfTheSameKeyWithOtherContentIsRefused) {
  Rig rig{GetParam()};
  rig.define("a");
  rig.define("b");
  const auto put = [&](const char* queue, const char* payload, const char* param) {
    Put p = Rig::put_of(queue, payload);
    p.message.detail().key = "k";
    p.message.detail().param1 = param;
    return p;
  };
  rig.ask<PutDone>(put("a", "one", "p"));
  ASSERT_TRUE(rig.finish(rig.take_one("a"), core::Outcome::err));
  const auto says = [&](Put p, const char* what) {
    const Error e = rig.refused(std::move(p));
    EXPECT_EQ(e.code, Code::exists);
    EXPECT_NE(e.message.find(what), std::string::npos) << e.message;
  };
  says(put("b", "one", "p"), "queue 'a'");
  says(put("a", "two", "p"), "payload");
  says(put("a", "one", "other"), "params");
  EXPECT_TRUE(rig.ask<PutDone>(put("a", "one", "p")).repeated) << "also when it has ended";
  EXPECT_EQ(rig.counters("b").puts, 0);
}

TEST_P(PutTest, OfTheSameKeyTwiceInOneBatchIsOneMessage) {
  Rig rig{GetParam()};
  rig.define("q");
  std::vector<std::uint64_t> requests;
  for (int i = 0; i < 3; ++i) {
    Put p = Rig::put_of("q");
    p.message.detail().key = "k";
    requests.push_back(rig.submit(std::move(p)));
  }
  rig.run();
  const auto first = rig.reply<PutDone>(requests[0]);
  EXPECT_FALSE(first.repeated);
  for (const std::size_t i : {1U, 2U}) {
    const auto more = rig.reply<PutDone>(requests[i]);
    EXPECT_TRUE(more.repeated);
    EXPECT_EQ(more.seq, first.seq);
  }
  EXPECT_EQ(rig.counters("q").in(State::que), 1);
}

TEST_P(PutTest, AKeyCanChangeHandsWithinOneBatch) {
  Rig rig{GetParam()};
  rig.define("q");
  Put p = Rig::put_of("q", "old");
  p.message.detail().key = "k";
  const auto old = rig.ask<PutDone>(std::move(p));
  rig.submit(core::Act{.action = Action::remove, .messages = {old.seq}});
  Put next = Rig::put_of("q", "new");
  next.message.detail().key = "k";
  const auto request = rig.submit(std::move(next));
  rig.run();
  const auto done = rig.reply<PutDone>(request);
  EXPECT_FALSE(done.repeated);
  rig.reopen();
  EXPECT_FALSE(rig.exists(old.seq));
  EXPECT_EQ(rig.show(done.seq).payload, "new");
  rig.expect_sound();
}

TEST_P(PutTest, IntoAQueueThatIsNotThereIsRefused) {
  Rig rig{GetParam()};
  const Error e = rig.refused(Rig::put_of("nowhere"));
  EXPECT_EQ(e.code, Code::not_found);
  EXPECT_NE(e.message.find("'nowhere'"), std::string::npos);
  EXPECT_FALSE(e.remedy.empty());
}

TEST_P(PutTest, IsTakenOnlyWhereTheAdminStateAllowsIt) {
  Rig rig{GetParam()};
  rig.define("q");
  const auto set = [&](Admin admin) {
    rig.ask<core::QueueShown>(core::SetAdmin{.queue = "q", .admin = admin});
  };
  for (const Admin admin : {Admin::down, Admin::drain}) {
    set(admin);
    const Error e = rig.refused(Rig::put_of("q"));
    EXPECT_EQ(e.code, Code::queue_down) << name_of(admin);
    EXPECT_NE(e.message.find(name_of(admin)), std::string::npos) << e.message;
  }
  for (const Admin admin : {Admin::pause, Admin::up}) {
    set(admin);
    EXPECT_GT(rig.put("q"), 0) << name_of(admin);
  }
}

TEST_P(PutTest, IntoAFullQueueIsRefusedUntilOneIsFinished) {
  Rig rig{GetParam()};
  core::QueueSettings s;
  s.messages_max = 2;
  rig.define("q", s);
  rig.put("q");
  rig.put("q");
  EXPECT_EQ(rig.refused(Rig::put_of("q")).code, Code::queue_full);
  ASSERT_TRUE(rig.finish(rig.take_one("q"), Outcome::done));
  EXPECT_GT(rig.put("q"), 0);
}

TEST_P(PutTest, RefusesWhatIsOutOfBoundsAndKeepsNothingOfIt) {
  Rig rig{GetParam()};
  core::QueueSettings s;
  s.payload_bytes_max = 10;
  rig.define("q", s);
  const auto spoilt = [&](auto spoil) {
    Put p = Rig::put_of("q");
    spoil(p);
    return rig.refused(std::move(p)).code;
  };
  EXPECT_EQ(spoilt([](Put& p) { p.message.payload.assign(11, 'x'); }), Code::too_large);
  EXPECT_EQ(spoilt([](Put& p) { p.priority = base::kPriorityMax + 1; }), Code::bad_value);
  EXPECT_EQ(spoilt([](Put& p) { p.max_count = -1; }), Code::bad_value);
  EXPECT_EQ(spoilt([](Put& p) { p.delay = Millis{-1}; }), Code::bad_value);
  EXPECT_EQ(spoilt([](Put& p) { p.delay = base::kDelayMax + seconds{1}; }), Code::bad_value);
  EXPECT_EQ(spoilt([](Put& p) { p.due = base::Instant::max(); }), Code::bad_value);
  EXPECT_EQ(spoilt([](Put& p) { p.message.count = -1; }), Code::bad_value);
  EXPECT_EQ(spoilt([](Put& p) { p.message.detail().key.assign(257, 'k'); }), Code::too_large);
  EXPECT_EQ(spoilt([](Put& p) { p.message.detail().param1 = std::string("\0", 1); }),
            Code::bad_value);
  EXPECT_EQ(spoilt([](Put& p) { p.message.detail().tags = {""}; }), Code::bad_value);
  EXPECT_EQ(spoilt([](Put& p) { p.message.detail().tags.assign(65, "t"); }), Code::too_many);
  EXPECT_EQ(spoilt([](Put& p) { p.message.detail().headers = {{"", "v"}}; }), Code::bad_value);
  EXPECT_EQ(spoilt([](Put& p) { p.message.detail().webhooks = {"http://x"}; }),
            Code::unsupported);  // faults.md C21
  EXPECT_EQ(spoilt([](Put& p) { p.message.detail().content_type = "a\nb"; }), Code::bad_value);
  EXPECT_EQ(spoilt([](Put& p) { p.message.detail().retries = -1; }), Code::bad_value);
  EXPECT_EQ(spoilt([](Put& p) { p.message.lease_length = Millis{1}; }), Code::bad_value);
  EXPECT_EQ(spoilt([](Put& p) { p.message.detail().timeout = Millis{-1}; }), Code::bad_value);
  EXPECT_EQ(
      spoilt([](Put& p) { p.message.detail().backoff = core::Backoff{.jitter_percent = 200}; }),
      Code::bad_value);
  EXPECT_EQ(rig.counters("q"), core::Counters{});
}

TEST_P(PutTest, WithADelayWaitsForItAndNotAMillisecondLess) {
  Rig rig{GetParam()};
  rig.define("q");
  Put p = Rig::put_of("q");
  p.delay = seconds{10};
  const auto done = rig.ask<PutDone>(std::move(p));
  EXPECT_EQ(done.state, State::scheduled);
  const auto wake = rig.engine().next_wake();
  EXPECT_LE(wake, rig.now + seconds{10}) << "the engine must be called by then";
  rig.pass(Millis{9'999});
  EXPECT_TRUE(rig.take("q").empty());
  EXPECT_EQ(rig.state(done.seq), State::scheduled);
  rig.pass(Millis{1});
  EXPECT_EQ(rig.state(done.seq), State::que) << "it is moved with nobody looking";
  EXPECT_EQ(rig.take_one("q").seq, done.seq);
}

TEST_P(PutTest, WithADueTimeInThePastRunsAtOnce) {
  Rig rig{GetParam()};
  rig.define("q");
  Put p = Rig::put_of("q");
  p.due = rig.now - seconds{100};
  EXPECT_EQ(rig.ask<PutDone>(std::move(p)).state, State::que);
}

TEST_P(PutTest, DueMessagesComeByTheirTimes) {
  Rig rig{GetParam()};
  rig.define("q");
  const auto later = [&](int s) {
    Put p = Rig::put_of("q");
    p.delay = seconds{s};
    return rig.ask<PutDone>(std::move(p)).seq;
  };
  const auto a = later(30);
  const auto b = later(10);
  const auto c = later(20);
  rig.pass(seconds{10});
  EXPECT_EQ(rig.take_one("q").seq, b);
  rig.pass(seconds{20});
  EXPECT_EQ(rig.take_one("q").seq, c) << "both are due: the one with the smaller due time first";
  EXPECT_EQ(rig.take_one("q").seq, a);
}

TEST_P(PutTest, ADueTimeOutlivesTheServer) {
  Rig rig{GetParam()};
  rig.define("q");
  Put p = Rig::put_of("q");
  p.delay = seconds{10};
  const auto seq = rig.ask<PutDone>(std::move(p)).seq;
  rig.crash();
  EXPECT_EQ(rig.state(seq), State::scheduled);
  rig.pass(seconds{10});
  EXPECT_EQ(rig.take_one("q").seq, seq);
}

TEST_P(PutTest, InPrepIsNoWorkBeforeItsCommit) {
  Rig rig{GetParam()};
  rig.define("q");
  Put p = Rig::put_of("q");
  p.prep = true;
  const auto done = rig.ask<PutDone>(std::move(p));
  EXPECT_EQ(done.state, State::prep);
  EXPECT_TRUE(rig.take("q").empty());
  const auto committed = rig.act(Action::commit, done.seq);
  ASSERT_TRUE(committed);
  EXPECT_EQ(committed->state, State::que);
  const auto twice = rig.act(Action::commit, done.seq);
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error().code, Code::wrong_state);
  EXPECT_EQ(rig.take_one("q").seq, done.seq);
}

TEST_P(PutTest, InPrepWithADelayIsScheduledByItsCommit) {
  Rig rig{GetParam()};
  rig.define("q");
  Put p = Rig::put_of("q");
  p.prep = true;
  p.delay = seconds{10};
  const auto done = rig.ask<PutDone>(std::move(p));
  EXPECT_EQ(done.state, State::prep);
  EXPECT_EQ(rig.act(Action::commit, done.seq)->state, State::scheduled);
  rig.pass(seconds{10});
  EXPECT_EQ(rig.state(done.seq), State::que);
}

TEST_P(PutManyTest, RefusesEachAlone) {
  Rig rig{GetParam()};
  rig.define("q");
  core::PutMany many;
  many.puts.push_back(Rig::put_of("q", "a"));
  many.puts.push_back(Rig::put_of("nowhere"));
  many.puts.push_back(Rig::put_of("q"));
  many.puts.back().delay = Millis{-5};
  many.puts.push_back(Rig::put_of("q", "b"));
  const auto done = rig.ask<core::PutManyDone>(std::move(many));
  ASSERT_EQ(done.puts.size(), 4U);
  EXPECT_TRUE(done.puts[0]);
  EXPECT_EQ(done.puts[1].error().code, Code::not_found);
  EXPECT_EQ(done.puts[2].error().code, Code::bad_value);
  ASSERT_TRUE(done.puts[3]);
  EXPECT_LT(done.puts[0]->seq, done.puts[3]->seq);
  EXPECT_EQ(rig.counters("q").in(State::que), 2);
}

TEST_P(PutTest, MakesAQueueOnDemandWithAnAllowedNameOnly) {
  Rig rig{GetParam()};
  Put p = Rig::put_of("made");
  p.make_queue = true;
  rig.ask<PutDone>(std::move(p));
  EXPECT_TRUE(rig.queue("made").queue->on_demand);
  Put bad = Rig::put_of("../etc");
  bad.make_queue = true;
  EXPECT_EQ(rig.refused(std::move(bad)).code, Code::bad_name);
}

TEST_P(TimersTest, AreBoundedInOneBatchAndStillAllHandled) {
  Rig rig{GetParam()};
  rig.define("q");
  const auto n = static_cast<std::int64_t>(engine::kDueMax) + 500;
  core::PutMany many;
  for (std::int64_t i = 0; i < n; ++i) {
    many.puts.push_back(Rig::put_of("q"));
    many.puts.back().delay = seconds{10};
  }
  rig.ask<core::PutManyDone>(std::move(many));
  rig.now += seconds{10};
  rig.run();
  EXPECT_EQ(rig.counters("q").in(State::que), n) << "two batches: this one asked for the counters";
  const auto wake = rig.engine().next_wake();
  EXPECT_GT(wake, rig.now);
}

TEST_P(SyncClassTest, RelaxedPutsAreSyncedTogetherWithinASecond) {
  Rig rig{GetParam()};
  core::QueueSettings s;
  s.sync = core::SyncClass::relaxed;
  rig.define("q", s);
  const auto syncs = [&] { return rig.ask<core::EngineStatsDone>(core::EngineStats{}).syncs; };
  rig.put("q");  // sets numbers aside, which is synced
  rig.pass(core::kSoon);
  const auto before = syncs();
  for (int i = 0; i < 4; ++i) rig.put("q");
  EXPECT_EQ(syncs(), before);
  const auto wake = rig.engine().next_wake();
  EXPECT_LE(wake, rig.now + core::kSoon);
  rig.pass(core::kSoon);
  EXPECT_EQ(syncs(), before + 1);
  rig.pass(seconds{60});
  EXPECT_EQ(syncs(), before + 1) << "nothing more to sync";
  EXPECT_EQ(rig.counters("q").in(State::que), 5);
}

TEST_P(SyncClassTest, ALeaseIsNotSyncedAndAPutIs) {
  Rig rig{GetParam()};
  rig.define("q");
  const auto syncs = [&] { return rig.ask<core::EngineStatsDone>(core::EngineStats{}).syncs; };
  const auto before = syncs();
  rig.put("q");
  EXPECT_EQ(syncs(), before + 1);
  const core::Message m = rig.take_one("q");
  ASSERT_TRUE(rig.heartbeat({.token = Rig::token_of(m)}));
  EXPECT_EQ(syncs(), before + 1);
  ASSERT_TRUE(rig.finish(m, Outcome::done));
  EXPECT_EQ(syncs(), before + 2);
}

INSTANTIATE_TEST_SUITE_P(Stores, PutTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, PutManyTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, TimersTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, SyncClassTest, testing::ValuesIn(all_stores()), factory_name);

}  // namespace
}  // namespace rq::store::contract
