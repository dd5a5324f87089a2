#include "cli/table.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "cli/text.h"

namespace rq::cli {
namespace {

Table sample() {
  Table table({{"NAME"}, {"N", Table::Align::right}, {"TEXT"}});
  table.add({"a", "1", "short"});
  table.add({"longer", "12345", "a text that goes on and on"});
  return table;
}

TEST(Table, AlignsItsColumns) {
  EXPECT_EQ(sample().text(false, std::nullopt),
            "NAME        N  TEXT\n"
            "a           1  short\n"
            "longer  12345  a text that goes on and on\n");
}

TEST(Table, CutsOnlyTheLastColumnAtTheWidth) {
  EXPECT_EQ(sample().text(false, 27),
            "NAME        N  TEXT\n"
            "a           1  short\n"
            "longer  12345  a text that…\n");
}

// faults.md C, relative: of two hundred reasons that differ at their end all were shown alike.
TEST(Table, CutsALongTextInItsMiddle) {
  Table table({{"N"}, {"REASON"}});
  table.add({"1", "exit 2: gzip: /srv/photos/2026/holiday/p\u00e4ckchen.gz: no such file"});
  EXPECT_EQ(table.text(false, 37),
            "N  REASON\n"
            "1  exit 2: gzip: \u2026 no such file\n");
  EXPECT_EQ(table.text(false, 60),
            "N  REASON\n"
            "1  exit 2: gzip: /srv/photos/20\u2026ay/p\u00e4ckchen.gz: no such file\n")
      << "of a long word its ends";
  for (std::size_t width = 1; width < 90; ++width) {
    const std::string line = table.text(false, width).substr(10);
    EXPECT_LE(columns_of(line), std::max<std::size_t>(width, 13) + 1) << line;
  }
}

// faults.md C, relative: of a reason that did not fit, the middle was missing, and it was the
// reason.
TEST(Table, WrapsALongTextWhereAllOfItIsWanted) {
  const auto table = [](std::string name) {
    Table made({{"CHECK"}, {"WHAT"}}, Table::Long::wrapped);
    made.add({"disk", "12 GiB free"});
    made.add(
        {std::move(name), "3 messages wait: the script '/srv/a/b.sh' does not exist, so it is"});
    return made;
  };
  EXPECT_EQ(table("queue").text(false, 40),
            "CHECK  WHAT\n"
            "disk   12 GiB free\n"
            "queue  3 messages wait: the script\n"
            "       '/srv/a/b.sh' does not exist, so\n"
            "       it is\n");
  EXPECT_EQ(table("a queue of a long name").text(false, 40),
            "CHECK                   WHAT\n"
            "disk                    12 GiB free\n"
            "a queue of a long name\n"
            "    3 messages wait: the script\n"
            "    '/srv/a/b.sh' does not exist, so it\n"
            "    is\n")
      << "a narrow column is left";
  EXPECT_EQ(table("queue").text(false, std::nullopt),
            "CHECK  WHAT\n"
            "disk   12 GiB free\n"
            "queue  3 messages wait: the script '/srv/a/b.sh' does not exist, so it is\n")
      << "no terminal";
}

TEST(Table, CutsTheWidestColumnsWhenTheyLeaveNoRoom) {
  Table table({{"ID"}, {"QUEUE"}, {"TEXT"}}, Table::Long::list);
  table.add({"20261127.0800.00.000.1", "a-queue-of-a-very-long-name", "exit 3: no disk"});
  table.add({"2", "b", "short"});
  EXPECT_EQ(table.text(false, 44),
            "ID                      QUEUE           TEXT\n"
            "20261127.0800.00.000.1  a-queue-of-a-…\n"
            "    exit 3: no disk\n"
            "2                       b\n"
            "    short\n");
}

TEST(Table, OfALongCellOfAListTheMiddleIsCut) {
  Table table({{"N"}, {"TEXT"}}, Table::Long::list);
  table.add({"1", std::string(200, 'x') + "end"});
  EXPECT_EQ(table.text(false, 40),
            "N  TEXT\n"
            "1  " +
                std::string(37, 'x') + "\n" + "   xx…" + std::string(34, 'x') + "\n" +
                "   xxxend\n");
}

// Of a text that was a few letters too long for a list the middle was missing.
TEST(Table, ALittleMoreThanAListHoldsIsShownWhole) {
  const std::string text = "exit 1: " + std::string(30, 'a') + " " + std::string(44, 'b') + " end";
  Table table({{"N"}, {"TEXT"}}, Table::Long::list);
  table.add({"1", text});
  ASSERT_GT(columns_of(text), 2 * 40U);
  std::string shown = table.text(false, 40);
  std::erase_if(shown, [](char c) { return c == '\n' || c == ' '; });
  std::string letters = "NTEXT1" + text;
  std::erase(letters, ' ');
  EXPECT_EQ(shown, letters);
}

TEST(Facts, AValueThatDoesNotFitTakesMoreLines) {
  Facts facts;
  facts.add("why", Cell("there is no worker that runs scripts; start one"));
  facts.add("queue", "mail");
  EXPECT_EQ(facts.text(false, 40),
            "why    there is no worker that runs\n"
            "       scripts; start one\n"
            "queue  mail\n");
  EXPECT_EQ(facts.text(false, std::nullopt),
            "why    there is no worker that runs scripts; start one\n"
            "queue  mail\n");
}

TEST(Table, PaintsWithoutMovingColumns) {
  Table table({{"A"}, {"B"}});
  table.add({{"err", Ink::red}, "x"});
  EXPECT_EQ(table.text(true, std::nullopt),
            "\x1b[2mA\x1b[0m    \x1b[2mB\x1b[0m\n\x1b[31merr\x1b[0m  x\n");
}

TEST(Table, KeepsTheLinesOfACellOnOneLine) {
  Table table({{"A"}});
  table.add({"one\ntwo"});
  EXPECT_EQ(table.text(false, std::nullopt), "A\none two\n");
}

TEST(AnsiFilter, LetsColoursThroughAndNothingElse) {
  AnsiFilter filter(true);
  EXPECT_EQ(filter.feed("\x1b[1;31mred\x1b[0m\n"), "\x1b[1;31mred\x1b[0m\n");
  EXPECT_EQ(filter.feed("a\x1b[2Jb\x1b]0;title\ac\x1b[Hd\x07"), "abcd");
  EXPECT_EQ(filter.feed("\x1b]8;;http://x\x1b\\link"), "link");
}

TEST(AnsiFilter, SequencesMayBeCutAnywhere) {
  const std::string text = "x\x1b[32mgreen\x1b[0m\x1b]0;t\x1b\\y";
  for (std::size_t at = 0; at <= text.size(); ++at) {
    AnsiFilter filter(true);
    std::string shown = filter.feed(text.substr(0, at));
    shown += filter.feed(text.substr(at));
    EXPECT_EQ(shown, "x\x1b[32mgreen\x1b[0my") << "cut at " << at;
  }
}

// faults.md C23
TEST(AnsiFilter, ShowsByItsCodeWhatElseCouldChangeTheDisplay) {
  const std::string text =
      "\x1b[32mok\x1b[0m \u202Eabc \xC2\x9B"
      "2J \x9B"
      "2J grün\n";
  const std::string shown = "\x1b[32mok\x1b[0m \\u{202e}abc \\u{9b}2J \\x9b2J grün\n";
  EXPECT_EQ(AnsiFilter(true).feed(text), shown);
  for (std::size_t at = 0; at <= text.size(); ++at) {
    AnsiFilter filter(true);
    std::string out = filter.feed(text.substr(0, at));
    out += filter.feed(text.substr(at));
    EXPECT_EQ(out, shown) << at;
  }
}

TEST(AnsiFilter, WithoutColoursNoneGetThrough) {
  EXPECT_EQ(AnsiFilter(false).feed("\x1b[31mred\x1b[0m"), "red");
}

}  // namespace
}  // namespace rq::cli
