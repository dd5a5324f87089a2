#include "store/sqlite/reader.h"

#include <gtest/gtest.h>

#include "store/sqlite/sqlite_rig.h"

namespace rq::store::sqlite::test {
namespace {

// faults.md D10
TEST(SqliteReaderStop, EndsALookUpThatRuns) {
  SqliteRig rig;
  rig.define("q");
  for (int i = 0; i < 200; ++i) rig.put("q", std::string(300, 'a'));
  const auto reader = rig.home().reader();
  const core::Page page{.filter = {.text = "not there"}};
  ASSERT_TRUE(reader->list(page));
  int asked = 0;
  reader->stop_when([&asked] { return ++asked >= 2; });
  const auto stopped = reader->list(page);
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, Code::timed_out);
  EXPECT_EQ(asked, 2) << "it was asked while the look-up ran";
  reader->stop_when([] { return false; });
  const auto again = reader->list(page);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_TRUE(again->rows.empty());
}

}  // namespace
}  // namespace rq::store::sqlite::test
