// The reporter against a server that the test plays itself.
#include "worker/reporter.h"

#include <gtest/gtest.h>

#include <fmt/format.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>

#include "client/fake_server_rig.h"

namespace rq::worker {
namespace {

namespace json = boost::json;
using client::FakeServer;
using client::http_ok;

class ReporterTest : public testing::Test {
 protected:
  ReporterTest() : server_(io_), client_(io_, server_.address()) {
    server_.start();
    record_ = *RunningRecord::open(file_ + ".record");
    memory_ = *KeptMemory::make();
    record_->keep_in(*memory_);
    static_cast<void>(record_->clean_up());
    start();
  }
  ~ReporterTest() override {
    for (const std::string& file : {file_, file_ + ".record"}) ::unlink(file.c_str());
  }
  void start() {
    reporter_.emplace(
        io_, client_, UntoldEnds(file_, "unix:/run/x"), *record_,
        Reporter::Listener{
            .on_stop = [this](const std::string& token) { heard_.push_back("stop " + token); },
            .on_lost =
                [this](const std::string& token, Reporter::Lost how) {
                  heard_.push_back((how == Reporter::Lost::taken ? "taken " : "late ") + token);
                },
            .on_idle = [this] { heard_.emplace_back("idle"); },
            .on_kept = [this] { ++kept_; },
            .on_turn_end =
                [this] {
                  if (on_turn_end_) on_turn_end_();
                }});
  }
  void until(const std::function<bool()>& done) {
    ASSERT_TRUE(client::run_until(io_, done)) << "it does not happen";
  }
  // The next request, when it has come.
  FakeServer::Asked asked() {
    until([this] { return !server_.asked.empty(); });
    if (server_.asked.empty()) return {};
    FakeServer::Asked first = std::move(server_.asked.front());
    server_.asked.pop_front();
    return first;
  }
  static std::vector<std::string> tokens_of(const FakeServer::Asked& request) {
    std::vector<std::string> tokens;
    const json::value body = json::parse(request.body);
    for (const json::value& item : body.at("items").as_array()) {
      tokens.emplace_back(item.at("token").as_string());
    }
    return tokens;
  }
  void answer(const FakeServer::Asked& request, const std::string& items) {
    server_.say(request.connection, http_ok("{\"items\":[" + items + "]}"));
  }
  void finish(const std::string& token, std::string_view outcome = "done") {
    reporter_->finish({.token = token,
                       .outcome = outcome,
                       .reason = "why \"so\"",
                       .post_mortem = R"({"exit_code":0})",
                       .delay_ms = 1500});
  }
  void hear(std::size_t count) {
    until([this, count] { return heard_.size() >= count; });
  }

