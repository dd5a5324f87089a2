#pragma once
// CRC-32C: finds bits that have changed on a disk or by hand. Uses the processor's instruction
// where it has one.
#include <cstdint>
#include <string_view>

namespace rq::base {

// Of `bytes`, going on from the one of what stood before them; 0 at the beginning.
[[nodiscard]] std::uint32_t crc32c(std::uint32_t before, std::string_view bytes);
// The same without that instruction.
[[nodiscard]] std::uint32_t crc32c_portable(std::uint32_t before, std::string_view bytes);

}  // namespace rq::base
