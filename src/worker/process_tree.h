#pragma once
// A look at all processes of the machine: who belongs to an attempt, however it has tried to get
// away. Costs some microseconds a process, so it is taken only to stop, clean up or measure.
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rq::worker {

struct Process {
  pid_t pid = 0;
  pid_t parent = 0;
  pid_t group = 0;
  pid_t session = 0;
  std::uint64_t start_ticks = 0;  // since the boot of the machine
  std::int64_t rss_bytes = 0;
};

class ProcessTable {
 public:
  // Reads /proc. Zombies are left out: they hold nothing and hear no signal.
  [[nodiscard]] static ProcessTable read();

  // Everything that the attempt with the leader `leader` (whose session and group it made) has
  // started and that still runs: its session and group, its descendants, and those that left all of
  // these but carry `cookie` ("NAME=value", exact) in their environment. `reaped`: the leader is
  // gone, so a process that has its number now is a stranger.
  [[nodiscard]] std::vector<Process> tree_of(pid_t leader, bool reaped,
                                             std::string_view cookie) const;
  // Those whose environment has an entry that starts with `prefix`, and their descendants.
  [[nodiscard]] std::vector<Process> with_environment(std::string_view prefix) const;

  [[nodiscard]] const std::vector<Process>& all() const { return processes_; }

 private:
  // Adds the descendants of those marked.
  [[nodiscard]] std::vector<Process> closure(std::vector<bool> member) const;

  std::vector<Process> processes_;  // by pid
};

// Does the environment that `pid` was started with have an entry that starts with `prefix`? With
// `exact`, that is `prefix`? False for processes that may not be looked at.
[[nodiscard]] bool has_environment(pid_t pid, std::string_view prefix, bool exact);

}  // namespace rq::worker
