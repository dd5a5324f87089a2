#include "engine/checks.h"

#include <fmt/format.h>

#include "base/limits.h"

namespace rq::engine {

using base::Code;
using base::fail;
using base::Result;

namespace {

double seconds(core::Millis length) { return std::chrono::duration<double>{length}.count(); }

}  // namespace

Result<void> check_lease(core::Millis lease) {
  if (lease >= base::kLeaseMin && lease <= base::kLeaseMax) return {};
  return fail(Code::bad_value, fmt::format("lease_s: {} is not allowed", seconds(lease)),
              fmt::format("give seconds from {} to {}", seconds(base::kLeaseMin),
                          seconds(base::kLeaseMax)));
}

Result<void> check_priority(std::int64_t priority) {
  if (priority >= base::kPriorityMin && priority <= base::kPriorityMax) return {};
  return fail(Code::bad_value, fmt::format("priority: {} is not allowed", priority),
              fmt::format("give a number from {} to {}", base::kPriorityMin, base::kPriorityMax));
}

Result<void> check_delay(core::Millis delay) {
  if (delay >= core::Millis{0} && delay <= base::kDelayMax) return {};
  return fail(Code::bad_value, fmt::format("delay_s: {} is not allowed", seconds(delay)),
              fmt::format("give seconds from 0 to {}", seconds(base::kDelayMax)));
}

void cut_text(std::string& text) {
  if (text.size() > base::kTextBytesMax) text.resize(base::kTextBytesMax);
}

}  // namespace rq::engine
