#pragma once
// The message that an address names: by its id, its bare number, or key:KEY.
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "core/message.h"
#include "server/http/exchange.h"
#include "store/store.h"

namespace rq::server::http {

struct Target {
  core::Seq seq = 0;                     // 0: named by its key
  std::optional<base::Instant> created;  // as the full id says; another message has another
  std::string key;
};

[[nodiscard]] base::Result<Target> parse_target(std::string_view text);
// Reader thread. not_found when there is none.
[[nodiscard]] base::Result<store::MessageRow> find_message(store::Reader& reader,
                                                           const Target& target);

// True when the request has no query parameters; else it has been refused.
[[nodiscard]] bool no_query(Exchange& x, const Request& request);

}  // namespace rq::server::http
