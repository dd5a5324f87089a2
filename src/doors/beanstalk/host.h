#pragma once
// What a session needs of the door.
#include <array>
#include <cstdint>
#include <string>

#include "base/time.h"
#include "core/command.h"
#include "doors/beanstalk/reply_slots.h"
#include "doors/beanstalk/tubes.h"
#include "wire/beanstalk.h"

namespace rq::doors::beanstalk {

// Since the server's start, over all connections.
struct Totals {
  std::array<std::int64_t, wire::beanstalk::kVerbCount> commands{};
  std::int64_t connections = 0;  // ever
  std::int64_t open = 0;
  std::int64_t producers = 0;  // open ones that have put
  std::int64_t workers = 0;    // open ones that have reserved
};

class Host {
 public:
  virtual ~Host() = default;
  virtual void submit(const core::Ticket& ticket, core::Command&& command) = 0;
  [[nodiscard]] virtual base::Instant now() const = 0;
  // From where a time to wait counts: not before the true time.
  [[nodiscard]] virtual base::Instant ahead() const = 0;
  [[nodiscard]] virtual bool draining() const = 0;
  // The text of `stats`.
  [[nodiscard]] virtual std::string stats(const core::EngineStatsDone& engine) const = 0;

  Tubes tubes;
  Totals totals;
  InFlight in_flight;
};

}  // namespace rq::doors::beanstalk
