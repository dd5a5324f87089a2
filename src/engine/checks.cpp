#include "engine/checks.h"

#include "base/limits.h"
#include "base/utf8.h"
#include "core/bounds.h"

namespace rq::engine {

using base::Result;

Result<void> check_lease(core::Millis lease) {
  return core::in_range("lease_s", lease, base::kLeaseMin, base::kLeaseMax);
}

Result<void> check_priority(std::int64_t priority) {
  return core::in_range("priority", priority, base::kPriorityMin, base::kPriorityMax);
}

Result<void> check_delay(core::Millis delay) {
  return core::in_range("delay_s", delay, core::Millis{0}, base::kDelayMax);
}

void cut_text(std::string& text) { text.resize(base::cut_utf8(text, base::kTextBytesMax).size()); }

}  // namespace rq::engine
