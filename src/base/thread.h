#pragma once
// What a thread says of itself.

namespace rq::base {

// The calling thread does what can wait: others go first. A failure does no harm.
void lower_priority();

}  // namespace rq::base
