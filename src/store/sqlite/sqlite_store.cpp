#include "store/sqlite/sqlite_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "store/sqlite/rebuild.h"
#include "store/sqlite/rows.h"
#include "store/sqlite/schema.h"
#include "store/sqlite/store_files.h"

namespace rq::store::sqlite {

using base::Code;

namespace {

// Numbers set aside at once: one write of the meta row for so many puts, and at most so many
// numbers left out after a crash. The same for boots.
constexpr Seq kNumberBlock = 10'000;
constexpr Boot kBootBlock = 16;
// Between two looks whether the files are those that were opened; each sync looks as well. So short
// that the last turn of the engine looks once more.
constexpr std::chrono::milliseconds kLookAtFiles{50};
}  // namespace

// --- Opening ---

Result<void> SqliteStore::open() {
  auto opened = open_or_go_on();
  // The next opening of the file makes it anew.
  if (!opened && (is_damage(db_) || lacks_schema(db_))) {
    rebuild_files_.mark(opened.error().message);
  }
  return opened;
}

Result<void> SqliteStore::open_or_go_on() {
  if (db_.handle() == nullptr) {
    RQ_TRY(open_file());
  } else {
    abort();
    RQ_TRY(check_files());
    if (const std::string why = std::exchange(rebuild_why_, {}); !why.empty()) RQ_TRY(rebuild(why));
  }
  RQ_TRY(log_.renew_if_in_doubt());
  if (!log_.unsynced()) soon_at_ = Instant::max();
  RQ_TRY(take_boot());
  RQ_TRY(timers_.load());
  RQ_TRY_ASSIGN(set_aside, damage_.count());
  set_aside_count_ = set_aside;
  RQ_TRY(read_queue_ids());
  return read_leases();
}

// Reading from a pipe that somebody has put there would wait for ever.
Result<void> SqliteStore::check_are_files() const {
  const auto check = [](const std::filesystem::path& path, std::string_view instead) {
    std::error_code error;
    const auto status = std::filesystem::status(path, error);
    if (!std::filesystem::exists(status) || std::filesystem::is_regular_file(status)) {
      return Result<void>{};
    }
    return Result<void>{base::fail(Code::internal, fmt::format("{} is not a file", path.string()),
                                   fmt::format("move it away{}", instead))};
  };
  for (const std::filesystem::path& path : store_files(file_).all()) {
    RQ_TRY(check(path, ", and put back what was there: a copy of the store, or nothing"));
  }
  for (const std::filesystem::path& path : {rebuild_mark(file_), room_.file()}) {
    RQ_TRY(check(path, ""));
  }
  return {};
}

Result<void> SqliteStore::open_file() {
  RQ_TRY(check_are_files());
  room_.look(true);  // opening writes, too
  RQ_TRY(rebuild_files_.finish());
  RQ_TRY(identity_.check_file());
  RQ_TRY_ASSIGN(remembered, identity_.read());
  RQ_TRY_ASSIGN(report, rebuild_if_damaged(rebuild_files_, remembered));
  if (!report.empty()) reports_.push_back(std::move(report));
  keep_private(file_);
  RQ_TRY(db_.open(file_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                  writer_vfs_.name()));
  RQ_TRY(db_.exec(kWaitForOthers));
  RQ_TRY(log_.open(options_.wal_bytes));
  // synchronous=NORMAL and Log::sync() after each commit that promises the disk are together what
  // FULL is; apart, they let a lease do without (docs/ARCHITECTURE.md).
  RQ_TRY(db_.exec("PRAGMA synchronous = NORMAL"));
  RQ_TRY(db_.exec("PRAGMA temp_store = MEMORY"));
  // Debian's build wipes what is deleted, and so writes pages that are about to be used again.
  RQ_TRY(db_.exec("PRAGMA secure_delete = OFF"));
  RQ_TRY(db_.exec(fmt::format("PRAGMA cache_size = -{}", options_.cache_bytes / 1024).c_str()));
  RQ_TRY_ASSIGN(version, db_.one("PRAGMA user_version"));
  RQ_TRY(migrate(db_));
  RQ_TRY(prepare());
  RQ_TRY(read_numbers(remembered));
  RQ_TRY_ASSIGN(queue, db_.one("SELECT seq FROM sqlite_sequence WHERE name = 'queue'"));
  RQ_TRY(files_.remember(file_));
  if (!remembered.any && version.value_or(0) >= kIdentityVersion) skip_what_was_given();
  block_end_ = next_;
  boots_end_ = boot_;
  last_queue_ = queue.value_or(0);
  return options_.threads ? log_.open_beside(file_) : Result<void>{};
}

// A wrong bit in one of them is set right, before the store is compared with what is remembered.
Result<void> SqliteStore::read_numbers(const Remembered& remembered) {
  RQ_TRY_ASSIGN(meta, read_meta(db_));
  const std::string mended = meta.mend(remembered);
  RQ_CHECK(meta.boot && meta.next_seq && meta.identity && meta.crc_from);
  RQ_TRY(identity_.check(*meta.identity, *meta.boot));
  if (!mended.empty()) {
    reports_.push_back(
        fmt::format("table meta had a wrong bit in {}: it has been set right", mended));
  }
  if (!mended.empty() || meta.crc != meta.sum()) RQ_TRY(meta_rows_.write(meta));
  next_ = *meta.next_seq;
  boot_ = *meta.boot;
  crc_from_ = *meta.crc_from;
  return {};
}

// A store that nobody remembers is most often a backup that was put back: numbers and boots were
// given since that it does not know of. A token of then must fit no message of now.
void SqliteStore::skip_what_was_given() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  boot_ = std::max<Boot>(boot_, std::chrono::duration_cast<std::chrono::seconds>(now).count());
  next_ += kNumbersSkipped;
}

