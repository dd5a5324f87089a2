#pragma once
// What operators and clients do with messages that they do not hold: retry, cancel, move, look ...
#include "engine/desk.h"

namespace rq::engine {

void needs(Desk& desk, const Act& act, Needs& out);
[[nodiscard]] base::Result<Step> decide(Desk& desk, Act& act);
void needs(Desk& desk, const RunEarly& early, Needs& out);
[[nodiscard]] base::Result<Step> decide(Desk& desk, RunEarly& early);
void needs(Desk& desk, const RunEarlyOne& early, Needs& out);
[[nodiscard]] base::Result<Step> decide(Desk& desk, RunEarlyOne& early);
void needs(Desk& desk, const Peek& peek, Needs& out);
[[nodiscard]] base::Result<Step> decide(Desk& desk, Peek& peek);

}  // namespace rq::engine
