#pragma once
// What people write and read on a command line: lengths of time, times, sizes. No clock: `now` is
// an argument.
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"

namespace rq::cli {

// "500ms" "10s" "5m" "2h" "7d" "1h30m", or a bare number of seconds ("1.5").
[[nodiscard]] base::Result<base::Millis> parse_duration(std::string_view text);

// "2026-11-21T08:30:00Z", "2026-11-21 08:30" (UTC unless an offset like +02:00 follows), "08:30"
// (the next one), "@1795224188" or a bare number (seconds since the epoch), "+10m" (from now).
[[nodiscard]] base::Result<base::Instant> parse_time(std::string_view text, base::Instant now);

// "1.5G", "300M", "64KiB", "4096": bytes, in powers of 1024.
[[nodiscard]] base::Result<std::int64_t> parse_size(std::string_view text);

// "3.2 s", "4 min", "2.5 h", "7 d": two digits are enough to think with.
[[nodiscard]] std::string show_duration(double seconds);
[[nodiscard]] std::string show_size(double bytes);     // "312 MiB"
[[nodiscard]] std::string show_count(std::int64_t n);  // "12 345"

// One line of at most `width` columns: control characters become blanks, the rest is cut with "…".
[[nodiscard]] std::string one_line(std::string_view text, std::size_t width);
// Columns of a terminal that UTF-8 text takes; wide characters count as one.
[[nodiscard]] std::size_t columns_of(std::string_view text);

// As a POSIX shell would have to read it: plain words stay, others are put in quotes.
[[nodiscard]] std::string shell_quote(std::string_view text);

}  // namespace rq::cli
