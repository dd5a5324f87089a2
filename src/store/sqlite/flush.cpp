// What the changes of a batch mean for the tables. Each table is written in the order of its keys,
// and neighbours that go together go in one statement.
#include <boost/json.hpp>

#include <algorithm>
#include <optional>

#include "base/check.h"
#include "base/limits.h"
#include "core/settings_json.h"
#include "store/sqlite/rows.h"
#include "store/sqlite/sqlite_store.h"

namespace rq::store::sqlite {

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

}  // namespace

Result<void> SqliteStore::flush() {
  if (dirty_.empty() && attempts_.empty() && changed_queues_.empty() && changed_counters_.empty() &&
      erased_queues_.empty()) {
    return {};
  }
  RQ_TRY(ensure_transaction());
  RQ_TRY(flush_messages());
  RQ_TRY(flush_ready());
  RQ_TRY(flush_scheduled());
  RQ_TRY(flush_finished());
  RQ_TRY(flush_leases());
  RQ_TRY(flush_attempts());
  RQ_TRY(flush_queues());

  for (Held* held : dirty_) {
    held->dirty = false;
    held->whole = false;
    held->lease_changed = false;
    held->stored = held->now;
    if (!held->erased) {
      written_.push_back(held->message.seq);
      continue;
    }
    held_bytes_ -= held->message.payload.size();
    const Seq seq = held->message.seq;
    auto& slot = slots_[static_cast<std::size_t>(seq) & (slots_.size() - 1)];
    if (slot.get() == held) {
      slot.reset();
    } else {
      overflow_.erase(seq);
    }
  }
  dirty_.clear();
  return {};
}

// What goes goes first: its pages serve for what comes. (SQLite writes a page that was changed and
// then freed to the log, unless the same transaction takes it again.)
Result<void> SqliteStore::flush_messages() {
  seqs_.clear();
  for (Held* held : dirty_) {
    if (!held->erased || !held->in_table) continue;
    seqs_.push_back(held->message.seq);
    RQ_TRY(delete_rows_of(*held));
  }
  std::sort(seqs_.begin(), seqs_.end());
  RQ_TRY(for_each_run(seqs_, [this](Seq first, Seq last) {
    if (first == last) return sql_.delete_message.bind(1, first).run();
    return sql_.delete_messages.bind(1, first).bind(2, last).run();
  }));
  batch_message_.rows.clear();
  for (Held* held : dirty_) {
    if (held->erased || !held->whole) continue;
    if (held->in_table) {
      bind_update(sql_.update_message, held->message);
      RQ_TRY(sql_.update_message.run());
    } else {
      batch_message_.rows.push_back(&held->message);
      held->in_table = true;
    }
    if (held->message.details) RQ_TRY(write_detail(*held));
  }
  return batch_message_.rows.empty() ? Result<void>{} : sql_.insert_messages.run();
}

Result<void> SqliteStore::write_detail(Held& held) {
  DetailTexts texts;
  bind_detail(sql_.replace_detail, held.message.seq, *held.message.details, texts);
  RQ_TRY(sql_.replace_detail.run());
  held.has_detail = true;
  if (held.tagged) return {};
  held.tagged = true;
  for (const std::string& tag : held.message.details->tags) {
    RQ_TRY(sql_.insert_tag.bind(1, tag).bind(2, held.message.seq).run());
  }
  return {};
}

Result<void> SqliteStore::delete_rows_of(Held& held) {
  const Message& message = held.message;
  if (held.has_detail) {
    RQ_TRY(sql_.delete_detail.bind(1, message.seq).run());
    for (const std::string& tag : message.details->tags) {
      RQ_TRY(sql_.delete_tag.bind(1, tag).bind(2, message.seq).run());
    }
    if (!message.details->folder.empty()) {
      RQ_TRY(sql_.insert_waste.bind(1, message.details->folder).run());
    }
  }
  if (held.attempted) RQ_TRY(sql_.delete_attempts.bind(1, message.seq).run());
  return {};
}

