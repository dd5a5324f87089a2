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

// Each worker that connects asks for what runs: that costs by what runs, not by what waits.
TEST(SqliteReaderWalk, WhatRunsIsFoundAmongTheLeases) {
  SqliteRig rig;
  rig.define("q");
  for (int i = 0; i < 2000; ++i) rig.put("q");
  const auto running = rig.take("q", 3);
  const auto reader = rig.home().reader();
  int asked = 0;
  reader->stop_when([&asked] {
    ++asked;
    return false;
  });
  core::Page page{.filter = {.states = {core::State::run}}, .limit = 2};
  const auto first = reader->list(page);
  ASSERT_TRUE(first) << first.error().message;
  ASSERT_EQ(first->rows.size(), 2U);
  ASSERT_TRUE(first->cursor);
  page.cursor = *first->cursor;
  const auto second = reader->list(page);
  ASSERT_TRUE(second) << second.error().message;
  ASSERT_EQ(second->rows.size(), 1U);
  EXPECT_FALSE(second->cursor);
  EXPECT_EQ(second->rows[0].message.seq, running.at(0).seq) << "the newest first";
  EXPECT_LE(asked, 2);
}

// A bit in what a row begins with, and its payload is another value of it, and its checksum none.
TEST(Reader, ListsNoMessageThatHasLostItsChecksum) {
  SqliteRig rig;
  rig.define("q");
  for (int i = 0; i < 3; ++i) rig.put("q");
  rig.close();
  rows_of(rig.file(), "UPDATE message SET crc = NULL, payload = x'00' WHERE seq = 2");
  rig.open();
  const auto reader = rig.home().reader();
  for (const bool payloads : {false, true}) {
    const auto listed = reader->list({.filter = {.queue = "q"}, .payloads = payloads});
    ASSERT_TRUE(listed) << listed.error().message;
    EXPECT_EQ(listed->rows.size(), 2U);
  }
}

}  // namespace
}  // namespace rq::store::sqlite::test
