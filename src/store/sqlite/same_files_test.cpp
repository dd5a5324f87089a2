// faults.md D14, relative: the log, or a part of a file, goes away under a running server.
#include "store/sqlite/same_files.h"

#include <gtest/gtest.h>

#include "store/sqlite/sqlite_rig.h"

namespace rq::store::sqlite::test {
namespace {

class SameFilesTest : public testing::Test {
 protected:
  SameFilesTest() {
    rig.define("q");
    for (int i = 0; i < 100; ++i) rig.submit(Rig::put_of("q", std::string(1000, 'x')));
    rig.run();
  }
  fs::path log() { return rig.file().string() + "-wal"; }
  fs::path index() { return rig.file().string() + "-shm"; }

  void expect_failed(const std::string& word) {
    const auto put = rig.submit(Rig::put_of("q"));
    EXPECT_EQ(rig.try_run().what, Committed::What::unknown);
    const Error error = rig.reply<Error>(put);
    const auto opened = rig.engine().open();
    ASSERT_FALSE(opened) << "there is no going on";
    const Error& why = opened.error();
    EXPECT_NE(why.message.find(word), std::string::npos) << why.message << "; " << error.message;
  }
  // What a start finds now, as after a kill.
  std::int64_t messages_after_a_crash() {
    TempDir dir;
    const fs::path copy = dir.path() / "rq.db";
    fs::copy_file(rig.file(), copy);
    fs::copy_file(rig.file().string() + ".identity", copy.string() + ".identity");
    if (fs::exists(log())) fs::copy_file(log(), copy.string() + "-wal");
    const auto store = open_store(copy);
    if (!store) {
      ADD_FAILURE() << store.error().message;
      return -1;
    }
    return std::stoll(rows_of(copy, "SELECT count(*) FROM message").at(0));
  }

