#pragma once
// Eight bytes of a text looked at together.
#include <cstdint>
#include <cstring>
#include <string_view>

namespace rq::base {

inline constexpr std::uint64_t kEachByte = 0x0101010101010101U;  // times b: b in each byte
inline constexpr std::uint64_t kHighBits = 0x80U * kEachByte;

// REQUIRES: at + 8 <= text.size().
[[nodiscard]] inline std::uint64_t eight_at(std::string_view text, std::size_t at) {
  std::uint64_t bytes = 0;
  std::memcpy(&bytes, text.data() + at, sizeof bytes);
  return bytes;
}
[[nodiscard]] constexpr bool all_ascii(std::uint64_t bytes) { return (bytes & kHighBits) == 0; }
// REQUIRES: all_ascii(bytes), below <= 0x80.
[[nodiscard]] constexpr bool any_below(std::uint64_t bytes, unsigned below) {
  return ((bytes + (0x80U - below) * kEachByte) & kHighBits) != kHighBits;
}
// REQUIRES: all_ascii(bytes), c is ASCII.
[[nodiscard]] constexpr bool any_is(std::uint64_t bytes, char c) {
  return any_below(bytes ^ (static_cast<unsigned char>(c) * kEachByte), 1);
}

}  // namespace rq::base
