#include "wire/script_pipe.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <string>
#include <vector>

namespace rq::wire {
namespace {

std::vector<std::string> lines_of(const std::vector<std::string>& chunks) {
  PipeReader reader;
  std::vector<std::string> lines;
  const auto line = [&lines](std::string_view text) { lines.emplace_back(text); };
  for (const std::string& chunk : chunks) reader.feed(chunk, line);
  reader.finish(line);
  return lines;
}

PipeVerdict verdict_of(const std::vector<std::string>& lines) {
  PipeVerdict verdict;
  for (const std::string& line : lines) verdict.note(parse_pipe_line(line));
  return verdict;
}

TEST(ScriptPipe, EachWordIsKnownInLowerCaseOnly) {
  struct Row {
    const char* line;
    PipeWord word;
    const char* text;
  };
  const std::vector<Row> rows{
      {"run half way", PipeWord::run, "half way"},
      {"done", PipeWord::done, ""},
      {"done all of it", PipeWord::done, "all of it"},
      {"relayed http://h/q/x/1", PipeWord::relayed, "http://h/q/x/1"},
      {"resend 10-busy", PipeWord::resend, "busy"},
      {"err no disk", PipeWord::err, "no disk"},
      {"fails no disk", PipeWord::err, "no disk"},
      {"fail soft", PipeWord::other, "soft"},
      {"DONE x", PipeWord::other, "x"},
      {"done: x", PipeWord::other, "x"},
      {"", PipeWord::other, ""},
      {" done", PipeWord::other, "done"},
      {"dup 0-X-b", PipeWord::dup, "0-X-b"},
  };
  for (const Row& row : rows) {
    const PipeLine line = parse_pipe_line(row.line);
    EXPECT_EQ(line.word, row.word) << row.line;
    EXPECT_EQ(line.text, row.text) << row.line;
  }
}

TEST(ScriptPipe, ResendTakesSecondsWithAndWithoutAReason) {
  EXPECT_EQ(parse_pipe_line("resend 10-busy").delay_s, 10);
  EXPECT_EQ(parse_pipe_line("resend 2").delay_s, 2);
  EXPECT_EQ(parse_pipe_line("resend 0-at once").delay_s, 0);
  EXPECT_EQ(parse_pipe_line("resend 60 no disk").delay_s, 60);
  EXPECT_EQ(parse_pipe_line("resend 3162240000-x").delay_s, 100LL * 366 * 24 * 3600);
}

// A person was shown "10-busy" as the reason, and "2" where none was given.
TEST(ScriptPipe, TheTextOfAResendIsItsReasonAlone) {
  EXPECT_EQ(parse_pipe_line("resend 2").text, "");
  EXPECT_EQ(parse_pipe_line("resend 2-").text, "");
  EXPECT_EQ(parse_pipe_line("resend 0-at once").text, "at once");
  EXPECT_EQ(parse_pipe_line("resend 60 no disk").text, "no disk");
  EXPECT_EQ(parse_pipe_line("resend 60-gzip-1.2 failed").text, "gzip-1.2 failed");
}

// faults.md B16, relative: what is no number of seconds was run again at once, to the bound.
TEST(ScriptPipe, AResendWithoutANumberOfSecondsIsAMistakeThatStaysToBeSeen) {
  for (const char* text : {"", "soon", "-5-x", "-0-x", "0.5-x", "1e18-x", "5m-x", "+5-x", " 5-x",
                           "3162240001-x", "99999999999999999999999-x"}) {
    const std::string line = std::string("resend ") + text;
    EXPECT_EQ(parse_pipe_line(line).delay_s, kNoDelay) << line;
    const PipeVerdict verdict = verdict_of({"run a", line, "run b", "done c"});
    EXPECT_EQ(verdict.decisive, PipeWord::resend) << line;
    EXPECT_EQ(verdict.delay_s, kNoDelay) << line;
    EXPECT_EQ(verdict.text, text);
  }
  EXPECT_EQ(parse_pipe_line("resend").delay_s, kNoDelay);
}

TEST(ScriptPipe, DupNamesDelayAndDestination) {
  const PipeLine line = parse_pipe_line("dup 30-X-other-queue");
  EXPECT_EQ(line.delay_s, 30);
  EXPECT_EQ(line.dest, "other-queue");
  EXPECT_EQ(parse_pipe_line("dup 0-X-http://h:1/q/a").dest, "http://h:1/q/a");
  EXPECT_EQ(parse_pipe_line("dup other").dest, "");
  EXPECT_EQ(parse_pipe_line("dup 3-other").dest, "");
  // faults.md B16, relative
  for (const char* text : {"soon-X-b", "-5-X-b", "99999999999-X-b", "-X-b"}) {
    const PipeLine bad = parse_pipe_line(std::string("dup ") + text);
    EXPECT_EQ(bad.dest, "") << text;
    EXPECT_EQ(bad.delay_s, 0) << text;
  }
}

TEST(ScriptPipe, TheFirstDecisiveWordCountsAndTheLastText) {
  const PipeVerdict verdict = verdict_of({"run a", "resend 7-later", "done b", "err c", "run d"});
  EXPECT_EQ(verdict.decisive, PipeWord::resend);
  EXPECT_EQ(verdict.delay_s, 7);
  EXPECT_EQ(verdict.text, "d");
}

TEST(ScriptPipe, FailIsTextAndDecidesNothing) {
  const PipeVerdict verdict = verdict_of({"fail could not connect"});
  EXPECT_EQ(verdict.decisive, std::nullopt);
  EXPECT_EQ(verdict.text, "could not connect");
}

TEST(ScriptPipe, ALineWithoutItsNewlineCountsAtTheEnd) {
  EXPECT_EQ(lines_of({"run a\ndo", "ne x"}), (std::vector<std::string>{"run a", "done x"}));
  EXPECT_TRUE(lines_of({""}).empty());
  EXPECT_EQ(lines_of({"\n\n"}), (std::vector<std::string>{"", ""}));
}

TEST(ScriptPipe, ALongLineIsCutAndTheNextOneIsWhole) {
  const std::string long_text(kPipeLineBytesMax + 5000, 'x');
  for (const auto& chunks :
       {std::vector<std::string>{"run " + long_text + "\ndone ok\n"},
        std::vector<std::string>{"run ", long_text, long_text, "\ndone", " ok\n"}}) {
    const auto lines = lines_of(chunks);
    ASSERT_EQ(lines.size(), 2U);
    EXPECT_EQ(lines[0].size(), kPipeLineBytesMax);
    EXPECT_EQ(lines[1], "done ok");
  }
}

TEST(ScriptPipe, RepliesAreOneLine) {
  EXPECT_EQ(pipe_ok("http://h/q/a/1"), "ok http://h/q/a/1\n");
  EXPECT_EQ(pipe_fail("two\nlines"), "fail two lines\n");
}

TEST(ScriptPipe, AnyChunkingGivesTheSameLines) {
  EXPECT_TRUE(rc::check("chunks do not matter", [] {
    const auto text = *rc::gen::container<std::string>(rc::gen::element('a', ' ', '\n', 'd', '-'));
    const auto cuts =
        *rc::gen::container<std::vector<std::size_t>>(rc::gen::inRange<std::size_t>(0, 8));
    std::vector<std::string> chunks;
    std::string_view rest = text;
    for (const std::size_t cut : cuts) {
      chunks.emplace_back(rest.substr(0, cut));
      rest.remove_prefix(std::min(cut, rest.size()));
    }
    chunks.emplace_back(rest);
    RC_ASSERT(lines_of(chunks) == lines_of({text}));
  }));
}

}  // namespace
}  // namespace rq::wire