Result<void> SqliteStore::prepare() {
  const std::string by_seq =
      fmt::format("SELECT {} FROM message m {} WHERE m.seq = ?1", kMessageColumns, kMessageJoins);
  struct Item {
    Statement& statement;
    const char* sql;
  };
  const Item items[] = {
      {sql_.begin, "BEGIN IMMEDIATE"},
      {sql_.commit, "COMMIT"},
      {sql_.rollback, "ROLLBACK"},
      {sql_.read, "SELECT key FROM meta"},
      {sql_.find, by_seq.c_str()},
      {sql_.find_key, "SELECT seq FROM detail WHERE key = ?1"},
      {sql_.due,
       "SELECT seq, due, queue FROM scheduled WHERE due <= ?1 ORDER BY due, seq LIMIT ?2"},
      {sql_.min_due, "SELECT min(due) FROM scheduled WHERE due > ?1"},
      {sql_.all_queues, "SELECT id FROM queue"},
      {sql_.all_leases, "SELECT until, seq, ends IS NOT NULL AND boot < ?1 FROM lease"},
      {sql_.shift_leases, "UPDATE lease SET until = until + ?1"},
  };
  for (const Item& item : items) RQ_TRY(item.statement.prepare(db_.handle(), item.sql));
  RQ_TRY(meta_rows_.prepare(db_));
  RQ_TRY(writer_.prepare(db_));
  RQ_TRY(firsts_.prepare(db_));
  RQ_TRY(timers_.prepare(db_));
  damage_.open(db_);
  return lines_.open(db_, file_, options_);
}

// A new boot, from a block that is on disk: a full disk does not stop a recovery.
Result<void> SqliteStore::take_boot() {
  if (boot_ >= boots_end_) {
    RQ_TRY(meta_rows_.set(kMetaBoot, boot_ + kBootBlock));
    RQ_TRY(log_.sync());
    boots_end_ = boot_ + kBootBlock;
  }
  ++boot_;
  if (first_boot_ != 0) return {};
  first_boot_ = boot_;
  // On a full disk the one before does: it is older, and of the same store.
  auto remembered = identity_.remember(boot_, db_);
  if (!remembered && remembered.error().code == Code::disk_full) return {};
  return remembered;
}

