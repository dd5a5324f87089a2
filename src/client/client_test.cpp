// The blocking face, against a server on a thread of its own.
#include "client/client.h"

#include <gtest/gtest.h>

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/json.hpp>
#include <thread>

#include "client/fake_server_rig.h"

namespace rq::client {
namespace {

using base::Code;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

class BlockingClient : public testing::Test {
 protected:
  BlockingClient() : server_(io_) {}
  ~BlockingClient() override {
    io_.stop();
    if (thread_.joinable()) thread_.join();
  }
  static constexpr const char* kNothing = "nothing, for now";
  // Answers each request with what `answer` says; empty: it closes the connection.
  void serve(std::function<std::string(const FakeServer::Asked&)> answer) {
    server_.on_request = [this, answer = std::move(answer)](const FakeServer::Asked& request) {
      const std::string text = answer(request);
      if (text == kNothing) return;
      if (text.empty()) {
        server_.drop(request.connection);
      } else {
        server_.say(request.connection, text);
      }
    };
    server_.start();
    client_.emplace(server_.address());
    thread_ = std::thread([this] { io_.run(); });
  }

  boost::asio::io_context io_;
  FakeServer server_;
  std::optional<Client> client_;
  std::thread thread_;
};

TEST_F(BlockingClient, SpeaksJsonBothWaysOnOneConnection) {
  serve([](const FakeServer::Asked& request) {
    if (request.what() == "GET /v1/version") return http_ok(R"({"version":"1"})");
    if (request.head.starts_with("DELETE")) return http_ok(R"({"ok":true})");
    return request.head.starts_with("GET") ? http_ok(R"({"n":1})") : http_ok(request.body);
  });
  for (int i = 0; i < 3; ++i) {
    const auto got = client_->get("/v1/x", {"n"});
    ASSERT_TRUE(got) << got.error().message;
    EXPECT_EQ(got->at("n").as_int64(), 1);
    const auto echoed = client_->send("POST", "/v1/x", {"a"}, {{"a", i}});
    ASSERT_TRUE(echoed);
    EXPECT_EQ(echoed->at("a").as_int64(), i);
  }
  EXPECT_EQ(*client_->get_bytes("/v1/x"), R"({"n":1})");
  EXPECT_TRUE(client_->remove("/v1/x", {"ok"}));
}

TEST_F(BlockingClient, ARefusalIsTheErrorThatItTellsOf) {
  serve([](const FakeServer::Asked&) {
    return http_ok(R"({"error":{"code":"queue_full","message":"full","remedy":"wait"}})",
                   "429 Too Many Requests");
  });
  const auto put = client_->send("POST", "/v1/x", {"id"});
  ASSERT_FALSE(put);
  EXPECT_EQ(put.error().code, Code::queue_full);
  EXPECT_EQ(put.error().remedy, "wait");
  EXPECT_EQ(client_->get_bytes("/v1/x").error().code, Code::queue_full);
  const auto followed =
      client_->follow("/v1/events", [](std::string_view, std::string_view) { return true; });
  EXPECT_EQ(followed.error().code, Code::queue_full);
}

TEST_F(BlockingClient, AServerThatGoesInTheMiddleOfAPostIsNotAskedTwice) {
  std::atomic<int> posts = 0;
  serve([&posts](const FakeServer::Asked& request) -> std::string {
    if (request.head.starts_with("GET")) return http_ok(R"({"n":1})");
    ++posts;
    return "";
  });
  ASSERT_TRUE(client_->get("/v1/x", {"n"}));
  const auto put = client_->send("POST", "/v1/x", {"id"});
  ASSERT_FALSE(put);
  EXPECT_EQ(put.error().code, Code::unreachable);
  EXPECT_NE(put.error().remedy.find("may or may not"), std::string::npos);
  EXPECT_EQ(posts.load(), 1);
}

TEST_F(BlockingClient, AServerMayTakeItsTimeIfItIsAlive) {
  constexpr int kSigns = 3;
  std::atomic<int> signs = 0;
  std::size_t asked = 0;
  serve([&](const FakeServer::Asked& request) {
    if (request.what() == "GET /v1/slow") {
      asked = request.connection;
      return std::string(kNothing);
    }
    if (++signs == kSigns) server_.say(asked, http_ok(R"({"n":1})"));
    return http_ok("{}");
  });
  client_.emplace(server_.address(), Client::Patience{.before = 1ms, .answer = 10s});
  const auto got = client_->get("/v1/slow", {"n"});
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(got->at("n").as_int64(), 1);
  EXPECT_GE(signs.load(), kSigns);
}

TEST_F(BlockingClient, ASignOfLifeThatFailsIsNoSilence) {
  constexpr int kRefused = 3;
  std::atomic<int> refused = 0;
  std::size_t asked = 0;
  serve([&](const FakeServer::Asked& request) {
    if (request.what() == "GET /v1/slow") {
      asked = request.connection;
      return std::string(kNothing);
    }
    if (++refused == kRefused) server_.say(asked, http_ok(R"({"n":1})"));
    return std::string();
  });
  client_.emplace(server_.address(), Client::Patience{.before = 1ms, .answer = 10s});
  const auto got = client_->get("/v1/slow", {"n"});
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(got->at("n").as_int64(), 1);
  EXPECT_GE(refused.load(), kRefused);
}

TEST_F(BlockingClient, AServerThatAnswersNothingIsGivenUp) {
  std::atomic<bool> stopped = true;
  std::vector<std::size_t> waiting;
  serve([this, &stopped, &waiting](const FakeServer::Asked& request) {
    if (stopped) {
      waiting.push_back(request.connection);
      return std::string(kNothing);
    }
    // Then it answers all, in their order.
    for (const std::size_t connection : waiting) server_.say(connection, http_ok("[]"));
    return http_ok(R"({"n":1})");
  });
  client_.emplace(server_.address(), Client::Patience{.before = 500ms, .answer = 1ms});
  const auto got = client_->get("/v1/x", {"n"});
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Code::unreachable);
  EXPECT_NE(got.error().message.find(server_.path()), std::string::npos) << got.error().message;
  EXPECT_NE(got.error().remedy.find("kill -CONT"), std::string::npos);
  stopped = false;
  const auto next = client_->get("/v1/y", {"n"});
  ASSERT_TRUE(next) << "the next request is not the worse for it";
  EXPECT_EQ(next->at("n").as_int64(), 1);
}

TEST_F(BlockingClient, FollowsEventsUntilTheSinkHasEnoughOrTheServerEnds) {
  serve([this](const FakeServer::Asked& request) {
    server_.say_and_end(request.connection,
                        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
                        "event: a\ndata: 1\n\nevent: b\ndata: 2\n\n");
    return "\r\n";
  });
  std::string seen;
  const auto enough =
      client_->follow("/v1/events", [&seen](std::string_view event, std::string_view) {
        seen += event;
        return event != "a";
      });
  EXPECT_TRUE(enough) << enough.error().message;
  EXPECT_EQ(seen, "a");
  const auto ended =
      client_->follow("/v1/events", [&seen](std::string_view event, std::string_view) {
        seen += event;
        return true;
      });
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code, Code::unreachable);
  EXPECT_EQ(seen, "aab");
}

