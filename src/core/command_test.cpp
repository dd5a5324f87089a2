#include "core/command.h"

#include <gtest/gtest.h>

#include <utility>

#include "base/limits.h"

namespace rq::core {
namespace {

TEST(MessagesOf, ACommandAboutManyCountsEach) {
  PutMany puts;
  puts.puts.resize(3);
  EXPECT_EQ(messages_of(std::move(puts)), 3U);
  Finish finish;
  finish.items.resize(4);
  EXPECT_EQ(messages_of(std::move(finish)), 4U);
  Heartbeat heartbeat;
  heartbeat.items.resize(5);
  EXPECT_EQ(messages_of(std::move(heartbeat)), 5U);
  Act act;
  act.messages.resize(6);
  EXPECT_EQ(messages_of(std::move(act)), 6U);
  Reserve reserve;
  reserve.limit = 7;
  EXPECT_EQ(messages_of(std::move(reserve)), 7U);
  RunEarly early;
  early.bound = 8;
  EXPECT_EQ(messages_of(std::move(early)), 8U);
}

TEST(MessagesOf, AnyOtherCommandCountsOne) {
  EXPECT_EQ(messages_of(Put{}), 1U);
  EXPECT_EQ(messages_of(PutMany{}), 1U);
  EXPECT_EQ(messages_of(Peek{}), 1U);
  EXPECT_EQ(messages_of(Disconnect{}), 1U);
  Reserve only;
  only.limit = 0;
  EXPECT_EQ(messages_of(std::move(only)), 1U);
}

TEST(MessagesOf, AQueueMayTakeAllOfItsMessagesAlong) {
  EXPECT_EQ(messages_of(DeleteQueue{}),
            static_cast<std::size_t>(static_cast<std::size_t>(kStepMax)));
}

}  // namespace
}  // namespace rq::core
