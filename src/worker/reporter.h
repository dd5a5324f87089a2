#pragma once
// What the worker tells the server about its leases: that they live, how far they are, how they
// ended. Everything is told until the server has answered, over any number of its restarts.
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "client/http_client.h"

namespace rq::worker {

// The end of a lease, as /v1/finish takes it.
struct Finish {
  std::string token;
  std::string_view outcome;
  std::string reason;
  std::string post_mortem;    // JSON object, or empty
  std::int64_t delay_ms = 0;  // resend, release
};

// Thread: the loop's.
class Reporter {
 public:
  struct Listener {
    std::function<void(const std::string& token)> on_stop;  // somebody wants it ended
    std::function<void(const std::string& token)> on_lost;  // the lease is not ours any more
    std::function<void()> on_idle;                          // the last Finish was answered
    std::function<void()> on_ending;                        // take_endings() has something
  };
  Reporter(boost::asio::io_context& io, client::HttpClient& client, Listener listener);

  // From now on the lease is kept alive, until its finish has been answered.
  void track(const std::string& token, base::Millis length);
  void forget(const std::string& token);
  // All ends of one turn of the loop go in one request: on_ending is called for each, and somebody
  // calls take_endings() when the turn is over, and sends what it gives.
  void finish(Finish finish);
  struct Endings {
    std::string json;  // for /v1/finish
    client::Done done;
  };
  [[nodiscard]] std::optional<Endings> take_endings();
  static constexpr std::string_view kFinishPath = "/v1/finish";
  // The latest text wins; at most one request at a time.
  void progress(const std::string& token, std::string text);
  // RQ's dup; `done` gets the answer as JSON, or the error.
  void duplicate(const std::string& token, std::string_view queue, std::int64_t delay_s,
                 client::Done done);

  // Asks at once which leases still live (after a reconnect), then calls `then`.
  void beat_all(std::function<void()> then);
  // Sends what waits for another try at once.
  void retry_now();
  [[nodiscard]] bool idle() const { return finishes_.empty(); }

 private:
  using Steady = std::chrono::steady_clock;
  struct Lease {
    base::Millis length{0};
    Steady::time_point beat_at;
    std::optional<std::string> progress;  // not yet sent
  };
  enum class Sending : std::uint8_t { waits, in_flight };
  struct Pending {
    std::string json;
    Sending sending = Sending::waits;
  };

  void beat_by(Steady::time_point at);
  void beat_due();
  void beat(std::vector<std::string> tokens, std::function<void()> then);
  void beaten(const std::vector<std::string>& tokens, const base::Result<client::Reply>& reply);
  [[nodiscard]] Endings endings(std::vector<std::string> tokens);
  void sent(const std::vector<std::string>& tokens, const base::Result<client::Reply>& reply);
  void drop(const std::string& token);
  void retry_later();
  void progress_soon();
  void send_progress();

  boost::asio::io_context& io_;
  client::HttpClient& client_;
  Listener listener_;
  std::unordered_map<std::string, Lease> leases_;
  std::unordered_map<std::string, Pending> finishes_;
  std::chrono::milliseconds retry_delay_{0};
  bool retry_armed_ = false;
  bool progress_in_flight_ = false;
  bool progress_armed_ = false;
  std::vector<std::string> progressed_;
  Steady::time_point beat_armed_ = Steady::time_point::max();
  boost::asio::steady_timer beat_timer_, retry_timer_, progress_timer_;
};

}  // namespace rq::worker
