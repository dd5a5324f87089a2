// A page that hides rows: its head tells another number of them than it has, or the page above does
// not lead to it. Nothing is set aside for that, a rebuild finds every row that is there, and none
// that was deleted. faults.md D3, relative
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <functional>
#include <set>
#include <sstream>

#include "store/sqlite/damage.h"
#include "store/sqlite/file_format.h"
#include "store/sqlite/page_cells.h"
#include "store/sqlite/sqlite_rig.h"
#include "store/sqlite/store_files.h"

namespace rq::store::sqlite::test {
namespace {

constexpr std::size_t kPage = kPageBytesUsual;

std::string content(const fs::path& file) {
  std::stringstream all;
  all << std::ifstream{file, std::ios::binary}.rdbuf();
  return all.str();
}

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
      if (i == kMessages / 2) put_what_goes(remove);
    }
    rig.ask<core::ActDone>(std::move(remove));
    for (const auto& m : rig.take("b", 3)) ASSERT_TRUE(rig.finish(m, core::Outcome::done));
    rig.take("a", kLeases / 3);
    rig.take("b", kLeases - kLeases / 3);
    rig.close();
    bytes_ = content(rig.file());
    for (const char* table : kTables) whole_.push_back(rows_of_table(rig.file(), table));
    counters_ = rows_of_table(rig.file(), "counter");
    attempts_ = rows_of_table(rig.file(), "attempt");
    ASSERT_EQ(whole_[0].size(), kMessages * 4U / 5U);
    ASSERT_EQ(whole_[2].size(), std::size_t{kLeases});
  }
  // As the server starts: each lease is there, or its attempt is told as lost. How many are.
  std::size_t leases_told_as_lost(const std::string& damaged) {
    TempDir dir;
    const fs::path file = dir.path() / "rq.db";
    write(file, damaged);
    {
      auto store = make_store(file);
      engine::Engine engine(*store);
      const auto opened = engine.open();
      EXPECT_TRUE(opened) << opened.error().message;
      std::vector<core::Envelope> batch;
      core::Outbox out;
      EXPECT_EQ(engine.run(batch, {.now = rig.now}, out).what, Committed::What::yes);
    }
    EXPECT_TRUE(fs::exists(file.string() + ".damaged-1"));
    std::vector<std::string> leased;
    for (const std::string& row : whole_[2]) leased.push_back(row.substr(0, row.find('|')));
    EXPECT_EQ(rows_of(file,
                      "SELECT seq FROM lease UNION ALL SELECT seq FROM attempt WHERE outcome = "
                      "'lost' AND reason LIKE 'the store was damaged%' AND number = 1 ORDER BY 1"),
              leased);
    const auto attempts = rows_of(file, "SELECT seq FROM attempt WHERE outcome = 'lost'");
    EXPECT_EQ(rows_of(file, "SELECT seq FROM corrupt WHERE what = 'lease'"), attempts);
    EXPECT_EQ(rows_of(file, "SELECT sum(losses) FROM message"),
              std::vector{std::to_string(attempts.size())});
    EXPECT_EQ(check_store(file)->size(), 0U);
    return attempts.size();
  }
  // So many that their pages become free.
  void put_what_goes(core::Act& remove) {
    for (int i = 0; i < 80; ++i) {
      core::Put put = Rig::put_of("b", std::string(90, 'g'));
      put.message.detail().param1 = std::string(60, 'g');
      remove.messages.push_back(rig.ask<core::PutDone>(std::move(put)).seq);
    }
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
  // done; and once more after a batch that failed.
  void open_and_check(const fs::path& file) {
    auto store = make_store(file);
    engine::Engine engine(*store);
    ASSERT_TRUE(engine.open());
    constexpr int kPassesMax = 4;
    int passes = 1;
    while (!check(engine, file)) {
      ASSERT_LE(++passes, kPassesMax) << "it is rebuilt again and again";
      ASSERT_TRUE(engine.open());
    }
  }
  // Whether all batches were committed.
  bool check(engine::Engine& engine, const fs::path& file) {
    const auto reader = open_reader(file);
    EXPECT_TRUE(reader);
    for (bool more = reader.has_value(); more;) {
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
      if (engine.run(batch, {.now = rig.now}, out).what != Committed::What::yes) return false;
    }
    return true;
  }
  // `found`: what the check may have noted besides, before the rebuild.
  void expect_whole(const fs::path& file, std::string_view found = {}) {
    for (std::size_t i = 0; i < kTables.size(); ++i) {
      EXPECT_EQ(rows_of_table(file, kTables.at(i)), whole_[i]) << kTables.at(i);
    }
    EXPECT_EQ(rows_of_table(file, "counter"), counters_);
    EXPECT_EQ(rows_of_table(file, "attempt"), attempts_);
    auto notes = rows_of(file, "SELECT DISTINCT what, substr(why, 1, 14) FROM corrupt");
    std::erase(notes, found);
    EXPECT_EQ(notes, std::vector<std::string>{"store|it was rebuilt"});
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

  // All that is true of the store, of which so many bytes at `at` are `with` instead.
  void expect_whole_with(std::size_t at, const std::string& with, std::string_view found = {}) {
    std::string damaged = bytes_;
    damaged.replace(at, with.size(), with);
    TempDir dir;
    const fs::path file = dir.path() / "rq.db";
    write(file, damaged);
    const auto findings = check_store(file);
    ASSERT_TRUE(findings) << findings.error().message;
    EXPECT_FALSE(findings->empty()) << "doctor says nothing";
    open_and_check(file);
    expect_whole(file, found);
  }
  // Calls each(pointer, cell) for a cell of each leaf of the table: the first, one in the middle,
  // the last.
  void each_cell(const char* table,
                 const std::function<void(std::size_t pointer, std::size_t cell)>& each) {
    std::size_t nth = 0;
    for (const std::size_t page : pages_of(table)) {
      const std::string_view bytes = std::string_view{bytes_}.substr(page * kPage, kPage);
      if (byte_at(bytes, 0) != kTableLeaf) continue;
      const std::size_t last = u16(bytes, kTreeCells) - 1;
      const std::size_t pointer = kLeafHeadBytes + 2 * (last * (nth++ % 3) / 2);
      each(page * kPage + pointer, page * kPage + u16(bytes, pointer));
      if (HasFailure()) return;
    }
  }
  // Some bits mean nothing: doctor says nothing then, and everything reads as before.
  void expect_whole_with_bit(std::size_t at, unsigned bit) {
    SCOPED_TRACE(fmt::format("page {} byte {} bit {}", at / kPage + 1, at % kPage, bit));
    const std::string with{static_cast<char>(byte_at(bytes_, at) ^ (1U << bit))};
    TempDir dir;
    const fs::path file = dir.path() / "rq.db";
    std::string damaged = bytes_;
    write(file, damaged.replace(at, 1, with));
    const auto findings = check_store(file);
    ASSERT_TRUE(findings) << findings.error().message;
    if (!findings->empty()) return expect_whole_with(at, with);
    for (std::size_t i = 0; i < 3; ++i) {  // of a queue a NULL may be 0
      EXPECT_EQ(rows_of_table(file, kTables.at(i)), whole_[i]) << kTables.at(i);
    }
    ++meaningless_;
  }
  // The last page of `message` tells fewer rows than it has.
  void write_with_hidden_rows(const fs::path& file) {
    std::string damaged = bytes_;
    char& cells = damaged[pages_of("message").back() * kPage + kTreeCells + 1];
    ASSERT_GT(cells, 4);
    cells = 4;
    write(file, damaged);
  }

  static constexpr int kMessages = 200;
  static constexpr int kLeases = 120;
  static constexpr std::array kTables{"message", "detail", "lease", "queue"};
  SqliteRig rig;
  std::vector<std::vector<std::string>> whole_;
  std::vector<std::string> counters_, attempts_;
  int meaningless_ = 0;
  std::string bytes_;
};

TEST_F(MiscountedPages, HideNothing) {
  int tried = 0;
  for (const char* table : kTables) tried += flip_counts(table, Flip::to_fewer);
  EXPECT_GT(tried, 20);
}

// More of them than there are: behind them stand the places of deleted ones.
TEST_F(MiscountedPages, BringNothingBack) { EXPECT_GT(flip_counts("message", Flip::to_more), 20); }

// However large the store is: what the engine writes to that page goes over what it hides.
TEST_F(MiscountedPages, OfALargeStoreAreMendedAtOnce) {
  TempDir dir;
  const fs::path file = dir.path() / "rq.db";
  write_with_hidden_rows(file);
  make_larger(file, 17);
  open_and_check(file);
  EXPECT_FALSE(fs::exists(rebuild_mark(file)));
  expect_whole(file);
}

// Nothing is set aside while it cannot be rebuilt, and nobody is kept waiting.
TEST_F(MiscountedPages, WaitForTheNextStartWhenThereIsNoRebuild) {
  TempDir dir;
  const fs::path file = dir.path() / "rq.db";
  write_with_hidden_rows(file);
  const auto in_the_way = [&](int n) { return file.string() + fmt::format(".damaged-{}", n); };
  for (int n = 1; n <= 3; ++n) fs::create_directories(in_the_way(n) + "/in the way");
  {
    auto store = make_store(file);
    engine::Engine engine(*store);
    ASSERT_TRUE(engine.open());
    EXPECT_FALSE(check(engine, file));
    ASSERT_TRUE(engine.open());
    EXPECT_TRUE(check(engine, file));
    EXPECT_EQ(store->set_aside_count(), 1);
  }
  EXPECT_EQ(rows_of(file, "SELECT what, seq, why FROM corrupt"),
            std::vector<std::string>{fmt::format("store||{}", kAwaitsRebuild)});
  EXPECT_TRUE(fs::exists(rebuild_mark(file)));
  for (int n = 1; n <= 3; ++n) fs::remove_all(in_the_way(n));
  ASSERT_TRUE(open_store(file));
  EXPECT_FALSE(fs::exists(rebuild_mark(file)));
  expect_whole(file);
}

// A page of `lease` that comes to tell more rows than there are has rows that nobody wrote: each
// batch that moved all leases failed at a constraint, for good.
TEST_F(MiscountedPages, ThatBreakAConstraintAreRebuilt) {
  int broken = 0;
  for (const std::size_t page : pages_of("lease")) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      SCOPED_TRACE(fmt::format("page {} bit {}", page + 1, bit));
      TempDir dir;
      const fs::path file = dir.path() / "rq.db";
      write(file, bytes_);
      auto store = make_store(file, {.cache_bytes = kPage});
      engine::Engine engine(*store);
      ASSERT_TRUE(engine.open());
      const auto run = [&](core::Command&& command, base::Millis shift) {
        std::vector<core::Envelope> batch;
        batch.push_back({.ticket = {}, .command = std::move(command)});
        core::Outbox out;
        return engine.run(batch, {.now = rig.now, .shift = shift}, out);
      };
      const auto put = [&] { return run(Rig::put_of("a", "new"), base::Millis{1}); };
      // What else is read pushes that page out of memory.
      core::Examine examine;
      for (core::Seq seq = 1; seq < core::kExaminedMax; ++seq) {
        examine.suspects.push_back({.seq = seq});
      }
      ASSERT_EQ(run(std::move(examine), {}).what, Committed::What::yes);
      const std::size_t at = page * kPage + kTreeCells + 1;
      std::fstream disk(file, std::ios::in | std::ios::out | std::ios::binary);
      disk.seekp(static_cast<std::streamoff>(at));
      disk.put(static_cast<char>(byte_at(bytes_, at) ^ (1U << bit)));
      disk.close();
      const Committed first = put();
      if (first.what == Committed::What::yes) continue;
      broken += first.why.message.find("constraint") == std::string::npos ? 0 : 1;
      ASSERT_TRUE(engine.open());
      const Committed second = put();
      ASSERT_EQ(second.what, Committed::What::yes) << second.why.message;
      EXPECT_EQ(rows_of(file, "SELECT count(*) FROM lease"), std::vector{std::to_string(kLeases)});
      EXPECT_EQ(rows_of(file, "SELECT count(*) FROM message"),
                std::vector{std::to_string(whole_[0].size() + 1)});
    }
  }
  EXPECT_GT(broken, 0);
}

