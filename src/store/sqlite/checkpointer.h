#pragma once
// Copies the write-ahead log into the database on a thread and a connection of its own, while the
// engine goes on writing: most of a checkpoint costs nobody any time. What the engine has added
// meanwhile is for the engine to copy, between two batches, for only then can the log start anew.
// A page that is not as it was written is not copied, and ends the pass: see log_check.h.
#include <cstdint>
#include <filesystem>
#include <memory>

#include "base/result.h"
#include "store/sqlite/aside.h"
#include "store/sqlite/log_heads.h"

namespace rq::store::sqlite {

struct CheckpointPass {};
struct CheckpointDone {
  int code = 0;             // SQLite's
  std::int64_t frames = 0;  // pages of the log that are in the database now
};
using Checkpointer = Aside<CheckpointPass, CheckpointDone>;

// `heads`: of the log, as long as the checkpointer lives.
[[nodiscard]] base::Result<std::unique_ptr<Checkpointer>> open_checkpointer(
    const std::filesystem::path& file, const LogHeads& heads);

}  // namespace rq::store::sqlite
