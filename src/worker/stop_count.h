#pragma once
// How often a worker was told to end, and how often its loop has done so. A terminal and a service
// manager tell both processes of a worker at once; that is one word. So only the holder counts, in
// memory that it shares with the loop, and then wakes the loop by the same signal. A script can
// tell its worker to end as well, so the holder looks at who did.
#include <atomic>
#include <cstdint>

namespace rq::worker {

// Thread: the loop's.
class StopCount {
 public:
  // What both processes share: plain numbers, that go on to the next program.
  struct Told {
    std::uint32_t times;
    std::uint32_t by_scripts;  // so many of them by a process of a script
  };
  // `holder`: the process that counts in `shared`; without one it is 0, and `shared` is null.
  StopCount(Told* shared, int holder);

  // In the holder's process: it was told.
  static void count_in(Told& shared) { ++std::atomic_ref(shared.times); }
  // Counts as the first signal. False: there was one.
  static bool tell_once(Told& told);
  // After count_in(): a look has shown that it was by a script.
  static void count_script(Told& shared) { ++std::atomic_ref(shared.by_scripts); }

  [[nodiscard]] int holder() const { return holder_; }
  // Is it alive?
  [[nodiscard]] bool has_holder() const;
  // The signal came to the loop.
  void hear();
  void tell_once() { tell_once(told_); }
  // Also one that the holder has not looked at yet. Costs a look at the holder.
  [[nodiscard]] bool any();
  // Has any() or next() found one? The holder will pass it on, if it has not yet; one that it has
  // not counted dies with it.
  [[nodiscard]] bool is_known() const { return known_ && (times() > 0 || has_holder()); }
  [[nodiscard]] bool is_by_script() const { return std::atomic_ref(told_.by_scripts) > 0; }
  // Is there one that was not followed yet? Then it counts as followed.
  [[nodiscard]] bool next();
  [[nodiscard]] std::uint32_t followed() const { return followed_; }

 private:
  [[nodiscard]] std::atomic_ref<std::uint32_t> times() const {
    return std::atomic_ref(told_.times);
  }

  const int holder_;
  Told own_{.times = 0, .by_scripts = 0};
  Told& told_;
  std::uint32_t followed_ = 0;
  bool known_ = false;
};

}  // namespace rq::worker
