#pragma once
// A page of a tree and its cells, which are rows or lead to children:
// https://www.sqlite.org/fileformat2.html section 1.6. Thread: any one.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace rq::store::sqlite {

// The type of a page is its first byte.
inline constexpr std::uint8_t kIndexInterior = 2;
inline constexpr std::uint8_t kTableInterior = 5;
inline constexpr std::uint8_t kIndexLeaf = 10;
inline constexpr std::uint8_t kTableLeaf = 13;

// Where the other fields of its head are.
inline constexpr std::size_t kTreeFreeBlock = 1;  // the first one
inline constexpr std::size_t kTreeCells = 3;
inline constexpr std::size_t kTreeContent = 5;  // where the cells begin
inline constexpr std::size_t kTreeFragments = 7;
inline constexpr std::size_t kTreeLastChild = 8;
inline constexpr std::size_t kLeafHeadBytes = 8;
inline constexpr std::size_t kInteriorHeadBytes = 12;
// What the cell of an interior page begins with.
inline constexpr std::size_t kChildBytes = 4;

inline constexpr std::size_t kRowBytesMax = 64UL * 1024 * 1024;  // a payload and its row are less

[[nodiscard]] constexpr bool is_tree(std::uint8_t type) {
  return type == kTableLeaf || type == kTableInterior || type == kIndexLeaf ||
         type == kIndexInterior;
}
// A bit tells them from leaves.
static_assert((kTableLeaf ^ kTableInterior) == (kIndexLeaf ^ kIndexInterior));
[[nodiscard]] constexpr bool is_interior(std::uint8_t type) {
  return type == kTableInterior || type == kIndexInterior;
}
// Behind the head: where each cell is, two bytes each.
[[nodiscard]] constexpr std::size_t pointers_at(std::size_t head, std::uint8_t type) {
  return head + (is_interior(type) ? kInteriorHeadBytes : kLeafHeadBytes);
}

[[nodiscard]] std::size_t u16(std::string_view bytes, std::size_t at);
// A whole number of one to nine bytes; `at` goes behind it.
[[nodiscard]] std::uint64_t varint(std::string_view bytes, std::size_t& at);
// How many bytes a value of this type has in its row. Nothing: there is no such type.
[[nodiscard]] std::optional<std::uint64_t> bytes_of_value(std::uint64_t type);
// Of a table: the number of the row, or the highest one that the page it leads to may have.
[[nodiscard]] std::int64_t number_of(std::string_view page, std::size_t cell, std::uint8_t type);
// How much of a row of so many bytes stands on its page; the rest is on overflow pages.
[[nodiscard]] std::size_t bytes_on_page(std::uint64_t row_bytes, std::size_t page_bytes,
                                        bool table);

// How many cells the page has, whatever its head says: so many that they, the free blocks and the
// fragments fill it from where the cells begin, and none lies on another. What was deleted lies in
// free blocks, and so is none of them. Nothing: there is no such number, or a bit of the place
// where the cells begin is what is wrong. `head`: where it begins. `type`: what the page is read
// as.
[[nodiscard]] std::optional<std::size_t> true_cells(std::string_view page, std::size_t head,
                                                    std::uint8_t type);

// It has as many cells as its head says, they fill it, each row is as long as the types of its
// values tell, and the numbers of a table ascend.
[[nodiscard]] bool is_whole(std::string_view page, std::size_t head, std::uint8_t type);

// Of a cell: its length, its number and the types of its values; where a bit is tried.
inline constexpr std::size_t kCellHeadBytesMax = 48;
// The end of that, of the row of a table with row numbers.
[[nodiscard]] std::size_t row_head_end(std::string_view page, std::size_t at);
// The page with the one bit set right that keeps it from being whole: of where a cell is, or of
// what a cell begins with. Nothing: it is whole, or no such bit is wrong, or more than one may be.
[[nodiscard]] std::optional<std::string> mended_page(std::string_view page, std::size_t head,
                                                     std::uint8_t type);

// What it is, whatever its head says: a leaf or not, when only as that its cells fill it so.
[[nodiscard]] std::uint8_t true_type(std::string_view page, std::size_t head);

}  // namespace rq::store::sqlite
