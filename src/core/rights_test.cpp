#include "core/rights.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>

namespace rq::core {
namespace {

Rights rights_of(std::initializer_list<std::string_view> grants) {
  Rights rights;
  for (const std::string_view text : grants) rights.add(*Grant::parse(text));
  return rights;
}

TEST(Rights, EachHasAName) {
  for (std::size_t i = 0; i < kRights; ++i) {
    const auto right = static_cast<Right>(i);
    EXPECT_EQ(right_of(name_of(right)), right);
  }
  EXPECT_EQ(right_of("root"), std::nullopt);
}

// pitfalls NA8: bytes are compared, the whole name or its beginning.
TEST(QueuePatterns, CoverWhatTheySayAndNothingElse) {
  const std::pair<std::string_view, std::string_view> covered[] = {
      {"mail", "mail"}, {"mail-*", "mail-"}, {"mail-*", "mail-a"}, {"*", "mail"}, {"m*", "m"}};
  for (const auto& [pattern, queue] : covered) {
    EXPECT_TRUE(QueuePattern::parse(pattern)->covers(queue)) << pattern << ' ' << queue;
  }
  const std::pair<std::string_view, std::string_view> others[] = {
      {"mail-*", "xmail-a"}, {"mail-*", "Mail-a"}, {"mail-*", "mail"},
      {"mail", "mail-a"},    {"mail", "mai"},      {"mail", ""}};
  for (const auto& [pattern, queue] : others) {
    EXPECT_FALSE(QueuePattern::parse(pattern)->covers(queue)) << pattern << ' ' << queue;
  }
  for (const std::string_view text : {"*mail", "m*l", "**", "", "mail/a", "-*", "a b"}) {
    const auto refused = QueuePattern::parse(text);
    ASSERT_FALSE(refused) << text;
    EXPECT_NE(refused.error().message.find("'" + std::string(text) + "'"), std::string::npos);
  }
}

TEST(Grants, AreReadAsTheyAreWritten) {
  for (const std::string_view text : {"read", "enqueue:mail-*", "define:a:b", "work:x"}) {
    EXPECT_EQ(Grant::parse(text)->text(), text);
  }
  EXPECT_EQ(Grant::parse("read:*")->text(), "read");
  for (const std::string_view text : {"", "reed", "read:", ":mail", "READ"}) {
    EXPECT_FALSE(Grant::parse(text)) << text;
  }
}

TEST(Rights, HoldForTheQueuesTheyName) {
  const Rights rights = rights_of({"read", "enqueue:mail-*", "enqueue:x"});
  EXPECT_TRUE(rights.has(Right::read, "any"));
  EXPECT_TRUE(rights.has_everywhere(Right::read));
  EXPECT_TRUE(rights.has(Right::enqueue, "mail-a"));
  EXPECT_TRUE(rights.has(Right::enqueue, "x"));
  EXPECT_FALSE(rights.has(Right::enqueue, "y"));
  EXPECT_TRUE(rights.has_somewhere(Right::enqueue));
  EXPECT_FALSE(rights.has_everywhere(Right::enqueue));
  EXPECT_FALSE(rights.has_somewhere(Right::work));
  EXPECT_TRUE(Rights().is_none());
  EXPECT_FALSE(Rights().has(Right::read, "any"));
}

TEST(Rights, KeepWhatNoOtherCovers) {
  EXPECT_EQ(rights_of({"read:a", "read:b*", "read:bc", "read:a"}).grants().size(), 2U);
  EXPECT_EQ(rights_of({"read:a", "read:b*", "read"}).grants().size(), 1U);
}

// pitfalls NA9: nobody gives more than they have.
TEST(Rights, TellWhatGoesBeyondThem) {
  const Rights own = rights_of({"read", "enqueue:mail-*"});
  EXPECT_EQ(own.beyond(rights_of({"read:x", "enqueue:mail-a", "enqueue:mail-b*"})), nullptr);
  EXPECT_EQ(own.beyond(Rights()), nullptr);
  for (const std::string_view text : {"work", "enqueue", "enqueue:mai*", "enqueue:x", "admin"}) {
    const Rights asked = rights_of({text});
    ASSERT_NE(own.beyond(asked), nullptr) << text;
    EXPECT_EQ(own.beyond(asked)->text(), text);
  }
  EXPECT_EQ(Rights::all().beyond(own), nullptr);
}

}  // namespace
}  // namespace rq::core
