#include "store/sqlite/rebuild.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <optional>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "core/name.h"
#include "core/queue.h"
#include "core/settings_json.h"
#include "store/sqlite/check.h"
#include "store/sqlite/damage.h"
#include "store/sqlite/open.h"
#include "store/sqlite/raw_file.h"
#include "store/sqlite/rows.h"
#include "store/sqlite/schema.h"

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
constexpr int kDamagedKept = 3;
// Columns that a table got after its first version: rows that are older do not have them.
constexpr int kColumnsAdded = 2;
// Of a run of the line: more are not named one by one.
constexpr Seq kLostNamedMax = 100'000;

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

void bind_value(Statement& statement, int at, const RawValue& value) {
  if (const auto* n = std::get_if<std::int64_t>(&value)) {
    statement.bind(at, *n);
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    statement.bind(at, std::string_view{*text});
  } else if (const auto* blob = std::get_if<RawBlob>(&value)) {
    statement.bind_blob(at, blob->bytes);
  } else {
    statement.bind_null(at);
  }
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
    Statement insert{};
    int columns = 0;
  };

  Result<void> take(Table& table, RawRow&& row);
  Result<void> take_lost(RawRow&& row);
  Result<void> note(std::string_view what, std::optional<Seq> seq, std::string_view why,
                    const RawRow* row);
  Result<void> read_tables(RawFile& raw);
  Result<void> read_places(RawFile& raw);
  Result<void> check_messages();
  Result<void> check_queues();
  Result<void> mend_queue(core::QueueId id, const std::string& name, const std::string& why);
  Result<void> derive();
  Result<void> name_the_lost();
  Result<void> set_meta();

  Db& db_;
  const Remembered& known_;
  const std::string why_;
  Damage damage_;
  std::array<Table, 6> tables_{{{"queue", true},
                                {"message", true},
                                {"detail", true},
                                {"lease", true},
                                {"attempt", false},
                                {"corrupt", true}}};
  Statement counter_, waste_, note_;
  std::set<Seq> placed_;  // the narrow tables have them
  core::Boot boot_max_ = 0;
  std::optional<std::int64_t> next_seq_, boot_, identity_, crc_from_;
  std::int64_t last_queue_ = 0;
  bool any_ = false;
};

Result<void> Rebuild::run(RawFile& raw) {
  for (Table& table : tables_) {
    RQ_TRY_ASSIGN(
        columns,
        db_.one(fmt::format("SELECT count(*) FROM pragma_table_info('{}')", table.name).c_str()));
    table.columns = static_cast<int>(columns.value_or(0));
    std::string sql = fmt::format("INSERT OR IGNORE INTO {} VALUES (?1", table.name);
    for (int i = 2; i <= table.columns; ++i) sql += fmt::format(", ?{}", i);
    RQ_TRY(table.insert.prepare(db_.handle(), (sql + ")").c_str()));
  }
  RQ_TRY(counter_.prepare(db_.handle(),
                          "INSERT OR IGNORE INTO counter VALUES "
                          "(?1,0,0,0,0,0,0,0,0,0,0,0,?2,?3,?4,?5,?6,?7,?8,0,?9,?10)"));
  RQ_TRY(waste_.prepare(db_.handle(), "INSERT OR IGNORE INTO waste VALUES (?1)"));
  RQ_TRY(
      note_.prepare(db_.handle(),
                    "INSERT INTO corrupt (at, what, seq, why, bytes) VALUES (unixepoch() * 1000, "
                    "?1, ?2, ?3, ?4)"));
  RQ_TRY(db_.exec("BEGIN"));
  RQ_TRY(read_tables(raw));
  RQ_TRY(read_places(raw));
  if (!any_) {
    return fail(Code::internal, "nothing of a store can be found in it",
                "restore a backup, with its -wal file");
  }
  RQ_TRY(check_queues());
  RQ_TRY(check_messages());
  RQ_TRY(set_meta());
  RQ_TRY(name_the_lost());
  RQ_TRY(derive());
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
  const bool fits = !row.values.empty() && std::ssize(row.values) <= table.columns;
  if (fits) {
    for (int i = 0; i < table.columns; ++i) {
      const bool there = i < std::ssize(row.values);
      if (i == 0 && table.numbered) {
        table.insert.bind(1, row.rowid);
      } else if (there) {
        bind_value(table.insert, i + 1, row.values[static_cast<std::size_t>(i)]);
      } else if (std::string_view{table.name} == "queue" && i == 9) {
        table.insert.bind(i + 1, std::int64_t{0});  // `going`, in rows of old versions
      } else {
        table.insert.bind_null(i + 1);
      }
    }
    if (table.insert.run()) {
      any_ = true;
      return {};
    }
    if ((sqlite3_extended_errcode(db_.handle()) & 0xff) != SQLITE_CONSTRAINT) {
      return fail(Code::internal,
                  fmt::format("the store cannot be rebuilt: {}", sqlite3_errmsg(db_.handle())),
                  "see that there is room on the disk");
    }
  }
  return note(table.name, seq, "its row is damaged", &row);
}

