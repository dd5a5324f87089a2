#pragma once
// The door's bounds on what one connection may have under way.
#include <cstddef>

#include "base/bytes.h"
#include "wire/beanstalk.h"

namespace rq::doors::beanstalk {

inline constexpr std::size_t kReadBytes = 256 * base::kKiB;  // of one connection in one turn
inline constexpr std::size_t kInFlightMax = 4096;            // commands of one connection
inline constexpr std::size_t kOutBytesMax = 1 * base::kMiB;  // unread replies; then no reading
static_assert(kReadBytes > wire::beanstalk::kLineBytesMax);

}  // namespace rq::doors::beanstalk
