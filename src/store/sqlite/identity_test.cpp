// faults.md D14: a store that is gone, emptied, replaced or set back is not taken for a new one.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <sstream>

#include "store/sqlite/file_format.h"
#include "store/sqlite/page_cells.h"
#include "store/sqlite/sqlite_rig.h"

namespace rq::store::sqlite::test {
namespace {

std::string content(const fs::path& file) {
  std::stringstream all;
  all << std::ifstream{file, std::ios::binary}.rdbuf();
  return all.str();
}

class IdentityTest : public testing::Test {
 protected:
  void SetUp() override {
    auto store = open_store(file);
    ASSERT_TRUE(store) << store.error().message;
  }
  void expect_refused(const char* word) {
    const auto refused = open_store(file);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find(word), std::string::npos) << refused.error().message;
    EXPECT_NE(refused.error().remedy.find(".identity"), std::string::npos);
  }

  TempDir dir;
  fs::path file = dir.path() / "rq.db";
  fs::path beside = dir.path() / "rq.db.identity";
};

TEST_F(IdentityTest, TheSameStoreOpensAgainAlsoAfterACrash) {
  EXPECT_TRUE(open_store(file));
  TempDir after;
  {
    auto store = open_store(file);
    ASSERT_TRUE(store);
    copy_as_after_a_crash(file, after.path() / "rq.db");
    fs::copy_file(beside, after.path() / "rq.db.identity");
  }
  EXPECT_TRUE(open_store(after.path() / "rq.db"));
}

TEST_F(IdentityTest, OneThatIsGoneIsNotMadeAnew) {
  fs::remove(file);
  expect_refused("gone or empty");
  EXPECT_FALSE(fs::exists(file)) << "nothing has been changed";
  fs::remove(beside);
  EXPECT_TRUE(open_store(file)) << "the remedy works";
}

TEST_F(IdentityTest, OneThatWasEmptiedIsRefused) {
  fs::resize_file(file, 0);
  expect_refused("gone or empty");
}

// A pipe would keep the start waiting for ever.
TEST_F(IdentityTest, WhatIsNoFileIsRefused) {
  for (const char* end : {"", "-wal", "-shm", ".identity", ".rebuild", ".room"}) {
    const fs::path path = file.string() + end;
    const fs::path before = path.string() + ".before";
    if (fs::exists(path)) fs::rename(path, before);
    ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
    const auto refused = open_store(file);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message, path.string() + " is not a file");
    fs::remove(path);
    if (fs::exists(before)) fs::rename(before, path);
  }
  EXPECT_TRUE(open_store(file)) << "and without them it opens";
}

TEST_F(IdentityTest, OneThatWasReplacedIsRefused) {
  const fs::path other = dir.path() / "other.db";
  ASSERT_TRUE(open_store(other));
  fs::rename(other, file);
  expect_refused("another one");
}

TEST_F(IdentityTest, OneWithoutItsLogIsRefused) {
  const fs::path whole = dir.path() / "whole.db";
  {
    auto store = open_store(file);  // its boot is in the log
    ASSERT_TRUE(store);
    copy_as_after_a_crash(file, whole);
  }
  fs::rename(whole, file);
  ASSERT_TRUE(fs::remove(whole.string() + "-wal"));
  expect_refused("older than it was");
}

// The word of table meta.
std::int64_t meta_of(const fs::path& file, const char* key) {
  return std::stoll(
      rows_of(file, fmt::format("SELECT value FROM meta WHERE key = '{}'", key)).at(0));
}

// faults.md D14, relative: after a backup is put back, a worker of before must not end another
// message with its old token.
TEST_F(IdentityTest, ABackupThatIsPutBackGivesNoNumberOrBootAgain) {
  const fs::path backup = dir.path() / "backup.db";
  copy_as_after_a_crash(file, backup);
  Boot last_boot = 0;
  Seq last_number = 0;
  for (int restored = 0; restored < 2; ++restored) {
    for (int i = 0; i < 3; ++i) {
      auto store = open_store(file);
      ASSERT_TRUE(store) << store.error().message;
      EXPECT_GT((*store)->boot(), last_boot);
      last_boot = (*store)->boot();
      const auto number = (*store)->next_number();
      EXPECT_GT(number, last_number);
      last_number = restored == 0 ? number : last_number;
    }
    fs::remove(beside);
    fs::rename(backup, file);
    copy_as_after_a_crash(file, backup);
  }
}

// faults.md D3, relative: among keys in a wrong order one was counted twice and another not found.
TEST(IdentityOfNumbers, AWrongBitInAKeyOfTableMetaIsMendedByTheStart) {
  SqliteRig rig;
  rig.define("q");
  const auto seq = rig.ask<core::PutDone>(Rig::put_of("q", "payload")).seq;
  const fs::path file = rig.file();
  rig.close();
  const std::string bytes = content(file);
  int flips = 0;
  for (const std::string_view key : {"boot", "identity", "next_seq"}) {
    for (std::size_t at = bytes.find(key); at != std::string::npos; at = bytes.find(key, at + 1)) {
      for (std::size_t i = 0; i < key.size(); ++i) {
        ++flips;
        TempDir hurt;
        std::string flipped = bytes;
        flipped[at + i] = static_cast<char>(flipped[at + i] ^ 4);
        std::ofstream{hurt.path() / "rq.db", std::ios::binary} << flipped;
        fs::copy_file(file.string() + ".identity", hurt.path() / "rq.db.identity");
        auto store = open_store(hurt.path() / "rq.db");
        ASSERT_TRUE(store) << key << " " << i << ": " << store.error().message;
        store->reset();
        EXPECT_EQ(rows_of(hurt.path() / "rq.db",
                          fmt::format("SELECT payload FROM message WHERE seq = {}", seq)),
                  std::vector<std::string>{"payload"})
            << key << " " << i;
      }
    }
  }
  EXPECT_GE(flips, 20);
}