  SqliteRig rig;
};

TEST_F(SameFilesTest, WhatIsInALogThatWasRemovedIsSaved) {
  fs::remove(log());
  expect_failed("rq.db-wal is not there any more");
  EXPECT_EQ(messages_after_a_crash(), 101) << "at once, not only at an orderly end";
  const auto reports = rig.store().take_reports();
  ASSERT_EQ(reports.size(), 1U);
  EXPECT_NE(reports[0].find("has been copied into"), std::string::npos) << reports[0];
  rig.close();
  EXPECT_FALSE(fs::exists(log()));
  EXPECT_EQ(messages_after_a_crash(), 101);
}

// Somebody reads an older state of the store, so that not all can be copied.
TEST_F(SameFilesTest, WhatCannotBeCopiedGetsItsNameBack) {
  Db reader;
  ASSERT_TRUE(reader.open(rig.file(), SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX));
  ASSERT_TRUE(reader.exec("BEGIN; SELECT * FROM meta"));
  rig.put("q");
  fs::remove(log());
  expect_failed("rq.db-wal is not there any more");
  const auto reports = rig.store().take_reports();
  ASSERT_EQ(reports.size(), 1U);
  EXPECT_NE(reports[0].find("has been written to"), std::string::npos) << reports[0];
  EXPECT_EQ(messages_after_a_crash(), 102);
  EXPECT_FALSE(fs::exists(log().string() + ".new"));
  rig.close();
  EXPECT_EQ(messages_after_a_crash(), 102) << "after an orderly end";
}

TEST_F(SameFilesTest, WhatIsInALogThatWasReplacedIsSavedAndTheOtherOneIsNotTaken) {
  const fs::path old = log().string() + ".old";
  fs::copy_file(log(), old);
  rig.put("q");
  fs::rename(old, log());
  expect_failed("rq.db-wal is not there any more");
  rig.close();
  EXPECT_FALSE(fs::exists(log()));
  EXPECT_EQ(messages_after_a_crash(), 102);
}

TEST_F(SameFilesTest, AnOrderlyEndSavesItToo) {
  rig.run();
  fs::remove(log());
  rig.close();
  EXPECT_EQ(messages_after_a_crash(), 100);
}

// Half of it is gone: nothing more is added, and nothing of it gets into the store.
TEST_F(SameFilesTest, ALogThatWasCutIsNotWrittenTo) {
  const auto bytes = fs::file_size(log());
  const auto before = fs::file_size(rig.file());
  fs::resize_file(log(), bytes / 2);
  expect_failed("rq.db-wal was cut from");
  EXPECT_EQ(fs::file_size(log()), bytes / 2) << "there is no hole in it";
  rig.close();
  EXPECT_EQ(fs::file_size(log()), bytes / 2) << "it is left for the next start";
  EXPECT_EQ(fs::file_size(rig.file()), before);
  EXPECT_TRUE(fs::exists(rebuild_mark(rig.file())));
}

TEST_F(SameFilesTest, ALogThatWasEmptiedIsNotWrittenTo) {
  fs::resize_file(log(), 0);
  expect_failed("rq.db-wal was cut from");
  EXPECT_EQ(fs::file_size(log()), 0U);
}

TEST_F(SameFilesTest, TheNextStartSaysWhatHasHappened) {
  rig.reopen();  // what was put is in the database now
  rig.put("q");
  fs::resize_file(log(), fs::file_size(log()) - 1);
  expect_failed("rq.db-wal was cut from");
  rig.close();
  auto store = make_store(rig.file());
  const auto opened = store->open();
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_GT(store->set_aside_count(), 0) << "health says damaged";
  const auto reports = store->take_reports();
  ASSERT_EQ(reports.size(), 1U);
  EXPECT_NE(reports[0].find("was cut from"), std::string::npos) << reports[0];
}

// The server asks once a second, also when nobody puts anything.
TEST_F(SameFilesTest, AReaderSeesWhatBecomesOfAnyOfThem) {
  for (const char* end : {"", "-wal", "-shm"}) {
    for (const bool cut : {false, true}) {
      SCOPED_TRACE(fmt::format("'{}' {}", end, cut ? "cut" : "deleted"));
      SqliteRig other;
      other.define("q");
      other.reopen();  // it is in the database now
      other.put("q");
      const auto reader = other.home().reader();
      EXPECT_TRUE(reader->check_still_there());
      const fs::path file = other.file().string() + end;
      // Whoever touches a page of the index that is not there any more dies.
      const auto bytes = fs::file_size(file);
      if (cut) fs::resize_file(file, file.string().ends_with("-shm") ? bytes - 1 : bytes / 2);
      if (!cut) fs::remove(file);
      const auto seen = reader->check_still_there();
      ASSERT_FALSE(seen);
      EXPECT_NE(seen.error().message.find(file.string() + (cut ? " was cut" : " is not there")),
                std::string::npos)
          << seen.error().message;
    }
  }
}

// A rebuild makes the store smaller, which is nobody else's doing.
TEST(SameFilesOfAStore, OneThatHasBecomeSmallerIsWhole) {
  TempDir dir;
  const fs::path file = dir.path() / "rq.db";
  Db db;
  ASSERT_TRUE(db.open(file, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX));
  ASSERT_TRUE(
      db.exec("PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES "
              "(randomblob(100000)); PRAGMA wal_checkpoint"));
  SameFiles files;
  ASSERT_TRUE(files.remember(file));
  const auto before = fs::file_size(file);
  ASSERT_TRUE(db.exec("DELETE FROM t; VACUUM; PRAGMA wal_checkpoint"));
  ASSERT_LT(fs::file_size(file), before);
  EXPECT_EQ(files.look(db).state, SameFiles::State::same);
  fs::resize_file(file, fs::file_size(file) - 1);
  EXPECT_EQ(files.look(db).state, SameFiles::State::cut);
}

}  // namespace
}  // namespace rq::store::sqlite::test
