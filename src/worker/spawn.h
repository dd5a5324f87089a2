#pragma once
// Starts one script: a clone that shares memory until the exec (as vfork does: nothing is copied,
// however big the worker is), and the set-up of RQ's child contract in between.
#include <sys/types.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace rq::worker {

// Who a script runs as. Looked up before, because the child may not call anything that allocates.
struct Credentials {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
};

// The bounds of each process; 0: as the worker's own.
struct ChildLimits {
  std::int64_t cpu_seconds = 0;
  std::int64_t open_files = 0;
  std::int64_t file_bytes = 0;
};

// All that the child needs between clone and exec. Descriptors are above 4 and close on exec.
struct SpawnRequest {
  std::string program;            // absolute path
  std::vector<const char*> argv;  // ends with nullptr
  std::vector<const char*> envp;  // ends with nullptr
  int cwd_fd = -1;                // where it works
  std::string cwd;                // the same, as it will name it itself; empty: not looked at
  std::string header;             // goes to stdout before the exec, after "\n<pid>"
  int stdin_fd = -1;
  int output_fd = -1;       // stdout and stderr
  int to_worker_fd = -1;    // becomes 3
  int from_worker_fd = -1;  // becomes 4
  int nice = 0;
  ChildLimits limits;
  const Credentials* credentials = nullptr;  // null: the worker's own
  // Where the kernel writes the number of the process, before it runs: such a process outlives this
  // one. Null: it dies with the thread that spawns (PR_SET_PDEATHSIG).
  std::int32_t* kept_pid = nullptr;
  // Not run, only looked at: all steps but the exec, and whether `program` may be executed and
  // `reads` read.
  bool probe = false;
  std::string reads;
};

struct Spawned {
  pid_t pid = 0;
  // When the process started, in clock ticks since the boot of the machine, as /proc counts: it
  // lies between these two.
  std::uint64_t start_ticks_min = 0;
  std::uint64_t start_ticks_max = 0;
};

// Which step failed, and how.
struct SpawnFailure {
  enum class Step : std::uint8_t { clone, nice, limits, user, folder, descriptors, exec };
  Step step = Step::clone;
  int error = 0;
};

class Spawner {
 public:
  // A child may die with the thread that spawns: spawn from one thread only.
  // Sets the signals that this process ignores back to their defaults.
  Spawner();
  ~Spawner();
  Spawner(const Spawner&) = delete;
  Spawner& operator=(const Spawner&) = delete;

  // Returns when the program has been exec'ed, or could not be: then there is no child.
  [[nodiscard]] std::optional<SpawnFailure> spawn(const SpawnRequest& request, Spawned& out);
  // Would it work, as far as user, limits, folder and the rights on the program go? The
  // descriptors of the request are not used.
  [[nodiscard]] std::optional<SpawnFailure> probe(SpawnRequest request);

 private:
  void* stack_ = nullptr;  // of the child, until its exec
};

}  // namespace rq::worker
