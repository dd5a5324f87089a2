#pragma once
// What the changes of a batch mean for the tables. Each table is written in the order of its keys,
// deletes before inserts, so that inserts reuse their pages, and neighbours that go together go in
// one statement.
// Thread: engine.
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "store/sqlite/batch_rows.h"
#include "store/sqlite/db.h"
#include "store/sqlite/line_windows.h"
#include "store/sqlite/meta.h"
#include "store/sqlite/records.h"

namespace rq::store::sqlite {

// What a batch has changed, besides the timers.
struct Changes {
  struct QueueChange {
    std::optional<Queue> row;  // to be written
    std::optional<Counters> counters;
    bool made = false;  // not in the table yet
    bool erased = false;
  };

  std::vector<Held*> dirty;
  std::vector<Attempt> attempts;
  std::map<QueueId, QueueChange> queues;
  std::vector<std::string> waste_gone;
  std::optional<Seq> block_end;  // numbers were set aside up to here

  [[nodiscard]] bool empty() const {
    return dirty.empty() && attempts.empty() && queues.empty() && waste_gone.empty() && !block_end;
  }
  void clear() {  // what grows keeps its room
    dirty.clear();
    attempts.clear();
    queues.clear();
    waste_gone.clear();
    block_end.reset();
  }
};

class Writer {
 public:
  // `records` and `windows` are those of the store.
  Writer(Records& records, LineWindows& windows) : records_(records), windows_(windows) {}

  // REQUIRES: *this outlives the connection.
  [[nodiscard]] base::Result<void> prepare(Db& db);
  // In a transaction.
  [[nodiscard]] base::Result<void> write(Changes& changes);

 private:
  struct LinePlace {
    QueueId queue;
    LineKey key;
  };
  // Of one queue, rank and order: the numbers from first to last.
  struct Run {
    QueueId queue;
    std::int64_t rank;
    std::int64_t order;
    Seq first;
    Seq last;
  };

  [[nodiscard]] base::Result<void> write_messages(const std::vector<Held*>& dirty);
  [[nodiscard]] base::Result<void> delete_rows_of(const Held& held);
  [[nodiscard]] base::Result<void> write_detail(Held& held);
  [[nodiscard]] base::Result<void> write_lines(const std::vector<Held*>& dirty);
  [[nodiscard]] base::Result<void> add_to_line(const Run& run);
  [[nodiscard]] base::Result<void> take_from_line(const Run& run);
  [[nodiscard]] base::Result<void> write_places(const std::vector<Held*>& dirty);
  [[nodiscard]] base::Result<void> unfile(const Filed& from, Seq seq);
  [[nodiscard]] base::Result<void> file(const Filed& to, Seq seq);
  [[nodiscard]] base::Result<void> write_leases(const std::vector<Held*>& dirty);
  [[nodiscard]] base::Result<void> write_attempts(const std::vector<Attempt>& attempts);
  [[nodiscard]] base::Result<void> write_queues(const Changes& changes);
  [[nodiscard]] base::Result<void> write_counters(QueueId queue, const Counters& counters);

  Records& records_;
  LineWindows& windows_;
  Db* db_ = nullptr;
  BatchRows batch_message_, batch_plain_message_, batch_lease_, batch_plain_lease_;
  Statement insert_messages_, insert_plain_messages_, update_message_, delete_message_,
      delete_messages_;
  Statement replace_detail_, delete_detail_, insert_tag_, delete_tag_;
  Statement find_run_, insert_run_, lengthen_run_, behead_run_, delete_runs_;
  Statement insert_scheduled_, delete_scheduled_, insert_finished_, delete_finished_;
  Statement insert_parked_, delete_parked_;
  Statement insert_leases_, insert_plain_leases_, replace_leases_, delete_lease_, delete_leases_;
  Statement replace_attempt_, trim_attempts_, delete_attempts_;
  Statement insert_waste_, delete_waste_;
  Statement insert_queue_, update_queue_, delete_queue_, replace_counter_, delete_counter_;
  MetaRows meta_;

  // Kept for their capacity.
  std::vector<LinePlace> line_removals_;
  std::vector<LinePlace> line_inserts_;
  std::vector<Seq> seqs_;
};

}  // namespace rq::store::sqlite
