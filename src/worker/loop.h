#pragma once
// The worker's loop: for each queue with a script it keeps as many messages coming as it has free
// slots, and takes each through script, folder, process and report.
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "client/async_client.h"
#include "worker/environment.h"
#include "worker/folder.h"
#include "worker/messages.h"
#include "worker/reporter.h"
#include "worker/running_record.h"
#include "worker/script.h"
#include "worker/supervisor.h"
#include "worker/verdict.h"

namespace rq::worker {

struct LoopFacts {
  std::string dir;   // absolute
  std::string name;  // of the worker
  WorkerFacts worker;
  bool base_url_fixed = false;  // else the server's word on its address is taken
};

// Thread: one.
class Loop : private Watcher {
 public:
  Loop(LoopFacts facts, client::Endpoint endpoint, RunningRecord& record);
  ~Loop() override;

  // Leases of a worker before this one: they are given back.
  void hand_back(const std::vector<std::string>& tokens);
  // Until it has been told to stop and has. The exit code.
  int run();

 private:
  using Steady = std::chrono::steady_clock;

  struct Attempt;
  using AttemptPtr = std::shared_ptr<Attempt>;

  // A queue that has a script.
  struct Station {
    explicit Station(boost::asio::io_context& io) : timer(io), ahead_timer(io) {}
    QueueView view;
    ScriptFile script;
    Environment environment;
    ScriptUser user;
    std::optional<Credentials> credentials;  // when it is not the worker's own user
    std::string error;     // what keeps it from running its script; empty: nothing
    bool telling = false;  // a word on it is on its way to the server
    bool removed = false;
    std::int64_t busy = 0;         // slots in use
    std::deque<AttemptPtr> ahead;  // leased, and next when a slot is free (lead())
    std::chrono::microseconds usual = base::kAheadScriptMax;  // of a script, a moving mean
    std::int64_t asked = 0;  // messages asked for and not yet there
    std::unordered_set<client::AsyncClient::RequestId> reserves;
    int quick_failures = 0;              // in a row
    std::chrono::milliseconds delay{0};  // after a failed reserve
    Steady::time_point held_until;       // no starts before
    boost::asio::steady_timer timer;
    bool timer_armed = false;
    boost::asio::steady_timer ahead_timer;
    bool ahead_timer_armed = false;
    bool to_fill = false;
  };
  using StationPtr = std::shared_ptr<Station>;

  struct Attempt {
    LeasedMessage message;
    StationPtr station;
    bool has_slot = false;
    ChildId child = 0;  // 0: not started
    int record_slot = -1;
    std::string script_path, script_sha256;
    std::deque<wire::PipeLine> dups;  // the first is under way
    bool dup_under_way = false;
    bool lost = false;          // the lease is not ours any more: no report
    bool handing_back = false;  // the worker ends: stopped means released
    bool gone = false;          // nothing of its tree is left
    bool settled = false;       // its end has been told and its slot is free
    std::optional<Finish> ending;
  };

  // --- Following the server (loop_queues.cpp)
  void on_event(std::string_view event, std::string_view data);
  void on_down();
  void greet();
  void load_queues();
  void load_queue(const std::string& name);
  void apply(QueueView view);
  void remove_station(const std::string& name);
  void set_up(Station& station);
  [[nodiscard]] base::Result<void> set_user(Station& station);
  void examine(const StationPtr& station);
  void set_error(const StationPtr& station, std::string error);
  void tell_error(const StationPtr& station);
  void watch_errors();
  void fill(const StationPtr& station);
  void fill_all();
  void send_soon();
  void send();
  [[nodiscard]] static std::int64_t lead(const Station& station);
  [[nodiscard]] std::int64_t wanted(const StationPtr& station);
  void reserve(const StationPtr& station, std::int64_t count,
               std::optional<Reporter::Endings> endings);
  void reserved(const StationPtr& station, std::int64_t count,
                const base::Result<client::Reply>& reply);
  void fill_later(const StationPtr& station);

  // --- Running messages (loop.cpp)
  void take(const StationPtr& station, LeasedMessage message);
  [[nodiscard]] bool may_begin(const Station& station) const;
  void begin(const AttemptPtr& attempt);
  void begin_ahead(const StationPtr& station);
  void give_back_ahead(Station& station);
  void bound_ahead(const StationPtr& station);
  void launch(const AttemptPtr& attempt);
  void not_started(const AttemptPtr& attempt, const SpawnFailure& failure);
  void give_back(const AttemptPtr& attempt, std::string reason, base::Millis delay);
  void on_line(ChildId child, const wire::PipeLine& line) override;
  void on_ended(ChildId child, Ended&& ended) override;
  void on_gone(ChildId child) override;
  void note_for_storm(Station& station, std::string_view outcome, const Ended& ended);
  void settle(const AttemptPtr& attempt);
  void next_dup(const AttemptPtr& attempt);
  void dup_answered(const AttemptPtr& attempt, const base::Result<client::Reply>& reply);
  void stop_attempt(const std::string& token);
  void lose_attempt(const std::string& token);
  void forget_place(const AttemptPtr& attempt);
  [[nodiscard]] std::string header_of(const Script& script);

  // --- The process
  void wait_children();
  void wait_signals();
  void on_signal(int signal);
  void hang_up_all();
  void end_if_done();

  LoopFacts facts_;
  RunningRecord& record_;
  boost::asio::io_context io_;
  client::AsyncClient client_;
  Supervisor supervisor_;
  Reporter reporter_;
  base::Fd signal_fd_;
  boost::asio::posix::stream_descriptor children_ready_, signals_ready_;
  boost::asio::steady_timer load_timer_, error_timer_, end_timer_;
  bool error_timer_armed_ = false;
  bool connected_ = false;
  int stop_signals_ = 0;
  std::uint64_t serial_ = 0;  // of attempts; part of the mark in their environment
  std::map<std::string, StationPtr> stations_;
  std::unordered_map<std::string, AttemptPtr> by_token_;
  std::unordered_map<ChildId, AttemptPtr> by_child_;
  std::unordered_map<std::int64_t, AttemptPtr> by_seq_;   // whose folder is in use
  std::unordered_map<std::int64_t, AttemptPtr> waiting_;  // for that folder
  std::vector<StationPtr> to_fill_;                       // at the end of this turn of the loop
  bool send_posted_ = false;
  std::time_t header_second_ = 0;
  std::string header_time_;
};

}  // namespace rq::worker
