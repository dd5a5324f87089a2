// A rebuild that fails or dies at any of its steps: nothing acknowledged is lost, what was damaged
// is kept whole, and the next start goes on. faults.md D3, relative
#include <fcntl.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "base/fd.h"
#include "store/sqlite/rebuild.h"
#include "store/sqlite/rebuild_files.h"
#include "store/sqlite/sqlite_rig.h"
#include "store/sqlite/sqlite_store.h"
#include "store/sqlite/test_vfs.h"

namespace rq::store::sqlite::test {
namespace {

std::string content(const fs::path& file) {
  std::ifstream in{file, std::ios::binary};
  std::stringstream all;
  all << in.rdbuf();
  return all.str();
}

void write(const fs::path& file, std::string_view text) {
  std::ofstream{file, std::ios::binary} << text;
}

// The nth call fails with nothing done, as if the process had died before it.
class FailingCalls final : public FileCalls {
 public:
  void fail_at(int nth) {
    left_ = nth;
    failed_ = false;
  }
  [[nodiscard]] bool has_failed() const { return failed_; }

  std::error_code rename(const fs::path& from, const fs::path& to) override {
    return fails() ? no_room() : FileCalls::rename(from, to);
  }
  std::error_code remove(const fs::path& file) override {
    return fails() ? no_room() : FileCalls::remove(file);
  }
  std::error_code copy(FileBytes& from, const fs::path& to) override {
    return fails() ? no_room() : FileCalls::copy(from, to);
  }
  std::error_code sync_folder(const fs::path& folder) override {
    return fails() ? no_room() : FileCalls::sync_folder(folder);
  }