// faults.md D3, relative: rows that are whole, and that their numbers do not lead to, for a key of
// the page above is wrong: that page is damaged, not all rows behind it.
TEST_F(MiscountedPages, AWrongKeyAboveARowIsDamageOfThePage) {
  int tried = 0;
  for (const char* table : {"message", "detail", "lease"}) {
    for (const std::size_t page : pages_of(table)) {
      const std::string_view bytes = std::string_view{bytes_}.substr(page * kPage, kPage);
      if (byte_at(bytes, 0) != kTableInterior) continue;
      for (std::size_t cell = 0; cell < u16(bytes, kTreeCells); ++cell) {
        for (const unsigned bit : {2U, 6U}) {
          SCOPED_TRACE(fmt::format("table {} cell {} bit {}", table, cell, bit));
          std::size_t end = u16(bytes, kInteriorHeadBytes + 2 * cell) + kChildBytes;
          static_cast<void>(varint(bytes, end));
          const auto last = static_cast<char>(byte_at(bytes, end - 1) ^ (1U << bit));
          expect_whole_with(page * kPage + end - 1, {last});
          if (HasFailure()) return;
          ++tried;
        }
      }
    }
  }
  EXPECT_GT(tried, 8);
}

// faults.md D3, relative: likewise when it leads to another page, whatever that is.
TEST_F(MiscountedPages, AWrongPageBelowIsDamageOfThePage) {
  std::vector<std::size_t> elsewhere{bytes_.size() / kPage + 1};
  for (const std::string& one :
       rows_of(rig.file(), "SELECT max(pageno) FROM dbstat GROUP BY name, pagetype")) {
    elsewhere.push_back(std::stoul(one));
  }
  const std::size_t with_rows = elsewhere.size();
  const auto used = rows_of(rig.file(), "SELECT pageno FROM dbstat");
  for (std::size_t n = 1; n <= bytes_.size() / kPage; ++n) {
    if (std::ranges::find(used, std::to_string(n)) == used.end()) elsewhere.push_back(n);
  }
  ASSERT_GT(elsewhere.size(), with_rows) << "there are free pages";
  for (const char* table : {"message", "detail", "lease"}) {
    for (const std::size_t page : pages_of(table)) {
      const std::string_view bytes = std::string_view{bytes_}.substr(page * kPage, kPage);
      if (byte_at(bytes, 0) != kTableInterior) continue;
      const std::size_t middle = u16(bytes, kInteriorHeadBytes + 2 * (u16(bytes, kTreeCells) / 2));
      for (const std::size_t pointer : {middle, kTreeLastChild}) {
        for (std::size_t i = 0; i < elsewhere.size(); ++i) {
          const std::size_t to = elsewhere[i];
          if (to == u32(bytes, pointer)) continue;
          SCOPED_TRACE(fmt::format("table {} pointer at {} to page {}", table, pointer, to));
          expect_whole_with(page * kPage + pointer + 2,
                            {static_cast<char>(to >> 8U), static_cast<char>(to & 0xFFU)},
                            fmt::format("{}|its row is dam", table));  // a row of another table
          if (HasFailure()) return;
        }
      }
    }
  }
}

