#include "access/secret.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace rq::access {
namespace {

TEST(TokenText, IsReadAsItWasMade) {
  const NewToken made = make_token();
  const auto read = parse_token_text(made.text);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->id, made.id);
  EXPECT_TRUE(same_hash(hash_of(read->secret), made.hash));
  EXPECT_EQ(made.text.find(std::string(made.hash.begin(), made.hash.end())), std::string::npos);
}

TEST(TokenText, EachIsAnother) {
  std::set<std::string> ids;
  std::set<std::string> texts;
  for (int i = 0; i < 1000; ++i) {
    const NewToken made = make_token();
    ids.insert(made.id);
    texts.insert(made.text);
  }
  EXPECT_EQ(ids.size(), 1000U);
  EXPECT_EQ(texts.size(), 1000U);
  const NewToken first = make_token();
  const NewToken second = make_secret_for(first.id);
  EXPECT_EQ(second.id, first.id);
  EXPECT_FALSE(same_hash(first.hash, second.hash));
}

TEST(TokenText, OfAnotherFormIsNone) {
  const std::string good = make_token().text;
  EXPECT_FALSE(parse_token_text(""));
  EXPECT_FALSE(parse_token_text(good + "a"));
  EXPECT_FALSE(parse_token_text(good.substr(0, good.size() - 1)));
  EXPECT_FALSE(parse_token_text("RQ" + good.substr(2)));
  for (const std::size_t at : {std::size_t{5}, kTokenPrefix.size() + kIdBytes, good.size() - 1}) {
    for (const char c : {'\0', ' ', '/', '\n'}) {
      std::string bad = good;
      bad[at] = c;
      EXPECT_FALSE(parse_token_text(bad)) << at;
    }
  }
}

}  // namespace
}  // namespace rq::access
