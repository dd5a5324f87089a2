#pragma once
// Keeps the running scripts. A child is passive: the set owns all polling, has one descriptor to
// wait on, and is told when it is readable. It knows processes, pipes and time, and nothing of
// servers, queues or messages.
#include <sys/resource.h>
#include <sys/types.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "base/time.h"
#include "wire/script_pipe.h"
#include "worker/kept_script.h"
#include "worker/process_tree.h"
#include "worker/spawn.h"

namespace rq::worker {

using ChildId = std::uint64_t;  // never reused
using SteadyTime = std::chrono::steady_clock::time_point;

// What one attempt needs to start.
struct Launch {
  std::string program;  // absolute path
  std::vector<std::string> argv;
  std::vector<std::string> environment;  // "NAME=value"
  std::string cookie;                    // the one of them that marks this attempt; may be empty
  base::Fd cwd;                          // where it works (O_PATH)
  std::string cwd_path;                  // the same
  base::Fd log;                          // appended to, and read for its last output
  std::string header;                    // of this attempt in the log, after "\n<pid>"
  std::string payload;                   // standard input; empty: /dev/null
  int nice = 0;
  ChildLimits limits;
  std::int64_t memory_bytes = 0;             // bound on the memory of the tree; 0: none
  std::int64_t processes = 0;                // bound on the processes of the tree; 0: none
  const Credentials* credentials = nullptr;  // read by start() only
  base::Millis timeout{0};                   // 0: none
  base::Millis grace{10'000};                // between TERM and KILL
  // Where to write what another process needs to go on with it. Null: it dies with this one.
  KeptScript* kept = nullptr;
};

// Why the supervisor ended a script, if it did.
enum class StopCause : std::uint8_t {
  none,
  asked,  // stop()
  timed_out,
  out_of_memory,
  too_many_processes,
  abandoned,  // abandon(): nobody wants to know how it ends
};

// How an attempt ended.
struct Ended {
  pid_t pid = 0;
  int status = 0;        // as of wait(2)
  bool was_seen = true;  // else nobody knows its status, and what it has used
  StopCause cause = StopCause::none;
  bool killed_after_grace = false;
  bool leftovers = false;  // it has left processes behind; on_gone comes when they are gone
  wire::PipeVerdict verdict;
  std::chrono::microseconds wall{0};
  std::chrono::microseconds told_to_end{
      0};  // so long after its start; 0: it was not, or by another
  std::chrono::microseconds user{0};
  std::chrono::microseconds system{0};
  std::int64_t rss_bytes = 0;        // peak, of the largest process or (when bounded) of the tree
  std::int64_t processes = 0;        // most that were counted; when bounded
  std::int64_t cpu_seconds_max = 0;  // the queue's limit for each process; 0: none
  std::string last_output;           // raw bytes, the tail
  // The open log of a script that is kept: whoever goes on with it before it is settled reads it
  // again. The kept memory has its number: close it after that is given up.
  base::Fd log;
};

// Of a tree of processes.
struct TreeUse {
  std::int64_t bytes = 0;
  std::int64_t processes = 0;
};

// Of a child that a process before this one has started.
struct Adopted {
  Spawned process;
  bool orphaned = false;  // see adopt()
  base::Fd life;          // of an orphaned one: readable when it has ended
};

class Watcher {
 public:
  virtual ~Watcher() = default;
  virtual void on_line(ChildId child, const wire::PipeLine& line) = 0;
  // The script has exited, all that it wrote to fd 3 has been given to on_line, also what came
  // through a process that it left behind.
  virtual void on_ended(ChildId child, Ended&& ended) = 0;
  // After on_ended, when nothing of its tree is left (at once for nearly all).
  virtual void on_gone(ChildId child) = 0;
};

// Thread: one, and the only one of the process that has children: it waits for all of them, also
// for orphans of scripts, whose reaper it becomes. Blocks SIGCHLD and SIGPIPE in its thread.
class Supervisor {
 public:
  explicit Supervisor(Watcher& watcher);
  ~Supervisor();  // kills what still runs
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  struct Started {
    ChildId child = 0;
    Spawned process;
  };
  // The failure names the step; bad_value for the descriptors, internal for the machine.
  [[nodiscard]] std::optional<SpawnFailure> start(Launch&& launch, Started& out);
  // Goes on with a script that a process before this one has started; it is not our child. The
  // process above this one, whose child it is, notes how it ends, and sends SIGCHLD. `orphaned`: it
  // is not: we see that it ends, and not how.
  [[nodiscard]] ChildId adopt(KeptScript& kept, const Spawned& process, bool orphaned);
  // The process above this one is gone: scripts that were its children are orphans.
  void lose_holder();
  // Would a script like this start? See Spawner::probe().
  [[nodiscard]] std::optional<SpawnFailure> probe(SpawnRequest request) {
    return spawner_.probe(std::move(request));
  }

