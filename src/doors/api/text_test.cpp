#include "doors/api/text.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "doors/api/items.h"
#include "doors/api/log_file.h"

namespace rq::doors::api {
namespace {

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
