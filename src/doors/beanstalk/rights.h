#pragma once
// The right that each verb needs. Nobody checks it yet.
#include <optional>

#include "doors/rights.h"
#include "wire/beanstalk.h"

namespace rq::doors::beanstalk {

// Nothing: the verb is about its own connection only.
[[nodiscard]] constexpr std::optional<Right> right_of(wire::beanstalk::Verb verb) {
  using enum wire::beanstalk::Verb;
  switch (verb) {
    case put:
      return Right::enqueue;
    case reserve:
    case reserve_with_timeout:
    case reserve_job:
    case remove:  // of a job that is reserved by nobody as well, as beanstalkd has it
    case release:
    case bury:
    case touch:
      return Right::work;
    case peek:
    case peek_ready:
    case peek_delayed:
    case peek_buried:
    case stats:
    case stats_job:
    case stats_tube:
    case list_tubes:
      return Right::read;
    case kick:
    case kick_job:
    case pause_tube:
      return Right::manage;
    case use:
    case watch:
    case ignore:
    case list_tube_used:
    case list_tubes_watched:
    case quit:
      return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace rq::doors::beanstalk
