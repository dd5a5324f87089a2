#pragma once
// Percent-encoding, as in the addresses of requests.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace rq::http {

enum class Plus : std::uint8_t { is_plus, is_space };

// bad_request when an escape is broken or the outcome is not UTF-8.
[[nodiscard]] base::Result<std::string> percent_decode(std::string_view text, Plus plus);

}  // namespace rq::http
