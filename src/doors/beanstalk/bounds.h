#pragma once
// The protocol's numbers, as the engine takes them.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

#include "base/limits.h"
#include "base/time.h"
#include "core/command.h"

namespace rq::doors::beanstalk {

// In the last second of a job's time its holder is not made to wait for another.
inline constexpr base::Millis kSafetyMargin{1000};

// beanstalkd's numbers, within what a message may have.
inline base::Millis delay_of(std::uint32_t delay_s) {
  return std::min<base::Millis>(std::chrono::seconds{delay_s}, base::kDelayMax);
}
inline base::Millis lease_of(std::uint32_t ttr_s) {
  return std::min<base::Millis>(std::chrono::seconds{ttr_s}, base::kLeaseMax);
}
// A pause of no time ends another one.
inline core::SetAdmin pause_of(std::string queue, std::uint32_t delay_s) {
  return {.queue = std::move(queue),
          .admin = core::Admin::pause,
          .lasts = std::min<base::Millis>(std::chrono::seconds{delay_s}, base::kLeaseMax),
          .by_client = true};
}
inline std::int64_t priority_of(std::uint32_t priority) {
  return -static_cast<std::int64_t>(priority);
}

}  // namespace rq::doors::beanstalk
