#pragma once
// Base64 (RFC 4648, the usual alphabet, with padding).
#include <optional>
#include <string>
#include <string_view>

namespace rq::base {

void append_base64(std::string& out, std::string_view bytes);
[[nodiscard]] std::string to_base64(std::string_view bytes);
// Nothing when it is not base64. Padding may be left out; line breaks are not allowed.
[[nodiscard]] std::optional<std::string> from_base64(std::string_view text);

}  // namespace rq::base
