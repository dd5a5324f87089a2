#pragma once
// The names of an enum's values: a table in the order of the values.
#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

namespace rq::base {

// The value of this name; nothing when no value has it.
template <typename Enum, std::size_t n>
[[nodiscard]] constexpr std::optional<Enum> value_of(const std::array<std::string_view, n>& names,
                                                     std::string_view name) {
  for (std::size_t i = 0; i < n; ++i) {
    if (names[i] == name) return static_cast<Enum>(i);
  }
  return std::nullopt;
}
template <typename Enum, std::size_t n>
[[nodiscard]] constexpr std::string_view name_in(const std::array<std::string_view, n>& names,
                                                 Enum value) {
  return names.at(static_cast<std::size_t>(value));
}

}  // namespace rq::base
