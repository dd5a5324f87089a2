#include "store/sqlite/page_cells.h"

#include <algorithm>
#include <array>
#include <bit>
#include <set>
#include <vector>

#include "store/sqlite/file_format.h"

namespace rq::store::sqlite {

namespace {

constexpr std::size_t kPieceBytesMin = 4;  // a free block's next one, and its size

struct Piece {
  std::size_t at = 0;
  std::size_t bytes = 0;
};

bool lies_in(const Piece& piece, std::string_view page, std::size_t from) {
  return piece.at >= from && piece.at < page.size() && piece.bytes <= page.size() - piece.at;
}

// Nothing, when they do not lead from one to the next.
std::optional<std::vector<Piece>> free_blocks(std::string_view page, std::size_t head,
                                              std::size_t content) {
  std::vector<Piece> out;
  std::size_t end = content;
  for (std::size_t at = u16(page, head + kTreeFreeBlock); at != 0; at = u16(page, at)) {
    const Piece block{.at = at, .bytes = u16(page, at + 2)};
    if (block.bytes < kPieceBytesMin || !lies_in(block, page, end)) return std::nullopt;
    out.push_back(block);
    end = block.at + block.bytes;
  }
  return out;
}

Piece cell_at(std::string_view page, std::size_t at, std::uint8_t type) {
  const bool table = type == kTableLeaf || type == kTableInterior;
  std::size_t end = at + (is_interior(type) ? kChildBytes : 0);
  const std::uint64_t row_bytes = type == kTableInterior ? 0 : varint(page, end);
  if (table) static_cast<void>(varint(page, end));  // its number
  if (row_bytes > kRowBytesMax) return {.at = at, .bytes = page.size()};
  const std::size_t here = bytes_on_page(row_bytes, page.size(), table);
  end += here + (here < row_bytes ? kChildBytes : 0);  // where the rest is
  return {.at = at, .bytes = std::max(end - at, kPieceBytesMin)};
}

struct Range {
  std::size_t from = 0;
  std::size_t to = 0;
};

bool differ_in_a_bit(std::size_t a, std::size_t b) { return std::has_single_bit(a ^ b); }

// Is `content` the place where the cells begin, with one bit flipped, rather than their number?
// Then the others of them fill the page in front of it without a gap.
bool begin_elsewhere(std::string_view page, std::size_t pointers, Range cells, std::size_t content,
                     std::uint8_t type) {
  if (differ_in_a_bit(cells.from, cells.to)) return false;
  std::size_t first = content;
  std::size_t bytes = 0;
  for (std::size_t i = cells.from; i < cells.to; ++i) {
    const std::size_t pointer = pointers + 2 * i;
    if (pointer + 2 > content) return false;
    const Piece cell = cell_at(page, u16(page, pointer), type);
    if (cell.at < pointers || cell.at >= content || cell.bytes > content - cell.at) return false;
    first = std::min(first, cell.at);
    bytes += cell.bytes;
  }
  return bytes == content - first && differ_in_a_bit(content, first);
}

// What its row begins with tells how long it is.
bool is_exact(std::string_view page, std::size_t at, std::uint8_t type) {
  if (type == kTableInterior) return true;  // it has none
  at += is_interior(type) ? kChildBytes : 0;
  const std::uint64_t row_bytes = varint(page, at);
  if (type == kTableLeaf) static_cast<void>(varint(page, at));  // its number
  std::size_t types = at;
  std::uint64_t bytes = varint(page, types);
  if (row_bytes > kRowBytesMax || bytes > page.size()) return false;
  const std::size_t end = at + bytes;
  while (types < end && bytes <= row_bytes) {
    const auto value = bytes_of_value(varint(page, types));
    if (!value) return false;
    bytes += *value;
  }
  return types == end && bytes == row_bytes;
}

// As its head describes it.
class TreePage {
 public:
  TreePage(std::string_view page, std::size_t head, std::uint8_t type)
      : page_(page), head_(head), type_(type), cells_(u16(page, head + kTreeCells)) {
    const std::size_t said = u16(page, head + kTreeContent);
    content_ = said == 0 ? kPageBytesMax : said;
  }

