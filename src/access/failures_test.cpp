#include "access/failures.h"

#include <gtest/gtest.h>

#include <string>

namespace rq::access {
namespace {

using base::Instant;
using base::Millis;

const Instant kNow = base::from_ms(1'800'000'000'000);

TEST(Failures, WaitLongerAndLongerUpToABound) {
  Failures failures;
  for (std::uint32_t i = 0; i < kFailuresFree; ++i) {
    EXPECT_EQ(failures.note("10.0.0.1", kNow), Millis{0});
  }
  EXPECT_EQ(failures.note("10.0.0.1", kNow), kFailureWaitMin);
  EXPECT_EQ(failures.note("10.0.0.1", kNow), 2 * kFailureWaitMin);
  for (int i = 0; i < 1'000; ++i) static_cast<void>(failures.note("10.0.0.1", kNow));
  EXPECT_EQ(failures.note("10.0.0.1", kNow), kFailureWaitMax);
  EXPECT_EQ(failures.note("10.0.0.2", kNow), Millis{0}) << "another address";
  EXPECT_EQ(failures.note("10.0.0.1", kNow + kFailureForgotten), Millis{0}) << "long ago";
}

TEST(Failures, OfOneNetworkOfIpv6CountTogether) {
  Failures failures;
  for (std::uint32_t i = 0; i < kFailuresFree; ++i) {
    static_cast<void>(failures.note("2001:db8::" + std::to_string(i), kNow));
  }
  EXPECT_EQ(failures.note("2001:db8::ffff", kNow), kFailureWaitMin);
  EXPECT_EQ(failures.note("2001:db8:0:1::1", kNow), Millis{0});
}

// pitfalls NA14: memory stays flat, and who is at it is not forgotten for the others.
TEST(Failures, OfManyAddressesAreForgottenByHalves) {
  Failures failures;
  Millis wait{0};
  for (int i = 0; i < 100'000; ++i) {
    static_cast<void>(failures.note(std::to_string(i), kNow));
    if (i % 1'000 == 0) wait = failures.note("10.0.0.1", kNow);
    ASSERT_LE(failures.size(), kAddressesMax);
  }
  EXPECT_EQ(wait, kFailureWaitMax);
}

}  // namespace
}  // namespace rq::access