// faults.md D3, relative: a page in use that the list of free ones names. The one that it does not
// name any more has messages that were deleted: they stay so.
TEST_F(MiscountedPages, APageInUseThatIsCalledFreeLosesNothingAndBringsNothingBack) {
  constexpr std::size_t kFreeTrunk = 32;  // of the first page
  const std::size_t trunk = (u32(bytes_, kFreeTrunk) - 1) * kPage;
  const std::size_t leaves = u32(bytes_, trunk + 4);
  ASSERT_GE(leaves, 3U);
  std::set<std::string> tried;
  for (const std::string& row : rows_of(
           rig.file(),
           "SELECT name, pageno FROM dbstat WHERE pagetype IN ('leaf', 'internal') AND pageno > "
           "1 AND name NOT LIKE 'sqlite_stat%'")) {
    const std::string name = row.substr(0, row.find('|'));
    const std::size_t to = std::stoul(row.substr(row.find('|') + 1));
    tried.insert(name);
    for (const std::size_t entry : {std::size_t{0}, leaves - 1}) {
      SCOPED_TRACE(fmt::format("page {} of {}, entry {}", to, name, entry));
      expect_whole_with(trunk + 8 + 4 * entry + 2,
                        {static_cast<char>(to >> 8U), static_cast<char>(to & 0xFFU)});
      if (HasFailure()) return;
    }
  }
  // The same one twice, and one that is not there.
  expect_whole_with(trunk + 8, bytes_.substr(trunk + 12, 4));
  expect_whole_with(trunk + 8, {'\0', '\x7f', '\0', '\0'});
  for (const char* table : {"message", "detail", "lease", "queue", "attempt", "counter", "meta"}) {
    EXPECT_TRUE(tried.contains(table)) << table;
  }
}

