#include "base/log.h"

#include <gtest/gtest.h>
#include <stdlib.h>

namespace rq::base {
namespace {

// Issue 10, breaker: a machine whose clock is wrong writes lines that can still be read.
TEST(LogTime, IsRightBefore1970AndAfter2262) {
  const char* const before = ::getenv("TZ");
  const std::string zone = before != nullptr ? before : "";
  const auto in = [](const char* where, const timespec& t) {
    ::setenv("TZ", where, 1);
    ::tzset();
    return log_time(t);
  };
  EXPECT_EQ(in("UTC", {.tv_sec = 0, .tv_nsec = 865'999'999}), "1970-01-01T00:00:00.865+00:00");
  EXPECT_EQ(in("UTC", {.tv_sec = -1, .tv_nsec = 5'000'000}), "1969-12-31T23:59:59.005+00:00");
  EXPECT_EQ(in("UTC", {.tv_sec = 10'000'000'000, .tv_nsec = 0}), "2286-11-20T17:46:40.000+00:00");
  EXPECT_EQ(in("XYZ+3:30", {.tv_sec = 0, .tv_nsec = 0}), "1969-12-31T20:30:00.000-03:30");
  EXPECT_EQ(in("XYZ-5:45", {.tv_sec = 0, .tv_nsec = 0}), "1970-01-01T05:45:00.000+05:45");
  if (before != nullptr) {
    ::setenv("TZ", zone.c_str(), 1);
  } else {
    ::unsetenv("TZ");
  }
  ::tzset();
}

}  // namespace
}  // namespace rq::base
