#pragma once
// An HTTP/1.1 client on an asio loop, over a unix socket or TCP: a pool of kept connections, one
// request each at a time, long polls, and a subscription that reconnects.
//
// Thread: the loop's. Errors: `unreachable` when there is no server or no answer; an error answer
// of the server is an answer (see error_of).
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace rq::client {

// Where a server is: "/path/rq.sock", "unix:/path/rq.sock" or "http://host:port".
struct Endpoint {
  std::string unix_path;  // empty: TCP
  std::string host, port;
  [[nodiscard]] static base::Result<Endpoint> parse(std::string_view text);
  [[nodiscard]] std::string text() const;
};

struct Reply {
  unsigned status = 0;
  std::string body;
};
// The error in an answer whose status is not 2xx.
[[nodiscard]] base::Error error_of(const Reply& reply);
// The same for an error object {"code","message","remedy"} in text form.
[[nodiscard]] base::Error error_of_json(std::string_view error_object_or_body);

class AsyncClient {
 public:
  using Done = std::function<void(base::Result<Reply>)>;
  using RequestId = std::uint64_t;
  static constexpr base::Millis kTimeout{30'000};

  AsyncClient(boost::asio::io_context& io, Endpoint endpoint);
  // No `done` is called any more.
  ~AsyncClient();
  AsyncClient(const AsyncClient&) = delete;
  AsyncClient& operator=(const AsyncClient&) = delete;

  // `done` is called once, later, never from within. A request on a kept connection that the server
  // has closed meanwhile is sent once more on a new one.
  RequestId post(std::string_view path, std::string_view json, Done done,
                 base::Millis timeout = kTimeout);
  RequestId get(std::string_view path, Done done, base::Millis timeout = kTimeout);

  // Two requests in one piece on one connection: the server takes them up together, and answers the
  // first before the second. Gives the id of the second.
  struct Request {
    std::string_view path;
    std::string_view json;
    Done done;
    base::Millis timeout = kTimeout;
  };
  RequestId post_both(Request first, Request second);

  // For long polls: says to the server that nobody waits any more, and still takes the answer if
  // there is one already.
  void hang_up(RequestId request);

  // Follows a stream of events for the life of the client. After a break it connects again, with a
  // growing delay. on_down is called once for each break (and when there is no server at first).
  struct Subscriber {
    std::function<void(std::string_view event, std::string_view data)> on_event;
    std::function<void()> on_down;
  };
  void subscribe(std::string_view path, Subscriber subscriber);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace rq::client
