#pragma once
// Sizes, for whoever names a bound in bytes.
#include <cstddef>

namespace rq::base {

inline constexpr std::size_t kKiB = 1024;
inline constexpr std::size_t kMiB = 1024 * kKiB;

}  // namespace rq::base
