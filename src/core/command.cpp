#include "core/command.h"

#include <algorithm>
#include <array>
#include <iterator>

#include "base/names.h"

namespace rq::core {
namespace {
constexpr std::array<std::string_view, 9> kOutcomes{
    "done", "relayed", "err", "failed", "timed_out", "resend", "release", "hold", "stopped"};
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