Result<void> SqliteStore::read_queue_ids() {
  queue_ids_.clear();
  for (;;) {
    RQ_TRY_ASSIGN(found, sql_.all_queues.step());
    if (!found) return {};
    queue_ids_.insert(sql_.all_queues.integer(0));
  }
}

Result<void> SqliteStore::read_leases() {
  ends_.clear();
  orphans_.clear();
  sql_.all_leases.bind(1, first_boot_);
  for (;;) {
    RQ_TRY_ASSIGN(found, sql_.all_leases.step());
    if (!found) return {};
    const Seq seq = sql_.all_leases.integer(1);
    ends_.emplace(sql_.all_leases.integer(0), seq);
    if (sql_.all_leases.integer(2) != 0) orphans_.insert(seq);
  }
}

SqliteStore::~SqliteStore() {
  save_at_end();
  writer_vfs_.check_log(true);  // SQLite copies it when the connection is closed
}

void SqliteStore::save_at_end() {
  if (db_.handle() == nullptr || boot_ == 0) return;
  abort();
  if (!check_files()) return;
  // A clean end leaves no gap in numbers and boots. If it fails there is one: no harm.
  static_cast<void>(meta_rows_.set(kMetaNextSeq, next_));
  if (boots_end_ != boot_) static_cast<void>(meta_rows_.set(kMetaBoot, boot_));
  static_cast<void>(log_.sync());
}

int SqliteStore::rounds_max() const { return std::numeric_limits<int>::max(); }

Result<std::vector<Queue>> SqliteStore::queues() {
  Statement all;
  RQ_TRY(all.prepare(
      db_.handle(),
      fmt::format("SELECT {} FROM queue q LEFT JOIN counter c ON c.queue = q.id ORDER BY q.id",
                  kQueueColumns)
          .c_str(),
      false));
  std::vector<Queue> out;
  for (;;) {
    RQ_TRY_ASSIGN(found, all.step());
    if (!found) return out;
    RQ_TRY_ASSIGN(queue, read_queue(all));
    out.push_back(std::move(queue));
  }
}

// --- The batch ---

Result<void> SqliteStore::load(const Needs& needs) {
  if (!in_batch_) {
    if (lost_) return *lost_;
    if (!rebuild_why_.empty()) return rebuilt_now();
    in_batch_ = true;
    records_.begin_batch();
    RQ_TRY(log_.renew_if_in_doubt());
    now_ = needs.now;
    due_max_ = 0;
  }
  if (needs.shift != Millis{0}) RQ_TRY(shift_leases(needs.shift));
  if (needs.due == 0) return {};
  due_max_ = needs.due;
  ended_left_ = needs.due;
  return read_due(needs.due);
}

Result<void> SqliteStore::read_due(std::int64_t n) {
  due_.clear();
  if (now_ < due_floor_) return {};
  const std::int64_t now = base::to_ms(now_);
  sql_.due.bind(1, now).bind(2, n);
  for (;;) {
    RQ_TRY_ASSIGN(found, sql_.due.step());
    if (!found) break;
    due_.push_back({.seq = sql_.due.integer(0),
                    .row = Filed{.anywhere = true,
                                 .place = Place::scheduled,
                                 .queue = sql_.due.integer(2),
                                 .time = sql_.due.integer(1)}});
  }
  if (std::ssize(due_) < n) {
    RQ_TRY_ASSIGN(found, sql_.min_due.bind(1, now).step());
    due_floor_ = found && !sql_.min_due.is_null(0) ? sql_.min_due.instant(0) : Instant::max();
    sql_.min_due.reset();
  }
  std::reverse(due_.begin(), due_.end());
  return {};
}

