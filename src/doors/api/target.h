#pragma once
// The message that an address names: by its id, its bare number, or key:KEY.
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "core/message.h"
#include "core/store.h"
#include "doors/api/exchange.h"

namespace rq::doors::api {

struct Target {
  core::Seq seq = 0;                     // 0: named by its key
  std::optional<base::Instant> created;  // as the full id says; another message has another
  std::string key;
};

[[nodiscard]] base::Result<Target> parse_target(std::string_view text);
// Reader thread. not_found when there is none.
[[nodiscard]] base::Result<core::MessageRow> find_message(core::Reader& reader,
                                                          const Target& target);

// True when the request has no query parameters; else it has been refused.
[[nodiscard]] bool no_query(Exchange& x, const Request& request);

}  // namespace rq::doors::api
