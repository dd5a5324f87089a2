// What a batch changes in a store in memory, and its end.
#include <utility>

#include "base/check.h"
#include "store/memory/memory_store.h"

namespace rq::store::memory {

using base::Code;

namespace {

// A change of the place alone leaves all else as it was.
bool same_but_place(const Message& a, const Message& b) {
  return a.queue == b.queue && a.mark == b.mark && a.priority == b.priority &&
         a.created == b.created && a.due == b.due && a.order == b.order &&
         a.finished == b.finished && a.attempts == b.attempts && a.failures == b.failures &&
         a.losses == b.losses && a.count == b.count && a.max_count == b.max_count &&
         a.lease_length == b.lease_length && a.detail_or_default() == b.detail_or_default();
}

}  // namespace

// --- Messages ---

Seq MemoryStore::next_number() {
  RQ_CHECK(batch_.begun);
  if (next_ >= block_end_) {
    const Seq n = 1 + static_cast<Seq>(draw(static_cast<std::uint64_t>(options_.block_max)));
    next_ = disk_->take_numbers(
        n, static_cast<Seq>(draw(static_cast<std::uint64_t>(options_.gap_max) + 1)));
    block_end_ = next_ + n;
  }
  batch_.numbers.insert(next_);
  return next_++;
}

MemoryStore::Row& MemoryStore::row_of(Record& record) {
  const auto found = batch_.rows.find(record.message.seq);
  RQ_CHECK(found != batch_.rows.end() && static_cast<Record*>(&found->second) == &record);
  RQ_CHECK(found->second.there);
  return found->second;
}

Record& MemoryStore::insert(Message&& message) {
  RQ_CHECK(batch_.numbers.erase(message.seq) == 1);
  const Seq seq = message.seq;
  Row& row = batch_.rows[seq];
  RQ_CHECK(!row.there && row.stored == nullptr);
  row.message = std::move(message);
  row.there = row.payload = row.whole = true;
  if (const auto& details = row.message.details; details && !details->key.empty()) {
    batch_.new_keys[details->key] = seq;
  }
  refile(row);
  return row;
}

void MemoryStore::changed(Record& record, Change change) {
  Row& row = row_of(record);
  if (change == Change::whole) row.whole = true;
  refile(row);
}

// Files it where its state says.
void MemoryStore::refile(Row& row) {
  if (row.listed) batch_.in_hand.erase(row.filed);
  row.filed = placed(row.message);
  row.changed = row.listed = true;
  if (row.there) batch_.in_hand.insert(row.filed);
}

void MemoryStore::erase(Record& record) {
  Row& row = row_of(record);
  row.there = false;
  refile(row);
  if (const auto& details = row.message.details; details && !details->key.empty()) {
    const auto made = batch_.new_keys.find(details->key);
    if (made != batch_.new_keys.end() && made->second == row.message.seq) {
      batch_.new_keys.erase(made);
    }
  }
}

void MemoryStore::append(Attempt&& attempt) {
  RQ_CHECK(batch_.begun);
  batch_.attempts.push_back(std::move(attempt));
}

// --- Queues, timers, waste ---

QueueId MemoryStore::insert(const Queue& queue) {
  RQ_CHECK(batch_.begun);
  const QueueId id = disk_->take_queue_id(
      static_cast<QueueId>(draw(static_cast<std::uint64_t>(options_.gap_max) + 1)));
  QueueChange& change = batch_.queues[id];
  change.row = queue;
  change.row->id = id;
  change.counters = queue.counters;
  change.made = true;
  return id;
}

void MemoryStore::changed(const Queue& queue) {
  RQ_CHECK(batch_.begun);
  batch_.queues[queue.id].row = queue;
}

void MemoryStore::counted(const Queue& queue) {
  RQ_CHECK(batch_.begun);
  batch_.queues[queue.id].counters = queue.counters;
}

void MemoryStore::erase(const Queue& queue) {
  RQ_CHECK(batch_.begun);
  batch_.queues[queue.id].gone = true;
}

void MemoryStore::arm(const Timer& timer) {
  RQ_CHECK(batch_.begun);
  batch_.armed[{timer.what, timer.queue, timer.seq}] = timer.at;
}

void MemoryStore::disarm(const Timer& timer) {
  RQ_CHECK(batch_.begun);
  batch_.armed[{timer.what, timer.queue, timer.seq}] = std::nullopt;
}

void MemoryStore::forget_waste(const std::vector<std::string>& folders) {
  RQ_CHECK(batch_.begun);
  batch_.waste_gone.insert(batch_.waste_gone.end(), folders.begin(), folders.end());
}

// --- The end of the batch ---

void MemoryStore::abort() {
  batch_ = {};
  usable_ = false;
}

Committed MemoryStore::fail(Committed::What what, Code code, std::string why) {
  abort();
  return {what, base::fail(code, std::move(why)), false};
}

Committed MemoryStore::commit(Sync sync) {
  RQ_CHECK(usable_ && batch_.begun);
  if (options_.turn) options_.turn();
  const Fault fault = options_.commit_fails ? options_.commit_fails() : Fault::none;
  if (fault == Fault::no) {
    return fail(Committed::What::no, Code::disk_full, "the store was asked to have no room");
  }
  if (fault == Fault::unknown_and_not) {
    return fail(Committed::What::unknown, Code::unknown_outcome, "the commit got lost");
  }
  if (!disk_->is_newest(boot_)) {
    return fail(Committed::What::deposed, Code::unknown_outcome,
                "somebody else has opened the store");
  }
  Content content = disk_->content();
  write(content);
  const bool done = fault == Fault::none;
  if (sync == Sync::soon) disk_->sync_at(batch_.now + core::kSoon);
  disk_->commit(std::move(content), done && (sync == Sync::disk || disk_->sync_at() <= batch_.now));
  if (!done) {
    return fail(Committed::What::unknown, Code::unknown_outcome, "the answer got lost");
  }
  batch_ = {};
  return {.synced = disk_->unsynced() == 0};
}

void MemoryStore::write(Content& to) {
  if (batch_.shift != Millis{0}) {
    std::vector<Message> shifted;
    for (const auto& [seq, message] : to.messages) {
      if (!message->lease) continue;
      shifted.push_back(message->copy());
      shifted.back().lease->until += batch_.shift;
    }
    for (Message& message : shifted) to.put(std::move(message));
  }
  for (auto& [seq, row] : batch_.rows) {
    if (row.changed && !row.there) to.erase(seq);
  }
  for (auto& [seq, row] : batch_.rows) {
    if (row.changed && row.there) write_row(to, row);
  }
  for (Attempt& attempt : batch_.attempts) to.append(std::move(attempt));
  for (auto& [id, change] : batch_.queues) {
    if (change.gone) {
      RQ_CHECK(to.empty(id, Place::any) && to.empty(id, Place::lease));
      to.queues.erase(id);
      continue;
    }
    RQ_CHECK(change.made || to.queues.contains(id));
    Queue& queue = to.queues[id];
    if (change.row) {
      const Counters counters = queue.counters;
      queue = std::move(*change.row);
      queue.counters = counters;
    }
    if (change.counters) queue.counters = *change.counters;
  }
  for (const auto& [key, at] : batch_.armed) {
    if (at) {
      to.timers[key] = *at;
    } else {
      to.timers.erase(key);
    }
  }
  for (const std::string& folder : batch_.waste_gone) to.waste.erase(folder);
}

void MemoryStore::write_row(Content& to, Row& row) const {
  Message message = std::move(row.message);
  if (!row.payload) {
    RQ_CHECK(message.payload == kNotAskedFor);
    message.payload = row.stored->payload;
  }
  if (row.stored != nullptr) {
    RQ_CHECK(message.payload == row.stored->payload);
    RQ_CHECK(message.detail_or_default().key == row.stored->detail_or_default().key);
    RQ_CHECK(row.whole || same_but_place(*row.stored, message));
  }
  to.put(std::move(message));
}

}  // namespace rq::store::memory