Result<void> SqliteStore::shift_leases(Millis by) {
  RQ_TRY(ensure_transaction());
  RQ_TRY(sql_.shift_leases.bind(1, by.count()).run());
  records_.for_each([by](Held& held) {
    if (held.message.lease) held.message.lease->until += by;
    for (Filed* place : {&held.now, &held.stored}) {
      if (place->in(Place::lease)) place->time += by.count();
    }
  });
  std::set<std::pair<std::int64_t, Seq>> shifted;
  for (const auto& [until, seq] : ends_)
    shifted.emplace_hint(shifted.end(), until + by.count(), seq);
  ends_ = std::move(shifted);
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

// Whether it was synced.
Result<bool> SqliteStore::write_and_commit(Sync sync, bool& in_commit) {
  const bool new_block = changes_.block_end.has_value();
  if (!changes_.empty() || timers_.changed()) {
    RQ_TRY(ensure_transaction());
    RQ_TRY(writer_.write(changes_));
    RQ_TRY(timers_.flush());
  }
  in_commit = true;
  if (in_transaction_) {
    RQ_TRY(sql_.commit.run());
    in_transaction_ = false;
    log_.committed();
  }
  if (sync == Sync::soon) soon_at_ = std::min(soon_at_, now_ + kSoon);
  // Numbers that have been told must not be given again after a loss of power, whatever the
  // messages' own sync class.
  if (sync != Sync::disk && !new_block && soon_at_ > now_) return false;
  const bool sync_now = log_.unsynced();
  if (sync_now) {
    RQ_TRY(log_.sync());
    RQ_TRY(judge(files_.look_quickly(db_, writer_vfs_.log_bytes())));
  }
  soon_at_ = Instant::max();
  return sync_now;
}

Committed SqliteStore::commit(Sync sync) {
  bool in_commit = false;
  auto done = write_and_commit(sync, in_commit);
  if (!done) {
    const bool full = done.error().code == Code::disk_full;
    if (full) room_.used_up();
    // SQLite syncs the head of a new log by itself, so any fault but a full disk may be of a sync.
    if (!full) log_.doubt();
    const bool nothing = in_transaction_ && (full || !in_commit);
    abort();
    return {nothing ? Committed::What::no : Committed::What::unknown, std::move(done).error(),
            false};
  }
  lines_.trim();
  records_.end_batch(changes_.dirty, [this](const Held& held) {
    if (held.now.in(Place::lease)) return true;
    return held.now.in(Place::line) && lines_.windows().covers(held.now.queue, held.key_now());
  });
  forget_batch();
  lines_.look_ahead(log_.wants_copying());
  return {.synced = *done};
}

void SqliteStore::forget_batch() {
  changes_.clear();
  new_keys_.clear();
  set_aside_.clear();
  firsts_.end_batch();
  if (!due_.empty()) due_floor_ = Instant{};  // the others are due still
  due_.clear();
  in_batch_ = false;
}

void SqliteStore::abort() {
  if (rebuild_why_.empty() && is_damage(db_)) rebuild_why_ = kBadPage;
  db_.reset_all();  // also those that the fault has left half way
  if (in_transaction_) {
    // It may have been rolled back already by the fault itself.
    static_cast<void>(sql_.rollback.run());
    in_transaction_ = false;
  }
  stop_reading();
  forget_batch();
  records_.clear();
  lines_.clear();
  due_floor_ = Instant{};
  block_end_ = next_;  // the next number sets a new block aside
}

void SqliteStore::maintain() {
  room_.look();
  const auto now = std::chrono::steady_clock::now();
  if (next_look_ <= now) {
    next_look_ = now + kLookAtFiles;
    if (!check_files()) return;
  }
  if (!log_.wants_copying()) return;
  stop_reading();  // only what is behind every reader's place can be copied
  writer_vfs_.check_log(true);
  log_.copy([this] { lines_.wait_for_reader(); });
  writer_vfs_.check_log(false);
  if (log_.is_damaged()) mend_log();
}

Instant SqliteStore::next_deadline() const {
  if (!orphans_.empty()) return Instant{};
  const Instant end = ends_.empty() ? Instant::max() : base::from_ms(ends_.begin()->first);
  return std::min({end, due_floor_, timers_.next(), soon_at_});
}

// --- Looks ---

Result<Record*> SqliteStore::find(Seq seq) { return find(core::Suspect{.seq = seq}); }

// `suspect.row` has led to it: if it is damaged, that goes with it.
Result<Record*> SqliteStore::find(const core::Suspect& suspect) {
  const Seq seq = suspect.seq;
  if (Held* known = records_.find(seq)) {
    return known->erased ? nullptr : static_cast<Record*>(known);
  }
  if (seq <= 0 || seq >= next_) return static_cast<Record*>(nullptr);
  return find_stored(suspect);
}

Result<Record*> SqliteStore::find_stored(const core::Suspect& suspect) {
  sql_.find.bind(1, suspect.seq);
  RQ_TRY_ASSIGN(found, sql_.find.step());
  if (!found) return static_cast<Record*>(nullptr);
  auto message = read_message(sql_.find, crc_from_);
  sql_.find.reset();
  if (!message) {
    RQ_TRY_ASSIGN(waits, is_for_rebuild());
    if (!waits) RQ_TRY(set_aside(suspect, message.error().message));
    return static_cast<Record*>(nullptr);
  }
  if (!queue_ids_.contains(message->queue)) return static_cast<Record*>(nullptr);
  return static_cast<Record*>(&records_.hold_stored(std::move(*message)));
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

Result<std::optional<LineKey>> SqliteStore::peek(QueueId queue) {
  if (const LineKey* key = lines_.front(queue)) return std::optional{*key};
  RQ_TRY_ASSIGN(key, lines_.peek(queue));
  // Looked at by its number, a row that cannot be read is set aside.
  for (const core::Suspect& suspect : lines_.take_damaged()) RQ_TRY(find(suspect));
  return key;
}

// A row that does not fit (doctor names it) is none: it is passed over, and everything else goes
// on.
Result<Record*> SqliteStore::take(QueueId queue) {
  RQ_TRY_ASSIGN(key, lines_.peek(queue));
  RQ_CHECK(key.has_value());
  lines_.used(queue);
  RQ_TRY_ASSIGN(record, find(key->seq));
  if (record != nullptr) {
    const Held& held = static_cast<const Held&>(*record);
    if (held.now.in(Place::line) && held.now.queue == queue && held.key_now() == *key) {
      return record;
    }
  }
  lines_.windows().erase(queue, *key);
  return static_cast<Record*>(nullptr);
}

Result<Record*> SqliteStore::first(QueueId queue, Place place) {
  if (place == Place::any) {
    for (;;) {
      RQ_TRY_ASSIGN(key, peek(queue));
      if (!key) break;
      RQ_TRY_ASSIGN(record, take(queue));
      if (record != nullptr) return record;
    }
    for (const Place one : {Place::scheduled, Place::kept, Place::err, Place::cancelled,
                            Place::held, Place::parked}) {
      RQ_TRY_ASSIGN(record, first(queue, one));
      if (record != nullptr) return record;
    }
    return static_cast<Record*>(nullptr);
  }
  for (;;) {
    RQ_TRY_ASSIGN(key, firsts_.first(queue, place, changes_.dirty));
    if (!key) return static_cast<Record*>(nullptr);
    const Filed row{.anywhere = true, .place = place, .queue = queue, .time = key->first};
    RQ_TRY_ASSIGN(record, find(core::Suspect{.seq = key->second, .row = row}));
    if (record != nullptr && place_of(record->message) == place) return record;
    firsts_.pass_over(queue, place);
  }
}

Result<Record*> SqliteStore::next_ended() {
  while (ended_left_ > 0) {
    const bool ended = !ends_.empty() && ends_.begin()->first <= base::to_ms(now_);
    if (orphans_.empty() && !ended) break;
    const Seq seq = orphans_.empty() ? ends_.begin()->second : *orphans_.begin();
    --ended_left_;
    RQ_TRY_ASSIGN(record, find(seq));
    if (record != nullptr && record->message.state == State::run) return record;
    orphans_.erase(seq);
    std::erase_if(ends_, [seq](const auto& end) { return end.second == seq; });
  }
  return static_cast<Record*>(nullptr);
}

Result<Record*> SqliteStore::next_due() {
  while (!due_.empty()) {
    const core::Suspect due = due_.back();
    due_.pop_back();
    RQ_TRY_ASSIGN(record, find(due));
    if (record != nullptr && record->message.state == State::scheduled) return record;
  }
  return static_cast<Record*>(nullptr);
}

// --- Changes ---

Seq SqliteStore::next_number() {
  if (next_ >= block_end_) {
    block_end_ = next_ + kNumberBlock;
    changes_.block_end = block_end_;
  }
  return next_++;
}

void SqliteStore::mark_dirty(Held& held) {
  if (held.dirty) return;
  held.dirty = true;
  changes_.dirty.push_back(&held);
}

// Files it where its state says, in memory. REQUIRES: it is nowhere yet. What was just stored in
// parts is not loaded whole: the processor would wait until it stands in memory.
void SqliteStore::file(Held& held) {
  const Seq seq = held.seq();
  held.now = filed(held.message);
  firsts_.came(held.now, seq);
  if (held.now.in(Place::line)) {
    lines_.windows().insert(held.message.queue, core::line_key(held.message));
  } else if (held.now.in(Place::lease)) {
    ends_.emplace(held.now.time, seq);
  } else if (held.now.in(Place::scheduled)) {
    due_floor_ = std::min(due_floor_, held.message.due);
  }
}

// The engine has changed it.
void SqliteStore::refile(Held& held) {
  const Filed was = held.now;
  const Seq seq = held.seq();
  LineWindows& windows = lines_.windows();
  if (!held.erased && filed(held.message) == was) {
    if (was.in(Place::line)) windows.touch(was.queue, held.key_now());
    return;
  }
  if (was.in(Place::line)) windows.erase(was.queue, held.key_now());
  if (was.in(Place::lease)) {
    ends_.erase({was.time, seq});
    orphans_.erase(seq);
  }
  firsts_.left(was, seq);
  held.now = {};
  if (!held.erased) file(held);
}

Record& SqliteStore::insert(Message&& message) {
  Held& held = records_.hold(std::move(message));
  held.whole = true;
  if (held.message.details && !held.message.details->key.empty()) {
    new_keys_[held.message.details->key] = &held;
  }
  file(held);
  mark_dirty(held);
  return held;
}

void SqliteStore::changed(Record& record, Change change) {
  Held& held = static_cast<Held&>(record);
  RQ_CHECK(!held.erased);
  if (change == Change::whole) held.whole = true;
  if (held.message.state == State::run) held.lease_changed = true;
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

QueueId SqliteStore::insert(const Queue& queue) {
  Changes::QueueChange& change = changes_.queues[++last_queue_];
  change.row = queue;
  change.row->id = last_queue_;
  change.counters = queue.counters;
  change.made = true;
  queue_ids_.insert(last_queue_);
  lines_.windows().start_empty(last_queue_);
  return last_queue_;
}

void SqliteStore::erase(const Queue& queue) {
  changes_.queues[queue.id].erased = true;
  queue_ids_.erase(queue.id);
  lines_.windows().forget(queue.id);
}

void SqliteStore::forget_waste(const std::vector<std::string>& folders) {
  changes_.waste_gone.insert(changes_.waste_gone.end(), folders.begin(), folders.end());
}

}  // namespace rq::store::sqlite
