#include "worker/station.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cerrno>

#include "base/fd.h"
#include "worker/attempt.h"

namespace rq::worker {
namespace {

using base::Millis;
using std::chrono::microseconds;

class StationTest : public testing::Test {
 protected:
  StationTest() {
    QueueView view{.name = "q", .settings = {}, .script_error = {}};
    view.settings.script = "/bin/true";
    view.settings.num_workers = 4;
    station_.emplace(io_, "/nonexistent", view);
    view_ = view;
  }
  // Scripts so short that messages are leased ahead.
  void be_quick() {
    for (int i = 0; i < 50; ++i) station_->note_end("done", microseconds{1'000}, now_);
  }

  const Station::Probe fine_ = [](const SpawnRequest&) { return std::nullopt; };
  boost::asio::io_context io_;
  QueueView view_;
  std::optional<Station> station_;
  Station::Time now_{std::chrono::hours{1}};
};

TEST_F(StationTest, AsksForItsFreeSlots) {
  EXPECT_EQ(station_->wanted(now_), 4);
  station_->take_slot();
  EXPECT_EQ(station_->wanted(now_), 3);
  station_->asked(3);
  EXPECT_EQ(station_->wanted(now_), 0);
  station_->answered(3);
  station_->free_slot();
  EXPECT_EQ(station_->wanted(now_), 4);
}

TEST_F(StationTest, AsksForNothingWhileItsScriptCannotBeRun) {
  station_->error = "gone";
  EXPECT_EQ(station_->wanted(now_), 0);
  EXPECT_FALSE(station_->may_begin(now_));
  station_->error.clear();
  station_->removed = true;
  EXPECT_EQ(station_->wanted(now_), 0);
  EXPECT_FALSE(station_->may_begin(now_));
}

TEST_F(StationTest, AWorkerOutOfDescriptorsDoesNotBlameTheScript) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{.rlim_cur = 0, .rlim_max = before.rlim_max};
  // A sanitizer looks at a type for the first time through a pipe, for which it needs descriptors.
  Station& station = *station_;
  ASSERT_TRUE(station.script().look());
  ASSERT_EQ(station.examine(fine_), "");
  ASSERT_FALSE(base::text_of_errno(EMFILE).empty());
  const auto examined = [&] {
    ::setrlimit(RLIMIT_NOFILE, &none);
    const auto found = station.script().look();
    std::string error = station.examine(fine_);
    ::setrlimit(RLIMIT_NOFILE, &before);
    EXPECT_FALSE(found);
    return error;
  };
  EXPECT_EQ(examined(), "");
  station_->error = "gone";
  EXPECT_EQ(examined(), "gone") << "what was known";
  EXPECT_EQ(station_->examine(fine_), "");
}

TEST_F(StationTest, AsksForNothingUntilTheServerKnowsThatTheScriptIsFine) {
  view_.script_error = "gone";
  EXPECT_FALSE(station_->update(view_)) << "the settings are the same";
  EXPECT_EQ(station_->wanted(now_), 0);
  EXPECT_FALSE(station_->server_knows_error());
  station_->server_knows("");
  EXPECT_TRUE(station_->server_knows_error());
  EXPECT_EQ(station_->wanted(now_), 4);
}

TEST_F(StationTest, ShortScriptsHaveTheirNextMessagesLeasedAhead) {
  EXPECT_FALSE(station_->has_room_ahead());
  be_quick();
  EXPECT_TRUE(station_->has_room_ahead());
  EXPECT_EQ(station_->wanted(now_), 4 + 8);
  // Some at once are cheaper than one at a time.
  station_->asked(4 + 8 - 3);
  EXPECT_EQ(station_->wanted(now_), 0);
  station_->answered(1);
  EXPECT_EQ(station_->wanted(now_), 4);
  station_->ahead_is_slow();
  EXPECT_FALSE(station_->has_room_ahead());
}

// faults.md B14
TEST_F(StationTest, OneAtATimeHasNothingLeasedAhead) {
  view_.settings.num_workers = 1;
  ASSERT_TRUE(station_->update(view_));
  be_quick();
  EXPECT_FALSE(station_->has_room_ahead());
  EXPECT_EQ(station_->wanted(now_), 1);
}

TEST_F(StationTest, LongScriptsEndTheLeasingAhead) {
  be_quick();
  station_->note_end("done", microseconds{1'000'000}, now_);
  EXPECT_FALSE(station_->has_room_ahead());
}

TEST_F(StationTest, QuickFailuresInARowHoldStartsBackLongerEachTime) {
  const auto fail_once = [this] { station_->note_end("failed", microseconds{10'000}, now_); };
  for (int i = 0; i < 4; ++i) fail_once();
  EXPECT_TRUE(station_->may_begin(now_));
  EXPECT_EQ(station_->held_back(now_), std::nullopt);
  Millis delay{100};
  for (int i = 0; i < 12; ++i, delay = std::min(delay * 2, Millis{10'000})) {
    fail_once();
    EXPECT_FALSE(station_->may_begin(now_));
    EXPECT_EQ(station_->wanted(now_), 0);
    EXPECT_EQ(station_->held_back(now_), now_ + delay);
    now_ += delay;
    EXPECT_TRUE(station_->may_begin(now_));
    EXPECT_EQ(station_->wanted(now_), 4);
  }
  station_->note_end("done", microseconds{10'000}, now_);
  fail_once();
  EXPECT_TRUE(station_->may_begin(now_)) << "one that got its work done starts the count anew";
}

// faults.md B18, relative: a success beside the last failure is one too.
TEST_F(StationTest, ASuccessEndsTheWaitAfterQuickFailures) {
  for (int i = 0; i < 9; ++i) EXPECT_FALSE(station_->note_end("failed", microseconds{9'000}, now_));
  EXPECT_FALSE(station_->may_begin(now_));
  EXPECT_TRUE(station_->note_end("done", microseconds{10'000}, now_ + Millis{1}));
  EXPECT_TRUE(station_->may_begin(now_ + Millis{1}));
  EXPECT_GE(station_->wanted(now_ + Millis{1}), 4);
  EXPECT_EQ(station_->held_back(now_ + Millis{1}), std::nullopt);
  EXPECT_FALSE(station_->note_end("done", microseconds{9}, now_ + Millis{2})) << "it has ended";
  // What waits for another reason goes on waiting.
  station_->hold_until(now_ + Millis{500});
  station_->note_end("done", microseconds{9}, now_ + Millis{3});
  EXPECT_FALSE(station_->may_begin(now_ + Millis{3}));
}

TEST_F(StationTest, SlowFailuresAndOtherEndsAreNoStorm) {
  for (int i = 0; i < 50; ++i) {
    station_->note_end("failed", microseconds{300'000}, now_);
    station_->note_end("err", microseconds{1'000}, now_);
  }
  EXPECT_TRUE(station_->may_begin(now_));
}

TEST_F(StationTest, ReservesThatFailAreTriedAgainLaterEachTime) {
  station_->ask_failed(now_);
  EXPECT_EQ(station_->held_back(now_), now_ + Millis{50});
  now_ += Millis{50};
  station_->ask_failed(now_);
  EXPECT_EQ(station_->held_back(now_), now_ + Millis{100});
  now_ += Millis{100};
  station_->ask_succeeded();
  station_->ask_failed(now_);
  EXPECT_EQ(station_->held_back(now_), now_ + Millis{50});
}

TEST_F(StationTest, NewSettingsAreANewScript) {
  EXPECT_EQ(station_->examine(fine_), "");
  view_.settings.script = "/nonexistent/script";
  EXPECT_TRUE(station_->update(view_));
  EXPECT_NE(station_->examine(fine_).find("/nonexistent/script"), std::string::npos);
  view_.settings.script = "/bin/true";
  view_.settings.user = "no such user";
  EXPECT_TRUE(station_->update(view_));
  EXPECT_NE(station_->examine(fine_).find("no such user"), std::string::npos);
}

}  // namespace
}  // namespace rq::worker
