#include "http/query.h"

#include <gtest/gtest.h>

#include "http/percent.h"

namespace rq::http {
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

TEST(Percent, DecodesBytesAndLeavesAPlusToTheQuery) {
  EXPECT_EQ(*percent_decode("a%2Fb+c%20%c3%A4", Plus::is_plus), "a/b+c ä");
  EXPECT_EQ(*percent_decode("a+b%2b", Plus::is_space), "a b+");
  EXPECT_FALSE(percent_decode("%ed%a0%80", Plus::is_plus)) << "a surrogate";
}

}  // namespace
}  // namespace rq::http
