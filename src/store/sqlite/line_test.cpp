// Table `ready`: the line as runs of consecutive numbers.
#include <gtest/gtest.h>

#include <set>

#include "store/sqlite/line_windows.h"
#include "store/sqlite/sqlite_rig.h"

namespace rq::store::sqlite::test {
namespace {

using core::Action;
using core::Seq;

class Line : public ::testing::Test {
 protected:
  // Puts n messages in one batch; the number of the first.
  Seq put(const std::string& queue, int n) {
    const Seq first = rig.put(queue);
    for (int i = 1; i < n; ++i) rig.submit(Rig::put_of(queue));
    rig.run();
    return first;
  }
  void cancel(const std::vector<Seq>& seqs) {
    core::Act act;
    act.action = Action::cancel;
    act.messages = seqs;
    rig.ask<core::ActDone>(std::move(act));
  }
  // As offsets from `base`: "0-9 12-12".
  std::string runs(Seq base) {
    rig.expect_sound();
    std::string out;
    for (const std::string& row : rows_of(
             rig.file(),
             fmt::format("SELECT (first_seq - {0}) || '-' || (last_seq - {0}) FROM ready ORDER BY "
                         "queue, rank, last_seq",
                         base))) {
      out += (out.empty() ? "" : " ") + row;
    }
    return out;
  }

