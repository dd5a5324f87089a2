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
  // faults.md B18, relative: without a script there is nothing to be mended.
  s.script.clear();
  rig.define("q", s);
  EXPECT_EQ(rig.queue("q").queue->script_error, "");
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

// faults.md D4, relative: such a queue could never start a script.
TEST_P(DefineQueueTest, SettingsWithWhichNoScriptStartsAreRefused) {
  Rig rig{GetParam()};
  core::QueueSettings few;
  few.limits.open_files = base::kOpenFilesMin - 1;
  core::QueueSettings large;
  const std::string value(base::kEnvVarBytesMax, 'x');
  for (std::size_t i = 0; i <= base::kEnvVarsBytesMax / value.size(); ++i) {
    large.env_vars.emplace_back(std::to_string(i), value);
  }
  EXPECT_EQ(rig.code_of(core::DefineQueue{.queue = "q", .settings = few}), Code::bad_value);
  EXPECT_EQ(rig.code_of(core::DefineQueue{.queue = "q", .settings = large}), Code::too_large);
  few.limits.open_files = base::kOpenFilesMin;
  rig.define("q", few);
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

// faults.md E2: at once, for whoever waits and for what stands behind it in the same batch.
TEST_P(PauseTest, ByAClientOfNoTimeEndsAnotherOneAtOnce) {
  Rig rig{GetParam()};
  rig.define("q");
  rig.put("q");
  const auto pause = [](Millis lasts) {
    return core::SetAdmin{.queue = "q", .admin = Admin::pause, .lasts = lasts, .by_client = true};
  };
  EXPECT_EQ(rig.ask<QueueShown>(pause(seconds{60})).queue->admin, Admin::pause);
  EXPECT_TRUE(rig.take("q").empty());
  EXPECT_EQ(rig.ask<QueueShown>(pause(Millis{0})).queue->admin, Admin::up);
  rig.take_one("q");
}

// faults.md E2, relative: an operator's word stands above a client's.
TEST_P(PauseTest, ByAClientLeavesWhatTheOperatorClosed) {
  Rig rig{GetParam()};
  rig.define("q");
  for (const Admin admin : {Admin::drain, Admin::down}) {
    rig.ask<QueueShown>(core::SetAdmin{.queue = "q", .admin = admin});
    for (const Millis lasts : {Millis{0}, Millis{1000}}) {
      const auto shown = rig.ask<QueueShown>(
          core::SetAdmin{.queue = "q", .admin = Admin::pause, .lasts = lasts, .by_client = true});
      EXPECT_EQ(shown.queue->admin, admin);
    }
    rig.pass(seconds{2});
    EXPECT_EQ(rig.queue("q").queue->admin, admin);
  }
}

// faults.md E5: a clock that tells whole milliseconds may be short by one.
TEST_P(PauseTest, NothingThatLastsEndsBeforeItsLengthHasTrulyPassed) {
  Rig rig{GetParam()};
  rig.define("q");
  rig.tick = Millis{1};
  rig.ask<QueueShown>(core::SetAdmin{.queue = "q", .admin = Admin::pause, .lasts = seconds{60}});
  EXPECT_EQ(rig.queue("q").queue->paused_until, rig.now + seconds{60} + rig.tick);
  core::Put put{.queue = "q"};
  put.delay = seconds{60};
  const auto later = rig.ask<core::PutDone>(std::move(put));
  rig.pass(seconds{60});
  EXPECT_EQ(rig.queue("q").queue->admin, Admin::pause);
  EXPECT_EQ(rig.show(later.seq).state, core::State::scheduled);
  rig.pass(Millis{1});
  EXPECT_EQ(rig.queue("q").queue->admin, Admin::up);
  EXPECT_EQ(rig.show(later.seq).state, core::State::que);
  const auto taken = rig.take_one("q");
  EXPECT_EQ(taken.lease->until - taken.lease->since, taken.lease->length + rig.tick);
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
  EXPECT_NE(e.message.find("1 que, 1 done"), std::string::npos) << e.message;
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

// faults.md E4
TEST_P(OnDemandTest, GoesAtOnceIfUnusedWhenItIsToldTo) {
  Rig rig{GetParam()};
  const auto drop = [&rig](const std::string& queue) {
    rig.ask<core::Ok>(core::DeleteQueue{.queue = queue, .if_unused = true});
  };
  core::Put put{.queue = "used"};
  put.make_queue = true;
  const auto seq = rig.ask<core::PutDone>(std::move(put)).seq;
  rig.define("by_hand");
  for (const char* queue : {"used", "by_hand", "nowhere"}) drop(queue);
  EXPECT_EQ(rig.queue("used").queue->counters.puts, 1);
  EXPECT_EQ(rig.queue("by_hand").queue->name, "by_hand");
  core::Act act;
  act.action = core::Action::remove;
  act.messages = {seq};
  rig.ask<core::ActDone>(std::move(act));
  const auto in_use = [&rig] {
    std::vector<std::string> names;
    for (const auto& name :
         rig.ask<core::EngineStatsDone>(core::EngineStats{.names = true}).in_use) {
      names.push_back(*name);
    }
    return names;
  };
  EXPECT_EQ(in_use(), std::vector<std::string>{"by_hand"});
  drop("used");
  EXPECT_EQ(rig.refused(core::ShowQueue{"used"}).code, Code::not_found);
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

// faults.md A3: made by a pause it had other settings than made by a put.
TEST_P(OnDemandTest, OneIsLikeTheOtherWhoeverMakesIt) {
  Rig rig{GetParam()};
  core::Put p = Rig::put_of("by put");
  p.queue = "by-put";
  p.make_queue = true;
  rig.ask<core::PutDone>(std::move(p));
  core::Reserve r = Rig::reserve_of({{.queue = "by-reserve"}});
  r.make_queue = true;
  rig.ask<core::Reserved>(std::move(r));
  core::QueueSettings other;
  other.retries = 7;
  for (int i = 0; i < 2; ++i) {
    rig.ask<QueueShown>(DefineQueue{.queue = "by-define",
                                    .settings = i == 0 ? core::QueueSettings{} : other,
                                    .on_demand = true});
  }
  const auto first = *rig.queue("by-put").queue;
  EXPECT_EQ(first.settings.losses, 0) << "its leases may be lost any number of times";
  for (const char* name : {"by-reserve", "by-define"}) {
    const auto queue = *rig.queue(name).queue;
    EXPECT_TRUE(queue.on_demand);
    EXPECT_EQ(queue.settings, first.settings) << name;
    EXPECT_EQ(queue.revision, 1) << name;
  }
}

// faults.md D20: with all queues taken, the clients that name none were refused as well.
TEST_P(OnDemandTest, WhenThereAreTooManyUnusedOnesGoAndTheDefaultIsAlwaysMade) {
  Rig rig{GetParam(), 4};
  const auto use = [&](const std::string& name, bool put) {
    if (put) {
      core::Put p = Rig::put_of(name);
      p.make_queue = true;
      return rig.submit(std::move(p));
    }
    core::Reserve r = Rig::reserve_of({{.queue = name}});
    r.make_queue = true;
    return rig.submit(std::move(r));
  };
  rig.define("by-hand");
  use("full", true);
  use("unused", false);
  rig.pass(seconds{1});
  core::Reserve waiting = rig.waiting_reserve({{.queue = "waited-for"}});
  waiting.make_queue = true;
  rig.submit(std::move(waiting), 5);
  rig.pass(seconds{1});
  ASSERT_EQ(rig.ask<core::QueuesListed>(core::ListQueues{}).queues.size(), 4U);
  const auto fifth = use("fifth", true);
  rig.run();
  EXPECT_GT(rig.reply<core::PutDone>(fifth).seq, 0);
  EXPECT_EQ(rig.refused(core::ShowQueue{.queue = "unused"}).code, Code::not_found);
  rig.pass(seconds{1});
  const auto none_to_go = use("sixth", false);
  rig.run();
  EXPECT_EQ(rig.reply<Error>(none_to_go).code, Code::too_many);
  const auto by_default = use("default", false);
  rig.run();
  EXPECT_TRUE(rig.reply<core::Reserved>(by_default).messages.empty());
  EXPECT_TRUE(rig.queue("default").queue->on_demand);
  EXPECT_EQ(rig.queue("waited-for").waiting_reserves, 1);
  EXPECT_EQ(rig.queue("by-hand").queue->name, "by-hand");
  rig.expect_sound();
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

// faults.md A8: 4,000 of 104,000 failures were deleted by a default, and nothing said so.
TEST_P(RetentionTest, RemovesFailuresByNumberOnlyWhereTheQueueAsksAndCountsWhatItRemoves) {
  Rig rig{GetParam()};
  core::QueueSettings s;
  EXPECT_EQ(s.keep_err.count, core::kKeepAny);
  s.keep_done.count = 1;
  rig.define("q", s);
  for (int i = 0; i < 4; ++i) {
    for (const Outcome outcome : {Outcome::done, Outcome::err}) {
      rig.put("q");
      ASSERT_TRUE(rig.finish(rig.take_one("q"), outcome));
    }
    rig.pass(seconds{1});
  }
  EXPECT_EQ(rig.counters("q").in(State::done), 1);
  EXPECT_EQ(rig.counters("q").in(State::err), 4);
  EXPECT_EQ(rig.counters("q").expired, 3);
  EXPECT_EQ(rig.counters("q").expired_errs, 0);
  s.keep_err.count = 1;
  rig.define("q", s);
  rig.pass(seconds{1});
  EXPECT_EQ(rig.counters("q").in(State::err), 1);
  EXPECT_EQ(rig.counters("q").expired, 6);
  EXPECT_EQ(rig.counters("q").expired_errs, 3);
  EXPECT_EQ(rig.counters("q").deletes, 6);
  rig.crash();
  EXPECT_EQ(rig.counters("q").expired_errs, 3);
  EXPECT_EQ(rig.ask<core::EngineStatsDone>(core::EngineStats{}).totals->expired, 6);
  rig.expect_sound();
}

// faults.md A9: the bound on finished ones removed most of a bulk cancel at once.
TEST_P(RetentionTest, OfCancelledOnesIsTheirOwn) {
  Rig rig{GetParam()};
  core::QueueSettings s;
  EXPECT_EQ(s.keep_cancelled.count, core::kKeepAny);
  s.keep_done = {.age = seconds{5}, .count = 0};
  s.keep_cancelled = {.age = seconds{50}, .count = 3};
  rig.define("q", s);
  rig.define("other");
  core::Act cancel{.action = Action::cancel};
  for (int i = 0; i < 3; ++i) cancel.messages.push_back(rig.put("q"));
  ASSERT_EQ(rig.ask<core::ActDone>(cancel).items.size(), 3U);
  rig.pass(seconds{10});
  EXPECT_EQ(rig.counters("q").in(State::cancelled), 3);
  ASSERT_TRUE(rig.act(Action::cancel, rig.put("q")));
  rig.pass(seconds{10});
  EXPECT_EQ(rig.counters("q").in(State::cancelled), 3);
  EXPECT_EQ(rig.counters("q").expired, 1);
  ASSERT_TRUE(rig.act(Action::move, cancel.messages[2], "other"));
  rig.pass(seconds{40});
  EXPECT_EQ(rig.counters("q").in(State::cancelled), 0) << "by age";
  EXPECT_EQ(rig.counters("q").expired, 3);
  EXPECT_EQ(rig.counters("other").in(State::cancelled), 1) << "kept as its queue says";
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
  rig.ask<core::Ok>(core::DeleteQueue{.queue = "a", .force = true});
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

// faults.md A6: the admin state was checked by a put, and by nothing else that brings work in.
TEST_P(DownTest, EveryWayInIsRefusedAsTheAdminStateSays) {
  struct Way {
    const char* what;
    Code drain, down;  // internal: it is served
  };
  constexpr Code kServed = Code::internal;
  constexpr Way kWays[] = {{"put", Code::queue_down, Code::queue_down},
                           {"clone", Code::queue_down, Code::queue_down},
                           {"move here", Code::queue_down, Code::queue_down},
                           {"duplicate", Code::queue_down, Code::queue_down},
                           {"retry", Code::queue_down, Code::queue_down},
                           {"requeue finished", Code::queue_down, Code::queue_down},
                           {"requeue running", kServed, Code::queue_down},
                           {"commit", kServed, Code::queue_down},
                           {"run_now", kServed, Code::queue_down},
                           {"run early one", kServed, Code::queue_down},
                           {"reserve this one", kServed, Code::queue_down},
                           {"priority", kServed, kServed},
                           {"cancel", kServed, kServed},
                           {"kill", kServed, kServed},
                           {"remove", kServed, kServed},
                           {"move away", kServed, kServed},
                           {"done", kServed, kServed}};
  for (const Admin admin : {Admin::up, Admin::pause, Admin::drain, Admin::down}) {
    for (const Way& way : kWays) {
      Rig rig{GetParam()};
      rig.define("q");
      rig.define("other");
      const auto done = rig.put("q");
      ASSERT_TRUE(rig.finish(rig.take_one("q"), Outcome::done));
      const auto run = rig.put("q");
      const auto leased = rig.take_one("q");
      const auto que = rig.put("q");
      core::Put p = Rig::put_of("q");
      p.prep = true;
      const auto prep = rig.ask<core::PutDone>(std::move(p)).seq;
      core::Put later = Rig::put_of("q");
      later.delay = seconds{100};
      const auto scheduled = rig.ask<core::PutDone>(std::move(later)).seq;
      const auto elsewhere = rig.put("other");
      const auto leased_elsewhere = rig.take_one("other");
      rig.ask<QueueShown>(core::SetAdmin{.queue = "q", .admin = admin});
      const std::string what = way.what;
      const auto act = [](Action action, core::Seq seq, const std::string& queue = {}) {
        return core::Act{.action = action, .messages = {seq}, .queue = queue};
      };
      core::Finish finish;
      finish.items.push_back({.token = Rig::token_of(leased)});
      core::Reserve only = Rig::reserve_of({});
      only.only = scheduled;
      const core::Token dup = Rig::token_of(leased_elsewhere);
      core::Command command =
          what == "put"                ? core::Command{Rig::put_of("q")}
          : what == "clone"            ? act(Action::clone, done)
          : what == "move here"        ? act(Action::move, elsewhere, "q")
          : what == "duplicate"        ? core::Command{core::Duplicate{.token = dup, .queue = "q"}}
          : what == "retry"            ? act(Action::retry, done)
          : what == "requeue finished" ? act(Action::requeue, done)
          : what == "requeue running"  ? act(Action::requeue, run)
          : what == "commit"           ? act(Action::commit, prep)
          : what == "run_now"          ? act(Action::run_now, que)
          : what == "run early one"    ? core::Command{core::RunEarlyOne{.seq = scheduled}}
          : what == "reserve this one" ? core::Command{only}
          : what == "priority"         ? act(Action::priority, que)
          : what == "cancel"           ? act(Action::cancel, que)
          : what == "kill"             ? act(Action::kill, run)
          : what == "remove"           ? act(Action::remove, que)
          : what == "move away"        ? act(Action::move, que, "other")
                                       : core::Command{std::move(finish)};
      if (what == "move here") {
        ASSERT_TRUE(rig.finish(leased_elsewhere, Outcome::release));
      }
      const Code want = admin == Admin::drain  ? way.drain
                        : admin == Admin::down ? way.down
                                               : kServed;
      EXPECT_EQ(rig.code_of(std::move(command)).value_or(kServed), want)
          << what << " in state " << name_of(admin);
    }
  }
}

// faults.md A6, relative: a run early went past the state as well.
TEST_P(DownTest, NothingIsRunEarly) {
  Rig rig{GetParam()};
  rig.define("q");
  core::Put later = Rig::put_of("q");
  later.delay = seconds{100};
  const auto seq = rig.ask<core::PutDone>(std::move(later)).seq;
  rig.ask<QueueShown>(core::SetAdmin{.queue = "q", .admin = Admin::down});
  EXPECT_EQ(rig.ask<core::RunEarlyDone>(core::RunEarly{.queue = "q"}).count, 0);
  EXPECT_EQ(rig.state(seq), State::scheduled);
}

// faults.md C3: a queue went with its failures, unasked.
TEST_P(DeleteQueueTest, WithAnyMessageInItNeedsForceAndSaysWhatIsThere) {
  for (const Outcome outcome : {Outcome::err, Outcome::done}) {
    Rig rig{GetParam()};
    rig.define("q");
    rig.put("q");
    ASSERT_TRUE(rig.finish(rig.take_one("q"), outcome));
    const Error refused = rig.refused(core::DeleteQueue{.queue = "q"});
    EXPECT_EQ(refused.code, Code::wrong_state);
    EXPECT_NE(refused.message.find(outcome == Outcome::err ? "1 err" : "1 done"), std::string::npos)
        << refused.message;
    rig.ask<core::Ok>(core::DeleteQueue{.queue = "q", .force = true});
    EXPECT_EQ(rig.refused(core::ShowQueue{.queue = "q"}).code, Code::not_found);
  }
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
