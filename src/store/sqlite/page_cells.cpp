#include "store/sqlite/page_cells.h"

#include <algorithm>
#include <bit>
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

std::uint8_t true_type(std::string_view page, std::size_t head) {
  const std::uint8_t said = byte_at(page, head);
  const auto other = static_cast<std::uint8_t>(said ^ (kTableLeaf ^ kTableInterior));
  if (!is_tree(said) || true_cells(page, head, said)) return said;
  return true_cells(page, head, other) ? other : said;
}

}  // namespace rq::store::sqlite
