#pragma once
// The server's clock: the only place that reads one for the engine.
//
// The wall clock tells when scheduled messages are due; leases must keep their length when somebody
// steps it. So the server's time follows the wall clock by slewing, and when the two part by more
// than kStepMin it follows at once and says by how much: the engine then shifts all leases. A step
// of kDoubtMin or more may be a mistake that somebody is about to mend, and what is due or has been
// kept for long enough by a wrong date is gone for good: it is followed when it has stood for
// kDoubt. Smaller steps within that time count together, also when the server was restarted
// between.
//
// A server that did not look at its clock for kStoppedMin was stopped, or its machine was: nobody
// could keep a lease alive meanwhile, so the leases end so much later. Likewise for the time in
// which no server ran.
#include <atomic>
#include <chrono>
#include <functional>
#include <optional>

#include "base/time.h"

namespace rq::pipeline {

// The clocks of the machine; a test brings its own.
struct MachineClocks {
  // Since the machine was started, with the time that it slept. Nobody steps it.
  std::function<std::chrono::nanoseconds()> since_boot;
  std::function<std::chrono::nanoseconds()> wall;  // since 1970
};
[[nodiscard]] MachineClocks machine_clocks();

class Clock {
 public:
  enum class Mode { wall, manual };
  // A manual clock (tests) starts at `manual_start` and moves only by advance().
  explicit Clock(Mode mode, base::Instant manual_start = base::Instant{});
  // Mode::wall on these clocks.
  explicit Clock(MachineClocks machine);

  struct Reading {
    base::Instant now;
    std::optional<base::Millis> step;   // set once for each step of the wall clock
    std::optional<base::Millis> doubt;  // likewise, for one that is not followed yet
    base::Millis stopped{};             // told once for each stop; 0: there was none
  };
  // Where the server's time stood.
  struct Mark {
    std::chrono::nanoseconds since_boot{};  // of the machine's clock
    std::chrono::nanoseconds time{};        // the server's, since 1970
    // Steps that were followed lately, together, and how long ago the last one was.
    std::chrono::nanoseconds followed{};
    std::chrono::nanoseconds followed_ago{};
  };
  // Any thread; not for a manual clock.
  [[nodiscard]] Mark mark() const;
  // Before the first read(): the server before this one stood there, and this one goes on from it.
  // `same_run`: of the machine; else its clock began anew, and a wall clock that has gone on,
  // however far, is taken for time that has passed.
  void go_on_from(const Mark& before, bool same_run);

  // Engine thread. Reads the machine's clocks (or the manual one).
  [[nodiscard]] Reading read();
  // Any thread: the last reading, at most a batch or a second old (manual: exact).
  [[nodiscard]] base::Instant now() const;
  // Any thread: the machine's clocks, read now. A step shows when the engine has followed it.
  [[nodiscard]] base::Instant live() const;
  // Any thread: the wall clock is apart by so much, and not followed yet; 0: it is followed.
  [[nodiscard]] base::Millis doubt() const {
    return base::Millis{doubt_ms_.load(std::memory_order_relaxed)};
  }
  // What now() and live() may be short by: they are cut to whole milliseconds.
  [[nodiscard]] base::Millis tick() const { return base::Millis{manual() ? 0 : 1}; }
  // Any thread: from where a time to wait counts, so that it does not end early.
  [[nodiscard]] base::Instant ahead() const { return live() + tick(); }
  // Any thread; manual mode only.
  base::Instant advance(base::Millis by);

  [[nodiscard]] bool manual() const { return mode_ == Mode::manual; }

 private:
  void follow_wall();
  // Of a wall clock that is apart by so much.
  [[nodiscard]] bool is_in_doubt(std::chrono::nanoseconds apart, Reading& reading);
  [[nodiscard]] base::Instant at(std::chrono::nanoseconds boottime) const;

  const Mode mode_;
  const MachineClocks machine_;
  std::atomic<std::int64_t> now_ms_;
  // Written by the engine thread: server time = boot time + offset. In full, since what is cut off
  // would be slewed to and fro.
  std::atomic<std::int64_t> offset_ns_ = 0;
  std::atomic<std::int64_t> doubt_ms_ = 0;
  // Written by the engine thread: steps that were followed lately, the last one then (boot time).
  std::atomic<std::int64_t> followed_ns_ = 0;
  std::atomic<std::int64_t> followed_at_ns_ = 0;

  // Engine thread:
  std::chrono::nanoseconds boottime_at_last_{};
  base::Millis away_{};  // for the first reading: no server ran for so long
  // The difference that is not followed yet, and since when it stands.
  std::optional<std::chrono::nanoseconds> doubted_;
  std::chrono::nanoseconds doubted_since_{};
};

inline constexpr base::Millis kStepMin{2'000};
inline constexpr std::chrono::hours kDoubtMin{48};
inline constexpr std::chrono::minutes kDoubt{10};
// Whoever reads the clock does so more often than this, even when there is nothing to do.
inline constexpr std::chrono::seconds kStoppedMin{5};
// The wall clock is looked at this often; slewing moves by at most a tenth of the time between.
inline constexpr std::chrono::milliseconds kLookEvery{250};
inline constexpr std::int64_t kSlewPart = 10;

}  // namespace rq::pipeline
