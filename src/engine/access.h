#pragma once
// Access tokens: made, rotated, revoked, shown; and the audit list.
#include "engine/desk.h"

namespace rq::engine {

// Of the store that was just opened.
[[nodiscard]] base::Result<void> read_tokens(Desk& desk);

[[nodiscard]] base::Result<Step> decide(Desk& desk, ChangeToken& change);
[[nodiscard]] base::Result<Step> decide(Desk& desk, ListTokens& list);
[[nodiscard]] base::Result<Step> decide(Desk& desk, ForgetAudit& forget);

}  // namespace rq::engine