 private:
  static std::error_code no_room() { return std::make_error_code(std::errc::no_space_on_device); }
  bool fails() {
    if (left_ == 0 || --left_ > 0) return false;
    failed_ = true;
    return true;
  }
  int left_ = 0;
  bool failed_ = false;
};

// --- The files ---

struct Files {
  TempDir dir;
  fs::path file = dir.path() / "rq.db";
  [[nodiscard]] fs::path with(std::string_view ending) const {
    return file.string() + std::string{ending};
  }
};

TEST(RebuildFiles, GoOnFromEveryState) {
  using Next = RebuildFiles::Next;
  for (const bool fresh : {false, true}) {
    for (const bool store : {false, true}) {
      for (const bool log : {false, true}) {
        for (const bool mark : {false, true}) {
          SCOPED_TRACE(fmt::format("fresh {} store {} log {} mark {}", fresh, store, log, mark));
          Files f;
          if (store) write(f.file, "old");
          if (log) write(f.with("-wal"), "old log");
          if (mark) write(f.with(".rebuild"), "why");
          RebuildFiles files(f.file);
          if (fresh) write(files.fresh(2), "new");
          EXPECT_EQ(files.next(), !fresh  ? Next::nothing
                                  : store ? Next::keep_store
                                  : log   ? Next::keep_log
                                          : Next::take_place);
          const auto finished = files.finish();
          ASSERT_TRUE(finished) << finished.error().message;
          EXPECT_EQ(files.next(), Next::nothing);
          if (!fresh) {
            EXPECT_EQ(fs::exists(f.file), store);
            EXPECT_EQ(fs::exists(f.with("-wal")), log);
            EXPECT_EQ(files.is_marked(), mark);
            continue;
          }
          EXPECT_EQ(content(f.file), "new");
          EXPECT_FALSE(fs::exists(f.with("-wal"))) << "of another store";
          EXPECT_EQ(content(f.with(".damaged-2")), store ? "old" : "");
          EXPECT_EQ(content(f.with(".damaged-2-wal")), log ? "old log" : "");
          EXPECT_FALSE(files.is_marked());
        }
      }
    }
  }
}

// A copy of another time that somebody left there once took the place of the store.
TEST(RebuildFiles, TakeNoOtherFileForAFreshOne) {
  Files f;
  write(f.file, "good");
  write(f.with("-wal"), "log");
  const fs::path of_another = f.with(".fresh-1-1");
  for (const fs::path& stray : {f.with(".fresh-1"), of_another, f.with(".fresh-2-0")}) {
    write(stray, "stray");
  }
  RebuildFiles files(f.file);
  EXPECT_EQ(files.next(), RebuildFiles::Next::nothing);
  ASSERT_TRUE(files.finish());
  EXPECT_EQ(content(f.file), "good");
  EXPECT_EQ(content(f.with("-wal")), "log");
  EXPECT_EQ(content(of_another), "stray");
  EXPECT_FALSE(fs::exists(f.with(".damaged-1")));
}

// The damaged store and its log stay together, whatever is there of older ones.
TEST(RebuildFiles, AreKeptTogetherWhateverFails) {
  for (const int older : {0, 1, 3}) {
    for (int nth = 1;; ++nth) {
      SCOPED_TRACE(fmt::format("{} older ones, call {} fails", older, nth));
      ASSERT_LT(nth, 30);
      Files f;
      for (int n = 1; n <= older; ++n) {
        write(f.with(fmt::format(".damaged-{}", n)), "older");
        write(f.with(fmt::format(".damaged-{}-wal", n)), "older log");
      }
      write(f.file, "old");
      write(f.with("-wal"), "old log");
      write(f.with(".making"), "new");
      FailingCalls calls;
      calls.fail_at(nth);
      RebuildFiles first(f.file, calls);
      const auto done = first.take_over();
      const bool failed = calls.has_failed();
      calls.fail_at(0);
      if (!done) {
        EXPECT_EQ(done.error().code, Code::disk_full);
        RebuildFiles second(f.file, calls);
        const auto finished = second.finish();
        ASSERT_TRUE(finished) << finished.error().message;
        if (content(f.file) == "old") {  // it has not begun
          EXPECT_EQ(content(f.with("-wal")), "old log");
          EXPECT_FALSE(fs::exists(f.with(".making")));
          continue;
        }
      }
      const std::string kept = fmt::format(".damaged-{}", std::min(older + 1, 3));
      EXPECT_EQ(content(f.file), "new");
      EXPECT_EQ(content(f.with(kept)), "old");
      EXPECT_EQ(content(f.with(kept + "-wal")), "old log");
      EXPECT_FALSE(fs::exists(f.with("-wal")));
      if (!failed) break;
    }
  }
}

// --- The store ---

class Rebuilds : public testing::Test {
 protected:
  struct Opened {
    std::unique_ptr<SqliteStore> store;
    std::unique_ptr<engine::Engine> engine;
  };
  base::Result<Opened> open() {
    Opened out;
    out.store = std::make_unique<SqliteStore>(file_, Options{}, calls_);
    out.engine = std::make_unique<engine::Engine>(*out.store);
    RQ_TRY(out.engine->open());
    return out;
  }
  static Committed run(Opened& opened, core::Command command) {
    std::vector<core::Envelope> batch;
    batch.push_back({.ticket = {}, .command = std::move(command)});
    core::Outbox out;
    return opened.engine->run(batch, {.now = base::from_ms(1'800'000'000'000)}, out);
  }
  // Acknowledged.
  void put(Opened& opened, const std::string& key) {
    core::Put one = Rig::put_of("q", "payload of " + key);
    one.make_queue = true;
    one.message.detail().key = key;
    ASSERT_EQ(run(opened, std::move(one)).what, Committed::What::yes);
    keys_.push_back(key);
  }
  void expect_all_there() {
    for (const std::string& key : keys_) {
      EXPECT_EQ(rows_of(file_, fmt::format("SELECT CAST(m.payload AS TEXT) FROM message m JOIN "
                                           "detail d ON d.seq = m.seq WHERE d.key = '{}'",
                                           key)),
                std::vector{"payload of " + key});
    }
    const auto findings = check_store(file_);
    ASSERT_TRUE(findings) << findings.error().message;
    EXPECT_EQ(*findings, std::vector<std::string>{});
    EXPECT_FALSE(fs::exists(file_.string() + ".making"));
  }
  // Asks for a rebuild of the open store, and opens it again, as the pipeline does.
  static bool rebuild(Opened& opened) {
    EXPECT_NE(run(opened, core::Examine{.suspects = {}, .rebuild = core::RebuildWhen::now}).what,
              Committed::What::yes);
    const auto again = opened.engine->open();
    EXPECT_TRUE(again) << again.error().message;
    const auto reports = opened.store->take_reports();
    EXPECT_EQ(reports.size(), 1U);
    return !reports.empty() && reports[0].find("has been rebuilt") != std::string::npos;
  }

