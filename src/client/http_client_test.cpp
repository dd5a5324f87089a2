// The client against a server that the test plays itself.
#include "client/http_client.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>

#include "client/fake_server_rig.h"
#include "client/subscription.h"

namespace rq::client {
namespace {

using base::Code;
using base::Result;

class HttpClientTest : public testing::Test {
 protected:
  HttpClientTest() : server_(io_) {
    server_.start();
    client_.emplace(io_, server_.address());
  }

  void until(const std::function<bool()>& done) {
    ASSERT_TRUE(run_until(io_, done)) << "it does not happen";
  }
  // Answers all that comes with `answer`.
  void always(const std::string& answer) {
    server_.on_request = [this, answer](const FakeServer::Asked& request) {
      server_.asked.push_back(request);
      server_.say(request.connection, answer);
    };
  }
  HttpClient::RequestId start(Request request) {
    request.done = [this](Result<Reply> reply) { got_.push_back(std::move(reply)); };
    return client_->send(std::move(request));
  }
  // The next answer that has not been taken.
  Result<Reply> next() {
    until([this] { return !got_.empty(); });
    if (got_.empty()) return base::fail(Code::internal, "no answer");
    Result<Reply> first = std::move(got_.front());
    got_.pop_front();
    return first;
  }
  Result<Reply> ask(Request request) {
    start(std::move(request));
    return next();
  }
  static Request post(std::string body, Retry retry = Retry::once) {
    Request request = post_json("/x", std::move(body), {});
    request.retry = retry;
    return request;
  }

  boost::asio::io_context io_;
  FakeServer server_;
  std::optional<HttpClient> client_;
  std::deque<Result<Reply>> got_;
};

TEST_F(HttpClientTest, SendsTheBodyAndGivesTheAnswer) {
  always(http_ok("{\"b\":2}", "201 Created"));
  const auto reply = ask(post("{\"a\":1}"));
  ASSERT_TRUE(reply) << reply.error().message;
  EXPECT_EQ(reply->status, 201U);
  EXPECT_EQ(reply->body, "{\"b\":2}");
  EXPECT_EQ(reply->content_type, "application/json");
  EXPECT_EQ(server_.asked.at(0).what(), "POST /x");
  EXPECT_EQ(server_.asked.at(0).body, "{\"a\":1}");
}

TEST_F(HttpClientTest, KeepsItsConnectionAndOpensAnotherOnlyBesideABusyOne) {
  always(http_ok("{}"));
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(ask(post("{}")));
  EXPECT_EQ(server_.accepted(), 1U);
  for (int i = 0; i < 3; ++i) start(post("{}"));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(next());
  EXPECT_EQ(server_.accepted(), 3U);
  EXPECT_TRUE(ask(post("{}")));
  EXPECT_EQ(server_.accepted(), 3U);
}

TEST_F(HttpClientTest, AKeptConnectionThatTheServerHasClosedIsNotUsed) {
  always(http_ok("{}"));
  ASSERT_TRUE(ask(post("{}", Retry::never)));
  server_.drop_connections();
  EXPECT_TRUE(ask(post("{}", Retry::never)));
  EXPECT_EQ(server_.accepted(), 2U);
}

TEST_F(HttpClientTest, AKeptConnectionOnWhichSomethingCameUnaskedIsNotUsed) {
  always(http_ok("{}"));
  ASSERT_TRUE(ask(post("{}")));
  bool sent = false;
  server_.say(0, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n");
  boost::asio::post(io_, [&sent] { sent = true; });
  until([&sent] { return sent; });
  const auto reply = ask(post("{}"));
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->status, 200U);
}

TEST_F(HttpClientTest, AKeptConnectionThatBreaksIsRepeatedOnlyWhereThatWasAllowed) {
  for (const Retry retry : {Retry::once, Retry::never}) {
    int requests = 0;
    server_.on_request = [&](const FakeServer::Asked& request) {
      // The second request finds the connection good, and loses it.
      if (++requests == 2) {
        server_.drop(request.connection);
      } else {
        server_.say(request.connection, http_ok("{}"));
      }
    };
    ASSERT_TRUE(ask(post("{}", retry)));
    const auto reply = ask(post("{}", retry));
    EXPECT_EQ(reply.has_value(), retry == Retry::once);
    EXPECT_EQ(requests, retry == Retry::once ? 3 : 2);
    EXPECT_EQ(reply ? Code::internal : reply.error().code,
              retry == Retry::once ? Code::internal : Code::unreachable);
  }
}

TEST_F(HttpClientTest, ANewConnectionThatBreaksIsAnErrorAndNotRepeated) {
  server_.on_request = [this](const FakeServer::Asked& request) {
    server_.asked.push_back(request);
    server_.drop(request.connection);
  };
  const auto reply = ask(post("{}"));
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, Code::unreachable);
  EXPECT_NE(reply.error().message.find("broke off"), std::string::npos);
  EXPECT_EQ(server_.asked.size(), 1U);
}

TEST_F(HttpClientTest, WithoutAServerTheErrorNamesItAndSaysWhatToDo) {
  server_.stop();
  const auto refused = ask(post("{}"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::unreachable);
  EXPECT_NE(refused.error().message.find(server_.path()), std::string::npos);
  EXPECT_NE(refused.error().message.find("Connection refused"), std::string::npos);
  EXPECT_EQ(refused.error().remedy, "start the fake");
  std::filesystem::remove(server_.path());
  const auto missing = ask(post("{}"));
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message.find("No such file"), std::string::npos);
}

TEST_F(HttpClientTest, ASocketNameThatIsTooLongIsAnError) {
  client_.emplace(io_,
                  Server{.address = {.socket_path = "/tmp/" + std::string(200, 'x'), .tcp = {}},
                         .remedy = "shorten it"});
  const auto reply = ask(post("{}"));
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, Code::unreachable);
  EXPECT_NE(reply.error().message.find("too long"), std::string::npos);
}

