// The worker's loop with real scripts, against a server that the test plays itself.
#include "worker/loop.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <map>

#include "base/temp_dir_rig.h"
#include "client/fake_server_rig.h"

namespace rq::worker {
namespace {

namespace json = boost::json;
namespace fs = std::filesystem;
using client::FakeServer;
using client::http_chunk;
using client::http_ok;

// Says that it runs, and goes on until it is told to stop.
constexpr std::string_view kWaits =
    "trap 'exit 3' TERM\necho \"run waiting $RQ_ATTEMPT\" >&3\nsleep 1000 &\nwait\n";
constexpr std::string_view kDone = "echo \"done $RQ_PARAM1\" >&3\n";

// The API, as far as a worker needs it.
class FakeApi {
 public:
  explicit FakeApi(boost::asio::io_context& io) : server(io) {
    server.on_request = [this](const FakeServer::Asked& request) { answer(request); };
    server.start();
  }

  void say(std::string_view event, const json::value& data) {
    server.say(*events, http_chunk("event: " + std::string(event) +
                                   "\ndata: " + json::serialize(data) + "\n\n"));
  }
  // Answers the reserve that has waited longest.
  void give(const json::array& messages) {
    const FakeServer::Asked request = reserves.front();
    reserves.pop_front();
    server.say(request.connection, http_ok(json::serialize(json::object{{"messages", messages}})));
  }
  [[nodiscard]] bool has_progress(std::string_view token, std::string_view text) const {
    return std::find(progress.begin(), progress.end(),
                     std::string(token) + " " + std::string(text)) != progress.end();
  }

  FakeServer server;
  std::optional<std::size_t> events;  // the connection that follows them
  json::array queues;
  std::deque<FakeServer::Asked> reserves;  // that wait
  std::vector<std::string> log;            // what was asked, in its order
  std::vector<json::object> finishes;
  std::vector<std::string> progress;  // "TOKEN TEXT"
  std::vector<json::value> script_errors;
  std::map<std::string, std::string> standing;  // what a heartbeat says of a token
  std::string dies_of;                          // the server: when it is asked this
  std::string duplicate_answer = http_ok(R"({"id":"copy"})");

 private:
  void answer(const FakeServer::Asked& request) {
    const std::string what = request.what();
    log.push_back(what);
    if (what == dies_of) {
      dies_of.clear();
      return server.stop();
    }
    const auto ok = [&](const std::string& body) { server.say(request.connection, http_ok(body)); };
    if (what.starts_with("GET /v1/events")) {
      events = request.connection;
      server.say(request.connection, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" +
                                         http_chunk("event: hello\ndata: {\"boot\":1}\n\n"));
    } else if (what == "GET /v1/queues") {
      ok(json::serialize(json::object{{"queues", queues}}));
    } else if (what == "POST /v1/reserve") {
      reserves.push_back(request);
    } else if (what == "POST /v1/finish") {
      ok(items(request, [this](const json::object& item) {
        finishes.push_back(item);
        return R"({"state":"done"})";
      }));
    } else if (what == "POST /v1/leases") {
      ok(R"({"returned":0,"more":false})");
    } else if (what == "POST /v1/heartbeat") {
      ok(items(request, [this](const json::object& item) {
        const auto said = standing.find(std::string(item.at("token").as_string()));
        return said == standing.end() ? std::string(R"({"stop":"none"})") : said->second;
      }));
    } else if (what == "POST /v1/progress") {
      ok(items(request, [this](const json::object& item) {
        progress.push_back(std::string(item.at("token").as_string()) + " " +
                           std::string(item.at("progress").as_string()));
        return "{}";
      }));
    } else if (what == "POST /v1/duplicate") {
      server.say(request.connection, duplicate_answer);
    } else if (what.ends_with("/script-error")) {
      script_errors.push_back(json::parse(request.body).at("error"));
      ok("{}");
    }
  }