// faults.md D3, relative: it was lost, though it stands whole in its page.
TEST_F(MiscountedPages, AWrongBitInWhereARowIsLosesNoRow) {
  int tried = 0;
  for (const char* table : kTables) {
    each_cell(table, [&](std::size_t pointer, std::size_t) {
      for (const unsigned bit : {0U, 2U, 5U, 7U}) expect_whole_with_bit(pointer + 1, bit);
      for (const unsigned bit : {0U, 2U, 3U, 6U}) expect_whole_with_bit(pointer, bit);
      ++tried;
    });
  }
  EXPECT_GT(tried, 10);
}

// faults.md D3, relative: of its length, its number and the types of its values.
TEST_F(MiscountedPages, AWrongBitInWhatARowBeginsWithLosesNoRow) {
  int tried = 0;
  constexpr std::string_view kMessage = "message";
  for (const char* table : {kMessage.data(), "detail", "queue"}) {
    each_cell(table, [&](std::size_t, std::size_t cell) {
      for (std::size_t byte = 0; byte < 8; ++byte) {
        const auto low = static_cast<unsigned>(byte % 4);
        for (const unsigned bit : {low, low + 4U}) {
          // A 0 that is a 1, and a number that is another one in order: of a message that may as
          // well be a bit of its payload.
          const bool is_constant = (byte_at(bytes_, cell + byte) & ~1U) == 8 && bit == 0;
          const bool is_number = byte == 2 && bit == 6;
          if (table == kMessage && (is_constant || is_number)) continue;
          expect_whole_with_bit(cell + byte, bit);
        }
      }
      ++tried;
    });
  }
  each_cell("lease", [&](std::size_t, std::size_t cell) {
    for (unsigned bit = 0; bit < 8; ++bit) expect_whole_with_bit(cell, bit);
    ++tried;
  });
  EXPECT_GT(tried, 10);
  EXPECT_LE(meaningless_, tried);
}