Result<void> SqliteStore::flush_ready() {
  ready_removals_.clear();
  ready_inserts_.clear();
  for (const Held* held : dirty_) {
    if (held->stored == held->now) continue;
    const Seq seq = held->message.seq;
    if (held->stored.where == Where::ready) {
      ready_removals_.push_back({held->stored.queue, {held->stored.key, seq}});
    }
    if (held->now.where == Where::ready) {
      ready_inserts_.push_back({held->now.queue, {held->now.key, seq}});
    }
  }
  // Calls each(run) for the sorted places, cut where `apart` says that two neighbours of one queue
  // and rank do not go together.
  const auto for_each_run_of = [](std::vector<LinePlace>& places, auto apart,
                                  auto each) -> Result<void> {
    const auto before = [](const LinePlace& a, const LinePlace& b) {
      return std::pair{a.queue, a.key} < std::pair{b.queue, b.key};
    };
    if (!std::is_sorted(places.begin(), places.end(), before)) {
      std::sort(places.begin(), places.end(), before);
    }
    for (std::size_t i = 0; i < places.size();) {
      Run run{places[i].queue, places[i].key.rank, places[i].key.seq, places[i].key.seq};
      for (++i; i < places.size() && places[i].queue == run.queue &&
                places[i].key.rank == run.rank && !apart(run, places[i].key.seq);
           ++i) {
        run.last = places[i].key.seq;
      }
      RQ_TRY(each(run));
    }
    return {};
  };
  const auto gap = [](const Run& run, Seq next) { return next != run.last + 1; };
  RQ_TRY(for_each_run_of(ready_inserts_, gap, [this](const Run& run) { return add_to_line(run); }));
  // Two that go, with nothing between them that stays, go in one.
  const auto stays = [this, &gap](const Run& run, Seq next) {
    return gap(run, next) &&
           !windows_.clear_between(run.queue, {run.rank, run.last}, {run.rank, next});
  };
  return for_each_run_of(ready_removals_, stays,
                         [this](const Run& run) { return take_from_line(run); });
}

// REQUIRES: none of them is in the table.
Result<void> SqliteStore::add_to_line(const Run& run) {
  Statement& lengthen = sql_.lengthen_run;
  lengthen.bind(1, run.queue).bind(2, run.rank).bind(3, run.first - 1).bind(4, run.last);
  RQ_TRY(lengthen.run());
  if (sqlite3_changes(db_.handle()) > 0) return {};
  Statement& insert = sql_.insert_run;
  return insert.bind(1, run.queue).bind(2, run.rank).bind(3, run.first).bind(4, run.last).run();
}

// All that are in the table from run.first to run.last.
Result<void> SqliteStore::take_from_line(const Run& run) {
  // The first run of the table that reaches `from`.
  const auto find = [&](Seq from) -> Result<std::optional<std::pair<Seq, Seq>>> {
    Statement& query = sql_.find_run;
    query.bind(1, run.queue).bind(2, run.rank).bind(3, from);
    RQ_TRY_ASSIGN(found, query.step());
    if (!found) return std::optional<std::pair<Seq, Seq>>{};
    const std::pair<Seq, Seq> ends{query.integer(0), query.integer(1)};
    query.reset();
    return std::optional{ends};
  };
  const auto behead = [&](Seq last) {
    Statement& update = sql_.behead_run;
    return update.bind(1, run.queue).bind(2, run.rank).bind(3, last).bind(4, run.last + 1).run();
  };
  RQ_TRY_ASSIGN(found, find(run.first));
  if (!found || found->first > run.last) return {};
  const auto [first, last] = *found;
  if (first < run.first) {
    Statement& rest = sql_.insert_run;
    rest.bind(1, run.queue).bind(2, run.rank).bind(3, first).bind(4, run.first - 1);
    RQ_TRY(rest.run());
  }
  if (last > run.last) return behead(last);
  Statement& whole = sql_.delete_runs;
  RQ_TRY(whole.bind(1, run.queue).bind(2, run.rank).bind(3, run.first).bind(4, run.last).run());
  if (last == run.last) return {};
  RQ_TRY_ASSIGN(next, find(run.last + 1));
  return next && next->first <= run.last ? behead(next->second) : Result<void>{};
}

Result<void> SqliteStore::flush_scheduled() {
  for (const Held* held : dirty_) {
    if (held->stored == held->now) continue;
    const Seq seq = held->message.seq;
    if (held->stored.where == Where::scheduled) {
      RQ_TRY(sql_.delete_scheduled.bind(1, held->stored.key).bind(2, seq).run());
    }
    if (held->now.where == Where::scheduled) {
      Statement& insert = sql_.insert_scheduled;
      RQ_TRY(insert.bind(1, held->now.key).bind(2, seq).bind(3, held->now.queue).run());
    }
  }
  return {};
}

std::string_view SqliteStore::kind_of(Where where) {
  switch (where) {
    case Where::kept:
      return "kept";
    case Where::err:
      return "err";
    case Where::buried:
      return "buried";
    case Where::nowhere:
    case Where::ready:
    case Where::scheduled:
    case Where::lease:
      return {};
  }
  return {};
}

Result<void> SqliteStore::flush_finished() {
  for (const Held* held : dirty_) {
    if (held->stored == held->now) continue;
    const auto bind = [held](Statement& statement, const Place& place, std::string_view kind) {
      return statement.bind(1, place.queue)
          .bind(2, kind)
          .bind(3, place.key)
          .bind(4, held->message.seq)
          .run();
    };
    if (const auto kind = kind_of(held->stored.where); !kind.empty()) {
      RQ_TRY(bind(sql_.delete_finished, held->stored, kind));
    }
    if (const auto kind = kind_of(held->now.where); !kind.empty()) {
      RQ_TRY(bind(sql_.insert_finished, held->now, kind));
    }
  }
  return {};
}

