// The client against a server that the test plays itself, on a unix socket of the same loop.
#include "client/async_client.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <deque>
#include <filesystem>
#include <optional>

#include "client/sse_reader.h"

namespace rq::client {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using unix_socket = asio::local::stream_protocol;

constexpr std::chrono::seconds kTestMax{20};

// Answers each request with what `on_request` says; nothing: it closes the connection.
class FakeServer {
 public:
  explicit FakeServer(asio::io_context& io) : io_(io) {
    char path[] = "/tmp/rq-client-XXXXXX";
    dir_ = ::mkdtemp(path);
  }
  ~FakeServer() { std::filesystem::remove_all(dir_); }
  [[nodiscard]] std::string path() const { return dir_ + "/sock"; }

  void start() {
    std::filesystem::remove(path());
    acceptor_.emplace(io_, unix_socket::endpoint(path()));
    accept();
  }
  void stop() {
    acceptor_.reset();
    drop_connections();
  }
  void drop_connections() {
    for (auto& session : sessions_) {
      error_code ignored;
      session->socket.close(ignored);
    }
    sessions_.clear();
  }

  int accepted = 0;
  std::vector<std::string> requests;
  std::function<std::optional<std::string>(const std::string&)> on_request;

 private:
  struct Session {
    explicit Session(unix_socket::socket s) : socket(std::move(s)) {}
    unix_socket::socket socket;
    std::string in, out;
  };

  void accept() {
    acceptor_->async_accept([this](const error_code& error, unix_socket::socket socket) {
      if (error) return;
      ++accepted;
      sessions_.push_back(std::make_shared<Session>(std::move(socket)));
      read(sessions_.back());
      accept();
    });
  }
  void read(const std::shared_ptr<Session>& session) {
    asio::async_read_until(
        session->socket, asio::dynamic_buffer(session->in), "\r\n\r\n",
        [this, session](const error_code& error, std::size_t n) {
          if (error) return;
          const std::size_t at = session->in.find("Content-Length: ");
          const std::size_t body = at < n ? std::stoul(session->in.substr(at + 16)) : 0;
          const auto whole = [this, session, n, body] {
            const std::string request = session->in.substr(0, n + body);
            session->in.erase(0, n + body);
            requests.push_back(request);
            const auto answer = on_request(request);
            if (!answer) {
              error_code ignored;
              session->socket.close(ignored);
              return;
            }
            session->out = *answer;
            asio::async_write(session->socket, asio::buffer(session->out),
                              [this, session](const error_code& failed, std::size_t) {
                                if (!failed) read(session);
                              });
          };
          const std::size_t missing = n + body - std::min(n + body, session->in.size());
          asio::async_read(session->socket, asio::dynamic_buffer(session->in),
                           asio::transfer_exactly(missing),
                           [whole](const error_code& failed, std::size_t) {
                             if (!failed) whole();
                           });
        });
  }