// Of one that knows better the start was refused: "another one", or "older than it was".
TEST(IdentityOfNumbers, AWrongBitInAValueOfTableMetaIsMendedByTheStart) {
  SqliteRig rig;
  rig.define("q");
  rig.put("q", "payload");
  for (int i = 0; i < 5; ++i) rig.reopen();
  const fs::path file = rig.file();
  rig.close();
  const std::size_t root =
      (std::stoul(rows_of(file, "SELECT rootpage FROM sqlite_schema WHERE name = 'meta'").at(0)) -
       1) *
      kPageBytesUsual;
  const std::string bytes = content(file);
  const std::int64_t identity = meta_of(file, "identity");
  const std::int64_t boot = meta_of(file, "boot");
  const std::int64_t next = meta_of(file, "next_seq");
  int mended = 0;
  for (const std::string_view key : {"identity", "boot", "next_seq", "crc_from", "crc"}) {
    const std::size_t row = bytes.find(key, root);
    ASSERT_LT(row, root + kPageBytesUsual);
    const std::size_t value = row + key.size();
    const std::size_t bits = 8 * bytes_of_value(byte_at(bytes, row - 1)).value();
    ASSERT_TRUE(bits > 0 || key == "crc_from");
    for (std::size_t bit = 0; bit < bits; ++bit) {
      SCOPED_TRACE(fmt::format("{} bit {}", key, bit));
      TempDir hurt;
      const fs::path copy = hurt.path() / "rq.db";
      std::string flipped = bytes;
      flipped[value + bit / 8] = static_cast<char>(byte_at(bytes, value + bit / 8) ^ 1U << bit % 8);
      std::ofstream{copy, std::ios::binary} << flipped;
      fs::copy_file(file.string() + ".identity", copy.string() + ".identity");
      auto store = open_store(copy);
      ASSERT_TRUE(store) << store.error().message;
      EXPECT_GT((*store)->boot(), boot);
      EXPECT_GE((*store)->next_number(), next);
      const auto reports = (*store)->take_reports();
      mended += reports.empty() ? 0 : 1;
      store->reset();
      EXPECT_EQ(meta_of(copy, "identity"), identity);
      EXPECT_EQ(rows_of(copy, "SELECT payload FROM message"), std::vector<std::string>{"payload"});
      EXPECT_EQ(check_store(copy)->size(), 0U);
      EXPECT_TRUE(check_identity(copy));
      ASSERT_TRUE(open_store(copy)) << "and again";
    }
  }
  EXPECT_GT(mended, 60) << "all of the identity";
}

// One of before may say a boot that differs in one bit as well.
TEST_F(IdentityTest, OneThatWasSetBackIsRefusedHoweverItsBootDiffers) {
  const fs::path older = dir.path() / "older.db";
  for (int boots = 0; boots < 8; ++boots) {
    fs::copy_file(file, older, fs::copy_options::overwrite_existing);
    ASSERT_TRUE(open_store(file));
    ASSERT_TRUE(open_store(file));
    const fs::path newer = dir.path() / "newer.db";
    fs::rename(file, newer);
    fs::copy_file(older, file);
    expect_refused("older than it was");
    fs::remove(file);
    fs::rename(newer, file);
  }
}

// faults.md D14, relative: an orderly end left out the rest of a block of numbers.
TEST(IdentityOfNumbers, ACleanEndLeavesNoGap) {
  SqliteRig rig;
  rig.define("q");
  rig.submit(Rig::put_of("q"));
  rig.run();
  const fs::path file = rig.file();
  EXPECT_GT(meta_of(file, "next_seq"), 2) << "a block";
  rig.close();
  EXPECT_EQ(meta_of(file, "next_seq"), 2);
}

// Payloads are nobody else's business, also in a folder that was there before.
TEST_F(IdentityTest, ItsFilesAreItsOwnersAlone) {
  fs::permissions(file, fs::perms::all);
  const auto store = open_store(file);
  ASSERT_TRUE(store);
  for (const char* end : {"", "-wal", "-shm", ".identity"}) {
    EXPECT_EQ(fs::status(file.string() + end).permissions(),
              fs::perms::owner_read | fs::perms::owner_write)
        << end;
  }
}

TEST_F(IdentityTest, WhatALinkLeadsToKeepsItsRights) {
  const fs::path other = dir.path() / "other";
  std::ofstream{other} << "somebody's";
  fs::permissions(other, fs::perms::all);
  const fs::path link = dir.path() / "link.db";
  fs::create_symlink(other, link);
  EXPECT_FALSE(open_store(link));
  EXPECT_EQ(fs::status(other).permissions(), fs::perms::all);
}

TEST_F(IdentityTest, OneThatVanishesUnderTheServerFailsTheBatch) {
  SqliteRig rig;
  rig.define("q");
  fs::remove_all(rig.file().parent_path());
  const auto put = rig.submit(Rig::put_of("q"));
  EXPECT_EQ(rig.try_run().what, Committed::What::unknown);
  const Error error = rig.reply<Error>(put);
  EXPECT_NE(error.message.find("not there any more"), std::string::npos) << error.message;
  EXPECT_FALSE(rig.engine().open()) << "and there is no going on";
}

}  // namespace
}  // namespace rq::store::sqlite::test
