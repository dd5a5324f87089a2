#pragma once
// The one check of names. A name that passes can be a path component, a URL segment and a table
// value without escaping.
#include <string>
#include <string_view>

#include "base/result.h"

namespace rq::core {

// Letters, digits, . _ - :  not starting with '.' or '-'; 1 to kNameBytesMax bytes. Also %XX for
// what only a tube may hold (below).
[[nodiscard]] base::Result<void> check_queue_name(std::string_view name);

// beanstalkd allows more in a tube: also + / ; $ ( ) and a leading '.'. Such a tube is stored under
// a queue name in which each of those is written %XX; this makes that name.
// bad_name when it is no tube name either.
[[nodiscard]] base::Result<std::string> queue_name_of_tube(std::string_view tube);
[[nodiscard]] std::string tube_of_queue_name(std::string_view queue);

// Worker names: as queue names, plus '@' and '/'.
[[nodiscard]] base::Result<void> check_worker_name(std::string_view name);

}  // namespace rq::core
