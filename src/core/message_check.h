#pragma once
// The bounds on what a sender may put, whichever door it came through. A door may refuse the same
// earlier, before it has built the message.
#include "base/result.h"
#include "core/command.h"

namespace rq::core {

[[nodiscard]] base::Result<void> check_put(const Put& put, const Queue& queue, Instant now);

}  // namespace rq::core
