#include "server/last_seen.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/crc32c.h"
#include "base/temp_dir_rig.h"

namespace rq::server {
namespace {

using std::chrono::hours;
using std::chrono::nanoseconds;
using std::chrono::seconds;

struct Machine {
  nanoseconds boot = hours{5};
  nanoseconds wall = seconds{1'700'000'000};

  [[nodiscard]] pipeline::MachineClocks clocks() {
    return {.since_boot = [this] { return boot; }, .wall = [this] { return wall; }};
  }
};

class LastSeenTest : public ::testing::Test {
 protected:
  // A server that notes when it was at work, and 70 s later how long the next one takes it for
  // away.
  void be_seen() {
    pipeline::Clock clock{machine_.clocks()};
    auto seen = LastSeen::open(file_, clock);
    ASSERT_TRUE(seen);
    seen->note(clock);
  }
  [[nodiscard]] base::Millis away() {
    pipeline::Clock clock{machine_.clocks()};
    EXPECT_TRUE(LastSeen::open(file_, clock));
    return clock.read().stopped;
  }
  [[nodiscard]] std::string text() const {
    std::ostringstream out;
    out << std::ifstream{file_}.rdbuf();
    return out.str();
  }
  void write(const std::string& text) const {
    std::ofstream{file_, std::ios::binary | std::ios::trunc} << text;
  }

  base::test::TempDir dir_;
  std::filesystem::path file_ = dir_.path() / "server.seen";
  Machine machine_;
};

TEST_F(LastSeenTest, TellsHowLongNoServerRan) {
  EXPECT_EQ(away(), base::Millis{0}) << "there was none before";
  be_seen();
  machine_.boot += seconds{70};
  machine_.wall += seconds{70};
  EXPECT_EQ(away(), seconds{70});
}

TEST_F(LastSeenTest, WhatIsNotWhatItWroteTellsNothing) {
  be_seen();
  machine_.boot += seconds{70};
  machine_.wall += seconds{70};
  const std::string good = text();
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = bad[at] == '7' ? '8' : '7';
    write(bad);
    EXPECT_EQ(away(), base::Millis{0}) << at;
    write(good.substr(0, at));
    EXPECT_EQ(away(), base::Millis{0}) << at;
  }
  write(good);
  EXPECT_EQ(away(), seconds{70});
}

// faults.md A1, relative: the server before an upgrade has written fewer numbers.
TEST_F(LastSeenTest, ReadsTheShorterLineOfAnEarlierBuild) {
  be_seen();
  machine_.boot += seconds{70};
  machine_.wall += seconds{70};
  std::istringstream in(text());
  std::string run;
  std::string since_boot;
  std::string time;
  in >> run >> since_boot >> time;
  std::string line = run + ' ' + since_boot + ' ' + time + ' ';
  line += std::to_string(base::crc32c(0, line));
  line.resize(95, ' ');
  line += '\n';
  write(line);
  EXPECT_EQ(away(), seconds{70});
  line[run.size() + 1] = line[run.size() + 1] == '7' ? '8' : '7';
  write(line);
  EXPECT_EQ(away(), base::Millis{0}) << "it has a checksum as well";
  write(line.substr(0, 95));
  EXPECT_EQ(away(), base::Millis{0});
}

// faults.md A1, relative: steps that each are believed add up over restarts.
TEST_F(LastSeenTest, TellsOfTheStepsThatWereFollowedLately) {
  const hours step = pipeline::kDoubtMin - hours{1};
  for (int restarts = 0; restarts < 3; ++restarts) {
    pipeline::Clock clock{machine_.clocks()};
    auto seen = LastSeen::open(file_, clock);
    ASSERT_TRUE(seen);
    static_cast<void>(clock.read());
    machine_.wall += step;
    machine_.boot += seconds{1};
    machine_.wall += seconds{1};
    const pipeline::Clock::Reading reading = clock.read();
    EXPECT_EQ(reading.step.has_value(), restarts == 0) << restarts;
    EXPECT_EQ(clock.doubt() != base::Millis{0}, restarts > 0) << restarts;
    seen->note(clock);
  }
}

TEST_F(LastSeenTest, AClockThatHasGoneBackTellsNothing) {
  be_seen();
  machine_.boot -= hours{1};
  EXPECT_EQ(away(), base::Millis{0});
}

TEST_F(LastSeenTest, AFileThatIsDeletedIsMadeAgain) {
  pipeline::Clock clock{machine_.clocks()};
  auto seen = LastSeen::open(file_, clock);
  ASSERT_TRUE(seen);
  seen->note(clock);
  std::filesystem::remove(file_);
  seen->note(clock);
  machine_.boot += seconds{70};
  machine_.wall += seconds{70};
  EXPECT_EQ(away(), seconds{70});
}

// faults.md C18, relative
TEST_F(LastSeenTest, AFileThatIsMovedAwayIsMadeAgain) {
  pipeline::Clock clock{machine_.clocks()};
  auto seen = LastSeen::open(file_, clock);
  ASSERT_TRUE(seen);
  std::filesystem::rename(file_, dir_.path() / "away");
  seen->note(clock);
  machine_.boot += seconds{70};
  machine_.wall += seconds{70};
  EXPECT_EQ(away(), seconds{70});
}

TEST_F(LastSeenTest, WhatIsNoFileIsRefused) {
  std::filesystem::create_directory(file_);
  pipeline::Clock clock{machine_.clocks()};
  EXPECT_FALSE(LastSeen::open(file_, clock));
  std::filesystem::remove(file_);
  std::filesystem::create_symlink(dir_.path() / "elsewhere", file_);
  EXPECT_FALSE(LastSeen::open(file_, clock));
}

}  // namespace
}  // namespace rq::server
