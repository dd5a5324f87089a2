// faults.md D3, relative: one flipped bit in the log, and all that was committed behind it was gone
// at the next start, without a word.
#include "store/sqlite/log_frames.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <set>

#include "store/sqlite/sqlite_rig.h"

namespace rq::store::sqlite::test {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kFrame = 24 + kPage;
constexpr std::size_t kHead = 32;

std::string read(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
void write(const fs::path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary) << bytes;
}

// What a kill leaves of a store with ten commits of ten messages in its log, and one at its end.
class DamagedLog : public testing::Test {
 protected:
  static constexpr int kBatches = 10;
  static constexpr int kMessages = 100;

  void SetUp() override {
    SqliteRig rig;
    rig.define("q");
    rig.reopen();
    for (int i = 0; i < kBatches; ++i) {
      for (int j = 0; j < kMessages / kBatches; ++j) {
        rig.submit(Rig::put_of("q", fmt::format("{:0600}", i * kBatches + j)));
      }
      rig.run();
    }
    last_commit = fs::file_size(rig.file().string() + "-wal");
    rig.define("last");
    store = read(rig.file());
    identity = read(rig.file().string() + ".identity");
    log = read(rig.file().string() + "-wal");
  }
  void lay_out(const std::string& damaged) const {
    write(file, store);
    write(file.string() + "-wal", damaged);
    write(file.string() + ".identity", identity);
  }
  void start_over() {
    for (const auto& entry : fs::directory_iterator(dir.path())) fs::remove(entry);
  }
  void reboot() {
    const auto at = identity.find("machine ");
    ASSERT_NE(at, std::string::npos);
    identity.replace(at, std::string::npos, "machine of-before\n");
  }
  [[nodiscard]] std::int64_t messages() const {
    return std::stoll(rows_of(file, "SELECT count(*) FROM message").at(0));
  }