  template <typename Each>
  static std::string items(const FakeServer::Asked& request, Each each) {
    std::string out = "{\"items\":[";
    const json::value body = json::parse(request.body);
    for (const json::value& item : body.at("items").as_array()) {
      if (out.back() != '[') out += ',';
      out += each(item.as_object());
    }
    return out + "]}";
  }
};

class WorkerLoop : public testing::Test {
 protected:
  WorkerLoop() : api_(io_) {
    record_ = *RunningRecord::open(dir_ + "/worker.running");
    make_loop(false);
  }
  // `kept`: of a server of this machine.
  void make_loop(bool kept) {
    loop_.emplace(
        io_,
        LoopFacts{.dir = dir_,
                  .untold_file = dir_ + "/worker.untold",
                  .name = "tester",
                  .worker = {.base_url = "http://127.0.0.1:1/", .version = "1", .env = "test"},
                  .kept = kept},
        api_.server.address(), *record_);
  }
  ~WorkerLoop() override { loop_.reset(); }

  void until(const std::function<bool()>& done) {
    ASSERT_TRUE(client::run_until(io_, done)) << "it does not happen";
  }
  std::string script(const std::string& name, std::string_view text) {
    const std::string path = dir_ + "/" + name;
    std::ofstream(path) << "#!/bin/bash\n" << text;
    fs::permissions(path, fs::perms::owner_all);
    return path;
  }
  static json::object queue(const std::string& name, const std::string& script,
                            std::int64_t workers = 1) {
    return {{"name", name},
            {"script_error", nullptr},
            {"settings", {{"script", script}, {"num_workers", workers}, {"grace_s", 5}}}};
  }
  // The message `seq` of queue q, in its nth lease: "SEQ.N.1" is the token.
  static json::object message(std::int64_t seq, int attempt = 1) {
    const std::string number = std::to_string(seq);
    return {{"id", "20261121.0021.54.865." + number},
            {"seq", seq},
            {"queue", "q"},
            {"param1", "text of " + number},
            {"folder", "queue/q/" + number},
            {"lease",
             {{"token", number + "." + std::to_string(attempt) + ".1"},
              {"attempt", attempt},
              {"since", "2026-11-21T00:21:54.865Z"},
              {"until", "2026-11-21T00:22:54.865Z"}}}};
  }
  // Starts with one queue, and waits until it asks for messages.
  void start_with(std::string_view text, std::int64_t workers = 1) {
    api_.queues = {queue("q", script("script", text), workers)};
    loop_->start();
    until([this] { return !api_.reserves.empty(); });
  }
  void finishes(std::size_t count) {
    until([this, count] { return api_.finishes.size() >= count; });
  }
  static std::int64_t limit_of(const FakeServer::Asked& reserve) {
    return json::parse(reserve.body).at("limit").as_int64();
  }

