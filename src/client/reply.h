#pragma once
// What a server answers, and the error in it.
#include <boost/json/value.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace rq::client {

struct Reply {
  unsigned status = 0;
  std::string content_type;
  std::string body;
  [[nodiscard]] bool is_success() const { return status / 100 == 2; }
};

// A success that no rq server would send.
[[nodiscard]] base::Error foreign(std::string_view what, std::string_view body);
// The error in an answer that is no success.
[[nodiscard]] base::Error error_of(const Reply& reply);
// The error {"code","message","remedy"} that stands in `holder` under "error".
[[nodiscard]] base::Error error_in(const boost::json::object& holder);

// The body of a success, as JSON; empty: {}. Else the error of the answer.
[[nodiscard]] base::Result<boost::json::value> json_of(const Reply& reply);

}  // namespace rq::client
