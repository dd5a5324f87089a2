#pragma once
// The store on one SQLite file. See store/store.h for the contract, docs/STORAGE.md for the tables.
//
// The engine changes records in memory; flush() works out what that means for the tables. A message
// that is put, leased and finished within one batch is never written at all.
//
// Thread: engine. Faults: see db.h.
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/store.h"
#include "store/sqlite/batch_rows.h"
#include "store/sqlite/checkpointer.h"
#include "store/sqlite/db.h"
#include "store/sqlite/line.h"
#include "store/sqlite/open.h"
#include "store/sqlite/ready_windows.h"
#include "store/sqlite/writer_vfs.h"

namespace rq::store::sqlite {

class SqliteStore final : public Store {
 public:
  [[nodiscard]] Result<void> open(const std::filesystem::path& file, const Options& options);
  ~SqliteStore() override;

  [[nodiscard]] core::Boot boot() const override { return boot_; }

  [[nodiscard]] Result<void> begin() override;
  [[nodiscard]] Result<void> commit(Sync sync) override;
  void abort() override;
  [[nodiscard]] bool wants_maintenance() const override;
  void maintain() override;

  [[nodiscard]] Result<Seq> next_seq() override;
  Record& insert(Message&& message) override;
  [[nodiscard]] Result<Record*> find(Seq seq) override;
  [[nodiscard]] Result<Record*> find_key(std::string_view client_key) override;
  void changed(Record& record, Change change) override;
  void erase(Record& record) override;
  void insert(Attempt&& attempt) override;

  [[nodiscard]] Result<Record*> next_ready(QueueId queue) override;
  [[nodiscard]] Result<std::optional<Store::ReadyKey>> peek_ready(QueueId queue) override;
  [[nodiscard]] Result<Record*> next_due(Instant now) override;
  [[nodiscard]] Result<Record*> next_scheduled(QueueId queue) override;
  [[nodiscard]] Result<Record*> next_expired(Instant now) override;
  [[nodiscard]] Result<Record*> next_buried(QueueId queue) override;
  [[nodiscard]] Result<Record*> oldest_finished(QueueId queue, bool err) override;
  [[nodiscard]] Result<Record*> any_message(QueueId queue) override;
  [[nodiscard]] Result<Record*> orphan_lease() override;
  [[nodiscard]] Result<void> shift_leases(base::Millis by) override;
  [[nodiscard]] Result<std::optional<Instant>> next_deadline() override;

  [[nodiscard]] Result<std::vector<Queue>> queues() override;
  [[nodiscard]] Result<void> insert(Queue& queue) override;
  void update(const Queue& queue) override;
  void update_counters(const Queue& queue) override;
  void erase(const Queue& queue) override;
  [[nodiscard]] Result<void> forget_waste(const std::vector<std::string>& folders) override;

 private:
  // Where a message is filed: in at most one place of the narrow tables (the last three are kinds
  // of `finished`).
  enum class Where : std::uint8_t { nowhere, ready, scheduled, lease, kept, err, buried };
  struct Place {
    Where where = Where::nowhere;
    QueueId queue = 0;
    std::int64_t key = 0;  // rank, due, end of the lease, or when it finished
    friend bool operator==(const Place&, const Place&) = default;
  };
  struct Held final : Record {
    Place now;              // as the engine left it
    Place stored;           // as the tables say
    bool in_table = false;  // it has a row in message
    bool has_detail = false;
    bool tagged = false;
    bool attempted = false;  // it may have rows in attempt
    bool dirty = false;      // in dirty_
    bool whole = false;      // its row must be written
    bool lease_changed = false;
    bool erased = false;
    std::uint64_t batch = 0;  // the last one that used it
  };

  struct LinePlace {
    QueueId queue;
    sqlite::ReadyKey key;
  };
  // Of one queue and rank: the numbers from first to last.
  struct Run {
    QueueId queue;
    std::int64_t rank;
    Seq first;
    Seq last;
  };

  [[nodiscard]] static Place place_of(const Message& message);
  [[nodiscard]] Held& hold(Message&& message);
  [[nodiscard]] Held* held(Seq seq);
  Held& hold_stored(Message&& message);
  void mark_dirty(Held& held);
  void refile(Held& held);
  [[nodiscard]] Result<void> read_deadlines();
  [[nodiscard]] Result<void> read_on(QueueId queue);
  [[nodiscard]] Result<LineRows> rows_behind(QueueId queue, const sqlite::ReadyKey& after);
  void look_ahead();
  [[nodiscard]] Result<Record*> first_of(Statement& query);
  [[nodiscard]] Result<Record*> find_stored(Seq seq);

