#pragma once
// The log of a program: standard error, a line for each message.
//
//   2026-11-21T00:21:54.865+00:00 server info TEXT
#include <time.h>

#include <string>
#include <string_view>

namespace rq::base {

// From now on spdlog's default logger writes there. `program`: the second word of a line. A file
// that standard output or error goes to is appended to from now on, however it was opened: another
// process, or somebody who rotates it, may write there as well.
void log_to_stderr(std::string_view program);

// As it stands in front of a line, in local time; also before 1970, and after 2262, where the
// clocks of the C++ library end.
[[nodiscard]] std::string log_time(const timespec& t);

}  // namespace rq::base
