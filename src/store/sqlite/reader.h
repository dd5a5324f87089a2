#pragma once
// Look-ups on a read-only connection. Thread: the reader's own.
#include <filesystem>
#include <string>
#include <vector>

#include "core/store.h"
#include "store/sqlite/db.h"

namespace rq::store::sqlite {

class SqliteReader final : public Reader {
 public:
  [[nodiscard]] Result<void> open(const std::filesystem::path& file);

  [[nodiscard]] Result<std::optional<MessageRow>> message(Seq seq) override;
  [[nodiscard]] Result<std::optional<MessageRow>> message_by_key(std::string_view key) override;
  [[nodiscard]] Result<std::vector<Attempt>> attempts(Seq seq) override;
  [[nodiscard]] Result<Listed> list(const Page& page) override;
  [[nodiscard]] Result<std::int64_t> ahead_of(const MessageRow& row, std::int64_t bound) override;
  [[nodiscard]] Result<std::optional<Instant>> oldest_ready(QueueId queue) override;
  [[nodiscard]] Result<std::vector<std::string>> waste(std::int64_t limit) override;

 private:
  [[nodiscard]] Result<std::optional<MessageRow>> one(Statement& query);
  [[nodiscard]] Result<std::optional<QueueId>> queue_id(std::string_view name);
  [[nodiscard]] Result<std::int64_t> count_in(QueueId queue, core::State state);

  Db db_;
  Statement by_seq_, by_key_, attempts_, ahead_, oldest_, queue_id_, waste_;
};

// A state with no more messages than this is listed from its own index and sorted.
inline constexpr std::int64_t kSortedStateMax = 20'000;

}  // namespace rq::store::sqlite
