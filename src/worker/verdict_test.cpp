#include "worker/verdict.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <boost/json.hpp>

namespace rq::worker {
namespace {

using wire::PipeWord;

Ended ended_with(std::optional<PipeWord> word, int status, std::string text = "text") {
  Ended ended;
  ended.pid = 4711;
  ended.status = status;
  ended.verdict.decisive = word;
  ended.verdict.text = std::move(text);
  ended.verdict.delay_s = 7;
  return ended;
}
// By RQ's rule, unless said.
Verdict verdict_of(const Ended& ended) { return verdict_of(ended, core::Success::word); }

constexpr int kGood = 0;
constexpr int kBad = 3 << 8;
constexpr int kTermed = SIGTERM;

TEST(Verdict, FollowsTheTableOfRq) {
  struct Row {
    std::optional<PipeWord> word;
    int status;
    std::string outcome, reason;
  };
  const std::vector<Row> rows{
      {PipeWord::done, kGood, "done", "text"},
      {PipeWord::relayed, kGood, "relayed", "text"},
      {PipeWord::resend, kGood, "resend", "text"},
      {PipeWord::err, kGood, "err", "text"},
      {std::nullopt, kGood, "failed",
       R"(text - exit 0 without a final word on fd 3: write "done TEXT" there when the work is done)"},
      {PipeWord::done, kBad, "failed", "exit 3 after 'done': text"},
      {PipeWord::relayed, kBad, "failed", "exit 3 after 'relayed': text"},
      {PipeWord::resend, kBad, "failed", "exit 3 after 'resend': text"},
      {PipeWord::err, kBad, "err", "text"},
      {std::nullopt, kBad, "failed", "exit 3: text"},
      {PipeWord::done, kTermed, "failed", "killed by SIGTERM after 'done': text"},
      {PipeWord::err, kTermed, "err", "text"},
  };
  for (const Row& row : rows) {
    const Verdict verdict = verdict_of(ended_with(row.word, row.status));
    EXPECT_EQ(verdict.outcome, row.outcome);
    EXPECT_EQ(verdict.reason, row.reason);
    EXPECT_EQ(verdict.delay_s, row.outcome == "resend" ? 7 : 0);
  }
}

// faults.md B16, relative
TEST(Verdict, AResendWithoutANumberOfSecondsIsAFailureThatSaysWhatToWrite) {
  Ended ended = ended_with(PipeWord::resend, kGood, "soon");
  ended.verdict.delay_s = wire::kNoDelay;
  Verdict verdict = verdict_of(ended);
  EXPECT_EQ(verdict.outcome, "failed");
  EXPECT_EQ(verdict.reason,
            "resend: 'soon' does not begin with a whole number of seconds, from 0 to 3162240000; "
            "write resend 60-REASON");
  EXPECT_EQ(verdict.delay_s, 0);
  ended.status = kBad;
  EXPECT_EQ(verdict_of(ended).reason, "exit 3 after 'resend': soon");
}

TEST(Verdict, AResendWithoutAReasonHasTheLastLineOfTheOutput) {
  Ended ended = ended_with(PipeWord::resend, kGood, "");
  EXPECT_EQ(verdict_of(ended).reason, "");
  ended.last_output = "trying\ngzip: no space left\n";
  EXPECT_EQ(verdict_of(ended).reason, "gzip: no space left");
}

// faults.md B16, relative: what stood before the text was to be seen nowhere.
TEST(Verdict, AWordThatIsNoneIsNamed) {
  Ended ended = ended_with(std::nullopt, kGood, "");
  ended.verdict.note(wire::parse_pipe_line("Done ok"));
  EXPECT_EQ(verdict_of(ended, core::Success::by_use).reason,
            R"(ok - exit 0 without a final word on fd 3 ('Done' is none; done, err, resend and )"
            R"(relayed are): write "done TEXT" there when the work is done)");
  EXPECT_EQ(verdict_of(ended, core::Success::exit).reason, "ok") << "nothing is wrong with it";
  ended.status = kBad;
  EXPECT_EQ(verdict_of(ended).reason, "exit 3: ok ('Done' is no word on fd 3)");
  ended.last_output = "no disk\n";
  EXPECT_EQ(verdict_of(ended).reason, "exit 3: no disk");
  ended.last_output.clear();
  ended.verdict.note(wire::parse_pipe_line("err: \x1b[1mbad\xff " + std::string(4, 'x')));
  EXPECT_NE(verdict_of(ended).reason.find("'err:' is no word"), std::string::npos);
  ended.verdict.note(wire::parse_pipe_line("fail soft"));
  EXPECT_EQ(verdict_of(ended).reason, "exit 3: soft") << "as RQ's scripts say it";
  ended.verdict.note(wire::parse_pipe_line("err bad"));
  EXPECT_EQ(verdict_of(ended).reason, "bad") << "what decides, counts";
}

TEST(Verdict, AScriptThatSaysNothingIsToldWhatIsMissing) {
  const Verdict verdict = verdict_of(ended_with(std::nullopt, kGood, ""));
  EXPECT_EQ(verdict.outcome, "failed");
  EXPECT_NE(verdict.reason.find("write \"done TEXT\""), std::string::npos);
}

// faults.md B16
TEST(Verdict, AnExitWithZeroMeansWhatTheQueueSays) {
  using core::Success;
  struct Row {
    Success success;
    bool spoke;
    const char* outcome;
  };
  for (const Row& row : {Row{Success::by_use, false, "done"}, Row{Success::by_use, true, "failed"},
                         Row{Success::word, false, "failed"}, Row{Success::word, true, "failed"},
                         Row{Success::exit, false, "done"}, Row{Success::exit, true, "done"}}) {
    Ended ended = ended_with(std::nullopt, kGood, row.spoke ? "half" : "");
    ended.verdict.spoke = row.spoke;
    EXPECT_EQ(verdict_of(ended, row.success).outcome, row.outcome);
    // A bad exit is a failure, and a word that was said counts, whatever the setting.
    ended.status = kBad;
    EXPECT_EQ(verdict_of(ended, row.success).outcome, "failed");
    ended.status = kGood;
    ended.verdict.decisive = PipeWord::err;
    EXPECT_EQ(verdict_of(ended, row.success).outcome, "err");
  }
}

// faults.md B15
TEST(Verdict, TheReasonOfABadExitIsTheLastLineOfTheOutput) {
  struct Row {
    const char *output, *said, *reason;
  };
  for (const Row& row : {
           Row{"reading\ngzip: a.gz: not in gzip format\n", "half",
               "exit 3: gzip: a.gz: not in gzip format"},
           Row{"one\ntwo\n\n  \n", "", "exit 3: two"},
           Row{"10 %\r20 %\r\n", "", "exit 3: 20 %"},
           Row{"\x1b[1;31mno disk\x1b[0m\n\x1b[0m", "", "exit 3: no disk"},
           Row{"a\x01\tb\xff\n", "", "exit 3: a b\xEF\xBF\xBD"},
           Row{"", "half", "exit 3: half"},
           Row{"", "", "exit 3"},
           Row{"\x1b", "", "exit 3"},
       }) {
    Ended ended = ended_with(std::nullopt, kBad, row.said);
    ended.last_output = row.output;
    EXPECT_EQ(verdict_of(ended).reason, row.reason);
  }
}

// faults.md B15, relative
TEST(Verdict, AnErrWithoutATextHasAReason) {
  Ended ended = ended_with(PipeWord::err, kGood, "");
  EXPECT_EQ(verdict_of(ended).reason, "the script said err, without a reason");
  ended.last_output = "no disk\n";
  EXPECT_EQ(verdict_of(ended).reason, "err: no disk");
}

TEST(Verdict, StoppedAndTimedOutCountUnlessTheWorkWasDone) {
  for (const auto& [cause, outcome] :
       {std::pair{StopCause::asked, "stopped"}, std::pair{StopCause::timed_out, "timed_out"}}) {
    Ended ended = ended_with(std::nullopt, kTermed);
    ended.cause = cause;
    EXPECT_EQ(verdict_of(ended).outcome, outcome);
    ended = ended_with(PipeWord::resend, kGood);
    ended.cause = cause;
    EXPECT_EQ(verdict_of(ended).outcome, outcome);
    ended = ended_with(PipeWord::done, kGood);
    ended.cause = cause;
    EXPECT_EQ(verdict_of(ended).outcome, "done");
    // faults.md B16, relative: one that ends with 0 on TERM has not said that it is done.
    for (const auto success : {core::Success::by_use, core::Success::exit}) {
      ended = ended_with(std::nullopt, kGood, "");
      ended.cause = cause;
      EXPECT_EQ(verdict_of(ended, success).outcome, outcome);
      ended.cause = StopCause::abandoned;
      EXPECT_EQ(verdict_of(ended, success).outcome, "done");
    }
  }
}

TEST(Verdict, WhoHasUsedUpItsCpuTimeIsToldSo) {
  Ended ended = ended_with(std::nullopt, SIGKILL);
  ended.cpu_seconds_max = 2;
  ended.user = std::chrono::milliseconds{1'500};
  EXPECT_EQ(verdict_of(ended).reason, "killed by SIGKILL: text") << "somebody else killed it";
  ended.system = std::chrono::milliseconds{100};
  EXPECT_EQ(verdict_of(ended).reason,
            "out of CPU time: killed by SIGKILL, at the queue's limit of 2 s (cpu_s): text");
}

TEST(Verdict, TheTimeToEndByItselfIsNoPartOfATimeOut) {
  Ended ended = ended_with(std::nullopt, SIGKILL, "");
  ended.cause = StopCause::timed_out;
  ended.wall = std::chrono::seconds{12};
  ended.told_to_end = std::chrono::seconds{2};
  EXPECT_EQ(verdict_of(ended).reason, "timed out after 2.0 s");
}

TEST(Verdict, ThePostMortemIsJsonWithWhatThereIs) {
  Ended ended = ended_with(PipeWord::done, kTermed);
  ended.wall = std::chrono::microseconds{1'500'000};
  ended.rss_bytes = 4096;
  ended.last_output = "a\xff\"b\"\n";
  const auto value =
      boost::json::parse(post_mortem_of(ended, {.path = "/s/x", .sha256 = "ab"})).as_object();
  EXPECT_EQ(value.at("signal").as_int64(), 15);
  EXPECT_FALSE(value.contains("exit_code"));
  EXPECT_DOUBLE_EQ(value.at("wall_s").as_double(), 1.5);
  EXPECT_EQ(value.at("last_output").as_string(), "a\xEF\xBF\xBD\"b\"\n");
  EXPECT_EQ(value.at("script").as_string(), "/s/x");
  EXPECT_FALSE(value.contains("timed_out"));
}

// faults.md D5, relative: its worker died twice, and nobody could wait for it.
TEST(Verdict, WhereNobodySawTheExitTheWordDecides) {
  struct Row {
    std::optional<PipeWord> word;
    std::string outcome, reason;
  };
  for (const Row& row : std::vector<Row>{
           {PipeWord::done, "done", "text"},
           {PipeWord::relayed, "relayed", "text"},
           {PipeWord::resend, "resend", "text"},
           {PipeWord::err, "err", "text"},
           {std::nullopt, "lost",
            "nobody saw its exit code, for its worker died, and it said no final word on fd 3"}}) {
    Ended ended = ended_with(row.word, kGood);
    ended.was_seen = false;
    for (const auto success : {core::Success::word, core::Success::exit, core::Success::by_use}) {
      const Verdict verdict = verdict_of(ended, success);
      EXPECT_EQ(verdict.outcome, row.outcome);
      EXPECT_EQ(verdict.reason, row.reason);
    }
    const auto told = boost::json::parse(post_mortem_of(ended, {})).as_object();
    for (const char* unknown : {"exit_code", "signal", "user_s", "system_s", "rss_bytes"}) {
      EXPECT_FALSE(told.contains(unknown)) << unknown;
    }
  }
  EXPECT_TRUE(may_run_again("lost"));
}

TEST(CleanText, IsUtf8AndWithinItsBoundAtEitherEnd) {
  EXPECT_EQ(clean_text("gr\xc3\xbc\xc3\x9f", 100, Keep::start), "gr\xc3\xbc\xc3\x9f");
  EXPECT_EQ(clean_text("\xc3", 100, Keep::start), "\xEF\xBF\xBD");
  EXPECT_EQ(clean_text("\xed\xa0\x80", 100, Keep::start).size(), 9U);  // half a surrogate pair
  EXPECT_EQ(clean_text(std::string_view("a\0b", 3), 100, Keep::start),
            "a\xEF\xBF\xBD"
            "b");
  // Never half a character.
  EXPECT_EQ(clean_text("ab\xc3\xbc", 3, Keep::start), "ab");
  EXPECT_EQ(clean_text("\xc3\xbc"
                       "ab",
                       3, Keep::end),
            "ab");
}

}  // namespace
}  // namespace rq::worker
