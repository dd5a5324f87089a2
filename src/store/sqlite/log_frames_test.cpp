// faults.md D3, relative: one flipped bit in the log, and all that was committed behind it was gone
// at the next start, without a word.
#include "store/sqlite/log_frames.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <set>

#include "store/sqlite/identity.h"
#include "store/sqlite/sqlite_rig.h"
#include "store/sqlite/store_files.h"

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

LogFrames frames_of(const std::string& log, LogPart part) {
  TempDir dir;
  write(dir.path() / "log", log);
  FileBytes bytes;
  const auto opened = bytes.open(dir.path() / "log");
  if (!opened) ADD_FAILURE() << opened.error().message;
  auto frames = read_log(bytes, part);
  if (!frames) ADD_FAILURE() << frames.error().message;
  return frames ? std::move(*frames) : LogFrames{};
}
std::size_t whole_bytes_of(const fs::path& file) {
  const auto log = read_log_of(file);
  if (!log) ADD_FAILURE() << log.error().message;
  return log ? log->whole_bytes : 0;
}
std::int64_t commits_behind_in(const fs::path& file) {
  const auto log = read_log_of(file);
  if (!log) ADD_FAILURE() << log.error().message;
  return log ? log->commits_behind : -1;
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
    index = read(index_of(rig.file()));
  }
  void lay_out(const std::string& damaged) const {
    write(file, store);
    write(file.string() + "-wal", damaged);
    write(file.string() + ".identity", identity);
  }
  void lay_out_with_index(const std::string& damaged) const {
    lay_out(damaged);
    write(index_of(file), index);
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
  std::string store, identity, log, index;
  std::size_t last_commit = 0;
};

std::string flipped(std::string bytes, std::size_t at, unsigned bit = 1) {
  bytes[at] = static_cast<char>(static_cast<unsigned char>(bytes[at]) ^ bit);
  return bytes;
}

