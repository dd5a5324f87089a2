#pragma once
// UTF-8: whole sequences in their shortest form, no surrogates, nothing above U+10FFFF.
#include <cstddef>
#include <string_view>

namespace rq::base {

// The byte order mark that some programs write before UTF-8.
inline constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

// The length of the sequence at `at`; 0 when there is none, or it is not whole.
[[nodiscard]] std::size_t utf8_sequence(std::string_view text, std::size_t at);
[[nodiscard]] bool is_utf8(std::string_view text);
// How many bytes at the end of `text` are the start of a sequence that is not whole yet.
[[nodiscard]] std::size_t unfinished_utf8(std::string_view text);
// The first bytes of `text`, at most so many, that do not end inside a sequence.
[[nodiscard]] std::string_view cut_utf8(std::string_view text, std::size_t bytes_max);

inline constexpr std::size_t kShownBytesMax = 100;  // of what somebody gave, in an error
[[nodiscard]] inline std::string_view shown(std::string_view text) {
  return cut_utf8(text, kShownBytesMax);
}

}  // namespace rq::base