Result<void> SqliteStore::flush_leases() {
  seqs_.clear();
  batch_lease_.rows.clear();
  for (Held* held : dirty_) {
    const bool was = held->stored.where == Where::lease;
    const bool is = held->now.where == Where::lease;
    if (was && !is) seqs_.push_back(held->message.seq);
    if (is && !was) batch_lease_.rows.push_back(&held->message);
  }
  std::sort(seqs_.begin(), seqs_.end());
  RQ_TRY(for_each_run(seqs_, [this](Seq first, Seq last) {
    if (first == last) return sql_.delete_lease.bind(1, first).run();
    return sql_.delete_leases.bind(1, first).bind(2, last).run();
  }));
  if (!batch_lease_.rows.empty()) {
    std::sort(batch_lease_.rows.begin(), batch_lease_.rows.end(), [](const void* a, const void* b) {
      return static_cast<const Message*>(a)->seq < static_cast<const Message*>(b)->seq;
    });
    RQ_TRY(sql_.insert_leases.run());
  }
  batch_lease_.rows.clear();
  for (Held* held : dirty_) {
    if (held->lease_changed && held->stored.where == Where::lease &&
        held->now.where == Where::lease) {
      batch_lease_.rows.push_back(&held->message);
    }
  }
  return batch_lease_.rows.empty() ? Result<void>{} : sql_.replace_leases.run();
}

Result<void> SqliteStore::flush_attempts() {
  for (const Attempt& attempt : attempts_) {
    // The message may have gone in the same batch.
    Held* message = held(attempt.seq);
    if (message != nullptr) {
      if (message->erased) continue;
      message->attempted = true;
    }
    Statement& replace = sql_.replace_attempt;
    replace.bind(1, attempt.seq).bind(2, attempt.number).bind_text_or_null(3, attempt.worker);
    replace.bind(4, base::to_ms(attempt.started)).bind(5, base::to_ms(attempt.ended));
    replace.bind(6, attempt.outcome).bind_text_or_null(7, attempt.reason);
    RQ_TRY(replace.bind_text_or_null(8, attempt.post_mortem).run());
    if (attempt.number > base::kAttemptsKeptMax) {
      Statement& trim = sql_.trim_attempts;
      RQ_TRY(trim.bind(1, attempt.seq).bind(2, attempt.number - base::kAttemptsKeptMax).run());
    }
  }
  attempts_.clear();
  return {};
}

// --- Queues ---

namespace {

// Eight values from 1.
void bind_queue(Statement& statement, const Queue& queue, const std::string& settings) {
  statement.bind(1, queue.name).bind(2, core::name_of(queue.admin));
  queue.paused_until == Instant{} ? statement.bind_null(3)
                                  : statement.bind(3, base::to_ms(queue.paused_until));
  statement.bind(4, queue.revision).bind(5, base::to_ms(queue.created));
  statement.bind(6, queue.on_demand ? 1 : 0).bind_text_or_null(7, queue.script_error);
  statement.bind(8, settings);
}

std::string settings_text(const Queue& queue) {
  return boost::json::serialize(core::to_json(queue.settings));
}

}  // namespace

Result<void> SqliteStore::insert(Queue& queue) {
  // One of the same name may have been erased by this batch.
  RQ_TRY(flush());
  RQ_TRY(ensure_transaction());
  const std::string settings = settings_text(queue);
  bind_queue(sql_.insert_queue, queue, settings);
  RQ_TRY(sql_.insert_queue.run());
  queue.id = sqlite3_last_insert_rowid(db_.handle());
  changed_counters_.emplace_back(queue.id, queue.counters);
  windows_.start_empty(queue.id);
  return {};
}

Result<void> SqliteStore::flush_queues() {
  for (const Queue& queue : changed_queues_) {
    const std::string settings = settings_text(queue);
    bind_queue(sql_.update_queue, queue, settings);
    RQ_TRY(sql_.update_queue.bind(9, queue.id).run());
  }
  changed_queues_.clear();
  for (const auto& [id, counters] : changed_counters_) {
    Statement& replace = sql_.replace_counter;
    replace.bind(1, id);
    int at = 2;
    for (const std::int64_t n : counters.in_state) replace.bind(at++, n);
    for (const std::int64_t n :
         {counters.buried, counters.puts, counters.dones, counters.errs, counters.retries,
          counters.losses, counters.cancels, counters.deletes, counters.urgent}) {
      replace.bind(at++, n);
    }
    RQ_TRY(replace.run());
  }
  changed_counters_.clear();
  for (const QueueId id : erased_queues_) {
    RQ_TRY(sql_.delete_queue.bind(1, id).run());
    RQ_TRY(sql_.delete_counter.bind(1, id).run());
  }
  erased_queues_.clear();
  return {};
}

}  // namespace rq::store::sqlite