  const std::string file_ = fmt::format("{}untold-{}", testing::TempDir(), ::getpid());
  boost::asio::io_context io_;
  FakeServer server_;
  client::HttpClient client_;
  std::unique_ptr<RunningRecord> record_;
  std::unique_ptr<KeptMemory> memory_;
  std::optional<Reporter> reporter_;
  std::vector<std::string> heard_;
  int kept_ = 0;
  std::function<void()> on_turn_end_;
};

constexpr const char* kDone = R"({"state":"done"})";
constexpr const char* kLost = R"({"error":{"code":"lease_lost","message":"gone"}})";
constexpr const char* kBusy = R"({"error":{"code":"busy","message":"later"}})";

TEST_F(ReporterTest, TheEndsOfATurnGoInOneRequest) {
  finish("1.1.1");
  finish("2.1.1", "resend");
  EXPECT_FALSE(reporter_->idle());
  const auto request = asked();
  EXPECT_EQ(request.what(), "POST /v1/finish");
  const json::array items = json::parse(request.body).at("items").as_array();
  ASSERT_EQ(items.size(), 2U);
  for (const json::value& item : items) {
    const bool first = item.at("token") == "1.1.1";
    EXPECT_EQ(item.at("outcome").as_string(), first ? "done" : "resend");
    EXPECT_EQ(item.at("reason").as_string(), "why \"so\"");
    EXPECT_EQ(item.at("delay_s").as_double(), 1.5);
    EXPECT_EQ(item.at("post_mortem").at("exit_code").as_int64(), 0);
  }
  answer(request, std::string(kDone) + "," + kDone);
  hear(1);
  EXPECT_EQ(heard_, (std::vector<std::string>{"idle"}));
  EXPECT_TRUE(reporter_->idle());
}

// faults.md B2, relative: a server that is older, or more exact, than the worker.
TEST_F(ReporterTest, AnEndThatIsRefusedForItsFormIsToldWithoutWhatWasMeasured) {
  finish("1.1.1");
  answer(asked(), R"({"error":{"code":"bad_value","message":"system_s is too small"}})");
  const auto again = asked();
  const json::value item = json::parse(again.body).at("items").at(0);
  EXPECT_EQ(item.at("token"), "1.1.1");
  EXPECT_EQ(item.at("outcome"), "done");
  EXPECT_FALSE(item.as_object().contains("post_mortem"));
  answer(again, R"({"error":{"code":"bad_value","message":"nor this"}})");
  hear(1);
  EXPECT_EQ(heard_, (std::vector<std::string>{"idle"})) << "once";
}

// faults.md B2, relative: a loop dies, and no server has confirmed what it knew.
TEST_F(ReporterTest, AnEndIsInTheRecordUntilAServerHasConfirmedIt) {
  const int slot = record_->begin("1.1.1");
  record_->began(slot, Spawned{.pid = 999'999'999});
  const std::string odd(4000, '\x01');
  reporter_->finish({.token = "1.1.1",
                     .outcome = "done",
                     .reason = odd,
                     .post_mortem = R"({"last_output":")" + std::string(24'000, 'x') + R"("})"},
                    slot);
  const int not_begun = record_->add("2.1.1");
  reporter_->finish(
      {.token = "2.1.1", .outcome = "release", .reason = "later", .post_mortem = {}, .delay_ms = 7},
      not_begun);
  // Once more, before it could say anything: nothing is lost by that either.
  for (int death = 0; death < 2; ++death) {
    RunningRecord::Leftovers left = record_->take_over(true);
    EXPECT_TRUE(left.begun.empty() && left.not_begun.empty() && left.staying.empty());
    ASSERT_EQ(left.untold.size(), 2U);
    EXPECT_FALSE(record_->is_suspect(1)) << "no message that had ended is to blame";
    start();
    reporter_->take_over(std::move(left.untold));
  }
  const auto request = asked();
  std::set<std::string> outcomes;
  const json::value told = json::parse(request.body);
  for (const json::value& item : told.at("items").as_array()) {
    outcomes.emplace(item.at("outcome").as_string());
    if (item.at("token") != "1.1.1") continue;
    EXPECT_EQ(item.at("reason").as_string(), odd);
    EXPECT_EQ(item.at("post_mortem").at("last_output").as_string().size(), 24'000U);
  }
  EXPECT_EQ(outcomes, (std::set<std::string>{"done", "release"}));
  answer(request, std::string(kDone) + "," + kDone);
  until([this] { return reporter_->idle(); });
  const RunningRecord::Leftovers left = record_->take_over(true);
  EXPECT_TRUE(left.begun.empty() && left.not_begun.empty() && left.untold.empty());
}

// faults.md B2, relative: it is in one place or in the other.
TEST_F(ReporterTest, AnEndThatLiesInTheFileHasLeftTheRecord) {
  const int slot = record_->begin("1.1.1");
  reporter_->finish({.token = "1.1.1", .outcome = "done", .reason = {}, .post_mortem = {}}, slot);
  const int runs = record_->begin("2.1.1");
  record_->began(runs, Spawned{.pid = 999'999'999});
  EXPECT_TRUE(reporter_->keep_untold());
  {
    // If no process of this worker is left, the next one has the record's file only.
    std::filesystem::copy_file(file_ + ".record", file_ + ".copy");
    const auto next = RunningRecord::open(file_ + ".copy");
    ASSERT_TRUE(next.has_value());
    ASSERT_EQ((*next)->clean_up().begun.size(), 1U) << "one that ran, and none that had ended";
    ::unlink((file_ + ".copy").c_str());
  }
  record_->remove(runs);
  RunningRecord::Leftovers left = record_->take_over(true);
  EXPECT_TRUE(left.begun.empty() && left.untold.empty());
  // A worker that died between the one and the other has it in both.
  const int again = record_->begin("1.1.1");
  ASSERT_TRUE(record_->keep_end(again, R"({"token":"1.1.1","outcome":"done"})"));
  left = record_->take_over(true);
  ASSERT_EQ(left.untold.size(), 1U);
  start();
  reporter_->take_over(std::move(left.untold));
  reporter_->tell_untold();
  EXPECT_EQ(reporter_->untold(), 1U);
  EXPECT_TRUE(record_->take_over(true).untold.empty());
  EXPECT_FALSE(record_->keep_end(again, std::string(kEndBytes + 1, 'x'))) << "too long";
}

// faults.md B2, relative: what a process before this one had may have run.
TEST_F(ReporterTest, ItsFirstWordOnItsLeasesSaysThatItBegins) {
  int said = 0;
  const auto keep = [&] { reporter_->keep("w", [&said] { ++said; }); };
  const auto started = [](const FakeServer::Asked& request) {
    return json::parse(request.body).as_object().contains("started");
  };
  keep();
  const auto first = asked();
  EXPECT_TRUE(started(first));
  server_.say(first.connection, http_ok(R"({"returned":1000,"more":true})"));
  const auto rest = asked();
  EXPECT_TRUE(started(rest)) << "the server has more of them";
  server_.say(rest.connection, http_ok(R"({"returned":1,"more":false})"));
  until([&said] { return said == 1; });
  keep();
  const auto again = asked();
  EXPECT_FALSE(started(again)) << "what is not here now was on its way";
  server_.say(again.connection, http_ok(R"({"returned":0,"more":false})"));
  until([&said] { return said == 2; });
}

// faults.md B2, relative
TEST_F(ReporterTest, AnEndThatCannotBeKeptIsKnownToBeInDanger) {
  std::filesystem::create_directory(file_);
  finish("1.1.1");
  EXPECT_FALSE(reporter_->keep_untold());
  const auto request = asked();
  std::filesystem::remove(file_);
  answer(request, kBusy);
  until([this] { return kept_ == 1; });
  EXPECT_TRUE(reporter_->keep_untold());
  EXPECT_EQ(reporter_->untold(), 1U);
  EXPECT_FALSE(reporter_->idle());
}

// faults.md B2, relative: the server is away, and then the worker goes as well.
TEST_F(ReporterTest, WhatCouldNotBeToldIsToldByTheNextOne) {
  finish("1.1.1");
  finish("2.1.1", "resend");
  const auto refused = asked();
  const std::vector<std::string> order = tokens_of(refused);
  answer(refused, std::string(kBusy) + "," + kBusy);
  until([this] { return std::filesystem::exists(file_); });
  finish("3.1.1", "release");
  reporter_->leave_untold();
  constexpr const char* kOther = R"({"server":"http://other:1","end":{"token":"4.1.1"}})";
  std::ofstream(file_, std::ios::app) << "\n"
                                      << kOther << "\n{\"server\":\"unix:/run/x\",\"end\":{\"tok";
  io_.restart();
  server_.asked.clear();

  start();
  reporter_->tell_untold();
  EXPECT_FALSE(reporter_->idle());
  std::map<std::string, std::string> outcomes;
  until([&] {
    for (; !server_.asked.empty(); server_.asked.pop_front()) {
      const auto request = server_.asked.front();
      std::string items;
      const json::value body = json::parse(request.body);
      for (const json::value& item : body.at("items").as_array()) {
        outcomes[item.at("token").as_string().c_str()] = item.at("outcome").as_string().c_str();
        EXPECT_EQ(item.at("reason").as_string(), "why \"so\"");
        items += items.empty() ? kDone : std::string(",") + kDone;
      }
      answer(request, items);
    }
    return reporter_->idle();
  });
  EXPECT_EQ(outcomes, (std::map<std::string, std::string>{
                          {"1.1.1", "done"}, {"2.1.1", "resend"}, {"3.1.1", "release"}}));
  const auto text = [this] {
    std::ifstream in(file_);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  EXPECT_EQ(text(), std::string(kOther) + "\n") << "what is left is for another server";
  start();
  reporter_->tell_untold();
  EXPECT_TRUE(reporter_->idle());
  EXPECT_EQ(text(), std::string(kOther) + "\n");

  UntoldEnds others(file_, "http://other:1");
  const auto ends = others.read();
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_EQ(ends[0].token, "4.1.1");
  others.clear();
  EXPECT_FALSE(std::filesystem::exists(file_)) << "there is nothing left to tell";
}

TEST_F(ReporterTest, ARequestForMessagesTakesTheEndsAlongInOnePiece) {
  bool reserved = false;
  on_turn_end_ = [&] {
    on_turn_end_ = nullptr;
    reporter_->reserve(R"({"limit":1})", base::Millis{60'000},
                       [&](const base::Result<client::Reply>& reply) {
                         EXPECT_TRUE(reply);
                         reserved = true;
                       });
  };
  finish("1.1.1");
  const auto first = asked();
  const auto second = asked();
  EXPECT_EQ(first.what(), "POST /v1/finish");
  EXPECT_EQ(second.what(), "POST /v1/reserve");
  EXPECT_EQ(second.body, R"({"limit":1})");
  EXPECT_EQ(first.connection, second.connection);
  answer(first, kDone);
  server_.say(second.connection, http_ok(R"({"messages":[]})"));
  until([&reserved] { return reserved; });
  EXPECT_TRUE(reporter_->idle());
}

TEST_F(ReporterTest, AnEndIsToldUntilTheServerHasAnswered) {
  finish("1.1.1");
  finish("2.1.1");
  server_.drop(asked().connection);
  const auto again = asked();
  EXPECT_EQ(again.what(), "POST /v1/finish");
  const auto tokens = tokens_of(again);
  EXPECT_EQ(std::set<std::string>(tokens.begin(), tokens.end()),
            (std::set<std::string>{"1.1.1", "2.1.1"}));
  // One is done, the other is to come again.
  answer(again, tokens[0] == "1.1.1" ? std::string(kDone) + "," + kBusy
                                     : std::string(kBusy) + "," + kDone);
  const auto third = asked();
  EXPECT_EQ(tokens_of(third), (std::vector<std::string>{"2.1.1"}));
  EXPECT_TRUE(heard_.empty());
  answer(third, kDone);
  hear(1);
  EXPECT_EQ(heard_.front(), "idle");
}

TEST_F(ReporterTest, AnEndSurvivesAServerThatIsAway) {
  server_.stop();
  finish("1.1.1");
  bool tried = false;
  client::Request other = client::post_json(
      "/", "{}", [&tried](const base::Result<client::Reply>& reply) { tried = !reply; });
  on_turn_end_ = [&] {
    on_turn_end_ = nullptr;
    client_.send(std::move(other));
  };
  until([&tried] { return tried; });
  EXPECT_FALSE(reporter_->idle());
  server_.start();
  const auto request = asked();
  EXPECT_EQ(tokens_of(request), (std::vector<std::string>{"1.1.1"}));
  answer(request, kDone);
  hear(1);
}

// faults.md D17, relative: a server that hangs answers nothing, and then the worker dies.
TEST_F(ReporterTest, AnEndThatIsNotAnsweredForAMomentGoesIntoTheFile) {
  const int slot = record_->begin("1.1.1");
  reporter_->finish({.token = "1.1.1", .outcome = "done", .reason = {}, .post_mortem = {}}, slot);
  EXPECT_TRUE(reporter_->is_kept());
  finish("2.1.1");
  EXPECT_FALSE(reporter_->is_kept()) << "this one is in no memory that goes on";
  const auto request = asked();
  EXPECT_EQ(tokens_of(request).size(), 2U);
  until([this] { return kept_ == 1; });
  EXPECT_TRUE(reporter_->is_kept());
  EXPECT_TRUE(record_->take_over(true).untold.empty());
  EXPECT_EQ(UntoldEnds(file_, "unix:/run/x").read().size(), 2U);
  answer(request, std::string(kDone) + "," + kDone);
  hear(1);
  EXPECT_FALSE(std::filesystem::exists(file_));
}

// faults.md B2, relative: the server cannot take them yet.
TEST_F(ReporterTest, TheLeasesOfEndsThatAreTakenOverAreKeptAlive) {
  const int slot = record_->begin("1.1.1");
  record_->kept(slot)->lease_ms = 30;
  ASSERT_TRUE(record_->keep_end(slot, R"({"token":"1.1.1","outcome":"done"})"));
  reporter_->take_over(record_->take_over(true).untold);
  bool beaten = false;
  until([&] {
    for (; !server_.asked.empty(); server_.asked.pop_front()) {
      const auto& request = server_.asked.front();
      const bool beat = request.what() == "POST /v1/heartbeat";
      beaten = beaten || (beat && tokens_of(request) == std::vector<std::string>{"1.1.1"});
      answer(request, beat ? R"({"stop":"none"})" : kBusy);
    }
    return beaten;
  });
  EXPECT_FALSE(reporter_->idle());
}

TEST_F(ReporterTest, ARefusedEndIsDropped) {
  finish("1.1.1");
  answer(asked(), kLost);
  hear(1);
  EXPECT_EQ(heard_, (std::vector<std::string>{"idle"}));
  EXPECT_TRUE(reporter_->idle());
}

TEST_F(ReporterTest, WhenOneEndSpoilsTheRequestEachGoesAlone) {
  finish("1.1.1");
  finish("2.1.1");
  const auto both = asked();
  server_.say(both.connection,
              http_ok(R"({"error":{"code":"bad_request","message":"no"}})", "400 Bad Request"));
  std::set<std::string> alone;
  for (int i = 0; i < 2; ++i) {
    const auto one = asked();
    ASSERT_EQ(tokens_of(one).size(), 1U);
    alone.insert(tokens_of(one).front());
    answer(one, kDone);
  }
  EXPECT_EQ(alone.size(), 2U);
  hear(1);
}

TEST_F(ReporterTest, AnEndThatIsAnsweredWithNonsenseIsNotRepeatedForEver) {
  for (const char* nonsense : {R"({"items":[]})", R"({"item":{}})", "[]", "<html>"}) {
    heard_.clear();
    finish("1.1.1");
    server_.say(asked().connection, http_ok(nonsense));
    hear(1);
    EXPECT_EQ(heard_, (std::vector<std::string>{"idle"})) << nonsense;
    EXPECT_TRUE(reporter_->idle()) << nonsense;
    EXPECT_TRUE(server_.asked.empty()) << nonsense;
  }
}

TEST_F(ReporterTest, LeasesAreKeptAliveBeforeTheyEnd) {
  reporter_->track("1.1.1", base::Millis{30});
  const auto first = asked();
  EXPECT_EQ(first.what(), "POST /v1/heartbeat");
  EXPECT_EQ(tokens_of(first), (std::vector<std::string>{"1.1.1"}));
  answer(first, R"({"until":"2026-11-21T00:21:54.865Z","stop":"none"})");
  const auto second = asked();
  EXPECT_EQ(tokens_of(second), (std::vector<std::string>{"1.1.1"}));
  EXPECT_TRUE(heard_.empty());
}

TEST_F(ReporterTest, AnswersToHeartbeatsReachTheirAttempts) {
  for (const char* token : {"1.1.1", "2.1.1", "3.1.1", "4.1.1"}) {
    reporter_->track(token, base::Millis{60'000});
  }
  bool then = false;
  reporter_->beat_all([&then] { then = true; });
  const auto request = asked();
  std::string items;
  for (const std::string& token : tokens_of(request)) {
    if (!items.empty()) items += ',';
    items += token == "1.1.1"   ? R"({"stop":"none"})"
             : token == "2.1.1" ? R"({"stop":"cancel"})"
             : token == "3.1.1" ? kLost
                                : kBusy;
  }
  answer(request, items);
  until([&then] { return then; });
  EXPECT_EQ(std::set<std::string>(heard_.begin(), heard_.end()),
            (std::set<std::string>{"stop 2.1.1", "late 3.1.1"}));
  // The lost one is not kept alive any more.
  reporter_->beat_all([] {});
  const auto next = tokens_of(asked());
  EXPECT_EQ(std::set<std::string>(next.begin(), next.end()),
            (std::set<std::string>{"1.1.1", "2.1.1", "4.1.1"}));
}

TEST_F(ReporterTest, ACheckAsksForTheseTokensOnly) {
  for (const char* token : {"1.1.1", "1.2.1", "3.1.1"}) {
    reporter_->track(token, base::Millis{60'000});
  }
  reporter_->check({"1.1.1", "1.2.1", "9.9.9"});
  const auto request = asked();
  EXPECT_EQ(tokens_of(request), (std::vector<std::string>{"1.1.1", "1.2.1"}));
  answer(request, std::string(kLost) + R"(,{"stop":"none"})");
  hear(1);
  EXPECT_EQ(heard_, (std::vector<std::string>{"taken 1.1.1"}));
}

TEST_F(ReporterTest, AHeartbeatThatCrossesAnEndDoesNotLoseIt) {
  reporter_->track("1.1.1", base::Millis{60'000});
  reporter_->beat_all([] {});
  const auto beat = asked();
  finish("1.1.1");
  const auto end = asked();
  answer(end, kBusy);
  answer(beat, kLost);
  const auto again = asked();
  EXPECT_EQ(again.what(), "POST /v1/finish");
  EXPECT_TRUE(heard_.empty());
  answer(again, kDone);
  hear(1);
  EXPECT_EQ(heard_.front(), "idle");
}

TEST_F(ReporterTest, TheLatestProgressIsToldAndNoneAfterTheEnd) {
  for (const char* token : {"1.1.1", "2.1.1", "3.1.1"}) {
    reporter_->track(token, base::Millis{60'000});
  }
  reporter_->progress("1.1.1", "first", Reporter::When::now);
  reporter_->progress("1.1.1", "second", Reporter::When::now);
  reporter_->progress("2.1.1", "ends", Reporter::When::now);
  reporter_->progress("9.9.9", "unknown", Reporter::When::now);
  finish("2.1.1");
  std::string progress;
  for (int i = 0; i < 2; ++i) {
    const auto request = asked();
    if (request.what() == "POST /v1/progress") {
      progress = request.body;
      server_.say(request.connection, http_ok("{}"));
    } else {
      answer(request, kDone);
    }
  }
  EXPECT_EQ(progress, R"({"items":[{"token":"1.1.1","progress":"second"}]})");
  reporter_->progress("3.1.1", "later", Reporter::When::now);
  EXPECT_EQ(asked().body, R"({"items":[{"token":"3.1.1","progress":"later"}]})");
}

// faults.md B6
TEST_F(ReporterTest, ADecidingWordIsToldUnlessTheEndComesFirst) {
  for (const char* token : {"1.1.1", "2.1.1"}) reporter_->track(token, base::Millis{60'000});
  reporter_->progress("1.1.1", "cleaning up", Reporter::When::soon);
  reporter_->progress("2.1.1", "ends", Reporter::When::soon);
  finish("2.1.1");
  const auto end = asked();
  EXPECT_EQ(end.what(), "POST /v1/finish");
  answer(end, kDone);
  EXPECT_EQ(asked().body, R"({"items":[{"token":"1.1.1","progress":"cleaning up"}]})");
}

// faults.md B6
TEST_F(ReporterTest, AnEmptyTextIsToldAndAnAbsentOneIsNot) {
  reporter_->finish({.token = "1.1.1", .outcome = "done", .reason = "", .post_mortem = {}});
  const auto first = asked();
  EXPECT_EQ(first.body, R"({"items":[{"token":"1.1.1","outcome":"done","reason":""}]})");
  answer(first, kDone);
  reporter_->finish({.token = "2.1.1", .outcome = "release", .reason = {}, .post_mortem = {}});
  EXPECT_EQ(asked().body, R"({"items":[{"token":"2.1.1","outcome":"release"}]})");
}

// faults.md B9
TEST_F(ReporterTest, ADuplicateIsAskedOfTheNextServerUnderTheSameKey) {
  std::vector<bool> got;
  const auto note = [&got](const base::Result<client::Reply>& reply) {
    got.push_back(reply.has_value());
  };
  reporter_->track("1.1.1", base::Millis{60'000});
  reporter_->duplicate("1.1.1", "other", 5, 3, note);
  const auto first = asked();
  const char* const body = R"({"token":"1.1.1","queue":"other","delay_s":5,"key":"dup-1.1.1-3"})";
  EXPECT_EQ(first.body, body);
  server_.stop();
  server_.asked.clear();
  server_.start();
  const auto second = asked();
  EXPECT_EQ(second.body, body);
  server_.say(second.connection, http_ok(R"({"id":"x"})"));
  until([&got] { return got.size() == 1; });
  EXPECT_TRUE(got[0]);
  // Nobody asks on for a lease that is over.
  reporter_->forget("1.1.1");
  reporter_->duplicate("1.1.1", "other", 5, 4, note);
  server_.drop(asked().connection);
  server_.stop();
  until([&got] { return got.size() == 2; });
  EXPECT_FALSE(got[1]);
}

// faults.md B9, relative: while the disk was full the script waited for its answer, and its slot
// and whoever cancelled it with it.
TEST_F(ReporterTest, ADuplicateThatFindsTheDiskFullIsRefused) {
  std::vector<int> got;
  reporter_->track("1.1.1", base::Millis{60'000});
  reporter_->duplicate("1.1.1", "other", 0, 1, [&got](const base::Result<client::Reply>& reply) {
    got.push_back(reply ? reply->status : 0);
  });
  server_.say(asked().connection,
              "HTTP/1.1 507 Insufficient Storage\r\nContent-Type: application/json\r\n"
              "Content-Length: 47\r\n\r\n"
              R"({"error":{"code":"disk_full","message":"full"}})");
  until([&got] { return !got.empty(); });
  EXPECT_EQ(got, (std::vector<int>{507}));
}

// faults.md B11
TEST_F(ReporterTest, SaysWhichLeasesItHasUntilNoMoreGoBack) {
  reporter_->track("1.1.1", base::Millis{60'000});
  finish("2.1.1");
  answer(asked(), kBusy);
  bool then = false;
  reporter_->keep("me", [&then] { then = true; });
  const auto first = asked();
  EXPECT_EQ(first.what(), "POST /v1/leases");
  const json::value body = json::parse(first.body);
  EXPECT_EQ(body.at("worker").as_string(), "me");
  EXPECT_EQ(body.at("tokens").as_array().size(), 2U);
  server_.say(first.connection, http_ok(R"({"returned":1000,"more":true})"));
  auto second = asked();
  if (second.what() == "POST /v1/finish") {
    answer(second, kDone);
    second = asked();
  }
  EXPECT_EQ(second.what(), "POST /v1/leases");
  EXPECT_FALSE(then);
  server_.say(second.connection, http_ok(R"({"returned":0,"more":false})"));
  until([&then] { return then; });
}

}  // namespace
}  // namespace rq::worker
