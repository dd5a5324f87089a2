#pragma once
// Look-ups on a read-only connection. Thread: the reader's own.
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/store.h"
#include "store/sqlite/check.h"
#include "store/sqlite/db.h"
#include "store/sqlite/same_files.h"
#include "store/sqlite/search.h"

namespace rq::store::sqlite {

class SqliteReader final : public Reader {
 public:
  [[nodiscard]] Result<void> open(const std::filesystem::path& file);

  void stop_when(std::function<bool()> stop) override;
  [[nodiscard]] Result<bool> check(std::vector<core::Finding>& found) override;
  [[nodiscard]] std::vector<core::Suspect> take_damaged() override {
    return std::exchange(damaged_, {});
  }
  [[nodiscard]] Result<void> check_still_there() override;

  [[nodiscard]] Result<std::optional<MessageRow>> message(Seq seq) override;
  [[nodiscard]] Result<std::optional<MessageRow>> message_by_key(std::string_view key) override;
  [[nodiscard]] Result<std::vector<Attempt>> attempts(Seq seq) override;
  [[nodiscard]] Result<Listed> list(const Page& page) override;
  [[nodiscard]] Result<core::FoundPage> find(const core::Search& search) override;
  [[nodiscard]] Result<std::int64_t> ahead_of(const MessageRow& row, std::int64_t bound) override;
  [[nodiscard]] Result<std::optional<Instant>> oldest_ready(QueueId queue) override;
  [[nodiscard]] Result<std::vector<std::string>> waste(std::string_view after,
                                                       std::int64_t limit) override;

 private:
  // Which rows a list or a search goes through, and how far.
  struct Walk {
    Conditions where;
    std::string from = "message m";
    std::string number = "m.seq";  // in whose order it goes
    std::optional<Seq> stop;       // it ended before this one: others may be behind
  };
  [[nodiscard]] Result<Walk> walk(const Filter& filter, Range range, std::int64_t scan_max);
  [[nodiscard]] Result<std::optional<QueueId>> queue_of(const Filter& filter);
  [[nodiscard]] Result<bool> check_piece(std::vector<core::Finding>& found);
  [[nodiscard]] Result<std::optional<MessageRow>> one(Statement& query);
  [[nodiscard]] Result<std::optional<QueueId>> queue_id(std::string_view name);
  [[nodiscard]] Result<std::int64_t> count_in(QueueId queue, core::State state);

  void is_damaged(Seq seq);

  std::function<bool()> stop_;
  std::vector<core::Suspect> damaged_;
  core::Seq crc_from_ = 0;
  SameFiles files_;
  Db db_;
  std::unique_ptr<Check> check_;  // while one is under way
  Statement by_seq_, by_key_, attempts_, ahead_, oldest_, queue_id_, waste_;
};

// A state with no more messages than this is listed from its own index and sorted.
inline constexpr std::int64_t kSortedStateMax = 20'000;
// Rows that one step of a search looks at; others want the reader too.
inline constexpr std::int64_t kFindScanMax = 50'000;

}  // namespace rq::store::sqlite