// Each row is compared with its checksum, for a bit that leaves the page whole, where that is no
// work.
TEST_F(MiscountedPages, ABitThatLeavesThePageWholeIsSetRightInAStoreOfUpTo16MiB) {
  const std::size_t page = pages_of("message").back() * kPage;
  const std::size_t cell = page + u16(bytes_, page + kLeafHeadBytes);
  std::string damaged = bytes_;
  std::size_t head = cell;
  static_cast<void>(varint(bytes_, head));
  static_cast<void>(varint(bytes_, head));
  const std::size_t due = head + 7;  // the type of its value: NULL becomes 0
  ASSERT_EQ(byte_at(bytes_, due), 0);
  damaged[due] = 8;
  for (const std::size_t mib : {15, 17}) {
    SCOPED_TRACE(mib);
    TempDir dir;
    const fs::path file = dir.path() / "rq.db";
    write(file, damaged);
    make_larger(file, mib);
    open_and_check(file);
    const bool is_small = mib < 16;
    EXPECT_EQ(fs::exists(file.string() + ".damaged-1"), is_small);
    EXPECT_EQ(rows_of_table(file, "message").size(), whole_[0].size() - (is_small ? 0 : 1));
    EXPECT_EQ(rows_of(file, "SELECT count(*) FROM corrupt WHERE what = 'message'"),
              std::vector<std::string>{is_small ? "0" : "1"});
  }
}

