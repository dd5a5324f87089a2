#pragma once
// Parts of a JSON text as they stand there, byte by byte: what rq carries for others it does not
// print anew. REQUIRES: the text has been parsed, so it is JSON.
#include <optional>
#include <string_view>
#include <vector>

namespace rq::doors::api {

// The value of that member of an object; of several the last one, as the parser has it.
[[nodiscard]] std::optional<std::string_view> raw_member(std::string_view object,
                                                         std::string_view name);
// The elements of a list.
[[nodiscard]] std::vector<std::string_view> raw_elements(std::string_view list);

}  // namespace rq::doors::api
