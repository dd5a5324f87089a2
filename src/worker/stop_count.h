#pragma once
// How often a worker was told to end, and how often its loop has done so. A terminal and a service
// manager tell both processes of a worker at once; that is one word. So only the holder counts, in
// memory that it shares with the loop, and then wakes the loop by the same signal.
#include <atomic>
#include <cstdint>

namespace rq::worker {

// Thread: the loop's.
class StopCount {
 public:
  // `holder`: the process that counts in `shared`; without one it is 0, and `shared` is null.
  StopCount(std::uint32_t* shared, int holder);

  // In the holder's process: it was told.
  static void count_in(std::uint32_t& shared) { ++std::atomic_ref(shared); }

  [[nodiscard]] int holder() const { return holder_; }
  // Is it alive?
  [[nodiscard]] bool has_holder() const;
  // The signal came to the loop.
  void hear();
  // Counts as the first signal. Does nothing if there was one.
  void tell_once();
  // Also one that the holder has not looked at yet.
  [[nodiscard]] bool any() const;
  // Is there one that was not followed yet? Then it counts as followed.
  [[nodiscard]] bool next();
  [[nodiscard]] std::uint32_t followed() const { return followed_; }

 private:
  const int holder_;
  std::uint32_t own_ = 0;
  std::atomic_ref<std::uint32_t> told_;
  std::uint32_t followed_ = 0;
};

}  // namespace rq::worker