TEST_F(HttpClientTest, SpeaksTcpAndTriesEachAddressOfAHost) {
  using boost::asio::ip::tcp;
  // On IPv4 only: where localhost is ::1 as well, that one is refused first.
  tcp::acceptor acceptor(io_, {boost::asio::ip::make_address("127.0.0.1"), 0});
  const std::uint16_t port = acceptor.local_endpoint().port();
  std::optional<tcp::socket> peer;
  std::string in;
  acceptor.async_accept([&](const boost::system::error_code& error, tcp::socket socket) {
    ASSERT_FALSE(error);
    peer.emplace(std::move(socket));
    in.resize(1000);
    peer->async_read_some(boost::asio::buffer(in),
                          [&](const boost::system::error_code& failed, std::size_t bytes) {
                            ASSERT_FALSE(failed);
                            in.resize(bytes);
                            boost::asio::write(*peer, boost::asio::buffer(http_ok("1")));
                          });
  });
  client_.emplace(io_,
                  Server{.address = {.socket_path = {}, .tcp = {"localhost", port}}, .remedy = {}});
  const auto reply = ask({.target = "/"});
  ASSERT_TRUE(reply) << reply.error().message;
  EXPECT_EQ(reply->body, "1");
  EXPECT_NE(in.find("Host: localhost:" + std::to_string(port) + "\r\n"), std::string::npos);
}

// --- Half-close and time ---

TEST_F(HttpClientTest, HangingUpEndsALongPollThatHasNoAnswer) {
  const auto id = start(post("{}"));
  until([this] { return server_.asked.size() == 1; });
  client_->hang_up(id);
  until([this] { return server_.half_closed(0); });
  server_.drop(0);
  EXPECT_FALSE(next());
  EXPECT_EQ(server_.asked.size(), 1U) << "it must not be sent again";
}

TEST_F(HttpClientTest, AnAnswerThatIsOnItsWayIsTakenAfterHangingUp) {
  const auto id = start(post("{}"));
  until([this] { return server_.asked.size() == 1; });
  client_->hang_up(id);
  until([this] { return server_.half_closed(0); });
  server_.say(0, http_ok("{\"late\":1}"));
  const auto reply = next();
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->body, "{\"late\":1}");
  client_->hang_up(id);  // nothing is left to hang up
  always(http_ok("{}"));
  EXPECT_TRUE(ask(post("{}", Retry::never)));
  EXPECT_EQ(server_.accepted(), 2U) << "a connection that is half closed is of no more use";
}

TEST_F(HttpClientTest, AServerThatEndsItsSideGivesItsAnswerAll) {
  server_.on_request = [this](const FakeServer::Asked& request) {
    server_.say_and_end(request.connection, "HTTP/1.1 200 OK\r\n\r\nto the end");
  };
  const auto reply = ask(post("{}"));
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->body, "to the end");
}

TEST_F(HttpClientTest, ARequestWithoutAnAnswerEndsAtItsTimeout) {
  Request request = post("{}");
  request.timeout = base::Millis{1};
  const auto reply = ask(std::move(request));
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, Code::unreachable);
  EXPECT_NE(reply.error().message.find("did not answer in time"), std::string::npos);
}

