// faults.md D3, relative: a bit that was flipped in the log beside the running server was copied
// into the database with its page.
#include "store/sqlite/log_check.h"

#include <fstream>
#include <functional>
#include <sstream>

#include "base/machine.h"
#include "store/sqlite/file_format.h"
#include "store/sqlite/log_frames.h"
#include "store/sqlite/sqlite_rig.h"
#include "store/sqlite/store_files.h"

namespace rq::store::sqlite::test {
namespace {

constexpr std::int64_t kLogBytes = 4L * 1024 * 1024;
constexpr core::Seq kFlipped = 5;
constexpr int kBefore = 20;
constexpr int kPutsMax = 2000;

std::string payload_of(int i) { return fmt::format("payload {:04} {:0600}", i, 0); }

std::string content(const fs::path& file) {
  std::stringstream bytes;
  bytes << std::ifstream(file, std::ios::binary).rdbuf();
  return bytes.str();
}

// In place: whoever has it open goes on with it.
void flip_all(const fs::path& file, const std::string& text) {
  const std::string bytes = content(file);
  std::fstream out(file, std::ios::in | std::ios::out | std::ios::binary);
  std::size_t flipped = 0;
  for (std::size_t at = 0; (at = bytes.find(text, at)) != std::string::npos; ++at, ++flipped) {
    out.seekp(static_cast<std::streamoff>(at));
    out.put(static_cast<char>(text.at(0) ^ 1));
  }
  EXPECT_GT(flipped, 0U);
}

class FlippedLog : public testing::TestWithParam<bool> {
 protected:
  static Options options(std::int64_t cache_bytes) {
    return {.wal_bytes = kLogBytes, .threads = GetParam(), .cache_bytes = cache_bytes};
  }
  // Messages 1 to kBefore, of which one is changed in the log.
  void fill(SqliteRig& rig, int more = 0) {
    rig.define("q");
    for (put_ = 0; put_ < kBefore; ++put_) rig.put("q", payload_of(put_));
    for (; put_ < kBefore + more; ++put_) rig.submit(Rig::put_of("q", payload_of(put_)));
    rig.run();
    flip_all(log_of(rig.file()), payload_of(kFlipped - 1));
  }
  // Until the store has something to say of it.
  std::vector<std::string> put_until_told(
      SqliteRig& rig, const std::function<void()>& before_each = [] {}) {
    for (; put_ < kPutsMax; ++put_) {
      before_each();
      rig.submit(Rig::put_of("q", payload_of(put_)));
      if (rig.try_run().what != Committed::What::yes) {
        const auto again = rig.engine().open();
        EXPECT_TRUE(again) << again.error().message;
        --put_;
      }
      auto reports = rig.store().take_reports();
      if (!reports.empty()) {
        ++put_;
        return reports;
      }
    }
    return {};
  }
  // The log is copied, and begins anew: nothing bad is left in it.
  static void expect_copied(SqliteRig& rig, const std::string& text) {
    for (int i = 0; i < kPutsMax; ++i) {
      rig.submit(Rig::put_of("q", text));
      rig.run();
      const auto log = read_log_of(rig.file());
      ASSERT_TRUE(log) << log.error().message;
      if (!log->is_damaged() && content(rig.file()).find(text) != std::string::npos) return;
    }
    FAIL() << "it is never copied";
  }

