// Queues: made, changed, paused, drained, deleted; what is kept and for how long.
#include <gtest/gtest.h>

#include "base/limits.h"
#include "store/contract/engine_rig.h"

namespace rq::store::contract {
namespace {

class DefineQueueTest : public EngineSuite {};
class QueuesTest : public EngineSuite {};
class PauseTest : public EngineSuite {};
class DrainTest : public EngineSuite {};
class DownTest : public EngineSuite {};
class ScriptErrorTest : public EngineSuite {};
class DeleteQueueTest : public EngineSuite {};
class OnDemandTest : public EngineSuite {};
class RetentionTest : public EngineSuite {};
class StatsTest : public EngineSuite {};
class EngineTest : public EngineSuite {};

using core::Action;
using core::Admin;
using core::DefineQueue;
using core::Outcome;
using core::QueueShown;

TEST_P(DefineQueueTest, OutlivesTheServerWithAllItsSettings) {
  Rig rig{GetParam()};
  core::QueueSettings s;
  s.script = "/bin/true";
  s.retries = 3;
  s.env_vars = {{"A", "1"}};
  s.keep_err.count = 5;
  rig.define("q", s);
  rig.ask<core::Ok>(core::SetScriptError{.queue = "q", .error = "no such file"});
  const auto before = rig.queue("q").queue;
  rig.crash();
  const auto after = rig.queue("q").queue;
  EXPECT_EQ(after->settings, s);
  EXPECT_EQ(after->script_error, "no such file");
  EXPECT_EQ(after->revision, before->revision);
  EXPECT_EQ(after->created, before->created);
}

TEST_P(DefineQueueTest, ModesDifferInWhatTheyExpectToBeThere) {
  Rig rig{GetParam()};
  core::QueueSettings other;
  other.nice = 5;
  const auto define = [](DefineQueue::Mode mode, core::QueueSettings s = {}) {
    return DefineQueue{.queue = "q", .mode = mode, .settings = std::move(s)};
  };
  EXPECT_EQ(rig.refused(define(DefineQueue::Mode::change)).code, Code::not_found);
  EXPECT_EQ(rig.ask<QueueShown>(define(DefineQueue::Mode::create)).queue->revision, 1);
  EXPECT_EQ(rig.ask<QueueShown>(define(DefineQueue::Mode::create)).queue->revision, 1)
      << "the same again is no change";
  EXPECT_EQ(rig.refused(define(DefineQueue::Mode::create, other)).code, Code::exists);
  EXPECT_EQ(rig.ask<QueueShown>(define(DefineQueue::Mode::replace, other)).queue->revision, 2);
  EXPECT_EQ(rig.ask<QueueShown>(define(DefineQueue::Mode::change)).queue->revision, 3);
}

TEST_P(DefineQueueTest, ARevisionThatHasMovedOnIsRefused) {
  Rig rig{GetParam()};
  rig.define("q");
  core::QueueSettings s;
  s.nice = 5;
  DefineQueue change{.queue = "q", .mode = DefineQueue::Mode::change, .settings = s, .revision = 9};
  EXPECT_EQ(rig.refused(change).code, Code::wrong_state);
  change.revision = 1;
  EXPECT_EQ(rig.ask<QueueShown>(change).queue->revision, 2);
}

TEST_P(DefineQueueTest, BadNamesAndSettingsAreRefused) {
  Rig rig{GetParam()};
  for (const bool on_demand : {false, true}) {
    EXPECT_EQ(rig.refused(DefineQueue{.queue = "../x", .on_demand = on_demand}).code,
              Code::bad_name)
        << "on demand or not: a name becomes a path";
  }
  core::QueueSettings s;
  s.nice = 100;
  EXPECT_EQ(rig.refused(DefineQueue{.queue = "q", .settings = s}).code, Code::bad_value);
  EXPECT_TRUE(rig.ask<core::QueuesListed>(core::ListQueues{}).queues.empty());
}

TEST_P(DefineQueueTest, OnDemandNeverTakesPermanenceAway) {
  Rig rig{GetParam()};
  rig.define("q");
  core::QueueSettings s;
  s.nice = 1;
  const auto shown = rig.ask<QueueShown>(DefineQueue{
      .queue = "q", .mode = DefineQueue::Mode::replace, .settings = s, .on_demand = true});
  EXPECT_FALSE(shown.queue->on_demand);
}

TEST_P(QueuesTest, AreListedByName) {
  Rig rig{GetParam()};
  for (const char* name : {"b", "c", "a"}) rig.define(name);
  const auto listed = rig.ask<core::QueuesListed>(core::ListQueues{});
  ASSERT_EQ(listed.queues.size(), 3U);
  EXPECT_EQ(listed.queues[0].queue->name, "a");
  EXPECT_EQ(listed.queues[2].queue->name, "c");
  EXPECT_EQ(rig.refused(core::ShowQueue{.queue = "x"}).code, Code::not_found);
}

TEST_P(PauseTest, AcceptsButStartsNothingUntilResumed) {
  Rig rig{GetParam()};
  rig.define("q");
  rig.ask<QueueShown>(core::SetAdmin{.queue = "q", .admin = Admin::pause});
  rig.put("q");
  EXPECT_TRUE(rig.take("q").empty());
  const auto waiting = rig.submit(rig.waiting_reserve({{.queue = "q"}}));
  rig.run();
  EXPECT_FALSE(rig.answered(waiting));
  rig.ask<QueueShown>(core::SetAdmin{.queue = "q", .admin = Admin::up});
  EXPECT_EQ(rig.reply<core::Reserved>(waiting).messages.size(), 1U);
}

TEST_P(PauseTest, WithATimeResumesByItselfAlsoOverARestart) {
  Rig rig{GetParam()};
  rig.define("q");
  rig.put("q");
  rig.ask<QueueShown>(core::SetAdmin{.queue = "q", .admin = Admin::pause, .lasts = seconds{60}});
  EXPECT_EQ(rig.queue("q").queue->paused_until, rig.now + seconds{60});
  rig.pass(seconds{30});
  rig.crash();
  EXPECT_TRUE(rig.take("q").empty());
  rig.pass(seconds{30});
  EXPECT_EQ(rig.queue("q").queue->admin, Admin::up);
  EXPECT_EQ(rig.queue("q").queue->paused_until, base::Instant{});
  rig.take_one("q");
  EXPECT_EQ(
      rig.refused(core::SetAdmin{.queue = "q", .admin = Admin::pause, .lasts = Millis{0}}).code,
      Code::bad_value);
  EXPECT_EQ(rig.refused(core::SetAdmin{.queue = "nowhere"}).code, Code::not_found);
}

TEST_P(DrainTest, WorksOffWhatIsThere) {
  Rig rig{GetParam()};
  rig.define("q");
  rig.put("q");
  rig.ask<QueueShown>(core::SetAdmin{.queue = "q", .admin = Admin::drain});
  rig.take_one("q");
  EXPECT_EQ(rig.refused(Rig::put_of("q")).code, Code::queue_down);
}

TEST_P(DownTest, StartsNothing) {
  Rig rig{GetParam()};
  rig.define("q");
  rig.put("q");
  rig.ask<QueueShown>(core::SetAdmin{.queue = "q", .admin = Admin::down});
  EXPECT_TRUE(rig.take("q").empty());
}

TEST_P(ScriptErrorTest, StopsLeasingAndMendingStartsIt) {
  Rig rig{GetParam()};
  rig.define("q");
  rig.ask<core::Ok>(core::SetScriptError{.queue = "q", .error = "not executable"});
  rig.put("q");
  const auto waiting = rig.submit(rig.waiting_reserve({{.queue = "q"}}));
  rig.run();
  EXPECT_FALSE(rig.answered(waiting));
  rig.ask<core::Ok>(core::SetScriptError{.queue = "q", .error = ""});
  EXPECT_EQ(rig.reply<core::Reserved>(waiting).messages.size(), 1U);
}

TEST_P(DeleteQueueTest, WithUnfinishedMessagesWantsForceAndWithRunningOnesNeverGoes) {
  Rig rig{GetParam()};
  rig.define("q");
  rig.put("q");
  rig.put("q");
  core::Put p = Rig::put_of("q");
  p.prep = true;
  p.message.detail().key = "k";
  rig.ask<core::PutDone>(std::move(p));
  const auto m = rig.take_one("q");
  EXPECT_EQ(rig.refused(core::DeleteQueue{.queue = "q", .force = true}).code, Code::wrong_state);
  ASSERT_TRUE(rig.finish(m, Outcome::done));
  const Error e = rig.refused(core::DeleteQueue{.queue = "q"});
  EXPECT_EQ(e.code, Code::wrong_state);
  EXPECT_NE(e.message.find('2'), std::string::npos) << e.message;
  rig.ask<core::Ok>(core::DeleteQueue{.queue = "q", .force = true});
  EXPECT_EQ(rig.refused(core::ShowQueue{.queue = "q"}).code, Code::not_found);
  rig.reopen();
  EXPECT_EQ(rig.refused(core::ShowQueue{.queue = "q"}).code, Code::not_found);
  EXPECT_TRUE(rig.home().reader()->list({})->rows.empty());
  EXPECT_EQ(rig.refused(core::DeleteQueue{.queue = "q"}).code, Code::not_found);
}

TEST_P(DeleteQueueTest, TellsThoseWhoWaitThere) {
  Rig rig{GetParam()};
  rig.define("q");
  rig.define("other");
  const auto waiting = rig.submit(rig.waiting_reserve({{.queue = "q"}, {.queue = "other"}}));
  rig.run();
  rig.ask<core::Ok>(core::DeleteQueue{.queue = "q"});
  EXPECT_EQ(rig.reply<Error>(waiting).code, Code::not_found);
  EXPECT_EQ(rig.queue("other").waiting_reserves, 0);
}

// The row of the old queue was once deleted only at the commit, after the new one had been
// inserted.
TEST_P(DeleteQueueTest, WithManyMessagesTakesSeveralBatchesAndGoesOnAfterACrash) {
  constexpr std::int64_t kMessages = 2 * core::kStepMax + 500;
  Rig rig{GetParam()};
  rig.define("q");
  for (std::int64_t i = 0; i < kMessages; ++i) rig.submit(Rig::put_of("q", ""));
  rig.run();
  const auto first = rig.submit(core::DeleteQueue{.queue = "q", .force = true});
  rig.run();
  EXPECT_FALSE(rig.answered(first));
  EXPECT_EQ(rig.counters("q").in(State::que), kMessages - core::kStepMax);
  EXPECT_EQ(rig.refused(Rig::put_of("q")).code, Code::queue_down);
  rig.crash();
  rig.pass(Millis{0});
  EXPECT_EQ(rig.refused(core::ShowQueue{.queue = "q"}).code, Code::not_found);

  rig.define("q");
  for (std::int64_t i = 0; i < kMessages; ++i) rig.submit(Rig::put_of("q", ""));
  rig.run();
  const auto second = rig.submit(core::DeleteQueue{.queue = "q", .force = true});
  EXPECT_TRUE(rig.take("q").empty()) << "it gives nothing any more";
  rig.pass(Millis{0});
  rig.reply<core::Ok>(second);
  rig.expect_sound();
}

TEST_P(DeleteQueueTest, AndMakingItAgainFitInOneBatch) {
  Rig rig{GetParam()};
  rig.define("q");
  rig.put("q");
  rig.submit(core::DeleteQueue{.queue = "q", .force = true});
  const auto made = rig.submit(DefineQueue{.queue = "q"});
  const auto put = rig.submit(Rig::put_of("q"));
  rig.run();
  EXPECT_EQ(rig.reply<QueueShown>(made).queue->revision, 1);
  EXPECT_GT(rig.reply<core::PutDone>(put).seq, 0);
  rig.reopen();
  EXPECT_EQ(rig.counters("q").in(State::que), 1);
  rig.expect_sound();
}

TEST_P(OnDemandTest, AnEmptyQueueGoesWhenNobodyUsesIt) {
  Rig rig{GetParam()};
  core::Put p = Rig::put_of("made");
  p.make_queue = true;
  rig.ask<core::PutDone>(std::move(p));
  rig.pass(engine::kOnDemandIdle * 3);
  EXPECT_TRUE(rig.queue("made").queue->on_demand) << "a message is in it";
  const auto m = rig.take_one("made");
  ASSERT_TRUE(rig.finish(m, Outcome::done));
  EXPECT_FALSE(rig.exists(m.seq)) << "deleted when done";
  rig.pass(engine::kOnDemandIdle - Millis{1});
  EXPECT_TRUE(rig.queue("made").queue->on_demand);
  rig.pass(Millis{1});
  EXPECT_EQ(rig.refused(core::ShowQueue{.queue = "made"}).code, Code::not_found);
  rig.expect_sound();
}

TEST_P(OnDemandTest, ARefusalMakesNone) {
  Rig rig{GetParam()};
  core::Put p = Rig::put_of("made");
  p.make_queue = true;
  p.delay = Millis{-1};
  EXPECT_EQ(rig.refused(std::move(p)).code, Code::bad_value);
  core::Reserve r = Rig::reserve_of({{.queue = "made"}, {.queue = ""}});
  r.make_queue = true;
  EXPECT_EQ(rig.refused(std::move(r)).code, Code::bad_name);
  EXPECT_TRUE(rig.ask<core::QueuesListed>(core::ListQueues{}).queues.empty());
}

TEST_P(OnDemandTest, OneThatIsWaitedForStays) {
  Rig rig{GetParam()};
  core::Reserve r = rig.waiting_reserve({{.queue = "made"}});
  r.make_queue = true;
  rig.submit(std::move(r), 5);
  rig.run();
  rig.pass(engine::kOnDemandIdle * 2);
  EXPECT_EQ(rig.queue("made").waiting_reserves, 1);
  rig.submit(core::Disconnect{}, 5);
  rig.run();
  rig.pass(engine::kOnDemandIdle * 2);
  EXPECT_EQ(rig.refused(core::ShowQueue{.queue = "made"}).code, Code::not_found);
}

TEST_P(OnDemandTest, OneThatWasDefinedButNeverUsedGoesToo) {
  Rig rig{GetParam()};
  rig.ask<QueueShown>(DefineQueue{.queue = "made", .on_demand = true});
  rig.pass(engine::kOnDemandIdle);
  EXPECT_EQ(rig.refused(core::ShowQueue{.queue = "made"}).code, Code::not_found);
}

TEST_P(OnDemandTest, OneThatIsDefinedByHandStays) {
  Rig rig{GetParam()};
  core::Put p = Rig::put_of("made");
  p.make_queue = true;
  rig.ask<core::PutDone>(std::move(p));
  rig.define("made");
  EXPECT_FALSE(rig.queue("made").queue->on_demand);
  ASSERT_TRUE(rig.finish({.token = Rig::token_of(rig.take_one("made")), .remove = true}));
  rig.pass(engine::kOnDemandIdle * 3);
  EXPECT_FALSE(rig.queue("made").queue->on_demand);
}

TEST_P(RetentionTest, ByCountKeepsTheNewest) {
  Rig rig{GetParam()};
  core::QueueSettings s;
  s.keep_done.count = 3;
  rig.define("q", s);
  std::vector<core::Seq> seqs;
  for (int i = 0; i < 5; ++i) {
    seqs.push_back(rig.put("q"));
    ASSERT_TRUE(rig.finish(rig.take_one("q"), Outcome::done));
    rig.pass(seconds{1});
  }
  EXPECT_FALSE(rig.exists(seqs[0]));
  EXPECT_FALSE(rig.exists(seqs[1]));
  for (const std::size_t i : {2U, 3U, 4U}) EXPECT_TRUE(rig.exists(seqs[i]));
  EXPECT_EQ(rig.counters("q").in(State::done), 3);
  EXPECT_EQ(rig.counters("q").deletes, 2);
  rig.expect_sound();
}

TEST_P(RetentionTest, ByAgeWithNobodyLookingAndOverARestart) {
  Rig rig{GetParam()};
  core::QueueSettings s;
  s.keep_done.age = seconds{100};
  s.keep_err.age = seconds{200};
  rig.define("q", s);
  const auto done = rig.put("q");
  ASSERT_TRUE(rig.finish(rig.take_one("q"), Outcome::done));
  const auto err = rig.put("q");
  ASSERT_TRUE(rig.finish(rig.take_one("q"), Outcome::err));
  rig.pass(Millis{99'999});
  EXPECT_TRUE(rig.exists(done));
  rig.crash();
  rig.pass(Millis{1});
  EXPECT_FALSE(rig.exists(done));
  EXPECT_TRUE(rig.exists(err));
  rig.pass(seconds{100});
  EXPECT_FALSE(rig.exists(err));
  rig.expect_sound();
}

TEST_P(RetentionTest, OfCountZeroDeletesAtOnce) {
  Rig rig{GetParam()};
  core::QueueSettings s;
  s.keep_done.count = 0;
  rig.define("q", s);
  const auto seq = rig.put("q");
  EXPECT_EQ(*rig.finish(rig.take_one("q"), Outcome::done), State::done);
  EXPECT_FALSE(rig.exists(seq));
  EXPECT_TRUE(rig.home().reader()->attempts(seq)->empty());
}

TEST_P(RetentionTest, ThatIsShortenedTakesEffectAtOnce) {
  Rig rig{GetParam()};
  rig.define("q");
  const auto seq = rig.put("q");
  ASSERT_TRUE(rig.finish(rig.take_one("q"), Outcome::done));
  rig.pass(seconds{10});
  core::QueueSettings s;
  s.keep_done.age = seconds{5};
  rig.define("q", s);
  rig.pass(Millis{0});
  EXPECT_FALSE(rig.exists(seq));
}

TEST_P(RetentionTest, SweepsABoundedNumberABatchAndAllInTheEnd) {
  Rig rig{GetParam()};
  rig.define("q");
  const auto n = engine::kRetentionStep * 2 + 100;
  core::PutMany many;
  for (std::size_t i = 0; i < n; ++i) many.puts.push_back(Rig::put_of("q"));
  rig.ask<core::PutManyDone>(std::move(many));
  core::Finish all;
  for (const auto& m : rig.take("q", static_cast<std::int64_t>(n))) {
    all.items.push_back({.token = Rig::token_of(m)});
  }
  rig.ask<core::FinishDone>(std::move(all));
  core::QueueSettings s;
  s.keep_done.count = 0;
  rig.define("q", s);
  rig.run();
  EXPECT_GT(rig.counters("q").in(State::done), 0) << "one batch does not do it all";
  rig.pass(Millis{0});
  EXPECT_EQ(rig.counters("q").in(State::done), 0);
  rig.expect_sound();
}

TEST_P(StatsTest, CountOverAllQueuesAlsoDeletedOnes) {
  Rig rig{GetParam()};
  rig.define("a");
  rig.define("b");
  rig.put("a");
  ASSERT_TRUE(rig.finish(rig.take_one("a"), Outcome::done));
  rig.ask<core::Ok>(core::DeleteQueue{.queue = "a"});
  const auto last = rig.put("b");
  rig.submit(rig.waiting_reserve({{.queue = "b"}}));
  const auto stats = rig.ask<core::EngineStatsDone>(core::EngineStats{});
  EXPECT_EQ(stats.queues, 1);
  EXPECT_EQ(stats.totals->puts, 2);
  EXPECT_EQ(stats.totals->dones, 1);
  EXPECT_EQ(stats.totals->in(State::done), 0);
  EXPECT_EQ(stats.last_seq, last);
  EXPECT_EQ(stats.boot, 1);
  EXPECT_GT(stats.batches, 0);
  EXPECT_GT(stats.syncs, 0);
}

// The same script twice gives the same bytes.
TEST_P(EngineTest, IsDeterministic) {
  const auto play = [] {
    Rig rig{GetParam()};
    core::QueueSettings s;
    s.retries = 3;
    s.lease = seconds{20};
    for (int i = 0; i < 40; ++i) rig.define(fmt::format("q{}", i), s);
    for (int round = 0; round < 20; ++round) {
      for (int i = 0; i < 40; ++i) {
        core::Put p = Rig::put_of(fmt::format("q{}", i * 7 % 40), fmt::format("{}-{}", round, i));
        p.priority = i % 3;
        if (i % 5 == 0) p.delay = seconds{i};
        if (i % 4 == 0) p.message.detail().tags = {"t", fmt::format("t{}", i)};
        rig.submit(std::move(p));
      }
      std::vector<core::ReserveQueue> all;
      for (int i = 0; i < 40; ++i) all.push_back({.queue = fmt::format("q{}", i)});
      const auto reserve = Rig::reserve_of(all, 20);
      auto got = rig.ask<core::Reserved>(reserve).messages;
      core::Finish finish;
      for (std::size_t i = 0; i < got.size(); ++i) {
        if (i % 4 == 3) continue;
        finish.items.push_back({.token = Rig::token_of(got[i]),
                                .outcome = static_cast<Outcome>(i % 7),
                                .delay = seconds{1}});
      }
      rig.ask<core::FinishDone>(std::move(finish));
      rig.pass(seconds{7});
    }
    rig.expect_sound();
    return rig.home().dump();
  };
  const std::string first = play();
  EXPECT_GT(first.size(), 10'000U);
  EXPECT_EQ(first, play());
}

INSTANTIATE_TEST_SUITE_P(Stores, DefineQueueTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, QueuesTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, PauseTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, DrainTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, DownTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, ScriptErrorTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, DeleteQueueTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, OnDemandTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, RetentionTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, StatsTest, testing::ValuesIn(all_stores()), factory_name);
INSTANTIATE_TEST_SUITE_P(Stores, EngineTest, testing::ValuesIn(all_stores()), factory_name);

}  // namespace
}  // namespace rq::store::contract
