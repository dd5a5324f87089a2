#pragma once
// What is given to a verb to read.
#include <istream>
#include <string>

#include "base/result.h"

namespace rq::cli {

// Somebody pipes or redirects something into our standard input, and not into that of the shell
// around us, whose loop would read it. Nothing is read of it.
[[nodiscard]] bool input_is_given();

// All of it; too_large when it is more than a payload may be. `name` is for the error.
[[nodiscard]] base::Result<std::string> read_all(std::istream& from, const std::string& name);

// The next line, without its end. False: there is none. too_large when it is longer than a put may
// be.
[[nodiscard]] base::Result<bool> read_line(std::istream& from, std::string& line,
                                           const std::string& name);

}  // namespace rq::cli