// Of a page that its tree has lost: what it is shows in its values.
Result<void> Rebuild::take_lost(RawRow&& row) {
  const std::int64_t columns = std::ssize(row.values);
  const auto like = [columns](const Table& table) {
    return columns == table.columns || columns == table.columns - 1;
  };
  Table& queue = tables_[0];
  Table& message = tables_[1];
  Table& detail = tables_[2];
  const auto* state = text(row, 2);
  if (like(message) && state != nullptr && core::state_of(*state)) {
    return take(message, std::move(row));
  }
  if (like(detail)) return take(detail, std::move(row));
  if (like(queue) && text(row, 1) != nullptr && state != nullptr && core::admin_of(*state)) {
    return take(queue, std::move(row));
  }
  return {};
}

Result<void> Rebuild::read_tables(RawFile& raw) {
  Result<void> ok;
  for (Table& table : tables_) {
    raw.walk(table.name, [&](RawRow&& row) {
      const auto columns = std::ssize(row.values);
      if (std::string_view{table.name} == "lease") {
        boot_max_ = std::max(boot_max_, number(row, 4));
        placed_.insert(row.rowid);
      }
      // A tree may lead to a page of another one.
      const bool ours = columns <= table.columns && columns >= table.columns - kColumnsAdded;
      if (ok) ok = ours ? take(table, std::move(row)) : take_lost(std::move(row));
    });
  }
  raw.walk("counter", [&](RawRow&& row) {
    counter_.bind(1, row.rowid);
    int at = 2;
    for (const std::size_t column : {12U, 13U, 14U, 15U, 16U, 17U, 18U, 20U, 21U}) {
      counter_.bind(at++, std::max<std::int64_t>(number(row, column), 0));
    }
    if (ok) ok = counter_.run();
  });
  raw.walk("waste", [&](RawRow&& row) {
    if (const auto* folder = text(row, 0); ok && folder != nullptr) {
      ok = waste_.bind(1, std::string_view{*folder}).run();
    }
  });
  raw.walk("sqlite_sequence", [&](RawRow&& row) { last_queue_ = number(row, 1); });
  raw.walk("meta", [&](RawRow&& row) {
    const auto* key = text(row, 0);
    if (key == nullptr || row.values.size() != 2) return;
    any_ = true;
    if (*key == "next_seq") next_seq_ = number(row, 1);
    if (*key == "boot") boot_ = number(row, 1);
    if (*key == "identity") identity_ = number(row, 1);
    if (*key == "crc_from") crc_from_ = number(row, 1);
  });
  return ok;
}

// Messages of which a place is told; and what a tree has lost.
Result<void> Rebuild::read_places(RawFile& raw) {
  raw.walk("ready", [&](RawRow&& row) {
    const Seq first = number(row, 4);
    const Seq last = std::min(number(row, 3), first + kLostNamedMax);
    for (Seq seq = first; seq <= last && seq > 0; ++seq) placed_.insert(placed_.end(), seq);
  });
  raw.walk("scheduled", [&](RawRow&& row) { placed_.insert(number(row, 1)); });
  raw.walk("finished", [&](RawRow&& row) { placed_.insert(number(row, 3)); });
  raw.walk("parked", [&](RawRow&& row) { placed_.insert(number(row, 1)); });
  Result<void> ok;
  if (raw.broken()) {
    raw.walk_lost([&](RawRow&& row) {
      if (ok) ok = take_lost(std::move(row));
    });
  }
  return ok;
}

