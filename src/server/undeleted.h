#pragma once
#include <string_view>

namespace rq::server {

// Below the server's directory: folders of messages that are gone, which cannot be deleted, with
// why, one a line. rq doctor shows them. Not there when there are none.
inline constexpr std::string_view kUndeletedFile = "/run/undeleted";

}  // namespace rq::server
