#pragma once
// Whole numbers as text.
#include <charconv>
#include <concepts>
#include <cstdint>
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

// Writes the last `width` digits of a number that is not negative, with zeros before it; returns
// where they end. For what is written at each put: a formatter takes longer than the rest.
[[nodiscard]] constexpr char* write_digits(char* at, std::int64_t number, int width) {
  for (char* digit = at + width; digit != at; number /= 10) {
    *--digit = static_cast<char>('0' + number % 10);
  }
  return at + width;
}

}  // namespace rq::base
