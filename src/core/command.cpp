#include "core/command.h"

#include <algorithm>
#include <array>
#include <iterator>

#include "base/names.h"

namespace rq::core {
namespace {
constexpr std::array<std::string_view, 10> kOutcomes{"done",      "relayed", "err",     "failed",
                                                     "timed_out", "resend",  "release", "hold",
                                                     "stopped",   "lost"};
constexpr std::array<std::string_view, 10> kActions{"commit", "retry",   "requeue", "run_now",
                                                    "cancel", "kill",    "clone",   "move",
                                                    "remove", "priority"};
}  // namespace

std::string_view name_of(Outcome outcome) { return base::name_in(kOutcomes, outcome); }
std::optional<Outcome> outcome_of(std::string_view name) {
  return base::value_of<Outcome>(kOutcomes, name);
}
std::string_view name_of(Action action) { return base::name_in(kActions, action); }
std::optional<Action> action_of(std::string_view name) {
  return base::value_of<Action>(kActions, name);
}

StateSet states_of(Action action) {
  using enum State;
  switch (action) {
    case Action::commit:
      return {prep};
    case Action::retry:
    case Action::clone:
      return {done, relayed, err, cancelled};
    case Action::requeue:
      return {run, done, relayed, err, cancelled};
    case Action::run_now:
      return {scheduled, que};
    case Action::cancel:
      return {prep, scheduled, throttled, depends, que, run, err};
    case Action::kill:
      return {run};
    case Action::move:
    case Action::remove:
      return {prep, scheduled, throttled, depends, que, done, relayed, err, cancelled};
    case Action::priority:
      return {prep, scheduled, throttled, depends, que, run};
  }
  return {};
}

StateSet usual_states_of(Action action) {
  using enum State;
  switch (action) {
    case Action::retry:
    case Action::requeue:
    case Action::clone:
      return {err};
    case Action::cancel:
      return {prep, scheduled, throttled, depends, que, run};
    case Action::move:
      return {prep, scheduled, throttled, depends, que};
    case Action::remove:
      return {};
    case Action::commit:
    case Action::run_now:
    case Action::kill:
    case Action::priority:
      break;
  }
  return states_of(action);
}

std::size_t messages_of(const Command& command) {
  std::int64_t count = 1;
  if (const auto* puts = std::get_if<PutMany>(&command)) {
    count = std::ssize(puts->puts);
  } else if (const auto* reserve = std::get_if<Reserve>(&command)) {
    count = reserve->limit;
  } else if (const auto* finish = std::get_if<Finish>(&command)) {
    count = std::ssize(finish->items);
  } else if (const auto* heartbeat = std::get_if<Heartbeat>(&command)) {
    count = std::ssize(heartbeat->items);
  } else if (const auto* act = std::get_if<Act>(&command)) {
    count = std::ssize(act->messages);
  } else if (const auto* early = std::get_if<RunEarly>(&command)) {
    count = early->bound;
  } else if (std::holds_alternative<DeleteQueue>(command)) {
    count = kStepMax;
  }
  return static_cast<std::size_t>(std::max<std::int64_t>(count, 1));
}

}  // namespace rq::core
