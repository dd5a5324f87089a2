#pragma once
// How SQLite writes numbers, pages and logs: https://www.sqlite.org/fileformat2.html
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

// A log is its head, and frames of a head and a page: where their fields are.
inline constexpr std::uint32_t kLogMagic = 0x377f0682U;
inline constexpr std::uint32_t kLogMagicBig = 0x377f0683U;
inline constexpr std::size_t kLogHeadBytes = 32;
inline constexpr std::size_t kLogHeadPageBytes = 8;
inline constexpr std::size_t kLogHeadSalt = 16;
inline constexpr std::size_t kLogHeadSum = 24;
inline constexpr std::size_t kFrameHeadBytes = 24;
// The pages of the database after a commit, in its last frame; 0 in the others.
inline constexpr std::size_t kFramePages = 4;
inline constexpr std::size_t kFrameSalt = 8;
inline constexpr std::size_t kFrameSum = 16;
inline constexpr std::size_t kSaltBytes = 8;
inline constexpr std::size_t kSumBytes = 8;

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
