#pragma once
// What the worker tells the server about its leases: that they live, how far they are, how they
// ended. An end is told until the server has answered, over any number of its restarts, and of
// ours: until then it stays in the memory that goes on to the next program (RunningRecord), and
// what could not be told lies in a file as well. Requests for more messages leave through here as
// well, so that they go in one piece with the ends that made room for them.
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/json/object.hpp>
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
#include "worker/running_record.h"
#include "worker/untold_ends.h"

namespace rq::worker {

// The end of a lease, as /v1/finish takes it.
struct Finish {
  std::string token;
  std::string_view outcome;
  std::optional<std::string> reason;  // absent: the last text stays
  std::string post_mortem;            // JSON object, or empty
  std::int64_t delay_ms = 0;          // resend, release
};

// Thread: the loop's.
class Reporter {
 public:
  // How a lease that is not ours any more was found out.
  enum class Lost : std::uint8_t {
    late,   // by a heartbeat: it ended by itself, or somebody took it
    taken,  // by check(), after the server had said that the message is to stop
  };
  struct Listener {
    std::function<void(const std::string& token)> on_stop;  // somebody wants it ended
    std::function<void(const std::string& token, Lost how)> on_lost;
    std::function<void()> on_idle;      // the last Finish was answered
    std::function<void()> on_kept;      // ends that cannot be told now lie in the file
    std::function<void()> on_turn_end;  // see at_turn_end()
  };
  Reporter(boost::asio::io_context& io, client::HttpClient& client, UntoldEnds untold,
           RunningRecord& record, Listener listener);

  // From now on the lease is kept alive, until its finish has been answered.
  void track(const std::string& token, base::Millis length);
  void forget(const std::string& token);
  // All ends of one turn of the loop go in one request. `slot`: of the record, which is ours from
  // now on; -1: none.
  void finish(Finish finish, int slot = -1);
  // Calls on_turn_end when this turn of the loop is over; then the ends that wait are sent.
  void at_turn_end();
  // Asks for messages (the body of /v1/reserve). The ends that wait go before it, on the same
  // connection: the server takes both up in one batch, and a slot that has become free is filled
  // with one wake-up each way.
  client::HttpClient::RequestId reserve(std::string json, base::Millis timeout, client::Done done);
  // The latest text wins; at most one request at a time. `soon`: not if the end comes first.
  enum class When : std::uint8_t { now, soon };
  void progress(const std::string& token, std::string text, When when);
  // Why nothing of a queue is started for so long; a length of 0: it goes on. An empty text is not
  // told.
  void hold_back(const std::string& queue, const std::string& text,
                 std::chrono::steady_clock::duration length);
  // RQ's dup; `done` gets the answer as JSON, or the error. Asked of the next server if this one
  // goes: by its number among the duplicates of this lease, a second request makes no second copy.
  void duplicate(const std::string& token, std::string_view queue, std::int64_t delay_s,
                 std::int64_t number, client::Done done);

  // Says which leases are here; those of `worker` that are not go back. Then calls `then`.
  void keep(const std::string& worker, std::function<void()> then);
  // A sign of life, without a word on leases. `draining`: it takes no more messages.
  void say_alive(const std::string& worker, bool draining, std::function<void()> then);
  // The worker ends: nobody shall miss it. Then calls `then`, also when nobody hears it.
  void part(const std::string& worker, std::function<void()> then);
  // Asks at once which leases still live (after a reconnect), then calls `then`.
  void beat_all(std::function<void()> then);
  // Asks at once how these leases stand.
  void check(std::vector<std::string> tokens);
  // Sends what waits for another try at once.
  void retry_now();
  [[nodiscard]] bool idle() const { return finishes_.empty(); }
  // What a worker before this one could not tell: of a program whose record we have, and from the
  // file.
  void take_over(std::vector<RunningRecord::Leftovers::Untold> ends);
  void tell_untold();
  // Nobody is there to hear: what is not told yet is the next worker's to tell. False: it cannot be
  // kept for that one.
  [[nodiscard]] bool keep_untold();
  // The same, and that is our last word.
  void leave_untold();
  [[nodiscard]] std::size_t untold() const { return finishes_.size(); }
  // Can another process tell all that is not told yet?
  [[nodiscard]] bool is_kept() const;

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
    int slot = -1;  // of the record; -1: none
    bool in_file = false;
    bool told_before = false;  // perhaps: a server may know it already
    bool waited = false;       // for a second or more
  };

  void tell_of(boost::json::object body, std::function<void()> then);
  void ask_duplicate(const std::string& token, std::string body, client::Done done);
  void beat_by(Steady::time_point at);
  void beat_due();
  void beat(std::vector<std::string> tokens, Lost how, std::function<void()> then);
  void beaten(const std::vector<std::string>& tokens, Lost how,
              const base::Result<client::Reply>& reply);
  [[nodiscard]] std::optional<client::Request> waiting_ends();
  [[nodiscard]] client::Request ends_of(std::vector<std::string> tokens);
  void sent(const std::vector<std::string>& tokens, const base::Result<client::Reply>& reply);
  void retry_later();
  void watch_silence();
  void progress_now();
  void send_progress();

  boost::asio::io_context& io_;
  client::HttpClient& client_;
  UntoldEnds untold_;
  RunningRecord& record_;
  Listener listener_;
  bool started_ = true;  // no server has heard yet which leases are here
  std::unordered_map<std::string, Lease> leases_;
  std::unordered_map<std::string, Pending> finishes_;
  bool turn_end_posted_ = false;
  std::chrono::milliseconds retry_delay_{0};
  bool retry_armed_ = false;
  bool silence_watched_ = false;
  bool is_heard_ = false;  // the server, since that was looked at last
  bool progress_in_flight_ = false;
  bool progress_armed_ = false;
  bool progress_soon_armed_ = false;
  std::vector<std::string> progressed_;
  Steady::time_point beat_armed_ = Steady::time_point::max();
  boost::asio::steady_timer beat_timer_, retry_timer_, silence_timer_, progress_timer_, soon_timer_;
};

}  // namespace rq::worker
