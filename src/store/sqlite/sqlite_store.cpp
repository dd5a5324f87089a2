#include "store/sqlite/sqlite_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/check.h"
#include "base/limits.h"
#include "store/sqlite/rows.h"
#include "store/sqlite/schema.h"

namespace rq::store::sqlite {

using base::Code;

namespace {

// Records kept in memory, a power of two: enough for what is in flight, some 20 MiB with payloads
// of a few hundred bytes.
constexpr std::size_t kSlots = 32'768;
constexpr std::size_t kHeldBytesMax = 24 * base::kMiB;  // payloads of kept records
// Sequence numbers set aside at once: one write of the meta row for so many puts, and at most so
// many numbers left out after a crash.
constexpr Seq kSeqBlock = 10'000;
// A pass beside the engine is the last one when this is left for the engine to copy, or after so
// many.
constexpr std::int64_t kLastPassFrames = 128;
constexpr int kPassesMax = 4;
// Changes of lines kept while a part is read ahead; with more it is not worth waiting for.
constexpr std::size_t kLineChangesMax = 16'384;

}  // namespace

// --- Opening ---

Result<void> SqliteStore::open(const std::filesystem::path& file, const Options& options) {
  options_ = options;
  windows_.set_max(options.line_max);
  RQ_TRY(db_.open(file, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                  writer_vfs_.name()));
  // synchronous=NORMAL and sync_log() after each commit that promises the disk are together what
  // FULL is; apart, they let a lease do without (docs/ARCHITECTURE.md).
  RQ_TRY(db_.exec("PRAGMA busy_timeout = 2000"));
  RQ_TRY(start_log());
  RQ_TRY(db_.exec("PRAGMA synchronous = NORMAL"));
  RQ_TRY(db_.exec("PRAGMA wal_autocheckpoint = 0"));
  RQ_TRY(db_.exec("PRAGMA temp_store = MEMORY"));
  // Debian's build wipes what is deleted, and so writes pages that are about to be used again.
  RQ_TRY(db_.exec("PRAGMA secure_delete = OFF"));
  RQ_TRY(db_.exec(fmt::format("PRAGMA cache_size = -{}", options.cache_bytes / 1024).c_str()));
  RQ_TRY(migrate(db_));
  RQ_TRY_ASSIGN(page_bytes, db_.one("PRAGMA page_size"));
  page_bytes_ = page_bytes.value_or(page_bytes_);
  sqlite3_wal_hook(
      db_.handle(),
      [](void* frames, sqlite3*, const char*, int in_log) {
        *static_cast<std::int64_t*>(frames) = in_log;
        return SQLITE_OK;
      },
      &log_frames_);
  RQ_TRY(prepare());
  slots_.resize(kSlots);

  RQ_TRY(db_.exec("UPDATE meta SET value = value + 1 WHERE key = 'boot'"));
  RQ_TRY_ASSIGN(boot, db_.one("SELECT value FROM meta WHERE key = 'boot'"));
  RQ_TRY_ASSIGN(next, db_.one("SELECT value FROM meta WHERE key = 'next_seq'"));
  RQ_CHECK(boot.has_value() && next.has_value());
  boot_ = *boot;
  next_ = *next;
  block_end_ = next_;
  if (options.threads) {
    RQ_TRY_ASSIGN(checkpointer, open_checkpointer(file));
    checkpointer_ = std::move(checkpointer);
    RQ_TRY_ASSIGN(ahead, open_line_ahead(file));
    ahead_ = std::move(ahead);
  }
  return sync_log();
}

// SQLite stays with another journal, without an error, where a log cannot work.
Result<void> SqliteStore::start_log() {
  Statement mode;
  RQ_TRY(mode.prepare(db_.handle(), "PRAGMA journal_mode = WAL", false));
  RQ_TRY_ASSIGN(found, mode.step());
  if (found && mode.text(0) == "wal") return {};
  return base::fail(
      Code::internal,
      fmt::format("SQLite cannot keep a write-ahead log here: its journal mode is '{}'",
                  found ? mode.text(0) : ""),
      "put the store on a local file system (not a network share)");
}

SqliteStore::~SqliteStore() {
  if (db_.handle() == nullptr || slots_.empty()) return;
  if (in_transaction_) abort();
  // A clean end leaves no gap in the numbers. If it fails there is one: no harm.
  if (block_end_ != next_) {
    static_cast<void>(sql_.set_next_seq.bind(1, next_).run());
    static_cast<void>(sync_log());
  }
}

Result<void> SqliteStore::prepare() {
  const std::string select = fmt::format("SELECT {} FROM ", kMessageColumns);
  const std::string by_seq = select + "message m" + kMessageJoins;
  const std::string counters =
      "prep, scheduled, throttled, depends, que, run, done, relayed, err, cancelled, buried, "
      "puts, dones, errs, retries, losses, cancels, deletes";
  struct Item {
    Statement& statement;
    std::string sql;
  };
  const Item items[] = {
      {sql_.begin, "BEGIN IMMEDIATE"},
      {sql_.commit, "COMMIT"},
      {sql_.rollback, "ROLLBACK"},
      {sql_.read, "SELECT key FROM meta"},
      {sql_.find, by_seq + "WHERE m.seq = ?1"},
      {sql_.find_key, "SELECT seq FROM detail WHERE key = ?1"},
      // OR FAIL: a conflict would be a bug, and fails the batch whole. The default, ABORT, would
      // have SQLite keep a journal for undoing the one statement.
      {sql_.insert_messages, "INSERT OR FAIL INTO message SELECT * FROM batch_message"},
      {sql_.update_message, kUpdateMessage},
      {sql_.delete_message, "DELETE FROM message WHERE seq = ?1"},
      {sql_.delete_messages, "DELETE FROM message WHERE seq BETWEEN ?1 AND ?2"},
      {sql_.replace_detail,
       "INSERT OR REPLACE INTO detail VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,"
       "?16,?17,?18,?19,?20,?21,?22)"},
      {sql_.delete_detail, "DELETE FROM detail WHERE seq = ?1"},
      {sql_.find_run,
       "SELECT first_seq, last_seq FROM ready WHERE queue = ?1 AND rank = ?2 AND last_seq >= ?3 "
       "ORDER BY last_seq LIMIT 1"},
      {sql_.insert_run,
       "INSERT INTO ready (queue, rank, first_seq, last_seq) VALUES (?1,?2,?3,?4)"},
      {sql_.lengthen_run,
       "UPDATE ready SET last_seq = ?4 WHERE queue = ?1 AND rank = ?2 AND last_seq = ?3"},
      {sql_.behead_run,
       "UPDATE ready SET first_seq = ?4 WHERE queue = ?1 AND rank = ?2 AND last_seq = ?3"},
      {sql_.delete_runs,
       "DELETE FROM ready WHERE queue = ?1 AND rank = ?2 AND last_seq BETWEEN ?3 AND ?4"},
      {sql_.insert_scheduled, "INSERT INTO scheduled VALUES (?1,?2,?3)"},
      {sql_.delete_scheduled, "DELETE FROM scheduled WHERE due = ?1 AND seq = ?2"},
      {sql_.insert_leases, "INSERT OR FAIL INTO lease SELECT * FROM batch_lease"},
      {sql_.replace_leases, "INSERT OR REPLACE INTO lease SELECT * FROM batch_lease"},
      {sql_.delete_lease, "DELETE FROM lease WHERE seq = ?1"},
      {sql_.delete_leases, "DELETE FROM lease WHERE seq BETWEEN ?1 AND ?2"},
      {sql_.replace_attempt, "INSERT OR REPLACE INTO attempt VALUES (?1,?2,?3,?4,?5,?6,?7,?8)"},
      {sql_.trim_attempts, "DELETE FROM attempt WHERE seq = ?1 AND number <= ?2"},
      {sql_.delete_attempts, "DELETE FROM attempt WHERE seq = ?1"},
      {sql_.insert_tag, "INSERT OR IGNORE INTO tag VALUES (?1,?2)"},
      {sql_.delete_tag, "DELETE FROM tag WHERE tag = ?1 AND seq = ?2"},
      {sql_.insert_waste, "INSERT OR IGNORE INTO waste VALUES (?1)"},
      {sql_.delete_waste, "DELETE FROM waste WHERE folder = ?1"},
      {sql_.next_due, "SELECT seq FROM scheduled WHERE due <= ?1 ORDER BY due, seq LIMIT 1"},
      {sql_.next_scheduled, "SELECT seq FROM scheduled WHERE queue = ?1 ORDER BY due, seq LIMIT 1"},
      {sql_.insert_finished, "INSERT INTO finished VALUES (?1,?2,?3,?4)"},
      {sql_.delete_finished,
       "DELETE FROM finished WHERE queue = ?1 AND kind = ?2 AND at = ?3 AND seq = ?4"},
      {sql_.first_finished,
       "SELECT seq FROM finished WHERE queue = ?1 AND kind = ?2 ORDER BY at, seq LIMIT 1"},
      {sql_.any_message,
       "SELECT seq FROM (SELECT * FROM (SELECT first_seq AS seq FROM ready WHERE queue = ?1 LIMIT "
       "1) "
       "UNION ALL SELECT * FROM (SELECT seq FROM scheduled WHERE queue = ?1 LIMIT 1) "
       "UNION ALL SELECT * FROM (SELECT seq FROM finished WHERE queue = ?1 LIMIT 1) "
       "UNION ALL SELECT * FROM (SELECT seq FROM message WHERE queue = ?1 LIMIT 1)) LIMIT 1"},
      {sql_.orphan_lease,
       "SELECT seq FROM lease WHERE ends IS NOT NULL AND boot < ?1 ORDER BY seq LIMIT 1"},
      {sql_.shift_leases, "UPDATE lease SET until = until + ?1"},
      {sql_.min_due, "SELECT min(due) FROM scheduled"},
      {sql_.all_leases, "SELECT until, seq FROM lease"},
      {sql_.insert_queue,
       "INSERT INTO queue (name, admin, paused_until, revision, created, on_demand, script_error, "
       "settings) VALUES (?1,?2,?3,?4,?5,?6,?7,?8)"},
      {sql_.update_queue,
       "UPDATE queue SET name = ?1, admin = ?2, paused_until = ?3, revision = ?4, created = ?5, "
       "on_demand = ?6, script_error = ?7, settings = ?8 WHERE id = ?9"},
      {sql_.delete_queue, "DELETE FROM queue WHERE id = ?1"},
      {sql_.replace_counter,
       "INSERT OR REPLACE INTO counter VALUES "
       "(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20)"},
      {sql_.delete_counter, "DELETE FROM counter WHERE queue = ?1"},
      {sql_.set_next_seq, "UPDATE meta SET value = ?1 WHERE key = 'next_seq'"},
  };
  RQ_TRY(batch_message_.attach(db_, "batch_message", kMessageTableColumns, message_column));
  RQ_TRY(batch_lease_.attach(db_, "batch_lease", kLeaseTableColumns, lease_column));
  for (const Item& item : items) RQ_TRY(item.statement.prepare(db_.handle(), item.sql.c_str()));
  return line_.prepare(db_);
}

// --- The batch ---

Result<void> SqliteStore::begin() {
  if (log_in_doubt_) RQ_TRY(renew_log());
  if (!deadlines_known_) RQ_TRY(read_deadlines());
  ++batch_;
  return {};
}

Result<void> SqliteStore::ensure_transaction() {
  if (in_transaction_) return {};
  RQ_TRY(keep_reading());
  RQ_TRY(sql_.begin.run());
  in_transaction_ = true;
  return {};
}

// A query that is not finished: while it stands, SQLite keeps its read lock from one transaction to
// the next, which spares four of the six lock calls of each. Only the start of a new log needs it
// gone.
Result<void> SqliteStore::keep_reading() {
  if (reading_) return {};
  RQ_TRY_ASSIGN(found, sql_.read.step());
  RQ_CHECK(found);
  reading_ = true;
  return {};
}

void SqliteStore::stop_reading() {
  sql_.read.reset();
  reading_ = false;
}

Result<void> SqliteStore::commit(Sync sync) {
  auto work = [&]() -> Result<void> {
    RQ_TRY(flush());
    if (in_transaction_) {
      RQ_TRY(sql_.commit.run());
      in_transaction_ = false;
      unsynced_ = true;
    }
    // Numbers that have been told must not be given again after a loss of power, whatever the
    // messages' own sync class.
    if ((sync == Sync::disk || new_block_) && unsynced_) RQ_TRY(sync_log());
    new_block_ = false;
    return {};
  };
  if (auto done = work(); !done) {
    // SQLite syncs the head of a new log by itself, so any fault but a full disk may be of a sync.
    if (done.error().code != Code::disk_full) log_in_doubt_ = true;
    abort();
    return done;
  }
  for (auto& [seq, held] : overflow_) held_bytes_ -= held->message.payload.size();
  overflow_.clear();
  new_keys_.clear();
  drop_resting();
  windows_.trim();
  if (held_bytes_ > kHeldBytesMax) drop_records();
  look_ahead();
  return {};
}

void SqliteStore::abort() {
  if (in_transaction_) {
    // It may have been rolled back already by the fault itself.
    static_cast<void>(sql_.rollback.run());
    in_transaction_ = false;
  }
  stop_reading();
  drop_records();
  dirty_.clear();
  written_.clear();
  attempts_.clear();
  new_keys_.clear();
  changed_queues_.clear();
  changed_counters_.clear();
  erased_queues_.clear();
  windows_.clear();
  ahead_part_.reset();
  deadlines_known_ = false;
  due_floor_ = Instant{};
  block_end_ = next_;  // the next number sets a new block aside
  new_block_ = false;
}

// Of the records that the batch has written only those stay that the next ones are likely to name:
// the leased ones, and the fronts of the lines. A long line's others would only push each other out
// later, when nothing of them is in the processor's caches any more.
void SqliteStore::drop_resting() {
  for (const Seq seq : written_) {
    auto& slot = slots_[static_cast<std::size_t>(seq) & (kSlots - 1)];
    if (!slot || slot->message.seq != seq || slot->now.where == Where::lease) continue;
    const sqlite::ReadyKey key{.rank = slot->now.key, .seq = seq};
    if (slot->now.where == Where::ready && windows_.covers(slot->now.queue, key)) continue;
    held_bytes_ -= slot->message.payload.size();
    slot.reset();
  }
  written_.clear();
}

void SqliteStore::drop_records() {
  for (auto& slot : slots_) slot.reset();
  overflow_.clear();
  held_bytes_ = 0;
}

Result<void> SqliteStore::sync_log() {
  sqlite3_file* log = nullptr;
  int code = sqlite3_file_control(db_.handle(), "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
  if (code == SQLITE_OK && log != nullptr && log->pMethods != nullptr) {
    code = log->pMethods->xSync(log, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY);
  }
  if (code != SQLITE_OK) {
    log_in_doubt_ = true;
    return fault(nullptr, code, "syncing the log to the disk");
  }
  unsynced_ = false;
  return {};
}

// After a failed sync the kernel takes the lost pages of the log for written, and the next sync
// says nothing about them: what is appended then could stand behind a hole. So every page of the
// log is written once more, which makes the kernel write it again; until that is synced, nothing
// goes on.
Result<void> SqliteStore::renew_log() {
  sqlite3_file* log = nullptr;
  int code = sqlite3_file_control(db_.handle(), "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
  sqlite3_int64 size = 0;
  const bool open = log != nullptr && log->pMethods != nullptr;
  if (code == SQLITE_OK && open) code = log->pMethods->xFileSize(log, &size);
  std::string part;
  for (sqlite3_int64 at = 0; code == SQLITE_OK && at < size;) {
    part.resize(std::min(static_cast<std::size_t>(size - at), kLogPieceBytes));
    const int n = static_cast<int>(part.size());
    code = log->pMethods->xRead(log, part.data(), n, at);
    if (code == SQLITE_OK) code = log->pMethods->xWrite(log, part.data(), n, at);
    at += n;
  }
  if (code != SQLITE_OK) return fault(nullptr, code, "writing the log once more");
  RQ_TRY(sync_log());
  log_in_doubt_ = false;
  return {};
}

bool SqliteStore::wants_maintenance() const {
  const std::int64_t bytes = log_frames_ * page_bytes_;
  if (!checkpointer_) return bytes >= options_.wal_bytes;
  switch (checkpointer_->state()) {
    case Checkpointer::State::idle:
      return bytes >= options_.wal_bytes / 4 * 3;
    case Checkpointer::State::running:
      return bytes >= 2 * options_.wal_bytes;  // it does not keep up
    case Checkpointer::State::done:
      return true;
  }
  return false;
}

void SqliteStore::maintain() {
  if (!wants_maintenance()) return;
  stop_reading();  // only what is behind every reader's place can be copied
  if (checkpointer_ && pass_beside()) return;
  if (ahead_ && ahead_->state() != LineAhead::State::idle) ahead_->wait();
  int frames = 0;
  int copied = 0;
  const int code =
      sqlite3_wal_checkpoint_v2(db_.handle(), "main", SQLITE_CHECKPOINT_PASSIVE, &frames, &copied);
  // Busy or failed: the log grows on, and the next batch tries again. A disk that fails shows in
  // the next batch, whose words go to those who asked.
  if (code == SQLITE_OK && copied == frames) log_frames_ = 0;
  if (code != SQLITE_OK && (code & 0xff) != SQLITE_BUSY) log_in_doubt_ = true;
}

// Has the log copied beside, again and again while much is added meanwhile: what is left at the end
// stops the engine. False: now is the time for that.
bool SqliteStore::pass_beside() {
  if (checkpointer_->state() != Checkpointer::State::idle) {
    const CheckpointDone done = checkpointer_->finish();
    if (done.code != SQLITE_OK) {
      if ((done.code & 0xff) != SQLITE_BUSY) log_in_doubt_ = true;
      passes_ = kPassesMax;
    }
    if (passes_ >= kPassesMax || log_frames_ - done.frames <= kLastPassFrames ||
        log_frames_ * page_bytes_ >= 2 * options_.wal_bytes) {
      passes_ = 0;
      return false;
    }
  }
  ++passes_;
  checkpointer_->start({});
  return true;
}

// --- Records ---

SqliteStore::Place SqliteStore::place_of(const Message& m) {
  switch (m.state) {
    case core::State::que:
      return {.where = Where::ready, .queue = m.queue, .key = -m.priority};
    case core::State::scheduled:
      return {.where = Where::scheduled, .queue = m.queue, .key = base::to_ms(m.due)};
    case core::State::run:
      return {.where = Where::lease, .queue = m.queue, .key = base::to_ms(m.lease->until)};
    case core::State::done:
    case core::State::relayed:
    case core::State::cancelled:
      return {.where = Where::kept, .queue = m.queue, .key = base::to_ms(m.finished)};
    case core::State::err:
      return {.where = m.mark == core::Mark::buried ? Where::buried : Where::err,
              .queue = m.queue,
              .key = base::to_ms(m.finished)};
    case core::State::prep:
    case core::State::throttled:
    case core::State::depends:
      return {.where = Where::nowhere, .queue = m.queue, .key = 0};
  }
  return {};
}

SqliteStore::Held* SqliteStore::held(Seq seq) {
  Held* found = slots_[static_cast<std::size_t>(seq) & (kSlots - 1)].get();
  if (found == nullptr || found->message.seq != seq) {
    if (overflow_.empty()) return nullptr;
    const auto at = overflow_.find(seq);
    if (at == overflow_.end()) return nullptr;
    found = at->second.get();
  }
  found->batch = batch_;
  return found;
}

SqliteStore::Held& SqliteStore::hold(Message&& message) {
  const Seq seq = message.seq;
  auto& slot = slots_[static_cast<std::size_t>(seq) & (kSlots - 1)];
  Held* held = nullptr;
  if (slot && (slot->batch == batch_ || slot->dirty)) {
    auto& place = overflow_[seq];
    place = std::make_unique<Held>();
    held = place.get();
  } else {
    if (slot) {
      held_bytes_ -= slot->message.payload.size();
      *slot = Held{};
    } else {
      slot = std::make_unique<Held>();
    }
    held = slot.get();
  }
  held->message = std::move(message);
  held->batch = batch_;
  held_bytes_ += held->message.payload.size();
  return *held;
}

void SqliteStore::mark_dirty(Held& held) {
  if (held.dirty) return;
  held.dirty = true;
  dirty_.push_back(&held);
}

// Files it where its state says, in memory.
void SqliteStore::refile(Held& held) {
  const Place place = held.erased ? Place{} : place_of(held.message);
  const Seq seq = held.message.seq;
  if (place == held.now) {
    if (place.where == Where::ready) windows_.touch(place.queue, {.rank = place.key, .seq = seq});
    return;
  }
  if (held.now.where == Where::ready) {
    windows_.erase(held.now.queue, {.rank = held.now.key, .seq = seq});
  }
  if (held.now.where == Where::lease) deadlines_.erase({held.now.key, seq});
  held.now = place;
  if (place.where == Where::ready) {
    windows_.insert(place.queue, {.rank = place.key, .seq = seq});
  }
  if (place.where == Where::lease) deadlines_.emplace(place.key, seq);
  if (place.where == Where::scheduled) due_floor_ = std::min(due_floor_, held.message.due);
}

Result<Seq> SqliteStore::next_seq() {
  if (next_ >= block_end_) {
    RQ_TRY(ensure_transaction());
    RQ_TRY(sql_.set_next_seq.bind(1, next_ + kSeqBlock).run());
    block_end_ = next_ + kSeqBlock;
    new_block_ = true;
  }
  return next_++;
}

Record& SqliteStore::insert(Message&& message) {
  Held& held = hold(std::move(message));
  held.whole = true;
  if (held.message.details && !held.message.details->key.empty()) {
    new_keys_[held.message.details->key] = &held;
  }
  refile(held);
  mark_dirty(held);
  return held;
}

SqliteStore::Held& SqliteStore::hold_stored(Message&& message) {
  Held& loaded = hold(std::move(message));
  loaded.in_table = true;
  loaded.has_detail = loaded.message.details != nullptr;
  loaded.tagged = true;
  loaded.attempted = loaded.message.attempts > 0;
  loaded.stored = place_of(loaded.message);
  loaded.now = loaded.stored;
  return loaded;
}

Result<Record*> SqliteStore::find(Seq seq) {
  if (Held* known = held(seq)) return known->erased ? nullptr : static_cast<Record*>(known);
  if (seq <= 0 || seq >= next_) return static_cast<Record*>(nullptr);
  return find_stored(seq);
}

Result<Record*> SqliteStore::find_stored(Seq seq) {
  sql_.find.bind(1, seq);
  RQ_TRY_ASSIGN(found, sql_.find.step());
  if (!found) return static_cast<Record*>(nullptr);
  auto message = read_message(sql_.find);
  sql_.find.reset();
  if (!message) return std::move(message).error();
  return static_cast<Record*>(&hold_stored(std::move(*message)));
}

Result<Record*> SqliteStore::find_key(std::string_view client_key) {
  if (!new_keys_.empty()) {
    const auto found = new_keys_.find(std::string{client_key});
    if (found != new_keys_.end()) return static_cast<Record*>(found->second);
  }
  sql_.find_key.bind(1, client_key);
  RQ_TRY_ASSIGN(found, sql_.find_key.step());
  if (!found) return static_cast<Record*>(nullptr);
  const Seq seq = sql_.find_key.integer(0);
  sql_.find_key.reset();
  return find(seq);
}

void SqliteStore::changed(Record& record, Change change) {
  Held& held = static_cast<Held&>(record);
  RQ_CHECK(!held.erased);
  if (change == Change::whole) held.whole = true;
  if (held.message.state == core::State::run) held.lease_changed = true;
  refile(held);
  mark_dirty(held);
}

void SqliteStore::erase(Record& record) {
  Held& held = static_cast<Held&>(record);
  RQ_CHECK(!held.erased);
  held.erased = true;
  if (const auto& details = held.message.details; details && !details->key.empty()) {
    new_keys_.erase(details->key);
  }
  refile(held);
  mark_dirty(held);
}

void SqliteStore::insert(Attempt&& attempt) { attempts_.push_back(std::move(attempt)); }

// --- What is next ---

// Fills the window with the keys behind those that it has had, and holds the messages. What has
// been read is as of the last flush, or older when it was read ahead.
Result<void> SqliteStore::read_on(QueueId queue) {
  auto& window = windows_.of(queue);
  const sqlite::ReadyKey after = window.loaded ? window.bound : kBeforeAll;
  RQ_TRY_ASSIGN(rows, rows_behind(queue, after));
  const auto key_of = [](const Message& m) {
    return sqlite::ReadyKey{.rank = -m.priority, .seq = m.seq};
  };
  window.loaded = true;
  window.complete = rows.complete;
  window.bound = rows.messages.empty() ? after : std::max(after, key_of(rows.messages.back()));
  window.keys.clear();
  const auto changes = windows_.changes(queue, after, window.complete ? kBehindAll : window.bound);
  auto change = changes.begin();
  const auto take_change = [&] {
    if (change->ready) window.keys.push_back(change->key);
    ++change;
  };
  for (Message& message : rows.messages) {
    const sqlite::ReadyKey key = key_of(message);
    if (key <= after) continue;
    while (change != changes.end() && change->key < key) take_change();
    if (change != changes.end() && change->key == key) {
      take_change();
      continue;
    }
    window.keys.push_back(key);
    if (held(message.seq) == nullptr) hold_stored(std::move(message));
  }
  while (change != changes.end()) take_change();
  return {};
}

// From `after` on, or from some place before it.
Result<LineRows> SqliteStore::rows_behind(QueueId queue, const sqlite::ReadyKey& after) {
  const bool here = ahead_part_ && ahead_part_->queue == queue && ahead_part_->after <= after;
  if (here && ahead_->state() == LineAhead::State::done) {
    ahead_part_.reset();
    // Whatever the fault was, the own connection can try.
    if (auto rows = ahead_->finish()) return rows;
  }
  return line_.read({.queue = queue, .after = after, .rows = options_.line_read});
}

// After a commit: has the next part of the line that the batch has used read, if it will soon be
// wanted.
void SqliteStore::look_ahead() {
  const std::optional<QueueId> used = std::exchange(line_used_, std::nullopt);
  if (ahead_part_) {
    const auto& window = windows_.of(ahead_part_->queue);
    if (window.loaded && window.bound >= ahead_part_->after &&
        windows_.change_count() <= kLineChangesMax) {
      return;
    }
    ahead_part_.reset();
  }
  windows_.forget_changes();
  // Not now when the log is to start anew: that waits for all who read.
  if (!ahead_ || ahead_->state() == LineAhead::State::running || !used || wants_maintenance()) {
    return;
  }
  if (ahead_->state() == LineAhead::State::done) static_cast<void>(ahead_->finish());
  const auto& window = windows_.of(*used);
  if (!window.loaded || window.complete || window.keys.size() > options_.line_ahead / 2) return;
  ahead_part_ = {.queue = *used, .after = window.bound, .rows = options_.line_ahead};
  ahead_->start(*ahead_part_);
}

Result<std::optional<Store::ReadyKey>> SqliteStore::peek_ready(QueueId queue) {
  auto& window = windows_.of(queue);
  while (!window.loaded || (window.keys.empty() && !window.complete)) RQ_TRY(read_on(queue));
  if (window.keys.empty()) return std::optional<Store::ReadyKey>{};
  return std::optional{
      Store::ReadyKey{.priority = -window.keys.front().rank, .seq = window.keys.front().seq}};
}

Result<Record*> SqliteStore::next_ready(QueueId queue) {
  RQ_TRY_ASSIGN(key, peek_ready(queue));
  if (!key) return static_cast<Record*>(nullptr);
  line_used_ = queue;
  RQ_TRY_ASSIGN(record, find(key->seq));
  RQ_CHECK(record != nullptr && record->message.state == core::State::que);
  return record;
}

// The record that `query` (bound, one row, one column) names; null without a row.
Result<Record*> SqliteStore::first_of(Statement& query) {
  RQ_TRY_ASSIGN(found, query.step());
  if (!found) return static_cast<Record*>(nullptr);
  const Seq seq = query.integer(0);
  query.reset();
  return find(seq);
}

Result<Record*> SqliteStore::next_due(Instant now) {
  if (now < due_floor_) return static_cast<Record*>(nullptr);
  RQ_TRY(flush());
  RQ_TRY_ASSIGN(record, first_of(sql_.next_due.bind(1, base::to_ms(now))));
  if (record == nullptr) {
    RQ_TRY_ASSIGN(found, sql_.min_due.step());
    due_floor_ = found && !sql_.min_due.is_null(0) ? sql_.min_due.instant(0) : Instant::max();
    sql_.min_due.reset();
  }
  return record;
}

Result<Record*> SqliteStore::next_expired(Instant now) {
  if (deadlines_.empty() || deadlines_.begin()->first > base::to_ms(now)) {
    return static_cast<Record*>(nullptr);
  }
  RQ_TRY_ASSIGN(record, find(deadlines_.begin()->second));
  RQ_CHECK(record != nullptr && record->message.state == core::State::run);
  return record;
}

Result<void> SqliteStore::read_deadlines() {
  deadlines_.clear();
  for (;;) {
    RQ_TRY_ASSIGN(found, sql_.all_leases.step());
    if (!found) break;
    deadlines_.emplace(sql_.all_leases.integer(0), sql_.all_leases.integer(1));
  }
  deadlines_known_ = true;
  return {};
}

Result<std::optional<Instant>> SqliteStore::next_deadline() {
  const Instant until =
      deadlines_.empty() ? Instant::max() : base::from_ms(deadlines_.begin()->first);
  const Instant at = std::min(until, due_floor_);
  if (at == Instant::max()) return std::optional<Instant>{};
  return std::optional{at};
}

Result<Record*> SqliteStore::next_scheduled(QueueId queue) {
  RQ_TRY(flush());
  return first_of(sql_.next_scheduled.bind(1, queue));
}

Result<Record*> SqliteStore::next_buried(QueueId queue) {
  RQ_TRY(flush());
  return first_of(sql_.first_finished.bind(1, queue).bind(2, kind_of(Where::buried)));
}

Result<Record*> SqliteStore::oldest_finished(QueueId queue, bool err) {
  RQ_TRY(flush());
  const Where where = err ? Where::err : Where::kept;
  return first_of(sql_.first_finished.bind(1, queue).bind(2, kind_of(where)));
}

Result<Record*> SqliteStore::any_message(QueueId queue) {
  RQ_TRY(flush());
  return first_of(sql_.any_message.bind(1, queue));
}

Result<Record*> SqliteStore::orphan_lease() {
  RQ_TRY(flush());
  return first_of(sql_.orphan_lease.bind(1, boot_));
}

Result<void> SqliteStore::shift_leases(base::Millis by) {
  RQ_TRY(flush());
  RQ_TRY(ensure_transaction());
  RQ_TRY(sql_.shift_leases.bind(1, by.count()).run());
  const auto shift = [by](Held& held) {
    if (held.message.lease) held.message.lease->until += by;
    for (Place* place : {&held.now, &held.stored}) {
      if (place->where == Where::lease) place->key += by.count();
    }
  };
  for (auto& slot : slots_) {
    if (slot) shift(*slot);
  }
  for (auto& [seq, held] : overflow_) shift(*held);
  return read_deadlines();
}

// --- Queues ---

Result<std::vector<Queue>> SqliteStore::queues() {
  Statement all;
  RQ_TRY(all.prepare(
      db_.handle(),
      "SELECT q.id, q.name, q.admin, q.paused_until, q.revision, q.created, q.on_demand, "
      "q.script_error, q.settings, c.prep, c.scheduled, c.throttled, c.depends, c.que, c.run, "
      "c.done, c.relayed, c.err, c.cancelled, c.buried, c.puts, c.dones, c.errs, c.retries, "
      "c.losses, c.cancels, c.deletes, c.urgent FROM queue q LEFT JOIN counter c ON c.queue = q.id "
      "ORDER BY q.id",
      false));
  std::vector<Queue> out;
  for (;;) {
    RQ_TRY_ASSIGN(found, all.step());
    if (!found) return out;
    RQ_TRY_ASSIGN(queue, read_queue(all));
    out.push_back(std::move(queue));
  }
}

void SqliteStore::update(const Queue& queue) { changed_queues_.push_back(queue); }

void SqliteStore::update_counters(const Queue& queue) {
  changed_counters_.emplace_back(queue.id, queue.counters);
}

void SqliteStore::erase(const Queue& queue) {
  erased_queues_.push_back(queue.id);
  windows_.forget(queue.id);
}

Result<void> SqliteStore::forget_waste(const std::vector<std::string>& folders) {
  RQ_TRY(ensure_transaction());
  for (const std::string& folder : folders) RQ_TRY(sql_.delete_waste.bind(1, folder).run());
  return {};
}

}  // namespace rq::store::sqlite
