#pragma once
// Who asks. It goes with every command, so that the engine can say whose a lease is, and what
// whoever asks may do to the message that it finds.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"
#include "core/rights.h"

namespace rq::core {

// Of whoever brings no token and is no user that rq.toml knows.
inline constexpr std::string_view kAnonymous = "anonymous";

struct Caller {
  std::string name;    // "user:joe", "token:deploy", "anonymous": in the audit list, and at a lease
  std::string whence;  // an address, or "unix socket"
  Rights rights;
  std::optional<base::Instant> until;  // then it has to be found again
};

// Null: the server itself.
using CallerRef = std::shared_ptr<const Caller>;

}  // namespace rq::core
