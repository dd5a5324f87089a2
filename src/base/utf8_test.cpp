#include "base/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace rq::base {
namespace {

TEST(Utf8, OnlyWholeAndShortestSequences) {
  EXPECT_TRUE(is_utf8("häß€😀"));
  for (const char* text : {"\x80", "\xC0\x80", "\xC3", "\xE0\x80\x80", "\xED\xA0\x80",
                           "\xF5\x80\x80\x80", "\xF0\x80\x80\x80", "\xF4\x90\x80\x80", "\xFF"}) {
    EXPECT_FALSE(is_utf8(text));
  }
}

TEST(Utf8, ABadByteIsSeenWhereverItStands) {
  for (std::size_t before = 0; before < 20; ++before) {
    for (std::size_t after = 0; after < 20; ++after) {
      EXPECT_FALSE(is_utf8(std::string(before, 'a') + '\xFF' + std::string(after, 'z')));
      EXPECT_TRUE(is_utf8(std::string(before, 'a') + "ß" + std::string(after, 'z')));
    }
  }
}

TEST(Utf8, TheUnfinishedEndIsCounted) {
  EXPECT_EQ(unfinished_utf8("a"), 0U);
  EXPECT_EQ(unfinished_utf8("aä"), 0U);
  EXPECT_EQ(unfinished_utf8("a\xC3"), 1U);
  EXPECT_EQ(unfinished_utf8("a\xE2\x82"), 2U);
  EXPECT_EQ(unfinished_utf8("a\xF0\x9F\x98"), 3U);
  EXPECT_EQ(unfinished_utf8("a😀"), 0U);
}

TEST(Utf8, ATextIsCutBetweenItsCharacters) {
  EXPECT_EQ(cut_utf8("aä€😀", 100), "aä€😀");
  EXPECT_EQ(cut_utf8("aä€😀", 10), "aä€😀");
  for (std::size_t bytes = 6; bytes < 10; ++bytes) EXPECT_EQ(cut_utf8("aä€😀", bytes), "aä€");
  EXPECT_EQ(cut_utf8("aä€", 2), "a");
  EXPECT_EQ(cut_utf8("a", 0), "");
  EXPECT_TRUE(is_utf8(shown(std::string(kShownBytesMax - 1, 'x') + "ä")));
}

}  // namespace
}  // namespace rq::base
