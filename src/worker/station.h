#pragma once
// What the worker knows of one queue that has a script: its settings, whether its script can be
// run, which of its slots are in use, and how many messages to ask for. It decides and does nothing
// itself; time is an argument.
// Thread: the loop's.
#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "base/result.h"
#include "client/http_client.h"
#include "core/message_check.h"
#include "worker/environment.h"
#include "worker/messages.h"
#include "worker/script.h"
#include "worker/spawn.h"

namespace rq::worker {

class Attempt;

// A queue of scripts shorter than this on average has its next messages leased ahead of their
// slots, for at most kAheadHold each; then they go back, not begun.
inline constexpr std::chrono::milliseconds kAheadScriptMax{20};
inline constexpr std::chrono::milliseconds kAheadHold{100};

class Station {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using AttemptPtr = std::shared_ptr<Attempt>;

  // `dir`: where scripts are looked for.
  Station(boost::asio::io_context& io, const std::string& dir, QueueView view);

  // --- The queue ---
  [[nodiscard]] const std::string& name() const { return view_.name; }
  [[nodiscard]] const core::QueueSettings& settings() const { return view_.settings; }
  // What the server says now. True: with other settings; then examine().
  bool update(QueueView view);
  bool removed = false;  // the queue is gone, or has no script any more

  // --- Its script ---
  // Looks whether its script can be run as it is to be, by whatever `probe` finds; the error, or
  // nothing.
  using Probe = std::function<std::optional<SpawnFailure>(SpawnRequest)>;
  [[nodiscard]] std::string examine(const Probe& probe);
  // What the queue has to answer for in the failure of a start; nothing when it is the machine's.
  [[nodiscard]] std::string fault_of(const SpawnFailure& failure) const;
  [[nodiscard]] ScriptFile& script() { return script_; }
  [[nodiscard]] ChildLimits child_limits() const;
  [[nodiscard]] const Environment& environment() const { return environment_; }
  // When its scripts run as somebody else than the worker.
  [[nodiscard]] const Credentials* credentials() const {
    return credentials_ ? &*credentials_ : nullptr;
  }
  // Each message is another program.
  [[nodiscard]] bool runs_commands() const { return core::runs_commands(settings()); }
  // How the end of a script is read. A command of rq run says nothing but its exit.
  [[nodiscard]] core::Success success() const {
    return runs_commands() ? core::Success::exit : settings().success;
  }
  std::string error;     // what keeps its script from being run; empty: nothing
  bool telling = false;  // a word on that is on its way to the server
  // What the server believes of it.
  [[nodiscard]] bool server_knows_error() const { return view_.script_error == error; }
  void server_knows(std::string told) { view_.script_error = std::move(told); }

  // --- Its slots ---
  [[nodiscard]] bool has_free_slot() const { return busy_ < settings().num_workers; }
  void take_slot() { ++busy_; }
  void free_slot() { --busy_; }
  // Nothing keeps a script from being started now.
  [[nodiscard]] bool may_begin(Time now) const {
    return !removed && error.empty() && held_until() <= now;
  }
  // Messages that are leased, and next when a slot is free.
  std::deque<AttemptPtr> ahead;
  [[nodiscard]] bool has_room_ahead() const { return std::ssize(ahead) < lead(); }
  // They have waited too long: nothing is leased ahead until scripts are short again.
  void ahead_is_slow() { usual_ = kAheadScriptMax; }

  // --- Asking for messages ---
  // How many to ask for; 0 also while starts are held back, see held_back().
  [[nodiscard]] std::int64_t wanted(Time now) const;
  [[nodiscard]] std::optional<Time> held_back(Time now) const;
  void asked(std::int64_t count) { asked_ += count; }
  void answered(std::int64_t count) { asked_ -= count; }
  std::unordered_set<client::HttpClient::RequestId> reserves;  // that wait for their answer
  // A reserve went well, or failed: then the next one waits, longer each time.
  void ask_succeeded() { ask_delay_ = base::Millis{0}; }
  void ask_failed(Time now);

  // --- How its scripts do ---
  // A script has ended. Ones that fail at once, time after time, would keep the machine busy with
  // starting them: then starts are held back, until one gets its work done. True: this one ended
  // such a wait.
  bool note_end(std::string_view outcome, std::chrono::microseconds wall, Time now);
  // Why nothing is started now, in words; empty: no failures in a row.
  [[nodiscard]] std::string storm(std::string_view reason) const;
  [[nodiscard]] Time held_until() const { return std::max(held_until_, storm_until_); }
  // A change of its settings has ended such a wait since this was asked last.
  [[nodiscard]] bool take_ended_storm() { return std::exchange(ended_storm_, false); }
  void hold_until(Time until) { held_until_ = std::max(held_until_, until); }

  // --- For the loop, which arms and hears them ---
  struct Timer {
    explicit Timer(boost::asio::io_context& io) : timer(io) {}
    boost::asio::steady_timer timer;
    bool armed = false;
  };
  Timer fill_timer, ahead_timer;
  bool to_fill = false;  // at the end of this turn

 private:
  [[nodiscard]] std::int64_t lead() const;
  [[nodiscard]] std::int64_t free() const;
  [[nodiscard]] base::Result<void> find_user();

  const std::string dir_;
  QueueView view_;
  ScriptFile script_;
  Environment environment_;
  std::optional<Credentials> credentials_;
  std::int64_t busy_ = 0;
  std::int64_t asked_ = 0;                             // and not yet answered
  std::chrono::microseconds usual_ = kAheadScriptMax;  // of a script, a moving mean
  int quick_failures_ = 0;                             // in a row
  base::Millis ask_delay_{0};
  Time held_until_, storm_until_;
  bool ended_storm_ = false;
};
using StationPtr = std::shared_ptr<Station>;

}  // namespace rq::worker