  [[nodiscard]] std::size_t pointer(std::size_t cell) const {
    return pointers_at(head_, type_) + 2 * cell;
  }
  [[nodiscard]] std::size_t place(std::size_t cell) const { return u16(page_, pointer(cell)); }
  [[nodiscard]] bool is_table() const { return type_ == kTableLeaf || type_ == kTableInterior; }
  [[nodiscard]] std::int64_t number(std::size_t cell) const {
    return number_of(page_, place(cell), type_);
  }
  [[nodiscard]] bool is_whole() const {
    if (true_cells(page_, head_, type_) != cells_) return false;
    for (std::size_t i = 0; i < cells_; ++i) {
      if (!is_exact(page_, place(i), type_)) return false;
      if (is_table() && i > 0 && number(i) <= number(i - 1)) return false;
    }
    return true;
  }
  // The cells that are not as they should be, or are beside one that is not.
  [[nodiscard]] std::set<std::size_t> suspects() const {
    std::set<std::size_t> out;
    if (content_ < pointer(cells_) || content_ > page_.size()) return out;
    const auto free = free_blocks(page_, head_, content_);
    if (!free) return out;
    struct Taken {
      Piece piece;
      std::size_t cell;
    };
    std::vector<Taken> taken;
    for (const Piece& block : *free) taken.push_back({block, cells_});
    for (std::size_t i = 0; i < cells_; ++i) {
      const Piece piece = cell_at(page_, place(i), type_);
      const bool is_here = lies_in(piece, page_, content_);
      if (is_here) taken.push_back({piece, i});
      if (!is_here || !is_exact(page_, piece.at, type_)) out.insert(i);
      if (is_table() && i > 0 && number(i) <= number(i - 1)) out.insert({i - 1, i});
    }
    std::sort(taken.begin(), taken.end(),
              [](const Taken& a, const Taken& b) { return a.piece.at < b.piece.at; });
    for (std::size_t i = 1; i < taken.size(); ++i) {
      const Piece& before = taken[i - 1].piece;
      if (before.at + before.bytes <= taken[i].piece.at) continue;
      out.insert({taken[i - 1].cell, taken[i].cell});
    }
    out.erase(cells_);
    return out;
  }

