#pragma once
// Bounds that several commands share. Each refusal names the field and what is allowed.
#include <string>

#include "base/result.h"
#include "core/command.h"

namespace rq::engine {

[[nodiscard]] base::Result<void> check_lease(core::Millis lease);
[[nodiscard]] base::Result<void> check_priority(std::int64_t priority);
[[nodiscard]] base::Result<void> check_delay(core::Millis delay);
// A text that people read is cut where it is too long, not refused.
void cut_text(std::string& text);

}  // namespace rq::engine
