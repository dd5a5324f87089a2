#pragma once
// What the caller of the command that runs may do to what it has found. Nobody in particular asks:
// then it is the server itself, which may all.
#include "engine/desk.h"

namespace rq::engine {

[[nodiscard]] bool may(const Desk& desk, Right right, const Entry& entry);
// Of a queue that the caller has named. forbidden; not_found when they may not even read it.
[[nodiscard]] base::Result<void> check_right(const Desk& desk, Right right, const Entry& entry);
// Of a message: to who may not read its queue it is as if it were not there (pitfalls NA6).
[[nodiscard]] base::Result<void> check_right(Desk& desk, Right right, const Message& message);
// Its lease is theirs, or nobody's in particular, or they may manage its queue: a token of a lease
// can be guessed (pitfalls NA7). What is refused goes into the audit list.
[[nodiscard]] base::Result<void> check_holder(Desk& desk, const Message& message);

}  // namespace rq::engine
