#include "worker/stop_count.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <fstream>
#include <string>

namespace rq::worker {
namespace {

bool is_pending_for(int process) {
  std::ifstream file(fmt::format("/proc/{}/status", process));
  std::string name;
  std::string rest;
  while (file >> name && name != "ShdPnd:") std::getline(file, rest);
  std::uint64_t pending = 0;  // bit N - 1: signal N
  file >> std::hex >> pending;
  constexpr std::uint64_t kStops = 1ULL << (SIGTERM - 1) | 1ULL << (SIGINT - 1);
  return file && (pending & kStops) != 0;
}

}  // namespace

StopCount::StopCount(Told* shared, int holder)
    : holder_(holder), told_(shared != nullptr ? *shared : own_) {}

bool StopCount::has_holder() const { return holder_ != 0 && ::getppid() == holder_; }

void StopCount::hear() {
  // A holder that has just died may have counted this one.
  if (!has_holder() && times() == followed_) ++times();
}

bool StopCount::any() {
  known_ = known_ || times() > 0 || (has_holder() && is_pending_for(holder_)) || times() > 0;
  return known_;
}

bool StopCount::tell_once(Told& told) {
  std::uint32_t never = 0;
  return std::atomic_ref(told.times).compare_exchange_strong(never, 1);
}

bool StopCount::next() {
  if (followed_ >= times()) return false;
  ++followed_;
  known_ = true;
  return true;
}

}  // namespace rq::worker
