// What SqliteStore does about damage: to its messages, its log, and the files themselves.
#include <fmt/format.h>

#include <utility>

#include "store/sqlite/copy_pages.h"
#include "store/sqlite/file_bytes.h"
#include "store/sqlite/log_frames.h"
#include "store/sqlite/raw_file.h"
#include "store/sqlite/rebuild.h"
#include "store/sqlite/row_check.h"
#include "store/sqlite/rows.h"
#include "store/sqlite/sqlite_store.h"
#include "store/sqlite/store_files.h"

namespace rq::store::sqlite {

using base::Code;

namespace {

// A store up to this size, with its log, is rebuilt between two batches when a check asks for it:
// that takes no longer than a large batch may. Nobody waits for a larger one in the middle of the
// day, unless rows are hidden, which the engine would write over.
constexpr std::uintmax_t kRebuiltAtOnceMax = 16UL * 1024 * 1024;
// Likewise all pages of one up to this size are copied out of it and back into it.
constexpr std::uintmax_t kCopiedAtOnceMax = 128UL * 1024 * 1024;
// Nobody is answered meanwhile, so that one look serves for a time.
constexpr std::chrono::minutes kLookAgain{1};

}  // namespace

base::Error SqliteStore::rebuild_at_once() {
  rebuild_why_ = kBadPage;
  looked_at_ = {};
  return rebuilt_now();
}

base::Error SqliteStore::rebuilt_now() {
  return base::fail(Code::unknown_outcome, "a page of the store is damaged: it is rebuilt now",
                    "repeat the request in a moment");
}

// The file turned out to be damaged while it was open. Without room for a new one, all goes on as
// well as it can, and the next start tries again.
Result<void> SqliteStore::rebuild(const std::string& why) {
  RQ_TRY_ASSIGN(remembered, identity_.read());
  remembered.boot = boots_end_;
  auto done = rebuild_open(rebuild_files_, db_, remembered, why);
  rebuild_failed_ = !done;
  if (!done) {
    if (done.error().code != Code::disk_full) log_.doubt();  // it may have been a sync
    rebuild_files_.mark(done.error().message);
    reports_.push_back(fmt::format("{}; {}. The next start of the server tries again",
                                   done.error().message, done.error().remedy));
    return {};
  }
  reports_.push_back(std::move(*done));
  log_.mended();
  log_.committed();
  return log_.sync();
}

// Between two batches. The note stands behind the bad page in the log, which makes that one count.
void SqliteStore::mend_log() {
  const std::string why =
      fmt::format("a page of the log {} is not as it was written", log_of(file_).string());
  db_.reset_all();
  stop_reading();
  if (damage_.note("log", "a page of it was not as it was written", now_)) ++set_aside_count_;
  log_.committed();
  const std::uintmax_t bytes = size_with_log(file_);
  if (bytes <= kCopiedAtOnceMax) {
    if (const auto kept = write_pages_anew(rebuild_files_, db_, writer_vfs_)) {
      log_.mended();
      static_cast<void>(log_.sync());  // if it fails, the next batch writes the log once more
      reports_.push_back(fmt::format(
          "{}: all pages have been written anew as the server had them in memory, and the store is "
          "checked now; the log as it was is kept in {}: see that the disk is well",
          why, kept->string()));
      return;
    }
  }
  if (bytes <= kRebuiltAtOnceMax) {
    rebuild_why_ = why;  // the next batch has it done
    return;
  }
  leave_log(why);
}

// Nothing is copied from the log any more, so that it grows. The next start has all of it.
void SqliteStore::leave_log(const std::string& why) {
  static_cast<void>(log_.sync());
  const auto marked = rebuild_files_.mark_log(why);
  reports_.push_back(fmt::format(
      "{}, and the store is too large to be mended between two batches: the next start of the "
      "server rebuilds it from all that is good. Until then nothing is copied from the log, which "
      "grows: restart the server soon{}",
      why,
      marked ? ""
             : fmt::format(", and before the machine: {}; {}", marked.error().message,
                           marked.error().remedy)));
}

Result<void> SqliteStore::request_rebuild(RebuildWhen when) {
  const bool small = size_with_log(file_) <= kRebuiltAtOnceMax;
  if (when == RebuildWhen::now && !rebuild_failed_) {
    looked_at_ = {};  // something new was found
    if (small || hides_rows().value_or(false)) return rebuild_at_once();
  }
  RQ_TRY(ensure_transaction());
  RQ_TRY_ASSIGN(is_new, damage_.note_once("store", kAwaitsRebuild, now_));
  const bool marked = rebuild_files_.mark("A check has found what only a rebuild can mend.");
  if (!is_new) return {};
  ++set_aside_count_;  // so that health says it, too
  reports_.push_back(fmt::format(
      "the store is damaged in a way that only a rebuild can mend: the next start of the server "
      "does that; {}restart it when it suits you",
      marked ? "" : fmt::format("touch {} first, and ", rebuild_mark(file_).string())));
  return {};
}

// --- Files that are not those any more ---

Result<void> SqliteStore::check_files() {
  return lost_ ? Result<void>{*lost_} : judge(files_.look(db_, writer_vfs_.log_bytes()));
}

// The store is at its end when they are not. What is still good is saved.
Result<void> SqliteStore::judge(SameFiles::Seen&& seen) {
  if (seen.state == SameFiles::State::same) return {};
  if (seen.state == SameFiles::State::log_gone) reports_.push_back(save_log());
  if (seen.state == SameFiles::State::cut) {
    // Half of a log would tear the store's pages apart, and its end stays for the next start.
    sqlite3_db_config(db_.handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    std::error_code none;
    // An empty one is refused by the next start: it is to be restored, not rebuilt.
    if (std::filesystem::file_size(file_, none) > 0) rebuild_files_.mark(seen.why.message);
  }
  lost_ = std::move(seen.why);
  return *lost_;
}

// SQLite has it open, whoever has its name. Where somebody else still reads the store, not all of
// it may be copied: then it gets its name back, with the same content.
std::string SqliteStore::save_log() {
  stop_reading();
  lines_.wait_for_reader();
  writer_vfs_.check_log(true);
  const auto copied = log_.copy_whole();
  writer_vfs_.check_log(false);
  if (copied) {
    return fmt::format(
        "all that was in the log has been copied into {}: do not put the log back, "
        "and start the server again",
        file_.string());
  }
  const std::filesystem::path log = log_of(file_);
  const auto written = log_.write_to(log);
  return fmt::format(
      "what was in the log cannot be copied into {}: {}; {}", file_.string(),
      copied.error().message,
      written ? fmt::format("it has been written to {} again: start the server again", log.string())
              : written.error().message);
}

// --- Damage ---

// Looks at the file beside SQLite, at its pages of tables, from time to time. Nothing: that cannot
// be known.
std::optional<bool> SqliteStore::hides_rows() {
  const bool is_old = now_ < looked_at_ || now_ - looked_at_ >= kLookAgain;
  if (!is_old) return hides_rows_;
  looked_at_ = now_;
  hides_rows_.reset();
  FileBytes bytes;
  RawFile raw;
  const std::uintmax_t size = size_with_log(file_);
  if (size > kLookedAtMax || !bytes.open(db_, file_) ||
      !raw.open(bytes, file_, {}, LogPart::all, std::nullopt)) {
    return hides_rows_;
  }
  RowCheck check;
  check.set_crc_from(crc_from_);
  RowFits fits;  // each row is looked at where that is no work
  if (size <= kRebuiltAtOnceMax && check.prepare(db_)) {
    fits = [&check](const RawRow& row) { return check.fit(row); };
  }
  hides_rows_ = raw.hides_rows(fits);
  return hides_rows_;
}

// What cannot be read, or is missing, may be whole on a page that nothing leads to any more, and a
// rebuild finds it: nothing is set aside before it. It is done at once, for the engine writes to
// the damaged page, and over what that hides. Where it cannot be done, and where the store is too
// large to be looked at, messages are passed over until the next start.
Result<bool> SqliteStore::is_for_rebuild() {
  const auto hides = rebuild_failed_ ? std::nullopt : hides_rows();
  if (hides) {
    if (*hides) return rebuild_at_once();
    return false;
  }
  RQ_TRY(request_rebuild(RebuildWhen::at_start));
  return true;
}

Result<void> SqliteStore::set_aside(const core::Suspect& suspect, const std::string& why) {
  const Seq seq = suspect.seq;
  RQ_TRY(ensure_transaction());
  RQ_TRY_ASSIGN(places, damage_.places_of(suspect));
  for (const Filed& place : places) {
    RQ_TRY_ASSIGN(state, damage_.state_in(place, seq));
    set_aside_.push_back({.seq = seq,
                          .queue = place.queue,
                          .state = state,
                          .held = place.place == Place::held,
                          .high = place.in(Place::line) && -place.rank > core::kHighPriority,
                          .why = why});
  }
  if (places.empty()) set_aside_.push_back({.seq = seq, .why = why});
  RQ_TRY_ASSIGN(rows, damage_.keep(seq, places, why, now_));
  set_aside_count_ += rows;
  return wipe(seq, places);
}

// From the tables, and from what is known of its places.
Result<void> SqliteStore::wipe(Seq seq, const std::vector<Filed>& places) {
  for (const Filed& place : places) {
    if (place.in(Place::line)) {
      lines_.windows().erase(place.queue, {place.rank, place.time, seq});
    }
    if (place.in(Place::lease)) ends_.erase({place.time, seq});
  }
  orphans_.erase(seq);
  return damage_.wipe(seq, places);
}

// A message that is sound is written anew, with its place; from memory, if it is there.
Result<void> SqliteStore::examine(const core::Suspect& suspect) {
  const Seq seq = suspect.seq;
  if (seq < 0 || seq >= next_) return {};
  Held* held = records_.find(seq);
  if (held != nullptr && held->dirty) return {};  // this batch writes it
  RQ_TRY(ensure_transaction());
  RQ_TRY_ASSIGN(found, sql_.find.bind(1, seq).step());
  bool sound = false;
  std::string why = "a row tells its place, but there is no message";
  if (found) {
    const auto message = read_message(sql_.find, crc_from_);
    sound = message.has_value();
    if (!sound) why = message.error().message;
  }
  sql_.find.reset();
  if (held == nullptr && sound) {
    RQ_TRY(find_stored(suspect));
    held = records_.find(seq);
  }
  RQ_TRY_ASSIGN(places, damage_.places_of(suspect));
  if (held == nullptr) {
    // A message whose queue has lost its row stays for a rebuild.
    if (sound || (!found && places.empty())) return {};
  } else if (sound && !suspect.unreadable && places == std::vector{held->stored}) {
    return {};
  }
  RQ_TRY_ASSIGN(waits, is_for_rebuild());
  if (waits) return {};
  if (held == nullptr) return set_aside(suspect, why);
  RQ_TRY(wipe(seq, places));
  if (held->now.in(Place::line)) {
    lines_.windows().erase(held->now.queue, held->key_now());
    lines_.windows().insert(held->now.queue, held->key_now());
  }
  if (held->now.in(Place::lease)) ends_.emplace(held->now.time, seq);
  held->stored = Filed{};
  held->in_table = false;
  held->has_detail = false;
  held->tagged = false;
  held->whole = true;
  mark_dirty(*held);
  return {};
}

}  // namespace rq::store::sqlite
