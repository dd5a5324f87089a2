#pragma once
// Bytes as "%2F".
#include <optional>
#include <string>
#include <string_view>

namespace rq::base {

inline void append_percent(std::string& out, char byte) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  const auto value = static_cast<unsigned char>(byte);
  out += {'%', kHex[value >> 4U], kHex[value & 15U]};
}

// The byte that "%2f" or "%2F" at the start of `text` stands for; nothing when it is none.
[[nodiscard]] inline std::optional<char> percent_byte(std::string_view text) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  if (text.size() < 3 || text[0] != '%') return std::nullopt;
  const int high = digit(text[1]);
  const int low = digit(text[2]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<char>(high * 16 + low);
}

}  // namespace rq::base