  TempDir dir;
  const fs::path file = dir.path() / "rq.db";
  const fs::path kept = dir.path() / "rq.db.damaged-1-wal";
  std::string store, identity, log;
  std::size_t last_commit = 0;
};

std::string flipped(std::string bytes, std::size_t at, unsigned bit = 1) {
  bytes[at] = static_cast<char>(static_cast<unsigned char>(bytes[at]) ^ bit);
  return bytes;
}

TEST_F(DamagedLog, OneBitLosesNothingOfWhatStandsBehind) {
  ASSERT_EQ(read_log(log, LogPart::whole).whole_bytes, log.size());
  std::set<std::size_t> places;
  constexpr std::size_t kEachFrame = 9;  // it is rebuilt each time
  for (std::size_t at = kHead; at < last_commit; at += kEachFrame * kFrame) {
    for (const std::size_t in_frame : {4U, 17U, 24U + 8U, 24U + 1000U, 24U + 4000U}) {
      places.insert(at + in_frame);
    }
  }
  for (const std::size_t at : {9U, 17U, 25U}) places.insert(at);  // of the head
  ASSERT_GT(places.size(), 20U);
  for (const std::size_t at : places) {
    SCOPED_TRACE(fmt::format("byte {}, {} of its frame", at, (at - kHead) % kFrame));
    start_over();
    lay_out(flipped(log, at));
    const auto findings = check_store(file);
    ASSERT_TRUE(findings) << findings.error().message;
    ASSERT_FALSE(findings->empty());
    EXPECT_NE(findings->front().find("rq.db-wal is damaged behind byte"), std::string::npos);
    {
      const auto opened = make_store(file);
      const auto done = opened->open();
      ASSERT_TRUE(done) << done.error().message;
      const auto reports = opened->take_reports();
      ASSERT_EQ(reports.size(), 1U);
      EXPECT_NE(reports[0].find("commits stand behind"), std::string::npos) << reports[0];
      EXPECT_GT(opened->set_aside_count(), 0) << "health says damaged";
    }
    EXPECT_EQ(read(kept), flipped(log, at)) << "the log is kept";
    const auto named = rows_of(file, "SELECT DISTINCT seq FROM corrupt WHERE seq IS NOT NULL");
    EXPECT_GE(messages() + std::ssize(named), kMessages);
    EXPECT_EQ(rows_of(file, "SELECT count(*) FROM queue").at(0), "2");
    EXPECT_EQ(rows_of(file,
                      "SELECT count(*) FROM message WHERE CAST(payload AS INT) != seq - 1 OR "
                      "length(payload) != 600")
                  .at(0),
              "0")
        << "no payload is another one";
    const auto after = check_store(file);
    ASSERT_TRUE(after);
    EXPECT_EQ(*after, std::vector<std::string>{});
  }
}

// What a kill leaves: a commit that is not whole, at its end.
TEST_F(DamagedLog, AnEndThatIsTornIsNoDamage) {
  for (std::size_t bytes = last_commit + 1; bytes < log.size(); bytes += 777) {
    SCOPED_TRACE(fmt::format("{} of {} bytes", bytes, log.size()));
    start_over();
    lay_out(log.substr(0, bytes));
    const auto opened = make_store(file);
    ASSERT_TRUE(opened->open());
    EXPECT_TRUE(opened->take_reports().empty());
    EXPECT_EQ(opened->set_aside_count(), 0);
  }
  EXPECT_EQ(messages(), kMessages);
}

// A log begins anew in the file it has: behind its end stands what is left of the one before.
TEST_F(DamagedLog, WhatIsLeftOfAnOlderLogIsNoDamage) {
  const LogFrames whole = read_log(log, LogPart::all);
  std::string younger = log;
  for (std::size_t at = kHead + 3 * kFrame; at < younger.size(); at += kFrame) {
    younger = flipped(younger, at + 11);  // another salt
  }
  const LogFrames left = read_log(younger, LogPart::all);
  EXPECT_LT(left.whole_bytes, whole.whole_bytes);
  EXPECT_EQ(left.commits_behind, 0);
  EXPECT_LE(left.frames.size(), 3U);
}

// After a loss of power a part that was not synced may be missing in front of what is there. It is
// no damage, and must not be taken for more of what is written in its place.
TEST_F(DamagedLog, AfterALossOfPowerTheLogEndsWhereItBreaksOff) {
  reboot();
  const std::size_t at = kHead + 20 * kFrame + 1000;
  ASSERT_LT(at, last_commit);
  lay_out(flipped(log, at));
  const std::size_t end = read_log_of(file).whole_bytes;
  ASSERT_GT(read_log_of(file).commits_behind, 0);
  for (int start = 0; start < 3; ++start) {
    const auto findings = check_store(file);
    ASSERT_TRUE(findings);
    EXPECT_EQ(*findings, std::vector<std::string>{});
    {
      const auto opened = make_store(file);
      ASSERT_TRUE(opened->open());
      EXPECT_TRUE(opened->take_reports().empty());
      EXPECT_EQ(opened->set_aside_count(), 0);
      EXPECT_EQ(read_log_of(file).commits_behind, 0);
      EXPECT_GE(fs::file_size(file.string() + "-wal"), end);
      store = read(file);  // as a kill leaves it
      log = read(file.string() + "-wal");
      identity = read(file.string() + ".identity");
    }
    start_over();
    lay_out(log);
  }
}

// Pages of a transaction that was taken back, which had not fitted into memory.
TEST(LogFramesOfSqlite, WhatWasRolledBackIsNoDamage) {
  TempDir dir;
  const fs::path file = dir.path() / "rq.db";
  Db db;
  ASSERT_TRUE(db.open(file, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX));
  ASSERT_TRUE(
      db.exec("PRAGMA journal_mode = WAL; PRAGMA cache_size = 10; CREATE TABLE t (x); "
              "BEGIN; WITH n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 100)"
              " INSERT INTO t SELECT randomblob(4000) FROM n; ROLLBACK;"
              "INSERT INTO t VALUES (1)"));
  const LogFrames log = read_log_of(file);
  EXPECT_GT(fs::file_size(file.string() + "-wal"), log.whole_bytes + kFrame);
  EXPECT_EQ(log.commits_behind, 0);
}

}  // namespace
}  // namespace rq::store::sqlite::test