Result<void> Rebuild::set_meta() {
  RQ_TRY_ASSIGN(newest, db_.one("SELECT max(seq) FROM message"));
  const Seq seq_max = newest.value_or(0);
  const bool known = next_seq_ && *next_seq_ > seq_max && *next_seq_ <= seq_max + kNumbersMax;
  const Seq next = known ? *next_seq_ : seq_max + 1 + kNumbersLeftOut;
  const core::Boot boot =
      std::max({boot_.value_or(0), known_.boot, boot_max_}) + (boot_ ? 0 : kBootsLeftOut);
  const std::int64_t identity = known_.identity != 0 ? known_.identity : identity_.value_or(0);
  const auto set = [this](std::string_view key, std::int64_t value) {
    return db_.exec(fmt::format("UPDATE meta SET value = {} WHERE key = '{}'", value, key).c_str());
  };
  RQ_TRY(set("next_seq", next));
  RQ_TRY(set("boot", boot));
  RQ_TRY(set("crc_from", std::min(crc_from_.value_or(next), next)));
  return identity == 0 ? Result<void>{} : set("identity", identity);
}

Result<void> Rebuild::check_queues() {
  RQ_TRY(
      db_.exec("INSERT OR IGNORE INTO counter SELECT id,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0 "
               "FROM queue"));
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
        gone.integer(0) > 0 && gone.integer(0) <= std::max<std::int64_t>(last_queue_, 1'000'000);
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
  RQ_TRY(db_.exec(fmt::format("INSERT OR IGNORE INTO counter VALUES "
                              "({},0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0)",
                              id)
                      .c_str()));
  return note("queue", std::nullopt, fmt::format("queue '{}': {}", queue.name, why), nullptr);
}

Result<void> Rebuild::check_messages() {
  RQ_TRY_ASSIGN(time, db_.one("SELECT unixepoch() * 1000"));
  const core::Instant now = base::from_ms(time.value_or(0));
  Statement all;
  RQ_TRY(all.prepare(db_.handle(),
                     fmt::format("SELECT {}, q.id FROM message m {} LEFT JOIN queue q ON q.id = "
                                 "m.queue",
                                 kMessageColumns, kMessageJoins)
                         .c_str(),
                     false));
  std::vector<std::pair<Seq, std::string>> bad;
  for (;;) {
    RQ_TRY_ASSIGN(found, all.step());
    if (!found) break;
    const Seq seq = seq_of(all);
    const auto message = read_message(all, crc_from_.value_or(INT64_MAX));
    if (!message) {
      bad.emplace_back(seq, message.error().message);
    } else if (all.is_null(kMessageColumnCount)) {
      bad.emplace_back(seq, "its queue is not there");
    }
  }
  for (const auto& [seq, why] : bad) {
    placed_.erase(seq);
    RQ_TRY(damage_.keep(seq, {}, why, now));
    RQ_TRY(damage_.wipe(seq, {}));
  }
  return {};
}

Result<void> Rebuild::name_the_lost() {
  Statement there;
  RQ_TRY(there.prepare(db_.handle(), "SELECT 1 FROM message WHERE seq = ?1"));
  for (const Seq seq : placed_) {
    RQ_TRY_ASSIGN(found, there.bind(1, seq).step());
    there.reset();
    if (found) continue;
    RQ_TRY(note("message", seq, "its row cannot be found any more", nullptr));
  }
  return {};
}

static_assert(core::kHighPriority == -1024, "the text about `high` says: rank < 1024");

