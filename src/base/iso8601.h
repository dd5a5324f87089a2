#pragma once
// Times as text: ISO 8601.
#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"

namespace rq::base {

// "2026-11-21T00:21:54.865Z"
[[nodiscard]] std::string to_iso8601(Instant t);
// The same; also without fraction, and with an offset like +01:00. Nothing when it is no time.
[[nodiscard]] std::optional<Instant> parse_iso8601(std::string_view text);

}  // namespace rq::base
