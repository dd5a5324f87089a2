#pragma once
// What was meant by a word that is not known: for "did you mean".
#include <string>
#include <string_view>
#include <vector>

namespace rq::base {

// Of the names, the one that was most likely meant; empty: none is near.
[[nodiscard]] std::string nearest(std::string_view word, const std::vector<std::string>& names);

}  // namespace rq::base
