#pragma once
// Copies the write-ahead log into the database on a thread and a connection of its own, while the
// engine goes on writing: most of a checkpoint costs nobody any time. What the engine has added
// meanwhile is for the engine to copy, between two batches, for only then can the log start anew.
#include <atomic>
#include <filesystem>
#include <thread>

#include "base/mailbox.h"
#include "store/sqlite/db.h"

namespace rq::store::sqlite {

class Checkpointer {
 public:
  Checkpointer() = default;
  Checkpointer(const Checkpointer&) = delete;
  Checkpointer& operator=(const Checkpointer&) = delete;
  ~Checkpointer();  // waits for the pass that is under way

  [[nodiscard]] base::Result<void> open(const std::filesystem::path& file);

  // The rest: engine thread.
  enum class State : std::uint8_t { idle, running, done };
  [[nodiscard]] State state() const { return state_.load(std::memory_order_acquire); }
  void start();  // from idle
  // Waits until it is done, and makes it idle. The result code of SQLite.
  int finish();

 private:
  void run();

  Db db_;
  std::atomic<State> state_{State::idle};
  base::Mailbox<int> starts_{1};
  base::Mailbox<int> ends_{1};  // result codes
  std::thread thread_;
};

}  // namespace rq::store::sqlite
