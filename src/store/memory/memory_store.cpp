#include "store/memory/memory_store.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace rq::store::memory {

using base::Code;

namespace {

// Lists are not asked for more than this, however much is added up.
constexpr std::int64_t kListMax = INT64_MAX / 4;

std::int64_t added(std::int64_t a, std::int64_t b) {
  return std::min(kListMax, std::min(a, kListMax) + std::clamp<std::int64_t>(b, 0, kListMax));
}

}  // namespace

Options drawn_from(std::uint64_t seed) {
  Options out;
  out.seed = seed;
  out.rounds_max = 1 + static_cast<int>(seed % 4);
  out.short_lists = seed / 4 % 2 == 1;
  out.short_due = out.short_lists;
  out.block_max = seed / 8 % 2 == 1 ? 3 : 100;
  out.gap_max = seed / 16 % 2 == 1 ? 5 : 0;
  return out;
}

MemoryStore::MemoryStore(std::shared_ptr<Disk> disk, Options options)
    : disk_(std::move(disk)), options_(std::move(options)), random_(options_.seed) {}

Result<void> MemoryStore::open() {
  batch_ = {};
  boot_ = disk_->take_boot();
  if (first_boot_ == 0) first_boot_ = boot_;
  block_end_ = next_;
  usable_ = true;
  return {};
}

Result<std::vector<Queue>> MemoryStore::queues() {
  RQ_CHECK(usable_ && !batch_.begun);
  std::vector<Queue> out;
  for (const auto& [id, queue] : seen().queues) out.push_back(queue);
  return out;
}

std::uint64_t MemoryStore::draw(std::uint64_t below) {
  random_ = random_ * 6364136223846793005ULL + 1442695040888963407ULL;
  return (random_ >> 33U) % below;
}

// What it may see: nothing once somebody else has opened the store.
const Content& MemoryStore::seen() const {
  static const Content nothing;
  return disk_->is_newest(boot_) ? disk_->content() : nothing;
}

// --- Loading ---

Result<void> MemoryStore::load(const Needs& needs) {
  RQ_CHECK(usable_);
  if (options_.turn) options_.turn();
  if (options_.load_fails && options_.load_fails()) {
    usable_ = false;
    return base::fail(Code::unknown_outcome, "the store was asked to fail at load");
  }
  RQ_CHECK(!batch_.begun || (needs.now == batch_.now && needs.shift == Millis{0}));
  batch_.begun = true;
  batch_.now = needs.now;
  batch_.shift += needs.shift;
  for (const Needs::Number& number : needs.numbers) load_row(number.seq, number.payload);
  for (const std::string_view key : needs.keys) load_key(key);
  std::map<std::pair<QueueId, Place>, std::int64_t> sums;
  for (const Needs::Line& line : needs.lines) {
    std::int64_t& sum = sums[{line.queue, Place::line}];
    sum = added(sum, line.n);
  }
  for (const Needs::First& first : needs.firsts) {
    std::int64_t& sum = sums[{first.queue, first.place}];
    sum = added(sum, first.n);
  }
  for (const auto& [which, n] : sums) load_list(which.first, which.second, n);
  for (const Needs::First& first : needs.firsts) {
    if (!first.payload) continue;
    for (auto& [seq, row] : batch_.rows) {
      const bool there = row.there && row.listed && row.filed.queue == first.queue;
      if (there && (first.place == Place::any || row.filed.place == first.place)) {
        load_row(seq, true);
      }
    }
  }
  if (needs.due > 0) load_due(needs.due);
  return {};
}

void MemoryStore::load_row(Seq seq, bool payload) {
  const auto [found, made] = batch_.rows.try_emplace(seq);
  Row& row = found->second;
  if (made) {
    const auto stored = seen().messages.find(seq);
    if (stored == seen().messages.end()) return;
    row.stored = stored->second;
    row.there = true;
    row.message = row.stored->copy();
    if (row.message.lease) row.message.lease->until += batch_.shift;
    row.message.payload = kNotAskedFor;
    row.filed = placed(row.message);
  }
  if (!payload || row.payload || row.stored == nullptr) return;
  row.message.payload = row.stored->payload;
  row.payload = true;
}