// A longer one is not read once for each bit.
TEST(MendedRows, AreOfUpTo256KiB) {
  for (const std::size_t kib : {255, 257}) {
    SCOPED_TRACE(kib);
    SqliteRig rig;
    rig.define("q");
    rig.put("q", std::string(kib << 10U, 'p'));
    const fs::path file = rig.file();
    rig.close();
    const std::size_t root = std::stoul(
        rows_of(file, "SELECT rootpage FROM sqlite_schema WHERE name = 'message'").at(0));
    std::string bytes = content(file);
    const std::size_t page = (root - 1) * kPage;
    const std::size_t types = row_head_end(bytes, page + u16(bytes, page + kLeafHeadBytes));
    char& type = bytes[types - 2];  // of the payload: before that of the checksum
    type = static_cast<char>(static_cast<unsigned char>(type) ^ 1U);
    std::ofstream{file, std::ios::binary} << bytes;
    std::ofstream{rebuild_mark(file)};
    ASSERT_TRUE(open_store(file));
    const bool is_short = kib < 256;
    EXPECT_EQ(rows_of(file, "SELECT count(*) FROM message"),
              std::vector<std::string>{is_short ? "1" : "0"});
    EXPECT_EQ(rows_of(file, "SELECT count(*) > 0 FROM corrupt WHERE what = 'message'"),
              std::vector<std::string>{is_short ? "0" : "1"});
  }
}

// faults.md D3, relative: a wrong bit of a payload was taken for one of the number of its message
// at the same distance from the end of what the checksum is of, and the message got another number.
TEST(MendedRows, AWrongBitOfAPayloadIsNoOtherNumber) {
  constexpr std::size_t kWordBytes = 8;
  constexpr std::size_t kWords = 14;  // that the checksum of a message is of, but for its payload
  SqliteRig rig;
  rig.define("q");
  std::set<std::string> payloads;
  for (int i = 0; i < 30; ++i) {
    std::string payload = fmt::format("{:04}", i) + std::string(200, 'p');
    rig.ask<core::PutDone>(Rig::put_of("q", payload));
    payloads.insert(std::move(payload));
  }
  const fs::path file = rig.file();
  rig.close();
  const std::string bytes = content(file);
  const std::string hurt = fmt::format("{:04}", 12) + std::string(200, 'p');
  for (std::size_t word = 1; word <= kWords; ++word) {
    for (unsigned bit = 0; bit < (word == kWords ? 8U : 1U); ++bit) {
      TempDir dir;
      std::string damaged = bytes;
      for (std::size_t at = bytes.find(hurt); at < bytes.size(); at = bytes.find(hurt, at + 1)) {
        char& byte = damaged[at + hurt.size() - word * kWordBytes];
        byte = static_cast<char>(static_cast<unsigned char>(byte) ^ (1U << bit));
      }
      std::ofstream{dir.path() / "rq.db", std::ios::binary} << damaged;
      std::ofstream{dir.path() / "rq.db.rebuild"};
      fs::copy_file(file.string() + ".identity", dir.path() / "rq.db.identity");
      ASSERT_TRUE(open_store(dir.path() / "rq.db"));
      const auto left = rows_of(dir.path() / "rq.db", "SELECT payload FROM message");
      EXPECT_EQ(left.size(), payloads.size() - 1) << word << " " << bit;
      for (const std::string& payload : left) EXPECT_EQ(payloads.count(payload), 1U) << payload;
    }
  }
}

