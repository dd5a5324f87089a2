#pragma once
// Memory that processes share by inheritance. It has no name, and nobody can cut it short, so a
// look at it cannot fail (as one at a mapped file does, with SIGBUS, when the file is cut).
#include <cstddef>

#include "base/fd.h"

namespace rq::worker {

// All zeros. `name`: for /proc. Not open when there is none to be had; then errno says why.
[[nodiscard]] base::Fd make_shared_memory(const char* name, std::size_t bytes);

}  // namespace rq::worker
