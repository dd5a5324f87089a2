#pragma once
// The bounds on what a sender may put, checked once, here, whichever door it came through.
#include "base/result.h"
#include "core/command.h"

namespace rq::core {

[[nodiscard]] base::Result<void> check_put(const Put& put, const Queue& queue, Instant now);

}  // namespace rq::core
