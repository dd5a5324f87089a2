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
// Of the first page: where the free ones are listed, and how many there are.
constexpr std::size_t kFreeTrunk = 32;
constexpr std::size_t kFreeCount = 36;

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

class PlacedTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(
        db.open(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX));
    ASSERT_TRUE(migrate(db));
    ASSERT_TRUE(placed.open(db));
  }

  Db db;
  Placed placed;
};

TEST_F(PlacedTest, ARowThatCannotBeReadIsNoDeletedOne) {
  ASSERT_TRUE(placed.add({.first = 1, .last = 3, .place = "ready"}));
  ASSERT_TRUE(placed.index());
  EXPECT_TRUE(placed.names(2).value());
  EXPECT_FALSE(placed.names(4).value());
  ASSERT_TRUE(db.exec("ALTER TABLE placed RENAME TO elsewhere"));
  EXPECT_FALSE(placed.names(2));
  EXPECT_FALSE(placed.may_run(2, 1));
}

// An old page of the line beside a new one: of the runs that have a message any counts.
TEST_F(PlacedTest, RunsThatOverlapAreAllLookedAt) {
  ASSERT_TRUE(placed.add({.first = 40, .last = 40, .place = "parked"}));
  ASSERT_TRUE(placed.add({.first = 10, .last = 50, .place = "ready", .time = 7}));
  ASSERT_TRUE(placed.add({.first = 30, .last = 32, .place = "parked"}));
  ASSERT_TRUE(placed.add({.first = 70, .last = 70, .place = "parked"}));
  ASSERT_TRUE(placed.index());
  for (const core::Seq seq : {10, 29, 32, 33, 40, 41, 50, 70}) {
    EXPECT_TRUE(placed.names(seq).value()) << seq;
  }
  for (const core::Seq seq : {9, 51, 69, 71}) EXPECT_FALSE(placed.names(seq).value()) << seq;
}

