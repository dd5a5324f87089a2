#include "cli/text.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/iso8601.h"

namespace rq::cli {
namespace {

using base::Instant;
using base::Millis;

std::int64_t ms(std::string_view text) {
  const auto parsed = parse_duration(text);
  return parsed ? parsed->count() : -1;
}

TEST(Duration, TakesAllUnitsAndBareSeconds) {
  EXPECT_EQ(ms("500ms"), 500);
  EXPECT_EQ(ms("10s"), 10'000);
  EXPECT_EQ(ms("5m"), 300'000);
  EXPECT_EQ(ms("5min"), 300'000);
  EXPECT_EQ(ms("2h"), 7'200'000);
  EXPECT_EQ(ms("7d"), 604'800'000);
  EXPECT_EQ(ms("1w"), 604'800'000);
  EXPECT_EQ(ms("1h30m"), 5'400'000);
  EXPECT_EQ(ms("1.5"), 1'500);
  EXPECT_EQ(ms("0"), 0);
  EXPECT_EQ(ms("0s"), 0);
}

TEST(Duration, RefusesWhatIsNoneAndNamesIt) {
  for (const char* text : {"", "s", "0.4ms", "0.0004", "10x", "-5s", "1h30", "10 s", "inf", "nan",
                           "1e9d", "99999999999999999999d"}) {
    const auto parsed = parse_duration(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, base::Code::bad_value);
    EXPECT_NE(parsed.error().message.find(text), std::string::npos);
    EXPECT_FALSE(parsed.error().remedy.empty());
  }
}

// 2026-11-21T10:00:00Z
const Instant kNow = base::from_ms(1'795'255'200'000);

std::string time(std::string_view text) {
  const auto parsed = parse_time(text, kNow);
  return parsed ? base::to_iso8601(*parsed) : "refused";
}

TEST(Time, TakesTheFormsOfThePage) {
  EXPECT_EQ(time("2026-11-21T08:30:00Z"), "2026-11-21T08:30:00.000Z");
  EXPECT_EQ(time("2026-11-21 08:30"), "2026-11-21T08:30:00.000Z");
  EXPECT_EQ(time("2026-11-21T08:30:00.250Z"), "2026-11-21T08:30:00.250Z");
  EXPECT_EQ(time("2026-11-21T08:30+02:00"), "2026-11-21T06:30:00.000Z");
  EXPECT_EQ(time("2026-11-21T08:30-0530"), "2026-11-21T14:00:00.000Z");
  EXPECT_EQ(time("2026-11-21"), "2026-11-21T00:00:00.000Z");
  EXPECT_EQ(time("@1795224188"), "2026-11-21T01:23:08.000Z");
  EXPECT_EQ(time("1795224188.5"), "2026-11-21T01:23:08.500Z");
  EXPECT_EQ(time("+10m"), "2026-11-21T10:10:00.000Z");
}

TEST(Time, AClockAloneIsTheNextOne) {
  EXPECT_EQ(time("10:30"), "2026-11-21T10:30:00.000Z");
  EXPECT_EQ(time("09:00"), "2026-11-22T09:00:00.000Z");
  EXPECT_EQ(time("10:00"), "2026-11-22T10:00:00.000Z");
  EXPECT_EQ(time("00:30+02:00"), "2026-11-21T22:30:00.000Z");
}

// Found by a stranger: `--before 20:40` at 20:46 matched everything.
TEST(Time, AClockAloneOfWhatIsThereIsTheLastOne) {
  const auto last = [](std::string_view text) {
    return base::to_iso8601(*parse_time(text, kNow, Clock::last));
  };
  EXPECT_EQ(last("09:00"), "2026-11-21T09:00:00.000Z");
  EXPECT_EQ(last("10:00"), "2026-11-21T10:00:00.000Z");
  EXPECT_EQ(last("10:30"), "2026-11-20T10:30:00.000Z");
  EXPECT_EQ(last("00:30+02:00"), "2026-11-20T22:30:00.000Z");
}

TEST(Integer, IsWholeAndWithinItsBound) {
  EXPECT_EQ(*parse_integer("-3"), -3);
  EXPECT_EQ(*parse_positive("1"), 1);
  EXPECT_EQ(*parse_natural("0"), 0);
  for (const char* text : {"", "abc", "1.5", "1 ", "+1", "99999999999999999999"}) {
    const auto parsed = parse_integer(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().message, fmt::format("'{}' is not a whole number", text));
  }
  EXPECT_FALSE(parse_positive("0"));
  EXPECT_FALSE(parse_natural("-1"));
}

TEST(Time, RefusesWhatIsNone) {
  for (const char* text : {"", "tomorrow", "2026-13-01", "2026-02-30", "25:00", "2026-11-21T08",
                           "2026-11-21T08:30:00X", "@", "+", "+x", "10:3", "-5"}) {
    EXPECT_EQ(time(text), "refused") << text;
  }
}

TEST(Size, TakesPowersOf1024) {
  EXPECT_EQ(*parse_size("4096"), 4096);
  EXPECT_EQ(*parse_size("64K"), 65'536);
  EXPECT_EQ(*parse_size("64KiB"), 65'536);
  EXPECT_EQ(*parse_size("300M"), 314'572'800);
  EXPECT_EQ(*parse_size("1.5G"), 1'610'612'736);
  for (const char* text : {"", "M", "12X", "12MM", "-1", "1 M"}) EXPECT_FALSE(parse_size(text));
}

TEST(Shown, LengthsSizesCounts) {
  EXPECT_EQ(show_duration(0.0123), "12 ms");
  EXPECT_EQ(show_duration(3.24), "3.2 s");
  EXPECT_EQ(show_duration(75), "75 s");
  EXPECT_EQ(show_duration(240), "4 min");
  EXPECT_EQ(show_duration(7200), "2 h");
  EXPECT_EQ(show_duration(-7200), "-2 h");
  EXPECT_EQ(show_duration(7 * 86400), "7 d");
  EXPECT_EQ(show_size(512), "512 B");
  EXPECT_EQ(show_size(312.0 * 1024 * 1024), "312 MiB");
  EXPECT_EQ(show_count(12), "12");
  EXPECT_EQ(show_count(1234567), "1 234 567");
  EXPECT_EQ(show_count(-1234), "-1 234");
  EXPECT_EQ(show_messages(1), "1 message");
  EXPECT_EQ(show_messages(1234), "1 234 messages");
}

TEST(OneLine, CutsAtColumnsNotInsideOfCharacters) {
  EXPECT_EQ(one_line("hello\nworld\n", 80), "hello world");
  EXPECT_EQ(one_line("hello", 5), "hello");
  EXPECT_EQ(one_line("hello!", 5), "hell…");
  EXPECT_EQ(one_line("äöüäö", 5), "äöüäö");
  EXPECT_EQ(one_line("äöüäöü", 5), "äöüä…");
  EXPECT_EQ(one_line("a\x1b[31mb", 80), "a [31mb");
}

// faults.md C23
TEST(OneLine, ShowsByItsCodeWhatCouldChangeTheDisplay) {
  EXPECT_EQ(one_line("a\u202Etxt.exe", 80), "a\\u{202e}txt.exe");
  EXPECT_EQ(one_line("a\xC2\x9B"
                     "2Jb",
                     80),
            "a\\u{9b}2Jb");
  EXPECT_EQ(one_line("a\x9B"
                     "b\xC3",
                     80),
            "a\\x9bb\\xc3");
  EXPECT_EQ(one_line("\u2066x\u2069\u200F\u061C\u2028", 80),
            "\\u{2066}x\\u{2069}\\u{200f}\\u{61c}\\u{2028}");
  EXPECT_EQ(one_line("grün 日本 🎉 \u00A0", 80), "grün 日本 🎉 \u00A0");
}

TEST(Shown, KeepsLinesAndShowsOtherControlsByTheirCode) {
  EXPECT_EQ(shown_text("a\n\tb\x1b[2J\x9d"), "a\n\tb\\u{1b}[2J\\x9d");
}

TEST(FirstCharacter, TellsBrokenFromCut) {
  EXPECT_EQ(first_character("\xE2\x82\xAC").point, U'\u20AC');
  EXPECT_FALSE(first_character("\xE2\x82").whole);
  for (const char* text : {"\x80", "\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80", "\xF5\x80\x80\x80",
                           "\xF4\x90\x80\x80", "\xE2(\xA1", "\xFF"}) {
    EXPECT_FALSE(first_character(text).valid) << shown_text(text);
    EXPECT_EQ(first_character(text).bytes, 1U);
  }
}

TEST(ShellQuote, ReadsBackAsOneWord) {
  EXPECT_EQ(shell_quote("plain-1.txt"), "plain-1.txt");
  EXPECT_EQ(shell_quote(""), "''");
  EXPECT_EQ(shell_quote("two words"), "'two words'");
  EXPECT_EQ(shell_quote("it's"), "'it'\\''s'");
}

TEST(Text, IsWrappedBetweenWords) {
  using Lines = std::vector<std::string>;
  EXPECT_EQ(wrapped("", 10), Lines{""});
  EXPECT_EQ(wrapped("one two", 7), Lines{"one two"});
  EXPECT_EQ(wrapped("one two three", 8), (Lines{"one two", "three"}));
  EXPECT_EQ(wrapped("a /long/path/that/stays b", 6), (Lines{"a", "/long/path/that/stays", "b"}));
  EXPECT_EQ(wrapped("gr\u00fcn ja", 7), Lines{"gr\u00fcn ja"}) << "columns, not bytes";
  EXPECT_EQ(wrapped("a gr\u00fcngelb b", 4, LongWords::broken),
            (Lines{"a", "gr\u00fcn", "gelb", "b"}));
}

}  // namespace
}  // namespace rq::cli
