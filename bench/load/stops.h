#pragma once
// When the host of a virtual machine stops one of its processors, whatever runs there stands still:
// server, client and clock readings alike. A real-time thread on each processor that only wakes
// every millisecond sees it by waking late.
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace rq::load {

class Stops {
 public:
  // Starts to watch. Without the right to real-time threads nothing is watched.
  Stops();
  Stops(const Stops&) = delete;
  Stops& operator=(const Stops&) = delete;
  ~Stops();

  [[nodiscard]] bool watched() const { return watched_; }
  [[nodiscard]] std::int64_t last_end_ns() const { return last_end_ns_.load(); }  // clock_ns(); 0
  [[nodiscard]] std::int64_t count() const { return count_.load(); }
  [[nodiscard]] std::int64_t total_ns() const { return total_ns_.load(); }

 private:
  void watch(unsigned cpu);

  bool watched_ = false;
  std::atomic<bool> ending_{false};
  std::atomic<int> watching_{0};
  std::atomic<int> refused_{0};
  std::atomic<std::int64_t> last_end_ns_{0};
  std::atomic<std::int64_t> count_{0};
  std::atomic<std::int64_t> total_ns_{0};
  std::vector<std::thread> threads_;
};

// A thread that wakes so much too late was stopped: the kernel's own delays are far below.
inline constexpr std::int64_t kStopNs = 2'000'000;

}  // namespace rq::load