// Of a closed store: what its pages were, and what they are.
class FreePages : public testing::Test {
 protected:
  void SetUp() override {
    rig.define("q");
    rig.define("gone");
    for (int i = 0; i < kMessages; ++i) {
      core::Put put = Rig::put_of("q", std::string(i == 0 ? 3 * kPage : 500, 'p'));
      put.message.detail().param1 = std::string(300, 'd');
      rig.ask<core::PutDone>(std::move(put));
    }
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
    for (const auto& m : rig.take("q", 20)) {
      core::Finish::Item done{.token = Rig::token_of(m), .reason = "ended", .result = "result"};
      ASSERT_TRUE(rig.finish(std::move(done)));
    }
    rig.take("q", 3);
    rig.close();
    after_ = bytes_of(rig.file());
    messages_ = rows_of(rig.file(), "SELECT * FROM message");
    details_ = rows_of(rig.file(), "SELECT * FROM detail");
    leases_ = rows_of(rig.file(), "SELECT * FROM lease");
    ASSERT_EQ(messages_.size(), std::size_t{kMessages});
    message_root_ = root_of("message");
    detail_root_ = root_of("detail");
    ASSERT_EQ(byte_at(after_, message_root_), kTableInterior);
    ASSERT_EQ(byte_at(after_, detail_root_), kTableInterior);
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
  // The nth cell of the page above the messages, or of another one.
  [[nodiscard]] std::size_t pointer(std::size_t nth) const { return pointer(message_root_, nth); }
  [[nodiscard]] std::size_t pointer(std::size_t root, std::size_t nth) const {
    return root + u16(after_, root + pointers_at(0, kTableInterior) + 2 * nth);
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
  // Without the nth free page, which stands on no list then. Another page is not whole.
  [[nodiscard]] std::string leaking(std::size_t nth) {
    std::string damaged = after_;
    const std::size_t leaves = u32(after_, trunk_ + 4);
    put_u32(damaged, trunk_ + 8 + 4 * nth, u32(after_, trunk_ + 8 + 4 * (leaves - 1)));
    put_u32(damaged, trunk_ + 4, leaves - 1);
    put_u32(damaged, kFreeCount, u32(after_, kFreeCount) - 1);
    char& fragments = damaged[root_of("counter") + kTreeFragments];
    fragments = static_cast<char>(fragments + 1);
    return damaged;
  }
  enum class Asked : bool { no, yes };
  void expect_whole_after_a_start(const std::string& damaged, Asked asked = Asked::no) {
    TempDir dir;
    const fs::path file = dir.path() / "rq.db";
    write(file, damaged);
    if (asked == Asked::yes) std::ofstream{rebuild_mark(file)};
    const auto opened = open_store(file);
    ASSERT_TRUE(opened) << opened.error().message;
    EXPECT_TRUE(fs::exists(file.string() + ".damaged-1"));
    expect_whole(file);
  }
  void expect_whole(const fs::path& file) {
    EXPECT_EQ(rows_of(file, "SELECT * FROM message"), messages_);
    EXPECT_EQ(rows_of(file, "SELECT * FROM detail"), details_);
    EXPECT_EQ(rows_of(file, "SELECT * FROM lease"), leases_);
    EXPECT_EQ(rows_of(file, "SELECT name FROM queue"), std::vector<std::string>{"q"});
    for (const std::string& note :
         rows_of(file, "SELECT what || substr(why, 1, 15) FROM corrupt")) {
      EXPECT_EQ(note, "storeit was rebuilt:");
    }
    const auto findings = check_store(file);
    ASSERT_TRUE(findings) << findings.error().message;
    EXPECT_EQ(*findings, std::vector<std::string>{});
  }
  // Whatever a start makes of a store with this bit: all is there, and nothing else.
  void expect_whole_with_bit(std::size_t at, unsigned bit) {
    SCOPED_TRACE(fmt::format("page {} byte {} bit {}", at / kPage + 1, at % kPage, bit));
    std::string damaged = after_;
    damaged[at] = static_cast<char>(byte_at(after_, at) ^ (1U << bit));
    TempDir dir;
    const fs::path file = dir.path() / "rq.db";
    write(file, damaged);
    const auto opened = open_store(file);
    ASSERT_TRUE(opened) << opened.error().message;
    expect_whole(file);
  }

  static constexpr int kMessages = 60;
  SqliteRig rig;
  std::string before_, after_;
  std::vector<std::string> messages_, details_, leases_;
  std::size_t message_root_ = 0;
  std::size_t detail_root_ = 0;
  std::size_t trunk_ = 0;
};

TEST_F(FreePages, BringNoQueueBack) {
  expect_whole_after_a_start(leading_to_what_was(root_of("queue")));
}

// An operator had seen it, and deleted it.
TEST_F(FreePages, BringNoRowOfCorruptBack) {
  expect_whole_after_a_start(leading_to_what_was(root_of("corrupt")));
}

// Finished messages came back as if they had never run, and without their results: the older copies
// were read first.
TEST_F(FreePages, DoNotMakeAMessageWhatItWas) {
  for (const std::size_t root : {message_root_, detail_root_}) {
    for (std::size_t nth = 0; nth < 2; ++nth) {
      SCOPED_TRACE(fmt::format("page {}, the child {}", root / kPage + 1, nth));
      std::string damaged = after_;
      const std::size_t leaf = u32(after_, pointer(root, nth));
      const std::size_t free = u32(damaged, trunk_ + 8);
      damaged.replace((free - 1) * kPage, kPage, before_, (leaf - 1) * kPage, kPage);
      put_u32(damaged, pointer(root, nth), free);
      expect_whole_after_a_start(damaged);
    }
  }
}

// The row that the tree leads to was read first, and set aside.
TEST_F(FreePages, OfTwoRowsTheOneWhoseChecksumFitsCounts) {
  for (const std::size_t root : {message_root_, detail_root_}) {
    SCOPED_TRACE(root / kPage + 1);
    std::string damaged = leaking(0);
    const std::size_t leaked = (u32(after_, trunk_ + 8) - 1) * kPage;
    // The last one, for a message that has not run since.
    const std::size_t leaf = (u32(after_, root + kTreeLastChild) - 1) * kPage;
    const std::size_t cell = leaf + u16(after_, leaf + kLeafHeadBytes);
    damaged.replace(leaked, kPage, after_, leaf, kPage);
    damaged[cell + 100] = static_cast<char>(byte_at(damaged, cell + 100) ^ 1U);
    expect_whole_after_a_start(damaged, Asked::yes);
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

// A bit in the list of free pages, and one that it has lost has messages that were deleted: they
// were put into the line again.
TEST_F(FreePages, ThatStandOnNoListBringNothingBack) {
  const std::size_t leaves = u32(after_, trunk_ + 4);
  ASSERT_GT(leaves, 5U);
  for (std::size_t nth = 0; nth < leaves; nth += 4) {
    SCOPED_TRACE(nth);
    expect_whole_after_a_start(leaking(nth), Asked::yes);
  }
}

// The list named a page on which a payload goes on: SQLite wrote over it.
TEST_F(FreePages, OnWhichARowGoesOnAreSeenByTheStart) {
  int tried = 0;
  for (const std::string& page :
       rows_of(rig.file(), "SELECT pageno FROM dbstat WHERE pagetype = 'overflow'")) {
    SCOPED_TRACE(page);
    std::string damaged = after_;
    put_u32(damaged, trunk_ + 8, std::stoul(page));
    expect_whole_after_a_start(damaged);
    ++tried;
  }
  EXPECT_GT(tried, 2);
}

// In what its pages and rows begin with: some bits of all that there are.
TEST_F(FreePages, AWrongBitOfTheSchemaLosesNothingAndBringsNothingBack) {
  constexpr unsigned kStep = 83;
  unsigned nth = 0;
  const auto flip = [&](std::size_t at) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      if (nth++ % kStep == 0) expect_whole_with_bit(at, bit);
    }
  };
  for (const std::string& one :
       rows_of(rig.file(),
               "SELECT pageno FROM dbstat WHERE name = 'sqlite_schema' AND pagetype IN "
               "('leaf', 'internal')")) {
    const std::size_t page = (std::stoul(one) - 1) * kPage;
    const std::size_t head = page == 0 ? 100 : 0;
    const std::string_view bytes = std::string_view{after_}.substr(page, kPage);
    const std::uint8_t type = byte_at(bytes, head);
    const std::size_t cells = u16(bytes, head + kTreeCells);
    for (std::size_t i = head; i < pointers_at(head, type) + 2 * cells; ++i) flip(page + i);
    for (std::size_t i = 0; i < cells; ++i) {
      const std::size_t cell = u16(bytes, pointers_at(head, type) + 2 * i);
      for (std::size_t k = 0; k < 10; ++k) flip(page + cell + k);
    }
  }
}

// It led to another table, or to a page of one: all messages were lost, or others came back.
TEST_F(FreePages, AWrongBitInWhereATableBeginsLosesNothingAndBringsNothingBack) {
  for (const std::string table : {"message", "detail", "lease", "ready", "parked"}) {
    const auto root = static_cast<char>(root_of(table) / kPage + 1);
    const std::string place = table + root + "CREATE";
    std::size_t tried = 0;
    for (std::size_t at = after_.find(place); at < after_.size(); at = after_.find(place, at + 1)) {
      for (unsigned bit = 0; bit < 5; ++bit) expect_whole_with_bit(at + table.size(), bit);
      ++tried;
    }
    EXPECT_GT(tried, 0U) << table;
  }
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
  EXPECT_TRUE(raw.has_wrong_pages(RawFile::Look::rows));
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
