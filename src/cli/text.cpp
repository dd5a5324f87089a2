#include "cli/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

namespace rq::cli {
using base::Code;
using base::fail;
using base::Instant;
using base::Millis;
using base::Result;

namespace {

constexpr std::size_t kCutInTheMiddleMin = 20;  // columns; of fewer the start alone says more
constexpr std::size_t kPartOfWordMax = 8;       // columns; a longer one is kept at a cut
constexpr std::size_t kRoomMin = 30;            // columns; fewer hold too few words
constexpr std::size_t kIndentBelow = 4;         // of lines below what leaves no room
constexpr double kMillisMax = 1e15;             // beyond any length of time that the API takes

std::optional<double> take_number(std::string_view& text) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value, std::chars_format::fixed);
  if (error != std::errc{} || !std::isfinite(value) || value < 0) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(rest - text.data()));
  return value;
}

// Exactly `digits` digits.
std::optional<int> take_digits(std::string_view& text, std::size_t digits) {
  if (text.size() < digits) return std::nullopt;
  int value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + digits, value);
  if (error != std::errc{} || rest != text.data() + digits || text.front() == '-') {
    return std::nullopt;
  }
  text.remove_prefix(digits);
  return value;
}

bool take(std::string_view& text, char c) {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

struct Unit {
  std::string_view name;
  double ms;
};
constexpr std::array kUnits{Unit{"ms", 1},         Unit{"s", 1e3},    Unit{"min", 60e3},
                            Unit{"m", 60e3},       Unit{"h", 3600e3}, Unit{"d", 86400e3},
                            Unit{"w", 7 * 86400e3}};

// HH:MM[:SS[.mmm]]
std::optional<Millis> take_clock(std::string_view& text) {
  const auto hours = take_digits(text, 2);
  if (!hours || *hours > 23 || !take(text, ':')) return std::nullopt;
  const auto minutes = take_digits(text, 2);
  if (!minutes || *minutes > 59) return std::nullopt;
  Millis clock = std::chrono::hours{*hours} + std::chrono::minutes{*minutes};
  if (!take(text, ':')) return clock;
  const auto seconds = take_digits(text, 2);
  if (!seconds || *seconds > 60) return std::nullopt;
  clock += std::chrono::seconds{*seconds};
  if (text.starts_with('.')) {
    const auto fraction = take_number(text);
    if (!fraction) return std::nullopt;
    clock += Millis{std::llround(*fraction * 1000)};
  }
  return clock;
}

// "", "Z", "+02:00", "-0530"
std::optional<Millis> take_offset(std::string_view& text) {
  if (text.empty() || take(text, 'Z')) return Millis{0};
  const int sign = text.starts_with('-') ? -1 : 1;
  if (!take(text, '+') && !take(text, '-')) return std::nullopt;
  const auto hours = take_digits(text, 2);
  static_cast<void>(take(text, ':'));
  const auto minutes = take_digits(text, 2);
  if (!hours || !minutes || *hours > 23 || *minutes > 59) return std::nullopt;
  return sign * Millis{std::chrono::hours{*hours} + std::chrono::minutes{*minutes}};
}

std::optional<Instant> calendar(std::string_view text) {
  const auto year = take_digits(text, 4);
  if (!year || !take(text, '-')) return std::nullopt;
  const auto month = take_digits(text, 2);
  if (!month || !take(text, '-')) return std::nullopt;
  const auto day = take_digits(text, 2);
  if (!day) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year{*year},
                                         std::chrono::month{static_cast<unsigned>(*month)},
                                         std::chrono::day{static_cast<unsigned>(*day)}};
  if (!date.ok()) return std::nullopt;
  Instant at = std::chrono::sys_days{date};
  if (text.empty()) return at;
  if (!take(text, 'T') && !take(text, ' ')) return std::nullopt;
  const auto clock = take_clock(text);
  if (!clock) return std::nullopt;
  const auto offset = take_offset(text);
  if (!offset || !text.empty()) return std::nullopt;
  return at + *clock - *offset;
}

