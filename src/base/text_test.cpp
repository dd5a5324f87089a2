#include "base/text.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <limits>
#include <string>

#include "base/names.h"
#include "base/number.h"
#include "base/percent.h"

namespace rq::base {
namespace {

TEST(Text, KnowsDigitsAndSmallLetters) {
  EXPECT_TRUE(all_digits("0123456789"));
  for (const char* text : {"", "1 ", "-1", "1a", "\xD9\xA1"})
    EXPECT_FALSE(all_digits(text)) << text;
  EXPECT_EQ(lower('A'), 'a');
  EXPECT_EQ(lower('Z'), 'z');
  for (const char c : {'a', '@', '[', '\xC4'}) EXPECT_EQ(lower(c), c);
}

TEST(Number, IsWholeOrNone) {
  EXPECT_EQ(whole_number<std::int64_t>("-9223372036854775808"), INT64_MIN);
  EXPECT_EQ(whole_number<std::uint16_t>("65535"), 65535);
  for (const char* text : {"", "-", "1 ", " 1", "+1", "1x", "65536", "-1"}) {
    EXPECT_EQ(whole_number<std::uint16_t>(text), std::nullopt) << text;
  }
}

TEST(Number, IsAppendedWhole) {
  std::string out = "x";
  append_number(out, INT64_MIN);
  append_number(out, UINT64_MAX);
  append_number(out, 0);
  EXPECT_EQ(out, "x-9223372036854775808184467440737095516150");
}

TEST(Percent, EveryByteThereAndBack) {
  for (int i = 0; i < 256; ++i) {
    std::string out;
    append_percent(out, static_cast<char>(i));
    EXPECT_EQ(percent_byte(out), static_cast<char>(i)) << out;
  }
  EXPECT_EQ(percent_byte("%2fx"), '/');
  for (const char* text : {"", "%", "%2", "%2g", "2F", "%%2F"}) {
    EXPECT_EQ(percent_byte(text), std::nullopt) << text;
  }
}

TEST(Names, GoBothWays) {
  enum class Fruit { apple, pear };
  constexpr std::array<std::string_view, 2> kFruits{"apple", "pear"};
  EXPECT_EQ(name_in(kFruits, Fruit::pear), "pear");
  EXPECT_EQ(value_of<Fruit>(kFruits, "pear"), Fruit::pear);
  EXPECT_EQ(value_of<Fruit>(kFruits, "plum"), std::nullopt);
}

}  // namespace
}  // namespace rq::base