// faults.md C2, relative: any JSON was taken for success, and messages were lost without a word.
TEST_F(BlockingClient, AnAnswerWithoutWhatIsReadOfItIsThatOfAnotherProgram) {
  std::atomic<const char*> answer{""};
  serve([&answer](const FakeServer::Asked&) { return http_ok(answer.load()); });
  for (const char* text : {"{}", "[]", "\"id\"", "null", "", R"({"ok":true})"}) {
    answer = text;
    const auto get = client_->get("/v1/messages/1", {"id"});
    ASSERT_FALSE(get) << text;
    EXPECT_EQ(get.error().code, Code::internal) << text;
    EXPECT_NE(get.error().remedy.find("really an rq server"), std::string::npos) << text;
    EXPECT_FALSE(client_->send("POST", "/v1/queues/a/messages", {"id"})) << text;
    EXPECT_FALSE(client_->remove("/v1/messages/1", {"id"})) << text;
    EXPECT_FALSE(client_->get_bytes("/v1/messages/1/log")) << text;
    const auto followed =
        client_->follow("/v1/events", [](std::string_view, std::string_view) { return true; });
    ASSERT_FALSE(followed) << text;
    EXPECT_EQ(followed.error().code, Code::internal) << text;
  }
}

// faults.md C2, relative: it took 45 s.
TEST_F(BlockingClient, AStreamThatDoesNotBeginIsGivenUpAsAnyAnswer) {
  serve([](const FakeServer::Asked&) { return std::string(kNothing); });
  client_.emplace(server_.address(), Client::Patience{.before = 1ms, .answer = 1ms});
  const auto followed =
      client_->follow("/v1/events", [](std::string_view, std::string_view) { return true; });
  ASSERT_FALSE(followed);
  EXPECT_NE(followed.error().message.find("answers nothing"), std::string::npos)
      << followed.error().message;
}

// faults.md C2, relative: the timer of `meanwhile` outlived the loop that it belongs to.
TEST_F(BlockingClient, AStreamWithATimerIsGivenUpAsWell) {
  std::atomic<bool> silent = true;
  serve([&silent](const FakeServer::Asked&) {
    return silent ? std::string(kNothing) : http_ok(R"({"n":1})");
  });
  client_.emplace(server_.address(), Client::Patience{.before = 100ms, .answer = 1ms});
  int ticks = 0;
  const auto followed =
      client_->follow("/v1/events", [](std::string_view, std::string_view) { return true; },
                      {.every = 1ms, .call = [&ticks] { ++ticks; }});
  ASSERT_FALSE(followed);
  EXPECT_EQ(followed.error().code, Code::unreachable);
  EXPECT_GT(ticks, 0);
  silent = false;
  const auto next = client_->get("/v1/y", {"n"});
  EXPECT_TRUE(next) << next.error().message;
}

TEST(BlockingClientAlone, WithoutAServerItSaysWhereAndWhatToDo) {
  Client client(server_of_dir("/nonexistent"));
  for (int i = 0; i < 2; ++i) {
    const auto got = client.get("/v1/x", {"n"});
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code, Code::unreachable);
    EXPECT_NE(got.error().message.find("/nonexistent/run/rq.sock"), std::string::npos);
    EXPECT_NE(got.error().remedy.find("rq server --dir /nonexistent"), std::string::npos);
  }
}

TEST(Paths, NamesAreEncodedAndQueriesPutTogether) {
  EXPECT_EQ(queue_path("a%2Fb", "/messages"), "/v1/queues/a%252Fb/messages");
  EXPECT_EQ(url_encode("a b/ä"), "a%20b%2F%C3%A4");
  EXPECT_EQ(Query().add("a", "1&2").add_if("b", "").add("c", "x").on("/p"), "/p?a=1%262&c=x");
  EXPECT_EQ(Query().on("/p"), "/p");
}

}  // namespace
}  // namespace rq::client
