#pragma once
// Whole numbers as text.
#include <charconv>
#include <concepts>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace rq::base {

// The whole text must be one number that fits, with a '-' at most before it.
template <std::integral Number>
[[nodiscard]] std::optional<Number> whole_number(std::string_view text) {
  Number out = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc{} || stop != text.data() + text.size()) return std::nullopt;
  return out;
}

template <std::integral Number>
void append_number(std::string& out, Number number) {
  char digits[std::numeric_limits<Number>::digits10 + 2];  // the last digit, and a sign
  const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
  out.append(digits, end);
}

}  // namespace rq::base
