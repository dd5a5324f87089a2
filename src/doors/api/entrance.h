#pragma once
// Who comes in by this door: where a request may come from, who sends it, and how long somebody
// waits for a refusal who fails again and again. What they may do is permission's.
//
// Thread: the loop's.
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/steady_timer.hpp>

#include "access/callers.h"
#include "access/failures.h"
#include "base/result.h"
#include "core/command.h"
#include "http/exchange.h"
#include "http/message.h"
#include "net/channel.h"

namespace rq::doors::api {

class ApiDoor;

class Entrance {
 public:
  Entrance(ApiDoor& door, access::Policy policy);
  Entrance(const Entrance&) = delete;
  Entrance& operator=(const Entrance&) = delete;

  // One more name that is served here beside those of this machine, and what to write in a request.
  void serve_as(std::string host, std::string address);
  void close() { tokens_timer_.cancel(); }

  [[nodiscard]] base::Result<http::Who> admit(const http::Head& head, const net::Caller& caller);
  // Of the refusal that admit() has just given.
  [[nodiscard]] std::chrono::milliseconds pause_before(const base::Error& refusal,
                                                       const net::Caller& caller);
  [[nodiscard]] access::Callers& callers() { return callers_; }

  // Asks the engine which tokens there are, and goes by its answer.
  void read_tokens();
  // All replies go by here: those that tell of tokens count, also when whoever asked is gone.
  void look_at(const core::Delivery& delivery);

  // A stream ends soon when who follows it may no longer call (pitfalls NA5).
  void stream_began(const http::ExchangeId& id);
  void stream_ended(const http::ExchangeId& id) { streams_.erase({id.connection, id.request}); }
  void end_streams_of_the_gone();

 private:
  // The request has a name of this server, as far as names say something: with TLS the client has
  // looked at its certificate.
  [[nodiscard]] std::optional<base::Error> check_host(const http::Head& head, bool tls);
  // Of what a browser sends along: null when it is no page of another site.
  [[nodiscard]] static std::optional<base::Error> check_origin(const http::Head& head, bool tls);
  [[nodiscard]] bool host_allowed(std::string_view host) const;
  void note_uses();

  ApiDoor& door_;
  access::Callers callers_;
  access::Failures failures_;
  std::vector<std::string> hosts_{"localhost", "127.0.0.1", "[::1]"};
  std::string address_;
  std::string admitted_host_;  // the last one that was
  bool knows_tokens_ = false;
  bool shown_ = false;  // the last request came with a token
  std::string from_;    // it came from there
  boost::asio::steady_timer tokens_timer_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, core::CallerRef> streams_;  // who follows
};

}  // namespace rq::doors::api
