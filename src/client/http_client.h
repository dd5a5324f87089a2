#pragma once
// An HTTP/1.1 client on an Asio loop, over a unix socket or TCP. It keeps its connections, and it
// streams both ways: a request's body may come from a source, the answer's may go to a sink.
//
// Thread: the loop's. Errors: `unreachable` when there is no server, no answer, or none in time;
// `too_large` when an answer passes its bound; what a source says. An error answer of the server is
// an answer (see error_of in client/reply.h).
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "client/limits.h"
#include "client/reply.h"
#include "client/server.h"

namespace rq::client {

// Fills `into` with what comes next of a request's body, and gives the number of bytes; 0: the end.
using Source = std::function<base::Result<std::size_t>(std::span<char> into)>;
// Takes what comes next of a success's body; nothing is read while it does. False: enough. Then the
// connection is closed, and the request ends well.
using Sink = std::function<bool(std::string_view piece)>;
using Done = std::function<void(base::Result<Reply>)>;

// When a kept connection breaks before a byte of the answer has come, the server may have closed it
// because it was idle, or may have died with the request half done.
enum class Retry : std::uint8_t {
  never,
  once,  // on a new connection: for requests that may be done twice. Not with a source.
};

struct Request {
  std::string_view method = "GET";  // must live as long as the request: a literal
  std::string target;
  std::string content_type;  // empty: there is no body
  std::string body;
  Source source;                              // instead of `body`
  std::optional<std::uint64_t> source_bytes;  // how many it gives; absent: it is sent in chunks
  std::string accept;                         // what to ask for; may be empty
  Sink sink;                                  // else the body is in the reply
  Done done;
  base::Millis timeout{30'000};                  // for all of it; 0: none
  base::Millis silence{0};                       // without a byte in either direction; 0: any
  std::size_t reply_bytes_max = kReplyBytesMax;  // without a sink
  Retry retry = Retry::never;
};

class HttpClient {
 public:
  using RequestId = std::uint64_t;

  HttpClient(boost::asio::io_context& io, Server server);
  // No `done`, source or sink is called any more.
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  [[nodiscard]] const Server& server() const;

  // `done` is called once, later, never from within.
  RequestId send(Request request);
  // Two requests in one piece on one connection: the server takes them up together, and answers the
  // first before the second. Gives the id of the second. REQUIRES: no sources.
  RequestId send_both(Request first, Request second);

  // For long polls: says to the server that nobody waits any more, and still takes the answer if
  // there is one already. Nothing happens when the request has ended.
  void hang_up(RequestId request);

 private:
  class Pool;
  class Connection;
  std::shared_ptr<Pool> pool_;
};

// A POST of JSON that may be done twice.
[[nodiscard]] Request post_json(std::string target, std::string json, Done done);

}  // namespace rq::client
