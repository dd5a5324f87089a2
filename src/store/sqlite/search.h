#pragma once
// A filter as the conditions of a SELECT over `message m`, with `lease l` and `detail d` joined.
// Thread: the reader's own.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/store.h"
#include "store/sqlite/db.h"

namespace rq::store::sqlite {

// Conditions with the values that their question marks stand for.
class Conditions {
 public:
  void add(const std::string& sql);
  // `{0}` in `sql` stands for the value.
  void add(std::string_view sql, std::int64_t value);
  void add(std::string_view sql, std::string value);
  [[nodiscard]] std::string where() const { return sql_.empty() ? "1" : sql_; }
  void bind(Statement& statement) const;

 private:
  [[nodiscard]] std::string numbered(std::string_view sql) const;

  std::string sql_;
  std::vector<std::pair<int, std::int64_t>> numbers_;
  std::vector<std::pair<int, std::string>> texts_;
  int count_ = 0;
};

// The numbers between these two, without them.
struct Range {
  Seq above = 0;
  Seq below = INT64_MAX;
  bool newest_first = false;
};

// What the conditions call in SQL.
[[nodiscard]] Result<void> add_functions(Db& db);
// All but the tag.
[[nodiscard]] Conditions conditions_of(const Filter& filter, std::optional<QueueId> queue);
// The filter is about every row that is walked, so that a page needs no more rows than it shows.
[[nodiscard]] bool takes_all(const Filter& filter);
// A query for the numbers of all messages of the queue in these states, and of few others.
[[nodiscard]] std::string numbers_in(core::StateSet states, QueueId queue);

}  // namespace rq::store::sqlite