  // TERM to the whole tree, KILL after the grace.
  void stop(ChildId child);
  // KILL to the whole tree.
  void abandon(ChildId child);
  // A line for fd 4. It waits until the script reads; while much waits, what the script writes
  // stays in the pipe.
  void reply(ChildId child, std::string_view line);
  // Leaves what the script writes in the pipe for now (then the script waits), or reads on.
  void set_reading(ChildId child, bool reading);

  // Readable when there is something to handle.
  [[nodiscard]] int fd() const { return poll_.get(); }
  void handle();

  [[nodiscard]] std::size_t running() const { return by_pid_.size() + adopted_.size(); }

 private:
  enum class Phase : std::uint8_t {
    running,
    leaving,   // the script has exited, others of its tree have a moment to follow
    stopping,  // TERM was sent
    killing,   // KILL was sent
  };
  // When something is to be done for a child.
  struct Due {
    SteadyTime words = SteadyTime::max();  // fd 3 is watched from then on
    SteadyTime timeout = SteadyTime::max();
    SteadyTime sample = SteadyTime::max();
    SteadyTime act = SteadyTime::max();    // the next step of its phase
    SteadyTime check = SteadyTime::max();  // is anything of it left?
    // It has exited without a deciding word, which may still be on its way.
    SteadyTime word = SteadyTime::max();
    [[nodiscard]] SteadyTime next() const;
  };
  struct Child {
    ChildId id = 0;
    pid_t pid = 0;
    KeptScript* kept = nullptr;
    std::optional<Adopted> adopted;
    Phase phase = Phase::running;
    bool reaped = false;
    bool reading = true;       // see set_reading()
    bool watched = false;      // the reading end of fd 3 is in the epoll set
    bool reply_ready = false;  // the write end of fd 4 is non-blocking
    bool awaits_room = false;  // there, and in the epoll set for that
    std::string answers;       // for fd 4, not yet written
    StopCause cause = StopCause::none;
    bool killed_after_grace = false;
    base::Fd from_script, to_script;
    base::Fd log;
    std::int64_t log_start = 0;  // where its own output begins
    // Pipes and log, as /proc names them: once somebody has asked who holds them.
    std::optional<std::array<std::string, 3>> files;
    wire::PipeReader lines;
    wire::PipeVerdict verdict;
    std::string cookie;
    TreeUse bounds;  // 0: none
    TreeUse most;    // that was seen
    base::Millis grace{0};
    base::Millis kill_again{0};
    SteadyTime started;
    Due due;
    Ended ended;  // what is known since it has exited
    [[nodiscard]] bool is_orphan() const { return adopted && adopted->orphaned; }
    [[nodiscard]] bool is_bounded() const { return bounds.bytes > 0 || bounds.processes > 0; }
    [[nodiscard]] TreeMarks marks();
    void keep_in(KeptScript& memory);
    void blame(StopCause why);
    void watch_life(int poll_fd);
    void close_answers();
    [[nodiscard]] std::string tail_of_log() const;
  };
  // At most one look at /proc for all that one wake-up has to do.
  class Look;

  [[nodiscard]] Child* find(ChildId id);
  void read_pipe(Child& child, std::size_t bytes_max);
  void read_ready(Child& child, Look& look);
  void watch_pipe(Child& child);
  void write_answers(Child& child);
  void close_pipe(Child& child);
  void take_line(Child& child, std::string_view line);
  void reap(Look& look);
  void reap_adopted(Look& look);
  void exited(Child& child, int status, const rusage& usage, Look& look);
  void conclude(Child& child, Look& look);
  void tick(Look& look);
  void tick(Child& child, SteadyTime now, Look& look);
  void begin_stop(Child& child, StopCause cause, Look& look);
  void begin_kill(Child& child, Look& look);
  void send(Child& child, int signal, Look& look);
  void sample(Child& child, Look& look);
  [[nodiscard]] bool may_have_left_something(const Child& child, bool held);
  [[nodiscard]] std::vector<Process> left_of(Child& child, Look& look);
  void note_stayers(Look& look);
  void gone(Child& child);
  void arm(SteadyTime at);

  Watcher& watcher_;
  Spawner spawner_;
  std::vector<base::Fd>
      reserved_;  // keeps 0 to 9 taken, so that nothing of ours lies where a child's go
  base::Fd poll_, signals_, timer_, null_, own_children_;
  SteadyTime armed_ = SteadyTime::max();
  ChildId last_id_ = 0;
  std::unordered_map<ChildId, std::unique_ptr<Child>> children_;
  std::unordered_map<pid_t, ChildId> by_pid_;  // not yet reaped
  std::unordered_set<ChildId> adopted_;        // not yet ended
  std::unordered_set<pid_t> stayers_;          // orphans that scripts have left to stay
  std::string buffer_;
};

}  // namespace rq::worker