  boost::asio::io_context io_{1};
  FakeApi api_;
  base::test::TempDir temp_;
  std::string dir_ = temp_.path();
  std::unique_ptr<RunningRecord> record_;
  std::optional<Loop> loop_;
};

TEST_F(WorkerLoop, TakesAMessageThroughItsScriptAndReportsIt) {
  start_with(kDone);
  EXPECT_EQ(json::parse(api_.reserves.front().body).at("worker").as_string(), "tester");
  EXPECT_EQ(limit_of(api_.reserves.front()), 1);
  api_.give({message(7)});
  finishes(1);
  const json::object& end = api_.finishes.front();
  EXPECT_EQ(end.at("token").as_string(), "7.1.1");
  EXPECT_EQ(end.at("outcome").as_string(), "done");
  EXPECT_EQ(end.at("reason").as_string(), "text of 7");
  EXPECT_EQ(end.at("post_mortem").at("exit_code").as_int64(), 0);
  EXPECT_TRUE(fs::exists(dir_ + "/queue/q/7/job/stdio.log"));
  until([this] { return !api_.reserves.empty(); });
  // The next request for messages stood right behind the end, in one piece.
  const auto finish = std::find(api_.log.begin(), api_.log.end(), "POST /v1/finish");
  ASSERT_NE(finish, api_.log.end());
  EXPECT_EQ(*(finish + 1), "POST /v1/reserve");
}

TEST_F(WorkerLoop, AsksForAsManyMessagesAsItHasFreeSlots) {
  start_with(kWaits, 3);
  EXPECT_EQ(limit_of(api_.reserves.front()), 3);
  api_.give({message(1), message(2)});
  until([this] { return !api_.reserves.empty(); });
  EXPECT_EQ(limit_of(api_.reserves.front()), 1);
  until([this] {
    return api_.has_progress("1.1.1", "waiting 1") && api_.has_progress("2.1.1", "waiting 1");
  });
}

TEST_F(WorkerLoop, FirstSaysWhichLeasesLiveThenReadsTheQueues) {
  start_with(kWaits, 2);
  api_.give({message(1)});
  until([this] { return api_.has_progress("1.1.1", "waiting 1") && !api_.reserves.empty(); });
  api_.log.clear();
  api_.reserves.clear();
  api_.server.drop_connections();
  until([this] { return !api_.reserves.empty(); });
  const auto beat = std::find(api_.log.begin(), api_.log.end(), "POST /v1/heartbeat");
  const auto queues = std::find(api_.log.begin(), api_.log.end(), "GET /v1/queues");
  const auto reserve = std::find(api_.log.begin(), api_.log.end(), "POST /v1/reserve");
  EXPECT_LT(beat, queues);
  EXPECT_LT(queues, reserve);
  EXPECT_EQ(limit_of(api_.reserves.front()), 1) << "the script that runs on keeps its slot";
}

TEST_F(WorkerLoop, WhatEndsWhileTheServerIsAwayIsToldToTheNext) {
  start_with(
      "echo \"run here\" >&3\nuntil [ -e ../go ]; do sleep 0.01; done\necho done >&3\n"
      "touch ../over\n");
  api_.give({message(1)});
  until([this] { return api_.has_progress("1.1.1", "here"); });
  api_.server.stop();
  std::ofstream(dir_ + "/queue/q/1/go") << "";
  until([this] { return fs::exists(dir_ + "/queue/q/1/over"); });
  EXPECT_TRUE(api_.finishes.empty());
  api_.server.start();
  finishes(1);
  EXPECT_EQ(api_.finishes.front().at("outcome").as_string(), "done");
}

// faults.md B2, relative: a greeting that breaks off is none.
TEST_F(WorkerLoop, AServerThatDiesWhileItIsGreetedIsGone) {
  make_loop(true);
  start_with("echo \"run here\" >&3\nuntil [ -e ../go ]; do sleep 0.01; done\necho done >&3\n");
  api_.give({message(1)});
  until([this] { return api_.has_progress("1.1.1", "here"); });
  api_.dies_of = "POST /v1/leases";
  api_.server.drop_connections();
  until([this] { return api_.dies_of.empty(); });
  std::ofstream(dir_ + "/queue/q/1/go") << "";
  until([this] { return fs::exists(dir_ + "/worker.untold"); });
  ::kill(::getpid(), SIGTERM);
  until([this] { return loop_->has_ended(); });
  EXPECT_TRUE(api_.finishes.empty()) << "the next worker tells it";
}

// --- Stops ---

TEST_F(WorkerLoop, AStopGoesToTheAttemptThatTheServerMeans) {
  start_with(kWaits);
  api_.give({message(1)});
  until([this] { return api_.has_progress("1.1.1", "waiting 1"); });
  api_.standing["1.1.1"] = R"({"stop":"cancel"})";
  api_.say("stop", {{"queue", "q"}, {"seq", 1}, {"text", "cancel"}});
  finishes(1);
  EXPECT_EQ(api_.finishes.front().at("token").as_string(), "1.1.1");
  EXPECT_EQ(api_.finishes.front().at("outcome").as_string(), "stopped");
}

TEST_F(WorkerLoop, AStopThatIsMeantForTheAttemptBeforeSparesTheNextOne) {
  start_with(kWaits, 3);
  api_.give({message(1)});
  until([this] { return api_.has_progress("1.1.1", "waiting 1") && !api_.reserves.empty(); });
  // Requeued: the next lease is here before the notice, and the lease before is gone.
  api_.standing["1.1.1"] = R"({"error":{"code":"lease_lost","message":"gone"}})";
  api_.give({message(1, 2)});
  api_.say("stop", {{"queue", "q"}, {"seq", 1}, {"text", "requeue"}});
  until([this] { return api_.has_progress("1.2.1", "waiting 2"); });
  EXPECT_TRUE(api_.finishes.empty()) << json::serialize(api_.finishes.front());
}

TEST_F(WorkerLoop, AMessageThatWasTakenHearsTermAndNothingIsSaidOfIt) {
  start_with("trap 'touch ../told; exit 0' TERM\necho \"run waiting\" >&3\nsleep 1000 &\nwait\n");
  api_.give({message(1)});
  until([this] { return api_.has_progress("1.1.1", "waiting"); });
  api_.standing["1.1.1"] = R"({"error":{"code":"lease_lost","message":"gone"}})";
  api_.say("stop", {{"queue", "q"}, {"seq", 1}, {"text", "requeue"}});
  until([this] { return fs::exists(dir_ + "/queue/q/1/told"); });
  until([this] { return !api_.reserves.empty(); });  // its slot is free
  EXPECT_TRUE(api_.finishes.empty());
}

TEST_F(WorkerLoop, ANoticeForAMessageThatIsNotHereAsksNothing) {
  start_with(kWaits);
  api_.give({message(1)});
  until([this] { return api_.has_progress("1.1.1", "waiting 1"); });
  api_.say("stop", {{"queue", "q"}, {"seq", 99}, {"text", "cancel"}});
  api_.say("stop", {{"queue", "q"}, {"seq", 1}, {"text", "cancel"}});
  const auto beats = [this] {
    return std::count(api_.log.begin(), api_.log.end(), "POST /v1/heartbeat");
  };
  until([&beats] { return beats() > 0; });
  api_.say("queue_removed", {{"queue", "q"}});
  api_.say("stop", {{"queue", "q"}, {"seq", 1}, {"text", "cancel"}});
  until([&beats] { return beats() == 2; });
  EXPECT_TRUE(api_.finishes.empty()) << "the server says that nobody wants it stopped";
}

TEST_F(WorkerLoop, TheNextLeaseOfAMessageKillsTheScriptBeforeItInItsFolder) {
  start_with(kWaits, 2);
  api_.give({message(1)});
  until([this] { return api_.has_progress("1.1.1", "waiting 1") && !api_.reserves.empty(); });
  api_.give({message(1, 2)});
  until([this] { return api_.has_progress("1.2.1", "waiting 2"); });
  EXPECT_TRUE(api_.finishes.empty());
  // And another, while the one before has just begun.
  until([this] { return !api_.reserves.empty(); });
  api_.give({message(1, 3)});
  until([this] { return api_.has_progress("1.3.1", "waiting 3"); });
  EXPECT_TRUE(api_.finishes.empty());
}

// --- Scripts that cannot be run ---

TEST_F(WorkerLoop, AScriptThatIsMissingIsToldAndAskedNothingUntilItIsThere) {
  api_.queues = {queue("q%2F1", dir_ + "/missing")};
  loop_->start();
  until([this] { return !api_.script_errors.empty(); });
  EXPECT_NE(json::serialize(api_.script_errors.front()).find("missing"), std::string::npos);
  EXPECT_NE(std::find(api_.log.begin(), api_.log.end(), "POST /v1/queues/q%252F1/script-error"),
            api_.log.end())
      << "a name is encoded in an address";
  EXPECT_TRUE(api_.reserves.empty());
  script("missing", kDone);
  until([this] { return !api_.reserves.empty(); });
  EXPECT_TRUE(api_.script_errors.back().is_null());
}

TEST_F(WorkerLoop, AScriptThatIsGoneWhenItsMessageComesSpendsNoMessage) {
  start_with(kDone);
  fs::remove(dir_ + "/script");
  api_.give({message(1)});
  finishes(1);
  EXPECT_EQ(api_.finishes.front().at("outcome").as_string(), "release");
  until([this] { return !api_.script_errors.empty(); });
  EXPECT_TRUE(api_.reserves.empty());
}

// --- What scripts ask for ---

TEST_F(WorkerLoop, ADuplicateIsAnsweredOnFd4) {
  start_with("echo 'dup 5-x-other' >&3\nread -r answer <&4\necho \"done $answer\" >&3\n");
  api_.give({message(1)});
  finishes(1);
  EXPECT_EQ(api_.finishes.front().at("reason").as_string(), "ok http://127.0.0.1:1/q/other/copy");
}

TEST_F(WorkerLoop, ADuplicateThatIsRefusedSaysWhy) {
  api_.duplicate_answer =
      http_ok(R"({"error":{"code":"not_found","message":"none"}})", "404 Not Found");
  start_with("echo 'dup 5-x-other' >&3\nread -r answer <&4\necho \"done $answer\" >&3\n");
  api_.give({message(1)});
  finishes(1);
  EXPECT_EQ(api_.finishes.front().at("reason").as_string(),
            "fail couldn't connect to queue - other");
}

// faults.md B2, relative: until the answer has come another process may go on with it.
TEST_F(WorkerLoop, AScriptThatDoesNotWaitForItsDuplicateKeepsItsLogOpen) {
  const auto memory = *KeptMemory::make();
  record_->keep_in(*memory);
  api_.duplicate_answer = "";
  start_with("echo 'dup 5-x-other' >&3\necho done >&3\n");
  api_.give({message(1)});
  KeptScript& kept = *memory->at(0);
  until([&kept] { return kept.has_exited() && kept.from_script == -1; });
  std::error_code error;
  EXPECT_EQ(fs::read_symlink("/proc/self/fd/" + std::to_string(kept.log), error),
            dir_ + "/queue/q/1/job/stdio.log")
      << error.message();
  EXPECT_TRUE(api_.finishes.empty());
}

// --- The end of the worker ---

TEST_F(WorkerLoop, ToldToStopItLetsScriptsEndAndTakesNothingMore) {
  start_with("echo \"run here\" >&3\nuntil [ -e ../go ]; do sleep 0.01; done\necho done >&3\n", 2);
  api_.give({message(1)});
  until([this] { return api_.has_progress("1.1.1", "here") && !api_.reserves.empty(); });
  ::kill(::getpid(), SIGTERM);
  until([this] { return api_.server.half_closed(api_.reserves.front().connection); });
  EXPECT_FALSE(loop_->has_ended());
  // A message that comes all the same goes back.
  api_.give({message(2)});
  finishes(1);
  EXPECT_EQ(api_.finishes[0].at("token").as_string(), "2.1.1");
  EXPECT_EQ(api_.finishes[0].at("outcome").as_string(), "release");
  std::ofstream(dir_ + "/queue/q/1/go") << "";
  until([this] { return loop_->has_ended(); });
  ASSERT_EQ(api_.finishes.size(), 2U);
  EXPECT_EQ(api_.finishes[1].at("outcome").as_string(), "done");
}

TEST_F(WorkerLoop, ToldTwiceItHandsBackWhatRuns) {
  start_with(kWaits);
  api_.give({message(1)});
  until([this] { return api_.has_progress("1.1.1", "waiting 1"); });
  ::kill(::getpid(), SIGTERM);
  ::kill(::getpid(), SIGINT);
  until([this] { return loop_->has_ended(); });
  ASSERT_EQ(api_.finishes.size(), 1U);
  EXPECT_EQ(api_.finishes[0].at("outcome").as_string(), "release");
  EXPECT_EQ(api_.finishes[0].at("reason").as_string(), "the worker was stopped");
}

TEST_F(WorkerLoop, LeasesOfAWorkerThatDiedAreHandedBack) {
  loop_->hand_back({.begun = {{.token = "5.1.1", .deaths = 1}, {.token = "6.1.1", .deaths = 3}},
                    .not_begun = {"7.1.1"},
                    .processes = 0});
  loop_->start();
  finishes(3);
  std::map<std::string, std::string> outcomes;
  for (const json::object& end : api_.finishes) {
    outcomes[std::string(end.at("token").as_string())] = std::string(end.at("outcome").as_string());
  }
  EXPECT_EQ(outcomes, (std::map<std::string, std::string>{
                          {"5.1.1", "lost"}, {"6.1.1", "hold"}, {"7.1.1", "release"}}));
}

}  // namespace
}  // namespace rq::worker
