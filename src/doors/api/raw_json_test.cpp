#include "doors/api/raw_json.h"

#include <gtest/gtest.h>

#include "doors/api/json_in.h"

namespace rq::doors::api {
namespace {

using Parts = std::vector<std::string_view>;

TEST(RawJson, GivesAMemberAsItStandsThere) {
  const std::string_view text =
      R"( {"a" : [1e400, 19.90, {"b":"},\"]"}] ,"b":"x","c":-0.0 , "a\u0062" :{ } } )";
  EXPECT_EQ(raw_member(text, "a"), R"([1e400, 19.90, {"b":"},\"]"}])");
  EXPECT_EQ(raw_member(text, "b"), R"("x")");
  EXPECT_EQ(raw_member(text, "c"), "-0.0");
  EXPECT_EQ(raw_member(text, "ab"), "{ }");
  EXPECT_EQ(raw_member(text, "d"), std::nullopt);
  EXPECT_EQ(raw_member("{}", "a"), std::nullopt);
}

TEST(RawJson, TakesTheLastOfTwoAsTheParserDoes) {
  EXPECT_EQ(raw_member(R"({"a":1,"a":2})", "a"), "2");
  EXPECT_EQ(raw_member("\xEF\xBB\xBF{\"a\":1}", "a"), "1");
}

TEST(RawJson, GivesTheElementsOfAList) {
  EXPECT_EQ(raw_elements(R"([ {"a":[1,2]} , 3 ,"x,y"])"),
            (Parts{R"({"a":[1,2]})", "3", R"("x,y")"}));
  EXPECT_EQ(raw_elements("[ ]"), Parts{});
}

}  // namespace
}  // namespace rq::doors::api
