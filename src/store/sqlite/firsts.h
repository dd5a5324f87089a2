#pragma once
// The first messages of a queue in a place other than the line: what the tables say as of the last
// commit, with what the batch has done since. Nothing is kept from one batch to the next.
// Thread: engine.
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/result.h"
#include "store/sqlite/db.h"
#include "store/sqlite/records.h"

namespace rq::store::sqlite {

class Firsts {
 public:
  explicit Firsts(Records& records) : records_(records) {}

  [[nodiscard]] base::Result<void> prepare(Db& db);
  using Key = std::pair<std::int64_t, Seq>;  // (time in the place, number)
  // Of the first one. `dirty`: the records that the batch has changed so far.
  // REQUIRES: scheduled, kept, err, held or parked.
  [[nodiscard]] base::Result<std::optional<Key>> first(QueueId queue, Place place,
                                                       const std::vector<Held*>& dirty);
  // Skips the first message: its row does not agree with the table. REQUIRES: first() told one.
  void pass_over(QueueId queue, Place place);
  // The batch has moved a record; a place that is none is passed over.
  void left(const Filed& place, Seq seq);
  void came(const Filed& place, Seq seq);
  void end_batch() { lists_.clear(); }

 private:
  struct List {
    std::vector<Key> stored;  // read from the table, from `at` on not yet looked at
    std::size_t at = 0;
    Key read_to{INT64_MIN, INT64_MIN};
    bool complete = false;  // nothing is behind read_to
    std::set<Key> come;     // in this batch
  };
  [[nodiscard]] base::Result<void> read_on(QueueId queue, Place place, List& list);
  [[nodiscard]] List* list_of(const Filed& place);
  [[nodiscard]] bool still_there(QueueId queue, Place place, const Key& key);

  Records& records_;
  std::map<std::pair<QueueId, Place>, List> lists_;
  Statement scheduled_, finished_, parked_;
};

// Of table `finished`; empty for the other places.
[[nodiscard]] std::string_view kind_of(Place place);

}  // namespace rq::store::sqlite
