#include "doors/api/reasons.h"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

namespace rq::doors::api {
namespace {

using core::State;
using Kind = WorkerNotes::Presence::Kind;

// A queue with a script and a worker, three messages that wait and none that runs.
struct Situation {
  core::Queue queue;
  std::int64_t waiting_reserves = 0;
  Surroundings around{.workers = {.kind = Kind::at_work, .name = "local"}, .dir = "/rq"};

  Situation() {
    queue.name = "q";
    queue.settings.script = "/bin/true";
    queue.counters.in(State::que) = 3;
  }
  [[nodiscard]] core::QueueShown shown() const {
    return {.queue = queue, .waiting_reserves = waiting_reserves};
  }
};

struct Case {
  std::string_view reason;  // empty: nothing keeps them
  std::string_view words;   // in the text or the remedy
  std::function<void(Situation&)> change;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all{
      {"", "", [](Situation&) {}},
      {"paused", "rq queue resume q", [](Situation& s) { s.queue.admin = core::Admin::pause; }},
      {"down", "rq queue resume q", [](Situation& s) { s.queue.admin = core::Admin::down; }},
      {"", "", [](Situation& s) { s.queue.admin = core::Admin::drain; }},
      {"deleted", "is being deleted", [](Situation& s) { s.queue.being_deleted = true; }},
      {"script_error", "it is gone", [](Situation& s) { s.queue.script_error = "it is gone"; }},
      {"no_workers", "rq queue set q -j 1", [](Situation& s) { s.queue.settings.num_workers = 0; }},
      {"no_worker", "rq worker --dir /rq", [](Situation& s) { s.around.workers = {}; }},
      {"no_worker", "rq worker --dir /rq",
       [](Situation& s) {  // also where nothing new is taken
         s.around.workers = {};
         s.queue.admin = core::Admin::drain;
       }},
      {"no_worker", "rq worker --dir /rq",
       [](Situation& s) {  // also while a lease lasts, which may be of one that is gone
         s.around.workers = {};
         s.queue.counters.in(State::run) = 1;
       }},
      {"", "",
       [](Situation& s) {  // somebody else takes them
         s.around.workers = {};
         s.waiting_reserves = 1;
       }},
      {"worker_draining", "worker 'local' was told to end",
       [](Situation& s) { s.around.workers.kind = Kind::draining; }},
      {"worker_silent", "kill -CONT", [](Situation& s) { s.around.workers.kind = Kind::silent; }},
      {"held_back", "5 quick failures; the next start is at 1970-01-01T00:00:02.000Z",
       [](Situation& s) {
         s.around.hold = {.text = "5 quick failures",
                          .until = base::Instant{std::chrono::seconds{2}}};
       }},
      {"no_worker", "has no script", [](Situation& s) { s.queue.settings.script.clear(); }},
      {"", "",
       [](Situation& s) {
         s.queue.settings.script.clear();
         s.waiting_reserves = 1;
       }},
      {"", "",
       [](Situation& s) {
         s.queue.admin = core::Admin::pause;
         s.queue.counters.in(State::que) = 0;
       }},
  };
  return all;
}

std::string all_of(const Reason& reason) { return reason.text + "; " + reason.remedy; }

// faults.md B15, relative: a queue and its messages were told different things, or nothing.
TEST(Reasons, AQueueAndItsMessagesTellTheSame) {
  for (const Case& one : cases()) {
    Situation situation;
    one.change(situation);
    const auto hindrance = hindrance_of(situation.shown(), situation.around);
    ASSERT_EQ(hindrance.has_value(), !one.reason.empty()) << one.reason;
    for (const std::int64_t ahead : {0, 2}) {
      core::Message message;
      message.state = State::que;
      const Reason why = why_not(message, situation.shown(), ahead, situation.around);
      if (!hindrance) {
        EXPECT_EQ(why.reason == "behind", ahead > 0);
        continue;
      }
      EXPECT_EQ(hindrance->reason, one.reason);
      EXPECT_NE(all_of(*hindrance).find(one.words), std::string::npos) << all_of(*hindrance);
      EXPECT_EQ(why.reason, hindrance->reason);
      EXPECT_EQ(all_of(why), all_of(*hindrance));
    }
  }
}

TEST(Reasons, OneAndManyAreTwoForms) {
  Situation situation;
  core::Message message;
  message.state = State::que;
  situation.queue.counters.in(State::run) = 1;
  EXPECT_EQ(why_not(message, situation.shown(), 1, situation.around).text,
            "1 message of queue 'q' goes first, 1 is running");
  EXPECT_EQ(why_not(message, situation.shown(), 0, situation.around).text,
            "it is next; the one script that queue 'q' runs at a time is running");
  situation.queue.counters.in(State::run) = 4;
  situation.queue.settings.num_workers = 4;
  EXPECT_EQ(why_not(message, situation.shown(), kAheadMax, situation.around).text,
            "more than 10000 messages of queue 'q' go first, 4 are running");
  EXPECT_EQ(why_not(message, situation.shown(), 0, situation.around).text,
            "it is next; all 4 scripts that queue 'q' runs at a time are running");
}

// A message that a client has set aside has no text, and its lease no name of a worker.
TEST(Reasons, WhatIsNotKnownIsLeftOut) {
  const Situation situation;
  core::Message message;
  message.state = State::err;
  message.mark = core::Mark::held;
  EXPECT_EQ(why_not(message, situation.shown(), 0, situation.around).text,
            "it ended in err (held)");
  message.state = State::run;
  message.lease = std::make_unique<core::Lease>();
  message.lease->attempt = 1;
  EXPECT_EQ(why_not(message, situation.shown(), 0, situation.around).text,
            "it is running, attempt 1 since 1970-01-01T00:00:00.000Z");
}

TEST(Reasons, OfAMessageThatRunsItIsToldWhenItsWorkerIsGone) {
  Situation situation;
  core::Message message;
  message.state = State::run;
  message.lease = std::make_unique<core::Lease>();
  message.lease->worker = "local";
  message.lease->until = base::Instant{std::chrono::seconds{2}};
  const auto tells = [&](std::string_view words) {
    const Reason why = why_not(message, situation.shown(), 0, situation.around);
    return why.text.find(words) != std::string::npos;
  };
  constexpr std::string_view kWaitsAgain = "waits again from 1970-01-01T00:00:02.000Z on";
  EXPECT_FALSE(tells(kWaitsAgain));
  situation.around.workers.kind = Kind::silent;
  EXPECT_TRUE(tells("that worker is silent")) << "it is its own";
  message.lease->worker = "elsewhere";
  EXPECT_FALSE(tells(kWaitsAgain)) << "it is another one";
  situation.around.workers = {};
  EXPECT_TRUE(tells("there is no worker that runs scripts"));
  EXPECT_TRUE(tells(kWaitsAgain));
  situation.queue.settings.script.clear();
  EXPECT_FALSE(tells(kWaitsAgain)) << "of those who reserve themselves nothing is known";
}

TEST(Reasons, AMessageThatWaitsAgainTellsHowItsLeaseWasLost) {
  const Situation situation;
  core::Message message;
  message.attempts = 3;
  message.detail().progress = "the worker 'a' did not renew its lease within 60 s";
  const auto text = [&] { return why_not(message, situation.shown(), 2, situation.around).text; };
  const std::string behind = text();
  message.losses = 1;
  EXPECT_EQ(text(), behind + "; attempt 3 has ended: " + message.details->progress);
}

// faults.md A1, relative
TEST(Reasons, AClockThatIsNotFollowedIsWhyAMessageGoesOnWaiting) {
  Situation situation;
  core::Message message;
  message.state = State::scheduled;
  EXPECT_EQ(why_not(message, situation.shown(), 0, situation.around).text,
            "it waits for 1970-01-01T00:00:00.000Z");
  situation.around.clock_not_followed = std::chrono::hours{72};
  EXPECT_NE(why_not(message, situation.shown(), 0, situation.around)
                .text.find("the wall clock was set by 259200 s"),
            std::string::npos);
}

}  // namespace
}  // namespace rq::doors::api
