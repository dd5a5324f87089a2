#pragma once
// New messages: put by a client, or copied from one that is there.
#include "engine/desk.h"

namespace rq::engine {

void needs(Desk& desk, const Put& put, Needs& out);
[[nodiscard]] base::Result<Step> decide(Desk& desk, Put& put);
void needs(Desk& desk, const PutMany& many, Needs& out);
[[nodiscard]] base::Result<Step> decide(Desk& desk, PutMany& many);
void needs(Desk& desk, const Duplicate& duplicate, Needs& out);
[[nodiscard]] base::Result<Step> decide(Desk& desk, Duplicate& duplicate);

// --- For the other families ---
// Files one new message, and writes into `done` which it is. A client key that is there already
// finds the first one, if it is alike.
[[nodiscard]] base::Result<void> put_one(Desk& desk, Put& put, PutDone& done);
// Refuses what brings work into a queue that takes none in its admin state.
[[nodiscard]] base::Result<void> check_takes(const Entry& entry);
// Refuses what brings work into a queue that takes it from known callers only.
[[nodiscard]] base::Result<void> check_caller(const Desk& desk, const Entry& entry);
// Refuses what moves a message on that is in the queue already: in state down nothing starts.
[[nodiscard]] base::Result<void> check_works(const Entry& entry);

}  // namespace rq::engine
