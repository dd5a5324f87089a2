#pragma once
// The one check of names. A name that passes can be a path component, a URL segment and a table
// value without escaping.
#include <string>
#include <string_view>

#include "base/result.h"

namespace rq::core {

// Letters, digits, . _ - :  not starting with '.' or '-'; 1 to kNameBytesMax bytes. Also %XX for
// what only an escaped name may hold (below).
[[nodiscard]] base::Result<void> check_queue_name(std::string_view name);

// Foreign protocols allow more in a name: also + / ; $ ( ) and a leading '.'. Such a name is stored
// under a queue name in which each of those is written %XX; this makes that name, and the other one
// gives the first back. bad_name when it is not allowed there either.
[[nodiscard]] base::Result<std::string> escaped_queue_name(std::string_view name);
[[nodiscard]] std::string unescaped_queue_name(std::string_view queue);

// Worker names: as queue names, plus '@' and '/'.
[[nodiscard]] base::Result<void> check_worker_name(std::string_view name);

}  // namespace rq::core