  TempDir dir_;
  fs::path file_ = dir_.path() / "rq.db";
  FailingCalls calls_;
  std::vector<std::string> keys_;
};

TEST_F(Rebuilds, AnOpenStoreLosesNoPutWhateverFails) {
  for (int nth = 1;; ++nth) {
    SCOPED_TRACE(nth);
    ASSERT_LT(nth, 30);
    bool failed = false;
    {
      auto opened = open();
      ASSERT_TRUE(opened) << opened.error().message;
      put(*opened, fmt::format("before-{}", nth));
      calls_.fail_at(nth);
      const bool rebuilt = rebuild(*opened);
      failed = calls_.has_failed();
      calls_.fail_at(0);
      EXPECT_TRUE(rebuilt || failed);
      put(*opened, fmt::format("after-{}", nth));
    }
    {
      auto opened = open();
      ASSERT_TRUE(opened) << opened.error().message;
      put(*opened, fmt::format("restarted-{}", nth));
    }
    expect_all_there();
    if (!failed) break;
  }
}

// faults.md D3, relative: a rebuild closed a second descriptor of the database, and with it the
// locks of SQLite went: an operator's shell could delete the log under the server.
TEST_F(Rebuilds, AnOpenStoreKeepsItsLocks) {
  auto opened = open();
  ASSERT_TRUE(opened) << opened.error().message;
  put(*opened, "a");
  ASSERT_TRUE(rebuild(*opened));
  // As another process asks.
  const base::Fd other(::open(file_.c_str(), O_RDWR | O_CLOEXEC));
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  ASSERT_EQ(::fcntl(other.get(), F_OFD_GETLK, &lock), 0);
  EXPECT_NE(lock.l_type, F_UNLCK);
}

// A failure is told, with what to do; the next start tries again.
TEST_F(Rebuilds, AreReportedWhenTheyFail) {
  auto opened = open();
  ASSERT_TRUE(opened) << opened.error().message;
  put(*opened, "a");
  for (int n = 1; n <= 3; ++n) {
    fs::create_directories(file_.string() + fmt::format(".damaged-{}", n) + "/in the way");
  }
  ASSERT_NE(run(*opened, core::Examine{.suspects = {}, .rebuild = core::RebuildWhen::now}).what,
            Committed::What::yes);
  ASSERT_TRUE(opened->engine->open());
  const auto reports = opened->store->take_reports();
  ASSERT_EQ(reports.size(), 1U);
  EXPECT_NE(reports[0].find("cannot be rebuilt"), std::string::npos) << reports[0];
  EXPECT_NE(reports[0].find("has room"), std::string::npos) << reports[0];
  EXPECT_TRUE(fs::exists(rebuild_mark(file_)));
  put(*opened, "b");
  opened->engine.reset();
  opened->store.reset();
  for (int n = 1; n <= 3; ++n) fs::remove_all(file_.string() + fmt::format(".damaged-{}", n));
  auto again = open();
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->store->take_reports().size(), 1U);
  EXPECT_FALSE(fs::exists(rebuild_mark(file_)));
  expect_all_there();
}

TEST_F(Rebuilds, AStartGoesOnWhateverFails) {
  {
    auto opened = open();
    ASSERT_TRUE(opened) << opened.error().message;
    put(*opened, "a");
  }
  for (int nth = 1;; ++nth) {
    SCOPED_TRACE(nth);
    ASSERT_LT(nth, 30);
    write(rebuild_mark(file_), "a test");
    calls_.fail_at(nth);
    auto opened = open();
    const bool failed = calls_.has_failed();
    calls_.fail_at(0);
    if (!opened) opened = open();
    ASSERT_TRUE(opened) << opened.error().message;
    put(*opened, fmt::format("put-{}", nth));
    opened->engine.reset();
    opened->store.reset();
    expect_all_there();
    if (!failed) break;
  }
}

// Each write and sync of SQLite's, of both kinds of rebuild.
TEST_F(Rebuilds, SurviveADiskThatFails) {
  for (const bool is_open : {true, false}) {
    for (int nth = 1;; nth += 3) {
      SCOPED_TRACE(fmt::format("{} {}", is_open ? "open" : "closed", nth));
      TempDir dir;
      file_ = dir.path() / "rq.db";
      keys_.clear();
      TestVfs vfs;
      bool failed = false;
      {
        auto opened = open();
        ASSERT_TRUE(opened) << opened.error().message;
        put(*opened, "before");
        const auto code = nth % 2 == 0 ? SQLITE_FULL : SQLITE_IOERR_WRITE;
        if (is_open) {
          static_cast<void>(
              run(*opened, core::Examine{.suspects = {}, .rebuild = core::RebuildWhen::now}));
          vfs.fail_at(nth, code);
          if (!opened->engine->open()) {
            vfs.fail_at(0, 0);
            ASSERT_TRUE(opened->engine->open());
          }
        } else {
          opened->engine.reset();
          opened->store.reset();
          write(rebuild_mark(file_), "a test");
          vfs.fail_at(nth, code);
          opened = open();
          if (!opened) {
            vfs.fail_at(0, 0);
            opened = open();
          }
          ASSERT_TRUE(opened) << opened.error().message;
        }
        failed = vfs.has_failed();
        vfs.fail_at(0, 0);
        put(*opened, "after");
        if (is_open) {
          TempDir after;
          vfs.power_cut(dir.path(), after.path());
          const auto cut = open_store(after.path() / "rq.db");
          EXPECT_TRUE(cut) << cut.error().message;
          EXPECT_EQ(rows_of(after.path() / "rq.db", "SELECT key FROM detail ORDER BY key"),
                    (std::vector<std::string>{"after", "before"}));
        }
      }
      auto again = open();
      ASSERT_TRUE(again) << again.error().message;
      again->engine.reset();
      again->store.reset();
      expect_all_there();
      if (!failed) break;
      if (HasFailure()) return;
    }
  }
}

// What keeps a copy of the pages from its end is not among what SQLite tells at its end.
TEST_F(Rebuilds, ADatabaseThatIsInUseIsNoSuccess) {
  {
    auto opened = open();
    ASSERT_TRUE(opened) << opened.error().message;
    put(*opened, "a");
  }
  Db db;
  ASSERT_TRUE(db.open(file_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX));
  Db other;
  ASSERT_TRUE(other.open(file_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX));
  ASSERT_TRUE(other.exec("BEGIN IMMEDIATE"));
  RebuildFiles files(file_);
  ASSERT_TRUE(files.mark("a test"));
  const auto done = rebuild_open(files, db, {}, "a test");
  EXPECT_FALSE(done) << *done;
  EXPECT_TRUE(files.is_marked());
  EXPECT_FALSE(fs::exists(files.making()));
}

// A large store waits for the next start: nobody is kept waiting in the middle of the day.
TEST_F(Rebuilds, ALargeStoreIsMarkedAndServesOn) {
  auto opened = open();
  ASSERT_TRUE(opened) << opened.error().message;
  for (int i = 0; i < 6; ++i) {
    core::Put large = Rig::put_of("q", std::string(3 << 20, 'x'));
    large.make_queue = true;
    ASSERT_EQ(run(*opened, std::move(large)).what, Committed::What::yes);
  }
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(run(*opened, core::Examine{.suspects = {}, .rebuild = core::RebuildWhen::now}).what,
              Committed::What::yes);
  }
  const auto reports = opened->store->take_reports();
  ASSERT_EQ(reports.size(), 1U) << "once";
  EXPECT_NE(reports[0].find("the next start"), std::string::npos) << reports[0];
  EXPECT_TRUE(fs::exists(rebuild_mark(file_)));
  const std::string noted =
      fmt::format("SELECT count(*) FROM corrupt WHERE why = '{}'", kAwaitsRebuild);
  EXPECT_EQ(rows_of(file_, noted), std::vector<std::string>{"1"}) << "health says so";
  opened->engine.reset();
  opened->store.reset();
  ASSERT_TRUE(open());
  EXPECT_EQ(rows_of(file_, noted), std::vector<std::string>{"0"}) << "it is done";
}

