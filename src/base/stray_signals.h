#pragma once
// Signals that end a program unless it says otherwise, and that mean nothing to ours: ALRM, USR2
// and the like. Whoever sends one meant another process, or asks for what there is not; nothing is
// to end for that.
#include <signal.h>

namespace rq::base {

[[nodiscard]] sigset_t stray_signals();

}  // namespace rq::base