TEST_F(HttpClientTest, AServerThatFallsSilentInTheMiddleIsGivenUp) {
  server_.on_request = [this](const FakeServer::Asked& request) {
    server_.say(request.connection, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
  };
  Request request = post("{}");
  request.timeout = base::Millis{0};
  request.silence = base::Millis{1};
  const auto reply = ask(std::move(request));
  ASSERT_FALSE(reply);
  EXPECT_NE(reply.error().message.find("did not answer in time"), std::string::npos);
}

TEST_F(HttpClientTest, ASlowAnswerComesByteByByte) {
  server_.on_request = [this](const FakeServer::Asked& request) {
    for (const char c : http_ok("{\"slow\":true}"))
      server_.say(request.connection, std::string(1, c));
  };
  const auto reply = ask(post("{}"));
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->body, "{\"slow\":true}");
}

TEST_F(HttpClientTest, AServerThatGoesInTheMiddleOfItsAnswerIsAnError) {
  server_.on_request = [this](const FakeServer::Asked& request) {
    server_.say_and_end(request.connection, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
  };
  const auto reply = ask(post("{}"));
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, Code::unreachable);
  EXPECT_NE(reply.error().message.find("in the middle of its answer"), std::string::npos);
  EXPECT_NE(reply.error().remedy.find("may or may not"), std::string::npos);
}

TEST_F(HttpClientTest, WhatIsNoHttpIsAnError) {
  always("220 mail.example.org ESMTP\r\n");
  EXPECT_EQ(ask(post("{}")).error().code, Code::unreachable);
}

// --- Two in one piece ---

TEST_F(HttpClientTest, TwoInOnePieceGoOnOneConnectionInTheirOrder) {
  always(http_ok("{}"));
  std::string order;
  client_->send_both(post_json("/first", "1",
                               [&](const Result<Reply>& reply) {
                                 EXPECT_TRUE(reply);
                                 order += "first,";
                               }),
                     post_json("/second", "2", [&](const Result<Reply>& reply) {
                       EXPECT_TRUE(reply);
                       order += "second";
                     }));
  until([&order] { return order == "first,second"; });
  EXPECT_EQ(server_.accepted(), 1U);
  ASSERT_EQ(server_.asked.size(), 2U);
  EXPECT_EQ(server_.asked[0].what(), "POST /first");
  EXPECT_EQ(server_.asked[1].what(), "POST /second");
}

TEST_F(HttpClientTest, TheSecondOfTwoFailsAloneWhenTheServerGoesAfterTheFirst) {
  server_.on_request = [this](const FakeServer::Asked& request) {
    server_.asked.push_back(request);
    if (request.what() == "POST /first") server_.say_and_end(request.connection, http_ok("{}"));
  };
  std::vector<bool> got;
  const auto note = [&got](const Result<Reply>& reply) { got.push_back(reply.has_value()); };
  client_->send_both(post_json("/first", "1", note), post_json("/second", "2", note));
  until([&got] { return got.size() == 2; });
  EXPECT_EQ(got, (std::vector<bool>{true, false}));
  EXPECT_EQ(server_.asked.size(), 2U) << "the second may have been done: it is not repeated";
}

// --- Streams ---

// Gives `text` in pieces of at most `piece` bytes.
Source source_of(std::string text, std::size_t piece) {
  return [text = std::move(text), piece,
          at = std::size_t{0}](std::span<char> into) mutable -> Result<std::size_t> {
    const std::size_t bytes = std::min({piece, into.size(), text.size() - at});
    std::copy_n(text.data() + at, bytes, into.data());
    at += bytes;
    return bytes;
  };
}

TEST_F(HttpClientTest, ABodyOfUnknownLengthGoesInChunks) {
  always(http_ok("{}"));
  ASSERT_TRUE(ask({.method = "PUT",
                   .target = "/file",
                   .content_type = "text/plain",
                   .source = source_of("hello", 2)}));
  EXPECT_NE(server_.asked.at(0).head.find("Transfer-Encoding: chunked"), std::string::npos);
  EXPECT_EQ(server_.asked.at(0).body, "2\r\nhe\r\n2\r\nll\r\n1\r\no\r\n0\r\n\r\n");
  EXPECT_TRUE(ask(post("{}")));
  EXPECT_EQ(server_.accepted(), 1U) << "the connection is kept";
}

