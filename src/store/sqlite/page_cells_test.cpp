// How many cells a page has, told by the page itself: whatever bit of the number in its head is
// wrong, and without what was deleted from it. faults.md D3, relative
#include "store/sqlite/page_cells.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <fstream>
#include <map>
#include <sstream>

#include "store/sqlite/file_format.h"
#include "store/sqlite/sqlite_rig.h"

namespace rq::store::sqlite::test {
namespace {

constexpr std::size_t kPage = kPageBytesUsual;

// Of a tree of the store, and what SQLite says of it.
struct TreePage {
  std::string bytes;
  std::size_t head = 0;
  std::size_t cells = 0;
  [[nodiscard]] std::uint8_t type() const { return byte_at(bytes, head); }
};

std::vector<TreePage> tree_pages_of(const fs::path& file) {
  std::ifstream in{file, std::ios::binary};
  std::stringstream all;
  all << in.rdbuf();
  const std::string bytes = all.str();
  std::vector<TreePage> out;
  for (const std::string& row :
       rows_of(file, "SELECT pageno, ncell FROM dbstat WHERE pagetype IN ('leaf', 'internal')")) {
    const std::size_t number = std::stoul(row);
    out.push_back({.bytes = bytes.substr((number - 1) * kPage, kPage),
                   .head = number == 1 ? 100U : 0U,
                   .cells = std::stoul(row.substr(row.find('|') + 1))});
  }
  return out;
}

// A table and an index, of rows of all sizes, of which many were deleted, changed and put again.
class TreePages : public testing::Test {
 protected:
  void SetUp() override {
    Db db;
    ASSERT_TRUE(db.open(file_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX));
    // What is deleted stays, as rq leaves it.
    ASSERT_TRUE(
        db.exec("PRAGMA secure_delete = OFF;"
                "CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT, bytes BLOB);"
                "CREATE TABLE w (text TEXT, n INTEGER, PRIMARY KEY (text, n)) WITHOUT ROWID;"
                "CREATE INDEX i ON t (text);"));
    for (int round = 0; round < 4; ++round) {
      ASSERT_TRUE(db.exec(fmt::format(R"sql(
WITH RECURSIVE n(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 600)
INSERT OR IGNORE INTO t SELECT n * 7 % 601, hex(randomblob(n % 37)),
  randomblob(CASE WHEN n % 90 = 0 THEN 5000 + n ELSE n % 200 END) FROM n;
INSERT OR IGNORE INTO w SELECT text || hex(randomblob(n % 400)), n FROM t;
DELETE FROM t WHERE (n + {0}) % 3 = 0;
DELETE FROM w WHERE (n + {0}) % 4 = 0;
UPDATE t SET bytes = randomblob(length(bytes) - 1) WHERE (n + {0}) % 5 = 0 AND length(bytes) > 1;
)sql",
                                      round)
                              .c_str()));
    }
  }
  TempDir dir_;
  fs::path file_ = dir_.path() / "t.db";
};

TEST_F(TreePages, TellTheNumberOfTheirCellsWhateverTheirHeadSays) {
  std::map<std::uint8_t, int> of_type;
  int with_free_blocks = 0;
  int with_fragments = 0;
  for (TreePage& page : tree_pages_of(file_)) {
    ++of_type[page.type()];
    with_free_blocks += u16(page.bytes, page.head + kTreeFreeBlock) != 0 ? 1 : 0;
    with_fragments += byte_at(page.bytes, page.head + kTreeFragments) != 0 ? 1 : 0;
    EXPECT_EQ(true_cells(page.bytes, page.head, page.type()), page.cells);
    for (unsigned bit = 0; bit < 16; ++bit) {
      char& byte = page.bytes[page.head + kTreeCells + bit / 8];
      const char before = byte;
      byte = static_cast<char>(static_cast<unsigned char>(byte) ^ (1U << bit % 8));
      EXPECT_EQ(true_cells(page.bytes, page.head, page.type()), page.cells) << "bit " << bit;
      byte = before;
    }
  }
  EXPECT_EQ(of_type.size(), 4U) << "leaves and others, of tables and indexes";
  EXPECT_GT(with_free_blocks, 20);
  EXPECT_GT(with_fragments, 10);
}

TEST_F(TreePages, TellWhetherTheyAreLeavesWhateverTheirHeadSays) {
  int tried = 0;
  for (TreePage& page : tree_pages_of(file_)) {
    const std::uint8_t type = page.type();
    EXPECT_EQ(true_type(page.bytes, page.head), type);
    if (page.cells == 0) continue;
    page.bytes[page.head] = static_cast<char>(type ^ 8U);
    EXPECT_EQ(true_type(page.bytes, page.head), type) << page.cells << " cells";
    ++tried;
  }
  EXPECT_GT(tried, 20);
}

TEST_F(TreePages, ThatAreDamagedElsewhereTellNone) {
  int tried = 0;
  for (TreePage& page : tree_pages_of(file_)) {
    if (page.type() != kTableLeaf || page.head != 0 || page.cells == 0) continue;
    for (const std::size_t field : {kTreeFreeBlock, kTreeContent + 1, kTreeFragments}) {
      const char before = page.bytes[field];
      page.bytes[field] = static_cast<char>(before ^ 0x40);
      EXPECT_EQ(true_cells(page.bytes, 0, kTableLeaf), std::nullopt) << "field " << field;
      page.bytes[field] = before;
      ++tried;
    }
  }
  EXPECT_GT(tried, 20);
}

// Whatever bit of them is wrong, the page is as it was, or it is not told how it was.
TEST_F(TreePages, TellTheOneBitThatIsWrongOfWhereACellIsAndOfItsLength) {
  int nth = 0;
  int of_places = 0;
  int of_lengths = 0;
  int other = 0;
  for (const TreePage& page : tree_pages_of(file_)) {
    EXPECT_TRUE(is_whole(page.bytes, page.head, page.type()));
    EXPECT_EQ(mended_page(page.bytes, page.head, page.type()), std::nullopt);
    if (page.head != 0 || ++nth % 3 != 0) continue;
    const auto try_bits = [&](std::size_t at, bool must) {
      for (unsigned bit = 0; bit < 8; ++bit) {
        std::string damaged = page.bytes;
        damaged[at] = static_cast<char>(byte_at(damaged, at) ^ (1U << bit));
        const auto mended = mended_page(damaged, 0, page.type());
        EXPECT_TRUE(mended ? *mended == page.bytes : !must)
            << "bit " << bit << " of byte " << at << " of a page of type " << int{page.type()};
      }
    };
    const std::size_t pointers = pointers_at(0, page.type());
    for (std::size_t at = 0; at < kLeafHeadBytes; ++at) try_bits(at, false);
    for (std::size_t i = 0; i < page.cells; i += 5) {
      // Without numbers nothing tells which of two that lead to one cell is wrong.
      const bool has_numbers = page.type() == kTableLeaf;
      try_bits(pointers + 2 * i, has_numbers);
      try_bits(pointers + 2 * i + 1, has_numbers);
      ++of_places;
      const std::size_t cell = u16(page.bytes, pointers + 2 * i);
      for (std::size_t byte = cell; byte < std::min(cell + 7, kPage); ++byte, ++other) {
        try_bits(byte, false);
      }
      // Rows that end on other pages may be of several lengths.
      std::size_t at = cell;
      if (page.type() != kTableLeaf || varint(page.bytes, at) > kPage / 2) continue;
      try_bits(cell, true);
      ++of_lengths;
    }
    if (HasFailure()) return;
  }
  EXPECT_GT(of_places, 50);
  EXPECT_GT(of_lengths, 20);
  EXPECT_GT(other, 300);
}

// Cells of one size end where a wrong place begins.
TEST(TreePage, WhoseCellsBeginElsewhereHasNotFewer) {
  test::TempDir dir;
  const fs::path file = dir.path() / "db";
  {
    Db db;
    ASSERT_TRUE(db.open(file, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX));
    ASSERT_TRUE(
        db.exec("CREATE TABLE t (n INTEGER PRIMARY KEY, bytes BLOB);"
                "WITH RECURSIVE n(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 20000) "
                "INSERT INTO t SELECT n + 3000000, zeroblob(57) FROM n;"));
  }
  int tried = 0;
  int mistaken = 0;
  for (TreePage& page : tree_pages_of(file)) {
    if (page.head != 0) continue;
    for (unsigned bit = 0; bit < 16; ++bit) {
      char& byte = page.bytes[kTreeContent + bit / 8];
      const char before = byte;
      byte = static_cast<char>(static_cast<unsigned char>(byte) ^ (1U << bit % 8));
      const std::size_t told = true_cells(page.bytes, 0, page.type()).value_or(page.cells);
      // Where both numbers may have lost a bit, nothing tells them apart.
      EXPECT_TRUE(told == page.cells || std::has_single_bit(told ^ page.cells))
          << "bit " << bit << " of a page of type " << int{page.type()} << ": " << told
          << " instead of " << page.cells;
      mistaken += told == page.cells ? 0 : 1;
      byte = before;
      ++tried;
    }
  }
  EXPECT_GT(tried, 1000);
  EXPECT_LT(mistaken, tried / 4);
}

TEST(TreePage, MayBeAnything) {
  for (const char with : {'\0', '\x01', '\x7f', '\xff'}) {
    for (const std::uint8_t type : {kIndexInterior, kTableInterior, kIndexLeaf, kTableLeaf}) {
      for (const std::size_t head : {0U, 100U}) {
        EXPECT_EQ(true_cells(std::string(kPage, with), head, type), std::nullopt);
      }
    }
  }
}

TEST(TreePage, ThatIsEmptyHasNone) {
  std::string page(kPage, '\0');
  page[0] = static_cast<char>(kTableLeaf);
  page[kTreeContent] = static_cast<char>(kPage >> 8U);
  EXPECT_EQ(true_cells(page, 0, kTableLeaf), 0U);
}

}  // namespace
}  // namespace rq::store::sqlite::test