void MemoryStore::load_key(std::string_view key) {
  if (batch_.asked_keys.contains(key)) return;
  const auto found = seen().keys.find(key);
  const Seq seq = found == seen().keys.end() ? 0 : found->second;
  batch_.asked_keys.emplace(key, seq);
  if (seq != 0) load_row(seq, true);
}

// How many of those that were asked for come: more than before, in any case.
std::int64_t MemoryStore::draw_length(bool may_be_short, std::int64_t asked, std::int64_t had) {
  asked = std::max(asked, had + 1);
  if (!may_be_short || draw(3) != 0) return asked;
  const auto most = static_cast<std::uint64_t>(std::min<std::int64_t>(asked - had, 1000));
  return had + 1 + static_cast<std::int64_t>(draw(most));
}

void MemoryStore::load_list(QueueId queue, Place place, std::int64_t n) {
  List& list = batch_.lists[{queue, place}];
  if (n <= 0 || list.complete) return;
  list.asked = std::max(list.asked, n);
  const std::int64_t most = draw_length(options_.short_lists, list.asked, list.n);
  std::int64_t i = 0;
  list.complete = true;
  std::vector<Seq> found;
  const auto look = [&](Place one) {
    seen().for_each_in(queue, one, [&](const Filed& filed) {
      if (i == most) return list.complete = false;
      if (i++ >= list.n) {
        found.push_back(filed.key.seq);
        list.end = filed.key;
      }
      return true;
    });
  };
  if (place == Place::any) {
    for (const Place one : kAnyPlace) look(one);
  } else {
    look(place);
  }
  list.n = i;
  for (const Seq seq : found) {
    load_row(seq, place == Place::line);
    list_row(seq);
  }
}

// From now on it is one of the list that brought it.
void MemoryStore::list_row(Seq seq) {
  Row& row = batch_.rows.at(seq);
  if (!row.there || row.listed) return;
  row.listed = true;
  batch_.in_hand.insert(row.filed);
}

bool MemoryStore::is_orphan(const Message& message) const {
  return message.lease != nullptr && message.lease->end == core::LeaseEnd::connection &&
         message.lease->boot < first_boot_;
}

void MemoryStore::load_due(std::int64_t n) {
  using Key = std::pair<Instant, Seq>;
  std::set<Key> ended;
  std::set<Key> due;
  const auto add = [&](std::set<Key>& to, Instant at, Seq seq) {
    if (at <= batch_.now) to.emplace(at, seq);
  };
  const Content& content = seen();
  for (const auto& [id, queue] : content.queues) {
    content.for_each_in(id, Place::lease, [&](const Filed& filed) {
      const bool orphan = is_orphan(*content.messages.at(filed.key.seq));
      add(ended, orphan ? Instant{} : base::from_ms(filed.key.order) + batch_.shift, filed.key.seq);
      return true;
    });
    content.for_each_in(id, Place::scheduled, [&](const Filed& filed) {
      add(due, base::from_ms(filed.key.order), filed.key.seq);
      return true;
    });
  }
  const auto take = [&](const std::set<Key>& from, std::vector<Seq>& to) {
    const std::int64_t most = draw_length(options_.short_due, n, 0);
    for (const auto& [at, seq] : from) {
      if (std::ssize(to) == most) break;
      load_row(seq, true);
      to.push_back(seq);
    }
    std::reverse(to.begin(), to.end());
  };
  take(ended, batch_.ended);
  take(due, batch_.due);
  for (const auto& [key, at] : content.timers) {
    if (at <= batch_.now) batch_.timers.push_back({key.what, at, key.queue, key.seq});
  }
  std::stable_sort(batch_.timers.begin(), batch_.timers.end(),
                   [](const Timer& a, const Timer& b) { return a.at < b.at; });
  const auto most = static_cast<std::size_t>(draw_length(options_.short_due, n, 0));
  if (batch_.timers.size() > most) batch_.timers.resize(most);
}

// --- Looks ---

Result<Record*> MemoryStore::find(Seq seq) {
  const auto found = batch_.rows.find(seq);
  RQ_CHECK(found != batch_.rows.end());
  return found->second.there ? static_cast<Record*>(&found->second) : nullptr;
}

