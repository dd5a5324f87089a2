#pragma once
// A server without a port for tests: the test holds the other end of a pair of sockets, turns the
// loop itself, and lets time pass by sweeps.
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/range.h"
#include "http/server.h"
#include "net/client_rig.h"

namespace rq::http {

// The site of the tests.
class RigSite : public Site {
 public:
  // Keeps what came, and says "not now" as often as it is told.
  class Sink final : public BodySink {
   public:
    explicit Sink(RigSite& site) : site_(site) {}
    Next take(std::string_view piece) override {
      ++site_.pieces;
      site_.sunk += piece;
      return site_.sink_waits ? Next::wait : Next::more;
    }

   private:
    RigSite& site_;
  };
  // Gives `left` bytes, or waits.
  class Letters final : public Source {
   public:
    Letters(RigSite& site, std::size_t left) : site_(site), left_(left) {}
    Next read(std::string& out, std::size_t bytes) override {
      if (site_.source_waits) return Next::wait;
      if (site_.source_fails) return Next::failed;
      const std::size_t got = std::min(bytes, left_);
      out.append(got, 'x');
      left_ -= got;
      site_.given += got;
      return left_ == 0 ? Next::end : Next::more;
    }

   private:
    RigSite& site_;
    std::size_t left_;
  };

  enum : std::size_t { kEcho, kPut, kNone, kLate, kBig, kUnknown, kEvents, kItem, kLarge, kSafe };
  static constexpr std::array kRoutes{
      Route{Method::post, "/echo", 0, {Body::Kind::some, 1000}, true},
      Route{Method::put, "/sink", 0, {Body::Kind::some, 1'000'000}, true},
      Route{Method::get, "/none", 0, {}, true},
      Route{Method::get, "/late", 0, {}, true},
      Route{Method::get, "/big", 0, {}},
      Route{Method::get, "/unknown", 0, {}},
      Route{Method::get, "/events", 0, {}},
      Route{Method::get, "/item/{name}/{part}", 0, {}, true},
      Route{Method::post, "/large", 0, {Body::Kind::some, 100 * kMiB}, true},
      Route{Method::post, "/safe", 1, {Body::Kind::some, 100 * kMiB}, true},
  };

  std::optional<base::Error> admit(const Head& head, const net::Caller& who) override {
    caller = who;
    if (head.host != "forbidden") return std::nullopt;
    return base::fail(base::Code::forbidden, "not here", "");
  }
  std::optional<base::Error> permit(const Route& route, const net::Caller&) override {
    if (route.right <= right) return std::nullopt;
    return base::fail(base::Code::forbidden, "not you", "");
  }
  base::Result<Intake> open(Exchange& exchange, const Request& request) override {
    opened = exchange.id();
    Intake intake;
    if (request.route == kPut) intake.sink = std::make_unique<Sink>(*this);
    return intake;
  }
  void serve(Exchange& x, const Request& request) override {
    last = x.id();
    ++served;
    switch (request.route) {
      case kEcho:
        return x.reply(200, "text/plain", request.body);
      case kPut:
      case kLarge:
        return x.reply(200, "text/plain", std::to_string(request.body.size()));
      case kNone:
        return x.reply(200, "text/plain", "none");
      case kLate:
        if (watch) x.watch_peer();
        late.push_back(x.id());
        return;
      case kBig:
        return x.reply_source(200, "text/plain", std::make_unique<Letters>(*this, big_bytes),
                              big_bytes);
      case kUnknown:
        return x.reply_source(200, "text/plain", std::make_unique<Letters>(*this, big_bytes),
                              std::nullopt);
      case kEvents:
        return x.begin_events();
      default:
        return x.reply(200, "text/plain", request.parameters[0] + "," + request.parameters[1]);
    }
  }
  void append_error(std::string& body, const base::Error& error) const override {
    body += error.message;
  }
  [[nodiscard]] std::string_view error_type() const override { return "text/plain"; }

  net::Caller caller;
  std::uint8_t right = 0;  // what every caller may do
  ExchangeId opened;       // the last one whose body came
  ExchangeId last;
  std::vector<ExchangeId> late;
  std::string sunk;
  std::size_t served = 0;
  std::size_t pieces = 0;
  std::size_t given = 0;
  std::size_t big_bytes = 0;
  bool sink_waits = false;
  bool source_waits = false;
  bool source_fails = false;
  bool watch = false;
};

using net::RigClient;

class ServerTest : public ::testing::Test {
 protected:
  RigClient connect() {
    auto [socket, client] = net::connected_pair();
    EXPECT_TRUE(server.adopt(net::plain_channel(socket, true)));
    return std::move(client);
  }
  // Until there is nothing more to do.
  void turn() {
    while (loop.io().poll() > 0) {
    }
  }
  // Lets time pass, as the server measures it.
  void wait(std::chrono::seconds time) {
    for (auto left = time; left > std::chrono::seconds{0}; left -= kSweepEvery) {
      server.sweep();
      turn();
    }
  }
  std::string ask(RigClient& client, std::string_view request) {
    EXPECT_EQ(client.send(request), request.size());
    turn();
    return client.receive();
  }

  net::Loop loop;
  RigSite site;
  Server server{loop, site, RigSite::kRoutes};
};

// The status of the first reply.
inline int status_of(std::string_view reply) {
  return reply.starts_with("HTTP/1.1 ") ? std::stoi(std::string(reply.substr(9, 3))) : 0;
}

inline std::size_t count_of(std::string_view text, std::string_view part) {
  std::size_t count = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string_view::npos;
       at += part.size()) {
    ++count;
  }
  return count;
}

}  // namespace rq::http
