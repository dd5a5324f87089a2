#pragma once
// What a client keeps to.
#include <chrono>
#include <cstddef>

#include "base/bytes.h"

namespace rq::client {

inline constexpr std::size_t kIdleConnectionsMax = 64;           // kept open
inline constexpr std::size_t kReplyBytesMax = 512 * base::kMiB;  // of a reply kept in memory
inline constexpr std::size_t kRefusalBytesMax = 1 * base::kMiB;  // of one kept beside a sink
inline constexpr std::size_t kReadBytes = 64 * base::kKiB;       // at once
inline constexpr std::size_t kSourceBytes = 64 * base::kKiB;     // asked of a source at once
inline constexpr std::chrono::seconds kConnectTime{5};
// After hang_up(): for an answer that is on its way.
inline constexpr std::chrono::seconds kHangUpTime{2};
// Time-outs are looked for this often.
inline constexpr std::chrono::milliseconds kSweepEvery{500};
// A request that takes longer: the server is asked for a sign of life, on another connection, again
// and again, and each has as long as the second says.
inline constexpr std::chrono::milliseconds kPatience{5'000};
inline constexpr std::chrono::milliseconds kSignOfLifeTime{10'000};
// A stream of events says something at least each 15 s.
inline constexpr std::chrono::seconds kEventSilence{45};
// Between two tries to reach a server that is not there: it doubles from one to the other.
inline constexpr std::chrono::milliseconds kReconnectDelayMin{50};
inline constexpr std::chrono::milliseconds kReconnectDelayMax{2'000};

}  // namespace rq::client
