// docs/STORAGE.md cannot lie: its grid is the life-cycle function, its queries run, its tables
// exist.
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

#include "core/lifecycle.h"
#include "store/sqlite/sqlite_rig.h"

namespace rq::store::sqlite::test {
namespace {

using core::Event;

std::string page() {
  std::ifstream file{"docs/STORAGE.md"};
  EXPECT_TRUE(file) << "run the tests from the root of the tree";
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string grid() {
  std::ostringstream out;
  out << "|";
  for (int e = 0; e < core::kEventCount; ++e) out << " | " << name_of(static_cast<Event>(e));
  out << " |\n|---";
  for (int e = 0; e < core::kEventCount; ++e) out << "|---";
  out << "|\n";
  for (int s = 0; s < core::kStateCount; ++s) {
    out << "| **" << name_of(static_cast<State>(s)) << "**";
    for (int e = 0; e < core::kEventCount; ++e) {
      const auto to = core::next(static_cast<State>(s), static_cast<Event>(e));
      out << " | " << (to ? name_of(*to) : "·");
    }
    out << " |\n";
  }
  return out.str();
}

TEST(StoragePage, ShowsWhatEveryEventDoesInEveryState) {
  const std::string doc = page();
  const std::string begin = "<!-- life cycle: begin -->\n";
  const auto from = doc.find(begin);
  const auto to = doc.find("<!-- life cycle: end -->");
  ASSERT_TRUE(from != std::string::npos && to != std::string::npos && from < to);
  EXPECT_EQ(doc.substr(from + begin.size(), to - from - begin.size()), grid())
      << "put this between the markers:\n"
      << grid();
}

// A store in which each question of the page has an answer.
void furnish(Rig& rig) {
  core::QueueSettings s;
  s.script = "/bin/send";
  rig.define("mail", s);
  core::Put put = Rig::put_of("mail", "hello");
  put.message.detail().key = "order-7";
  put.message.detail().tags = {"urgent"};
  ASSERT_EQ(rig.ask<core::PutDone>(std::move(put)).seq, 1);
  ASSERT_TRUE(rig.finish(rig.take_one("mail"), core::Outcome::failed, "no such mailbox"));
  rig.put("mail");
  rig.take_one("mail");
  rig.put("mail");
  core::Put later = Rig::put_of("mail");
  later.delay = seconds{3600};
  rig.ask<core::PutDone>(std::move(later));
}

TEST(StoragePage, EveryQueryRunsAndFindsSomething) {
  SqliteRig rig;
  furnish(rig);
  const std::string doc = page();
  const std::string fence = "```sql\n";
  int queries = 0;
  for (auto at = doc.find(fence); at != std::string::npos; at = doc.find(fence, at)) {
    at += fence.size();
    const auto end = doc.find("```", at);
    ASSERT_NE(end, std::string::npos);
    const std::string sql = doc.substr(at, end - at);
    EXPECT_FALSE(rows_of(rig.file(), sql).empty()) << sql;
    ++queries;
    at = end;
  }
  EXPECT_GE(queries, 8);
}

TEST(StoragePage, NamesEveryTableAndNoOther) {
  SqliteRig rig;
  std::set<std::string> tables;
  for (const std::string& name :
       rows_of(rig.file(), "SELECT name FROM sqlite_schema WHERE type = 'table'")) {
    if (!name.starts_with("sqlite_")) tables.insert(name);
  }
  std::set<std::string> named;
  std::istringstream doc{page()};
  bool inside = false;
  for (std::string line; std::getline(doc, line);) {
    if (line.starts_with("## ")) inside = line == "## The tables";
    if (inside && line.starts_with("| `")) named.insert(line.substr(3, line.find('`', 3) - 3));
  }
  EXPECT_EQ(named, tables);
}

TEST(StoragePage, TheViewTellsTheWholeStory) {
  SqliteRig rig;
  furnish(rig);
  const auto one = [&](const char* sql) { return rows_of(rig.file(), sql).at(0); };
  EXPECT_EQ(one("SELECT queue, state, mark, progress FROM messages WHERE seq = 1"),
            "mail|err|failed|no such mailbox");
  EXPECT_EQ(one("SELECT state, worker FROM messages WHERE seq = 2"), "run|w");
  EXPECT_EQ(one("SELECT id FROM messages WHERE seq = 1"), core::format_id(rig.show(1)));
  EXPECT_EQ(one("SELECT created FROM messages WHERE seq = 1"), "2023-11-14 22:13:20");
}

}  // namespace
}  // namespace rq::store::sqlite::test
