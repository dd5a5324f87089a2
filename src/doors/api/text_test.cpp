#include "doors/api/text.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include <boost/json/parse.hpp>

#include "doors/api/items.h"
#include "doors/api/log_file.h"

namespace rq::doors::api {
namespace {

std::string json_of(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

TEST(JsonString, EscapesWhatMustBe) {
  EXPECT_EQ(json_of("a\"b\\c\n\r\t\x01\x7F"), R"("a\"b\\c\n\r\t\u0001\u007f")");
  EXPECT_EQ(json_of("häß€😀"), "\"häß€😀\"");
}

TEST(JsonString, WhatIsNoUtf8IsReplaced) {
  EXPECT_EQ(json_of("a\xFFz"), "\"a\xEF\xBF\xBDz\"");
  EXPECT_EQ(json_of("\xC3"), "\"\xEF\xBF\xBD\"");
  EXPECT_EQ(json_of("\xED\xA0\x80"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
}

TEST(JsonString, AnyBytesMakeValidJson) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) {
    bytes += static_cast<char>(i);
    bytes += static_cast<char>(255 - i);
  }
  boost::system::error_code error;
  boost::json::parse(json_of(bytes), error);
  EXPECT_FALSE(error) << error.message();
}

TEST(Utf8, OnlyWholeAndShortestSequences) {
  EXPECT_TRUE(is_utf8("häß€😀"));
  for (const char* text : {"\x80", "\xC0\x80", "\xC3", "\xE0\x80\x80", "\xED\xA0\x80",
                           "\xF5\x80\x80\x80", "\xF0\x80\x80\x80", "\xF4\x90\x80\x80", "\xFF"}) {
    EXPECT_FALSE(is_utf8(text));
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

TEST(Query, DecodesAndRefusesByName) {
  auto query = Query::parse("a=1%202+3&b&c=%C3%A4");
  ASSERT_TRUE(query);
  EXPECT_EQ(*query->find("a"), "1 2 3");
  EXPECT_EQ(*query->find("c"), "ä");
  const auto left = query->finish();
  ASSERT_FALSE(left);
  EXPECT_EQ(left.error().message, "unknown query parameter 'b'");
  EXPECT_EQ(left.error().remedy, "the parameters are: a c");
}

TEST(Query, BrokenEscapesAreRefused) {
  for (const char* text : {"a=%", "a=%4", "a=%zz", "%=1", "a=%ff"}) {
    EXPECT_FALSE(Query::parse(text)) << text;
  }
}

std::vector<std::string> split(std::optional<ItemSplitter::Form> form, std::string_view text,
                               std::size_t piece) {
  ItemSplitter splitter(form);
  std::vector<std::string> out;
  const auto take = [&out](std::string_view item) {
    out.emplace_back(item);
    return true;
  };
  for (std::size_t at = 0; at < text.size(); at += piece)
    splitter.feed(text.substr(at, piece), take);
  const auto end = splitter.finish(take);
  if (splitter.error() || !end) out.emplace_back("error");
  return out;
}

TEST(ItemSplitter, AListGivesTheSameItemsInAnyPieces) {
  constexpr std::string_view kText = R"( [{"a":"],[\"{"}, 5 ,["x",[{}]], "," ] )";
  const std::vector<std::string> wanted{R"({"a":"],[\"{"})", " 5 ", R"(["x",[{}]])", R"( "," )"};
  for (std::size_t piece = 1; piece <= kText.size(); ++piece) {
    EXPECT_EQ(split(std::nullopt, kText, piece), wanted) << piece;
  }
}

TEST(ItemSplitter, LinesGiveTheSameItemsInAnyPieces) {
  constexpr std::string_view kText = "a\n\n  \nbc\r\nlast";
  const std::vector<std::string> wanted{"a", "bc\r", "last"};
  for (std::size_t piece = 1; piece <= kText.size(); ++piece) {
    EXPECT_EQ(split(ItemSplitter::Form::lines, kText, piece), wanted) << piece;
  }
}

TEST(ItemSplitter, BrokenListsAreErrors) {
  for (const char* text : {"[", "[1", "[1,]", "[,1]", "[1,,2]", "[1]]", "[1] x", "[\"]"}) {
    EXPECT_EQ(split(ItemSplitter::Form::list, text, 1).back(), "error") << text;
  }
  EXPECT_TRUE(split(ItemSplitter::Form::list, "[]", 1).empty());
  EXPECT_TRUE(split(ItemSplitter::Form::list, "[ ]", 1).empty());
}

TEST(LogFile, FollowsNoLinkOutOfItsFolder) {
  namespace fs = std::filesystem;
  const fs::path dir = fs::path{testing::TempDir()} / "log_file_test";
  fs::remove_all(dir);
  fs::create_directories(dir / "queue/a/1/job");
  fs::create_directories(dir / "queue/a/2");
  std::ofstream{dir / "secret"} << "secret";
  std::ofstream{dir / "queue/a/1/job/stdio.log"} << "one\ntwo\nthree\n";
  fs::create_directory_symlink(dir / "queue/a/1/job", dir / "queue/a/2/job");
  const LogFile good(dir, "queue/a/1");
  EXPECT_EQ(good.size(), 14);
  EXPECT_EQ(*good.read(4, 3), "two");
  EXPECT_EQ(*good.tail_offset(2), 4);
  EXPECT_EQ(*good.tail_offset(9), 0);
  EXPECT_EQ(*good.tail_offset(0), 14);
  EXPECT_EQ(LogFile(dir, "queue/a/2").size(), 0);
  EXPECT_EQ(LogFile(dir, "queue/a/1/../1").size(), 0);
  EXPECT_EQ(LogFile(dir, "queue/a/3").size(), 0);
  EXPECT_EQ(LogFile(dir, "").size(), 0);
  fs::remove(dir / "queue/a/1/job/stdio.log");
  fs::create_symlink(dir / "secret", dir / "queue/a/1/job/stdio.log");
  EXPECT_EQ(LogFile(dir, "queue/a/1").size(), 0);
  fs::remove_all(dir);
}

TEST(Range, ReadsTheThreeForms) {
  const auto check = [](std::string_view text, std::int64_t first, std::int64_t last) {
    const auto range = parse_range(text, 100);
    ASSERT_TRUE(range) << text;
    EXPECT_EQ(range->first, first) << text;
    EXPECT_EQ(range->last, last) << text;
  };
  check("bytes=0-9", 0, 9);
  check("bytes=90-", 90, 99);
  check("bytes=-10", 90, 99);
  check("bytes=-1000", 0, 99);
  check("bytes=50-1000", 50, 99);
  for (const char* text : {"bytes=100-", "bytes=-0", "bytes=5-4", "bytes=", "bytes=-", "bytes=a-b",
                           "lines=1-2", "bytes=1-2,4-5", ""}) {
    EXPECT_FALSE(parse_range(text, 100)) << text;
  }
  EXPECT_FALSE(parse_range("bytes=0-0", 0));
}

}  // namespace
}  // namespace rq::doors::api