// Everything else follows from the messages.
Result<void> Rebuild::derive() {
  return db_.exec(R"sql(
DELETE FROM detail WHERE seq NOT IN (SELECT seq FROM message WHERE detailed = 1);
DELETE FROM attempt WHERE seq NOT IN (SELECT seq FROM message);
DELETE FROM lease WHERE seq NOT IN (SELECT seq FROM message);
UPDATE lease SET queue = (SELECT queue FROM message m WHERE m.seq = lease.seq);
INSERT OR IGNORE INTO tag SELECT t.value, d.seq FROM detail d, json_each(d.tags) t
 WHERE d.tags IS NOT NULL;
CREATE TEMP VIEW resting AS SELECT m.seq, m.queue, m.rest_state, m.mark, m.finished,
  -m.priority AS rank, coalesce(m.ord, m.due, m.created) AS ord, coalesce(m.due, m.created) AS due
  FROM main.message m WHERE m.seq NOT IN (SELECT seq FROM main.lease);
INSERT INTO ready SELECT queue, rank, ord, max(seq), min(seq)
  FROM (SELECT queue, rank, ord, seq,
               seq - row_number() OVER (PARTITION BY queue, rank, ord ORDER BY seq) AS run
          FROM temp.resting WHERE rest_state = 'que')
 GROUP BY queue, rank, ord, run;
INSERT INTO scheduled SELECT due, seq, queue FROM temp.resting WHERE rest_state = 'scheduled';
INSERT INTO parked SELECT queue, seq FROM temp.resting
 WHERE rest_state IN ('prep', 'throttled', 'depends');
INSERT INTO finished SELECT queue, CASE WHEN rest_state = 'cancelled' THEN 'cancelled'
  WHEN rest_state <> 'err' THEN 'kept'
  WHEN mark = 'held' THEN 'held' ELSE 'err' END, coalesce(finished, 0), seq FROM temp.resting
 WHERE rest_state IN ('done', 'relayed', 'cancelled', 'err');
UPDATE counter SET
  que = (SELECT coalesce(sum(last_seq - first_seq + 1), 0) FROM ready r
          WHERE r.queue = counter.queue),
  high = (SELECT coalesce(sum(last_seq - first_seq + 1), 0) FROM ready r
           WHERE r.queue = counter.queue AND r.rank < 1024),
  run = (SELECT count(*) FROM lease l WHERE l.queue = counter.queue);
CREATE TEMP TABLE counted AS SELECT queue, rest_state, mark, count(*) AS n FROM temp.resting
 GROUP BY 1, 2, 3;
CREATE INDEX temp.counted_queue ON counted (queue);
UPDATE counter SET
  prep = (SELECT coalesce(sum(n), 0) FROM temp.counted t
           WHERE t.queue = counter.queue AND rest_state = 'prep'),
  scheduled = (SELECT coalesce(sum(n), 0) FROM temp.counted t
                WHERE t.queue = counter.queue AND rest_state = 'scheduled'),
  throttled = (SELECT coalesce(sum(n), 0) FROM temp.counted t
                WHERE t.queue = counter.queue AND rest_state = 'throttled'),
  depends = (SELECT coalesce(sum(n), 0) FROM temp.counted t
              WHERE t.queue = counter.queue AND rest_state = 'depends'),
  done = (SELECT coalesce(sum(n), 0) FROM temp.counted t
           WHERE t.queue = counter.queue AND rest_state = 'done'),
  relayed = (SELECT coalesce(sum(n), 0) FROM temp.counted t
              WHERE t.queue = counter.queue AND rest_state = 'relayed'),
  err = (SELECT coalesce(sum(n), 0) FROM temp.counted t
          WHERE t.queue = counter.queue AND rest_state = 'err'),
  cancelled = (SELECT coalesce(sum(n), 0) FROM temp.counted t
                WHERE t.queue = counter.queue AND rest_state = 'cancelled'),
  held = (SELECT coalesce(sum(n), 0) FROM temp.counted t
           WHERE t.queue = counter.queue AND rest_state = 'err' AND mark = 'held');
DELETE FROM counter WHERE queue NOT IN (SELECT id FROM queue);
INSERT INTO timer SELECT 'keep_done', queue, 0, 0 FROM counter WHERE done + relayed > 0;
INSERT INTO timer SELECT 'keep_cancelled', queue, 0, 0 FROM counter WHERE cancelled > 0;
INSERT INTO timer SELECT 'keep_err', queue, 0, 0 FROM counter WHERE err > held;
INSERT INTO timer SELECT 'resume', id, 0, paused_until FROM queue WHERE paused_until IS NOT NULL;
INSERT INTO timer SELECT 'idle', id, 0, 0 FROM queue WHERE on_demand;
INSERT INTO timer SELECT 'going', id, 0, 0 FROM queue WHERE going;
)sql");
}

}  // namespace

