#pragma once
// Follows a stream of events of the server for as long as it lives. After a break it connects
// again, with a growing delay.
// Thread: the loop's.
#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "client/http_client.h"

namespace rq::client {

class Subscription {
 public:
  struct Listener {
    std::function<void(std::string_view event, std::string_view data)> on_event;
    // Once for each break, and when there is no server at first.
    std::function<void()> on_down;
  };
  // `client` must live until the loop has run for the last time.
  Subscription(boost::asio::io_context& io, HttpClient& client, std::string target,
               Listener listener);
  // Nothing is told any more.
  ~Subscription();
  Subscription(const Subscription&) = delete;
  Subscription& operator=(const Subscription&) = delete;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace rq::client
