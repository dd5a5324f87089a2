#pragma once
// The directory that a worker began in. It is the working directory of its processes, which goes on
// to the next program, and goes along when it is moved: by names relative to it a worker finds its
// own files and its own server, whatever stands at the old place by now.
#include <string>

#include "base/result.h"

namespace rq::worker {

// Goes there, and gives its real path.
[[nodiscard]] base::Result<std::string> enter_home(const std::string& dir);
// Is it still the one at that path? Also when that cannot be found out.
[[nodiscard]] bool is_home_at(const std::string& dir);
// Has it been removed? Nobody finds anything in it any more.
[[nodiscard]] bool is_home_removed();

}  // namespace rq::worker