namespace {

base::Error cannot(std::string_view what, const fs::path& file, const std::error_code& error) {
  return fail(error == std::errc::no_space_on_device ? Code::disk_full : Code::internal,
              fmt::format("the store is damaged, and cannot be rebuilt: cannot {} {}: {}", what,
                          file.string(), error.message()),
              "see that the disk has room for it twice, then start the server again");
}

// Whole: a rebuild that was cut short has another name, and begins anew.
fs::path fresh_of(const fs::path& file) { return file.string() + ".fresh"; }
fs::path making_of(const fs::path& file) { return file.string() + ".making"; }
fs::path log_of(const fs::path& file) { return file.string() + "-wal"; }

// Where the damaged one goes.
fs::path kept_of(const fs::path& file) {
  std::error_code none;
  for (int n = 1; n < kDamagedKept; ++n) {
    fs::path kept = fmt::format("{}.damaged-{}", file.string(), n);
    if (!fs::exists(kept, none) && !fs::exists(log_of(kept), none)) return kept;
  }
  return fmt::format("{}.damaged-{}", file.string(), kDamagedKept);
}

Result<void> make(const fs::path& file, const Remembered& known, std::string_view why) {
  const fs::path making = making_of(file);
  std::error_code error;
  fs::remove(making, error);
  fs::remove(making.string() + "-journal", error);
  {
    RawFile raw;
    RQ_TRY(raw.open(file, known.roots));
    Db db;
    RQ_TRY(db.open(making, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX));
    RQ_TRY(db.exec("PRAGMA temp_store = MEMORY"));
    RQ_TRY(migrate(db));
    if (auto done = Rebuild(db, known, why).run(raw); !done) {
      return fail(done.error().code,
                  fmt::format("{} is damaged, and cannot be rebuilt: {}", file.string(),
                              done.error().message),
                  done.error().remedy);
    }
  }
  fs::permissions(making, fs::status(file, error).permissions(), error);
  fs::rename(making, fresh_of(file), error);
  return error ? cannot("rename", making, error) : Result<void>{};
}

// May have been begun before: it goes on where it was.
Result<void> take_its_place(const fs::path& file) {
  std::error_code error;
  const fs::path kept = kept_of(file);
  if (fs::exists(file)) fs::rename(file, kept, error);
  if (error) return cannot("rename", file, error);
  if (fs::exists(log_of(file))) fs::rename(log_of(file), log_of(kept), error);
  if (error) return cannot("rename", log_of(file), error);
  fs::remove(file.string() + "-shm", error);
  fs::rename(fresh_of(file), file, error);
  if (error) return cannot("rename", fresh_of(file), error);
  fs::remove(rebuild_mark(file), error);
  return {};
}

// What an opening of the store reads; a row that cannot be read is a fault.
Result<void> try_to_read(Db& db) {
  RQ_TRY_ASSIGN(version, db.one("PRAGMA user_version"));
  if (version.value_or(0) != newest_version()) {
    RQ_TRY(db.one("SELECT count(*) FROM sqlite_schema"));
    return {};
  }
  RQ_TRY_ASSIGN(meta, db.one("SELECT count(*) FROM meta WHERE key IN ('boot', 'next_seq', "
                             "'identity', 'crc_from') AND value >= 0"));
  RQ_TRY_ASSIGN(numbered, db.one("SELECT coalesce(max(seq), 0) < (SELECT value FROM meta WHERE key "
                                 "= 'next_seq') FROM message"));
  if (meta.value_or(0) != 4 || numbered.value_or(0) == 0) {
    return fail(Code::internal, "table meta is damaged");
  }
  RQ_TRY_ASSIGN(lost,
                db.one("SELECT count(*) FROM counter WHERE queue NOT IN (SELECT id FROM queue)"));
  if (lost.value_or(0) != 0) return fail(Code::internal, "a queue has lost its row");
  Statement queues;
  RQ_TRY(queues.prepare(
      db.handle(),
      fmt::format("SELECT {} FROM queue q LEFT JOIN counter c ON c.queue = q.id", kQueueColumns)
          .c_str(),
      false));
  for (;;) {
    RQ_TRY_ASSIGN(found, queues.step());
    if (!found) break;
    RQ_TRY(read_queue(queues));
  }
  // Through their indexes as well.
  for (const char* sql :
       {"SELECT id FROM queue", "SELECT 1 FROM queue WHERE name = ''",
        "SELECT sum(until) FROM lease", "SELECT sum(at) FROM timer",
        "SELECT min(due) FROM scheduled", "SELECT due FROM scheduled WHERE queue = 0",
        "SELECT max(seq) FROM message", "SELECT first_seq FROM ready LIMIT 1",
        "SELECT seq FROM finished LIMIT 1", "SELECT seq FROM detail LIMIT 1",
        "SELECT seq FROM detail WHERE key = ''", "SELECT seq FROM parked LIMIT 1",
        "SELECT seq FROM attempt LIMIT 1", "SELECT seq FROM tag LIMIT 1",
        "SELECT folder FROM waste LIMIT 1", "SELECT count(*) FROM corrupt",
        "SELECT seq FROM sqlite_sequence"}) {
    RQ_TRY(db.one(sql));
  }
  return {};
}

}  // namespace

