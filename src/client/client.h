#pragma once
// The blocking face of the HTTP client, for programs that do one thing after the other: the command
// line. It keeps its connection, speaks JSON, streams both ways, and follows event streams.
// Thread: one at a time.   Errors: what the server says, or unreachable, too_large, internal.
#include <boost/json/value.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "client/http_client.h"
#include "client/limits.h"
#include "client/server.h"

namespace rq::client {

// A field that every such answer of an rq server has: an answer without it is another program's.
struct Has {
  std::string_view field;
};

// False: enough.
using EventSink = std::function<bool(std::string_view event, std::string_view data)>;

class Client {
 public:
  // A request may take its time, but a server that is alive says so meanwhile, whatever it does.
  struct Patience {
    std::chrono::milliseconds before = kPatience;
    std::chrono::milliseconds answer = kSignOfLifeTime;
  };
  explicit Client(Server server) : Client(std::move(server), Patience{}) {}
  Client(Server server, Patience patience);
  ~Client();
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;

  // JSON there and back. A reply that is no success becomes the Error it tells of; a success
  // without the field is an error, too: no rq server has sent it.
  [[nodiscard]] base::Result<boost::json::value> get(const std::string& target, Has has);
  [[nodiscard]] base::Result<boost::json::value> send(
      std::string_view method, const std::string& target, Has has,
      const boost::json::value& body = boost::json::object{});
  [[nodiscard]] base::Result<boost::json::value> remove(const std::string& target, Has has);

  // Bytes there, JSON back.
  [[nodiscard]] base::Result<boost::json::value> send_bytes(std::string_view method,
                                                            const std::string& target, Has has,
                                                            const std::string& content_type,
                                                            std::string body);
  // Bytes back. They say nothing of who sent them, so whether it is an rq server is asked before.
  [[nodiscard]] base::Result<std::string> get_bytes(const std::string& target);

  // Any request, `done` left out. A reply that is no success becomes the Error it tells of.
  [[nodiscard]] base::Result<Reply> perform(Request request);

  // Follows an event stream until the sink says false (then: value) or the server ends it
  // (unreachable, so that the caller may come back).
  // `meanwhile`: called again and again, on this thread, also when nothing comes. `longest`: then
  // it ends likewise as unreachable; 0: never.
  struct Meanwhile {
    std::chrono::milliseconds every;
    std::function<void()> call;
  };
  [[nodiscard]] base::Result<void> follow(const std::string& target, const EventSink& sink,
                                          const Meanwhile& meanwhile = {},
                                          base::Millis longest = base::Millis{0});

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // shared with a call that is under way
};

}  // namespace rq::client
