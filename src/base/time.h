#pragma once
// Times. An Instant is wall time in milliseconds since the epoch, UTC, as the server's clock gives
// it; it always arrives as an argument in core/ and store/.
#include <chrono>
#include <cstdint>

namespace rq::base {

using Millis = std::chrono::milliseconds;
using Instant = std::chrono::sys_time<Millis>;

[[nodiscard]] constexpr std::int64_t to_ms(Instant t) { return t.time_since_epoch().count(); }
[[nodiscard]] constexpr Instant from_ms(std::int64_t ms) { return Instant{Millis{ms}}; }

}  // namespace rq::base
