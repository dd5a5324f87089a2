// What the engine tells of what happened: one notice for each thing, with all that is known of it.
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "store/contract/engine_rig.h"

namespace rq::store::contract {
namespace {

class NoticesTest : public EngineSuite {};

using core::Action;
using core::Event;
using core::Mark;
using core::Notice;
using core::Outcome;
using core::Seq;

constexpr seconds kDelay{10};
constexpr std::int64_t kUid = 1000;

core::Put put_of(bool prep, Millis delay) {
  core::Put put = Rig::put_of("q");
  put.prep = prep;
  if (delay > Millis{0}) put.delay = delay;
  return put;
}

// A message as it is put, and leased when `leased`; time has passed after each.
struct Put {
  bool prep = false;
  Millis delay{0};
  bool leased = false;
};

// What makes the event happen, and what is told of it.
struct Row {
  Event event;
  Put put;
  std::function<void(Rig&, Seq, const core::Message&)> act;
  State from;
  State to;
  Millis since;  // after the put
  Mark mark = Mark::none;
  std::string text{};
  std::string outcome{};
  std::int64_t attempt = 0;
  bool by_caller = true;  // else by time
};

std::vector<Row> rows() {
  const auto action = [](Action what) {
    return [what](Rig& rig, Seq seq, const core::Message&) { EXPECT_TRUE(rig.act(what, seq)); };
  };
  const auto outcome = [](Outcome what) {
    return [what](Rig& rig, Seq, const core::Message& leased) {
      EXPECT_TRUE(rig.finish(leased, what, "why"));
    };
  };
  using enum State;
  constexpr seconds kLeased{1};  // after the put
  return {
      {Event::commit, {.prep = true}, action(Action::commit), prep, que, Millis{0}},
      {Event::defer,
       {.prep = true, .delay = kDelay},
       action(Action::commit),
       prep,
       scheduled,
       seconds{1}},
      {Event::ready,
       {.delay = kDelay},
       [](Rig& rig, Seq, const core::Message&) { rig.pass(kDelay); },
       scheduled,
       que,
       kDelay,
       Mark::none,
       "",
       "",
       0,
       false},
      {Event::lease,
       {},
       [](Rig& rig, Seq, const core::Message&) { static_cast<void>(rig.take_one("q")); },
       que,
       run,
       Millis{0},
       Mark::none,
       "",
       "",
       1},
      {Event::done,
       {.leased = true},
       outcome(Outcome::done),
       run,
       done,
       kLeased,
       Mark::none,
       "why",
       "done",
       1},
      {Event::relayed,
       {.leased = true},
       outcome(Outcome::relayed),
       run,
       relayed,
       kLeased,
       Mark::none,
       "why",
       "relayed",
       1},
      {Event::err,
       {.leased = true},
       outcome(Outcome::err),
       run,
       err,
       kLeased,
       Mark::failed,
       "why",
       "err",
       1},
      {Event::again,
       {.leased = true},
       outcome(Outcome::release),
       run,
       que,
       kLeased,
       Mark::none,
       "why",
       "release",
       1},
      {Event::later,
       {.leased = true},
       outcome(Outcome::failed),
       run,
       scheduled,
       kLeased,
       Mark::none,
       "why",
       "failed",
       1},
      {Event::retry,
       {},
       [](Rig& rig, Seq seq, const core::Message&) {
         EXPECT_TRUE(rig.act(Action::cancel, seq));
         rig.now += seconds{1};
         EXPECT_TRUE(rig.act(Action::retry, seq));
       },
       cancelled,
       que,
       seconds{1}},
      {Event::cancel, {}, action(Action::cancel), que, cancelled, Millis{0}},
      {Event::run_now, {.delay = kDelay}, action(Action::run_now), scheduled, que, seconds{1}},
  };
}

TEST_P(NoticesTest, TellOfEachEventAllThatIsKnown) {
  for (const Row& row : rows()) {
    SCOPED_TRACE(name_of(row.event));
    Rig rig{GetParam()};
    core::QueueSettings settings;
    settings.retries = 1;
    settings.backoff = {.kind = core::BackoffKind::fixed, .base = kDelay, .jitter_percent = 0};
    rig.define("q", settings);
    rig.caller_uid = kUid;
    const auto put = rig.ask<core::PutDone>(put_of(row.put.prep, row.put.delay));
    const base::Instant began = rig.now;
    rig.now += seconds{1};
    const core::Message leased = row.put.leased ? rig.take_one("q") : core::Message{};
    if (row.put.leased) rig.now += seconds{1};
    rig.notices.clear();
    row.act(rig, put.seq, leased);
    ASSERT_FALSE(rig.notices.empty());
    const Notice& told = rig.notices.back();
    EXPECT_EQ(told.what, Notice::What::message);
    EXPECT_EQ(told.event, row.event);
    EXPECT_EQ(told.at, rig.now);
    EXPECT_EQ(told.queue, "q");
    EXPECT_EQ(told.from_queue, "");
    EXPECT_EQ(told.seq, put.seq);
    EXPECT_EQ(told.created, put.created);
    EXPECT_EQ(told.from, row.from);
    EXPECT_EQ(told.to, row.to);
    EXPECT_EQ(told.mark, row.mark);
    EXPECT_EQ(told.text, row.text);
    EXPECT_EQ(told.since, began + row.since);
    EXPECT_EQ(told.attempt, row.attempt);
    EXPECT_EQ(told.boot, row.attempt > 0 ? rig.store().boot() : 0);
    EXPECT_EQ(told.worker, row.attempt > 0 ? "w" : "");
    EXPECT_EQ(told.outcome, row.outcome);
    EXPECT_EQ(told.caller_uid, row.by_caller ? kUid : -1);
  }
  EXPECT_EQ(rows().size(), static_cast<std::size_t>(core::kEventCount)) << "one row for each event";
}

TEST_P(NoticesTest, APutAndAMoveSayWhereTheMessageIsNow) {
  Rig rig{GetParam()};
  rig.define("q");
  rig.define("other");
  rig.notices.clear();
  const Seq seq = rig.put("q");
  ASSERT_EQ(rig.notices.size(), 1U);
  EXPECT_EQ(rig.notices[0].what, Notice::What::put);
  EXPECT_EQ(rig.notices[0].queue, "q");
  EXPECT_EQ(rig.notices[0].to, State::que);
  EXPECT_FALSE(rig.notices[0].event);
  ASSERT_TRUE(rig.act(Action::move, seq, "other"));
  ASSERT_EQ(rig.notices.size(), 2U);
  EXPECT_EQ(rig.notices[1].what, Notice::What::moved);
  EXPECT_EQ(rig.notices[1].seq, seq);
  EXPECT_EQ(rig.notices[1].queue, "other");
  EXPECT_EQ(rig.notices[1].from_queue, "q");
  EXPECT_EQ(rig.notices[1].to, State::que);
  EXPECT_FALSE(rig.notices[1].event);
}

TEST_P(NoticesTest, AFinishThatRemovesTellsOfItsEndFirst) {
  Rig rig{GetParam()};
  rig.define("q");
  const Seq seq = rig.put("q");
  const core::Message leased = rig.take_one("q");
  rig.notices.clear();
  ASSERT_TRUE(rig.finish({.token = Rig::token_of(leased), .remove = true}));
  ASSERT_EQ(rig.notices.size(), 2U);
  EXPECT_EQ(rig.notices[0].what, Notice::What::message);
  EXPECT_EQ(rig.notices[0].event, Event::done);
  EXPECT_EQ(rig.notices[0].outcome, "done");
  EXPECT_EQ(rig.notices[0].attempt, 1);
  EXPECT_EQ(rig.notices[1].what, Notice::What::removed);
  EXPECT_EQ(rig.notices[1].seq, seq);
  EXPECT_EQ(rig.notices[1].from, State::done);
  EXPECT_EQ(rig.counters("q").dones, 1);
  EXPECT_EQ(rig.counters("q").in(State::done), 0);
}

// A follower had to read the whole queue again, and compare.
TEST_P(NoticesTest, AChangeOfAQueueSaysWhatHasChanged) {
  Rig rig{GetParam()};
  rig.notices.clear();
  const auto told = [&rig] {
    const std::string text = rig.notices.empty() ? "" : rig.notices.back().text;
    rig.notices.clear();
    return text;
  };
  rig.define("q");
  EXPECT_EQ(told(), "it is new");
  core::QueueSettings settings;
  settings.retries = 3;
  settings.limits.open_files = 256;
  rig.define("q", settings);
  EXPECT_EQ(told(), "settings: limits.open_files, retries");
  rig.define("q", settings);
  EXPECT_TRUE(rig.notices.empty()) << "nothing has changed";
  rig.ask<core::QueueShown>(core::SetAdmin{.queue = "q", .admin = core::Admin::pause});
  EXPECT_EQ(told(), "admin: pause");
  rig.ask<core::Ok>(core::SetScriptError{.queue = "q", .error = "it is gone"});
  EXPECT_EQ(told(), "it is gone");
  rig.ask<core::Ok>(core::SetScriptError{.queue = "q", .error = ""});
  EXPECT_EQ(told(), "the script can run again");
}

INSTANTIATE_TEST_SUITE_P(Stores, NoticesTest, testing::ValuesIn(all_stores()), factory_name);

}  // namespace
}  // namespace rq::store::contract
