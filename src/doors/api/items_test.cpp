#include "doors/api/items.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace rq::doors::api {
namespace {

std::vector<std::string> split(std::optional<ItemSplitter::Form> form, std::string_view text,
                               std::size_t piece) {
  ItemSplitter splitter(form);
  std::vector<std::string> out;
  std::string item;
  const auto part = [&item](std::string_view more) {
    item += more;
    return true;
  };
  const auto end = [&] {
    out.push_back(std::exchange(item, {}));
    return true;
  };
  for (std::size_t at = 0; at < text.size(); at += piece) {
    splitter.feed(text.substr(at, piece), part, end);
  }
  const auto ended = splitter.finish(end);
  if (splitter.error() || !ended) out.emplace_back("error");
  return out;
}

TEST(ItemSplitter, AListGivesTheSameItemsInAnyPieces) {
  constexpr std::string_view kText = R"( [{"a":"],[\"{"}, 5 ,["x",[{}]], "," ] )";
  const std::vector<std::string> wanted{R"({"a":"],[\"{"})", "5 ", R"(["x",[{}]])", R"("," )"};
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

TEST(ItemSplitter, AByteOrderMarkIsLetPass) {  // faults.md C19
  for (std::size_t piece = 1; piece < 9; ++piece) {
    EXPECT_EQ(split(std::nullopt, "\xEF\xBB\xBF[1,2]", piece),
              (std::vector<std::string>{"1", "2"}));
    EXPECT_EQ(split(ItemSplitter::Form::lines, "\xEF\xBB\n2", piece),
              (std::vector<std::string>{"\xEF\xBB", "2"}))
        << "half of one is a part of the text";
  }
}

}  // namespace
}  // namespace rq::doors::api