// faults.md D3, relative: its script ran a second time, and nobody was told of the first.
TEST_F(MiscountedPages, ALeaseThatCannotBeSavedIsToldAsLost) {
  int lost = 0;
  each_cell("lease", [&](std::size_t, std::size_t cell) {
    for (const unsigned flips : {0x01U, 0x02U, 0x10U, 0x40U, 0x42U, 0x7FU}) {
      SCOPED_TRACE(fmt::format("cell at {} flips {:x}", cell, flips));
      std::string damaged = bytes_;
      damaged[cell + 1] = static_cast<char>(byte_at(damaged, cell + 1) ^ flips);  // its number
      const std::size_t told = leases_told_as_lost(damaged);
      EXPECT_LE(told, 1U);
      lost += static_cast<int>(told);
      if (HasFailure()) return;
    }
  });
  EXPECT_GT(lost, 0);
}

// The start did not see it, and SQLite wrote over the leases that the page has.
TEST_F(MiscountedPages, AWrongBitInWhereTheLeasesOfAPageBeginIsSeenByTheStart) {
  for (const std::size_t page : pages_of("lease")) {
    for (unsigned bit = 0; bit < 16; ++bit) {
      const std::size_t at = page * kPage + kTreeContent + bit / 8;
      SCOPED_TRACE(fmt::format("page {} bit {}", page + 1, bit));
      std::string damaged = bytes_;
      damaged[at] = static_cast<char>(byte_at(bytes_, at) ^ (1U << bit % 8));
      EXPECT_EQ(leases_told_as_lost(damaged), 0U);
      if (HasFailure()) return;
    }
  }
}

// Nothing tells how many leases such a page has: those that are missed were running.
TEST_F(MiscountedPages, LeasesOfAPageWithTwoWrongBitsAreThereOrToldAsLost) {
  std::size_t lost = 0;
  for (const std::size_t page : pages_of("lease")) {
    if (byte_at(bytes_, page * kPage) != kTableLeaf) continue;
    const std::size_t pointer = page * kPage + pointers_at(0, kTableLeaf);
    const std::size_t cell = page * kPage + u16(bytes_, pointer);
    for (const std::size_t other : {page * kPage + kTreeContent + 1, page * kPage + kTreeFragments,
                                    pointer, cell, cell + 3}) {
      for (const unsigned bit : {0U, 2U, 5U}) {
        SCOPED_TRACE(fmt::format("page {} cells bit {} and byte {}", page + 1, bit, other % kPage));
        std::string damaged = bytes_;
        const std::size_t cells = page * kPage + kTreeCells + 1;
        damaged[cells] = static_cast<char>(byte_at(bytes_, cells) ^ (1U << bit));
        damaged[other] = static_cast<char>(byte_at(bytes_, other) ^ 2U);
        lost += leases_told_as_lost(damaged);
        if (HasFailure()) return;
      }
    }
  }
  EXPECT_GT(lost, 0U);
}

// Whatever has become of them.
TEST_F(MiscountedPages, FewerLeasesThanRunningMessagesAreToldAsLost) {
  TempDir dir;
  const fs::path file = dir.path() / "rq.db";
  write(file, bytes_);
  rows_of(file, "DELETE FROM lease WHERE seq IN (SELECT seq FROM lease LIMIT 3)");
  EXPECT_EQ(leases_told_as_lost(content(file)), 3U);
}

// faults.md D3, relative: what is above the rows of `detail` reads as rows itself.
TEST_F(MiscountedPages, AWrongTypeAboveARowIsDamageOfThePage) {
  int tried = 0;
  for (const char* table : {"message", "detail", "lease"}) {
    for (const std::size_t page : pages_of(table)) {
      const std::uint8_t type = byte_at(bytes_, page * kPage);
      SCOPED_TRACE(fmt::format("table {} type {}", table, type));
      expect_whole_with(page * kPage, {static_cast<char>(type ^ (kTableLeaf ^ kTableInterior))});
      if (HasFailure()) return;
      ++tried;
    }
  }
  EXPECT_GT(tried, 8);
}

}  // namespace
}  // namespace rq::store::sqlite::test