  [[nodiscard]] Result<void> prepare();
  [[nodiscard]] Result<void> ensure_transaction();
  [[nodiscard]] Result<void> keep_reading();
  void stop_reading();
  [[nodiscard]] Result<void> flush();
  [[nodiscard]] Result<void> flush_messages();
  [[nodiscard]] Result<void> flush_ready();
  [[nodiscard]] Result<void> add_to_line(const Run& run);
  [[nodiscard]] Result<void> take_from_line(const Run& run);
  [[nodiscard]] Result<void> flush_scheduled();
  [[nodiscard]] Result<void> flush_finished();
  [[nodiscard]] static std::string_view kind_of(Where where);
  [[nodiscard]] Result<void> flush_leases();
  [[nodiscard]] Result<void> flush_attempts();
  [[nodiscard]] Result<void> flush_queues();
  [[nodiscard]] Result<void> write_detail(Held& held);
  [[nodiscard]] Result<void> delete_rows_of(Held& held);
  [[nodiscard]] Result<void> start_log();
  [[nodiscard]] bool pass_beside();
  [[nodiscard]] Result<void> sync_log();
  [[nodiscard]] Result<void> renew_log();
  void drop_resting();
  void drop_records();

  Options options_;
  core::Boot boot_ = 0;
  // Used by db_, which must go first; the rows by the statements that insert.
  BatchRows batch_message_;
  BatchRows batch_lease_;
  WriterVfs writer_vfs_;
  Db db_;
  // Threads of their own; null without Options::threads.
  std::unique_ptr<Checkpointer> checkpointer_;
  std::unique_ptr<LineAhead> ahead_;

  // All statements, prepared at open() and kept for life.
  struct Statements {
    Statement begin, commit, rollback, read;
    Statement find, find_key;
    Statement insert_messages, update_message, delete_message, delete_messages;
    Statement replace_detail, delete_detail;
    Statement find_run, insert_run, lengthen_run, behead_run, delete_runs;
    Statement insert_scheduled, delete_scheduled;
    Statement insert_finished, delete_finished, first_finished;
    Statement insert_leases, replace_leases, delete_lease, delete_leases;
    Statement replace_attempt, trim_attempts, delete_attempts;
    Statement insert_tag, delete_tag, insert_waste, delete_waste;
    Statement next_due, next_scheduled;
    Statement any_message, orphan_lease, shift_leases, min_due, all_leases;
    Statement insert_queue, update_queue, delete_queue, replace_counter, delete_counter;
    Statement set_next_seq;
  } sql_;

  // Records by seq. One that the next batches are likely to name stays here after its batch, until
  // another one needs its slot or the byte bound is passed.
  std::vector<std::unique_ptr<Held>> slots_;
  std::unordered_map<Seq, std::unique_ptr<Held>> overflow_;  // of the batch: its slot is in use
  std::size_t held_bytes_ = 0;
  ReadyWindows windows_;
  LineQuery line_;
  std::optional<LinePart> ahead_part_;  // what ahead_ reads or has read, if that is still wanted

  // Of the batch:
  std::uint64_t batch_ = 0;
  bool in_transaction_ = false;
  bool reading_ = false;       // sql_.read is not finished
  bool unsynced_ = false;      // a commit is not on disk yet
  bool log_in_doubt_ = false;  // a sync failed: renew_log() before anything else
  bool new_block_ = false;     // sequence numbers were set aside
  std::optional<QueueId> line_used_;
  std::vector<Held*> dirty_;
  std::vector<Seq> written_;  // by flush(), not erased
  std::vector<Attempt> attempts_;
  std::unordered_map<std::string, Held*> new_keys_;
  std::vector<Queue> changed_queues_;
  std::vector<std::pair<QueueId, core::Counters>> changed_counters_;
  std::vector<QueueId> erased_queues_;

  // Used by flush(), kept for their capacity.
  std::vector<LinePlace> ready_removals_;
  std::vector<LinePlace> ready_inserts_;
  std::vector<Seq> seqs_;

  // Sequence numbers are set aside in the table in blocks: [next_, block_end_).
  Seq next_ = 1;
  Seq block_end_ = 0;

  // The write-ahead log, as of the last commit.
  std::int64_t log_frames_ = 0;
  std::int64_t page_bytes_ = 4096;
  int passes_ = 0;  // begun by the checkpointer since the log was to be copied

  // When each lease ends, of all there are: ms and seq. An index in the table would cost a page a
  // commit; leases are few beside messages, and read once when the store is opened.
  std::set<std::pair<std::int64_t, Seq>> deadlines_;
  bool deadlines_known_ = false;
  // Nothing is due before this; it may be too early, never too late.
  Instant due_floor_{};
};

}  // namespace rq::store::sqlite
