#pragma once
// The fronts of the lines: what is leased next, in memory, read on from the table as it is used up.
// A long line is read ahead by a thread of its own.
// Thread: engine.
#include <filesystem>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/result.h"
#include "store/sqlite/line.h"
#include "store/sqlite/line_windows.h"
#include "store/sqlite/open.h"
#include "store/sqlite/records.h"

namespace rq::store::sqlite {

class Lines {
 public:
  explicit Lines(Records& records) : records_(records) {}

  [[nodiscard]] base::Result<void> open(Db& db, const std::filesystem::path& file,
                                        const Options& options);
  // The best of the line, where it is in memory; else null. Until the line changes.
  [[nodiscard]] const LineKey* front(QueueId queue) {
    const auto& window = windows_.of(queue);
    return window.loaded && !window.keys.empty() ? &window.keys.front() : nullptr;
  }
  // The best of the line, with what the batch has done.
  [[nodiscard]] base::Result<std::optional<LineKey>> peek(QueueId queue);
  // Messages of which a row could not be read.
  [[nodiscard]] std::vector<core::Suspect> take_damaged() { return std::exchange(damaged_, {}); }
  // The engine has taken from this line.
  void used(QueueId queue) { used_ = queue; }

  [[nodiscard]] LineWindows& windows() { return windows_; }
  // After a commit: the fronts are not longer than they may be.
  void trim();
  // Then: starts reading the next part of the line that the batch took from, when its front runs
  // low. `quiet`: starts nothing.
  void look_ahead(bool quiet);
  void clear();
  // Nobody reads after it.
  void wait_for_reader();

 private:
  [[nodiscard]] base::Result<void> read_on(QueueId queue);
  [[nodiscard]] base::Result<LineRows> rows_behind(QueueId queue, const LineKey& after);

  Records& records_;
  Options options_;
  LineWindows windows_;
  LineQuery query_;
  std::unique_ptr<LineAhead> ahead_;  // null without threads
  std::optional<LinePart> part_;      // what ahead_ reads or has read, if that is still wanted
  std::optional<QueueId> used_;       // in this batch
  std::vector<core::Suspect> damaged_;
};

}  // namespace rq::store::sqlite
