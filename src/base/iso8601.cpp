#include "base/iso8601.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>

#include "base/number.h"

namespace rq::base {
namespace {

// Reads exactly `count` digits at `at`.
bool digits(std::string_view text, std::size_t& at, std::size_t count, int& out) {
  if (text.size() < at + count) return false;
  out = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const char c = text[at + i];
    if (c < '0' || c > '9') return false;
    out = out * 10 + (c - '0');
  }
  at += count;
  return true;
}

bool literal(std::string_view text, std::size_t& at, char c) {
  if (at >= text.size() || text[at] != c) return false;
  ++at;
  return true;
}

// ".865" and the like; more than three digits are cut.
bool fraction(std::string_view text, std::size_t& at, int& ms) {
  ms = 0;
  if (at >= text.size() || text[at] != '.') return true;
  ++at;
  int scale = 100;
  std::size_t count = 0;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, ++count) {
    ms += (text[at] - '0') * scale;
    scale /= 10;
  }
  return count > 0;
}

bool zone(std::string_view text, std::size_t& at, std::chrono::minutes& offset) {
  if (literal(text, at, 'Z') || literal(text, at, 'z')) return true;
  const bool minus = at < text.size() && text[at] == '-';
  if (!minus && !(at < text.size() && text[at] == '+')) return false;
  ++at;
  int hours = 0;
  int minutes = 0;
  if (!digits(text, at, 2, hours) || !literal(text, at, ':') || !digits(text, at, 2, minutes)) {
    return false;
  }
  if (hours > 23 || minutes > 59) return false;
  offset = std::chrono::hours{hours} + std::chrono::minutes{minutes};
  if (minus) offset = -offset;
  return true;
}

}  // namespace

std::string to_iso8601(Instant t) {
  const auto day = std::chrono::floor<std::chrono::days>(t);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss clock{t - day};
  const int year = static_cast<int>(date.year());
  std::array<char, 32> text{};
  char* at = write_digits(text.data(), std::clamp(year, 0, 9999), 4);
  const auto append = [&at](char before, std::int64_t number, int width) {
    *at++ = before;
    at = write_digits(at, number, width);
  };
  append('-', static_cast<unsigned>(date.month()), 2);
  append('-', static_cast<unsigned>(date.day()), 2);
  append('T', clock.hours().count(), 2);
  append(':', clock.minutes().count(), 2);
  append(':', clock.seconds().count(), 2);
  append('.', clock.subseconds().count(), 3);
  *at++ = 'Z';
  std::string out(text.data(), at);
  if (year < 0 || year > 9999) out.replace(0, 4, fmt::format("{:04}", year));
  return out;
}

std::optional<Instant> parse_iso8601(std::string_view text) {
  namespace chrono = std::chrono;
  std::size_t at = 0;
  int year = 0;
  int month = 0;
  int day = 0;
  int hour = 0;
  int minute = 0;
  int second = 0;
  int ms = 0;
  chrono::minutes offset{0};
  if (!digits(text, at, 4, year) || !literal(text, at, '-') || !digits(text, at, 2, month) ||
      !literal(text, at, '-') || !digits(text, at, 2, day)) {
    return std::nullopt;
  }
  if (!literal(text, at, 'T') && !literal(text, at, ' ')) return std::nullopt;
  if (!digits(text, at, 2, hour) || !literal(text, at, ':') || !digits(text, at, 2, minute) ||
      !literal(text, at, ':') || !digits(text, at, 2, second) || !fraction(text, at, ms) ||
      !zone(text, at, offset) || at != text.size()) {
    return std::nullopt;
  }
  const chrono::year_month_day date{chrono::year{year}, chrono::month{static_cast<unsigned>(month)},
                                    chrono::day{static_cast<unsigned>(day)}};
  if (!date.ok() || year < 1970 || hour > 23 || minute > 59 || second > 59) return std::nullopt;
  return Instant{chrono::sys_days{date}} + chrono::hours{hour} + chrono::minutes{minute} +
         chrono::seconds{second} + Millis{ms} - offset;
}

}  // namespace rq::base