fs::path rebuild_mark(const fs::path& file) { return file.string() + ".rebuild"; }

Result<void> finish_rebuild(const fs::path& file) {
  std::error_code none;
  return fs::exists(fresh_of(file), none) ? take_its_place(file) : Result<void>{};
}

Result<void> rebuild_if_damaged(const fs::path& file, const Remembered& remembered) {
  std::error_code none;
  if (!fs::exists(file, none) || fs::file_size(file, none) == 0) return {};
  std::string why;
  if (fs::exists(rebuild_mark(file), none)) {
    why = fmt::format("{} was there", rebuild_mark(file).string());
  } else {
    Db db;
    RQ_TRY(db.open(file, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX));
    const auto read = try_to_read(db);
    // Other faults are the opening's own business.
    const bool damaged = !read && (is_damage(db) || read.error().code == Code::internal ||
                                   sqlite3_errcode(db.handle()) == SQLITE_ERROR);
    if (!damaged) return {};
    why = read.error().message;
  }
  RQ_TRY(make(file, remembered, why));
  return take_its_place(file);
}

Result<void> rebuild_open(const fs::path& file, Db& db, const Remembered& remembered) {
  RQ_TRY(make(file, remembered, "a page could not be read"));
  const fs::path kept = kept_of(file);
  std::error_code error;
  fs::copy_file(file, kept, fs::copy_options::overwrite_existing, error);
  if (!error && fs::exists(log_of(file))) {
    fs::copy_file(log_of(file), log_of(kept), fs::copy_options::overwrite_existing, error);
  }
  if (error) return cannot("copy", file, error);
  const fs::path fresh = fresh_of(file);
  {
    Db from;
    RQ_TRY(from.open(fresh, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX));
    sqlite3_backup* copy = sqlite3_backup_init(db.handle(), "main", from.handle(), "main");
    if (copy == nullptr) {
      return fault(db.handle(), sqlite3_errcode(db.handle()), "rebuilding the store");
    }
    sqlite3_backup_step(copy, -1);
    if (const int code = sqlite3_backup_finish(copy); code != SQLITE_OK) {
      return fault(db.handle(), code, "rebuilding the store");
    }
  }
  fs::remove(fresh, error);
  fs::remove(rebuild_mark(file), error);
  return {};
}

}  // namespace rq::store::sqlite