TEST_F(HttpClientTest, ABodyOfKnownLengthGoesAsItIs) {
  always(http_ok("{}"));
  const std::string text(1'000'000, 'x');
  ASSERT_TRUE(ask({.method = "PUT",
                   .target = "/file",
                   .content_type = "text/plain",
                   .source = source_of(text, 99'999),
                   .source_bytes = text.size()}));
  EXPECT_EQ(server_.asked.at(0).body, text);
}

TEST_F(HttpClientTest, ASourceThatFailsOrGivesMoreOrLessThanItSaidEndsTheRequest) {
  const auto put = [](Source source) {
    return Request{.method = "PUT",
                   .target = "/file",
                   .content_type = "text/plain",
                   .source = std::move(source),
                   .source_bytes = 5};
  };
  const auto failed = ask(put([](std::span<char>) -> Result<std::size_t> {
    return base::fail(Code::not_found, "the file is gone");
  }));
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message, "the file is gone");
  for (const char* text : {"1234", "123456"}) {
    const auto wrong = ask(put(source_of(text, 10)));
    ASSERT_FALSE(wrong);
    EXPECT_NE(wrong.error().message.find("5 were announced"), std::string::npos);
  }
  EXPECT_TRUE(server_.asked.empty());
}

TEST_F(HttpClientTest, AnAnswerBeforeTheEndOfTheBodyCountsAndTheRestIsNotSent) {
  server_.deaf = true;
  std::size_t pulled = 0;
  start({.method = "PUT",
         .target = "/file",
         .content_type = "text/plain",
         .source = [&pulled](std::span<char> into) -> Result<std::size_t> {
           ++pulled;
           std::fill(into.begin(), into.end(), 'x');
           return into.size();  // for ever
         }});
  // The socket is full, and nothing more is taken from the source.
  std::size_t before = 0;
  until([&] {
    return server_.accepted() == 1 && pulled > 0 && std::exchange(before, pulled) == pulled;
  });
  server_.say(0, http_ok(R"({"error":{"code":"too_large","message":"no"}})", "413 Too Large"));
  const auto reply = next();
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->status, 413U);
  EXPECT_EQ(error_of(*reply).code, Code::too_large);
}

