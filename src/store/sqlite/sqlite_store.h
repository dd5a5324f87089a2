#pragma once
// The store on one SQLite file. See core/store.h for the port, docs/STORAGE.md for the tables.
//
// The engine changes records in memory; commit() works out what that means for the tables. A
// message that is put, leased and finished within one batch is never written at all. It is a late
// store: looks read what is not in memory, so load() has little to do.
//
// Thread: engine. Faults: see db.h.
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/store.h"
#include "store/sqlite/damage.h"
#include "store/sqlite/db.h"
#include "store/sqlite/firsts.h"
#include "store/sqlite/identity.h"
#include "store/sqlite/lines.h"
#include "store/sqlite/log.h"
#include "store/sqlite/meta.h"
#include "store/sqlite/open.h"
#include "store/sqlite/rebuild_files.h"
#include "store/sqlite/records.h"
#include "store/sqlite/room.h"
#include "store/sqlite/same_files.h"
#include "store/sqlite/timer_rows.h"
#include "store/sqlite/writer.h"
#include "store/sqlite/writer_vfs.h"

namespace rq::store::sqlite {

class SqliteStore final : public Store {
 public:
  SqliteStore(std::filesystem::path file, const Options& options,
              FileCalls& calls = FileCalls::real())
      : file_(std::move(file)),
        options_(options),
        identity_(file_),
        rebuild_files_(file_, calls),
        room_(file_, options.room_bytes) {}
  ~SqliteStore() override;

  [[nodiscard]] Result<void> open() override;
  [[nodiscard]] Boot boot() const override { return boot_; }
  [[nodiscard]] bool late() const override { return true; }
  [[nodiscard]] int rounds_max() const override;
  [[nodiscard]] Result<std::vector<Queue>> queues() override;

  [[nodiscard]] Result<void> load(const Needs& needs) override;
  [[nodiscard]] Committed commit(Sync sync) override;
  void abort() override;

  [[nodiscard]] Result<Record*> find(Seq seq) override;
  [[nodiscard]] Result<Record*> find_key(std::string_view client_key) override;
  [[nodiscard]] Result<std::optional<LineKey>> peek(QueueId queue) override;
  [[nodiscard]] Result<Record*> take(QueueId queue) override;
  [[nodiscard]] LineKey known(QueueId /*queue*/) const override { return kBehindAll; }
  [[nodiscard]] Result<Record*> first(QueueId queue, Place place) override;
  [[nodiscard]] Result<bool> more(QueueId /*queue*/, Place /*place*/) override { return false; }
  [[nodiscard]] Result<Record*> next_ended() override;
  [[nodiscard]] Result<Record*> next_due() override;
  [[nodiscard]] std::vector<Timer> due_timers() override { return timers_.due(now_, due_max_); }

  [[nodiscard]] Seq next_number() override;
  Record& insert(Message&& message) override;
  void changed(Record& record, Change change) override;
  void erase(Record& record) override;
  QueueId insert(const Queue& queue) override;
  void changed(const Queue& queue) override { changes_.queues[queue.id].row = queue; }
  void counted(const Queue& queue) override { changes_.queues[queue.id].counters = queue.counters; }
  void erase(const Queue& queue) override;
  void append(Attempt&& attempt) override { changes_.attempts.push_back(std::move(attempt)); }
  void arm(const Timer& timer) override { timers_.arm(timer); }
  void disarm(const Timer& timer) override { timers_.disarm(timer); }
  void forget_waste(const std::vector<std::string>& folders) override;

  [[nodiscard]] Result<void> examine(const core::Suspect& suspect) override;
  [[nodiscard]] std::vector<SetAside> take_set_aside() override {
    return std::exchange(set_aside_, {});
  }
  [[nodiscard]] std::int64_t set_aside_count() const override { return set_aside_count_; }
  [[nodiscard]] Result<void> request_rebuild(RebuildWhen when) override;
  [[nodiscard]] std::vector<std::string> take_reports() override {
    return std::exchange(reports_, {});
  }

  [[nodiscard]] Instant next_deadline() const override;
  [[nodiscard]] Condition condition() const override {
    return {.wants_maintenance = log_.wants_copying(), .no_room = room_.none()};
  }
  void maintain() override;

 private:
  static constexpr const char* kBadPage = "a page of it is damaged";

