#include "store/sqlite/firsts.h"

#include "base/check.h"

namespace rq::store::sqlite {

using base::Result;

namespace {
constexpr std::int64_t kRead = 512;  // keys read at once
}  // namespace

std::string_view kind_of(Place place) {
  switch (place) {
    case Place::kept:
      return "kept";
    case Place::err:
      return "err";
    case Place::cancelled:
      return "cancelled";
    case Place::held:
      return "held";
    case Place::line:
    case Place::scheduled:
    case Place::lease:
    case Place::parked:
    case Place::any:
      return {};
  }
  return {};
}

Result<void> Firsts::prepare(Db& db) {
  RQ_TRY(scheduled_.prepare(db.handle(),
                            "SELECT due, seq FROM scheduled WHERE queue = ?1 AND (due, seq) > "
                            "(?2, ?3) ORDER BY due, seq LIMIT ?4"));
  RQ_TRY(finished_.prepare(db.handle(),
                           "SELECT at, seq FROM finished WHERE queue = ?1 AND (at, seq) > (?2, ?3) "
                           "AND kind = ?5 ORDER BY at, seq LIMIT ?4"));
  return parked_.prepare(db.handle(),
                         "SELECT 0, seq FROM parked WHERE queue = ?1 AND (0, seq) > (?2, ?3) "
                         "ORDER BY seq LIMIT ?4");
}

Result<std::optional<Firsts::Key>> Firsts::first(QueueId queue, Place place,
                                                 const std::vector<Held*>& dirty) {
  const auto [found, made] = lists_.try_emplace({queue, place});
  List& list = found->second;
  if (made) {
    for (const Held* held : dirty) {
      if (!held->now.in(place) || held->now.queue != queue || held->now == held->stored) continue;
      list.come.emplace(held->now.time, held->seq());
    }
  }
  for (;;) {
    while (list.at < list.stored.size() && !still_there(queue, place, list.stored[list.at])) {
      ++list.at;
    }
    if (list.at < list.stored.size() || list.complete) break;
    RQ_TRY(read_on(queue, place, list));
  }
  const Key* best = list.at < list.stored.size() ? &list.stored[list.at] : nullptr;
  if (!list.come.empty() && (best == nullptr || *list.come.begin() < *best)) {
    best = &*list.come.begin();
  }
  return best == nullptr ? std::optional<Key>{} : std::optional{*best};
}

Result<void> Firsts::read_on(QueueId queue, Place place, List& list) {
  Statement& query = place == Place::scheduled ? scheduled_
                     : place == Place::parked  ? parked_
                                               : finished_;
  query.bind(1, queue).bind(2, list.read_to.first).bind(3, list.read_to.second).bind(4, kRead);
  if (&query == &finished_) query.bind(5, kind_of(place));
  list.stored.clear();
  list.at = 0;
  for (;;) {
    RQ_TRY_ASSIGN(found, query.step());
    if (!found) break;
    list.stored.emplace_back(query.integer(0), query.integer(1));
  }
  list.complete = std::ssize(list.stored) < kRead;
  if (!list.stored.empty()) list.read_to = list.stored.back();
  return {};
}

// What is not in memory is as the table says.
bool Firsts::still_there(QueueId queue, Place place, const Key& key) {
  const Held* held = records_.find(key.second);
  if (held == nullptr || held->now == held->stored) return true;
  return held->now.in(place) && held->now.queue == queue && held->now.time == key.first;
}

void Firsts::pass_over(QueueId queue, Place place) {
  List& list = lists_.at({queue, place});
  const bool stored = list.at < list.stored.size();
  if (stored && (list.come.empty() || list.stored[list.at] <= *list.come.begin())) {
    ++list.at;
  } else if (!list.come.empty()) {
    list.come.erase(list.come.begin());
  }
}

Firsts::List* Firsts::list_of(const Filed& place) {
  if (lists_.empty() || !place.anywhere) return nullptr;
  const auto list = lists_.find({place.queue, place.place});
  return list == lists_.end() ? nullptr : &list->second;
}

void Firsts::left(const Filed& place, Seq seq) {
  if (List* const list = list_of(place)) list->come.erase({place.time, seq});
}

void Firsts::came(const Filed& place, Seq seq) {
  if (List* const list = list_of(place)) list->come.emplace(place.time, seq);
}

}  // namespace rq::store::sqlite
