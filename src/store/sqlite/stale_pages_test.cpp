// Pages that tell what was true some batches ago: a write of one that the disk has lost, or a free
// one that a wrong pointer leads to. faults.md D3, relative
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "store/sqlite/file_format.h"
#include "store/sqlite/page_cells.h"
#include "store/sqlite/placed.h"
#include "store/sqlite/raw_file.h"
#include "store/sqlite/schema.h"
#include "store/sqlite/sqlite_rig.h"

namespace rq::store::sqlite::test {
namespace {

constexpr std::size_t kPage = kPageBytesUsual;
constexpr std::size_t kFreeTrunk = 32;  // of the first page: where the free ones are listed

std::string bytes_of(const fs::path& file) {
  std::ifstream in{file, std::ios::binary};
  std::stringstream all;
  all << in.rdbuf();
  return all.str();
}

void put_u32(std::string& bytes, std::size_t at, std::size_t value) {
  for (std::size_t i = 0; i < 4; ++i) {
    bytes[at + i] = static_cast<char>(value >> (8 * (3 - i)) & 0xFFU);
  }
}

// The leases were deleted without a word, so that those scripts ran twice; and messages that never
// ran were told as lost.
TEST(StalePages, OfTheLineEndNoLease) {
  for (const int put_since : {0, 1, 2, 5}) {
    SCOPED_TRACE(put_since);
    SqliteRig rig;
    rig.define("q");
    for (int i = 0; i < 8; ++i) rig.put("q");
    rig.take("q", 3);
    for (int i = 0; i < put_since; ++i) rig.put("q");
    rig.close();
    rows_of(rig.file(), "DELETE FROM ready");
    rows_of(rig.file(),
            "INSERT INTO ready SELECT queue, -priority, coalesce(ord, due, created), 8, 3 FROM "
            "message WHERE seq = 3");
    rig.open();
    EXPECT_TRUE(fs::exists(rig.file().string() + ".damaged-1"));
    rig.run();
    EXPECT_EQ(rows_of(rig.file(), "SELECT seq, attempt FROM lease"),
              (std::vector<std::string>{"1|1", "2|1", "3|1"}));
    EXPECT_EQ(rows_of(rig.file(), "SELECT seq FROM attempt"), std::vector<std::string>{});
    EXPECT_EQ(rows_of(rig.file(), "SELECT DISTINCT what FROM corrupt"),
              std::vector<std::string>{"store"});
    EXPECT_EQ(rig.take("q", 100).size(), static_cast<std::size_t>(5 + put_since));
    rig.expect_sound();
  }
}

TEST(Placed, ARowThatCannotBeReadIsNoDeletedOne) {
  Db db;
  ASSERT_TRUE(
      db.open(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX));
  ASSERT_TRUE(migrate(db));
  Placed placed;
  ASSERT_TRUE(placed.open(db));
  ASSERT_TRUE(placed.add({.first = 1, .last = 3, .place = "ready"}));
  ASSERT_TRUE(placed.index());
  EXPECT_TRUE(placed.names(2).value());
  EXPECT_FALSE(placed.names(4).value());
  ASSERT_TRUE(db.exec("ALTER TABLE placed RENAME TO elsewhere"));
  EXPECT_FALSE(placed.names(2));
  EXPECT_FALSE(placed.may_run(2, 1));
}

// Of a closed store: what its pages were, and what they are.
class FreePages : public testing::Test {
 protected:
  void SetUp() override {
    rig.define("q");
    rig.define("gone");
    for (int i = 0; i < kMessages; ++i) rig.put("q", std::string(500, 'p'));
    core::Act remove{.action = core::Action::remove};
    for (int i = 0; i < kMessages; ++i) {
      remove.messages.push_back(rig.put("q", std::string(500, 'g')));
    }
    rig.close();
    rows_of(rig.file(), "INSERT INTO corrupt (at, what, why) VALUES (1, 'message', 'seen')");
    before_ = bytes_of(rig.file());
    rows_of(rig.file(), "DELETE FROM corrupt");
    rig.open();
    rig.ask<core::ActDone>(std::move(remove));
    rig.ask<core::Ok>(core::DeleteQueue{.queue = "gone"});
    for (const auto& m : rig.take("q", 20)) ASSERT_TRUE(rig.finish(m, core::Outcome::done));
    rig.take("q", 3);
    rig.close();
    after_ = bytes_of(rig.file());
    messages_ = rows_of(rig.file(), "SELECT * FROM message");
    leases_ = rows_of(rig.file(), "SELECT * FROM lease");
    ASSERT_EQ(messages_.size(), std::size_t{kMessages});
    message_root_ = root_of("message");
    ASSERT_EQ(byte_at(after_, message_root_), kTableInterior);
    trunk_ = (u32(after_, kFreeTrunk) - 1) * kPage;
    ASSERT_GE(u32(after_, trunk_ + 4), 1U);
  }
  std::size_t root_of(const std::string& table) {
    return (std::stoul(rows_of(rig.file(),
                               "SELECT rootpage FROM sqlite_schema WHERE name = '" + table + "'")
                           .at(0)) -
            1) *
           kPage;
  }
  // The nth cell of the page above the messages.
  [[nodiscard]] std::size_t pointer(std::size_t nth) const {
    return message_root_ + u16(after_, message_root_ + pointers_at(0, kTableInterior) + 2 * nth);
  }
  // A free page is what the page at `old` was; a pointer of `message` leads there.
  [[nodiscard]] std::string leading_to_what_was(std::size_t old) const {
    std::string damaged = after_;
    const std::size_t free = u32(damaged, trunk_ + 8);
    damaged.replace((free - 1) * kPage, kPage, before_, old, kPage);
    put_u32(damaged, pointer(0), free);
    return damaged;
  }
  void write(const fs::path& file, const std::string& bytes) {
    std::ofstream{file, std::ios::binary} << bytes;
    fs::copy_file(rig.file().string() + ".identity", file.string() + ".identity");
  }
  void expect_whole_after_a_start(const std::string& damaged) {
    TempDir dir;
    const fs::path file = dir.path() / "rq.db";
    write(file, damaged);
    const auto opened = open_store(file);
    ASSERT_TRUE(opened) << opened.error().message;
    EXPECT_TRUE(fs::exists(file.string() + ".damaged-1"));
    EXPECT_EQ(rows_of(file, "SELECT * FROM message"), messages_);
    EXPECT_EQ(rows_of(file, "SELECT * FROM lease"), leases_);
    EXPECT_EQ(rows_of(file, "SELECT name FROM queue"), std::vector<std::string>{"q"});
    EXPECT_EQ(rows_of(file, "SELECT what, substr(why, 1, 14) FROM corrupt"),
              std::vector<std::string>{"store|it was rebuilt"});
    const auto findings = check_store(file);
    ASSERT_TRUE(findings) << findings.error().message;
    EXPECT_EQ(*findings, std::vector<std::string>{});
  }

