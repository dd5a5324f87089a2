#pragma once
// What the reasons of failures have in common, so that they can be counted by kind.
#include <string>
#include <string_view>

namespace rq::core {

// `reason` without what differs from message to message: numbers, hexadecimal ids, quoted texts and
// absolute paths. The number of a leading "exit N" stays.
[[nodiscard]] std::string fingerprint(std::string_view reason);

}  // namespace rq::core