  int put_ = 0;
};

TEST_P(FlippedLog, IsWrittenAnewFromMemory) {
  SqliteRig rig(options(kCacheBytes));
  fill(rig);
  const auto reports = put_until_told(rig);
  ASSERT_EQ(reports.size(), 1U);
  EXPECT_NE(reports[0].find("written anew"), std::string::npos) << reports[0];
  EXPECT_EQ(rig.counters("q").in(State::que), put_);
  EXPECT_EQ(rig.store().set_aside_count(), 1) << "health says so";
  EXPECT_TRUE(fs::exists(rig.file().string() + ".damaged-1-wal")) << "the log is kept";
  expect_copied(rig, "behind it");
  rig.expect_sound();
  rig.close();
  EXPECT_EQ(content(rig.file()).find("qayload"), std::string::npos);
  EXPECT_EQ(rows_of(rig.file(), "SELECT CAST(payload AS TEXT) FROM message WHERE seq = 5"),
            std::vector{payload_of(kFlipped - 1)});
}

TEST_P(FlippedLog, IsRebuiltWhereMemoryHasNotGotIt) {
  constexpr std::int64_t kFewPages = 16 * 1024;
  SqliteRig rig(options(kFewPages));
  fill(rig, 100);
  const auto reports = put_until_told(rig);
  ASSERT_EQ(reports.size(), 1U);
  EXPECT_NE(reports[0].find("has been rebuilt"), std::string::npos) << reports[0];
  EXPECT_EQ(rig.counters("q").in(State::que), put_ - 1) << "all but the one";
  EXPECT_GT(rig.store().set_aside_count(), 0);
  expect_copied(rig, "behind it");
  rig.expect_sound();
  EXPECT_EQ(rows_of(rig.file(), "SELECT DISTINCT seq FROM corrupt WHERE seq IS NOT NULL"),
            std::vector<std::string>{"5"});
}

// A page that has left the memory, and was read again from the log, is written anew as it was read.
// What its rows tell is found by the pass of the check that follows.
TEST_P(FlippedLog, ThatWasReadAgainIsMendedByTheNextCheck) {
  constexpr std::int64_t kSomePages = 256L * 1024;
  SqliteRig rig(options(kSomePages));
  fill(rig, 600);
  const auto examine = [&rig](std::vector<core::Suspect>&& suspects) {
    rig.ask<core::Ok>(core::Examine{.suspects = std::move(suspects), .rebuild = {}});
  };
  const auto reports =
      put_until_told(rig, [&] { examine({{.seq = kFlipped - 1}}); });  // on the same page
  ASSERT_EQ(reports.size(), 1U);
  EXPECT_NE(reports[0].find("written anew"), std::string::npos) << reports[0];
  const auto reader = rig.home().reader();
  EXPECT_FALSE(reader->message(kFlipped)) << "what memory had of it was bad";
  std::vector<core::Finding> found;
  for (bool more = true; more;) {
    const auto goes_on = reader->check(found);
    ASSERT_TRUE(goes_on) << goes_on.error().message;
    more = *goes_on;
  }
  ASSERT_FALSE(found.empty());
  EXPECT_EQ(found[0].suspect.seq, kFlipped) << found[0].text;
  examine({found[0].suspect});
  EXPECT_EQ(rig.counters("q").in(State::que), put_);
  expect_copied(rig, "behind it");
  rig.expect_sound();
  EXPECT_EQ(rows_of(rig.file(), "SELECT CAST(payload AS TEXT) FROM message WHERE seq = 5"),
            std::vector{payload_of(kFlipped - 1)});
}

// Nobody waits while a large store is copied or rebuilt. Its server goes on, and copies nothing;
// and the next start loses nothing of what is behind the bad page, though the machine was started
// too.
TEST_P(FlippedLog, OfALargeStoreIsLeftForTheNextStart) {
  constexpr std::uintmax_t kLarge = 129UL * 1024 * 1024;
  SqliteRig rig(options(kCacheBytes));
  fill(rig);
  fs::resize_file(rig.file(), kLarge);
  const auto reports = put_until_told(rig);
  ASSERT_EQ(reports.size(), 1U);
  EXPECT_NE(reports[0].find("the next start of the server rebuilds it"), std::string::npos)
      << reports[0];
  EXPECT_EQ(rig.store().set_aside_count(), 1) << "health says so";
  EXPECT_TRUE(fs::exists(rebuild_mark(rig.file())));
  for (; put_ < kPutsMax && fs::file_size(log_of(rig.file())) < 2 * kLogBytes; ++put_) {
    ASSERT_GT(rig.put("q", payload_of(put_)), 0);
  }
  rig.close();
  EXPECT_EQ(content(rig.file()).find("qayload"), std::string::npos);

  const fs::path identity = store_files(rig.file()).identity;
  std::string remembered = content(identity);
  const std::string run = base::run_of_machine();
  ASSERT_NE(remembered.find(run), std::string::npos);
  remembered.replace(remembered.find(run), run.size(), "another");
  std::ofstream{identity} << remembered;
  rig.open();
  const auto told = rig.store().take_reports();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_NE(told[0].find("has been rebuilt"), std::string::npos) << told[0];
  EXPECT_EQ(rig.counters("q").in(State::que), put_ - 1) << "all but the one";
  EXPECT_FALSE(fs::exists(rebuild_mark(rig.file())));
  rig.expect_sound();
}

// What stands before the pages is known from when it was written, and not read again.
TEST_P(FlippedLog, OfWhichOnlyTheHeadsOfItsFramesAreBadIsCopied) {
  SqliteRig rig(options(kCacheBytes));
  rig.define("q");
  for (int i = 0; i < kBefore; ++i) rig.put("q", payload_of(i));
  const fs::path log = log_of(rig.file());
  const std::string bytes = content(log);
  int flipped = 0;
  {
    std::fstream out(log, std::ios::in | std::ios::out | std::ios::binary);
    constexpr std::size_t kFrameBytes = kFrameHeadBytes + kPageBytesUsual;
    for (std::size_t at = kLogHeadBytes; at + kFrameBytes <= bytes.size(); at += kFrameBytes) {
      out.seekp(static_cast<std::streamoff>(at + kFrameSum));
      out.put(static_cast<char>(bytes.at(at + kFrameSum) ^ 1));
      ++flipped;
    }
  }
  ASSERT_GT(flipped, kBefore);
  expect_copied(rig, "behind it");
  EXPECT_EQ(rig.store().take_reports(), std::vector<std::string>{});
  EXPECT_EQ(rig.store().set_aside_count(), 0);
  EXPECT_NE(content(rig.file()).find(payload_of(0)), std::string::npos);
  rig.expect_sound();
}

// The end of the server copies the log, too.
TEST_P(FlippedLog, StaysForTheNextStart) {
  SqliteRig rig(options(kCacheBytes));
  fill(rig);
  rig.close();
  EXPECT_TRUE(fs::exists(log_of(rig.file())));
  EXPECT_EQ(content(rig.file()).find("qayload"), std::string::npos);
  rig.open();
  const auto reports = rig.store().take_reports();
  ASSERT_EQ(reports.size(), 1U);
  EXPECT_NE(reports[0].find("is damaged behind byte"), std::string::npos) << reports[0];
  EXPECT_EQ(rig.counters("q").in(State::que), put_ - 1);
  rig.expect_sound();
}

INSTANTIATE_TEST_SUITE_P(AsTheEngineCopiesAndBeside, FlippedLog, testing::Bool());

}  // namespace
}  // namespace rq::store::sqlite::test