TEST_F(HttpClientTest, TheBodyOfASuccessGoesToTheSink) {
  const std::string text(300'000, 'y');
  always(http_ok(text));
  std::string got;
  std::size_t largest = 0;
  const auto reply = ask({.target = "/file", .sink = [&](std::string_view piece) {
                            largest = std::max(largest, piece.size());
                            got.append(piece);
                            return true;
                          }});
  ASSERT_TRUE(reply);
  EXPECT_EQ(got, text);
  EXPECT_TRUE(reply->body.empty());
  EXPECT_LE(largest, kReadBytes);
  EXPECT_TRUE(ask(post("{}")));
  EXPECT_EQ(server_.accepted(), 1U);
}

TEST_F(HttpClientTest, ARefusalStaysOutOfTheSink) {
  always(http_ok(R"({"error":{"code":"not_found","message":"none"}})", "404 Not Found"));
  bool called = false;
  const auto reply = ask({.target = "/file", .sink = [&called](std::string_view) {
                            called = true;
                            return true;
                          }});
  ASSERT_TRUE(reply);
  EXPECT_FALSE(called);
  EXPECT_EQ(error_of(*reply).message, "none");
}

TEST_F(HttpClientTest, ASinkThatHasEnoughEndsTheRequestWell) {
  server_.on_request = [this](const FakeServer::Asked& request) {
    server_.say(request.connection,
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + http_chunk("one"));
  };
  const auto reply = ask({.target = "/events", .sink = [](std::string_view) { return false; }});
  ASSERT_TRUE(reply) << reply.error().message;
  EXPECT_EQ(reply->status, 200U);
  until([this] { return server_.half_closed(0); });
}

TEST_F(HttpClientTest, StreamsBothWaysAtTheSameTime) {
  // An echo: each piece that arrives goes back at once, long before the request has ended.
  using unix_socket = boost::asio::local::stream_protocol;
  const std::string path = server_.path() + "2";
  unix_socket::acceptor acceptor(io_, unix_socket::endpoint(path));
  std::optional<unix_socket::socket> peer;
  std::string in(64 * 1024, '\0');
  std::string out;
  constexpr std::size_t kBytes = 8 << 20;
  std::size_t echoed = 0;
  bool head_read = false;
  std::function<void()> read = [&] {
    peer->async_read_some(
        boost::asio::buffer(in), [&](const boost::system::error_code& error, std::size_t bytes) {
          if (error) return;
          std::string_view piece(in.data(), bytes);
          out.clear();
          if (!head_read) {
            piece.remove_prefix(piece.find("\r\n\r\n") + 4);
            head_read = true;
            out = "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(kBytes) + "\r\n\r\n";
          }
          out.append(piece);
          echoed += piece.size();
          boost::asio::async_write(*peer, boost::asio::buffer(out),
                                   [&](const boost::system::error_code& failed, std::size_t) {
                                     if (!failed) read();
                                   });
        });
  };
  acceptor.async_accept([&](const boost::system::error_code& error, unix_socket::socket socket) {
    ASSERT_FALSE(error);
    peer.emplace(std::move(socket));
    read();
  });
  client_.emplace(io_, Server{.address = {.socket_path = path, .tcp = {}}, .remedy = {}});
  std::size_t given = 0;
  std::size_t taken = 0;
  std::size_t most_ahead = 0;
  const auto reply = ask({.method = "POST",
                          .target = "/echo",
                          .content_type = "application/octet-stream",
                          .source = [&](std::span<char> into) -> Result<std::size_t> {
                            const std::size_t bytes = std::min(into.size(), kBytes - given);
                            std::fill_n(into.begin(), bytes, 'z');
                            given += bytes;
                            return bytes;
                          },
                          .source_bytes = kBytes,
                          .sink =
                              [&](std::string_view piece) {
                                taken += piece.size();
                                most_ahead = std::max(most_ahead, given - taken);
                                return true;
                              }});
  ASSERT_TRUE(reply) << reply.error().message;
  EXPECT_EQ(taken, kBytes);
  EXPECT_EQ(given, kBytes);
  EXPECT_LT(most_ahead, kBytes / 4) << "what comes back is read while the rest is sent";
}

TEST_F(HttpClientTest, AnAnswerAboveItsBoundIsRefused) {
  always(http_ok(std::string(1000, 'x')));
  Request request = post("{}");
  request.reply_bytes_max = 999;
  EXPECT_EQ(ask(std::move(request)).error().code, Code::too_large);
}

TEST_F(HttpClientTest, AClientThatIsGoneCallsNobody) {
  int called = 0;
  Request request = post("{}");
  request.done = [&called](const Result<Reply>&) { ++called; };
  client_->send(std::move(request));
  until([this] { return server_.asked.size() == 1; });
  client_.reset();
  until([this] { return server_.half_closed(0); });
  EXPECT_EQ(called, 0);
}

TEST_F(HttpClientTest, ACallbackMayEndTheClient) {
  always(http_ok("{}"));
  bool called = false;
  Request request = post("{}");
  request.done = [&](const Result<Reply>&) {
    called = true;
    client_.reset();
  };
  client_->send(std::move(request));
  until([&called] { return called; });
  EXPECT_FALSE(client_.has_value());
}

// --- Events ---

TEST_F(HttpClientTest, FollowsEventsAndConnectsAgainAfterABreak) {
  server_.on_request = [this](const FakeServer::Asked& request) {
    server_.asked.push_back(request);
    const std::string first = "event: hello\ndata: {\"boot\":1}\n\n";
    const std::string second = ": still here\n\nevent: stop\ndata: a\ndata: b\n\n";
    server_.say(request.connection,
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                "Transfer-Encoding: chunked\r\n\r\n" +
                    http_chunk(first.substr(0, 9)) + http_chunk(first.substr(9)) +
                    http_chunk(second));
  };
  std::vector<std::string> events;
  int downs = 0;
  std::optional<Subscription> subscription;
  subscription.emplace(
      io_, *client_, "/v1/events",
      Subscription::Listener{.on_event =
                                 [&events](std::string_view event, std::string_view data) {
                                   events.push_back(std::string(event) + "|" + std::string(data));
                                 },
                             .on_down = [&downs] { ++downs; }});
  until([&] { return events.size() == 2; });
  EXPECT_EQ(events[0], "hello|{\"boot\":1}");
  EXPECT_EQ(events[1], "stop|a\nb");
  EXPECT_NE(server_.asked.at(0).head.find("Accept: text/event-stream"), std::string::npos);
  server_.drop_connections();
  until([&] { return events.size() == 4; });
  EXPECT_EQ(downs, 1);
  subscription.reset();
  server_.drop_connections();
  until([&] { return server_.half_closed(1); });
  EXPECT_EQ(downs, 1) << "nothing is told any more";
}

TEST_F(HttpClientTest, ASubscriptionToldOnceThatThereIsNoServerTriesUntilThereIsOne) {
  server_.stop();
  int downs = 0;
  std::vector<std::string> events;
  const Subscription subscription(
      io_, *client_, "/v1/events",
      {.on_event = [&](std::string_view event, std::string_view) { events.emplace_back(event); },
       .on_down =
           [&] {
             ++downs;
             server_.start();
             always("HTTP/1.1 200 OK\r\n\r\nevent: hello\ndata: x\n\n");
           }});
  until([&] { return !events.empty(); });
  EXPECT_EQ(downs, 1);
}

}  // namespace
}  // namespace rq::client
