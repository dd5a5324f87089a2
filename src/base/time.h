#pragma once
// Times. An Instant is wall time in milliseconds since the epoch, UTC, as the server's clock gives
// it; it always arrives as an argument in core/ and store/.
#include <chrono>
#include <cstdint>
#include <string>

namespace rq::base {

using Millis = std::chrono::milliseconds;
using Instant = std::chrono::sys_time<Millis>;

[[nodiscard]] constexpr std::int64_t to_ms(Instant t) { return t.time_since_epoch().count(); }
[[nodiscard]] constexpr Instant from_ms(std::int64_t ms) { return Instant{Millis{ms}}; }

// "2026-11-21T00:21:54.865Z"
[[nodiscard]] std::string to_iso8601(Instant t);

}  // namespace rq::base
