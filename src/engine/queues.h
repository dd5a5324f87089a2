#pragma once
// Queues: made, changed, paused, deleted, shown.
#include "engine/desk.h"

namespace rq::engine {

void needs(Desk& desk, const DefineQueue& define, Needs& out);
[[nodiscard]] base::Result<Step> decide(Desk& desk, DefineQueue& define);
void needs(Desk& desk, const SetAdmin& set, Needs& out);
[[nodiscard]] base::Result<Step> decide(Desk& desk, SetAdmin& set);
void needs(Desk& desk, const DeleteQueue& remove, Needs& out);
[[nodiscard]] base::Result<Step> decide(Desk& desk, DeleteQueue& remove);
void needs(Desk& desk, const SetScriptError& set, Needs& out);
[[nodiscard]] base::Result<Step> decide(Desk& desk, SetScriptError& set);
[[nodiscard]] base::Result<Step> decide(Desk& desk, ShowQueue& show);
[[nodiscard]] base::Result<Step> decide(Desk& desk, ListQueues& list);
[[nodiscard]] base::Result<Step> decide(Desk& desk, EngineStats& stats);
[[nodiscard]] base::Result<Step> decide(Desk& desk, ForgetWaste& forget);
void needs(Desk& desk, const Examine& examine, Needs& out);
[[nodiscard]] base::Result<Step> decide(Desk& desk, Examine& examine);

// --- For the timers ---
void resume(Desk& desk, Entry& entry);
// Made on demand, and neither a message nor a waiting reserve in it.
[[nodiscard]] bool is_unused(const Desk& desk, const Entry& entry);
// A queue that is being deleted: one step of its messages, and when none is left the queue, which
// is then gone.
void needs_of_going(QueueId queue, Needs& out);
[[nodiscard]] base::Result<void> go_on_deleting(Desk& desk, Entry& entry);
// REQUIRES: no messages in it. Who waits in it is told.
void remove_queue(Desk& desk, Entry& entry);

}  // namespace rq::engine
