#pragma once
// What a client keeps to.
#include <chrono>
#include <cstddef>

#include "base/bytes.h"

namespace rq::client {

inline constexpr std::size_t kIdleConnectionsMax = 64;           // kept open
inline constexpr std::size_t kReplyBytesMax = 512 * base::kMiB;  // of a reply kept in memory
// Between two tries to reach a server that is not there: it doubles from one to the other.
inline constexpr std::chrono::milliseconds kReconnectDelayMin{50};
inline constexpr std::chrono::milliseconds kReconnectDelayMax{2'000};

}  // namespace rq::client