  asio::io_context& io_;
  std::string dir_;
  std::optional<unix_socket::acceptor> acceptor_;
  std::vector<std::shared_ptr<Session>> sessions_;
};

std::string ok(const std::string& body) {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

class Client : public testing::Test {
 protected:
  Client() : server_(io_) {
    server_.on_request = [](const std::string&) { return ok("{}"); };
    server_.start();
    client_.emplace(io_, Endpoint{.unix_path = server_.path(), .host = {}, .port = {}});
  }
  // Runs the loop until `done`.
  void until(const std::function<bool()>& done) {
    const auto end = std::chrono::steady_clock::now() + kTestMax;
    while (!done()) {
      ASSERT_LT(std::chrono::steady_clock::now(), end) << "it does not happen";
      io_.run_one_for(kTestMax);
    }
  }
  base::Result<Reply> post(const std::string& body) {
    std::optional<base::Result<Reply>> got;
    client_->post("/x", body, [&got](base::Result<Reply> reply) { got = std::move(reply); });
    until([&got] { return got.has_value(); });
    return got ? std::move(*got) : base::fail(base::Code::internal, "no answer");
  }

  asio::io_context io_;
  FakeServer server_;
  std::optional<AsyncClient> client_;
};

TEST_F(Client, SendsTheBodyAndGivesTheAnswer) {
  server_.on_request = [](const std::string& request) {
    return ok(request.substr(request.find("\r\n\r\n") + 4));
  };
  const auto reply = post("{\"a\":1}");
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->status, 200U);
  EXPECT_EQ(reply->body, "{\"a\":1}");
  EXPECT_EQ(server_.requests.at(0).substr(0, 16), "POST /x HTTP/1.1");
}

TEST_F(Client, KeepsItsConnectionAndOpensAnotherOnlyBesideABusyOne) {
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(post("{}").has_value());
  EXPECT_EQ(server_.accepted, 1);
  int answers = 0;
  for (int i = 0; i < 3; ++i) {
    client_->post("/x", "{}", [&answers](const base::Result<Reply>&) { ++answers; });
  }
  until([&] { return answers == 3; });
  EXPECT_EQ(server_.accepted, 3);
  ASSERT_TRUE(post("{}").has_value());
  EXPECT_EQ(server_.accepted, 3);
}

TEST_F(Client, SendsAgainWhenAKeptConnectionWasClosed) {
  ASSERT_TRUE(post("{}").has_value());
  server_.drop_connections();
  ASSERT_TRUE(post("{}").has_value());
  EXPECT_EQ(server_.accepted, 2);
}

TEST_F(Client, ANewConnectionThatBreaksIsAnErrorAndNotRepeated) {
  server_.on_request = [](const std::string&) { return std::nullopt; };
  const auto reply = post("{}");
  ASSERT_FALSE(reply.has_value());
  EXPECT_EQ(reply.error().code, base::Code::unreachable);
  EXPECT_EQ(server_.requests.size(), 1U);
}

TEST_F(Client, WithoutAServerTheErrorNamesIt) {
  server_.stop();
  const auto reply = post("{}");
  ASSERT_FALSE(reply.has_value());
  EXPECT_EQ(reply.error().code, base::Code::unreachable);
  EXPECT_NE(reply.error().message.find(server_.path()), std::string::npos);
}

TEST_F(Client, HangingUpEndsALongPollThatHasNoAnswer) {
  bool asked = false;
  server_.on_request = [&asked](const std::string&) {
    asked = true;
    return "";  // nothing yet
  };
  std::optional<base::Result<Reply>> got;
  const auto id =
      client_->post("/x", "{}", [&got](base::Result<Reply> reply) { got = std::move(reply); });
  until([&] { return asked; });
  client_->hang_up(id);
  // The fake reads the end of the stream only with its next request; a real server closes.
  server_.drop_connections();
  until([&] { return got.has_value(); });
  EXPECT_FALSE(got->has_value());
}

TEST_F(Client, ARequestWithoutAnAnswerEndsAtItsTimeout) {
  server_.on_request = [](const std::string&) { return ""; };
  std::optional<base::Result<Reply>> got;
  client_->post(
      "/x", "{}", [&got](base::Result<Reply> reply) { got = std::move(reply); }, base::Millis{1});
  until([&] { return got.has_value(); });
  ASSERT_FALSE(got->has_value());
  EXPECT_NE(got->error().message.find("no answer in time"), std::string::npos);
}

TEST_F(Client, FollowsEventsAndConnectsAgainAfterABreak) {
  server_.on_request = [](const std::string&) {
    const std::string first = "event: hello\ndata: {\"boot\":1}\n\n";
    const std::string second = ": still here\n\nevent: stop\ndata: a\ndata: b\n\n";
    const auto chunk = [](const std::string& text) {
      char size[16];
      std::snprintf(size, sizeof size, "%zx\r\n", text.size());
      return size + text + "\r\n";
    };
    return "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
           "Transfer-Encoding: chunked\r\n\r\n" +
           chunk(first.substr(0, 9)) + chunk(first.substr(9)) + chunk(second);
  };
  std::vector<std::string> events;
  int downs = 0;
  client_->subscribe("/v1/events",
                     {.on_event =
                          [&events](std::string_view event, std::string_view data) {
                            events.push_back(std::string(event) + "|" + std::string(data));
                          },
                      .on_down = [&downs] { ++downs; }});
  until([&] { return events.size() == 2; });
  EXPECT_EQ(events[0], "hello|{\"boot\":1}");
  EXPECT_EQ(events[1], "stop|a\nb");
  server_.drop_connections();
  until([&] { return events.size() == 4; });
  EXPECT_EQ(downs, 1);
}

TEST(Endpoint, TakesSocketsAndAddressesAndNamesWhatItDoesNotTake) {
  EXPECT_EQ(Endpoint::parse("/run/rq.sock")->unix_path, "/run/rq.sock");
  EXPECT_EQ(Endpoint::parse("unix:/run/rq.sock")->unix_path, "/run/rq.sock");
  const auto tcp = Endpoint::parse("http://[::1]:3333/");
  EXPECT_EQ(tcp->host, "::1");
  EXPECT_EQ(tcp->port, "3333");
  for (const char* bad :
       {"", "localhost", "https://h:1", "http://h", "http://:1", "http://h:1/x"}) {
    EXPECT_FALSE(Endpoint::parse(bad).has_value()) << bad;
  }
  EXPECT_FALSE(Endpoint::parse("/" + std::string(200, 'x')).has_value());
}

TEST(ErrorOf, ReadsTheOneShapeOfErrors) {
  const auto error = error_of(
      {.status = 409, .body = R"({"error":{"code":"lease_lost","message":"m","remedy":"r"}})"});
  EXPECT_EQ(error.code, base::Code::lease_lost);
  EXPECT_EQ(error.message, "m");
  EXPECT_EQ(error_of({.status = 502, .body = "<html>"}).code, base::Code::internal);
}

TEST(SseReader, AnyChunkingGivesTheSameEventsAndAnEndlessOneIsRefused) {
  const std::string text = "event: a\r\ndata: 1\r\n\r\n:c\ndata:2\ndata: 3\n\nevent: no data\n\n";
  for (std::size_t chunk = 1; chunk <= text.size(); ++chunk) {
    SseReader reader;
    std::string seen;
    for (std::size_t at = 0; at < text.size(); at += chunk) {
      EXPECT_TRUE(reader.feed(std::string_view(text).substr(at, chunk),
                              [&seen](std::string_view event, std::string_view data) {
                                seen.append(event).append("=").append(data).append(";");
                              }));
    }
    EXPECT_EQ(seen, "a=1;=2\n3;");
  }
  SseReader reader;
  EXPECT_FALSE(reader.feed("data: " + std::string(base::kSseEventBytesMax, 'x'),
                           [](std::string_view, std::string_view) {}));
}

}  // namespace
}  // namespace rq::client
