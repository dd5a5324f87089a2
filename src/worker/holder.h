#pragma once
// The process above a worker's loop. It has the loop for a child, and shares all of its descriptors
// with it, so that the pipes and logs of running scripts stay open when the loop dies. Their
// processes become its children then, and it notes how they end. It starts the loop again by
// becoming a new program (exec): the same one, or, when the loop has made way, the one of the
// server that asked for that. The new program finds in the kept memory what it can go on with.
//
// Should the holder die, the loop makes way, and becomes the holder. If both die, the next worker
// of the name cleans up.
//
// Thread: one, the only one of its process.
#include <signal.h>
#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/lock_file.h"
#include "worker/kept_script.h"
#include "worker/running_record.h"

namespace rq::worker {

// What a program hands on to the one that takes over from it.
struct Handed {
  int lock = -1;
  int memory = -1;
  int record = -1;  // of RunningRecord; not there: its file has to do
  [[nodiscard]] std::string to_text() const;
  [[nodiscard]] static std::optional<Handed> parse(const std::string& text);
};

class Holder {
 public:
  // `argv`: of the program that takes over, without what is handed on.
  // `dir`: where the worker's directory was when it began, see home.h.
  // `server`: the file with the pid of the server whose program and environment it takes when that
  // one asks; empty: nobody's.
  struct Facts {
    std::vector<std::string> argv;
    std::string dir;
    std::string server;
  };
  Holder(Facts facts, base::LockFile& lock, KeptMemory& memory, RunningRecord& record);

  // Starts the loop. In the loop's process: nothing, at once. In the holder's: the exit code of a
  // loop that has ended for good.
  [[nodiscard]] std::optional<int> hold();

  // --- In the loop's process ---
  [[nodiscard]] pid_t pid() const { return pid_; }
  // The loop has come to rest: another goes on. Scripts are not touched.
  [[noreturn]] void make_way();

 private:
  void reap();
  void hear(int signal, const siginfo_t& info);
  void keep_place();
  [[nodiscard]] std::string keep_files();
  [[nodiscard]] std::optional<int> end_of_loop();
  [[nodiscard]] static bool is_like(pid_t server);
  [[noreturn]] void start_again(pid_t model);

  const Facts facts_;
  base::LockFile& lock_;
  KeptMemory& memory_;
  RunningRecord& record_;
  const int lock_fd_;
  pid_t pid_ = 0;
  pid_t loop_ = 0;
  pid_t model_ = 0;  // the server that asked last
  std::optional<int> loop_status_;
  bool is_named_ = true;  // the lock of the worker's name is held
  int out_of_place_ = 0;  // looks in a row, at the directory and the files in run/
  std::chrono::steady_clock::time_point look_at_{};
};

}  // namespace rq::worker