std::optional<Instant> epoch_seconds(std::string_view text) {
  const auto seconds = take_number(text);
  if (!seconds || !text.empty() || *seconds * 1000 > kMillisMax) return std::nullopt;
  return base::from_ms(std::llround(*seconds * 1000));
}

// The next or the last time that the clock shows this, in UTC.
std::optional<Instant> clock_time(std::string_view text, Instant now, Clock which) {
  const auto clock = take_clock(text);
  if (!clock) return std::nullopt;
  const auto offset = take_offset(text);
  if (!offset || !text.empty()) return std::nullopt;
  Instant at = std::chrono::floor<std::chrono::days>(now) + *clock - *offset;
  while (at <= now) at += std::chrono::days{1};
  while (at > now + std::chrono::days{1}) at -= std::chrono::days{1};
  return which == Clock::next ? at : at - std::chrono::days{1};
}

std::string digits_of(double value) {
  return value < 9.95 && value != std::floor(value) ? fmt::format("{:.1f}", value)
                                                    : fmt::format("{:.0f}", value);
}

}  // namespace

Result<Millis> parse_duration(std::string_view text) {
  const std::string_view whole = text;
  const auto refuse = [whole] {
    return fail(Code::bad_value, fmt::format("'{}' is not a length of time", whole),
                "write a number and a unit: 500ms, 10s, 5m, 2h, 7d, 1h30m");
  };
  if (text.empty()) return refuse();
  double ms = 0;
  for (bool first = true; !text.empty(); first = false) {
    const auto number = take_number(text);
    if (!number) return refuse();
    if (text.empty() && first) {  // a bare number: seconds
      ms = *number * 1e3;
      break;
    }
    bool known = false;
    for (const Unit& unit : kUnits) {
      if (!text.starts_with(unit.name)) continue;
      ms += *number * unit.ms;
      text.remove_prefix(unit.name.size());
      known = true;
      break;
    }
    if (!known) return refuse();
  }
  if (ms > kMillisMax) return refuse();
  const Millis length{std::llround(ms)};
  if (length == Millis{0} && ms > 0) {
    return fail(Code::bad_value, fmt::format("'{}' is too small", whole),
                "give 0, or 1ms and more");
  }
  return length;
}

Result<Instant> parse_time(std::string_view text, Instant now, Clock clock) {
  std::optional<Instant> at;
  if (text.starts_with('+')) {
    RQ_TRY_ASSIGN(ahead, parse_duration(text.substr(1)));
    return now + ahead;
  }
  if (text.starts_with('@')) {
    at = epoch_seconds(text.substr(1));
  } else if (text.find('-') != std::string_view::npos && text.find('-') >= 4) {
    at = calendar(text);
  } else if (text.find(':') != std::string_view::npos) {
    at = clock_time(text, now, clock);
  } else {
    at = epoch_seconds(text);
  }
  if (!at) {
    return fail(Code::bad_value, fmt::format("'{}' is not a time", text),
                fmt::format("write 2026-11-21T08:30:00Z, 08:30 (UTC, the {} one), {} or @SECONDS "
                            "since the epoch",
                            clock == Clock::next ? "next" : "last",
                            clock == Clock::next ? "+10m (from now)" : "2h (ago)"));
  }
  return *at;
}

namespace {

Result<std::int64_t> parse_whole(std::string_view text, std::int64_t least, const char* kind) {
  std::int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error == std::errc{} && rest == end && value >= least) return value;
  return fail(Code::bad_value, fmt::format("'{}' is not a whole number{}", text, kind),
              "write digits alone");
}

}  // namespace

Result<std::int64_t> parse_integer(std::string_view text) {
  return parse_whole(text, std::numeric_limits<std::int64_t>::min(), "");
}

Result<std::int64_t> parse_positive(std::string_view text) {
  return parse_whole(text, 1, " of 1 or more");
}

Result<std::int64_t> parse_natural(std::string_view text) {
  return parse_whole(text, 0, " of 0 or more");
}