TEST_F(Rebuilds, OfUpTo16MiBAreDoneAtOnce) {
  for (const std::size_t mib : {15, 17}) {
    SCOPED_TRACE(mib);
    TempDir dir;
    file_ = dir.path() / "rq.db";
    ASSERT_TRUE(open());
    make_larger(file_, mib);
    auto opened = open();
    ASSERT_TRUE(opened) << opened.error().message;
    const auto asked =
        run(*opened, core::Examine{.suspects = {}, .rebuild = core::RebuildWhen::now}).what;
    EXPECT_EQ(asked == Committed::What::yes, mib > 16);
    ASSERT_TRUE(opened->engine->open());
    EXPECT_EQ(fs::exists(file_.string() + ".damaged-1"), mib < 16);
    EXPECT_EQ(fs::exists(rebuild_mark(file_)), mib > 16);
  }
}

// The mark was there then, and nothing else was ever said.
TEST_F(Rebuilds, ThatWaitAreNotedAlsoWhenTheBatchWasLost) {
  TestVfs vfs;
  auto opened = open();
  ASSERT_TRUE(opened) << opened.error().message;
  put(*opened, "a");
  const auto ask = [&] {
    return run(*opened, core::Examine{.suspects = {}, .rebuild = core::RebuildWhen::at_start}).what;
  };
  vfs.fail_at(1, SQLITE_FULL);
  ASSERT_NE(ask(), Committed::What::yes);
  vfs.fail_at(0, 0);
  ASSERT_TRUE(opened->engine->open());
  EXPECT_EQ(opened->store->set_aside_count(), 0);
  ASSERT_EQ(ask(), Committed::What::yes);
  EXPECT_EQ(opened->store->set_aside_count(), 1);
}

