#include "base/mailbox.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <numeric>
#include <thread>

namespace rq::base {
namespace {

using Clock = std::chrono::steady_clock;
using Until = std::optional<Clock::time_point>;

constexpr Until kNow{Clock::time_point{}};  // long past: do not wait
constexpr Until kForever{};

TEST(Mailbox, GivesInTheOrderOfPosting) {
  Mailbox<int> box{10};
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(box.post(int{i}));
  std::vector<int> out;
  EXPECT_TRUE(box.drain_until(out, kNow));
  EXPECT_EQ(out, (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(box.size(), 0U);
}

TEST(Mailbox, RefusesWhenFullAndLeavesTheItemAlone) {
  Mailbox<std::unique_ptr<int>> box{1};
  ASSERT_TRUE(box.post(std::make_unique<int>(1)));
  auto second = std::make_unique<int>(2);
  EXPECT_FALSE(box.post(std::move(second)));
  ASSERT_NE(second, nullptr);
  std::vector<std::unique_ptr<int>> out;
  EXPECT_TRUE(box.drain_until(out, kNow));
  EXPECT_TRUE(box.post(std::move(second)));
}

TEST(Mailbox, PostsAllOrNothing) {
  Mailbox<int> box{3};
  std::vector<int> two{1, 2};
  EXPECT_TRUE(box.post_all(two));
  EXPECT_TRUE(two.empty());
  std::vector<int> more{3, 4};
  EXPECT_FALSE(box.post_all(more));
  EXPECT_EQ(more.size(), 2U) << "what does not fit is not taken";
  EXPECT_EQ(box.size(), 2U);
  std::vector<int> one{3};
  EXPECT_TRUE(box.post_all(one));
  std::vector<int> out;
  EXPECT_TRUE(box.drain_until(out, kNow));
  EXPECT_EQ(out, (std::vector<int>{1, 2, 3}));
}

TEST(Mailbox, TheTurnOfAReaderThatIsAwakeIsNotLent) {
  Mailbox<int> box{3};
  EXPECT_FALSE(box.borrow()) << "it has not come yet";
  std::vector<int> out;
  ASSERT_TRUE(box.post(1));
  EXPECT_TRUE(box.drain_until(out, kNow));
  EXPECT_FALSE(box.borrow()) << "it is at work";
}

TEST(Mailbox, ABorrowedTurnKeepsTheReaderAsleep) {
  for (const bool has_until : {false, true}) {
    Mailbox<int> box{3};
    std::vector<int> out;
    std::atomic<bool> borrowed = false;
    std::atomic<bool> too_early = false;
    const Until soon{Clock::now() + std::chrono::milliseconds{20}};
    std::thread reader([&] {
      while (out.empty() && box.drain_until(out, has_until ? soon : kForever)) {
        if (borrowed) too_early = true;
      }
    });
    while (!box.borrow()) std::this_thread::yield();
    borrowed = true;
    EXPECT_FALSE(box.borrow()) << "there is one turn";
    ASSERT_TRUE(box.post(1));
    box.poke();
    while (has_until && Clock::now() < *soon) std::this_thread::yield();
    EXPECT_EQ(box.size(), 1U);
    borrowed = false;
    box.give_back();
    reader.join();
    EXPECT_FALSE(too_early);
    EXPECT_EQ(out, (std::vector<int>{1}));
  }
}

TEST(Mailbox, ClosedTakesNothingMoreButGivesWhatItHas) {
  Mailbox<int> box{3};
  ASSERT_TRUE(box.post(1));
  box.close();
  EXPECT_FALSE(box.post(2));
  std::vector<int> two{1, 2};
  EXPECT_FALSE(box.post_all(two));
  std::vector<int> out;
  EXPECT_TRUE(box.drain_until(out, kForever));
  EXPECT_EQ(out, std::vector<int>{1});
  out.clear();
  EXPECT_FALSE(box.drain_until(out, kForever));
}

TEST(Mailbox, CloseWakesAWaitingReader) {
  Mailbox<int> box{3};
  auto reader = std::async(std::launch::async, [&] {
    std::vector<int> out;
    return box.drain_until(out, kForever);
  });
  box.close();
  EXPECT_FALSE(reader.get());
}

TEST(Mailbox, APokeMakesOneDrainReturnEmpty) {
  Mailbox<int> box{3};
  box.poke();
  std::vector<int> out;
  EXPECT_TRUE(box.drain_until(out, kForever));
  EXPECT_TRUE(out.empty());
  auto reader = std::async(std::launch::async, [&] {
    std::vector<int> got;
    return box.drain_until(got, kForever) && got.empty();
  });
  box.poke();
  EXPECT_TRUE(reader.get());
}

// An empty post once cleared the mark that the reader waits, and the next post then woke nobody.
TEST(Mailbox, AnEmptyPostDoesNotLoseTheNextWakeUp) {
  Mailbox<int> box{3};
  std::vector<int> nothing;
  for (int round = 0; round < 200; ++round) {
    auto reader = std::async(std::launch::async, [&] {
      std::vector<int> out;
      static_cast<void>(box.drain_until(out, Until{Clock::now() + std::chrono::seconds{20}}));
      return out.size();
    });
    for (int i = 0; i < 50; ++i) EXPECT_TRUE(box.post_all(nothing));
    ASSERT_TRUE(box.post(1));
    ASSERT_EQ(reader.get(), 1U);
  }
}

TEST(Mailbox, ManyWritersLoseNothingAndKeepTheirOwnOrder) {
  constexpr int kWriters = 4;
  constexpr int kEach = 5000;
  Mailbox<std::pair<int, int>> box{64};
  std::vector<std::jthread> writers;
  for (int w = 0; w < kWriters; ++w) {
    writers.emplace_back([&box, w] {
      std::vector<std::pair<int, int>> batch;
      for (int i = 0; i < kEach;) {
        if (i % 3 == 0 && i + 2 <= kEach) {
          batch = {{w, i}, {w, i + 1}};
          if (box.post_all(batch)) {
            i += 2;
          } else {
            std::this_thread::yield();
          }
        } else if (box.post({w, i})) {
          ++i;
        } else {
          std::this_thread::yield();
        }
      }
    });
  }
  std::vector<int> next(kWriters, 0);
  std::vector<std::pair<int, int>> out;
  for (int got = 0; got < kWriters * kEach;) {
    out.clear();
    ASSERT_TRUE(box.drain_until(out, kForever));
    ASSERT_LE(out.size(), 64U);
    for (const auto& [writer, i] : out) {
      ASSERT_EQ(i, next[static_cast<std::size_t>(writer)]++);
      ++got;
    }
  }
  EXPECT_EQ(std::accumulate(next.begin(), next.end(), 0), kWriters * kEach);
}

}  // namespace
}  // namespace rq::base
