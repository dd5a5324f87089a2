#include "http/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>

#include <fstream>

#include "base/temp_dir_rig.h"
#include "http/server_rig.h"

namespace rq::http {
namespace {

using std::chrono::seconds;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view kGet = "GET /none HTTP/1.1\r\nHost: x\r\n\r\n";

// --- Framing ---

// Three requests in one text, with all that framing knows.
constexpr std::string_view kThree =
    "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
    "\r\n"
    "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    "3;name=\"a b\"\r\nabc\r\n00004\r\ndefg\r\n0\r\nTrailer: ignored\r\nHost: forbidden\r\n\r\n"
    "GET /item/a%2Fb/c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

void expect_three(const std::string& replies, const std::string& how) {
  EXPECT_EQ(count_of(replies, "HTTP/1.1 200 OK\r\n"), 3U) << how << replies;
  EXPECT_THAT(replies, HasSubstr("\r\n\r\nhelloHTTP/1.1")) << how;
  EXPECT_THAT(replies, HasSubstr("\r\n\r\nabcdefgHTTP/1.1")) << how;
  EXPECT_THAT(replies, EndsWith("Connection: close\r\n\r\na/b,c")) << how;
}

TEST_F(ServerTest, ATextCutAnywhereGivesTheSameReplies) {
  for (std::size_t cut = 0; cut <= kThree.size(); ++cut) {
    RigClient client = connect();
    std::string replies = ask(client, kThree.substr(0, cut));
    replies += ask(client, kThree.substr(cut));
    expect_three(replies, "cut at " + std::to_string(cut));
    EXPECT_TRUE(client.closed());
  }
}

TEST_F(ServerTest, ATextThatComesByteByByteGivesTheSameReplies) {
  RigClient client = connect();
  std::string replies;
  for (const char c : kThree) replies += ask(client, {&c, 1});
  expect_three(replies, "byte by byte");
}

// A connection keeps the route of the last path that was good, and nothing else of it.
TEST_F(ServerTest, EachRequestOfAConnectionGoesWhereItsOwnPathLeads) {
  RigClient client = connect();
  const auto get = [&](const std::string& method, const std::string& path) {
    return ask(client, method + " " + path + " HTTP/1.1\r\nHost: x\r\n\r\n");
  };
  for (const char* const body : {"a,b", "c,d", "c,d", "a,b"}) {
    const std::string path = std::string("/item/") + body[0] + "/" + body[2];
    EXPECT_THAT(get("GET", path), EndsWith(std::string("\r\n\r\n") + body)) << path;
  }
  EXPECT_EQ(status_of(get("DELETE", "/item/a/b")), 405) << "the same path, another method";
  EXPECT_THAT(get("GET", "/item/a/b"), EndsWith("\r\n\r\na,b"));
  EXPECT_EQ(status_of(get("GET", "/nowhere")), 404);
  const std::string longer(300, 'x');
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(get("GET", "/item/" + longer + "/b"), EndsWith("\r\n\r\n" + longer + ",b"));
  }
  EXPECT_THAT(get("GET", "/item/a/b"), EndsWith("\r\n\r\na,b"));
}

TEST_F(ServerTest, EmptyLinesBetweenRequestsAreTaken) {  // faults.md D19
  RigClient client = connect();
  EXPECT_EQ(status_of(ask(client, kGet)), 200);
  EXPECT_EQ(ask(client, "\r"), "");
  EXPECT_EQ(ask(client, "\n"), "");
  EXPECT_EQ(status_of(ask(client, kGet)), 200);
  EXPECT_EQ(status_of(ask(client, "\r\n\r\n" + std::string(kGet))), 200);
}

TEST_F(ServerTest, ABodyIsReadInOneWayOnly) {  // faults.md D7
  const std::string put = "POST /echo HTTP/1.1\r\nHost: x\r\n";
  const std::string smuggled = "DELETE /none HTTP/1.1\r\nHost: x\r\n\r\n";
  for (const auto& [fields, status] : std::vector<std::pair<std::string, int>>{
           {"Transfer-Encoding: gzip\r\n", 501},
           {"Transfer-Encoding: identity\r\n", 501},
           {"Transfer-Encoding: xchunked\r\n", 501},
           {"Transfer-Encoding: chunked, gzip\r\n", 501},
           {"Transfer-Encoding: gzip, chunked\r\n", 501},
           {"Transfer-Encoding: \r\n", 501},
           {"Transfer-Encoding:\r\n chunked\r\n", 400},
           {"A: b\r\n\tTransfer-Encoding: chunked\r\n", 400},
           {"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400},
           {"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400},
           {"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400},
           {"Content-Length: 5\r\nContent-Length: 6\r\n", 400},
           {"Content-Length: 5\r\nContent-Length: 5\r\n", 400},
           {"Content-Length: +5\r\n", 400},
           {"Content-Length: 5, 5\r\n", 400},
           {"Content-Length: 99999999999999999999999\r\n", 400},
           {"Transfer-Encoding : chunked\r\n", 400}}) {
    RigClient client = connect();
    const std::string replies = ask(client, put + fields + "\r\n" + smuggled + smuggled);
    EXPECT_EQ(status_of(replies), status) << fields << replies;
    EXPECT_EQ(count_of(replies, "HTTP/1.1 "), 1U) << "what follows is not read: " << fields;
    EXPECT_TRUE(client.closed()) << fields;
  }
  EXPECT_EQ(site.served, 0U);
}

TEST_F(ServerTest, AHeadHasBounds) {
  const std::string start = "GET /none HTTP/1.1\r\nHost: x\r\n";
  for (const std::string& head :
       {start + "a: " + std::string(kHeadBytesMax, 'x') + "\r\n\r\n",
        std::string("GET /") + std::string(kHeadBytesMax, 'x'), start + [] {
          std::string many;
          for (int i = 0; i < 4000; ++i) many += "a: b\r\n";
          return many;
        }()}) {
    RigClient client = connect();
    EXPECT_EQ(status_of(ask(client, head)), 413);
    EXPECT_TRUE(client.closed());
    // The same when it comes slowly.
    RigClient slow = connect();
    std::string replies;
    for (std::size_t at = 0; at < head.size(); at += 1000) {
      static_cast<void>(slow.send(std::string_view(head).substr(at, 1000)));
      turn();
    }
    EXPECT_EQ(status_of(slow.receive()), 413);
  }
}

TEST_F(ServerTest, OldHttpNeedsNoHost) {  // faults.md C19
  RigClient client = connect();
  const std::string reply = ask(client, "GET /none HTTP/1.0\r\n\r\n");
  EXPECT_EQ(status_of(reply), 200);
  EXPECT_THAT(reply, HasSubstr("Connection: close\r\n"));
  EXPECT_TRUE(client.closed());
  RigClient stays = connect();
  EXPECT_THAT(ask(stays, "GET /none HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
              HasSubstr("Connection: keep-alive\r\n"));
  EXPECT_EQ(status_of(ask(stays, kGet)), 200);
}

TEST_F(ServerTest, AnEncodedBodyIsRefused) {  // faults.md C19
  RigClient client = connect();
  EXPECT_EQ(status_of(ask(client,
                          "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\n"
                          "Content-Length: 3\r\n\r\nabc")),
            415);
  EXPECT_EQ(status_of(ask(client, kGet)), 200) << "and its body is let pass";
}

// --- Bodies ---

TEST_F(ServerTest, ExpectIsAnsweredBeforeTheBody) {
  RigClient client = connect();
  const std::string head =
      "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
  EXPECT_EQ(ask(client, head), "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_THAT(ask(client, "hi"), EndsWith("\r\n\r\nhi"));
  // A refusal comes instead of it, and ends the connection: the body may come or not.
  const std::string refused =
      ask(client,
          "POST /nowhere HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_EQ(status_of(refused), 404);
  EXPECT_TRUE(client.closed());
}

TEST_F(ServerTest, ARefusedBodyOfBoundedSizeIsLetPass) {
  RigClient client = connect();
  EXPECT_EQ(status_of(ask(client, "POST /none HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n")),
            405)
      << "before its body";
  EXPECT_EQ(status_of(ask(client, "body" + std::string(kGet))), 200);
  EXPECT_EQ(
      status_of(ask(client, "GET /none HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody")), 400)
      << "a body where none is taken";
  EXPECT_EQ(status_of(ask(client, kGet)), 200);
  EXPECT_EQ(
      status_of(ask(client, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n")),
      413);
  const std::string rest = ask(client, std::string(1001, 'x') + std::string(kGet));
  EXPECT_EQ(status_of(rest), 200);
  EXPECT_FALSE(client.closed());
  EXPECT_EQ(status_of(ask(client,
                          "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: "
                          "9999999999\r\n\r\n")),
            413);
  EXPECT_TRUE(client.closed()) << "a large one is not waited for";
}

TEST_F(ServerTest, ChunksHaveTheSameBounds) {
  const std::string post = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  RigClient client = connect();
  EXPECT_EQ(status_of(ask(client, post + "3e9\r\n")), 413) << "before any of it has come";
  RigClient two = connect();
  EXPECT_EQ(status_of(ask(two, post + "3e8\r\n" + std::string(1000, 'x') + "\r\n1\r\n")), 413);
  RigClient none = connect();
  EXPECT_EQ(status_of(ask(none,
                          "GET /none HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
                          "chunked\r\n\r\n1\r\nx\r\n")),
            400);
}

TEST_F(ServerTest, ASinkThatSaysNotNowStopsTheSender) {
  RigClient client = connect();
  site.sink_waits = true;
  const std::string body(1'000'000, 'b');
  ask(client, "PUT /sink HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
  std::size_t sent = 0;
  std::size_t went = 0;
  while ((went = client.send(std::string_view(body).substr(sent))) > 0) {
    sent += went;
    turn();
  }
  EXPECT_LT(sent, body.size()) << "the socket is full, nobody reads";
  EXPECT_EQ(site.pieces, 1U);
  std::string reply;
  for (int i = 0; i < 1000 && reply.empty(); ++i) {
    const std::size_t before = site.pieces;
    server.with(site.opened, [](Exchange& x) { x.go_on(); });
    turn();
    EXPECT_LE(site.pieces, before + 1) << "one piece for one go-ahead";
    if (sent < body.size()) sent += client.send(std::string_view(body).substr(sent));
    turn();
    reply = client.receive();
  }
  EXPECT_EQ(status_of(reply), 200);
  EXPECT_EQ(site.sunk, body);
}

TEST_F(ServerTest, LargeBodiesShareABudget) {  // faults.md D12
  // 100 MiB each: two fit, the third waits until one is done.
  const std::string head =
      "POST /large HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: "
      "104857600\r\n\r\n";
  RigClient first = connect();
  RigClient second = connect();
  RigClient third = connect();
  EXPECT_THAT(ask(first, head), HasSubstr(" 100 Continue"));
  EXPECT_THAT(ask(second, head), HasSubstr(" 100 Continue"));
  EXPECT_EQ(ask(third, head), "");
  RigClient small = connect();
  EXPECT_EQ(status_of(ask(small, kGet)), 200) << "others are not disturbed";
  first.hang_up();
  turn();
  EXPECT_THAT(third.receive(), HasSubstr(" 100 Continue"));
}

// --- Replies ---

TEST_F(ServerTest, RepliesKeepTheOrderOfTheRequests) {
  RigClient client = connect();
  const std::string late = "GET /late HTTP/1.1\r\nHost: x\r\n\r\n";
  EXPECT_EQ(ask(client, late + late + std::string(kGet)), "");
  ASSERT_EQ(site.late.size(), 2U);
  server.with(site.late[1], [](Exchange& x) { x.reply(200, "text/plain", "second"); });
  server.flush();
  EXPECT_EQ(client.receive(), "");
  server.with(site.late[0], [](Exchange& x) { x.reply(200, "text/plain", "first"); });
  server.flush();
  const std::string replies = client.receive();
  EXPECT_LT(replies.find("first"), replies.find("second"));
  EXPECT_LT(replies.find("second"), replies.find("none"));
}

// faults.md D18, relative: who sent a thousand requests at once had them served before all others.
TEST_F(ServerTest, ManyRequestsOfOneClientGiveTheOthersTheirTurn) {
  constexpr std::size_t kMany = 20 * kTurnRequests;
  RigClient greedy = connect();
  RigClient other = connect();
  std::string many;
  for (std::size_t i = 0; i < kMany; ++i) many += "GET /none HTTP/1.1\r\nHost: x\r\n\r\n";
  ASSERT_EQ(greedy.send(many), many.size());
  other.send("GET /none HTTP/1.1\r\nHost: x\r\n\r\n");
  std::string reply;
  while (reply.empty() && loop.io().poll_one() > 0) reply = other.receive();
  EXPECT_EQ(status_of(reply), 200);
  EXPECT_LT(site.served, kMany / 2);
  turn();
  EXPECT_EQ(count_of(greedy.receive(), "HTTP/1.1 200"), kMany) << "and none is forgotten";
}

TEST_F(ServerTest, AConnectionHasABoundedNumberOfRequestsInFlight) {  // faults.md D18, relative
  RigClient client = connect();
  std::string many;
  for (std::size_t i = 0; i < 2 * kPipelineMax; ++i)
    many += "GET /late HTTP/1.1\r\nHost: x\r\n\r\n";
  ASSERT_EQ(client.send(many), many.size());
  turn();
  EXPECT_EQ(site.late.size(), kPipelineMax);
  std::size_t answered = 0;
  for (std::size_t i = 0; i < site.late.size(); ++i) {
    server.with(site.late[i], [&answered](Exchange& exchange) {
      exchange.reply(200, "text/plain", "late");
      ++answered;
    });
    server.flush();
    turn();
  }
  EXPECT_EQ(answered, 2 * kPipelineMax) << "with each reply there is room for one more";
  EXPECT_EQ(count_of(client.receive(), "HTTP/1.1 200"), 2 * kPipelineMax);
}

TEST_F(ServerTest, OfWhatTakesLongOthersHaveTheirTurnBetweenTwo) {  // faults.md D18, relative
  int done = 0;
  int done_meanwhile = 0;
  for (int i = 0; i < 3; ++i) server.take_turns([&done] { ++done; });
  boost::asio::post(loop.io(), [&] { done_meanwhile = done; });
  turn();
  EXPECT_EQ(done_meanwhile, 1);
  EXPECT_EQ(done, 3);
}

TEST_F(ServerTest, AGeneratorIsAskedAsTheClientReads) {  // faults.md D9
  RigClient client = connect();
  site.big_bytes = 64 * kMiB;
  const std::string one = "GET /big HTTP/1.1\r\nHost: x\r\n\r\n";
  std::string hundred;
  for (int i = 0; i < 100; ++i) hundred += one;
  EXPECT_EQ(client.send(hundred), hundred.size());
  turn();
  EXPECT_LT(site.given, 2 * kMiB) << "a bounded piece of the first, nothing of the others";
  EXPECT_EQ(site.served, 1U);
  std::size_t got = 0;
  while (got < 64 * kMiB + 100) {
    const std::size_t piece = client.receive(kMiB).size();
    if (piece == 0) break;
    got += piece;
    EXPECT_LT(site.given, got + 2 * kMiB);
    turn();
  }
  EXPECT_GE(got, 64 * kMiB);
  EXPECT_GE(site.served, 2U) << "then the next";
}

TEST_F(ServerTest, AnUnknownLengthComesInChunks) {
  RigClient client = connect();
  site.big_bytes = 100'000;
  const std::string reply = ask(client, "GET /unknown HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(reply, HasSubstr("Transfer-Encoding: chunked\r\n"));
  EXPECT_THAT(reply, HasSubstr("\r\n\r\n00010000\r\nxxx"));
  EXPECT_THAT(reply, EndsWith("\r\n0\r\n\r\n"));
  EXPECT_EQ(count_of(reply, "x"), 100'001U) << "one is in text/plain";
  EXPECT_EQ(status_of(ask(client, kGet)), 200);
  RigClient old = connect();
  const std::string plain = ask(old, "GET /unknown HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_THAT(plain, HasSubstr("Connection: close\r\n"));
  EXPECT_THAT(plain, Not(HasSubstr("chunked")));
  EXPECT_TRUE(old.closed());
}

TEST_F(ServerTest, ASourceThatWaitsIsAskedAgain) {
  RigClient client = connect();
  site.big_bytes = 10;
  site.source_waits = true;
  EXPECT_THAT(ask(client, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n"), EndsWith("\r\n\r\n"));
  site.source_waits = false;
  server.with(site.last, [](Exchange& x) { x.go_on(); });
  turn();
  EXPECT_EQ(client.receive(), "xxxxxxxxxx");
}

TEST_F(ServerTest, AReplyThatCannotGoOnIsCutAndHasNoSecondHead) {  // faults.md A4
  RigClient client = connect();
  site.big_bytes = 10;
  site.source_fails = true;
  const std::string reply = ask(client, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n" + std::string(kGet));
  EXPECT_EQ(count_of(reply, "HTTP/1.1"), 1U) << reply;
  EXPECT_TRUE(client.closed());
  RigClient stream = connect();
  EXPECT_EQ(status_of(ask(stream, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n")), 200);
  server.with(site.last, [](Exchange& x) {
    x.refuse(base::fail(base::Code::busy, "too late to refuse", ""));
  });
  turn();
  EXPECT_EQ(stream.receive(), "");
  EXPECT_TRUE(stream.closed());
}

TEST_F(ServerTest, AFileIsSentByItself) {
  const base::test::TempDir dir;
  const std::string text(3 * kMiB, 'f');
  std::ofstream(dir.path() / "file") << text;
  const int fd = ::open((dir.path() / "file").c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  RigClient client = connect();
  ask(client, "GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
  server.with(site.last, [fd](Exchange& x) {
    x.reply_file(206, "text/plain", {.file = base::Fd(fd), .offset = 1, .bytes = 3 * kMiB - 1});
  });
  server.flush();
  std::string reply;
  for (int i = 0; i < 1000 && reply.size() < 3 * kMiB; ++i) {
    turn();
    reply += client.receive();
  }
  EXPECT_EQ(status_of(reply), 206);
  EXPECT_THAT(reply, HasSubstr("Content-Length: 3145727\r\n"));
  EXPECT_EQ(reply.substr(reply.find("\r\n\r\n") + 4), text.substr(1));
  EXPECT_EQ(status_of(ask(client, kGet)), 200);
}

TEST_F(ServerTest, AFileThatBecameShorterCutsTheReply) {
  const base::test::TempDir dir;
  const int fd = ::open((dir.path() / "file").c_str(), O_CREAT | O_RDONLY | O_CLOEXEC, 0600);
  ASSERT_GE(fd, 0);
  RigClient client = connect();
  ask(client, "GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
  server.with(site.last, [fd](Exchange& x) {
    x.reply_file(200, "text/plain", {.file = base::Fd(fd), .offset = 0, .bytes = 5});
  });
  server.flush();
  turn();
  client.receive();
  EXPECT_TRUE(client.closed());
}

TEST_F(ServerTest, HeadHasNoBody) {
  RigClient client = connect();
  site.big_bytes = 10;
  EXPECT_THAT(ask(client, "HEAD /none HTTP/1.1\r\nHost: x\r\n\r\n"),
              EndsWith("Content-Length: 4\r\n\r\n"));
  EXPECT_THAT(ask(client, "HEAD /big HTTP/1.1\r\nHost: x\r\n\r\n"),
              EndsWith("Content-Length: 10\r\n\r\n"));
  EXPECT_THAT(ask(client, "HEAD /unknown HTTP/1.1\r\nHost: x\r\n\r\n"), EndsWith("\r\n\r\n"));
}

// --- Streams of events ---

TEST_F(ServerTest, AStreamThatNobodyReadsIsCutOff) {  // faults.md D11
  RigClient client = connect();
  ask(client, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
  const std::string event = "data: " + std::string(10'000, 'e') + "\n\n";
  std::size_t written = 0;
  std::size_t most = 0;
  bool there = true;
  while (there && written < 100 * kMiB) {
    there = false;
    server.with(site.last, [&](Exchange& x) {
      there = true;
      most = std::max(most, x.backlog());
      x.write(event);
    });
    written += event.size();
    turn();
  }
  EXPECT_FALSE(there);
  EXPECT_LE(most, kEventBacklogBytesMax + event.size());
  EXPECT_LT(written, 4 * kMiB);
}

TEST_F(ServerTest, AQuietStreamIsKeptAlive) {
  RigClient client = connect();
  ask(client, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
  wait(kPingEvery);
  EXPECT_EQ(client.receive(), ":\n\n");
  client.hang_up();
  turn();
  EXPECT_EQ(server.connections(), 0U);
}

// --- Ends ---

TEST_F(ServerTest, AClientThatSendsNoMoreGetsItsReplies) {
  RigClient client = connect();
  client.send("GET /late HTTP/1.1\r\nHost: x\r\n\r\n" + std::string(kGet));
  client.send_no_more();
  turn();
  ASSERT_EQ(site.late.size(), 1U);
  server.with(site.late[0], [](Exchange& x) { x.reply(200, "text/plain", "late"); });
  server.flush();
  turn();
  EXPECT_EQ(count_of(client.receive(), "HTTP/1.1 200"), 2U);
  EXPECT_TRUE(client.closed());
  EXPECT_EQ(server.connections(), 0U);
}

TEST_F(ServerTest, ARequestThatEndsBeforeItIsWholeIsRefused) {
  for (const char* text :
       {"GET /no", "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"}) {
    RigClient client = connect();
    client.send(text);
    client.send_no_more();
    turn();
    EXPECT_EQ(status_of(client.receive()), 400) << text;
    EXPECT_TRUE(client.closed()) << text;
  }
}

TEST_F(ServerTest, AWatchedExchangeEndsWithItsClient) {
  site.watch = true;
  RigClient client = connect();
  ask(client, "GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
  client.hang_up();
  turn();
  EXPECT_EQ(server.connections(), 0U);
  bool there = false;
  server.with(site.late.at(0), [&](Exchange&) { there = true; });
  EXPECT_FALSE(there);
}

TEST_F(ServerTest, CloseDownWaitsForReplies) {
  RigClient idle = connect();
  RigClient busy = connect();
  ask(busy, "GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
  bool done = false;
  server.close_down([&] { done = true; });
  turn();
  EXPECT_FALSE(done);
  server.with(site.late.at(0), [](Exchange& x) { x.reply(200, "text/plain", "late"); });
  server.flush();
  turn();
  EXPECT_EQ(status_of(busy.receive()), 200);
  busy.hang_up();
  turn();
  EXPECT_TRUE(done);
}

// --- Times ---

TEST_F(ServerTest, AHeadMustBeWholeInTime) {  // faults.md D18
  RigClient client = connect();
  client.send("GET /none HTTP/1.1\r\n");
  turn();
  std::string reply;
  for (int i = 0; i < 20 && !client.closed(); ++i) {
    client.send("a");  // one byte each five seconds
    turn();
    server.sweep();
    turn();
    reply += client.receive();
  }
  EXPECT_TRUE(client.closed());
  EXPECT_EQ(status_of(reply), 408);
}

TEST_F(ServerTest, ABodyMustBringALeastRate) {  // faults.md D18
  const std::string head = "PUT /sink HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n";
  RigClient slow = connect();
  RigClient quick = connect();
  ask(slow, head);
  ask(quick, head);
  const std::string enough(kBodyRateMin * 5 + 1, 'x');
  std::string reply;
  for (int i = 0; i < 20; ++i) {
    slow.send("x");
    quick.send(enough);
    turn();
    server.sweep();
    turn();
    reply += slow.receive();
  }
  EXPECT_EQ(status_of(reply), 408);
  EXPECT_TRUE(slow.closed());
  EXPECT_EQ(quick.receive(), "");
  EXPECT_FALSE(quick.closed());
}

TEST_F(ServerTest, ASenderIsNotBlamedForASinkThatWaits) {
  site.sink_waits = true;
  RigClient client = connect();
  ask(client, "PUT /sink HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\nabc");
  wait(seconds{300});
  EXPECT_EQ(client.receive(), "");
  EXPECT_FALSE(client.closed());
}

TEST_F(ServerTest, IdleConnectionsAndDeadReadersAreClosed) {
  RigClient idle = connect();
  ask(idle, kGet);
  RigClient dead = connect();
  site.big_bytes = 64 * kMiB;
  dead.send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
  turn();
  wait(kWriteTime + 2 * kSweepEvery);
  EXPECT_EQ(server.connections(), 1U);
  wait(kIdleTime);
  EXPECT_EQ(server.connections(), 0U);
}

TEST_F(ServerTest, WhoMayNotIsRefusedBeforeTheBody) {  // faults.md D2
  const std::string safe = "POST /safe HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n";
  RigClient client = connect();
  EXPECT_EQ(status_of(ask(client, safe + "Expect: 100-continue\r\n\r\n")), 403);
  EXPECT_EQ(site.served, 0U);
  site.right = 1;
  RigClient other = connect();
  EXPECT_EQ(status_of(ask(other, safe + "\r\nabc")), 200);
}

TEST_F(ServerTest, TheCallerIsTheUserOfTheSocket) {
  RigClient client = connect();
  ask(client, kGet);
  ASSERT_TRUE(site.caller.uid);
  EXPECT_EQ(*site.caller.uid, ::geteuid());
}

}  // namespace
}  // namespace rq::http
