#include "store/sqlite/raw_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "store/sqlite/file_format.h"
#include "store/sqlite/page_cells.h"
#include "store/sqlite/store_files.h"

namespace rq::store::sqlite {

using base::Result;

namespace {

// Section 1.3, the database header, on page 1: where its fields are.
constexpr std::size_t kHeaderBytes = 100;
constexpr std::size_t kHeaderPageBytes = 16;
constexpr std::size_t kHeaderFreeTrunk = 32;
constexpr std::size_t kHeaderFreePages = 36;
constexpr int kDepthMax = 40;  // of a tree
// A longer row is not read once for each bit.
constexpr std::uint64_t kMendedRowBytesMax = 256UL * 1024;
// So much is read of a file for bits that are tried: of rows that are all hurt no bit is wrong.
constexpr std::uint64_t kTriedBytesMax = 512UL * 1024 * 1024;
// Tables of which the rows have checksums.
constexpr std::array<std::string_view, 3> kWithChecksums{"message", "detail", "queue"};

// The checksum of a message is made of two parts, its payload and all else: it cannot tell a wrong
// bit of the one from a wrong bit of the other at the same distance from their ends.
constexpr std::size_t kNumberBytesFrom = 104;  // from the end of all else to the message's number

// Whether the two are alike but for one bit (NULL stands for 0) that a wrong bit of the payload may
// look like.
bool may_be_the_payload(const RawRow& a, const RawRow& b) {
  if (a.values.size() != b.values.size()) return false;
  const auto bits = [](std::int64_t one, std::int64_t other) {
    return std::popcount(static_cast<std::uint64_t>(one ^ other));
  };
  const auto as_number = [](const RawValue& value) -> std::optional<std::int64_t> {
    if (std::holds_alternative<RawNull>(value)) return 0;
    const auto* const number = std::get_if<std::int64_t>(&value);
    return number != nullptr ? std::optional{*number} : std::nullopt;
  };
  const int of_number = bits(a.rowid, b.rowid);
  int apart = of_number;
  std::size_t text_bytes = 0;
  for (std::size_t i = 0; i < a.values.size(); ++i) {
    const auto one = as_number(a.values[i]);
    const auto other = as_number(b.values[i]);
    if (one && other) {
      apart += bits(*one, *other);
    } else if (a.values[i] != b.values[i]) {
      return false;
    } else if (const auto* const text = std::get_if<std::string>(&a.values[i])) {
      text_bytes = std::max(text_bytes, text->size());
    } else if (const auto* const blob = std::get_if<RawBlob>(&a.values[i])) {
      text_bytes = std::max(text_bytes, blob->bytes.size());
    }
  }
  return apart == 1 && (of_number == 0 || text_bytes > kNumberBytesFrom);
}

std::optional<RawValue> value_at(std::string_view record, std::size_t& at, std::uint64_t type) {
  const auto bytes_there = bytes_of_value(type);
  if (!bytes_there) return std::nullopt;
  const std::size_t n = *bytes_there;
  if (n > record.size() - std::min(at, record.size())) return std::nullopt;
  const std::size_t from = std::exchange(at, at + n);
  if (type == 0) return RawValue{RawNull{}};
  if (type == 8 || type == 9) return RawValue{static_cast<std::int64_t>(type - 8)};
  if (type == 7) return RawValue{std::bit_cast<double>(big_endian(record, from, n))};
  if (type < 7) {
    const unsigned unused = static_cast<unsigned>(8 * (8 - n));
    const auto shifted = static_cast<std::int64_t>(big_endian(record, from, n) << unused);
    return RawValue{shifted >> unused};
  }
  std::string bytes{record.substr(from, n)};
  if (type % 2 == 0) return RawValue{RawBlob{std::move(bytes)}};
  return RawValue{std::move(bytes)};
}

// All but its type: the rows that it tells have room.
bool has_leaf_head(std::string_view page, std::size_t head) {
  const std::size_t content = u16(page, head + kTreeContent);
  const std::size_t end = head + kLeafHeadBytes + 2 * u16(page, head + kTreeCells);
  return content >= end && content <= page.size();
}

// The cells that are to be read: where the page as a whole does not tell, as many as its head says.
std::size_t cells_of(std::string_view page, std::size_t head, std::uint8_t type) {
  const std::size_t fit = (page.size() - pointers_at(head, type)) / 2;
  const std::size_t said = std::min(u16(page, head + kTreeCells), fit);
  return true_cells(page, head, type).value_or(said);
}

// What a row begins with.
struct RowHead {
  std::int64_t rowid = 0;      // of a table with row numbers
  std::uint64_t bytes = 0;     // of all of it, behind this
  std::size_t at = 0;          // where they begin,
  std::size_t here = 0;        // how many of them stand on this page
  std::uint32_t overflow = 0;  // and the page where they go on; 0: none
};
// The first bytes of a page where a row goes on lead to the next one.
constexpr std::size_t kNextBytes = 4;

std::optional<RowHead> row_head(std::string_view page, std::size_t at, bool table) {
  RowHead head;
  head.bytes = varint(page, at);
  if (table) head.rowid = static_cast<std::int64_t>(varint(page, at));
  if (head.bytes > kRowBytesMax || at >= page.size()) return std::nullopt;
  head.at = at;
  head.here = bytes_on_page(head.bytes, page.size(), table);
  if (at + head.here > page.size()) return std::nullopt;
  if (head.here < head.bytes) head.overflow = u32(page, at + head.here);
  return head;
}

std::optional<std::vector<RawValue>> values_of(std::string_view record) {
  std::size_t header = 0;
  const std::uint64_t header_bytes = varint(record, header);
  if (header_bytes > record.size() || header_bytes < header) return std::nullopt;
  std::size_t body = header_bytes;
  std::vector<RawValue> values;
  while (header < header_bytes) {
    auto value = value_at(record, body, varint(record, header));
    if (!value) return std::nullopt;
    values.push_back(std::move(*value));
  }
  return header == header_bytes ? std::optional{std::move(values)} : std::nullopt;
}

}  // namespace

Result<void> RawFile::open(FileBytes& database, const std::filesystem::path& file,
                           const Roots& remembered, LogPart part,
                           const std::optional<LogIndex>& index) {
  file_ = &database;
  if (database.size() == 0) {
    return base::fail(base::Code::internal,
                      fmt::format("cannot read {}: it is empty, or not there", file.string()),
                      "restore a backup, with its -wal file");
  }
  // Of a head that cannot be read the page is damaged, as any other one.
  if (const auto head = database.read(0, std::min(database.size(), kHeaderBytes))) {
    const std::size_t said = u16(*head, kHeaderPageBytes);
    const std::size_t page_bytes = said == 1 ? kPageBytesMax : said;
    if (is_page_size(page_bytes)) page_bytes_ = page_bytes;
  }
  pages_ = static_cast<Number>(database.size() / page_bytes_);
  RQ_TRY(log_file_.open(log_of(file)));
  RQ_TRY(read_log(part, index));
  walked_.resize(std::size_t{pages_} + 1);
  free_ = free_pages();
  read_schema();
  choose_roots(remembered);
  return {};
}

// A page number in the schema may be damaged as well; and what is remembered may be older than a
// VACUUM, but then that page is another one's.
void RawFile::choose_roots(const Roots& remembered) {
  const auto may_be_root = [this](Number page) { return is_tree(page) && !is_free(page); };
  std::optional<Survey> as_said;
  for (const auto& [table, root] : remembered) {
    const auto [found, missing] = roots_.emplace(table, root);
    if (missing || found->second == root) continue;
    if (!as_said) as_said = survey(Look::above_leaves);
    const bool is_nobodys = may_be_root(root) && !as_said->led_to[root];
    if (!is_nobodys && may_be_root(found->second)) continue;
    found->second = root;
    has_whole_schema_ = false;
  }
}

// Which pages have newer content there.
Result<void> RawFile::read_log(LogPart part, const std::optional<LogIndex>& index) {
  RQ_TRY_ASSIGN(log, sqlite::read_log(log_file_, part, index));
  log_ = std::move(log);
  if (log_.page_bytes == 0) return {};
  page_bytes_ = log_.page_bytes;
  if (log_.pages != 0) pages_ = log_.pages;
  std::vector<LogFrames::Frame>& newer = log_.frames;
  // Of each page the last one.
  std::stable_sort(newer.begin(), newer.end(),
                   [](const auto& a, const auto& b) { return a.page < b.page; });
  const auto last = std::unique(newer.rbegin(), newer.rend(),
                                [](const auto& a, const auto& b) { return a.page == b.page; });
  newer.erase(newer.begin(), last.base());
  return {};
}

std::string RawFile::page(Number number) {
  if (number == 0 || number > pages_) return {};
  const auto found = std::lower_bound(
      log_.frames.begin(), log_.frames.end(), number,
      [](const LogFrames::Frame& in_log, Number page) { return in_log.page < page; });
  const bool in_log = found != log_.frames.end() && found->page == number;
  const auto bytes = in_log ? log_file_.read(page_at(log_, found->frame), page_bytes_)
                            : file_->read((number - std::size_t{1}) * page_bytes_, page_bytes_);
  return bytes ? std::string{*bytes} : std::string{};
}

bool RawFile::mark(Pages& pages, Number number) {
  if (number >= pages.size() || pages[number]) return false;
  pages[number] = true;
  return true;
}

bool RawFile::is_tree(Number number) { return sqlite::is_tree(byte_at(page(number), 0)); }

void RawFile::read_schema() {
  const auto each = [this](RawRow&& row) {
    if (row.values.size() != 5) return;
    const auto* type = std::get_if<std::string>(&row.values[0]);
    const auto* name = std::get_if<std::string>(&row.values[1]);
    const auto* root = std::get_if<std::int64_t>(&row.values[3]);
    if (type == nullptr || name == nullptr || root == nullptr) return;
    if (*root == 0) return;  // of a view, or of a virtual table
    said_roots_.push_back(static_cast<Number>(*root));
    if (*type == "table") roots_[*name] = static_cast<Number>(*root);
  };
  walk_page(1, {}, {.each = each, .fits = {}});
  // What it has met so far is only the schema, of which nothing is lost with it.
  has_whole_schema_ = !std::exchange(broken_, false);
}

bool RawFile::walk(std::string_view table, const Each& each, const RowFits& fits) {
  const bool before = std::exchange(broken_, false);
  const auto root = roots_.find(table);
  if (root != roots_.end()) walk_page(root->second, {}, {.each = each, .fits = fits});
  const bool is_well = root != roots_.end() && !broken_;
  broken_ = before || !is_well;
  return is_well;
}

RawFile::TreePage RawFile::tree_page(Number number) {
  TreePage out{.bytes = page(number), .head = number == 1 ? kHeaderBytes : 0};
  out.type = true_type(out.bytes, out.head);
  if (!sqlite::is_tree(out.type)) return out;
  out.is_whole = sqlite::is_whole(out.bytes, out.head, out.type);
  if (!out.is_whole) {
    if (auto mended = mended_page(out.bytes, out.head, out.type)) out.bytes = std::move(*mended);
  }
  out.cells = cells_of(out.bytes, out.head, out.type);
  return out;
}

bool RawFile::fits(const TreePage& page, const Way& way) {
  const bool of_table = page.type == kTableLeaf || page.type == kTableInterior;
  if (!sqlite::is_tree(page.type) || (way.depth > 0 && of_table != way.of_table)) return false;
  if (!of_table) return true;
  std::int64_t last = way.after;
  for (std::size_t i = 0; i < page.cells; ++i) {
    const std::int64_t number = number_of(page.bytes, page.cell(i), page.type);
    if (number <= last || number > way.to) return false;
    last = number;
  }
  return true;
}

bool RawFile::is_free(Number number) const {
  return free_ && number < free_->size() && (*free_)[number];
}

bool RawFile::is_root(Number number) const {
  return std::ranges::any_of(roots_, [&](const auto& table) { return table.second == number; });
}

bool RawFile::take_from_free(Number number) {
  if (!is_free(number)) return false;
  (*free_)[number] = false;
  is_doubtful_ = true;
  broken_ = true;
  return true;
}

void RawFile::walk_page(Number number, const Way& way, const Visit& visit) {
  TreePage page = tree_page(number);
  const bool is_known = sqlite::is_tree(page.type);
  const bool as_it_should_be = fits(page, way);
  // What the page above does not describe is somewhere else in the store: another tree leads to it,
  // or it is found among the lost ones, or it is free, and what it has was deleted.
  const bool is_elsewhere =
      way.depth > 0 && (is_root(number) || (is_known && !as_it_should_be && free_));
  // It cannot be in use and free: it is looked at with the lost ones. But a root is in use, and
  // what is deleted of an index does no harm.
  const bool is_sure = way.depth == 0 || !way.of_table;
  const bool is_doubtful = take_from_free(number) && !is_sure;
  if (is_doubtful) doubtful_.push_back(number);
  if (page.bytes.empty() || is_doubtful || is_elsewhere || way.depth > kDepthMax ||
      !mark(walked_, number)) {
    broken_ = true;
    return;
  }
  // Where it says another number of cells it is not sure which one is right: pages that are missed
  // are looked for.
  broken_ =
      broken_ || !as_it_should_be || !page.is_whole || page.type != byte_at(page.bytes, page.head);
  if (!is_known) {
    // Most pages are leaves of tables. Whoever takes a row looks at its checksum; but behind a
    // wrong number of rows there may be one that was deleted.
    if (!has_leaf_head(page.bytes, page.head)) return;
    page.type = kTableLeaf;
    page.cells = cells_of(page.bytes, page.head, page.type);
  }
  if (page.type != kTableInterior) rows_of(page, visit);
  if (is_interior(page.type)) walk_children(page, way, visit);
}

void RawFile::walk_children(const TreePage& page, const Way& way, const Visit& visit) {
  Way below{.depth = way.depth + 1, .of_table = page.type == kTableInterior, .after = way.after};
  for (std::size_t i = 0; i < page.cells; ++i) {
    if (below.of_table) below.to = number_of(page.bytes, page.cell(i), page.type);
    walk_page(u32(page.bytes, page.cell(i)), below, visit);
    below.after = below.to;
  }
  below.to = way.to;
  walk_page(u32(page.bytes, page.head + kTreeLastChild), below, visit);
}

std::size_t RawFile::hurt_rows(const TreePage& page, const RowFits& fits) {
  std::size_t hurt = 0;
  for (std::size_t i = 0; i < page.cells; ++i) {
    const auto found = row_at(page.bytes, page.cell(i), true);
    if (!found || fits(found->row) == RowFit::no) ++hurt;
  }
  return hurt;
}

void RawFile::rows_of(const TreePage& page, const Visit& visit) {
  if (!visit.each && !visit.fits) return;
  std::optional<std::size_t> hurt;  // how many, once one was met
  for (std::size_t i = 0; i < page.cells; ++i) {
    auto found = row_at(page.bytes, page.row(i), page.type == kTableLeaf);
    bool is_hurt =
        visit.fits && page.type == kTableLeaf && (!found || visit.fits(found->row) == RowFit::no);
    if (is_hurt && !hurt) hurt = hurt_rows(page, visit.fits);
    if (is_hurt && *hurt == 1) {
      if (auto mended = mended_row(page, i, found, visit.fits)) {
        found = std::move(mended);
        is_hurt = false;
        broken_ = true;
      }
    }
    if (!visit.each) continue;
    if (!found) {
      broken_ = true;
      continue;
    }
    // What is hurt may lead to pages of others.
    for (const Number number : is_hurt ? std::vector<Number>{} : found->overflow) {
      take_from_free(number);
      mark(walked_, number);
    }
    visit.each(std::move(found->row));
  }
}

std::optional<RawFile::Found> RawFile::row_at(std::string_view bytes, std::size_t at, bool table) {
  const auto head = row_head(bytes, at, table);
  if (!head) return std::nullopt;
  Found found;
  found.row.rowid = head->rowid;
  std::string record{bytes.substr(head->at, head->here)};
  for (Number next = head->overflow; record.size() < head->bytes;) {
    const std::string more = page(next);
    if (more.empty()) return std::nullopt;
    found.overflow.push_back(next);
    record += std::string_view{more}.substr(kNextBytes, head->bytes - record.size());
    next = u32(more, 0);
  }
  auto values = values_of(record);
  if (!values) return std::nullopt;
  found.row.values = std::move(*values);
  return found;
}

std::optional<RawFile::Found> RawFile::mended_row(const TreePage& page, std::size_t i,
                                                  const std::optional<Found>& stands,
                                                  const RowFits& fits) {
  const std::size_t at = page.cell(i);
  const auto number = [&page](std::size_t cell) {
    return number_of(page.bytes, page.cell(cell), page.type);
  };
  const auto in_order = [&](std::int64_t rowid) {
    return (i == 0 || number(i - 1) < rowid) && (i + 1 >= page.cells || rowid < number(i + 1));
  };
  const bool is_readable = stands && in_order(stands->row.rowid);
  std::string tried{page.bytes};
  const std::size_t end = std::min(at + kCellHeadBytesMax, tried.size());
  for (std::size_t byte = at; byte < end; ++byte) {
    const char before = tried[byte];
    for (unsigned bit = 0; bit < 8; ++bit) {
      tried[byte] = static_cast<char>(static_cast<unsigned char>(before) ^ (1U << bit));
      std::size_t length = at;
      const std::uint64_t row_bytes = varint(tried, length);
      if (row_bytes > kMendedRowBytesMax || byte >= row_head_end(tried, at)) continue;
      tried_bytes_ += row_bytes;
      if (tried_bytes_ > kTriedBytesMax) return std::nullopt;
      auto found = row_at(tried, at, true);
      if (!found || !in_order(found->row.rowid)) continue;
      const RowFit fit = fits(found->row);
      const bool is_ambiguous =
          fit == RowFit::yes_in_parts && is_readable && may_be_the_payload(stands->row, found->row);
      if (!is_ambiguous && (fit == RowFit::yes || fit == RowFit::yes_in_parts)) return found;
    }
    tried[byte] = before;
  }
  return std::nullopt;
}

// Nothing, when the list of them does not hold together.
std::optional<RawFile::Pages> RawFile::free_pages() {
  const std::string first = page(1);
  Pages free(std::size_t{pages_} + 1);
  std::size_t count = 0;
  for (Number trunk = u32(first, kHeaderFreeTrunk); trunk != 0;) {
    const std::string bytes = page(trunk);
    const std::size_t leaves = u32(bytes, 4);
    if (bytes.empty() || leaves > page_bytes_ / 4 || !mark(free, trunk)) return std::nullopt;
    for (std::size_t i = 0; i < leaves; ++i) {
      if (!mark(free, u32(bytes, 8 + 4 * i))) return std::nullopt;
    }
    count += leaves + 1;
    trunk = u32(bytes, 0);
  }
  if (count != u32(first, kHeaderFreePages)) return std::nullopt;
  return free;
}

// Tables that nobody has asked for.
void RawFile::walk_what_is_left(const RowFits& fits) {
  for (const auto& [table, root] : roots_) {
    if (root >= walked_.size() || walked_[root]) continue;
    const std::uint8_t type = byte_at(page(root), 0);
    if (type != kTableLeaf && type != kTableInterior) continue;
    const bool has_checksums = std::ranges::find(kWithChecksums, table) != kWithChecksums.end();
    walk_page(root, {}, {.each = {}, .fits = has_checksums ? fits : RowFits{}});
  }
}

bool RawFile::hides_rows(const RowFits& fits) {
  if (is_doubtful_) return true;
  walk_what_is_left(fits);
  return broken_;
}

bool RawFile::has_wrong_pages(Look look) { return !free_ || is_doubtful_ || survey(look).is_wrong; }

RawFile::Survey RawFile::survey(Look look) {
  Survey out{.led_to = Pages(std::size_t{pages_} + 1)};
  survey_tree(1, 0, look, out);
  for (const Number root : said_roots_) survey_tree(root, 0, look, out);
  return out;
}

// All leaves of a tree are equally deep: one of them tells that its neighbours are leaves.
void RawFile::survey_tree(Number number, int depth, Look look, Survey& out) {
  const bool is_first = mark(out.led_to, number) && depth <= kDepthMax;
  if (is_free(number) || !is_first) out.is_wrong = true;
  if (!is_first) return;
  const TreePage above = tree_page(number);
  if (look == Look::rows && runs_over_to_free(above)) out.is_wrong = true;
  if (!is_interior(above.type)) return;
  std::vector<Number> children{u32(above.bytes, above.head + kTreeLastChild)};
  for (std::size_t i = 0; i < above.cells; ++i) {
    children.push_back(u32(above.bytes, above.cell(i)));
  }
  const bool has_leaves = !is_interior(byte_at(page(children.front()), 0));
  for (const Number child : children) {
    if (look == Look::rows || !has_leaves) {
      survey_tree(child, depth + 1, look, out);
    } else if (is_free(child) || !mark(out.led_to, child)) {
      out.is_wrong = true;
    }
  }
}

// Whether a page is free on which a row of this one goes on.
bool RawFile::runs_over_to_free(const TreePage& page) {
  if (!sqlite::is_tree(page.type) || page.type == kTableInterior) return false;
  for (std::size_t i = 0; i < page.cells; ++i) {
    const auto head = row_head(page.bytes, page.row(i), page.type == kTableLeaf);
    if (!head) continue;
    Number next = head->overflow;
    for (std::uint64_t read = head->here; read < head->bytes; read += page_bytes_ - kNextBytes) {
      if (is_free(next)) return true;
      next = u32(this->page(next), 0);
    }
  }
  return false;
}

void RawFile::walk_lost(const Each& each, const RowFits& fits) {
  if (!free_) return;
  walk_what_is_left({});
  const auto visit = [&](Number number) {
    if (walked_[number] || (*free_)[number]) return;
    const TreePage page = tree_page(number);
    if (page.type != kTableLeaf) return;
    mark(walked_, number);
    rows_of(page, {.each = each, .fits = fits});
  };
  // Where two pages have the same row, the first one is taken: those that a tree leads to come
  // first.
  for (const Number number : doubtful_) visit(number);
  for (Number number = 2; number <= pages_; ++number) visit(number);
}

}  // namespace rq::store::sqlite
