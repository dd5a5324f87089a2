#pragma once
// The rows of a damaged database, read from its pages without SQLite: what hangs together is
// walked, what does not is found page by page. https://www.sqlite.org/fileformat2.html The newest
// pages of its write-ahead log count. Thread: any one.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "store/sqlite/file_format.h"
#include "store/sqlite/log_frames.h"
#include "store/sqlite/page_cells.h"

namespace rq::store::sqlite {

struct RawNull {
  bool operator==(const RawNull&) const = default;
};
struct RawBlob {
  std::string bytes;
  bool operator==(const RawBlob&) const = default;
};
using RawValue = std::variant<RawNull, std::int64_t, double, std::string, RawBlob>;
struct RawRow {
  std::int64_t rowid = 0;  // of tables that have one
  std::vector<RawValue> values;
};

// All pages of a store up to this size, with its log, are looked at before anything is set aside:
// as many as the check of the server looks at.
inline constexpr std::uintmax_t kLookedAtMax = 1024UL * 1024 * 1024;

// What the checksum of a row says of it. Rows of older versions have none.
// In parts: of the payload, and of all else.
enum class RowFit : std::uint8_t { yes, yes_in_parts, no, unknown };
using RowFits = std::function<RowFit(const RawRow& row)>;

class RawFile {
 public:
  RawFile() = default;
  RawFile(const RawFile&) = delete;
  RawFile& operator=(const RawFile&) = delete;

  using Number = std::uint32_t;
  using Roots = std::map<std::string, Number, std::less<>>;
  // Reads the log of `file`, too. While it is in use nobody may write to the log; pages may be
  // copied from there into the database, for a page that is in the log is read there. `remembered`:
  // the first page of each table, for those that the schema does not tell. `index`: of the log, if
  // it is known.
  [[nodiscard]] base::Result<void> open(FileBytes& database, const std::filesystem::path& file,
                                        const Roots& remembered, LogPart part,
                                        const std::optional<LogIndex>& index);

  using Each = std::function<void(RawRow&&)>;
  // Calls each() for every row that can be reached from the table's root. Nothing, when that is not
  // known. `fits`: of rows that do not fit, or cannot be read, one bit of what they begin with is
  // set right, if they fit then. Whether nothing of the table was broken.
  bool walk(std::string_view table, const Each& each, const RowFits& fits = {});
  // Its pages are as they should be, and the tables begin where they say.
  [[nodiscard]] bool has_whole_schema() const { return has_whole_schema_; }
  // Whether it is known where the table begins.
  [[nodiscard]] bool knows(std::string_view table) const { return roots_.contains(table); }
  // Each row of pages that belong to no tree any more and are not free, or that are in use and free
  // as well: a tree has lost them, or the list of free ones, and then what they have was deleted.
  // Only tables with row numbers. After all walks.
  void walk_lost(const Each& each, const RowFits& fits);
  // Whether SQLite may pass over rows that are whole, or does not read them as they were written:
  // of a table with row numbers a page is not as the page above it says, or is not whole. Reads all
  // such pages; `fits`, if it is there, is asked of rows with checksums. REQUIRES: no walk.
  [[nodiscard]] bool hides_rows(const RowFits& fits);
  // How far a look goes.
  enum class Look : std::uint8_t { above_leaves, rows };
  // Whether the list of free pages names one that a tree, or with Look::rows a row, leads to, or
  // one twice, or two pages of trees lead to the same one: SQLite would write over it. REQUIRES: no
  // walk.
  [[nodiscard]] bool has_wrong_pages(Look look);
  // The end of the log is lost: what it says of which numbers were given.
  [[nodiscard]] bool lacks_log() const { return log_.is_short(); }
  // Something of what was walked could not be read, or is not as it should be.
  [[nodiscard]] bool broken() const { return broken_; }

 private:
  // Empty: it is not there, or cannot be read.
  [[nodiscard]] std::string page(Number number);
  [[nodiscard]] base::Result<void> read_log(LogPart part, const std::optional<LogIndex>& index);
  void read_schema();
  [[nodiscard]] bool is_tree(Number number);
  // A page each: in memory are some bits of each page, and the place of each one in the log.
  using Pages = std::vector<bool>;
  // False: it is marked already, or there is no such page.
  static bool mark(Pages& pages, Number number);
  [[nodiscard]] std::optional<Pages> free_pages();
  // What is done with the rows that a walk meets; either may be none.
  struct Visit {
    Each each;
    RowFits fits;
  };
  // How a walk has come to a page, and what the page above says of it.
  struct Way {
    int depth = 0;
    bool of_table = false;           // its rows have numbers
    std::int64_t after = INT64_MIN;  // they are above this one,
    std::int64_t to = INT64_MAX;     // and up to this one
  };
  // What a page is read as.
  struct TreePage {
    std::string bytes;
    std::size_t head = 0;
    std::uint8_t type = 0;
    std::size_t cells = 0;
    bool is_whole = false;  // as it stands in the file
    [[nodiscard]] std::size_t cell(std::size_t i) const {
      return u16(bytes, pointers_at(head, type) + 2 * i);
    }
    [[nodiscard]] std::size_t row(std::size_t i) const {
      return cell(i) + (type == kIndexInterior ? kChildBytes : 0);
    }
  };
  [[nodiscard]] TreePage tree_page(Number number);
  // Whether it is what stands there.
  [[nodiscard]] static bool fits(const TreePage& page, const Way& way);
  void walk_page(Number number, const Way& way, const Visit& visit);
  void walk_children(const TreePage& page, const Way& way, const Visit& visit);
  void walk_what_is_left(const RowFits& fits);
  struct Survey {
    Pages led_to;  // by trees
    bool is_wrong = false;
  };
  [[nodiscard]] Survey survey(Look look);
  void survey_tree(Number number, int depth, Look look, Survey& out);
  void choose_roots(const Roots& remembered);
  [[nodiscard]] bool runs_over_to_free(const TreePage& page);
  void rows_of(const TreePage& page, const Visit& visit);
  // How many rows of a leaf of a table cannot be read, or do not fit.
  [[nodiscard]] std::size_t hurt_rows(const TreePage& page, const RowFits& fits);
  // A row, and the pages that its end stands on.
  struct Found {
    RawRow row;
    std::vector<Number> overflow;
  };
  [[nodiscard]] std::optional<Found> row_at(std::string_view page, std::size_t at, bool table);
  // `stands`: the row as it stands in this cell, if it can be read.
  [[nodiscard]] std::optional<Found> mended_row(const TreePage& page, std::size_t i,
                                                const std::optional<Found>& stands,
                                                const RowFits& fits);
  [[nodiscard]] bool is_root(Number number) const;
  [[nodiscard]] bool is_free(Number number) const;
  // It is in use: whether the list of free ones names it, which it does not any more.
  bool take_from_free(Number number);

  FileBytes* file_ = nullptr;
  FileBytes log_file_;
  LogFrames log_;  // of each page the newest, by number
  std::size_t page_bytes_ = kPageBytesUsual;
  Number pages_ = 0;
  Roots roots_;
  std::vector<Number> said_roots_;  // by the schema, also of indexes
  std::optional<Pages> free_;
  Pages walked_;
  bool has_whole_schema_ = true;
  bool broken_ = false;
  bool is_doubtful_ = false;
  std::vector<Number> doubtful_;   // pages in use and free that were not walked
  std::uint64_t tried_bytes_ = 0;  // of rows that were read to set a bit right
};

}  // namespace rq::store::sqlite