// Nor can a person know what to do when it is not there, though it was said.
TEST_F(Rebuilds, ThatCannotBeMarkedAreLeftToAPerson) {
  auto opened = open();
  ASSERT_TRUE(opened) << opened.error().message;
  put(*opened, "a");
  fs::create_symlink(file_.parent_path() / "nowhere" / "mark", rebuild_mark(file_));
  ASSERT_EQ(
      run(*opened, core::Examine{.suspects = {}, .rebuild = core::RebuildWhen::at_start}).what,
      Committed::What::yes);
  const auto reports = opened->store->take_reports();
  ASSERT_EQ(reports.size(), 1U);
  EXPECT_NE(reports[0].find("touch"), std::string::npos) << reports[0];
}

// --- Examining ---

// faults.md D3, relative: a batch looks at a bounded number, and the next ones go on.
TEST(Examine, GoesOnInTheNextBatches) {
  SqliteRig rig;
  rig.define("q");
  const int many = 3 * core::kExaminedMax - 1;
  for (int i = 0; i < many; ++i) {
    core::Put later = Rig::put_of("q");
    later.delay = seconds{1000 + i};
    rig.ask<core::PutDone>(std::move(later));
  }
  rig.close();
  rows_of(rig.file(), "UPDATE scheduled SET due = due + 1");
  rig.open();
  const auto reader = rig.home().reader();
  std::vector<core::Finding> found;
  for (bool more = true; more;) {
    const auto goes_on = reader->check(found);
    ASSERT_TRUE(goes_on) << goes_on.error().message;
    more = *goes_on;
  }
  core::Examine examine;
  for (const core::Finding& finding : found) examine.suspects.push_back(finding.suspect);
  ASSERT_EQ(std::ssize(examine.suspects), 2 * many) << "each message, and each row";
  const auto request = rig.submit(std::move(examine));
  int batches = 0;
  for (; !rig.answered(request); ++batches) rig.run();
  EXPECT_EQ(batches, 6);
  rig.expect_sound();
  EXPECT_EQ(rig.counters("q").in(core::State::scheduled), many);
}

}  // namespace
}  // namespace rq::store::sqlite::test
