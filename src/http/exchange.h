#pragma once
// One request and its reply, as whoever serves it sees them. An Exchange is made on the spot and
// never kept: who must come back later keeps its ExchangeId, and finds the exchange again if the
// client is still there (Server::with).
//
// Thread: the loop's.
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "http/body.h"
#include "http/limits.h"
#include "http/message.h"
#include "net/channel.h"

namespace rq::http {

class Connection;
class Server;

struct ExchangeId {
  std::uint64_t connection = 0;
  std::uint64_t request = 0;
};

// What a site gets. Valid during the call.
struct Request {
  const Head& head;
  std::size_t route;  // its place in the table
  std::string_view query;
  const std::array<std::string, kPathParametersMax>& parameters;  // decoded
  std::optional<std::uint64_t> length;  // of the body, as the head says it; absent: in chunks
  std::string_view body;                // when it was kept whole
  BodySink* sink;                       // that took the body, else null
};

// What a site keeps between the steps of an exchange; it goes with the exchange.
class Extra {
 public:
  Extra() = default;
  virtual ~Extra() = default;
  Extra(const Extra&) = delete;
  Extra& operator=(const Extra&) = delete;
  // All that a stream of events has written is sent. May end the stream.
  virtual void on_drained() {}
};

// The place of an exchange in its connection's line.
struct Slot {
  std::uint64_t request = 0;
  std::unique_ptr<Extra> extra;
  std::string bytes;               // of the reply, while others are ahead
  std::unique_ptr<Source> source;  // of the rest of the reply
  std::optional<FileRange> file;   // the same
  std::uint64_t source_left = 0;   // bytes that the head of the reply has promised
  std::size_t held_bytes = 0;      // of the request's body
  Budget::Share share;             // for that body
  bool done = false;               // the reply is complete
  bool begun = false;              // the head of the reply is written
  bool head_only = false;
  bool close_after = false;
  bool old_http = false;  // HTTP/1.0
  bool alone = false;     // nothing behind it is read before its reply is sent
  bool watched = false;   // ends when the other side hangs up
  bool events = false;    // a stream of events
  bool chunks = false;    // the source's length is not known
};

class Exchange {
 public:
  Exchange(Server& server, Connection& connection, Slot& slot)
      : server_(server), connection_(connection), slot_(slot) {}

  [[nodiscard]] Server& server() const { return server_; }
  [[nodiscard]] ExchangeId id() const;
  [[nodiscard]] const net::Caller& caller() const;
  [[nodiscard]] Extra* extra() const { return slot_.extra.get(); }
  void keep(std::unique_ptr<Extra> extra) { slot_.extra = std::move(extra); }

  // --- The reply: exactly one of these, once ---
  // `fields`: further header lines, each with its CRLF.
  void reply(int status, std::string_view content_type, std::string_view body,
             std::string_view fields = {});
  // 204, 304 and the like.
  void reply_empty(int status, std::string_view fields = {});
  // As the site renders the error. In a reply that has begun the connection is cut instead: there
  // is never a second head.
  void refuse(const base::Error& error, std::string_view fields = {});
  void refuse_with(int status, const base::Error& error, std::string_view fields = {});
  // Sends the file; the client takes its time.
  void reply_file(int status, std::string_view content_type, FileRange file,
                  std::string_view fields = {});
  // Sends what the source gives, `length` bytes; absent: until it ends.
  void reply_source(int status, std::string_view content_type, std::unique_ptr<Source> source,
                    std::optional<std::uint64_t> length, std::string_view fields = {});
  // Begins a stream of events; from here on write() until end(). Nothing after it on this
  // connection.
  void begin_events();
  [[nodiscard]] bool begun() const { return slot_.begun; }

  // --- Of a stream of events ---
  // A reader that is too slow for what it asked for is cut off, never waited for.
  void write(std::string_view text);
  void end();
  // Bytes written that the other side has not taken.
  [[nodiscard]] std::size_t backlog() const;

  // --- While it is served ---
  // The reply may be large: nothing behind this request is read before it is sent.
  void serve_alone() { slot_.alone = true; }
  // The answer may be long in coming: when the other side hangs up, the exchange ends.
  void watch_peer();
  void unwatch_peer();
  // The sink or the source that waited can go on.
  void go_on();
  // Memory for what becomes of a large body. False: there is none left, and the request should be
  // refused as busy.
  [[nodiscard]] bool grow_share(std::size_t bytes);

 private:
  // The head of the reply; `length` absent: until the end of the connection, or in chunks.
  std::string& begin_reply(int status, std::string_view content_type,
                           std::optional<std::uint64_t> length, std::string_view fields);

  Server& server_;
  Connection& connection_;
  Slot& slot_;
};

}  // namespace rq::http
