#pragma once
// What happens because its time has come: leases end, messages fall due, timers fire.
#include "engine/desk.h"

namespace rq::engine {

// Finished messages that retention removes in one batch, of one queue.
inline constexpr std::int64_t kRetentionStep = 500;

// Ended leases and due messages, of those that were loaded.
[[nodiscard]] base::Result<void> run_due(Desk& desk);

// A timer that has fired is looked at with the row that it is about.
void needs(Desk& desk, const Timer& timer, Needs& out);
[[nodiscard]] base::Result<void> fire(Desk& desk, const Timer& timer);

}  // namespace rq::engine
