#pragma once
// How SQLite writes numbers and pages: https://www.sqlite.org/fileformat2.html
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace rq::store::sqlite {

inline constexpr std::size_t kPageBytesMin = 512;
inline constexpr std::size_t kPageBytesMax = 65'536;
inline constexpr std::size_t kPageBytesUsual = 4096;
[[nodiscard]] constexpr bool is_page_size(std::size_t bytes) {
  return std::has_single_bit(bytes) && bytes >= kPageBytesMin && bytes <= kPageBytesMax;
}

// Behind the end stand zeros.
[[nodiscard]] constexpr std::uint8_t byte_at(std::string_view bytes, std::size_t at) {
  return at < bytes.size() ? static_cast<std::uint8_t>(bytes[at]) : std::uint8_t{0};
}
// The most significant byte first.
[[nodiscard]] constexpr std::uint64_t big_endian(std::string_view bytes, std::size_t at,
                                                 std::size_t n) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < n; ++i) value = value << 8U | byte_at(bytes, at + i);
  return value;
}
[[nodiscard]] constexpr std::uint32_t u32(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint32_t>(big_endian(bytes, at, 4));
}

}  // namespace rq::store::sqlite
