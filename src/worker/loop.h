#pragma once
// The worker's loop: for each queue with a script it keeps as many messages coming as it has free
// slots, and brings each to an attempt. What comes from outside goes to the attempt it is meant
// for: words and ends of scripts, the server's wishes, signals.
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "client/http_client.h"
#include "client/subscription.h"
#include "worker/attempt.h"
#include "worker/reporter.h"
#include "worker/roster.h"
#include "worker/running_record.h"
#include "worker/station.h"
#include "worker/stop_count.h"
#include "worker/supervisor.h"

namespace rq::worker {

struct LoopFacts {
  std::string dir;          // absolute
  std::string untold_file;  // see UntoldEnds; empty: none
  std::string name;         // of the worker
  WorkerFacts worker;
  bool base_url_fixed = false;  // else the server's word on its address is taken
  bool kept = false;            // a server keeps a worker: it starts another one when this one ends
  // The process above this one, that signals come from; 0: there is none, they come from anybody.
  int holder = 0;
  // See StopCount; null without a holder.
  StopCount::Told* stops = nullptr;
  std::function<void()> make_way;  // does not return; another process goes on with the scripts
};

// Thread: the one that runs `io`.
class Loop : private Watcher, private AttemptHost {
 public:
  Loop(boost::asio::io_context& io, LoopFacts facts, client::Server server, RunningRecord& record);
  ~Loop() override;

  // Leases of a worker before this one, which has died: they are given back. What it knew of their
  // ends is told.
  void hand_back(const RunningRecord::Leftovers& leftovers);
  // Scripts that such a worker has left running.
  void go_on_with(const std::vector<RunningRecord::Leftovers::Staying>& staying);
  // Begins to work. When it has been told to stop and has, it stops `io`.
  void start();
  [[nodiscard]] bool has_ended() const { return ended_; }

 private:
  // --- The server ---
  void on_event(std::string_view event, std::string_view data);
  void on_down();
  void greet();
  void go_on_greeting();
  void say_alive();
  void learn(std::string_view hello);
  [[nodiscard]] bool is_idle() const;
  void check_message(std::int64_t seq);
  [[nodiscard]] AttemptPtr attempt_of(const std::string& token) const;

  // --- Asking for messages ---
  void fill(const StationPtr& station);
  void ask_for_all();
  void ask(const StationPtr& station, std::int64_t count);
  void answered(const StationPtr& station, std::int64_t count,
                const base::Result<client::Reply>& reply);
  void fill_at(const StationPtr& station, Station::Time when);

  // --- Bringing messages to their scripts ---
  void take(const StationPtr& station, LeasedMessage message);
  void begin(const AttemptPtr& attempt);
  void begin_ahead(const StationPtr& station);
  static void give_back_ahead(Station& station);
  void bound_ahead(const StationPtr& station);
  void close(const StationPtr& station);

  // --- From attempts ---
  void on_started(const AttemptPtr& attempt) override;
  void on_settled(const AttemptPtr& attempt) override;
  [[nodiscard]] bool is_ending() override;
  [[nodiscard]] bool was_just_told() override;
  [[nodiscard]] bool is_ended_by_script() override { return stops_.is_by_script(); }
  void soon(std::function<void()> then) override;
  void on_script_error(const StationPtr& station, std::string error) override;
  // --- From scripts ---
  void on_line(ChildId child, const wire::PipeLine& line) override;
  void on_ended(ChildId child, Ended&& ended) override;
  void on_gone(ChildId child) override;

  // --- The process ---
  void wait_children();
  void wait_signals();
  void take_signals();
  void follow(std::string_view by);
  [[nodiscard]] bool takes_nothing() const { return stops_.is_known() || making_way_; }
  void make_way();
  void drain();
  void hand_back_all();
  void end_if_done();
  void end();

  boost::asio::io_context& io_;
  const std::string name_;
  const bool base_url_fixed_;
  const bool kept_;
  StopCount stops_;
  std::chrono::steady_clock::time_point told_at_{};  // the last time that it was
  const std::function<void()> go_;
  client::HttpClient client_;
  Supervisor supervisor_;
  Reporter reporter_;
  Workshop shop_;
  Roster roster_;
  base::Fd signal_fd_;
  boost::asio::posix::stream_descriptor children_ready_, signals_ready_;
  boost::asio::steady_timer end_timer_, alive_timer_;
  std::optional<client::Subscription> events_;
  bool connected_ = false;
  bool greeting_ = false;
  std::uint64_t breaks_ = 0;      // how often the server has gone
  std::int64_t server_boot_ = 0;  // of the first server that it met
  bool outdated_ = false;         // that one is gone: program and environment may be others now
  bool making_way_ = false;
  bool parting_ = false;
  std::uint32_t stays_since_ = 0;  // for the sake of ends: how often it was told to end by then
  bool ended_ = false;
  std::unordered_map<std::string, AttemptPtr> by_token_;
  std::unordered_map<ChildId, AttemptPtr> by_child_;
  std::unordered_map<std::int64_t, AttemptPtr> by_seq_;   // whose folder is in use
  std::unordered_map<std::int64_t, AttemptPtr> waiting_;  // for that folder
  std::vector<StationPtr> to_fill_;                       // at the end of this turn of the loop
};

}  // namespace rq::worker
