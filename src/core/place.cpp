#include "core/place.h"

namespace rq::core {

Place place_of(const Message& m) {
  switch (m.state) {
    case State::que:
      return Place::line;
    case State::scheduled:
      return Place::scheduled;
    case State::run:
      return Place::lease;
    case State::done:
    case State::relayed:
      return Place::kept;
    case State::cancelled:
      return Place::cancelled;
    case State::err:
      return m.mark == Mark::held ? Place::held : Place::err;
    case State::prep:
    case State::throttled:
    case State::depends:
      return Place::parked;
  }
  return Place::parked;
}

std::int64_t time_in_place(const Message& m) {
  switch (place_of(m)) {
    case Place::scheduled:
      return base::to_ms(m.due);
    case Place::lease:
      return base::to_ms(m.lease->until);
    case Place::kept:
    case Place::err:
    case Place::cancelled:
    case Place::held:
      return base::to_ms(m.finished);
    case Place::line:
    case Place::parked:
    case Place::any:
      return 0;
  }
  return 0;
}

}  // namespace rq::core
