#pragma once
#include <string>

namespace rq::base {

// Another word each time the machine is started; empty: it does not say.
[[nodiscard]] std::string run_of_machine();

// This process, and those that it starts, may have as many files open as the hard limit lets them.
void raise_open_files();

}  // namespace rq::base
