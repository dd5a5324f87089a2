#include "store/sqlite/writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "base/limits.h"
#include "core/settings_json.h"
#include "store/sqlite/firsts.h"
#include "store/sqlite/rows.h"

namespace rq::store::sqlite {

using base::Result;

namespace {

// Calls each(first, last) for every run of consecutive numbers of the sorted `seqs`.
template <typename Each>
Result<void> for_each_run(const std::vector<Seq>& seqs, Each each) {
  for (std::size_t i = 0; i < seqs.size();) {
    std::size_t end = i + 1;
    while (end < seqs.size() && seqs[end] == seqs[end - 1] + 1) ++end;
    RQ_TRY(each(seqs[i], seqs[end - 1]));
    i = end;
  }
  return {};
}

// By number, so that each row goes where the one before it went.
Result<void> insert_in_order(BatchRows& batch, Statement& insert) {
  if (batch.rows.empty()) return {};
  std::sort(batch.rows.begin(), batch.rows.end(), [](const void* a, const void* b) {
    return static_cast<const Message*>(a)->seq < static_cast<const Message*>(b)->seq;
  });
  return insert.run();
}

}  // namespace

Result<void> Writer::prepare(Db& db) {
  db_ = &db;
  struct Item {
    Statement& statement;
    const char* sql;
  };
  const Item items[] = {
      // OR FAIL: a conflict would be a bug, and fails the batch whole. The default, ABORT, would
      // have SQLite keep a journal for undoing the one statement.
      {insert_messages_, "INSERT OR FAIL INTO message SELECT * FROM batch_message"},
      {insert_plain_messages_, kInsertPlainMessages},
      {update_message_, kUpdateMessage},
      {delete_message_, "DELETE FROM message WHERE seq = ?1"},
      {delete_messages_, "DELETE FROM message WHERE seq BETWEEN ?1 AND ?2"},
      {replace_detail_,
       "INSERT OR REPLACE INTO detail VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,"
       "?16,?17,?18,?19,?20,?21,?22,?23)"},
      {delete_detail_, "DELETE FROM detail WHERE seq = ?1"},
      {insert_tag_, "INSERT OR IGNORE INTO tag VALUES (?1,?2)"},
      {delete_tag_, "DELETE FROM tag WHERE tag = ?1 AND seq = ?2"},
      {find_run_,
       "SELECT first_seq, last_seq FROM ready WHERE queue = ?1 AND rank = ?2 AND ord = ?4 AND "
       "last_seq >= ?3 ORDER BY last_seq LIMIT 1"},
      {insert_run_,
       "INSERT INTO ready (queue, rank, ord, first_seq, last_seq) VALUES (?1,?2,?5,?3,?4)"},
      {lengthen_run_,
       "UPDATE ready SET last_seq = ?4 WHERE queue = ?1 AND rank = ?2 AND ord = ?5 AND "
       "last_seq = ?3"},
      {behead_run_,
       "UPDATE ready SET first_seq = ?4 WHERE queue = ?1 AND rank = ?2 AND ord = ?5 AND "
       "last_seq = ?3"},
      {delete_runs_,
       "DELETE FROM ready WHERE queue = ?1 AND rank = ?2 AND ord = ?5 AND "
       "last_seq BETWEEN ?3 AND ?4"},
      {insert_scheduled_, "INSERT INTO scheduled VALUES (?1,?2,?3)"},
      {delete_scheduled_, "DELETE FROM scheduled WHERE due = ?1 AND seq = ?2"},
      {insert_finished_, "INSERT INTO finished VALUES (?1,?2,?3,?4)"},
      {delete_finished_,
       "DELETE FROM finished WHERE queue = ?1 AND kind = ?2 AND at = ?3 AND seq = ?4"},
      {insert_parked_, "INSERT INTO parked VALUES (?1,?2)"},
      {delete_parked_, "DELETE FROM parked WHERE queue = ?1 AND seq = ?2"},
      {insert_leases_, "INSERT OR FAIL INTO lease SELECT * FROM batch_lease"},
      {insert_plain_leases_, kInsertPlainLeases},
      {replace_leases_, "INSERT OR REPLACE INTO lease SELECT * FROM batch_lease"},
      {delete_lease_, "DELETE FROM lease WHERE seq = ?1"},
      {delete_leases_, "DELETE FROM lease WHERE seq BETWEEN ?1 AND ?2"},
      {replace_attempt_, "INSERT OR REPLACE INTO attempt VALUES (?1,?2,?3,?4,?5,?6,?7,?8)"},
      {trim_attempts_, "DELETE FROM attempt WHERE seq = ?1 AND number <= ?2"},
      {delete_attempts_, "DELETE FROM attempt WHERE seq = ?1"},
      {insert_waste_, "INSERT OR IGNORE INTO waste VALUES (?1)"},
      {delete_waste_, "DELETE FROM waste WHERE folder = ?1"},
      {insert_queue_,
       "INSERT INTO queue (name, admin, paused_until, revision, created, on_demand, script_error, "
       "settings, going, crc, id) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)"},
      {update_queue_,
       "UPDATE queue SET name = ?1, admin = ?2, paused_until = ?3, revision = ?4, created = ?5, "
       "on_demand = ?6, script_error = ?7, settings = ?8, going = ?9, crc = ?10 WHERE id = ?11"},
      {delete_queue_, "DELETE FROM queue WHERE id = ?1"},
      {replace_counter_,
       "INSERT OR REPLACE INTO counter VALUES "
       "(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22)"},
      {delete_counter_, "DELETE FROM counter WHERE queue = ?1"},
  };
  RQ_TRY(meta_.prepare(db));
  RQ_TRY(batch_message_.attach(db, "batch_message", kMessageTableColumns, message_column));
  RQ_TRY(
      batch_plain_message_.attach(db, "batch_plain_message", kMessageTableColumns, message_column));
  RQ_TRY(batch_lease_.attach(db, "batch_lease", kLeaseTableColumns, lease_column));
  RQ_TRY(batch_plain_lease_.attach(db, "batch_plain_lease", kLeaseTableColumns, lease_column));
  for (const Item& item : items) RQ_TRY(item.statement.prepare(db.handle(), item.sql));
  return {};
}

Result<void> Writer::write(Changes& changes) {
  if (changes.block_end) RQ_TRY(meta_.set(kMetaNextSeq, *changes.block_end));
  RQ_TRY(write_messages(changes.dirty));
  RQ_TRY(write_lines(changes.dirty));
  RQ_TRY(write_places(changes.dirty));
  RQ_TRY(write_leases(changes.dirty));
  RQ_TRY(write_attempts(changes.attempts));
  RQ_TRY(write_queues(changes));
  for (const std::string& folder : changes.waste_gone) {
    RQ_TRY(delete_waste_.bind(1, folder).run());
  }
  for (Held* held : changes.dirty) {
    held->dirty = false;
    held->whole = false;
    held->lease_changed = false;
    held->stored = held->now;
  }
  return {};
}

// Deletes first, so that inserts reuse their pages. (SQLite writes a page that was changed and then
// freed to the log, unless the same transaction takes it again.)
Result<void> Writer::write_messages(const std::vector<Held*>& dirty) {
  seqs_.clear();
  for (const Held* held : dirty) {
    if (!held->erased || !held->in_table) continue;
    seqs_.push_back(held->seq());
    RQ_TRY(delete_rows_of(*held));
  }
  std::sort(seqs_.begin(), seqs_.end());
  RQ_TRY(for_each_run(seqs_, [this](Seq first, Seq last) {
    if (first == last) return delete_message_.bind(1, first).run();
    return delete_messages_.bind(1, first).bind(2, last).run();
  }));
  batch_message_.rows.clear();
  batch_plain_message_.rows.clear();
  for (Held* held : dirty) {
    if (held->erased || !held->whole) continue;
    if (held->in_table) {
      bind_update(update_message_, held->message);
      RQ_TRY(update_message_.run());
    } else {
      BatchRows& batch = is_plain(held->message) ? batch_plain_message_ : batch_message_;
      batch.rows.push_back(&held->message);
      held->in_table = true;
    }
    if (held->message.details) RQ_TRY(write_detail(*held));
  }
  if (!batch_plain_message_.rows.empty()) RQ_TRY(insert_plain_messages_.run());
  return batch_message_.rows.empty() ? Result<void>{} : insert_messages_.run();
}

Result<void> Writer::write_detail(Held& held) {
  DetailTexts texts;
  bind_detail(replace_detail_, held.message.seq, *held.message.details, texts);
  RQ_TRY(replace_detail_.run());
  held.has_detail = true;
  if (held.tagged) return {};
  held.tagged = true;
  for (const std::string& tag : held.message.details->tags) {
    RQ_TRY(insert_tag_.bind(1, tag).bind(2, held.message.seq).run());
  }
  return {};
}

Result<void> Writer::delete_rows_of(const Held& held) {
  const Message& message = held.message;
  if (held.has_detail) {
    RQ_TRY(delete_detail_.bind(1, message.seq).run());
    for (const std::string& tag : message.details->tags) {
      RQ_TRY(delete_tag_.bind(1, tag).bind(2, message.seq).run());
    }
    if (!message.details->folder.empty()) {
      RQ_TRY(insert_waste_.bind(1, message.details->folder).run());
    }
  }
  if (held.attempted) RQ_TRY(delete_attempts_.bind(1, message.seq).run());
  return {};
}

Result<void> Writer::write_lines(const std::vector<Held*>& dirty) {
  line_removals_.clear();
  line_inserts_.clear();
  for (const Held* held : dirty) {
    if (held->stored == held->now) continue;
    if (held->stored.in(Place::line)) {
      line_removals_.push_back({held->stored.queue, held->key_stored()});
    }
    if (held->now.in(Place::line)) line_inserts_.push_back({held->now.queue, held->key_now()});
  }
  // Calls each(run) for the sorted places, cut where `apart` says that two neighbours of one queue,
  // rank and order do not go together.
  const auto for_each_run_of = [](std::vector<LinePlace>& places, auto apart,
                                  auto each) -> Result<void> {
    const auto before = [](const LinePlace& a, const LinePlace& b) {
      return std::pair{a.queue, a.key} < std::pair{b.queue, b.key};
    };
    if (!std::is_sorted(places.begin(), places.end(), before)) {
      std::sort(places.begin(), places.end(), before);
    }
    for (std::size_t i = 0; i < places.size();) {
      const LineKey& key = places[i].key;
      Run run{places[i].queue, key.rank, key.order, key.seq, key.seq};
      const auto alike = [&run](const LinePlace& next) {
        return next.queue == run.queue && next.key.rank == run.rank && next.key.order == run.order;
      };
      for (++i; i < places.size() && alike(places[i]) && !apart(run, places[i].key.seq); ++i) {
        run.last = places[i].key.seq;
      }
      RQ_TRY(each(run));
    }
    return {};
  };
  const auto gap = [](const Run& run, Seq next) { return next != run.last + 1; };
  RQ_TRY(for_each_run_of(line_inserts_, gap, [this](const Run& run) { return add_to_line(run); }));
  // Two places that go, with no kept one between them, become one DELETE.
  const auto stays = [this, &gap](const Run& run, Seq next) {
    return gap(run, next) && !windows_.clear_between(run.queue, {run.rank, run.order, run.last},
                                                     {run.rank, run.order, next});
  };
  return for_each_run_of(line_removals_, stays,
                         [this](const Run& run) { return take_from_line(run); });
}

// REQUIRES: none of them is in the table.
Result<void> Writer::add_to_line(const Run& run) {
  Statement& lengthen = lengthen_run_;
  lengthen.bind(1, run.queue).bind(2, run.rank).bind(5, run.order);
  RQ_TRY(lengthen.bind(3, run.first - 1).bind(4, run.last).run());
  if (sqlite3_changes(db_->handle()) > 0) return {};
  Statement& insert = insert_run_;
  insert.bind(1, run.queue).bind(2, run.rank).bind(5, run.order);
  return insert.bind(3, run.first).bind(4, run.last).run();
}

// All that are in the table from run.first to run.last.
Result<void> Writer::take_from_line(const Run& run) {
  // The first run of the table that reaches `from`.
  const auto find = [&](Seq from) -> Result<std::optional<std::pair<Seq, Seq>>> {
    Statement& query = find_run_;
    query.bind(1, run.queue).bind(2, run.rank).bind(3, from).bind(4, run.order);
    RQ_TRY_ASSIGN(found, query.step());
    if (!found) return std::optional<std::pair<Seq, Seq>>{};
    const std::pair<Seq, Seq> ends{query.integer(0), query.integer(1)};
    query.reset();
    return std::optional{ends};
  };
  const auto behead = [&](Seq last) {
    Statement& update = behead_run_;
    update.bind(1, run.queue).bind(2, run.rank).bind(5, run.order);
    return update.bind(3, last).bind(4, run.last + 1).run();
  };
  RQ_TRY_ASSIGN(found, find(run.first));
  if (!found || found->first > run.last) return {};
  const auto [first, last] = *found;
  if (first < run.first) {
    Statement& rest = insert_run_;
    rest.bind(1, run.queue).bind(2, run.rank).bind(5, run.order);
    RQ_TRY(rest.bind(3, first).bind(4, run.first - 1).run());
  }
  if (last > run.last) return behead(last);
  Statement& whole = delete_runs_;
  whole.bind(1, run.queue).bind(2, run.rank).bind(5, run.order);
  RQ_TRY(whole.bind(3, run.first).bind(4, run.last).run());
  if (last == run.last) return {};
  RQ_TRY_ASSIGN(next, find(run.last + 1));
  return next && next->first <= run.last ? behead(next->second) : Result<void>{};
}

// The narrow tables of the other places, but for leases.
Result<void> Writer::write_places(const std::vector<Held*>& dirty) {
  const auto is_here = [](const Filed& filed) {
    return filed.anywhere && filed.place != Place::line && filed.place != Place::lease;
  };
  for (const Held* held : dirty) {
    if (is_here(held->stored) && held->stored != held->now) {
      RQ_TRY(unfile(held->stored, held->seq()));
    }
  }
  for (const Held* held : dirty) {
    if (is_here(held->now) && held->stored != held->now) RQ_TRY(file(held->now, held->seq()));
  }
  return {};
}

Result<void> Writer::unfile(const Filed& from, Seq seq) {
  if (from.place == Place::scheduled) {
    return delete_scheduled_.bind(1, from.time).bind(2, seq).run();
  }
  if (from.place == Place::parked) return delete_parked_.bind(1, from.queue).bind(2, seq).run();
  return delete_finished_.bind(1, from.queue)
      .bind(2, kind_of(from.place))
      .bind(3, from.time)
      .bind(4, seq)
      .run();
}

Result<void> Writer::file(const Filed& to, Seq seq) {
  if (to.place == Place::scheduled) {
    return insert_scheduled_.bind(1, to.time).bind(2, seq).bind(3, to.queue).run();
  }
  if (to.place == Place::parked) return insert_parked_.bind(1, to.queue).bind(2, seq).run();
  return insert_finished_.bind(1, to.queue)
      .bind(2, kind_of(to.place))
      .bind(3, to.time)
      .bind(4, seq)
      .run();
}

Result<void> Writer::write_leases(const std::vector<Held*>& dirty) {
  seqs_.clear();
  batch_lease_.rows.clear();
  batch_plain_lease_.rows.clear();
  for (const Held* held : dirty) {
    const bool was = held->stored.in(Place::lease);
    const bool is = held->now.in(Place::lease);
    if (was && !is) seqs_.push_back(held->seq());
    if (!is || was) continue;
    BatchRows& batch = is_plain(*held->message.lease) ? batch_plain_lease_ : batch_lease_;
    batch.rows.push_back(&held->message);
  }
  std::sort(seqs_.begin(), seqs_.end());
  RQ_TRY(for_each_run(seqs_, [this](Seq first, Seq last) {
    if (first == last) return delete_lease_.bind(1, first).run();
    return delete_leases_.bind(1, first).bind(2, last).run();
  }));
  RQ_TRY(insert_in_order(batch_plain_lease_, insert_plain_leases_));
  RQ_TRY(insert_in_order(batch_lease_, insert_leases_));
  batch_lease_.rows.clear();
  for (const Held* held : dirty) {
    if (held->lease_changed && held->stored.in(Place::lease) && held->now.in(Place::lease)) {
      batch_lease_.rows.push_back(&held->message);
    }
  }
  return batch_lease_.rows.empty() ? Result<void>{} : replace_leases_.run();
}

Result<void> Writer::write_attempts(const std::vector<Attempt>& attempts) {
  for (const Attempt& attempt : attempts) {
    // The message may have gone in the same batch.
    Held* message = records_.find(attempt.seq);
    if (message != nullptr) {
      if (message->erased) continue;
      message->attempted = true;
    }
    Statement& replace = replace_attempt_;
    replace.bind(1, attempt.seq).bind(2, attempt.number).bind_text_or_null(3, attempt.worker);
    replace.bind(4, base::to_ms(attempt.started)).bind(5, base::to_ms(attempt.ended));
    replace.bind(6, attempt.outcome).bind_text_or_null(7, attempt.reason);
    RQ_TRY(replace.bind_text_or_null(8, attempt.post_mortem).run());
    if (attempt.number > core::kAttemptsKept) {
      Statement& trim = trim_attempts_;
      RQ_TRY(trim.bind(1, attempt.seq).bind(2, attempt.number - core::kAttemptsKept).run());
    }
  }
  return {};
}

// --- Queues ---

namespace {

std::string settings_text(const Queue& queue) {
  return boost::json::serialize(core::to_json(queue.settings));
}

}  // namespace

Result<void> Writer::write_queues(const Changes& changes) {
  // One that is made may have the name of one that goes.
  for (const auto& [id, change] : changes.queues) {
    if (!change.erased || change.made) continue;
    RQ_TRY(delete_queue_.bind(1, id).run());
    RQ_TRY(delete_counter_.bind(1, id).run());
  }
  for (const auto& [id, change] : changes.queues) {
    if (change.erased) continue;
    if (change.row) {
      const std::string settings = settings_text(*change.row);
      Statement& statement = change.made ? insert_queue_ : update_queue_;
      bind_queue(statement, *change.row, settings);
      RQ_TRY(statement.bind(11, id).run());
    }
    if (change.counters) RQ_TRY(write_counters(id, *change.counters));
  }
  return {};
}

Result<void> Writer::write_counters(QueueId queue, const Counters& counters) {
  Statement& replace = replace_counter_;
  replace.bind(1, queue);
  int at = 2;
  for (const std::int64_t n : counters.in_state) replace.bind(at++, n);
  for (const std::int64_t n :
       {counters.held, counters.puts, counters.dones, counters.errs, counters.retries,
        counters.losses, counters.cancels, counters.deletes, counters.high, counters.expired,
        counters.expired_errs}) {
    replace.bind(at++, n);
  }
  return replace.run();
}

}  // namespace rq::store::sqlite
