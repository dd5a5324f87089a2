#pragma once
// What callers have changed: kept in the same commit as the change, and never changed itself. No
// secret is ever in it.
#include <cstdint>
#include <string>

#include "base/time.h"

namespace rq::core {

struct AuditEntry {
  std::int64_t id = 0;  // grows; given by the store
  base::Instant at{};
  std::string who;      // as Caller::name
  std::string whence;   // the address that it came from, or "unix socket"
  std::string what;     // "queue changed", "token revoked"
  std::string subject;  // the name of the queue or token, or the numbers of messages
  // What it was and what it is: JSON; empty: nothing.
  std::string before;
  std::string after;
  friend bool operator==(const AuditEntry&, const AuditEntry&) = default;
};

// The newest first.
struct AuditPage {
  std::string who;          // empty: any
  std::string subject;      // empty: any
  std::int64_t cursor = 0;  // only older ones than this; 0: from the newest
  std::int64_t limit = 100;
};

}  // namespace rq::core
