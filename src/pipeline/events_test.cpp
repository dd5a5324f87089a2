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

  void on_notices(const std::vector<core::Notice>& notices) override {
    heard += notices.size();
    if (act) act();
  }

  std::size_t heard = 0;
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
  }
  EXPECT_FALSE(hub.wanted());
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
