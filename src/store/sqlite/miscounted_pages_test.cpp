// A page whose head tells another number of rows than it has: nothing is set aside for that, a
// rebuild finds every row that is there, and none that was deleted. faults.md D3, relative
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>

#include "store/sqlite/file_format.h"
#include "store/sqlite/page_cells.h"
#include "store/sqlite/sqlite_rig.h"
#include "store/sqlite/store_files.h"

namespace rq::store::sqlite::test {
namespace {

constexpr std::size_t kPage = kPageBytesUsual;

// A store in which many messages were deleted; closed.
class MiscountedPages : public testing::Test {
 protected:
  void SetUp() override {
    rig.define("a");
    rig.define("b");
    core::Act remove{.action = core::Action::remove};
    for (int i = 0; i < kMessages; ++i) {
      core::Put put = Rig::put_of(i % 4 == 0 ? "a" : "b", std::string(80 + i % 50, 'p'));
      if (i % 3 == 0) put.message.detail().param1 = std::string(40 + i % 30, 'd');
      const auto seq = rig.ask<core::PutDone>(std::move(put)).seq;
      if (i % 5 == 1) remove.messages.push_back(seq);
    }
    rig.ask<core::ActDone>(std::move(remove));
    rig.take("a", 7);
    rig.close();
    std::ifstream in{rig.file(), std::ios::binary};
    std::stringstream all;
    all << in.rdbuf();
    bytes_ = all.str();
    for (const char* table : kTables) whole_.push_back(rows_of_table(rig.file(), table));
    ASSERT_EQ(whole_[0].size(), kMessages * 4U / 5U);
    ASSERT_EQ(whole_[2].size(), 7U);
  }

  static std::vector<std::string> rows_of_table(const fs::path& file, const char* table) {
    return rows_of(file, fmt::format("SELECT * FROM {}", table));
  }
  // Their numbers, from 0.
  std::vector<std::size_t> pages_of(const char* table) {
    std::vector<std::size_t> out;
    for (const std::string& row : rows_of(
             rig.file(), fmt::format("SELECT pageno FROM dbstat WHERE name = '{}' AND pagetype IN "
                                     "('leaf', 'internal')",
                                     table))) {
      out.push_back(std::stoul(row) - 1);
    }
    return out;
  }
  // With what stands beside it.
  void write(const fs::path& file, const std::string& bytes) {
    std::ofstream{file, std::ios::binary} << bytes;
    fs::copy_file(rig.file().string() + ".identity", file.string() + ".identity",
                  fs::copy_options::overwrite_existing);
  }
  // As the server does: opens it, and has the engine do after each piece of a check what is to be
  // done.
  void open_and_check(const fs::path& file) {
    auto store = make_store(file);
    engine::Engine engine(*store);
    ASSERT_TRUE(engine.open());
    const auto reader = open_reader(file);
    ASSERT_TRUE(reader);
    for (bool more = true; more;) {
      std::vector<core::Finding> found;
      const auto goes_on = (*reader)->check(found);
      more = goes_on && *goes_on;
      core::Examine examine;
      for (const core::Finding& finding : found) {
        if (finding.page) examine.rebuild = core::RebuildWhen::now;
        if (finding.suspect.seq > 0) examine.suspects.push_back(finding.suspect);
      }
      std::vector<core::Envelope> batch;
      batch.push_back({.ticket = {}, .command = std::move(examine)});
      core::Outbox out;
      if (engine.run(batch, {.now = rig.now}, out).what == Committed::What::yes) continue;
      ASSERT_TRUE(engine.open());
      return;
    }
  }
  void expect_whole(const fs::path& file) {
    for (std::size_t i = 0; i < kTables.size(); ++i) {
      EXPECT_EQ(rows_of_table(file, kTables.at(i)), whole_[i]) << kTables.at(i);
    }
    EXPECT_EQ(rows_of(file, "SELECT DISTINCT what FROM corrupt"),
              std::vector<std::string>{"store"});
    EXPECT_TRUE(fs::exists(file.string() + ".damaged-1"));
    const auto findings = check_store(file);
    ASSERT_TRUE(findings) << findings.error().message;
    EXPECT_EQ(*findings, std::vector<std::string>{});
  }