Result<Record*> MemoryStore::find_key(std::string_view client_key) {
  if (const auto made = batch_.new_keys.find(client_key); made != batch_.new_keys.end()) {
    return find(made->second);
  }
  const auto asked = batch_.asked_keys.find(client_key);
  RQ_CHECK(asked != batch_.asked_keys.end());
  return asked->second == 0 ? Result<Record*>{nullptr} : find(asked->second);
}

const MemoryStore::List* MemoryStore::list_of(QueueId queue, Place place) const {
  const auto found = batch_.lists.find({queue, place});
  return found == batch_.lists.end() ? nullptr : &found->second;
}

// It was asked for, or all that can be there has come in this batch.
bool MemoryStore::may_look(QueueId queue, Place place) const {
  return batch_.begun && (list_of(queue, place) != nullptr || seen().empty(queue, place));
}

Record* MemoryStore::best(QueueId queue, Place place) {
  const auto found = batch_.in_hand.lower_bound({queue, place, kBeforeAll});
  if (found == batch_.in_hand.end() || found->queue != queue || found->place != place) {
    return nullptr;
  }
  return &batch_.rows.at(found->key.seq);
}

Result<std::optional<LineKey>> MemoryStore::peek(QueueId queue) {
  RQ_CHECK(may_look(queue, Place::line));
  const Record* record = best(queue, Place::line);
  return record == nullptr ? std::optional<LineKey>{} : std::optional{line_key(record->message)};
}

Result<Record*> MemoryStore::take(QueueId queue) {
  RQ_CHECK(may_look(queue, Place::line));
  Record* record = best(queue, Place::line);
  RQ_CHECK(record != nullptr);
  // A better one might stand behind what was loaded.
  RQ_CHECK(line_key(record->message) <= known(queue));
  return record;
}

LineKey MemoryStore::known(QueueId queue) const {
  RQ_CHECK(may_look(queue, Place::line));
  const List* list = list_of(queue, Place::line);
  return list == nullptr || list->complete ? kBehindAll : list->end;
}

Result<Record*> MemoryStore::first(QueueId queue, Place place) {
  RQ_CHECK(may_look(queue, place));
  if (place == Place::any) {
    for (const Place one : kAnyPlace) {
      if (Record* record = best(queue, one)) return record;
    }
    return static_cast<Record*>(nullptr);
  }
  Record* record = best(queue, place);
  if (record == nullptr) return record;
  // One that came in this batch may stand behind others that were not loaded.
  const List* list = list_of(queue, place);
  const bool known = list == nullptr || list->complete || placed(record->message).key <= list->end;
  return known ? record : nullptr;
}

Result<bool> MemoryStore::more(QueueId queue, Place place) {
  RQ_CHECK(may_look(queue, place));
  const List* list = list_of(queue, place);
  return list != nullptr && !list->complete;
}

Record* MemoryStore::next_of(std::vector<Seq>& seqs, State state) {
  while (!seqs.empty()) {
    Row& row = batch_.rows.at(seqs.back());
    seqs.pop_back();
    if (row.there && row.message.state == state) return &row;
  }
  return nullptr;
}

Result<Record*> MemoryStore::next_ended() { return next_of(batch_.ended, State::run); }

Result<Record*> MemoryStore::next_due() { return next_of(batch_.due, State::scheduled); }

std::vector<Timer> MemoryStore::due_timers() { return batch_.timers; }

Instant MemoryStore::next_deadline() const {
  Instant out = disk_->sync_at();
  const Content& content = seen();
  for (const auto& [key, at] : content.timers) out = std::min(out, at);
  for (const auto& [id, queue] : content.queues) {
    for (const Place place : {Place::lease, Place::scheduled}) {
      content.for_each_in(id, place, [&](const Filed& filed) {
        const Message& message = *content.messages.at(filed.key.seq);
        out = std::min(out, is_orphan(message) ? Instant{} : base::from_ms(filed.key.order));
        return place == Place::lease;  // an orphan may stand behind others
      });
    }
  }
  return out;
}

Instant MemoryStore::first_lease_end() const {
  Instant out = Instant::max();
  for (const auto& [id, queue] : seen().queues) {
    seen().for_each_in(id, Place::lease, [&](const Filed& filed) {
      if (is_orphan(*seen().messages.at(filed.key.seq))) return true;
      out = std::min(out, base::from_ms(filed.key.order));
      return false;
    });
  }
  return out;
}

}  // namespace rq::store::memory
