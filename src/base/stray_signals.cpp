#include "base/stray_signals.h"

#include <array>

namespace rq::base {

sigset_t stray_signals() {
  sigset_t stray;
  ::sigemptyset(&stray);
  constexpr std::array kNamed{SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGPWR, SIGSTKFLT};
  for (const int signal : kNamed) {
    ::sigaddset(&stray, signal);
  }
  for (int signal = SIGRTMIN; signal <= SIGRTMAX; ++signal) ::sigaddset(&stray, signal);
  return stray;
}

}  // namespace rq::base
