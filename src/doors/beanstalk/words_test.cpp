#include "doors/beanstalk/words.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

namespace rq::doors::beanstalk {
namespace {

// All error replies that doc/protocol.txt of beanstalkd knows, and that fit any command.
constexpr std::array<std::string_view, 8> kProtocolWords{
    "OUT_OF_MEMORY", "INTERNAL_ERROR", "BAD_FORMAT", "UNKNOWN_COMMAND",
    "JOB_TOO_BIG",   "DRAINING",       "NOT_FOUND",  "TIMED_OUT"};

TEST(Words, EveryCodeHasAWordOfTheProtocol) {
  for (const base::CodeRow& row : base::code_table()) {
    const std::string_view word = word_of(row.code);
    EXPECT_NE(std::find(kProtocolWords.begin(), kProtocolWords.end(), word), kProtocolWords.end())
        << row.name << " is " << word;
    // What is not the client's fault must not read as if it were.
    if (row.kind == base::Kind::fault) {
      EXPECT_TRUE(word == "INTERNAL_ERROR" || word == "OUT_OF_MEMORY") << row.name;
    }
  }
}

TEST(Words, OfTheOnesThatClientsActOn) {
  EXPECT_EQ(word_of(base::Code::not_found), "NOT_FOUND");
  EXPECT_EQ(word_of(base::Code::lease_lost), "NOT_FOUND");
  EXPECT_EQ(word_of(base::Code::too_large), "JOB_TOO_BIG");
  EXPECT_EQ(word_of(base::Code::draining), "DRAINING");
  EXPECT_EQ(word_of(base::Code::forbidden), "DRAINING");
  EXPECT_EQ(word_of(base::Code::busy), "OUT_OF_MEMORY");
  EXPECT_EQ(word_of(base::Code::disk_full), "OUT_OF_MEMORY");
}

}  // namespace
}  // namespace rq::doors::beanstalk