  static constexpr int kMessages = 60;
  SqliteRig rig;
  std::string before_, after_;
  std::vector<std::string> messages_, leases_;
  std::size_t message_root_ = 0;
  std::size_t trunk_ = 0;
};

TEST_F(FreePages, BringNoQueueBack) {
  expect_whole_after_a_start(leading_to_what_was(root_of("queue")));
}

// An operator had seen it, and deleted it.
TEST_F(FreePages, BringNoRowOfCorruptBack) {
  expect_whole_after_a_start(leading_to_what_was(root_of("corrupt")));
}

// Finished messages came back as if they had never run: the older copies were read first.
TEST_F(FreePages, DoNotMakeAMessageWhatItWas) {
  for (std::size_t nth = 0; nth < 2; ++nth) {
    SCOPED_TRACE(nth);
    std::string damaged = after_;
    const std::size_t leaf = u32(after_, pointer(nth));
    const std::size_t free = u32(damaged, trunk_ + 8);
    damaged.replace((free - 1) * kPage, kPage, before_, (leaf - 1) * kPage, kPage);
    put_u32(damaged, pointer(nth), free);
    expect_whole_after_a_start(damaged);
  }
}

// The start did not see it, and SQLite wrote over the text of the schema.
TEST_F(FreePages, ThatAreOfTheSchemaAreSeenByTheStart) {
  int tried = 0;
  for (const std::string& page : rows_of(
           rig.file(), "SELECT pageno FROM dbstat WHERE name = 'sqlite_schema' AND pageno > 1")) {
    SCOPED_TRACE(page);
    std::string damaged = after_;
    put_u32(damaged, trunk_ + 8, std::stoul(page));
    expect_whole_after_a_start(damaged);
    ++tried;
  }
  EXPECT_GT(tried, 1);
}

// A page that leads to itself twice was read twice as often at each step.
TEST_F(FreePages, AreLookedForOnceOnEachPage) {
  std::string damaged = after_;
  const std::size_t root = message_root_ / kPage + 1;
  put_u32(damaged, message_root_ + kTreeLastChild, root);
  put_u32(damaged, pointer(0), root);
  TempDir dir;
  const fs::path file = dir.path() / "rq.db";
  write(file, damaged);
  FileBytes bytes;
  RawFile raw;
  ASSERT_TRUE(bytes.open(file));
  ASSERT_TRUE(raw.open(bytes, file, {}, LogPart::as_sqlite_reads, std::nullopt));
  EXPECT_FALSE(raw.has_wrong_free_list());
}

// Bits are tried for a row that is hurt alone; where all are, that is no wrong bit.
TEST_F(FreePages, RowsThatAreAllHurtAreReadAFewTimes) {
  FileBytes bytes;
  RawFile raw;
  ASSERT_TRUE(bytes.open(rig.file()));
  ASSERT_TRUE(raw.open(bytes, rig.file(), {}, LogPart::as_sqlite_reads, std::nullopt));
  int asked = 0;
  int met = 0;
  raw.walk(
      "message", [&](RawRow&&) { ++met; },
      [&](const RawRow&) {
        ++asked;
        return RowFit::no;
      });
  EXPECT_EQ(met, kMessages);
  EXPECT_LE(asked, 3 * kMessages);
}

// Its page was met later only, though the look before the start had met it.
TEST_F(FreePages, AMessageOfALeaseThatCannotBeReadHasTheStoreRebuilt) {
  TempDir dir;
  const fs::path file = dir.path() / "rq.db";
  std::string damaged = after_;
  const std::size_t seq = std::stoul(rows_of(rig.file(), "SELECT min(seq) FROM lease").at(0));
  std::size_t nth = 0;
  while (number_of(after_, pointer(nth), kTableInterior) < static_cast<std::int64_t>(seq)) ++nth;
  damaged.replace((u32(after_, pointer(nth)) - 1) * kPage, 8, 8, '\x7b');
  write(file, damaged);
  ASSERT_TRUE(open_store(file));
  EXPECT_TRUE(fs::exists(file.string() + ".damaged-1"));
}

}  // namespace
}  // namespace rq::store::sqlite::test
