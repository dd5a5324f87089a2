#pragma once
// The life of a message is this one function. docs/STORAGE.md shows it as a grid, printed by the
// test that walks all pairs.
#include <optional>
#include <string_view>

#include "core/message.h"

namespace rq::core {

enum class Event : std::uint8_t {
  commit,   // the parts are together (prep)
  ready,    // what it waited for has come: its time, a slot, another message
  defer,    // a due time ahead was set
  lease,    // a worker takes it
  done,     // the worker says so
  relayed,  // the worker says so
  err,      // the worker says so for good, or retries are used up, or it is held
  again,    // resend, release, lost lease, failed with retries left; to be had at once
  later,    // the same, with a delay
  retry,    // an operator or client sends a finished message again
  cancel,   // nobody wants it any more
  run_now,  // an operator makes it ready before its due time
};
inline constexpr int kEventCount = static_cast<int>(Event::run_now) + 1;
[[nodiscard]] std::string_view name_of(Event event);

// The state after `event` in `state`; nothing when the move is not legal.
[[nodiscard]] std::optional<State> next(State state, Event event);

}  // namespace rq::core
