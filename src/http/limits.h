#pragma once
// The bounds of the HTTP server, with their units and reasons. What a route sets itself is in its
// Route.
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

namespace rq::http {

using base::kKiB;
using base::kMiB;

inline constexpr std::size_t kTargetBytesMax = 8 * kKiB;
inline constexpr std::size_t kHeadBytesMax = 16 * kKiB;
inline constexpr std::size_t kQueryParametersMax = 64;
inline constexpr std::size_t kPathParametersMax = 2;

inline constexpr std::size_t kReadBytes =
    64 * kKiB;  // read at once; the server has one such buffer
// Requests in flight on a connection. A new client waits for what all others have in flight, so it
// is small.
inline constexpr std::size_t kPipelineMax = 64;
// Requests of a connection that are served before the others have their turn.
inline constexpr std::size_t kTurnRequests = 16;
inline constexpr std::size_t kOutBytesMax = 1 * kMiB;   // unsent replies, then reading stops
inline constexpr std::size_t kHeldBytesMax = 8 * kMiB;  // bodies of unanswered requests, likewise
inline constexpr std::size_t kDroppedBodyBytesMax = 1 * kMiB;  // of a refused request; then close
// A body up to this needs no share of the budget: an idle client costs that much anyway.
inline constexpr std::size_t kFreeBodyBytes = 64 * kKiB;
inline constexpr std::size_t kBodyBudgetBytes = 256 * kMiB;  // larger ones, over all connections

inline constexpr std::size_t kSourceBytes = 64 * kKiB;     // asked of a generator at once
inline constexpr std::size_t kSourceTurnBytes = 1 * kMiB;  // sent of one reply in one turn
inline constexpr std::size_t kEventStreamsMax = 1000;
inline constexpr std::size_t kEventBacklogBytesMax = 1 * kMiB;  // a slower reader is cut off

inline constexpr std::chrono::seconds kSweepEvery{5};  // how often the times below are looked at
inline constexpr std::chrono::seconds kHeadTime{30};   // from its first byte to its last
// A body must bring its route's least rate in each such span of time.
inline constexpr std::chrono::seconds kBodySpan{30};
inline constexpr std::size_t kBodyRateMin = 1 * kKiB;  // bytes a second; a route may set another
inline constexpr std::chrono::seconds kIdleTime{600};  // between two requests
inline constexpr std::chrono::seconds kWriteTime{60};  // a reader that takes nothing is cut off
inline constexpr std::chrono::seconds kLingerTime{5};  // after the last reply, while nothing comes
inline constexpr std::chrono::seconds kLingerTimeMax{30};  // and in all
inline constexpr std::chrono::seconds kPingEvery{15};      // keeps proxies from closing a stream

static_assert(kHeadBytesMax > kTargetBytesMax);
static_assert(kReadBytes > kHeadBytesMax);
static_assert(kPipelineMax >= kTurnRequests);

}  // namespace rq::http
