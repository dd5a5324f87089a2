#pragma once
#include <string>

namespace rq::base {

// Another word each time the machine is started; empty: it does not say.
[[nodiscard]] std::string run_of_machine();

}  // namespace rq::base
