#include "core/command.h"

#include <array>

namespace rq::core {
namespace {
constexpr std::array<std::string_view, 9> kOutcomes{
    "done", "relayed", "err", "failed", "timed_out", "resend", "release", "bury", "stopped"};
constexpr std::array<std::string_view, 10> kActions{"commit", "retry",   "requeue", "run_now",
                                                    "cancel", "kill",    "clone",   "move",
                                                    "remove", "priority"};
}  // namespace

std::string_view name_of(Outcome outcome) {
  return kOutcomes.at(static_cast<std::size_t>(outcome));
}
std::optional<Outcome> outcome_of(std::string_view name) {
  for (std::size_t i = 0; i < kOutcomes.size(); ++i) {
    if (kOutcomes[i] == name) return static_cast<Outcome>(i);
  }
  return std::nullopt;
}
std::string_view name_of(Action action) { return kActions.at(static_cast<std::size_t>(action)); }
std::optional<Action> action_of(std::string_view name) {
  for (std::size_t i = 0; i < kActions.size(); ++i) {
    if (kActions[i] == name) return static_cast<Action>(i);
  }
  return std::nullopt;
}

}  // namespace rq::core
