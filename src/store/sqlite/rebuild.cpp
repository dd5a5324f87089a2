#include "store/sqlite/rebuild.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <map>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "base/check.h"
#include "core/name.h"
#include "core/queue.h"
#include "core/settings_json.h"
#include "store/sqlite/check.h"
#include "store/sqlite/columns.h"
#include "store/sqlite/copy_pages.h"
#include "store/sqlite/damage.h"
#include "store/sqlite/derive.h"
#include "store/sqlite/meta.h"
#include "store/sqlite/open.h"
#include "store/sqlite/placed.h"
#include "store/sqlite/raw_file.h"
#include "store/sqlite/row_check.h"
#include "store/sqlite/rows.h"
#include "store/sqlite/schema.h"
#include "store/sqlite/store_files.h"
#include "store/sqlite/truer.h"
#include "store/sqlite/why_damaged.h"

namespace rq::store::sqlite {

using base::Code;
using base::fail;
using base::Result;
using core::Seq;
namespace fs = std::filesystem;

namespace {

// Left out when it is not known which numbers were given: more than a server gives at once.
constexpr Seq kNumbersLeftOut = 1'000'000;
constexpr core::Boot kBootsLeftOut = 1000;
// A next number further than this behind the last message is itself damaged.
constexpr Seq kNumbersMax = 1'000'000'000'000;
// One above is itself damaged.
constexpr Seq kNumberMax = INT64_MAX / 2;
// Columns that a table got after its first version: rows that are older do not have them.
constexpr int kColumnsAdded = 2;
// Of counters the totals; what is now follows from the messages.
constexpr std::array kTotals{"puts",    "dones",   "errs",    "retries",     "losses",
                             "cancels", "deletes", "expired", "expired_errs"};
// Bad messages of which the numbers are in memory at once.
constexpr std::size_t kBadAtOnce = 1000;
// A queue's number is believed up to here when the table of the last one is lost.
constexpr core::QueueId kQueueIdMax = 1'000'000;

std::string quoted(const RawValue& value) {
  struct Quote {
    std::string operator()(const RawNull&) const { return "NULL"; }
    std::string operator()(std::int64_t n) const { return fmt::format("{}", n); }
    std::string operator()(double n) const { return fmt::format("{}", n); }
    std::string operator()(const std::string& text) const {
      std::string out = "'";
      for (const char c : text) out.append(c == '\'' ? 2U : 1U, c);
      return out + "'";
    }
    std::string operator()(const RawBlob& blob) const {
      std::string out = "X'";
      for (const char c : blob.bytes) out += fmt::format("{:02X}", static_cast<unsigned char>(c));
      return out + "'";
    }
  };
  return std::visit(Quote{}, value);
}

std::int64_t number(const RawRow& row, std::size_t column) {
  if (column >= row.values.size()) return 0;
  const auto* n = std::get_if<std::int64_t>(&row.values[column]);
  return n == nullptr ? 0 : *n;
}

const std::string* text(const RawRow& row, std::size_t column) {
  return column < row.values.size() ? std::get_if<std::string>(&row.values[column]) : nullptr;
}

class Rebuild {
 public:
  Rebuild(Db& db, const Remembered& known, std::string_view why)
      : db_(db), known_(known), why_(why) {
    damage_.open(db);
  }

  Result<void> run(RawFile& raw);

 private:
  // A table that is taken over as it is. Its first column is the number of the row, or none is.
  struct Table {
    const char* name;
    bool numbered;
    bool has_checksums = false;
    Statement insert{};
    Columns columns{};
    [[nodiscard]] int width() const { return static_cast<int>(columns.names.size()); }
    [[nodiscard]] bool fits(const RawRow& row) const { return columns.fit(row); }
  };

