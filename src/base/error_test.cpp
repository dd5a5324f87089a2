#include "base/error.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/result.h"
#include "base/time.h"

namespace rq::base {
namespace {

TEST(ErrorTable, HasOneRowACodeInTheOrderOfTheEnum) {
  const auto table = code_table();
  ASSERT_EQ(table.size(), static_cast<std::size_t>(kCodeCount));
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < table.size(); ++i) {
    const CodeRow& row = table[i];
    EXPECT_EQ(static_cast<std::size_t>(row.code), i) << row.name;
    EXPECT_EQ(&row_of(row.code), &row);
    EXPECT_EQ(name_of(row.code), row.name);
    EXPECT_TRUE(names.insert(row.name).second) << row.name << " is there twice";
  }
}

TEST(ErrorTable, EveryRowCanBeSaidAtEveryDoor) {
  for (const CodeRow& row : code_table()) {
    EXPECT_FALSE(row.name.empty());
    for (const char c : row.name) EXPECT_TRUE((c >= 'a' && c <= 'z') || c == '_') << row.name;
    EXPECT_GE(row.http_status, 400) << row.name;
    EXPECT_LT(row.http_status, 600) << row.name;
    // 0 is success, and from 126 on the shell has meanings of its own.
    EXPECT_GE(row.exit_code, 1) << row.name;
    EXPECT_LE(row.exit_code, 125) << row.name;
    EXPECT_FALSE(row.beanstalk.empty()) << row.name;
    for (const char c : row.beanstalk) EXPECT_TRUE((c >= 'A' && c <= 'Z') || c == '_') << row.name;
    EXPECT_FALSE(row.faktory.empty()) << row.name;
  }
}

TEST(ErrorTable, FaultsAreServerErrorsOverHttp) {
  for (const CodeRow& row : code_table()) {
    if (row.kind != Kind::fault) continue;
    EXPECT_GE(row.http_status, 500) << row.name;
  }
}

TEST(Result, HoldsAValueOrAnError) {
  const Result<int> value = 7;
  ASSERT_TRUE(value);
  EXPECT_EQ(*value, 7);
  const Result<int> error = fail(Code::busy, "full", "wait");
  ASSERT_FALSE(error);
  EXPECT_EQ(error.error().code, Code::busy);
  EXPECT_EQ(error.error().remedy, "wait");
  EXPECT_TRUE(Result<void>{});
  EXPECT_FALSE(Result<void>{fail(Code::busy, "full")});
}

TEST(ResultDeathTest, TheValueOfAnErrorIsABug) {
  const Result<int> error = fail(Code::busy, "full");
  EXPECT_DEATH(static_cast<void>(error.value()), "rq: bug: ");
}

TEST(Time, IsWrittenAsIso8601InUtcWithMilliseconds) {
  EXPECT_EQ(to_iso8601(from_ms(0)), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(to_iso8601(from_ms(1795220514865)), "2026-11-21T00:21:54.865Z");
  EXPECT_EQ(to_iso8601(from_ms(951'827'696'001)), "2000-02-29T12:34:56.001Z");
  EXPECT_EQ(to_iso8601(from_ms(-1)), "1969-12-31T23:59:59.999Z");
}

TEST(Time, MillisecondsMakeTheRoundTrip) {
  for (const std::int64_t ms : {std::int64_t{0}, std::int64_t{1}, std::int64_t{1795220514865}}) {
    EXPECT_EQ(to_ms(from_ms(ms)), ms);
  }
}

}  // namespace
}  // namespace rq::base
