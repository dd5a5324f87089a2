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
constexpr int kGood = 0;
constexpr int kBad = 3 << 8;
constexpr int kTermed = SIGTERM;

TEST(Verdict, FollowsTheTableOfRq) {
  struct Row {
    std::optional<PipeWord> word;
    int status;
    std::string outcome, reason;
  };
  const auto text = [](const char* completion, const char* end) {
    return std::string("PROCESS EXITED IMPROPERLY - MOVING TO ERR - Completion was ") + completion +
           " but exit status was " + end;
  };
  const std::vector<Row> rows{
      {PipeWord::done, kGood, "done", "text"},
      {PipeWord::relayed, kGood, "relayed", "text"},
      {PipeWord::resend, kGood, "resend", "text"},
      {PipeWord::err, kGood, "err", "text"},
      {std::nullopt, kGood, "failed", "text"},
      {PipeWord::done, kBad, "failed", text("done", "pid 4711 exit 3")},
      {PipeWord::relayed, kBad, "failed", text("relayed", "pid 4711 exit 3")},
      {PipeWord::resend, kBad, "failed", text("resend", "pid 4711 exit 3")},
      {PipeWord::err, kBad, "err", "text"},
      {std::nullopt, kBad, "failed", text("", "pid 4711 exit 3")},
      {PipeWord::done, kTermed, "failed", text("done", "pid 4711 SIGTERM (signal 15)")},
      {PipeWord::err, kTermed, "err", "text"},
  };
  for (const Row& row : rows) {
    const Verdict verdict = verdict_of(ended_with(row.word, row.status));
    EXPECT_EQ(verdict.outcome, row.outcome);
    EXPECT_EQ(verdict.reason, row.reason);
    EXPECT_EQ(verdict.delay_s, row.outcome == "resend" ? 7 : 0);
  }
}

TEST(Verdict, AScriptThatSaysNothingIsToldWhatIsMissing) {
  const Verdict verdict = verdict_of(ended_with(std::nullopt, kGood, ""));
  EXPECT_EQ(verdict.outcome, "failed");
  EXPECT_NE(verdict.reason.find("completion word"), std::string::npos);
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
  }
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