  enum class Flip : std::uint8_t { to_fewer, to_more };
  // Each bit of the number of cells of each page that makes it so. Nothing is lost by it, and
  // nothing comes back. Gives how many were tried.
  int flip_counts(const char* table, Flip flip) {
    int tried = 0;
    for (const std::size_t page : pages_of(table)) {
      for (unsigned bit = 0; bit < 8; ++bit) {
        SCOPED_TRACE(fmt::format("table {} page {} bit {}", table, page + 1, bit));
        std::string damaged = bytes_;
        char& cells = damaged[page * kPage + kTreeCells + 1];
        const bool set = (static_cast<unsigned char>(cells) & (1U << bit)) != 0;
        if (set != (flip == Flip::to_fewer)) continue;
        cells = static_cast<char>(static_cast<unsigned char>(cells) ^ (1U << bit));
        TempDir dir;
        const fs::path file = dir.path() / "rq.db";
        write(file, damaged);
        open_and_check(file);
        expect_whole(file);
        if (HasFailure()) return tried;
        ++tried;
      }
    }
    return tried;
  }

  static constexpr int kMessages = 200;
  static constexpr std::array kTables{"message", "detail", "lease", "queue"};
  SqliteRig rig;
  std::vector<std::vector<std::string>> whole_;
  std::string bytes_;
};

TEST_F(MiscountedPages, HideNothing) {
  int tried = 0;
  for (const char* table : kTables) tried += flip_counts(table, Flip::to_fewer);
  EXPECT_GT(tried, 20);
}

// More of them than there are: behind them stand the places of deleted ones.
TEST_F(MiscountedPages, BringNothingBack) { EXPECT_GT(flip_counts("message", Flip::to_more), 20); }

// A large store is not rebuilt in the middle of the day: it waits for the next start, and nothing
// is set aside meanwhile.
TEST_F(MiscountedPages, OfALargeStoreWaitForTheNextStart) {
  constexpr std::size_t kLarge = 17UL << 20U;
  std::string damaged = bytes_;
  const std::size_t page = pages_of("message").back();
  char& cells = damaged[page * kPage + kTreeCells + 1];
  ASSERT_GT(cells, 4);
  cells = 4;
  TempDir dir;
  const fs::path file = dir.path() / "rq.db";
  write(file, damaged);
  {
    // What makes it large is free again.
    Db db;
    ASSERT_TRUE(db.open(file, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX));
    ASSERT_TRUE(db.exec(fmt::format("CREATE TABLE large (x); INSERT INTO large VALUES "
                                    "(zeroblob({})); DROP TABLE large",
                                    kLarge)
                            .c_str()));
  }
  open_and_check(file);
  EXPECT_TRUE(fs::exists(rebuild_mark(file)));
  EXPECT_FALSE(fs::exists(file.string() + ".damaged-1"));
  EXPECT_EQ(rows_of(file, "SELECT what, why FROM corrupt"),
            std::vector<std::string>{"store|the next start of the server rebuilds it"})
      << "once, so that health says damaged";
  ASSERT_TRUE(open_store(file));
  expect_whole(file);
}

// faults.md D3, relative: a row that is whole, and that its number does not lead to, for a key of
// the page above is wrong: that page is damaged, not all rows behind it.
TEST_F(MiscountedPages, AWrongKeyAboveARowIsDamageOfThePage) {
  int tried = 0;
  for (const std::size_t page : pages_of("message")) {
    const std::string_view bytes = std::string_view{bytes_}.substr(page * kPage, kPage);
    if (byte_at(bytes, 0) != kTableInterior) continue;
    for (std::size_t cell = 0; cell < u16(bytes, kTreeCells); ++cell) {
      for (const unsigned bit : {2U, 6U}) {
        SCOPED_TRACE(fmt::format("cell {} bit {}", cell, bit));
        const std::size_t at = u16(bytes, kInteriorHeadBytes + 2 * cell);
        std::size_t end = at + kChildBytes;
        static_cast<void>(varint(bytes, end));
        std::string damaged = bytes_;
        char& last = damaged[page * kPage + end - 1];
        last = static_cast<char>(static_cast<unsigned char>(last) ^ (1U << bit));
        TempDir dir;
        const fs::path file = dir.path() / "rq.db";
        write(file, damaged);
        open_and_check(file);
        expect_whole(file);
        if (HasFailure()) return;
        ++tried;
      }
    }
  }
  EXPECT_GT(tried, 4);
}

}  // namespace
}  // namespace rq::store::sqlite::test
