#include "store/sqlite/log_heads.h"

#include <gtest/gtest.h>

#include <string>

namespace rq::store::sqlite {
namespace {

constexpr std::size_t kPageBytes = 512;
constexpr std::size_t kFrameBytes = kFrameHeadBytes + kPageBytes;

std::size_t frame_at(std::size_t frame) { return kLogHeadBytes + (frame - 1) * kFrameBytes; }

class LogHeadsTest : public ::testing::Test {
 protected:
  LogHeadsTest() { heads_.begin(kPageBytes); }
  void note(const std::string& bytes, std::size_t at) {
    heads_.note(bytes.data(), bytes.size(), at);
  }
  static std::string head_of(char frame) {
    return std::string(8, frame) + "the salt" +
           std::string(kSumBytes, static_cast<char>(frame + 1));
  }
  static std::string text(const auto& bytes) { return {bytes.data(), bytes.size()}; }

  LogHeads heads_;
};

TEST_F(LogHeadsTest, KnowsWhatWasWrittenLast) {
  note(std::string(kLogHeadSum, 'h') + "checksum", 0);
  note(head_of('a'), frame_at(1));
  note(head_of('c'), frame_at(2));
  note(head_of('e'), frame_at(2));
  const auto first = heads_.find(frame_at(1));
  const auto second = heads_.find(frame_at(2));
  ASSERT_TRUE(first && second);
  EXPECT_EQ(text(first->sum_before), "checksum");
  EXPECT_EQ(text(first->head).substr(0, 8), "aaaaaaaa");
  EXPECT_EQ(text(first->head).substr(kFrameSum), "bbbbbbbb");
  EXPECT_EQ(text(second->sum_before), "bbbbbbbb");
  EXPECT_EQ(text(second->head).substr(0, 8), "eeeeeeee");
}

TEST_F(LogHeadsTest, SaysNothingOfWhatWasWrittenBefore) {
  note(head_of('a'), frame_at(2));
  EXPECT_FALSE(heads_.find(frame_at(1)));
  EXPECT_FALSE(heads_.find(frame_at(2))) << "the sum before it is not known";
  EXPECT_FALSE(heads_.find(frame_at(3)));
}

TEST_F(LogHeadsTest, PassesOverWhatIsNoHead) {
  note(std::string(kLogHeadBytes, 'h'), 0);
  note(std::string(kFrameHeadBytes, 'x'), frame_at(1) + 1);
  note(std::string(kPageBytes, 'x'), frame_at(1));
  note(head_of('a'), frame_at(1'000'000));
  EXPECT_FALSE(heads_.find(frame_at(1)));
  EXPECT_FALSE(heads_.find(frame_at(1) + 1));
  EXPECT_FALSE(heads_.find(frame_at(1'000'000)));
  EXPECT_FALSE(heads_.find(0));
}

}  // namespace
}  // namespace rq::store::sqlite
