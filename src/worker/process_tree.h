#pragma once
// A look at all processes of the machine: who belongs to an attempt, however it has tried to get
// away. Costs some microseconds a process, so it is taken only to stop, clean up or measure.
#include <sys/types.h>

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"

namespace rq::worker {

// How one attempt's processes are known.
struct TreeMarks {
  pid_t leader = 0;         // whose session and group they are, unless they have left them
  bool reaped = false;      // the leader is gone, so who has its number now is a stranger
  bool orphaned = false;    // its parent has died: its orphans go to the parent of our parent
  std::string_view cookie;  // "NAME=value", exact, in their environment, unless they dropped it
  // What only they have open, as /proc names it: the two pipes and the log of the attempt.
  std::span<const std::string> files;
};

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

  // Everything that the attempt has started and that still runs: its session and group, its
  // descendants, and those orphans that carry its cookie or hold one of its files.
  [[nodiscard]] std::vector<Process> tree_of(const TreeMarks& marks) const;
  // The same without what is meant to stay when the script has ended by itself: who has left its
  // session and group, and holds none of its files.
  [[nodiscard]] std::vector<Process> left_of(const TreeMarks& marks) const;
  // Those whose environment has an entry that starts with `prefix`, and their descendants; without
  // those that are meant to stay: they hold no pipe as descriptor 3 or 4, and no log of a message.
  [[nodiscard]] std::vector<Process> with_environment(std::string_view prefix) const;

  // Null: it has ended.
  [[nodiscard]] const Process* find(pid_t pid) const;
  // Is it a descendant of the other one? Nothing when it has ended.
  [[nodiscard]] std::optional<bool> is_below(pid_t pid, pid_t ancestor) const;

  [[nodiscard]] const std::vector<Process>& all() const { return processes_; }

 private:
  // Adds the descendants of those marked, but for those that `stays`.
  using Stays = std::function<bool(const Process&)>;
  [[nodiscard]] std::vector<Process> closure(std::vector<bool> member, const Stays& stays) const;
  [[nodiscard]] std::vector<Process> members(const TreeMarks& marks, const Stays& stays) const;

  std::vector<Process> processes_;  // by pid
};

// One process, as it is now; nothing when it has ended.
[[nodiscard]] std::optional<Process> read_process(pid_t pid);

// Does the environment that `pid` was started with have an entry that starts with `prefix`? With
// `exact`, that is `prefix`? False for processes that may not be looked at.
[[nodiscard]] bool has_environment(pid_t pid, std::string_view prefix, bool exact);

// What our descriptor `fd` is, as /proc names it.
[[nodiscard]] std::string name_of_file(int fd);
// Of one that is closed (-1) a name that no file has.
[[nodiscard]] std::array<std::string, 3> names_of_files(const std::array<int, 3>& fds);

// The memory of the process, what it shares counted in parts; 0: it has ended. Nothing when that
// may not be known.
[[nodiscard]] std::optional<std::int64_t> proportional_bytes(pid_t pid);

// Tells of the children of this thread, whoever started them; closed when the kernel does not tell.
[[nodiscard]] base::Fd open_own_children();
// How many there are now.
[[nodiscard]] std::optional<std::size_t> count_children(const base::Fd& file);

}  // namespace rq::worker
