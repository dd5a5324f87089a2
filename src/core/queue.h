#pragma once
// A queue: its settings, its admin state and its counters.
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "core/message.h"

namespace rq::core {

// Who may put, and whether anything starts.
enum class Admin : std::uint8_t {
  up,
  pause,  // accepts; starts nothing
  drain,  // accepts nothing new; works off what is there
  down,   // accepts nothing, starts nothing
};
[[nodiscard]] std::string_view name_of(Admin admin);
[[nodiscard]] std::optional<Admin> admin_of(std::string_view name);

enum class SyncClass : std::uint8_t {
  always,   // an OK is on disk
  relaxed,  // an OK survives a crash of rq; with the power, up to a second of them may go
};
[[nodiscard]] std::string_view name_of(SyncClass sync);
[[nodiscard]] std::optional<SyncClass> sync_of(std::string_view name);

// How a script that has exited with 0 has ended, when it has not said so on fd 3 (done, err,
// relayed or resend).
enum class Success : std::uint8_t {
  by_use,  // "auto": as `exit` if it has said nothing there at all, else as `word`
  word,    // RQ's rule: failed
  exit,    // done
};
[[nodiscard]] std::string_view name_of(Success success);
[[nodiscard]] std::optional<Success> success_of(std::string_view name);

// How long finished messages are kept. 0 count: deleted when finished.
inline constexpr std::int64_t kKeepAny = INT64_MAX;  // a count that bounds nothing: age alone does
struct Retention {
  Millis age{};
  std::int64_t count = kKeepAny;
  friend bool operator==(const Retention&, const Retention&) = default;
};

// Bounds on the processes of a script. 0: none set by rq.
struct ScriptLimits {
  std::int64_t memory_bytes = 0;  // of the whole process tree
  std::int64_t cpu_seconds = 0;   // RLIMIT_CPU, each process
  std::int64_t open_files = 0;    // RLIMIT_NOFILE
  std::int64_t file_bytes = 0;    // RLIMIT_FSIZE
  std::int64_t processes = 0;     // at a time, of the whole process tree
  friend bool operator==(const ScriptLimits&, const ScriptLimits&) = default;
};

struct QueueSettings {
  // What it runs. Empty script: nothing is started here; workers elsewhere reserve.
  std::string script;
  std::string exec_prefix;       // "" exec the script itself; RQ's own default is "bash -lc"
  std::int64_t num_workers = 1;  // scripts at a time, on each worker
  TextPairs env_vars;
  std::vector<std::string> env_allow;  // names passed on from the worker's environment
  std::string user;                    // run as; empty: the worker's own
  int nice = 0;
  ScriptLimits limits;
  Success success = Success::by_use;
  // Time.
  Millis timeout{0};     // wall clock of an attempt; 0: none
  Millis grace{10'000};  // between TERM and KILL
  Millis lease{60'000};
  // Failure.
  std::int64_t retries = 0;  // attempts that may fail before err is final
  std::int64_t losses = 20;  // lost leases in a row before err; 0: any number
  Backoff backoff;
  std::int64_t max_count = 15;  // default of messages: RQ's bound on resends
  // Keeping. By default no number of failures or cancelled messages makes older ones go: somebody
  // has yet to read them.
  Retention keep_done{.age = std::chrono::hours{24 * 7}, .count = 100'000};  // done, relayed
  Retention keep_err{.age = std::chrono::hours{24 * 90}};
  Retention keep_cancelled{.age = std::chrono::hours{24 * 7}};
  SyncClass sync = SyncClass::always;
  std::int64_t priority = 0;  // default of messages
  // Messages come from everybody; false: from callers over the unix socket only, because the
  // messages themselves say what runs.
  bool put_over_tcp = true;
  // Bounds.
  std::int64_t messages_max = 0;       // unfinished messages; 0: no bound
  std::int64_t payload_bytes_max = 0;  // 0: that of base/limits.h

  friend bool operator==(const QueueSettings&, const QueueSettings&) = default;
};

// Checks every value against base/limits.h; bad_value names field, value and remedy.
[[nodiscard]] base::Result<void> check(const QueueSettings& settings);

[[nodiscard]] base::Result<void> check(const Backoff& backoff);

// The delay before the attempt after the `failures`-th failure (1 for the first). `seed` picks the
// jitter, so that the same input gives the same delay.
[[nodiscard]] Millis delay_after(const Backoff& backoff, std::int64_t failures, std::uint64_t seed);

// Messages better than this are counted apart: a door's protocol shows them, and sets this bound.
inline constexpr std::int64_t kHighPriority = -1024;

// Kept by the batch, never counted by a scan.
struct Counters {
  std::array<std::int64_t, kStateCount> in_state{};  // messages now in each state
  std::int64_t held = 0;                             // of those in err
  std::int64_t high = 0;                             // of those in que: above kHighPriority
  // Since the queue was made.
  std::int64_t puts = 0;
  std::int64_t dones = 0;  // done and relayed
  std::int64_t errs = 0;
  std::int64_t retries = 0;  // went back to que after a failed attempt, a resend or a release
  std::int64_t losses = 0;   // leases lost
  std::int64_t cancels = 0;
  std::int64_t deletes = 0;       // finished or not
  std::int64_t expired = 0;       // of them, those that retention removed
  std::int64_t expired_errs = 0;  // of those, failures

  [[nodiscard]] std::int64_t in(State s) const { return in_state[static_cast<std::size_t>(s)]; }
  [[nodiscard]] std::int64_t& in(State s) { return in_state[static_cast<std::size_t>(s)]; }
  [[nodiscard]] std::int64_t unfinished() const {
    return in(State::prep) + in(State::scheduled) + in(State::throttled) + in(State::depends) +
           in(State::que) + in(State::run);
  }
  // All messages that are there.
  [[nodiscard]] std::int64_t all() const {
    std::int64_t sum = 0;
    for (const std::int64_t n : in_state) sum += n;
    return sum;
  }
  friend bool operator==(const Counters&, const Counters&) = default;
};

// The queue of clients that name none. It can always be made, however many queues there are.
inline constexpr std::string_view kDefaultQueue = "default";

// The kinds of finished messages that retention tells apart.
enum class Keep : std::uint8_t { done, err, cancelled };
inline constexpr Keep kKeeps[] = {Keep::done, Keep::err, Keep::cancelled};
// Of a finished message.
[[nodiscard]] Keep keep_of(State state);
[[nodiscard]] const Retention& retention(const QueueSettings& settings, Keep keep);
// How many messages of the queue it is about.
[[nodiscard]] std::int64_t kept(const Counters& counters, Keep keep);

struct Queue {
  QueueId id = 0;
  std::string name;
  Admin admin = Admin::up;
  Instant paused_until{};  // epoch: until resumed by hand
  QueueSettings settings;
  std::int64_t revision = 0;  // grows with each change of settings or admin state
  Instant created{};
  bool on_demand = false;      // made by its first use; goes when it is empty and unused
  bool being_deleted = false;  // takes nothing and gives nothing any more
  // What the worker says of the script: empty when fine, else what is wrong. Clears itself.
  std::string script_error;
  Counters counters;

  // Made on demand, and nothing is in it: as good as not there.
  [[nodiscard]] bool empty_on_demand() const { return on_demand && counters.all() == 0; }
};

// Why nothing in the queue starts.
enum class ClosedBy : std::uint8_t { pause, down, script_error, deletion };
// Nothing: it gives what is ready.
[[nodiscard]] inline std::optional<ClosedBy> why_closed(const Queue& queue) {
  if (queue.being_deleted) return ClosedBy::deletion;
  if (queue.admin == Admin::pause) return ClosedBy::pause;
  if (queue.admin == Admin::down) return ClosedBy::down;
  if (!queue.script_error.empty()) return ClosedBy::script_error;
  return std::nullopt;
}

// The folder of a message below the server's directory. A name that is too long for a file system,
// escaped as it is, is cut and made unique by the number of its queue.
[[nodiscard]] std::string folder_of(const Queue& queue, const Message& message);

}  // namespace rq::core
