#include "core/lifecycle.h"

#include <array>

#include "base/names.h"

namespace rq::core {
namespace {
constexpr std::array<std::string_view, kEventCount> kEvents{
    "commit", "ready", "defer", "lease", "done",   "relayed",
    "err",    "again", "later", "retry", "cancel", "run_now"};
}  // namespace

std::string_view name_of(Event event) { return base::name_in(kEvents, event); }

std::optional<State> next(State state, Event event) {
  using enum State;
  switch (event) {
    case Event::commit:
      if (state == prep) return que;
      return {};
    case Event::ready:
      if (state == scheduled || state == throttled || state == depends) return que;
      return {};
    case Event::defer:
      if (state == prep || state == scheduled || state == que) return scheduled;
      return {};
    case Event::lease:
      if (state == que) return run;
      return {};
    case Event::done:
      if (state == run) return done;
      return {};
    case Event::relayed:
      if (state == run) return relayed;
      return {};
    case Event::err:
      if (state == run) return err;
      return {};
    case Event::again:
      if (state == run) return que;
      return {};
    case Event::later:
      if (state == run) return scheduled;
      return {};
    case Event::retry:
      if (is_finished(state)) return que;
      return {};
    case Event::cancel:
      if (state == done || state == relayed || state == cancelled) return {};
      return cancelled;
    case Event::run_now:
      if (state == scheduled || state == que) return que;
      return {};
  }
  return {};
}

}  // namespace rq::core
