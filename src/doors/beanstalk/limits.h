#pragma once
// The door's bounds on what its connections may have under way: one of them, and all together.
#include <cstddef>

#include "base/bytes.h"
#include "wire/beanstalk.h"

namespace rq::doors::beanstalk {

inline constexpr std::size_t kReadBytes = 256 * base::kKiB;   // of one connection in one turn
inline constexpr std::size_t kTurnCommands = 1024;            // likewise
inline constexpr std::size_t kInFlightMax = 4096;             // commands of one connection
inline constexpr std::size_t kOutBytesMax = 1 * base::kMiB;   // its replies; then no reading
inline constexpr std::size_t kPutBytesMax = 16 * base::kMiB;  // of one connection's puts

// Of all connections. Above it each has no more than its share of it, and one command always: so
// there are at most twice as many, and one of each connection.
inline constexpr std::size_t kInFlightOfAllMax = 32 * 1024;
inline constexpr std::size_t kPutBytesOfAllMax = 256 * base::kMiB;

static_assert(kReadBytes > wire::beanstalk::kLineBytesMax);

}  // namespace rq::doors::beanstalk