Result<std::int64_t> parse_size(std::string_view text) {
  const std::string_view whole = text;
  const auto number = take_number(text);
  constexpr std::string_view kPowers = "KMGT";
  double bytes = number.value_or(0);
  bool good = number.has_value();
  if (good && !text.empty() && text != "B") {
    const char letter = text.front() == 'k' ? 'K' : text.front();
    const std::size_t power = kPowers.find(letter);
    const std::string_view rest = text.substr(1);
    good = power != std::string_view::npos && (rest.empty() || rest == "B" || rest == "iB");
    if (good) bytes *= std::pow(1024.0, static_cast<double>(power + 1));
  }
  if (!good || bytes > kMillisMax) {
    return fail(Code::bad_value, fmt::format("'{}' is not a size", whole),
                "write bytes, or a number with K, M, G or T (powers of 1024): 300M");
  }
  return std::llround(bytes);
}

std::string show_duration(double seconds) {
  const double s = std::fabs(seconds);
  const std::string_view sign = seconds < 0 ? "-" : "";
  if (s < 0.9995) return fmt::format("{}{:.0f} ms", sign, s * 1000);
  if (s < 99.5) return fmt::format("{}{} s", sign, digits_of(s));
  if (s < 99.5 * 60) return fmt::format("{}{} min", sign, digits_of(s / 60));
  if (s < 48 * 3600) return fmt::format("{}{} h", sign, digits_of(s / 3600));
  return fmt::format("{}{} d", sign, digits_of(s / 86400));
}

std::string show_size(double bytes) {
  constexpr std::array<std::string_view, 5> kNames{"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t power = 0;
  while (bytes >= 1023.5 && power + 1 < kNames.size()) {
    bytes /= 1024;
    ++power;
  }
  return fmt::format("{} {}", digits_of(bytes), kNames[power]);
}

std::string show_count(std::int64_t n) {
  std::string digits = std::to_string(n);
  const std::size_t first = n < 0 ? 1 : 0;
  for (std::size_t at = digits.size(); at > first + 3;) {
    at -= 3;
    digits.insert(at, 1, ' ');
  }
  return digits;
}

std::string show_messages(std::int64_t n) {
  return fmt::format("{} {}", show_count(n), n == 1 ? "message" : "messages");
}

std::size_t columns_of(std::string_view text) {
  std::size_t columns = 0;
  for (const char c : text) columns += (static_cast<unsigned char>(c) & 0xC0U) != 0x80U ? 1 : 0;
  return columns;
}

Character first_character(std::string_view text) {
  const auto byte = [text](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {.bytes = 1, .point = lead};
  const Character broken{.bytes = 1, .point = lead, .valid = false};
  const std::size_t bytes = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4) return broken;
  char32_t point = lead & (0x7FU >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) {
    if (i == text.size()) return {.bytes = i, .point = 0, .valid = true, .whole = false};
    if ((byte(i) & 0xC0U) != 0x80U) return broken;
    point = point << 6U | (byte(i) & 0x3FU);
  }
  const bool too_long = (bytes == 3 && point < 0x800) || (bytes == 4 && point < 0x10000);
  if (too_long || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF)) return broken;
  return {.bytes = bytes, .point = point};
}

bool is_control(char32_t point) {
  return point < 0x20 || (point >= 0x7F && point <= 0x9F) || point == 0x61C ||
         (point >= 0x200E && point <= 0x200F) || (point >= 0x2028 && point <= 0x202E) ||
         (point >= 0x2066 && point <= 0x2069);
}

void append_shown(std::string& out, std::string_view text, const Character& character) {
  if (!character.valid) {
    out += fmt::format("\\x{:02x}", static_cast<std::uint32_t>(character.point));
  } else if (is_control(character.point)) {
    out += fmt::format("\\u{{{:x}}}", static_cast<std::uint32_t>(character.point));
  } else {
    out += text.substr(0, character.bytes);
  }
}

std::string shown_text(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    Character next = first_character(text);
    if (!next.whole)
      next = {.bytes = 1, .point = static_cast<unsigned char>(text[0]), .valid = false};
    if (text[0] == '\n' || text[0] == '\t') {
      out += text[0];
    } else {
      append_shown(out, text, next);
    }
    text.remove_prefix(next.bytes);
  }
  return out;
}

