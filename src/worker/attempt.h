#pragma once
// One lease, with its script, from start to report. Whatever is addressed to an attempt goes by its
// token: the same message may come again, with another token, while this one is not over yet.
//
// Thread: the loop's.
// Invariant: an attempt settles once. By then its end has been told, or the lease was lost and
// there is nothing to tell; and its slot is free.
#include <cstdint>
#include <ctime>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "worker/folder.h"
#include "worker/messages.h"
#include "worker/reporter.h"
#include "worker/running_record.h"
#include "worker/station.h"
#include "worker/supervisor.h"

namespace rq::worker {

// So often in a row a worker dies while a message runs, and it is held back.
inline constexpr std::int64_t kPoisonDeaths = 3;
// `how`: "died"
[[nodiscard]] std::string held_text(std::string_view worker, std::string_view how,
                                    std::int64_t deaths);

class Attempt;
using AttemptPtr = std::shared_ptr<Attempt>;

// Whom attempts tell.
class AttemptHost {
 public:
  virtual ~AttemptHost() = default;
  // Its script runs.
  virtual void on_started(const AttemptPtr& attempt) = 0;
  virtual void on_settled(const AttemptPtr& attempt) = 0;
  // Has this worker been told to end? Looks at what it has been told up to now.
  [[nodiscard]] virtual bool is_ending() = 0;
  // And not long ago: whoever ends now may have been told with it.
  [[nodiscard]] virtual bool was_just_told() = 0;
  // Could a script have told it? REQUIRES: is_ending().
  [[nodiscard]] virtual bool is_ended_by_script() = 0;
  // Calls `then` a little later.
  virtual void soon(std::function<void()> then) = 0;
  // The script of a station cannot be run: no message is spent on that.
  virtual void on_script_error(const StationPtr& station, std::string error) = 0;
};

// What attempts have in common.
class Workshop {
 public:
  Workshop(std::string dir_of_messages, WorkerFacts facts, RunningRecord& running,
           Supervisor& children, Reporter& to_server, AttemptHost& whom_to_tell)
      : dir(std::move(dir_of_messages)),
        worker(std::move(facts)),
        record(running),
        supervisor(children),
        reporter(to_server),
        host(whom_to_tell) {}
  Workshop(const Workshop&) = delete;
  Workshop& operator=(const Workshop&) = delete;

  // " - 2026-11-21 08:30:00 +0000 - RQ START - PATH\n"
  [[nodiscard]] std::string header(std::string_view script_path);

  const std::string dir;  // absolute
  WorkerFacts worker;
  RunningRecord& record;
  Supervisor& supervisor;
  Reporter& reporter;
  AttemptHost& host;

 private:
  std::time_t header_second_ = 0;
  std::string header_time_;
};

class Attempt : public std::enable_shared_from_this<Attempt> {
 public:
  Attempt(Workshop& shop, StationPtr station, LeasedMessage message);
  // One that another process has begun, and whose script goes on.
  Attempt(Workshop& shop, StationPtr station, const RunningRecord::Leftovers::Staying& staying);
  // After that, when the loop knows it: what its script has said that is not answered yet.
  void go_on();

  [[nodiscard]] const std::string& token() const { return message_.token; }
  [[nodiscard]] std::int64_t seq() const { return message_.seq; }
  [[nodiscard]] const StationPtr& station() const { return station_; }
  [[nodiscard]] ChildId child() const { return child_; }  // 0: not started
  [[nodiscard]] bool has_slot() const { return has_slot_; }
  [[nodiscard]] bool settled() const { return settled_; }
  [[nodiscard]] bool lost() const { return lost_; }
  // Another process could go on with it.
  [[nodiscard]] bool is_kept() const { return kept_ != nullptr; }
  // Its script has ended by itself, and its worker lives: whatever became of workers before, this
  // message is not to blame. One that ended because the worker was told to is no proof of anything.
  [[nodiscard]] bool clears_message() const { return child_ != 0 && !witness_ && !with_worker_; }

  // --- On its way to its script ---
  // It waits for a slot; its folder and log are opened meanwhile.
  void wait_for_slot();
  void take_slot();
  // Starts the script. REQUIRES: it has a slot, and nobody works in the folder of its message.
  void launch();
  // Not begun, or not to be: the message goes back as it was.
  void give_back(std::string reason, base::Millis delay);

  // --- From outside ---
  // Somebody wants it ended.
  void stop();
  // The worker ends: a script that is stopped for that gives its message back.
  void hand_back();
  // The lease is not ours any more, so nothing will be said of it. The script is killed, or hears
  // TERM first where nobody else has the message yet.
  enum class Ending : std::uint8_t { killed, told };
  void lose(Ending how);

  // --- From its script ---
  void on_line(const wire::PipeLine& line);
  void on_ended(Ended&& ended);
  void on_gone();

 private:
  [[nodiscard]] Launch launch_of(const Script& script, Workplace place);
  void not_started(const SpawnFailure& failure);
  void cannot_start(std::string why, base::Millis delay);
  void keep();
  void unkeep();
  void next_dup();
  void drop_dup();
  void dup_answered(const base::Result<client::Reply>& reply);
  void end_with(Finish finish);
  [[nodiscard]] Finish stopped_with_us(Finish finish);
  void note_end_with_worker();
  void judged(Finish finish);
  void settle();

  Workshop& shop_;
  const StationPtr station_;
  LeasedMessage message_;
  bool has_slot_ = false;
  ChildId child_ = 0;
  int record_slot_ = -1;
  std::optional<Workplace> place_;  // opened while it waits
  KeptScript* kept_ = nullptr;      // while it has a slot in the record
  core::Success success_ = core::Success::by_use;
  std::int64_t deaths_ = 0;  // of its worker, see RunningRecord
  bool witness_ = false;
  bool with_worker_ = false;  // it ended because its worker was told to
  std::string script_path_, script_sha256_;
  std::deque<wire::PipeLine> dups_;  // the first is under way
  bool dup_under_way_ = false;
  std::int64_t dups_begun_ = 0;
  bool unheard_told_ = false;  // that the script is gone and heard no answer
  bool lost_ = false;
  bool handing_back_ = false;
  bool gone_ = false;  // nothing of its tree is left
  bool settled_ = false;
  std::optional<Finish> ending_;
  base::Fd log_;  // see Ended::log
};

}  // namespace rq::worker
