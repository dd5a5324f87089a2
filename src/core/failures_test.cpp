#include "core/failures.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace rq::core {
namespace {

// A page of messages in err, with these reasons; the numbers go down.
class FailuresTest : public testing::Test {
 protected:
  bool add(const std::vector<std::string>& reasons, bool more = false) {
    Listed page;
    for (const std::string& reason : reasons) {
      MessageRow row;
      row.message.seq = seq_--;
      row.message.detail().progress = reason;
      row.queue = "q";
      page.rows.push_back(std::move(row));
    }
    if (more) page.cursor = seq_;
    return failures_.add(page);
  }
  [[nodiscard]] static std::string id(Seq seq) { return format_id(seq, Instant{}); }

  // A kind of its own: the digits of `n` as letters.
  [[nodiscard]] static std::string reason_of_kind(std::size_t n) {
    std::string text = "reason ";
    for (const char digit : fmt::format("{}", n)) text += static_cast<char>('g' + (digit - '0'));
    return text;
  }

  Failures failures_;
  Seq seq_ = 1'000'000;
};

// faults.md B15, relative
TEST_F(FailuresTest, AreCountedByKindTheMostFrequentFirst) {
  EXPECT_FALSE(add({"exit 4: gone", "exit 3: no row 9", "exit 3: no row 17"}));
  const auto kinds = failures_.kinds();
  ASSERT_EQ(kinds.size(), 2U);
  EXPECT_EQ(kinds[0].count, 2);
  EXPECT_EQ(kinds[0].text, "exit 3: no row 9") << "the reason of the newest";
  EXPECT_EQ(kinds[0].fingerprint, "exit 3: no row #");
  EXPECT_EQ(kinds[0].queue, "q");
  EXPECT_EQ(kinds[0].newest, id(999'999));
  EXPECT_EQ(kinds[0].oldest, id(999'998));
  EXPECT_EQ(kinds[1].count, 1);
  EXPECT_EQ(kinds[1].newest, kinds[1].oldest);
  EXPECT_EQ(failures_.looked_at(), 3);
  EXPECT_EQ(failures_.others(), 0);
  EXPECT_FALSE(failures_.is_cut());
}

TEST_F(FailuresTest, PagesAreWantedUpToABound) {
  for (std::size_t i = 1; i < kFailurePagesMax; ++i) ASSERT_TRUE(add({"exit 1"}, true)) << i;
  EXPECT_FALSE(failures_.is_cut());
  EXPECT_FALSE(add({"exit 1"}, true));
  EXPECT_TRUE(failures_.is_cut());
  EXPECT_EQ(failures_.kinds().at(0).count, static_cast<std::int64_t>(kFailurePagesMax));
}

TEST_F(FailuresTest, TheLastPageOfAllIsNotCut) {
  for (std::size_t i = 1; i < kFailurePagesMax; ++i) ASSERT_TRUE(add({"exit 1"}, true)) << i;
  EXPECT_FALSE(add({"exit 1"}));
  EXPECT_FALSE(failures_.is_cut());
}

TEST_F(FailuresTest, OfMoreKindsThanAreKeptApartTheMessagesAreCounted) {
  std::vector<std::string> reasons;
  for (std::size_t i = 0; i < kFailureKindsMax + 5; ++i) reasons.push_back(reason_of_kind(i));
  reasons.push_back(reason_of_kind(0));  // of a kind that is kept
  EXPECT_FALSE(add(reasons));
  EXPECT_EQ(failures_.kinds().size(), kFailureKindsMax);
  EXPECT_EQ(failures_.kinds()[0].count, 2);
  EXPECT_EQ(failures_.others(), 5);
  EXPECT_EQ(failures_.looked_at(), static_cast<std::int64_t>(kFailureKindsMax) + 6);
}

TEST_F(FailuresTest, ALongReasonIsCut) {
  EXPECT_FALSE(add({std::string(2 * kFailureTextBytesMax, 'x')}));
  EXPECT_EQ(failures_.kinds().at(0).text.size(), kFailureTextBytesMax);
}

}  // namespace
}  // namespace rq::core
