#pragma once
// The bounds on what a sender may put, whichever door it came through. A door may refuse the same
// earlier, before it has built the message.
#include "base/result.h"
#include "core/command.h"

namespace rq::core {

// Is its script a part of rq (rq run), so that its messages are command lines? Older queues name it
// by the path of an rq.
[[nodiscard]] bool runs_commands(const QueueSettings& settings);

[[nodiscard]] base::Result<void> check_put(const Put& put, const Queue& queue, Instant now);

}  // namespace rq::core
