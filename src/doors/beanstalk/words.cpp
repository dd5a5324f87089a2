#include "doors/beanstalk/words.h"

namespace rq::doors::beanstalk {

std::string_view word_of(base::Code code) {
  using enum base::Code;
  switch (code) {
    case bad_request:
    case bad_value:
    case bad_name:
    case unknown_field:
    case exists:
    case unsupported:
      return "BAD_FORMAT";
    case method_not_allowed:
      return "UNKNOWN_COMMAND";
    case too_large:
      return "JOB_TOO_BIG";
    // A job in a state that does not allow the command is, to this protocol, as good as absent.
    case not_found:
    case wrong_state:
    case lease_lost:
      return "NOT_FOUND";
    case queue_down:
    case draining:
    case forbidden:  // the queue takes nothing from here: put elsewhere
      return "DRAINING";
    case timed_out:
      return "TIMED_OUT";
    // "The server cannot take it now": what a client should repeat later.
    case too_many:
    case queue_full:
    case busy:
    case disk_full:
      return "OUT_OF_MEMORY";
    case unknown_outcome:
    case unreachable:
    case internal:
      return "INTERNAL_ERROR";
  }
  return "INTERNAL_ERROR";
}

}  // namespace rq::doors::beanstalk
