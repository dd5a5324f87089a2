#include "worker/stop_count.h"

#include <unistd.h>

namespace rq::worker {

StopCount::StopCount(std::uint32_t* shared, int holder)
    : holder_(holder), told_(shared != nullptr ? *shared : own_) {}

bool StopCount::has_holder() const { return holder_ != 0 && ::getppid() == holder_; }

void StopCount::hear() {
  // A holder that has just died may have counted this one.
  if (!has_holder() && told_ == followed_) ++told_;
}

void StopCount::tell_once() {
  std::uint32_t never = 0;
  told_.compare_exchange_strong(never, 1);
}

bool StopCount::next() {
  if (followed_ >= told_) return false;
  ++followed_;
  return true;
}

}  // namespace rq::worker
