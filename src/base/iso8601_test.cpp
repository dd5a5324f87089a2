#include "base/iso8601.h"

#include <gtest/gtest.h>

namespace rq::base {
namespace {

TEST(Iso8601, IsWrittenAsIso8601InUtcWithMilliseconds) {
  EXPECT_EQ(to_iso8601(from_ms(0)), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(to_iso8601(from_ms(1795220514865)), "2026-11-21T00:21:54.865Z");
  EXPECT_EQ(to_iso8601(from_ms(951'827'696'001)), "2000-02-29T12:34:56.001Z");
  EXPECT_EQ(to_iso8601(from_ms(-1)), "1969-12-31T23:59:59.999Z");
}

TEST(Iso8601, TakesTheFormsPeopleWrite) {
  EXPECT_EQ(parse_iso8601("1970-01-01T00:00:01Z"), from_ms(1000));
  EXPECT_EQ(parse_iso8601("1970-01-01T00:00:01.5Z"), from_ms(1500));
  EXPECT_EQ(parse_iso8601("1970-01-01T01:00:01.250+01:00"), from_ms(1250));
  EXPECT_EQ(parse_iso8601("1970-01-01 00:00:01.0019999Z"), from_ms(1001));
}

TEST(Iso8601, RefusesWhatIsNoTime) {
  for (const char* text : {"", "2026-11-21", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z",
                           "2026-11-21T24:00:00Z", "2026-11-21T00:00:00", "2026-11-21T00:00:00.Z",
                           "2026-11-21T00:00:00Zx", "1969-11-21T00:00:00Z"}) {
    EXPECT_FALSE(parse_iso8601(text)) << text;
  }
}

TEST(Iso8601, WhatIsWrittenIsReadBack) {
  for (const std::int64_t ms : {0LL, 1LL, 951'827'696'001LL, 1'795'220'514'865LL}) {
    EXPECT_EQ(parse_iso8601(to_iso8601(from_ms(ms))), from_ms(ms));
  }
}

}  // namespace
}  // namespace rq::base
