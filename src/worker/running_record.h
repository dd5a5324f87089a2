#pragma once
// Which scripts this worker runs, in a file that outlives it: a worker that was killed with -9
// takes its scripts' first processes along (PR_SET_PDEATHSIG), and the next one of its name ends
// what is left of their trees, and hands the leases back, before it takes anything.
//
// The file is a table in shared memory, so an entry costs no system call; what is written survives
// the process, and after a loss of power nothing is left to clean up.
//
// Format: version 2; to change it, change kVersion: a file of another version is started anew.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "worker/spawn.h"

namespace rq::worker {

class RunningRecord {
 public:
  // Opens or makes the file. The caller holds the lock of the worker's name.
  [[nodiscard]] static base::Result<std::unique_ptr<RunningRecord>> open(const std::string& path);
  ~RunningRecord();
  RunningRecord(const RunningRecord&) = delete;
  RunningRecord& operator=(const RunningRecord&) = delete;

  // Kills all that is left of a previous worker's scripts, waits until it is gone (bounded),
  // empties the table and gives the tokens that were in it. Whose scripts ran is remembered: it may
  // be why the worker died.
  struct Leftovers {
    struct Begun {
      std::string token;
      std::int64_t deaths = 1;  // how often in a row its worker died while this message ran
    };
    std::vector<Begun> begun;
    std::vector<std::string> not_begun;
    std::size_t processes = 0;
  };
  [[nodiscard]] Leftovers clean_up();

  // "RQ_RUN=<random>." for the environment of all scripts of this worker.
  [[nodiscard]] const std::string& mark() const { return mark_; }

  // Leased, not begun: only its token is kept.
  // -1 when the table is full: then the end of the lease is what cleans up.
  [[nodiscard]] int add(std::string_view token);
  // Before its script is started: the script may be the end of this worker at once. -1 as above.
  [[nodiscard]] int begin(std::string_view token);
  void began(int slot, const Spawned& process);
  void remove(int slot);

  // The worker leaves its scripts behind, and knows it: that is no death.
  void leave();
  // Did a worker before this one die twice or more while this message ran?
  [[nodiscard]] bool is_suspect(std::int64_t seq) const;
  // It has ended, and the worker lives.
  void clear(std::int64_t seq);

 private:
  struct Table;
  RunningRecord() = default;
  void start_anew();
  [[nodiscard]] int take(std::string_view token, std::int32_t pid);

  base::Fd file_;
  Table* table_ = nullptr;
  std::vector<int> free_;
  std::string mark_;
};

}  // namespace rq::worker
