#pragma once
// Reserving, waiting for something to reserve, and the end of a connection.
#include "engine/desk.h"

namespace rq::engine {

void needs(Desk& desk, const Reserve& reserve, Needs& out);
[[nodiscard]] base::Result<Step> decide(Desk& desk, Reserve& reserve);
void needs(Desk& desk, const Disconnect& disconnect, Needs& out);
[[nodiscard]] base::Result<Step> decide(Desk& desk, Disconnect& disconnect);
[[nodiscard]] base::Result<Step> decide(Desk& desk, StopWaiting& stop);

// Of those who wait in queues where something has become ready, by the batch before or by this one.
void needs_of_offers(Desk& desk, Needs& out);
// Answers waiting reserves from what has become ready, the longest waiting first. What it lacks is
// in Batch::wanted.
[[nodiscard]] base::Result<void> serve_offered(Desk& desk);
// The waiting reserves whose time is over get nothing.
void end_waits(Desk& desk);

}  // namespace rq::engine
