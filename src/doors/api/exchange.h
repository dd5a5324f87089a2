#pragma once
// One request and its reply, as a room sees it. An Exchange is made on the spot and never kept: a
// room that must come back later keeps its ExchangeId, and finds the exchange again if the client
// is still there.
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <boost/asio/post.hpp>

#include "base/result.h"
#include "core/command.h"
#include "doors/api/parser.h"
#include "doors/api/text.h"
#include "pipeline/readers.h"

namespace rq::doors::api {

class Connection;
class Exchange;
class HttpDoor;

struct ExchangeId {
  std::uint64_t connection = 0;
  std::uint64_t request = 0;
};

// What a handler gets. Valid during the call.
struct Request {
  const Head& head;
  const Route& route;
  std::string_view query;
  std::array<std::string, kPathParametersMax> parameters;  // decoded
  std::string_view body;
  std::unique_ptr<BodySink> sink;  // took the body, when the route wanted that
};

// What a room keeps between the steps of an exchange.
class Extra {
 public:
  Extra() = default;
  virtual ~Extra() = default;
  Extra(const Extra&) = delete;
  Extra& operator=(const Extra&) = delete;
  // All that a stream has written is sent. May end the stream.
  virtual void on_drained() {}
};

// Takes the engine's answer, which is no Error (but after ask_raw()).
using Renderer = void (*)(Exchange&, core::Reply&);

// The place of an exchange in its connection's line.
struct Slot {
  std::uint64_t request = 0;
  Renderer render = nullptr;
  std::unique_ptr<Extra> extra;
  std::string bytes;           // of the reply, while others are ahead
  std::size_t held_bytes = 0;  // of the request
  bool done = false;
  bool head_only = false;
  bool close_after = false;
  bool old_http = false;  // HTTP/1.0 that asked for keep-alive
  bool waits = false;     // a reserve that may wait in the engine
  bool streaming = false;
  bool raw = false;  // errors go to `render` too
};

class Exchange {
 public:
  Exchange(HttpDoor& door, Connection& connection, Slot& slot)
      : door_(door), connection_(connection), slot_(slot) {}

  [[nodiscard]] HttpDoor& door() const { return door_; }
  [[nodiscard]] ExchangeId id() const;
  [[nodiscard]] Extra* extra() const { return slot_.extra.get(); }
  void keep(std::unique_ptr<Extra> extra) { slot_.extra = std::move(extra); }

  // --- The reply: exactly one of these, once ---
  void reply_json(int status, std::string_view body);
  // `fields`: further header lines, each with its CRLF.
  void reply(int status, std::string_view content_type, std::string_view body,
             std::string_view fields = {});
  void refuse(const base::Error& error, std::string_view fields = {});
  // Starts a stream of events; from here on write() until end(). Nothing after it on this
  // connection. REQUIRES: the extra is the stream.
  void start_stream();

  // --- Of a stream ---
  // A reader that is too slow for what it asked for is cut off, never waited for.
  void write(std::string_view text);
  void end();
  // Bytes written that the peer has not taken.
  [[nodiscard]] std::size_t backlog() const;

  // --- Asking ---
  // The engine; its answer goes to `render`, an error straight to the client.
  void ask(core::Command&& command, Renderer render);
  // As ask(), but an error goes to `render` as well. May be called several times: the answers come
  // in the order of the commands.
  void ask_raw(core::Command&& command, Renderer render);
  // As ask(), for a reserve that may wait: when the client goes, the engine is told.
  void ask_waiting(core::Command&& command, Renderer render);
  // A reader thread runs look(reader); then(exchange, result) is called on the loop, if the client
  // is still there. Both must be copyable, and own what they use.
  template <typename Look, typename Then>
  void look_up(Look look, Then then);

 private:
  void post_lookup(pipeline::Readers::Lookup lookup);
  void submit(core::Command&& command);

  HttpDoor& door_;
  Connection& connection_;
  Slot& slot_;
};

[[nodiscard]] std::string error_json(const base::Error& error);
void append_error_object(std::string& out, const base::Error& error);  // {"code":...}

}  // namespace rq::doors::api