  Result<void> take(Table& table, RawRow&& row);
  Result<void> replace_if_truer(Table& table, RawRow&& row);
  Result<bool> was_deleted(std::string_view table, const RawRow& row);
  Table* table_of(const RawRow& row);
  Result<void> note(std::string_view what, std::optional<Seq> seq, std::string_view why,
                    const RawRow* row);
  void read_numbers(RawFile& raw);
  Result<void> read_tables(RawFile& raw);
  Result<void> prepare_counters();
  Result<void> read_counters(RawFile& raw);
  Result<void> count_from_zero(core::QueueId id);
  Result<void> read_places(RawFile& raw);
  Result<void> take_the_lost(RawFile& raw);
  Result<void> check_messages();
  Result<void> set_aside_bad(Seq& after, bool& more);
  Result<void> check_queues();
  Result<void> mend_queue(core::QueueId id, const std::string& name, const std::string& why);
  Result<void> name_the_lost();
  Result<void> set_meta(bool log_lost);

  Db& db_;
  const Remembered& known_;
  const std::string why_;
  Damage damage_;
  std::array<Table, 6> tables_{{{"queue", true, true},
                                {"message", true, true},
                                {"detail", true, true},
                                {"lease", true},
                                {"attempt", false},
                                {"corrupt", true}}};
  Columns counter_columns_;
  Statement counter_, waste_, note_;
  Placed placed_;
  RowCheck row_check_;
  Truer truer_{placed_, row_check_};
  RowFits fits_ = [this](const RawRow& row) { return row_check_.fit(row); };
  std::map<core::QueueId, std::int64_t> running_;  // as counters say
  core::Boot boot_max_ = 0;
  Meta meta_;  // as it stood there
  std::int64_t last_queue_ = 0;
  bool any_ = false;
  bool leases_are_sound_ = true;
  bool corrupt_is_sound_ = true;
  bool knows_places_ = true;  // nothing else tells what was deleted
  bool takes_lost_ = false;   // all that trees lead to is there
};

Result<void> Rebuild::run(RawFile& raw) {
  for (Table& table : tables_) {
    RQ_TRY(table.columns.read(db_, table.name));
    std::string sql = fmt::format("INSERT INTO {} VALUES (?1", table.name);
    for (int i = 2; i <= table.width(); ++i) sql += fmt::format(", ?{}", i);
    RQ_TRY(table.insert.prepare(db_.handle(), (sql + ")").c_str()));
  }
  RQ_TRY(prepare_counters());
  RQ_TRY(waste_.prepare(db_.handle(), "INSERT OR IGNORE INTO waste VALUES (?1)"));
  RQ_TRY(
      note_.prepare(db_.handle(),
                    "INSERT INTO corrupt (at, what, seq, why, bytes) VALUES (unixepoch() * 1000, "
                    "?1, ?2, ?3, ?4)"));
  RQ_TRY(db_.exec("BEGIN"));
  RQ_TRY(placed_.open(db_));
  RQ_TRY(row_check_.prepare(db_));
  RQ_TRY(read_tables(raw));
  RQ_TRY(read_places(raw));
  if (!any_) {
    return fail(Code::internal, "nothing of a store can be found in it",
                "restore a backup, with its -wal file");
  }
  RQ_TRY(check_queues());
  RQ_TRY(name_the_lost());
  RQ_TRY(check_messages());
  RQ_TRY(set_meta(raw.lacks_log()));
  RQ_TRY(placed_.mend_leases(running_, leases_are_sound_));
  RQ_TRY(placed_.close());
  RQ_TRY(derive(db_));
  RQ_TRY(damage_.forget_note("store", kAwaitsRebuild));
  RQ_TRY(note("store", std::nullopt, fmt::format("it was rebuilt: {}", why_), nullptr));
  return db_.exec("COMMIT");
}

Result<void> Rebuild::note(std::string_view what, std::optional<Seq> seq, std::string_view why,
                           const RawRow* row) {
  std::string values;
  if (row != nullptr) {
    values = fmt::format("{}", row->rowid);
    for (const RawValue& value : row->values) values += ", " + quoted(value);
  }
  note_.bind(1, what).bind(3, why).bind_text_or_null(4, values);
  seq ? note_.bind(2, *seq) : note_.bind_null(2);
  return note_.run();
}

// A row that the table does not take is damaged: it keeps the types.
Result<void> Rebuild::take(Table& table, RawRow&& row) {
  const auto seq = table.numbered ? row.rowid : number(row, 0);
  if (std::string_view{table.name} == "lease") {
    boot_max_ = std::max(boot_max_, number(row, table.columns.at("boot")));
  }
  if (table.fits(row)) {
    for (int i = 0; i < table.width(); ++i) {
      const bool there = i < std::ssize(row.values);
      if (i == 0 && table.numbered) {
        table.insert.bind(1, row.rowid);
      } else if (there) {
        bind_value(table.insert, i + 1, row.values[static_cast<std::size_t>(i)]);
      } else if (table.columns.never_null[static_cast<std::size_t>(i)]) {
        table.insert.bind(i + 1, std::int64_t{0});  // the default of what was added later
      } else {
        table.insert.bind_null(i + 1);
      }
    }
    if (table.insert.run()) {
      any_ = true;
      return {};
    }
    const int code = sqlite3_extended_errcode(db_.handle());
    // A tree may lead to a page twice, or to what an older one has left.
    if (code == SQLITE_CONSTRAINT_ROWID || code == SQLITE_CONSTRAINT_PRIMARYKEY) {
      const bool has_truer = &table == &tables_[1] || &table == &tables_[2];
      return takes_lost_ && has_truer ? replace_if_truer(table, std::move(row)) : Result<void>{};
    }
    if ((code & 0xff) != SQLITE_CONSTRAINT) {
      return fail(Code::internal,
                  fmt::format("the store cannot be rebuilt: {}", sqlite3_errmsg(db_.handle())),
                  "see that there is room on the disk");
    }
  }
  return note(table.name, seq, "its row is damaged", &row);
}

// One of two rows of a message, or of its details, is older.
Result<void> Rebuild::replace_if_truer(Table& table, RawRow&& row) {
  const Seq seq = row.rowid;
  const auto rank = [&] {
    return &table == &tables_[1] ? truer_.rank_message(seq) : truer_.rank_detail(seq);
  };
  RQ_TRY_ASSIGN(before, rank());
  RQ_TRY(db_.exec("SAVEPOINT truer"));
  RQ_TRY(db_.exec(fmt::format("DELETE FROM {} WHERE seq = {}", table.name, seq).c_str()));
  RQ_TRY(take(table, std::move(row)));
  RQ_TRY_ASSIGN(after, rank());
  if (after <= before) RQ_TRY(db_.exec("ROLLBACK TO truer"));
  return db_.exec("RELEASE truer");
}

// A tree may lead to a page of another one, or have lost it: of which table a row is shows in its
// values. Null: they do not tell.
Rebuild::Table* Rebuild::table_of(const RawRow& row) {
  const std::int64_t columns = std::ssize(row.values);
  const auto like = [columns](const Table& table) {
    return columns == table.width() || columns == table.width() - 1;
  };
  Table& queue = tables_[0];
  Table& message = tables_[1];
  Table& detail = tables_[2];
  Table& lease = tables_[3];
  if (like(message)) {
    const auto* state = text(row, message.columns.at("rest_state"));
    if (state != nullptr && core::state_of(*state)) return &message;
  }
  if (like(detail) && detail.fits(row)) return &detail;
  if (like(queue)) {
    const auto* name = text(row, queue.columns.at("name"));
    const auto* admin = text(row, queue.columns.at("admin"));
    if (name != nullptr && admin != nullptr && core::admin_of(*admin)) return &queue;
  }
  Table& corrupt = tables_[5];
  for (Table* table : {&lease, &corrupt}) {
    if (columns == table->width() && table->fits(row)) return table;
  }
  return nullptr;
}

void Rebuild::read_numbers(RawFile& raw) {
  raw.walk("meta", [&](RawRow&& row) {
    const auto* key = text(row, 0);
    if (key == nullptr || row.values.size() != 2) return;
    any_ = true;
    meta_.take(*key, number(row, 1));
  });
  static_cast<void>(meta_.mend(known_));
  row_check_.set_crc_from(meta_.crc_from.value_or(INT64_MAX));
}

Result<void> Rebuild::read_tables(RawFile& raw) {
  read_numbers(raw);
  Result<void> ok;
  for (Table& table : tables_) {
    const auto each = [&](RawRow&& row) {
      const auto columns = std::ssize(row.values);
      const bool ours = columns <= table.width() && columns >= table.width() - kColumnsAdded;
      Table* of = table_of(row);
      if (of == nullptr && ours) of = &table;
      if (ok && of != nullptr) ok = take(*of, std::move(row));
    };
    const bool is_sound = raw.walk(table.name, each, table.has_checksums ? fits_ : RowFits{});
    if (std::string_view{table.name} == "lease") leases_are_sound_ = is_sound;
    if (std::string_view{table.name} == "corrupt") corrupt_is_sound_ = is_sound;
  }
  RQ_TRY(ok);
  RQ_TRY(read_counters(raw));
  raw.walk("waste", [&](RawRow&& row) {
    if (const auto* folder = text(row, 0); ok && folder != nullptr) {
      ok = waste_.bind(1, std::string_view{*folder}).run();
    }
  });
  raw.walk("sqlite_sequence", [&](RawRow&& row) { last_queue_ = number(row, 1); });
  return ok;
}

Result<void> Rebuild::prepare_counters() {
  RQ_TRY(counter_columns_.read(db_, "counter"));
  std::string sql = "INSERT OR IGNORE INTO counter VALUES (?1";
  for (std::size_t i = 1; i < counter_columns_.names.size(); ++i) {
    const auto total = std::find(kTotals.begin(), kTotals.end(), counter_columns_.names[i]);
    sql += total == kTotals.end() ? ", 0" : fmt::format(", ?{}", total - kTotals.begin() + 2);
  }
  return counter_.prepare(db_.handle(), (sql + ")").c_str());
}

// Unless it has counters.
Result<void> Rebuild::count_from_zero(core::QueueId id) {
  counter_.bind(1, id);
  for (std::size_t i = 0; i < kTotals.size(); ++i) {
    counter_.bind(static_cast<int>(i) + 2, std::int64_t{0});
  }
  return counter_.run();
}

Result<void> Rebuild::read_counters(RawFile& raw) {
  Result<void> ok;
  knows_places_ = raw.knows("counter");
  raw.walk("counter", [&](RawRow&& row) {
    counter_.bind(1, row.rowid);
    int at = 2;
    for (const char* total : kTotals) {
      counter_.bind(at++, std::max<std::int64_t>(number(row, counter_columns_.at(total)), 0));
    }
    running_[row.rowid] = number(row, counter_columns_.at("run"));
    if (ok) ok = counter_.run();
  });
  return ok;
}

// Messages of which a place is told; and what a tree has lost.
Result<void> Rebuild::read_places(RawFile& raw) {
  Result<void> ok;
  struct Narrow {
    const char* table;
    const char* first;
    const char* last;
    const char* time;
  };
  for (const Narrow& narrow : {Narrow{"ready", "first_seq", "last_seq", "ord"},
                               {"scheduled", "seq", "seq", "due"},
                               {"finished", "seq", "seq", "at"},
                               {"parked", "seq", "seq", "seq"}}) {
    Columns columns;
    RQ_TRY(columns.read(db_, narrow.table));
    const std::string_view table = narrow.table;
    const std::size_t first = columns.at(narrow.first);
    const std::size_t last = columns.at(narrow.last);
    const std::size_t time = columns.at(narrow.time);
    // Its order within the line, or which end it is.
    const std::size_t rank = table == "ready" ? columns.at("rank") : 0;
    const std::size_t kind = table == "finished" ? columns.at("kind") : 0;
    knows_places_ = knows_places_ && raw.knows(table);
    raw.walk(table, [&](RawRow&& row) {
      Placed::Run run{.first = number(row, first),
                      .last = std::min(number(row, last), kNumberMax),
                      .place = table,
                      .time = number(row, time)};
      if (!ok || run.first < 1 || run.first > run.last) return;
      if (rank != 0) run.rank = number(row, rank);
      if (const auto* end = kind != 0 ? text(row, kind) : nullptr) run.place = *end;
      ok = placed_.add(run);
    });
    RQ_TRY(ok);
  }
  RQ_TRY(placed_.index());
  if (raw.broken()) RQ_TRY(take_the_lost(raw));
  return ok;
}

// Of a page that no tree leads to: a tree has lost it, or the list of free ones has. A message has
// to be named by a place or a lease, or it would run again; a lease has to be of a message that
// nothing else names; a queue needs its counters. A row of `corrupt` an operator may have deleted,
// unless its table has lost something.
Result<bool> Rebuild::was_deleted(std::string_view table, const RawRow& row) {
  if (table == "message" || table == "detail") {
    RQ_TRY_ASSIGN(is_named, placed_.names(row.rowid));
    return !is_named;
  }
  if (table == "lease") {
    RQ_TRY_ASSIGN(may_run,
                  placed_.may_run(row.rowid, number(row, tables_[3].columns.at("attempt"))));
    return !may_run;
  }
  if (table == "queue") return !running_.contains(row.rowid);
  return table == "corrupt" && corrupt_is_sound_;
}

Result<void> Rebuild::take_the_lost(RawFile& raw) {
  const auto take_one = [&](RawRow&& row) -> Result<void> {
    Table* of = table_of(row);
    if (of == nullptr) return {};
    if (knows_places_) {
      RQ_TRY_ASSIGN(is_deleted, was_deleted(of->name, row));
      if (is_deleted) return {};
    }
    return take(*of, std::move(row));
  };
  Result<void> ok;
  const auto each = [&](RawRow&& row) {
    if (ok) ok = take_one(std::move(row));
  };
  RQ_TRY(truer_.prepare(db_));
  takes_lost_ = true;
  raw.walk_lost(each, fits_);
  return ok;
}

// `log_lost`: numbers and boots may have been given of which nothing is left.
Result<void> Rebuild::set_meta(bool log_lost) {
  RQ_TRY_ASSIGN(newest, db_.one("SELECT max(seq) FROM message"));
  const Seq seq_max = newest.value_or(0);
  const Seq next_said = meta_.next_seq.value_or(0);
  const bool next_is_known = next_said > seq_max && next_said <= seq_max + kNumbersMax;
  const Seq next = (next_is_known ? next_said : seq_max + 1 + kNumbersLeftOut) +
                   (log_lost ? kNumbersSkipped : 0);
  // One that is behind what is known of the store does not tell which ones were taken since.
  const core::Boot boot_known = std::max(known_.boot, boot_max_);
  const core::Boot boot_said = meta_.boot.value_or(0);
  const bool boot_is_known = meta_.boot && boot_said >= boot_known && !log_lost;
  RQ_TRY_ASSIGN(meta, read_meta(db_));  // with an identity of its own
  if (known_.identity != 0) {
    meta.identity = known_.identity;
  } else if (meta_.identity) {
    meta.identity = meta_.identity;
  }
  meta.next_seq = next;
  meta.boot = std::max(boot_said, boot_known) + (boot_is_known ? 0 : kBootsLeftOut);
  meta.crc_from = std::min(meta_.crc_from.value_or(next), next);
  MetaRows rows;
  RQ_TRY(rows.prepare(db_));
  return rows.write(meta);
}

Result<void> Rebuild::check_queues() {
  Statement uncounted;
  RQ_TRY(uncounted.prepare(
      db_.handle(), "SELECT id FROM queue WHERE id NOT IN (SELECT queue FROM counter)", false));
  std::vector<core::QueueId> ids;
  for (;;) {
    RQ_TRY_ASSIGN(found, uncounted.step());
    if (!found) break;
    ids.push_back(uncounted.integer(0));
  }
  for (const core::QueueId id : ids) RQ_TRY(count_from_zero(id));
  struct Bad {
    core::QueueId id;
    std::string name;
    std::string why;
  };
  std::vector<Bad> bad;
  Statement all;
  RQ_TRY(all.prepare(
      db_.handle(),
      fmt::format("SELECT {} FROM queue q LEFT JOIN counter c ON c.queue = q.id", kQueueColumns)
          .c_str(),
      false));
  for (;;) {
    RQ_TRY_ASSIGN(found, all.step());
    if (!found) break;
    if (const auto queue = read_queue(all); !queue && queue.error().code == Code::internal) {
      bad.push_back({all.integer(0), std::string{all.text(1)}, queue.error().message});
    }
  }
  Statement gone;
  RQ_TRY(gone.prepare(
      db_.handle(), "SELECT DISTINCT queue FROM message WHERE queue NOT IN (SELECT id FROM queue)",
      false));
  for (;;) {
    RQ_TRY_ASSIGN(found, gone.step());
    if (!found) break;
    // A row that is damaged may name any.
    const bool may_be =
        gone.integer(0) > 0 && gone.integer(0) <= std::max(last_queue_, kQueueIdMax);
    if (may_be) bad.push_back({gone.integer(0), {}, "its row is gone"});
  }
  for (const Bad& queue : bad) RQ_TRY(mend_queue(queue.id, queue.name, queue.why));
  return {};
}

// It stays, with its messages and the default settings, and gives nothing until somebody has looked
// at it.
Result<void> Rebuild::mend_queue(core::QueueId id, const std::string& name,
                                 const std::string& why) {
  RQ_TRY_ASSIGN(row, quoted_row(db_, "queue"));
  RQ_TRY(db_.exec(fmt::format("INSERT INTO corrupt (at, what, why, bytes) SELECT unixepoch() * "
                              "1000, 'queue', 'the row of queue {0} is damaged', {1} FROM queue "
                              "WHERE id = {0}",
                              id, row)
                      .c_str()));
  RQ_TRY(db_.exec(fmt::format("DELETE FROM queue WHERE id = {}", id).c_str()));
  core::Queue queue;
  queue.id = id;
  queue.name = core::check_queue_name(name) ? name : fmt::format("recovered-{}", id);
  Statement there;
  RQ_TRY(there.prepare(db_.handle(), "SELECT 1 FROM queue WHERE name = ?1", false));
  RQ_TRY_ASSIGN(taken, there.bind(1, std::string_view{queue.name}).step());
  there.reset();
  if (taken) queue.name = fmt::format("recovered-{}", id);
  queue.admin = core::Admin::pause;
  queue.revision = 1;
  queue.script_error =
      "its settings were damaged in the store, and are the default ones now: set "
      "them again, then resume it";
  const std::string settings = boost::json::serialize(core::to_json(queue.settings));
  Statement insert;
  RQ_TRY(insert.prepare(
      db_.handle(),
      "INSERT INTO queue (name, admin, paused_until, revision, created, on_demand, script_error, "
      "settings, going, crc, id) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)",
      false));
  bind_queue(insert, queue, settings);
  RQ_TRY(insert.bind(11, id).run());
  RQ_TRY(count_from_zero(id));
  return note("queue", std::nullopt, fmt::format("queue '{}': {}", queue.name, why), nullptr);
}

Result<void> Rebuild::check_messages() {
  Seq after = 0;
  for (bool more = true; more;) RQ_TRY(set_aside_bad(after, more));
  return {};
}

// The next messages of which a row is damaged.
Result<void> Rebuild::set_aside_bad(Seq& after, bool& more) {
  RQ_TRY_ASSIGN(time, db_.one("SELECT unixepoch() * 1000"));
  const core::Instant now = base::from_ms(time.value_or(0));
  Statement all;
  RQ_TRY(all.prepare(db_.handle(),
                     fmt::format("SELECT {}, q.id FROM message m {} LEFT JOIN queue q ON q.id = "
                                 "m.queue WHERE m.seq > ?1 ORDER BY m.seq",
                                 kMessageColumns, kMessageJoins)
                         .c_str(),
                     false));
  all.bind(1, after);
  std::vector<std::pair<Seq, std::string>> bad;
  while (bad.size() < kBadAtOnce) {
    RQ_TRY_ASSIGN(found, all.step());
    more = found;
    if (!found) break;
    after = seq_of(all);
    const auto message = read_message(all, meta_.crc_from.value_or(INT64_MAX));
    if (!message) {
      bad.emplace_back(after, message.error().message);
    } else if (all.is_null(kMessageColumnCount)) {
      bad.emplace_back(after, "its queue is not there");
    }
  }
  all.reset();
  for (const auto& [seq, why] : bad) {
    RQ_TRY(damage_.keep(seq, {}, why, now));
    RQ_TRY(damage_.wipe(seq, {}));
  }
  return {};
}

Result<void> Rebuild::name_the_lost() {
  return placed_.missing([this](Seq seq) {
    return note("message", seq, "its row cannot be found any more", nullptr);
  });
}

// --- Around it ---

base::Error cannot(const fs::path& file, const base::Error& why) {
  return fail(
      why.code,
      fmt::format("the store {} is damaged, and cannot be rebuilt: {}", file.string(), why.message),
      why.remedy);
}

Result<void> fill(const RebuildFiles& files, FileBytes& from, const Remembered& known,
                  const std::optional<LogIndex>& index, std::string_view why) {
  RawFile raw;
  RQ_TRY(raw.open(from, files.file(), known.roots,
                  known.same_run ? LogPart::all : LogPart::as_sqlite_reads, index));
  Db db;
  RQ_TRY(db.open(files.making(), SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX));
  RQ_TRY(migrate(db));
  return Rebuild(db, known, why).run(raw);
}

// A new store beside it; nothing of one, when that fails.
Result<void> make(RebuildFiles& files, FileBytes& from, const Remembered& known,
                  const std::optional<LogIndex>& index, std::string_view why) {
  RQ_TRY(files.clear_making());
  if (auto filled = fill(files, from, known, index, why); !filled) {
    static_cast<void>(files.clear_making());
    return cannot(files.file(), filled.error());
  }
  std::error_code error;
  fs::permissions(files.making(), fs::status(files.file(), error).permissions(), error);
  return {};
}

struct LogSeen {
  std::optional<LogIndex> index;  // if it may be believed
  std::string damage;             // why the store has to be rebuilt
  std::string report;
};

// A log that breaks off though there is more. After a loss of power that is its end, which was not
// synced: it is cut off, so that nobody ever takes it for more of what is written in front of it.
// A bad disk looks the same then, so it is kept and told.
Result<LogSeen> look_at_log(RebuildFiles& files, const Remembered& remembered) {
  const fs::path& file = files.file();
  LogSeen seen;
  if (remembered.same_run) seen.index = read_index_of(file);
  RQ_TRY_ASSIGN(log, read_log_of(file, seen.index));
  if (!log.is_damaged()) return seen;
  if (remembered.same_run || files.wants_whole_log()) {
    seen.damage = damage_of_log(file, log);
    if (log.page_bytes == 0 && look_at_file(log_of(file).c_str()).inode == 0) {
      return fail(Code::internal, seen.damage,
                  fmt::format("put it back; or, if it is lost with all that was in it: touch {}",
                              log_of(file).string()));
    }
    return seen;
  }
  RQ_TRY_ASSIGN(kept, files.copy_log());
  std::error_code error;
  fs::resize_file(log_of(file), log.whole_bytes, error);
  if (error) {
    return fail(Code::internal,
                fmt::format("cannot cut {}: {}", log_of(file).string(), error.message()),
                "see that it belongs to the user of the server");
  }
  seen.report = fmt::format(
      "{} commits behind a break of the log {} were left out, which a loss of power leaves, or a "
      "bad disk: the whole log is kept in {}",
      log.commits_behind, log_of(file).string(), kept.string());
  return seen;
}

std::string rebuilt(const RebuildFiles& files, std::string_view why) {
  return fmt::format(
      "the store was damaged ({}) and has been rebuilt from its messages: what it was is kept in "
      "{}; what could not be saved is in table corrupt, see: rq doctor",
      why, files.kept().string());
}

}  // namespace

std::string damage_of_log(const fs::path& file, const LogFrames& log) {
  if (log.commits_behind == 0) {
    return fmt::format(
        "the log {} is damaged behind byte {}: it had {} pages, as its index tells, and {} of them "
        "can be read",
        log_of(file).string(), log.whole_bytes, log.told, log.whole);
  }
  return fmt::format(
      "the log {} is damaged behind byte {}: {} commits stand behind what does not pass its "
      "checksum",
      log_of(file).string(), log.whole_bytes, log.commits_behind);
}

Result<std::string> rebuild_if_damaged(RebuildFiles& files, const Remembered& remembered) {
  std::error_code none;
  const fs::path& file = files.file();
  if (!fs::exists(file, none) || fs::file_size(file, none) == 0) return std::string{};
  RQ_TRY_ASSIGN(log, look_at_log(files, remembered));
  std::string why = std::move(log.damage);
  bool can_be_served = why.empty();
  if (why.empty()) {
    RQ_TRY_ASSIGN(found, why_damaged(file, remembered.roots));
    why = std::move(found.why);
    can_be_served = found.can_be_served;
  }
  if (why.empty() && !files.is_marked()) return log.report;
  if (const std::string marked = files.marked_why(); !marked.empty()) {
    why = why.empty() ? marked : fmt::format("{}; {}", marked, why);
  }
  if (why.empty()) why = fmt::format("{} was there", rebuild_mark(file).string());
  const auto with_log = [&log](std::string report) {
    return log.report.empty() ? report : fmt::format("{}; {}", log.report, report);
  };
  const auto made = [&]() -> Result<void> {
    FileBytes from;
    RQ_TRY(from.open(file));
    Remembered known = remembered;
    known.same_run = known.same_run || files.wants_whole_log();
    return make(files, from, known, log.index, why);
  }();
  if (!made) {
    if (!can_be_served) return made.error();
    // It is as good as it was.
    return with_log(fmt::format("{}; {}. The next start tries again", made.error().message,
                                made.error().remedy));
  }
  RQ_TRY(files.take_over());
  return with_log(rebuilt(files, why));
}

Result<std::string> rebuild_open(RebuildFiles& files, Db& db, const Remembered& remembered,
                                 std::string_view why) {
  FileBytes from;
  RQ_TRY(from.open(db, files.file()));
  RQ_TRY(make(files, from, remembered, std::nullopt, why));
  const auto done = [&]() -> Result<void> {
    RQ_TRY(files.copy_damaged(from));
    Db made;
    RQ_TRY(made.open(files.making(), SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX));
    return copy_pages(made, db);
  }();
  static_cast<void>(files.clear_making());
  if (!done) return cannot(files.file(), done.error());
  files.unmark();
  return rebuilt(files, why);
}

}  // namespace rq::store::sqlite
