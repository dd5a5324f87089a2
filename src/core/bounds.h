#pragma once
// Refusals of values that are out of their bounds, in one wording. Each names the field, the value
// and what is allowed.
#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "base/time.h"

namespace rq::core {

[[nodiscard]] base::Result<void> in_range(std::string_view field, std::int64_t value,
                                          std::int64_t min, std::int64_t max);
// A length of time; said in seconds.
[[nodiscard]] base::Result<void> in_range(std::string_view field, base::Millis value,
                                          base::Millis min, base::Millis max);
// A text of at most so many bytes without a NUL: it may go into the environment of a script.
[[nodiscard]] base::Result<void> check_text(std::string_view field, std::string_view value,
                                            std::size_t bytes_max);

}  // namespace rq::core
