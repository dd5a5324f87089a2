#pragma once
// UTF-8: whole sequences in their shortest form, no surrogates, nothing above U+10FFFF.
#include <cstddef>
#include <string_view>

namespace rq::base {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

// The length of the sequence at `at`; 0 when there is none, or it is not whole.
[[nodiscard]] std::size_t utf8_sequence(std::string_view text, std::size_t at);
[[nodiscard]] bool is_utf8(std::string_view text);
// How many bytes at the end of `text` are the start of a sequence that is not whole yet.
[[nodiscard]] std::size_t unfinished_utf8(std::string_view text);

}  // namespace rq::base