  [[nodiscard]] Result<void> open_or_go_on();
  [[nodiscard]] Result<void> check_are_files() const;
  [[nodiscard]] Result<void> open_file();
  [[nodiscard]] Result<void> rebuild(const std::string& why);
  [[nodiscard]] static base::Error rebuilt_now();
  // The next open() does it.
  [[nodiscard]] base::Error rebuild_at_once();
  void mend_log();
  void leave_log(const std::string& why);
  [[nodiscard]] Result<void> judge(SameFiles::Seen&& seen);
  [[nodiscard]] Result<void> check_files();
  [[nodiscard]] std::string save_log();
  [[nodiscard]] Result<void> prepare();
  [[nodiscard]] Result<void> read_numbers(const Remembered& remembered);
  [[nodiscard]] Result<void> take_boot();
  [[nodiscard]] Result<void> read_queue_ids();
  [[nodiscard]] Result<void> read_leases();
  [[nodiscard]] Result<void> read_due(std::int64_t n);
  [[nodiscard]] Result<void> shift_leases(Millis by);
  [[nodiscard]] Result<Record*> find(const core::Suspect& suspect);
  [[nodiscard]] Result<Record*> find_stored(const core::Suspect& suspect);
  [[nodiscard]] std::optional<bool> hides_rows();
  [[nodiscard]] Result<bool> is_for_rebuild();
  [[nodiscard]] Result<void> set_aside(const core::Suspect& suspect, const std::string& why);
  [[nodiscard]] Result<void> wipe(Seq seq, const std::vector<Filed>& places);
  void mark_dirty(Held& held);
  void file(Held& held);
  void refile(Held& held);
  void forget_batch();
  void save_at_end();

  [[nodiscard]] Result<void> ensure_transaction();
  [[nodiscard]] Result<void> keep_reading();
  void stop_reading();
  [[nodiscard]] Result<bool> write_and_commit(Sync sync, bool& in_commit);

  const std::filesystem::path file_;
  const Options options_;
  Identity identity_;
  SameFiles files_;
  std::optional<base::Error> lost_;  // they are not those any more: it can go on no more
  std::chrono::steady_clock::time_point next_look_;  // at them
  RebuildFiles rebuild_files_;
  std::vector<std::string> reports_;
  Room room_;
  Boot boot_ = 0;
  Boot first_boot_ = 0;  // of this object: older ones belong to an earlier start of the server
  Boot boots_end_ = 0;   // boots are set aside up to here

  Records records_;
  // The writer's rows must outlive the connection, and so must the VFS.
  WriterVfs writer_vfs_;
  Lines lines_{records_};
  Writer writer_{records_, lines_.windows()};
  Db db_;
  Log log_{db_, writer_vfs_.heads()};
  Firsts firsts_{records_};
  TimerRows timers_;
  Damage damage_;

  // All statements, prepared when the file is opened and kept for life.
  struct Statements {
    Statement begin, commit, rollback, read;
    Statement find, find_key, due, min_due, all_queues, all_leases, shift_leases;
  } sql_;
  MetaRows meta_rows_;

  // Of the batch:
  bool in_batch_ = false;
  bool in_transaction_ = false;
  std::string rebuild_why_;      // why the next open() rebuilds the store; empty: it does not
  bool reading_ = false;         // sql_.read is not finished
  bool rebuild_failed_ = false;  // the last one: nothing is set aside before there is another
  Instant now_{};
  std::int64_t due_max_ = 0;
  std::int64_t ended_left_ = 0;
  std::vector<core::Suspect> due_;  // in reverse
  Changes changes_;
  std::vector<SetAside> set_aside_;
  std::optional<bool> hides_rows_;  // when it was looked at
  core::Instant looked_at_{};
  std::unordered_map<std::string, Held*> new_keys_;

  void skip_what_was_given();

  // Numbers are set aside in the table in blocks: [next_, block_end_).
  Seq next_ = 1;
  Seq block_end_ = 0;
  QueueId last_queue_ = 0;
  std::unordered_set<QueueId> queue_ids_;  // all that there are

  Instant soon_at_ = Instant::max();  // what was committed with Sync::soon is to be synced then

  // When each lease ends, of all there are: ms and number. An index in the table would cost a page
  // a commit; leases are few beside messages, and read once when the store is opened.
  std::set<std::pair<std::int64_t, Seq>> ends_;
  std::set<Seq> orphans_;  // leases of connections that an earlier start of the server had
  std::int64_t set_aside_count_ = 0;
  Seq crc_from_ = 0;     // messages from here on have a checksum
  Instant due_floor_{};  // nothing is due before this; it may be too early, never too late
};

}  // namespace rq::store::sqlite