 private:
  std::string_view page_;
  std::size_t head_;
  std::uint8_t type_;
  std::size_t cells_;
  std::size_t content_ = 0;
};

// One bit makes no more.
constexpr std::size_t kSuspectsMax = 8;

}  // namespace

std::size_t u16(std::string_view bytes, std::size_t at) { return big_endian(bytes, at, 2); }

std::uint64_t varint(std::string_view bytes, std::size_t& at) {
  std::uint64_t value = 0;
  for (int i = 0; i < 8; ++i) {
    const std::uint8_t byte = byte_at(bytes, at++);
    value = value << 7U | (byte & 0x7FU);
    if ((byte & 0x80U) == 0) return value;
  }
  return value << 8U | byte_at(bytes, at++);
}

std::optional<std::uint64_t> bytes_of_value(std::uint64_t type) {
  constexpr std::array<std::uint64_t, 10> kBytes{0, 1, 2, 3, 4, 6, 8, 8, 0, 0};
  if (type == 10 || type == 11) return std::nullopt;
  return type < kBytes.size() ? kBytes.at(type) : (type - 12) / 2;
}

std::int64_t number_of(std::string_view page, std::size_t cell, std::uint8_t type) {
  std::size_t at = cell;
  if (type == kTableInterior) {
    at += kChildBytes;
  } else {
    static_cast<void>(varint(page, at));  // how long the row is
  }
  return static_cast<std::int64_t>(varint(page, at));
}

std::size_t bytes_on_page(std::uint64_t row_bytes, std::size_t page_bytes, bool table) {
  const std::size_t most = table ? page_bytes - 35 : (page_bytes - 12) * 64 / 255 - 23;
  if (row_bytes <= most) return row_bytes;
  const std::size_t least = (page_bytes - 12) * 32 / 255 - 23;
  const std::size_t here = least + (row_bytes - least) % (page_bytes - 4);
  return here > most ? least : here;
}

std::optional<std::size_t> true_cells(std::string_view page, std::size_t head, std::uint8_t type) {
  const std::size_t said = u16(page, head + kTreeContent);
  const std::size_t content = said == 0 ? kPageBytesMax : said;
  const std::size_t pointers = pointers_at(head, type);
  if (content < pointers || content > page.size()) return std::nullopt;
  auto pieces = free_blocks(page, head, content);
  if (!pieces) return std::nullopt;
  std::size_t left = page.size() - content;
  const auto take = [&left](std::size_t bytes) {
    const bool fits = bytes <= left;
    left -= fits ? bytes : left;
    return fits;
  };
  if (!take(byte_at(page, head + kTreeFragments))) return std::nullopt;
  for (const Piece& block : *pieces) {
    if (!take(block.bytes)) return std::nullopt;
  }
  std::size_t cells = 0;
  for (; left > 0; ++cells) {
    const std::size_t pointer = pointers + 2 * cells;
    const Piece cell = cell_at(page, u16(page, pointer), type);
    if (pointer + 2 > content || !lies_in(cell, page, content) || !take(cell.bytes)) {
      return std::nullopt;
    }
    pieces->push_back(cell);
  }
  const std::size_t told = u16(page, head + kTreeCells);
  if (begin_elsewhere(page, pointers, {cells, told}, content, type)) return std::nullopt;
  std::sort(pieces->begin(), pieces->end(),
            [](const Piece& a, const Piece& b) { return a.at < b.at; });
  const auto overlap =
      std::adjacent_find(pieces->begin(), pieces->end(),
                         [](const Piece& a, const Piece& b) { return a.at + a.bytes > b.at; });
  return overlap == pieces->end() ? std::optional{cells} : std::nullopt;
}

std::size_t row_head_end(std::string_view page, std::size_t at) {
  static_cast<void>(varint(page, at));
  static_cast<void>(varint(page, at));
  std::size_t types = at;
  return at + std::min<std::uint64_t>(varint(page, types), page.size());
}

bool is_whole(std::string_view page, std::size_t head, std::uint8_t type) {
  return TreePage(page, head, type).is_whole();
}

std::optional<std::string> mended_page(std::string_view page, std::size_t head, std::uint8_t type) {
  const TreePage said(page, head, type);
  const std::set<std::size_t> suspects = said.suspects();
  if (suspects.empty() || suspects.size() > kSuspectsMax) return std::nullopt;
  std::set<std::size_t> places;  // of the bytes of which each bit is tried
  for (const std::size_t cell : suspects) {
    const std::size_t end = std::min(said.place(cell) + kCellHeadBytesMax, page.size());
    for (std::size_t at = said.place(cell); at < end; ++at) places.insert(at);
  }
  for (const std::size_t cell : suspects)
    places.insert({said.pointer(cell), said.pointer(cell) + 1});
  std::string tried{page};
  std::optional<std::string> found;
  for (const std::size_t at : places) {
    const char before = tried[at];
    for (unsigned bit = 0; bit < 8; ++bit) {
      tried[at] = static_cast<char>(static_cast<unsigned char>(before) ^ (1U << bit));
      if (!is_whole(tried, head, type)) continue;
      if (found) return std::nullopt;
      found = tried;
    }
    tried[at] = before;
  }
  return found;
}

std::uint8_t true_type(std::string_view page, std::size_t head) {
  const std::uint8_t said = byte_at(page, head);
  const auto other = static_cast<std::uint8_t>(said ^ (kTableLeaf ^ kTableInterior));
  if (!is_tree(said) || true_cells(page, head, said)) return said;
  return true_cells(page, head, other) ? other : said;
}

}  // namespace rq::store::sqlite
