#include "client/subscription.h"

#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <utility>

#include "client/sse_reader.h"

namespace rq::client {

struct Subscription::State : std::enable_shared_from_this<State> {
  State(boost::asio::io_context& io, HttpClient& to, std::string what, Listener who)
      : client(to), target(std::move(what)), listener(std::move(who)), timer(io) {}

  void start() {
    reader = SseReader();
    Request request;
    request.target = target;
    request.accept = "text/event-stream";
    request.timeout = base::Millis{0};
    request.silence = kEventSilence;
    request.sink = [self = shared_from_this()](std::string_view piece) {
      return self->take(piece);
    };
    request.done = [self = shared_from_this()](const base::Result<Reply>&) { self->down(); };
    client.send(std::move(request));
  }

  bool take(std::string_view piece) {
    up = true;
    delay = std::chrono::milliseconds{0};
    return reader.feed(piece, [this](std::string_view event, std::string_view data) {
      if (!closed) listener.on_event(event, data);
    }) && !closed;
  }

  void down() {
    if (closed) return;
    if (std::exchange(up, false)) listener.on_down();
    if (closed) return;
    delay = std::clamp(delay * 2, kReconnectDelayMin, kReconnectDelayMax);
    timer.expires_after(delay);
    timer.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
      if (!error && !self->closed) self->start();
    });
  }

  HttpClient& client;
  const std::string target;
  const Listener listener;
  boost::asio::steady_timer timer;
  SseReader reader;
  std::chrono::milliseconds delay{0};
  bool up = true;  // so that the first failure is told
  bool closed = false;
};

Subscription::Subscription(boost::asio::io_context& io, HttpClient& client, std::string target,
                           Listener listener)
    : state_(std::make_shared<State>(io, client, std::move(target), std::move(listener))) {
  state_->start();
}

Subscription::~Subscription() {
  state_->closed = true;
  state_->timer.cancel();
}

}  // namespace rq::client