std::string one_line(std::string_view given, std::size_t width) {
  std::string clean;
  for (const char c : given) {
    clean.push_back(static_cast<unsigned char>(c) < ' ' || c == 0x7F ? ' ' : c);
  }
  clean = shown_text(clean);
  std::string_view text = clean;
  while (!text.empty() && static_cast<unsigned char>(text.back()) <= ' ') text.remove_suffix(1);
  std::string out;
  std::size_t columns = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if ((byte & 0xC0U) != 0x80U) {
      if (columns + 1 >= width && columns_of(text.substr(i)) > 1) {
        if (width > 0) out += "…";
        return out;
      }
      ++columns;
    }
    out.push_back(text[i]);
  }
  return out;
}

namespace {

// Bytes of the first `columns` columns of a text.
std::size_t bytes_of(std::string_view text, std::size_t columns) {
  std::size_t at = 0;
  while (at < text.size() && columns > 0) {
    at += first_character(text.substr(at)).bytes;
    --columns;
  }
  return at;
}

// The first bytes of a line, without a part of a word at their end.
std::string_view front_of(std::string_view line, std::size_t bytes) {
  const std::string_view front = line.substr(0, bytes);
  if (line[bytes] == ' ') return front;
  const std::size_t blank = front.rfind(' ');
  if (blank == std::string_view::npos || columns_of(front.substr(blank + 1)) > kPartOfWordMax) {
    return front;
  }
  return front.substr(0, blank + 1);
}

// A line from that byte on, without a part of a word at its beginning.
std::string_view back_of(std::string_view line, std::size_t from) {
  const std::string_view back = line.substr(from);
  if (line[from - 1] == ' ') return back;
  const std::size_t blank = back.find(' ');
  if (blank == std::string_view::npos || columns_of(back.substr(0, blank)) > kPartOfWordMax) {
    return back;
  }
  return back.substr(blank);
}

}  // namespace

std::string middle_cut(std::string_view given, std::size_t width) {
  std::string line = one_line(given, std::string::npos);
  const std::size_t columns = columns_of(line);
  if (columns <= width) return line;
  if (width < kCutInTheMiddleMin) return one_line(line, width);
  // The end says more than what stands before it: of a reason what failed, of a path the file.
  const std::string_view back = back_of(line, bytes_of(line, columns - width / 2));
  const std::size_t front = width - 1 - columns_of(back);
  return fmt::format("{}…{}", front_of(line, bytes_of(line, front)), back);
}

namespace {

std::size_t longest_word(std::string_view text) {
  std::size_t longest = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    longest = std::max(longest, columns_of(text.substr(0, end)));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return longest;
}

}  // namespace

std::vector<std::string> wrapped(std::string_view text, std::size_t width, LongWords words) {
  std::vector<std::string> lines;
  std::string line;
  while (true) {
    const std::size_t end = std::min(text.find(' '), text.size());
    std::string_view word = text.substr(0, end);
    if (!line.empty() && columns_of(line) + 1 + columns_of(word) > width) {
      lines.push_back(std::exchange(line, {}));
    }
    while (words == LongWords::broken && width > 0 && columns_of(word) > width) {
      const std::size_t piece = bytes_of(word, width);
      lines.emplace_back(word.substr(0, piece));
      word.remove_prefix(piece);
    }
    if (!line.empty()) line += ' ';
    line += word;
    if (end == text.size()) break;
    text.remove_prefix(end + 1);
  }
  lines.push_back(std::move(line));
  return lines;
}

std::string indented(std::string_view text, std::size_t column, std::optional<std::size_t> width,
                     LongWords words) {
  if (!width || column + columns_of(text) <= *width) return std::string(text);
  const bool too_long = words == LongWords::whole && column + longest_word(text) > *width;
  const bool below = too_long || column + kRoomMin > *width;
  const std::size_t indent = below ? kIndentBelow : column;
  std::string out;
  for (const std::string& line : wrapped(text, *width - std::min(*width, indent), words)) {
    if (below || !out.empty()) out += "\n" + std::string(indent, ' ');
    out += line;
  }
  return out;
}

std::string shell_quote(std::string_view text) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string_view::npos) {
    return std::string(text);
  }
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out.push_back(c);
    }
  }
  return out + "'";
}

}  // namespace rq::cli
