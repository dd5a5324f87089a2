#pragma once
// What people write and read on a command line: lengths of time, times, sizes. No clock: `now` is
// an argument.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace rq::cli {

// "500ms" "10s" "5m" "2h" "7d" "1h30m", or a bare number of seconds ("1.5").
[[nodiscard]] base::Result<base::Millis> parse_duration(std::string_view text);

// Which day a clock alone means: that of a message to come, or of messages that are there.
enum class Clock { next, last };
// "2026-11-21T08:30:00Z", "2026-11-21 08:30" (UTC unless an offset like +02:00 follows), "08:30"
// (the next one or the last), "@1795224188" or a bare number (seconds since the epoch), "+10m"
// (from now).
[[nodiscard]] base::Result<base::Instant> parse_time(std::string_view text, base::Instant now,
                                                     Clock clock = Clock::next);

// "-3"; parse_positive: 1 or more, parse_natural: 0 or more.
[[nodiscard]] base::Result<std::int64_t> parse_integer(std::string_view text);
[[nodiscard]] base::Result<std::int64_t> parse_positive(std::string_view text);
[[nodiscard]] base::Result<std::int64_t> parse_natural(std::string_view text);

// "1.5G", "300M", "64KiB", "4096": bytes, in powers of 1024.
[[nodiscard]] base::Result<std::int64_t> parse_size(std::string_view text);

// "3.2 s", "4 min", "2.5 h", "7 d": two digits are enough to think with.
[[nodiscard]] std::string show_duration(double seconds);
[[nodiscard]] std::string show_size(double bytes);        // "312 MiB"
[[nodiscard]] std::string show_count(std::int64_t n);     // "12 345"
[[nodiscard]] std::string show_messages(std::int64_t n);  // "1 message", "12 345 messages"

// The character at the front of a text.
struct Character {
  std::size_t bytes = 1;
  char32_t point = 0;
  bool valid = true;  // UTF-8; else one byte that is none
  bool whole = true;  // else the text ends inside of it
};
[[nodiscard]] Character first_character(std::string_view text);
// Does something to a terminal, or to the order in which the rest is shown: controls (C0 and C1),
// marks of direction, separators of lines.
[[nodiscard]] bool is_control(char32_t point);
// Appends the character, or if it could do something to a terminal, its code: \u{202e}, \x9b.
void append_shown(std::string& out, std::string_view text, const Character& character);
// The whole text so; line ends and tabs stay.
[[nodiscard]] std::string shown_text(std::string_view text);

// One line of at most `width` columns: the controls of ASCII become blanks, other ones are shown by
// their codes; the rest is cut with "…".
[[nodiscard]] std::string one_line(std::string_view text, std::size_t width);
// The same, cut in its middle, so that its end is seen as well; between words where one ends near.
[[nodiscard]] std::string middle_cut(std::string_view text, std::size_t width);
// The words of a text on lines of at most `width` columns. A word that is longer stays whole, so
// that a path or a command can be copied, unless it is to be broken.
enum class LongWords { whole, broken };
[[nodiscard]] std::vector<std::string> wrapped(std::string_view text, std::size_t width,
                                               LongWords words = LongWords::whole);
// The same behind a head of `column` columns: the lines after the first begin below the first one.
// What has hardly any room there, or a word that is too long for it, begins on a line of its own.
// `width`: absent: it stays one line.
[[nodiscard]] std::string indented(std::string_view text, std::size_t column,
                                   std::optional<std::size_t> width,
                                   LongWords words = LongWords::whole);
// Columns of a terminal that UTF-8 text takes; wide characters count as one.
[[nodiscard]] std::size_t columns_of(std::string_view text);

// As a POSIX shell would have to read it: plain words stay, others are put in quotes.
[[nodiscard]] std::string shell_quote(std::string_view text);

}  // namespace rq::cli