  SqliteRig rig;
};

TEST_F(Line, GrowsAtItsEndAndShrinksAtItsHead) {
  rig.define("q");
  const Seq base = put("q", 10);
  EXPECT_EQ(runs(base), "0-9");
  put("q", 5);
  EXPECT_EQ(runs(base), "0-14");
  rig.take("q", 4);
  EXPECT_EQ(runs(base), "4-14");
  rig.take("q", 100);
  EXPECT_EQ(runs(base), "");
}

TEST_F(Line, IsCutWhereSomethingLeaves) {
  rig.define("q");
  const Seq base = put("q", 20);
  cancel({base + 3});
  EXPECT_EQ(runs(base), "0-2 4-19");
  cancel({base + 19, base + 4});
  EXPECT_EQ(runs(base), "0-2 5-18");
  cancel({base + 7, base + 8, base + 12});
  EXPECT_EQ(runs(base), "0-2 5-6 9-11 13-18");
  // From within one run into another, everything between included.
  cancel({base + 2, base + 5, base + 6, base + 9});
  EXPECT_EQ(runs(base), "0-1 10-11 13-18");
  const auto taken = rig.take("q", 5);
  ASSERT_EQ(taken.size(), 5U);
  EXPECT_EQ(taken.back().seq, base + 13);
  EXPECT_EQ(runs(base), "14-18");
}

TEST_F(Line, TakesBackWhatIsReleased) {
  rig.define("q");
  const Seq base = put("q", 6);
  const auto taken = rig.take("q", 3);
  ASSERT_EQ(taken.size(), 3U);
  ASSERT_TRUE(rig.finish(taken[1], core::Outcome::release));
  EXPECT_EQ(runs(base), "1-1 3-5");
  ASSERT_TRUE(rig.finish(taken[2], core::Outcome::release));
  EXPECT_EQ(runs(base), "1-2 3-5") << "grows at the end only";
  EXPECT_EQ(rig.take("q", 4).size(), 4U);
  EXPECT_EQ(runs(base), "5-5");
}

TEST_F(Line, IsOneOfEachQueueAndPriority) {
  rig.define("a");
  rig.define("b");
  const Seq base = rig.put("a");
  rig.put("b");
  rig.put("a");
  rig.put("a", 7);
  rig.put("a");
  EXPECT_EQ(runs(base), "3-3 0-0 2-2 4-4 1-1");
  EXPECT_EQ(rig.take("a", 3).size(), 3U);
  EXPECT_EQ(runs(base), "4-4 1-1");
}

TEST_F(Line, IsReadWhereTheWindowEnds) {
  rig.define("q");
  const int n = static_cast<int>(Options{}.line_max) + 100;
  const Seq base = put("q", n);
  rig.reopen();
  Seq next = base;
  while (next < base + n) {
    for (const core::Message& m : rig.take("q", 100)) EXPECT_EQ(m.seq, next++);
    if (HasFailure()) return;
  }
  EXPECT_EQ(runs(base), "");
}

// What is read ahead is older than what happens meanwhile to the messages there.
TEST(LineAhead, GivesWhatIsThereNow) {
  SqliteRig rig({.threads = true, .line_max = 32, .line_read = 8, .line_ahead = 16});
  rig.define("q");
  constexpr int kMessages = 2000;
  std::set<std::pair<std::int64_t, Seq>> line;  // minus the priority, and the number
  Seq last = 0;
  for (int i = 0; i < kMessages; ++i) line.emplace(0, last = rig.put("q"));
  const auto act = [&](Action action, Seq seq, std::int64_t priority = 0) {
    core::Act command;
    command.action = action;
    command.messages = {seq};
    command.priority = priority;
    rig.submit(std::move(command));
  };
  for (int round = 0; !line.empty(); ++round) {
    // Far enough in front to be read ahead, or just read; sometimes behind.
    for (const std::ptrdiff_t place : {3, 11, 19, 27}) {
      if (static_cast<std::ptrdiff_t>(line.size()) <= place) break;
      const auto at = std::next(line.begin(), place);
      const auto [rank, seq] = *at;
      line.erase(at);
      if ((round + place) % 3 == 0) {
        act(Action::cancel, seq);
      } else {
        const std::int64_t priority = (round + place) % 3 == 1 ? 1 - rank : -rank - 1;
        act(Action::priority, seq, priority);
        line.emplace(-priority, seq);
      }
    }
    rig.run();
    for (const core::Message& m : rig.take("q", 5)) {
      ASSERT_EQ(std::pair(-m.priority, m.seq), *line.begin()) << "round " << round;
      line.erase(line.begin());
    }
    if (round % 2 == 0 && round < 100) line.emplace(0, rig.put("q"));
  }
  EXPECT_TRUE(rig.take("q", 1).empty());
  rig.expect_sound();
}

TEST(LineWindows, TellsTheLastChangeOfEachPlace) {
  LineWindows windows;
  windows.insert(1, {.rank = 0, .seq = 5});
  windows.insert(1, {.rank = 0, .seq = 3});
  windows.insert(2, {.rank = 0, .seq = 4});
  windows.erase(1, {.rank = 0, .seq = 5});
  windows.touch(1, {.rank = 0, .seq = 7});
  windows.insert(1, {.rank = 1, .seq = 2});
  const auto told = [&](const LineKey& after, const LineKey& last) {
    std::string out;
    for (const auto& c : windows.changes(1, after, last)) {
      out += fmt::format("{}{}.{} ", c.ready ? '+' : '-', c.key.rank, c.key.seq);
    }
    return out;
  };
  EXPECT_EQ(told(kBeforeAll, kBehindAll), "+0.3 -0.5 +0.7 +1.2 ");
  EXPECT_EQ(told({.rank = 0, .seq = 3}, {.rank = 0, .seq = 7}), "-0.5 +0.7 ");
  windows.forget_changes();
  EXPECT_EQ(told(kBeforeAll, kBehindAll), "");
}

TEST(LineWindows, TellsOnlyWhatIsBehindThem) {
  LineWindows windows;
  windows.set_max(4);
  windows.start_empty(1);
  for (const Seq seq : {1, 2, 3, 4, 5}) windows.insert(1, {.rank = 0, .seq = seq});
  windows.erase(1, {.rank = 0, .seq = 3});
  EXPECT_EQ(windows.change_count(), 0U) << "the window is complete";
  EXPECT_TRUE(windows.trim().empty()) << "it has grown too long and shrunk again";
  windows.insert(1, {.rank = 0, .seq = 6});
  EXPECT_EQ(windows.trim(), std::vector<core::QueueId>{1});
  EXPECT_TRUE(windows.covers(1, {.rank = 0, .seq = 2}));
  EXPECT_FALSE(windows.covers(1, {.rank = 0, .seq = 4}));
  windows.touch(1, {.rank = 0, .seq = 2});
  windows.erase(1, {.rank = 0, .seq = 1});
  EXPECT_EQ(windows.change_count(), 0U);
  windows.erase(1, {.rank = 0, .seq = 6});
  windows.insert(2, {.rank = 0, .seq = 7});  // of this one nothing is known
  EXPECT_EQ(windows.change_count(), 2U);
  windows.forget_changes_but(1);
  windows.touch(2, {.rank = 0, .seq = 7});
  windows.insert(1, {.rank = 0, .seq = 8});
  windows.forget_changes_but(1);
  EXPECT_EQ(windows.change_count(), 2U) << "of the line that is read ahead";
}

}  // namespace
}  // namespace rq::store::sqlite::test
