#include "pipeline/events.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <vector>

namespace rq::pipeline {
namespace {

class Listener final : public EventListener {
 public:
  explicit Listener(EventHub& hub) : hub_(hub) { hub_.add(*this); }
  ~Listener() override { hub_.remove(*this); }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  void on_notices(Happened& happened) override {
    heard += happened.notices.size();
    rendered += happened.texts.front().empty() ? 1 : 0;
    happened.texts.front() = "text";
    if (act) act();
  }

  std::size_t heard = 0;
  std::size_t rendered = 0;
  std::function<void()> act;

 private:
  EventHub& hub_;
};

class Events : public ::testing::Test {
 protected:
  void publish() {
    hub.publish(std::make_shared<const std::vector<core::Notice>>(1));
    loop.io().restart();
    loop.io().poll();
  }

  net::Loop loop;
  EventHub hub{loop};
};

TEST_F(Events, ReachEverybodyAndAreWantedWhileSomebodyListens) {
  EXPECT_FALSE(hub.wanted());
  {
    const Listener one(hub);
    const Listener two(hub);
    EXPECT_TRUE(hub.wanted());
    publish();
    EXPECT_EQ(one.heard, 1U);
    EXPECT_EQ(two.heard, 1U);
    EXPECT_EQ(one.rendered + two.rendered, 1U) << "once for both";
    publish();
    EXPECT_EQ(one.rendered + two.rendered, 2U) << "once for each batch";
  }
  EXPECT_FALSE(hub.wanted());
}

// faults.md D11, relative: a put of many, told to many streams, kept all others waiting.
TEST_F(Events, OthersHaveTheirTurnBetweenThePiecesOfALargeBatch) {
  const Listener one(hub);
  std::size_t heard_meanwhile = 0;
  hub.publish(std::make_shared<const std::vector<core::Notice>>(3 * kNoticesAtOnce + 1));
  boost::asio::post(loop.io(), [&] { heard_meanwhile = one.heard; });
  loop.io().restart();
  loop.io().poll();
  EXPECT_EQ(heard_meanwhile, kNoticesAtOnce);
  EXPECT_EQ(one.heard, 3 * kNoticesAtOnce + 1);
}

// faults.md A4: a stream that cannot go on leaves while the events are told.
TEST_F(Events, AListenerMayEndItselfAndOthersWhileItIsTold) {
  auto first = std::make_unique<Listener>(hub);
  auto second = std::make_unique<Listener>(hub);
  auto third = std::make_unique<Listener>(hub);
  std::unique_ptr<Listener> late;
  second->act = [&] {
    first.reset();
    third.reset();
    late = std::make_unique<Listener>(hub);
    second.reset();
  };
  publish();
  EXPECT_EQ(first, nullptr);
  EXPECT_EQ(second, nullptr);
  ASSERT_NE(late, nullptr);
  publish();
  EXPECT_GE(late->heard, 1U);
}

}  // namespace
}  // namespace rq::pipeline
