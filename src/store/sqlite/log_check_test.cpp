// faults.md D3, relative: a bit that was flipped in the log beside the running server was copied
// into the database with its page.
#include "store/sqlite/log_check.h"

#include <fstream>
#include <sstream>

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
    for (put_ = 0; put_ < kBefore + more; ++put_) rig.put("q", payload_of(put_));
    flip_all(log_of(rig.file()), payload_of(kFlipped - 1));
  }
  // Until the store has something to say of it.
  std::vector<std::string> put_until_told(SqliteRig& rig) {
    for (; put_ < kPutsMax; ++put_) {
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
  EXPECT_NE(reports[0].find("nothing is lost"), std::string::npos) << reports[0];
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
