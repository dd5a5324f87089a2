#include "core/bounds.h"

#include <fmt/format.h>

#include <chrono>

namespace rq::core {

using base::Code;
using base::fail;

base::Result<void> in_range(std::string_view field, std::int64_t value, std::int64_t min,
                            std::int64_t max) {
  if (value >= min && value <= max) return {};
  return fail(Code::bad_value, fmt::format("{}: {} is out of range", field, value),
              fmt::format("give a number from {} to {}", min, max));
}

base::Result<void> in_range(std::string_view field, base::Millis value, base::Millis min,
                            base::Millis max) {
  if (value >= min && value <= max) return {};
  using Seconds = std::chrono::duration<double>;
  return fail(
      Code::bad_value, fmt::format("{}: {} is out of range", field, Seconds{value}.count()),
      fmt::format("give seconds from {} to {}", Seconds{min}.count(), Seconds{max}.count()));
}

base::Result<void> check_text(std::string_view field, std::string_view value,
                              std::size_t bytes_max) {
  if (value.size() > bytes_max) {
    return fail(Code::too_large, fmt::format("{} has {} bytes", field, value.size()),
                fmt::format("at most {} bytes are allowed", bytes_max));
  }
  if (value.find('\0') != std::string_view::npos) {
    return fail(Code::bad_value, fmt::format("{} has a NUL byte", field),
                "leave it out, or send the data as the payload");
  }
  return {};
}

}  // namespace rq::core
