#pragma once
// Keeping a lease, and the ways in which an attempt ends.
#include <optional>
#include <string>
#include <string_view>

#include "engine/desk.h"

namespace rq::engine {

void needs(Desk& desk, const Heartbeat& heartbeat, Needs& out);
[[nodiscard]] base::Result<Step> decide(Desk& desk, Heartbeat& heartbeat);
void needs(Desk& desk, const Finish& finish, Needs& out);
[[nodiscard]] base::Result<Step> decide(Desk& desk, Finish& finish);

// --- For the other families ---
// Whether this is the live lease of the message.
[[nodiscard]] bool is_live(const Record& record, const Token& token);
// The record under its live lease, or lease_lost.
[[nodiscard]] base::Result<Record*> need_leased(Desk& desk, const Token& token);
// The lease ends: it becomes a row of the attempts, `reason` (absent: its last text) the text of
// the message. The state is still run: the caller moves it on.
void end_attempt(Desk& desk, Record& record, std::string_view outcome,
                 std::optional<std::string>&& reason, std::string&& post_mortem);
// A running message goes back to its line, untouched.
void release_lease(Desk& desk, Record& record, std::string&& reason);
// The time of its lease is over, or its connection is gone with an earlier start of the server: it
// is lost.
void end_lease(Desk& desk, Record& record);
// A running message goes back: at once, keeping its place, or after a delay.
State send_back(Desk& desk, Record& record, Millis delay, std::string_view outcome);
// An unfinished message ends.
State finish_as(Desk& desk, Record& record, Event event, Mark mark, std::string_view outcome = {});

}  // namespace rq::engine
