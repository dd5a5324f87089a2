#include "engine/waiters.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <deque>

namespace rq::engine {
namespace {

Ticket ticket(std::uint64_t connection, std::uint64_t request = 1, std::uint32_t door = 0) {
  return {.door = door, .connection = connection, .request = request};
}

Reserve waits(std::optional<Instant> until = Instant::max()) {
  Reserve reserve;
  reserve.wait_until = until;
  return reserve;
}

constexpr QueueId kA = 1;
constexpr QueueId kB = 2;

TEST(Waiters, AreServedInTheOrderTheyCameOverAllTheirQueues) {
  Waiters w;
  w.add(ticket(1), waits(), {kA});
  w.add(ticket(2), waits(), {kB, kA});
  w.add(ticket(3), waits(), {kB});
  EXPECT_EQ(w.size(), 3);
  EXPECT_EQ(w.waiting_in(kA), 2);
  EXPECT_EQ(w.waiting_in(kB), 2);
  EXPECT_EQ(w.first(kA)->ticket.connection, 1U);
  EXPECT_EQ(w.take(*w.first(kB)).ticket.connection, 2U);
  EXPECT_EQ(w.first(kB)->ticket.connection, 3U);
  EXPECT_EQ(w.take(*w.first(kA)).ticket.connection, 1U);
  EXPECT_EQ(w.first(kA), nullptr) << "2 was taken out of both";
  EXPECT_EQ(w.waiting_in(kA), 0);
  EXPECT_EQ(w.size(), 1);
}

TEST(Waiters, TimeOutOneByOneInTheOrderOfTheirTimes) {
  Waiters w;
  w.add(ticket(1), waits(base::from_ms(300)), {kA});
  w.add(ticket(2), waits(base::from_ms(100)), {kA});
  w.add(ticket(3), waits(base::from_ms(100)), {kA});
  w.add(ticket(4), waits(), {kA});
  EXPECT_EQ(w.next_timeout(), base::from_ms(100));
  EXPECT_FALSE(w.take_timed_out(base::from_ms(99)));
  EXPECT_EQ(w.take_timed_out(base::from_ms(100))->ticket.connection, 2U);
  EXPECT_EQ(w.take_timed_out(base::from_ms(100))->ticket.connection, 3U);
  EXPECT_FALSE(w.take_timed_out(base::from_ms(100)));
  EXPECT_EQ(w.next_timeout(), base::from_ms(300));
  EXPECT_EQ(w.take(*w.first(kA)).ticket.connection, 1U);
  EXPECT_EQ(w.next_timeout(), Instant::max()) << "one without end waits for ever";
  EXPECT_EQ(w.size(), 1);
}

TEST(Waiters, AConnectionIsForgottenWithAllItWaitsFor) {
  Waiters w;
  w.add(ticket(1, 1), waits(), {kA, kB});
  w.add(ticket(1, 2), waits(base::from_ms(5)), {kB});
  w.add(ticket(1, 1, 9), waits(), {kB});
  EXPECT_TRUE(w.waits({0, 1}));
  EXPECT_EQ(w.take_all({0, 1}).size(), 2U);
  EXPECT_FALSE(w.waits({0, 1}));
  EXPECT_EQ(w.size(), 1);
  EXPECT_EQ(w.first(kA), nullptr);
  EXPECT_EQ(w.first(kB)->ticket.door, 9U) << "another door's connection of the same number";
  EXPECT_EQ(w.next_timeout(), Instant::max());
  EXPECT_TRUE(w.take_all({0, 77}).empty());
  EXPECT_EQ(w.size(), 1);
}

TEST(Waiters, WhatCameAfterAMomentCanBeTakenBack) {
  Waiters w;
  w.add(ticket(1, 1), waits(), {kA});
  const std::uint64_t moment = w.arrivals();
  w.add(ticket(1, 2), waits(), {kA});
  w.add(ticket(2, 1), waits(base::from_ms(5)), {kA, kB});
  const auto taken = w.take_after(moment);
  ASSERT_EQ(taken.size(), 2U);
  EXPECT_EQ(taken[0].ticket.request, 2U);
  EXPECT_TRUE(w.take_after(moment).empty());
  EXPECT_EQ(w.first(kA)->ticket.request, 1U);
  EXPECT_EQ(w.first(kB), nullptr);
  EXPECT_EQ(w.next_timeout(), Instant::max());
}

TEST(Waiters, AReusedSlotIsNotTakenForTheOldOne) {
  Waiters w;
  w.add(ticket(1), waits(base::from_ms(10)), {kA});
  static_cast<void>(w.take(*w.first(kA)));
  w.add(ticket(2), waits(base::from_ms(1000)), {kB});  // gets the same slot
  EXPECT_EQ(w.first(kA), nullptr);
  EXPECT_FALSE(w.take_timed_out(base::from_ms(500)));
  EXPECT_EQ(w.first(kB)->ticket.connection, 2U);
}

// A worker that watches a busy queue and an idle one leaves a stale place in the idle one each
// time; and a stale time-out each time it is served early.
TEST(Waiters, WhatIsStaleIsSweptBeforeItGrows) {
  Waiters w;
  for (std::uint64_t i = 1; i <= 200'000; ++i) {
    w.add(ticket(i), waits(base::from_ms(1'000'000'000)), {kA, kB});
    static_cast<void>(w.take(*w.first(kA)));
  }
  EXPECT_EQ(w.size(), 0);
  EXPECT_LT(w.places_held(), 10'000U);
  EXPECT_EQ(w.waiting_in(kB), 0);
  EXPECT_EQ(w.next_timeout(), Instant::max());
}

// Against a list that is simply searched.
RC_GTEST_PROP(Waiters, DoWhatAPlainListDoes, ()) {
  struct Plain {
    std::uint64_t connection;
    std::uint64_t request;
    std::vector<QueueId> queues;
    std::int64_t until;
  };
  Waiters w;
  std::deque<Plain> plain;
  const auto watches = [](const Plain& p, QueueId q) {
    return std::find(p.queues.begin(), p.queues.end(), q) != p.queues.end();
  };
  const auto drop = [&](std::uint64_t request) {
    std::erase_if(plain, [&](const Plain& p) { return p.request == request; });
  };
  std::int64_t now = 0;
  std::uint64_t requests = 0;
  const int steps = *rc::gen::inRange(0, 200);
  for (int i = 0; i < steps; ++i) {
    const int what = *rc::gen::inRange(0, 8);
    if (what < 4) {
      Plain p{.connection = *rc::gen::inRange<std::uint64_t>(1, 4),
              .request = ++requests,
              .queues = *rc::gen::unique<std::vector<QueueId>>(*rc::gen::inRange<std::size_t>(1, 4),
                                                               rc::gen::inRange<QueueId>(1, 5)),
              .until = now + *rc::gen::inRange<std::int64_t>(1, 50)};
      w.add(ticket(p.connection, p.request), waits(base::from_ms(p.until)), p.queues);
      plain.push_back(std::move(p));
    } else if (what < 6) {
      const QueueId queue = *rc::gen::inRange<QueueId>(1, 5);
      Waiters::Waiter* first = w.first(queue);
      const auto expected = std::find_if(plain.begin(), plain.end(),
                                         [&](const Plain& p) { return watches(p, queue); });
      RC_ASSERT((first == nullptr) == (expected == plain.end()));
      if (first != nullptr) {
        RC_ASSERT(first->ticket.request == expected->request);
        drop(w.take(*first).ticket.request);
      }
    } else if (what == 6) {
      now += *rc::gen::inRange<std::int64_t>(0, 20);
      while (auto out = w.take_timed_out(base::from_ms(now))) {
        const auto least =
            std::min_element(plain.begin(), plain.end(), [](const Plain& a, const Plain& b) {
              return std::pair{a.until, a.request} < std::pair{b.until, b.request};
            });
        RC_ASSERT(least != plain.end());
        RC_ASSERT(least->request == out->ticket.request);
        drop(out->ticket.request);
      }
    } else {
      const std::uint64_t connection = *rc::gen::inRange<std::uint64_t>(1, 4);
      for (const Waiters::Waiter& taken : w.take_all({0, connection})) {
        RC_ASSERT(taken.ticket.connection == connection);
      }
      std::erase_if(plain, [&](const Plain& p) { return p.connection == connection; });
    }
    RC_ASSERT(w.size() == static_cast<std::int64_t>(plain.size()));
    for (QueueId q = 1; q < 5; ++q) {
      RC_ASSERT(w.waiting_in(q) == std::count_if(plain.begin(), plain.end(),
                                                 [&](const Plain& p) { return watches(p, q); }));
    }
    std::int64_t least = INT64_MAX;
    for (const Plain& p : plain) least = std::min(least, p.until);
    RC_ASSERT(w.next_timeout() == (plain.empty() ? Instant::max() : base::from_ms(least)));
  }
}

}  // namespace
}  // namespace rq::engine
