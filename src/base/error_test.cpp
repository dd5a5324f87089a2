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
    EXPECT_EQ(code_of(row.name), row.code);
    EXPECT_TRUE(names.insert(row.name).second) << row.name << " is there twice";
  }
}

TEST(ErrorTable, AForeignNameIsNoCode) {
  EXPECT_EQ(code_of(""), std::nullopt);
  EXPECT_EQ(code_of("NOT_FOUND"), std::nullopt);
}

TEST(ErrorTable, EveryRowHasANameAStatusAndAnExitCode) {
  for (const CodeRow& row : code_table()) {
    EXPECT_FALSE(row.name.empty());
    for (const char c : row.name) EXPECT_TRUE((c >= 'a' && c <= 'z') || c == '_') << row.name;
    EXPECT_GE(row.http_status, 400) << row.name;
    EXPECT_LT(row.http_status, 600) << row.name;
    // 0 is success, and from 126 on the shell has meanings of its own.
    EXPECT_GE(row.exit_code, 1) << row.name;
    EXPECT_LE(row.exit_code, 125) << row.name;
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

TEST(Time, MillisecondsMakeTheRoundTrip) {
  for (const std::int64_t ms : {std::int64_t{0}, std::int64_t{1}, std::int64_t{1795220514865}}) {
    EXPECT_EQ(to_ms(from_ms(ms)), ms);
  }
}

}  // namespace
}  // namespace rq::base
