#pragma once
// A blocking client of the HTTP API, for programs that do one thing after the other: the command
// line. It keeps its connection, speaks JSON and follows event streams.
// Thread: one at a time.   Errors: what the server says, or unreachable, bad_value, internal.
#include <boost/json.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace rq::client {

// Where a server is, and how to speak of it.
struct ServerAddress {
  std::string socket_path;  // unix socket; empty: TCP
  std::string base_url;     // "http://127.0.0.1:3333"; for a socket a name that stands for it
  std::string remedy;       // what to do when nobody answers there
};
// "unix:PATH", a path with a slash in front, or "http://HOST:PORT".
[[nodiscard]] base::Result<ServerAddress> parse_server_address(std::string_view text);
[[nodiscard]] ServerAddress server_of_dir(const std::string& dir);  // DIR/run/rq.sock

// One character set for paths and queries: letters, digits and -._~ stay, all else is %XX.
[[nodiscard]] std::string url_encode(std::string_view text);

// A query string, put together piece by piece.
class Query {
 public:
  Query& add(std::string_view name, std::string_view value);
  Query& add_if(std::string_view name, std::string_view value);  // nothing when empty
  [[nodiscard]] std::string on(std::string path) const;

 private:
  std::string text_;
};

struct HttpReply {
  int status = 0;
  std::string body;
};

// False: enough.
using EventSink = std::function<bool(std::string_view event, std::string_view data)>;

class Client {
 public:
  explicit Client(ServerAddress address);
  ~Client();
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;

  [[nodiscard]] const ServerAddress& address() const;

  // JSON there and back. A reply that is no success becomes the Error it tells of.
  [[nodiscard]] base::Result<boost::json::value> get(const std::string& target);
  [[nodiscard]] base::Result<boost::json::value> send(
      std::string_view method, const std::string& target,
      const boost::json::value& body = boost::json::object{});
  [[nodiscard]] base::Result<boost::json::value> remove(const std::string& target);

  // Bytes there, JSON back.
  [[nodiscard]] base::Result<boost::json::value> send_bytes(std::string_view method,
                                                            const std::string& target,
                                                            const std::string& content_type,
                                                            std::string_view body);
  // Bytes back.
  [[nodiscard]] base::Result<std::string> get_bytes(const std::string& target);

  // Follows an event stream until the sink says false (then: value) or the server ends it
  // (unreachable, so that the caller may come back). `tick`, if set, is asked a few times a
  // second; false ends the stream too.
  [[nodiscard]] base::Result<void> follow(const std::string& target, const EventSink& sink,
                                          const std::function<bool()>& tick = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The Error in a reply of the API; `status` when the body tells of none.
[[nodiscard]] base::Error error_of_reply(int status, std::string_view body);

}  // namespace rq::client
