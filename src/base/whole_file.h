#pragma once
// A file in one piece, however the kernel cuts it.
#include <cstddef>
#include <limits>
#include <string>
#include <string_view>

namespace rq::base {

// From where the descriptor stands to the end, at most `bytes_max`. What cannot be read ends it.
[[nodiscard]] std::string read_whole(
    int fd, std::size_t bytes_max = std::numeric_limits<std::size_t>::max());
// False: errno says why not all of it was written.
[[nodiscard]] bool write_whole(int fd, std::string_view text);

}  // namespace rq::base
