#include "load/histogram.h"

#include <gtest/gtest.h>

namespace rq::load {
namespace {

TEST(Histogram, SmallValuesAreExact) {
  Histogram h;
  for (int i = 1; i <= 100; ++i) h.add(i);
  EXPECT_EQ(h.at(0.5), 50U);
  EXPECT_EQ(h.at(0.99), 99U);
  EXPECT_EQ(h.at(1), 100U);
  EXPECT_EQ(h.count(), 100U);
}

TEST(Histogram, NoValueIsOffByMoreThanOneStep) {
  for (std::uint64_t v = 1; v < (1ULL << 62); v = v * 5 / 3 + 1) {
    Histogram h;
    h.add(static_cast<std::int64_t>(v));
    h.add(static_cast<std::int64_t>(v) * 2);  // so that the maximum does not cap the step
    const std::uint64_t got = h.at(0.5);
    EXPECT_GE(got, v);
    EXPECT_LE(got - v, v / 128 + 1) << v;
  }
}

TEST(Histogram, NothingReportedAboveTheMaximum) {
  Histogram h;
  h.add(1'000'003);
  EXPECT_EQ(h.at(0.5), 1'000'003U);
  EXPECT_EQ(h.max(), 1'000'003U);
}

TEST(Histogram, OneOutlierInAThousandShowsAboveTheNinetyNinth) {
  Histogram h;
  for (int i = 0; i < 999; ++i) h.add(10);
  h.add(5'000);
  EXPECT_EQ(h.at(0.99), 10U);
  EXPECT_EQ(h.at(0.9999), 5'000U);
}

TEST(Histogram, OneAddedToAnotherIsAsIfAllWereInOne) {
  Histogram one;
  Histogram other;
  Histogram all;
  for (int i = 1; i <= 1000; ++i) {
    (i % 3 == 0 ? one : other).add(i * 100);
    all.add(i * 100);
  }
  one.add(other);
  EXPECT_EQ(one.count(), all.count());
  EXPECT_EQ(one.max(), all.max());
  for (const double share : {0.1, 0.5, 0.99, 1.0}) EXPECT_EQ(one.at(share), all.at(share));
}

TEST(Histogram, NegativeCountsAsZero) {
  Histogram h;
  h.add(-5);
  EXPECT_EQ(h.at(1), 0U);
  EXPECT_EQ(h.count(), 1U);
}

}  // namespace
}  // namespace rq::load
