#include "client/response_reader.h"

#include <gtest/gtest.h>

#include "client/reply.h"
#include "client/sse_reader.h"

namespace rq::client {
namespace {

using State = ResponseReader::State;

struct Read {
  State state = State::more;
  unsigned status = 0;
  std::string body, what, left;
};

// Gives `text` in pieces of `chunk` bytes, then the end of the stream if it has not ended before.
Read read_all(std::string_view text, std::size_t chunk) {
  Read out;
  ResponseReader reader([&out](std::string_view piece) {
    out.body.append(piece);
    return true;
  });
  std::string buffer;
  for (std::size_t at = 0; at < text.size() && out.state == State::more; at += chunk) {
    buffer.append(text.substr(at, chunk));
    std::size_t used = 0;
    out.state = reader.feed(buffer, used);
    buffer.erase(0, used);
  }
  if (out.state == State::more) out.state = reader.end_of_input();
  out.status = reader.status();
  out.what = reader.what();
  out.left = buffer;
  return out;
}

TEST(ResponseReader, AnyChunkingGivesTheSameAnswer) {
  for (const std::string text :
       {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nA: "
        "b\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\n\r\nhello"}) {
    for (std::size_t chunk = 1; chunk <= text.size(); ++chunk) {
      const Read got = read_all(text, chunk);
      EXPECT_EQ(got.state, State::done) << text << chunk << got.what;
      EXPECT_EQ(got.status, 200U) << text;
      EXPECT_EQ(got.body, "hello") << text << chunk;
    }
  }
}

TEST(ResponseReader, WhatComesBehindAnAnswerIsLeft) {
  const std::string text = "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 500";
  const Read got = read_all(text, text.size());
  EXPECT_EQ(got.state, State::done);
  EXPECT_EQ(got.status, 204U);
  EXPECT_EQ(got.left, "HTTP/1.1 500");
}

TEST(ResponseReader, WhatIsNoAnswerOrEndsInTheMiddleIsBroken) {
  for (const std::string text :
       {"", "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nContent-Len", "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhe\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"}) {
    for (const std::size_t chunk : {std::size_t{1}, std::size_t{7}, text.size() + 1}) {
      const Read got = read_all(text, chunk);
      EXPECT_EQ(got.state, State::broken) << text;
      EXPECT_FALSE(got.what.empty()) << text;
    }
  }
}

TEST(ResponseReader, AHeadThatNeverEndsIsBroken) {
  const Read got = read_all("HTTP/1.1 200 OK\r\nA: " + std::string(1 << 20, 'x'), 1 << 16);
  EXPECT_EQ(got.state, State::broken);
}

TEST(ResponseReader, SaysWhenItHasEnough) {
  int pieces = 0;
  ResponseReader reader([&pieces](std::string_view) { return ++pieces < 2; });
  std::size_t used = 0;
  const std::string head = "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 9\r\n\r\nabc";
  EXPECT_EQ(reader.feed(head, used), State::more);
  EXPECT_EQ(used, head.size());
  EXPECT_EQ(reader.content_type(), "a/b");
  EXPECT_EQ(reader.feed("def", used), State::enough);
}

TEST(ErrorOf, ReadsTheOneShapeOfErrorsAndMakesOneOfAnythingElse) {
  const Reply refused{.status = 409,
                      .content_type = {},
                      .body = R"({"error":{"code":"lease_lost","message":"m","remedy":"r"}})"};
  EXPECT_EQ(error_of(refused).code, base::Code::lease_lost);
  EXPECT_EQ(error_of(refused).message, "m");
  EXPECT_EQ(error_of(refused).remedy, "r");
  EXPECT_EQ(json_of(refused).error().code, base::Code::lease_lost);
  const auto foreign = error_of({.status = 404, .content_type = {}, .body = "<html>"});
  EXPECT_EQ(foreign.code, base::Code::not_found);
  EXPECT_NE(foreign.message.find("404"), std::string::npos);
  EXPECT_EQ(error_of({.status = 599, .content_type = {}, .body = "{}"}).code, base::Code::internal);
}

TEST(JsonOf, GivesTheBodyOfASuccess) {
  EXPECT_EQ(json_of({.status = 200, .content_type = {}, .body = "[1]"})->as_array().size(), 1U);
  EXPECT_TRUE(json_of({.status = 204, .content_type = {}, .body = ""})->is_object());
  const auto wrong = json_of({.status = 200, .content_type = {}, .body = "<html>"});
  ASSERT_FALSE(wrong);
  EXPECT_NE(wrong.error().message.find("<html>"), std::string::npos);
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