TEST_F(DamagedLog, OneBitLosesNothingOfWhatStandsBehind) {
  ASSERT_EQ(frames_of(log, LogPart::as_sqlite_reads).whole_bytes, log.size());
  std::set<std::size_t> places;
  constexpr std::size_t kEachFrame = 9;  // it is rebuilt each time
  for (std::size_t at = kHead; at < last_commit; at += kEachFrame * kFrame) {
    for (const std::size_t in_frame : {3U, 4U, 11U, 17U, 24U + 8U, 24U + 1000U, 24U + 4000U}) {
      places.insert(at + in_frame);
    }
  }
  for (const std::size_t at : {3U, 9U, 17U, 25U}) places.insert(at);  // of the head
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

// faults.md D3, relative: whichever bit of a head it is, no frame is left out.
TEST_F(DamagedLog, NoBitOfAHeadHidesAFrame) {
  const LogFrames whole = frames_of(log, LogPart::all);
  ASSERT_EQ(whole.commits_behind, 0);
  std::set<std::size_t> places;
  for (std::size_t at = 0; at < kHead; ++at) places.insert(at);
  for (const std::size_t frame : {std::size_t{0}, std::size_t{1}, std::size_t{7}}) {
    for (std::size_t at = 0; at < 24; ++at) places.insert(kHead + frame * kFrame + at);
  }
  for (const std::size_t at : places) {
    for (unsigned bit = 1; bit < 0x100; bit <<= 1U) {
      SCOPED_TRACE(fmt::format("byte {}, bit {}", at, bit));
      const LogFrames found = frames_of(flipped(log, at, bit), LogPart::all);
      EXPECT_GT(found.commits_behind, 0);
      EXPECT_EQ(found.frames.size(), whole.frames.size());
    }
    if (HasFailure()) return;
  }
}

// faults.md D3, relative: the last commit is one frame, and the checksum in front of it is damaged.
TEST_F(DamagedLog, ABadChecksumDoesNotHideTheCommitBehindIt) {
  for (std::size_t frames = 2; kHead + frames * kFrame <= log.size(); ++frames) {
    const std::string some = log.substr(0, kHead + frames * kFrame);
    const LogFrames whole = frames_of(some, LogPart::all);
    if (whole.whole_bytes != some.size()) continue;
    SCOPED_TRACE(frames);
    const std::size_t before = kHead + (frames - 2) * kFrame;
    const LogFrames found = frames_of(flipped(some, before + 17), LogPart::all);
    EXPECT_GT(found.commits_behind, 0);
    EXPECT_EQ(found.frames.size(), whole.frames.size());
  }
}

// faults.md D3, relative: a log that cannot be read is told, and ends nobody.
TEST_F(DamagedLog, OneThatCannotBeReadIsTold) {
  lay_out(log);
  FileBytes bytes;
  ASSERT_TRUE(bytes.open(log_of(file)));
  fs::resize_file(log_of(file), log.size() / 2);
  const auto shorter = read_log(bytes, LogPart::all);
  ASSERT_FALSE(shorter);
  EXPECT_NE(shorter.error().message.find("has become shorter"), std::string::npos);
  fs::remove(log_of(file));
  fs::create_directory(log_of(file));
  const auto unreadable = read_log_of(file);
  ASSERT_FALSE(unreadable);
  EXPECT_NE(unreadable.error().message.find("cannot read " + log_of(file).string()),
            std::string::npos)
      << unreadable.error().message;
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
TEST(LogFramesOfSqlite, WhatIsLeftOfAnOlderLogIsNoDamage) {
  TempDir dir;
  const fs::path file = dir.path() / "rq.db";
  Db db;
  ASSERT_TRUE(db.open(file, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX));
  ASSERT_TRUE(db.exec("PRAGMA journal_mode = WAL; CREATE TABLE t (x)"));
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(db.exec("INSERT INTO t VALUES (randomblob(3000))"));
  ASSERT_TRUE(db.exec("PRAGMA wal_checkpoint; INSERT INTO t VALUES (1)"));
  const std::string log = read(log_of(file));
  const LogFrames left = frames_of(log, LogPart::all);
  EXPECT_GT(log.size(), left.whole_bytes + 10 * kFrame);
  EXPECT_GT(left.whole_bytes, kHead);
  EXPECT_EQ(left.commits_behind, 0);
  EXPECT_EQ(left.frames.size(), (left.whole_bytes - kHead) / kFrame);
}

// After a loss of power a part that was not synced may be missing in front of what is there. It is
// no damage, and must not be taken for more of what is written in its place.
TEST_F(DamagedLog, AfterALossOfPowerTheLogEndsWhereItBreaksOff) {
  reboot();
  const std::size_t at = kHead + 20 * kFrame + 1000;
  ASSERT_LT(at, last_commit);
  lay_out(flipped(log, at));
  const std::size_t end = whole_bytes_of(file);
  ASSERT_GT(commits_behind_in(file), 0);
  const std::string broken = read(log_of(file));
  for (int start = 0; start < 3; ++start) {
    const auto findings = check_store(file);
    ASSERT_TRUE(findings);
    EXPECT_EQ(*findings, std::vector<std::string>{});
    {
      const auto opened = make_store(file);
      ASSERT_TRUE(opened->open());
      // A bad disk leaves the same: it is said once, and kept.
      const auto reports = opened->take_reports();
      EXPECT_EQ(reports.size(), start == 0 ? 1U : 0U);
      if (start == 0) {
        EXPECT_NE(reports.at(0).find("were left out"), std::string::npos) << reports.at(0);
        EXPECT_EQ(read(kept), broken);
      }
      EXPECT_EQ(opened->set_aside_count(), 0);
      EXPECT_EQ(commits_behind_in(file), 0);
      EXPECT_GE(fs::file_size(file.string() + "-wal"), end);
      store = read(file);  // as a kill leaves it
      log = read(file.string() + "-wal");
      identity = read(file.string() + ".identity");
    }
    start_over();
    lay_out(log);
  }
}

// faults.md D3, relative: a log that was cut, or of which the last commit is damaged, looked like
// one that ends there; but its index knows how long it was.
TEST_F(DamagedLog, WhatItsIndexTellsIsMissed) {
  const std::size_t frames = (log.size() - kHead) / kFrame;
  const std::string cut_by_one = log.substr(0, log.size() - kFrame);
  const std::string half = log.substr(0, kHead + frames / 2 * kFrame + 100);
  const std::string torn = cut_by_one + std::string(kFrame, '\0');
  for (const std::string& damaged :
       {cut_by_one, half, log.substr(0, 10), std::string{}, torn, flipped(log, log.size() - 1),
        flipped(log, log.size() - kFrame + 17)}) {
    SCOPED_TRACE(fmt::format("{} of {} bytes", damaged.size(), log.size()));
    start_over();
    lay_out_with_index(damaged);
    const auto told = log_for_the_server(file);
    ASSERT_TRUE(told);
    EXPECT_NE(told->find("as its index tells"), std::string::npos) << *told;
    {
      const auto opened = make_store(file);
      const auto done = opened->open();
      ASSERT_TRUE(done) << done.error().message;
      const auto reports = opened->take_reports();
      ASSERT_EQ(reports.size(), 1U);
      EXPECT_NE(reports[0].find("as its index tells"), std::string::npos) << reports[0];
      EXPECT_GT(opened->set_aside_count(), 0) << "health says damaged";
    }
    EXPECT_EQ(read(kept), damaged) << "the log is kept";
    EXPECT_FALSE(log_for_the_server(file)) << "once";
    // Numbers may have been given in what is lost.
    const bool lost = damaged.size() < log.size() || damaged == torn;
    EXPECT_EQ(rows_of(file, "SELECT value > 1000000000 FROM meta WHERE key = 'next_seq'"),
              std::vector<std::string>{lost ? "1" : "0"});
    if (!lost) {
      EXPECT_EQ(messages(), kMessages);
      EXPECT_EQ(rows_of(file, "SELECT count(*) FROM queue"), std::vector<std::string>{"2"});
    }
  }
}

// What was lost by a loss of power the log never had; and an index that is damaged tells nothing.
TEST_F(DamagedLog, AnIndexOfBeforeIsNotBelieved) {
  const std::string cut = log.substr(0, log.size() - kFrame);
  const std::string sound = index;
  for (const bool rebooted : {true, false}) {
    SCOPED_TRACE(rebooted);
    start_over();
    if (!rebooted) index = flipped(flipped(sound, 33), 33 + 48);
    const std::string before = identity;
    if (rebooted) reboot();
    lay_out_with_index(cut);
    identity = before;
    EXPECT_FALSE(log_for_the_server(file));
    const auto opened = make_store(file);
    ASSERT_TRUE(opened->open());
    EXPECT_EQ(opened->take_reports(), std::vector<std::string>{});
    EXPECT_EQ(opened->set_aside_count(), 0);
  }
}

// One of its two heads is enough: each has its checksum.
TEST_F(DamagedLog, AnIndexWithOneGoodHeadIsBelieved) {
  constexpr std::size_t kHeads = 96;
  const std::string cut = log.substr(0, log.size() - kFrame);
  const std::string sound = index;
  for (std::size_t byte = 0; byte < kHeads; ++byte) {
    index = flipped(sound, byte);
    lay_out_with_index(cut);
    EXPECT_TRUE(log_for_the_server(file)) << byte;
  }
}

TEST_F(DamagedLog, OneThatIsGoneIsToBePutBack) {
  lay_out_with_index(log);
  fs::remove(log_of(file));
  const auto refused = make_store(file)->open();
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().remedy.find("put it back"), std::string::npos);
  write(log_of(file), log);
  ASSERT_TRUE(make_store(file)->open());
  EXPECT_EQ(messages(), kMessages);
}

// faults.md D14, relative: the remedy for a log that is lost took away what knew of it, and numbers
// were given twice.
TEST_F(DamagedLog, AfterOneThatIsLostNoNumberIsGivenTwice) {
  lay_out_with_index(log);
  fs::remove(log_of(file));
  auto opened = make_store(file);
  const auto refused = opened->open();
  ASSERT_FALSE(refused);
  ASSERT_NE(refused.error().remedy.find(fmt::format("touch {}", log_of(file).string())),
            std::string::npos)
      << refused.error().remedy;
  write(log_of(file), "");
  opened = make_store(file);
  const auto done = opened->open();
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(opened->take_reports().size(), 1U);
  EXPECT_EQ(opened->set_aside_count(), 1) << "health says damaged";
  EXPECT_NE(rows_of(file, "SELECT why FROM corrupt").at(0).find("as its index tells"),
            std::string::npos);
  EXPECT_EQ(rows_of(file, "SELECT value > 1000000000 FROM meta WHERE key = 'next_seq'"),
            std::vector<std::string>{"1"});
  opened.reset();
  const auto findings = check_store(file);
  ASSERT_TRUE(findings);
  EXPECT_EQ(*findings, std::vector<std::string>{});
}

// All of it is in the database: what is left of it is older.
TEST(LogThatWasCopied, LosesNothingWithItsEnd) {
  constexpr int kPutsMax = 1000;
  SqliteRig rig(Options{.wal_bytes = 100L * 4096});
  rig.define("q");
  TempDir dir;
  const fs::path file = dir.path() / "rq.db";
  int put = 0;
  for (bool copied = false; !copied; ++put) {
    ASSERT_LT(put, kPutsMax);
    rig.put("q", fmt::format("{:0600}", put));
    fs::copy_file(index_of(rig.file()), index_of(file), fs::copy_options::overwrite_existing);
    const auto index = read_index_of(file);
    ASSERT_TRUE(index);
    copied = index->frames > 50 && index->copied == index->frames;
  }
  copy_as_after_a_crash(rig.file(), file);
  fs::copy_file(identity_of(rig.file()), identity_of(file));
  fs::resize_file(log_of(file), kHead + 40 * kFrame);
  const auto opened = make_store(file);
  ASSERT_TRUE(opened->open());
  EXPECT_EQ(opened->take_reports().size(), 1U);
  EXPECT_EQ(rows_of(file, "SELECT count(*) FROM message"), std::vector{std::to_string(put)});
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
  EXPECT_GT(fs::file_size(log_of(file)), whole_bytes_of(file) + kFrame);
  EXPECT_EQ(commits_behind_in(file), 0);
}

}  // namespace
}  // namespace rq::store::sqlite::test
