#pragma once
// Reads everything, and compares the tables with each other: what is not as rq wrote it. In pieces,
// so that it can run slowly beside a busy server without holding up anybody; each piece sees one
// state of the store.
// Thread: the connection's.
#include <array>
#include <cstddef>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/store.h"
#include "store/sqlite/db.h"
#include "store/sqlite/rows.h"

namespace rq::store::sqlite {

class Check {
 public:
  [[nodiscard]] base::Result<void> prepare(Db& db);
  // The next piece. False: that was the last one; the next call begins anew.
  [[nodiscard]] base::Result<bool> step(std::vector<core::Finding>& found);
  // The pages of the file, all at once.
  [[nodiscard]] base::Result<void> pages(std::vector<core::Finding>& found);

 private:
  [[nodiscard]] base::Result<bool> messages(std::vector<core::Finding>& found);
  [[nodiscard]] base::Result<bool> pass_over(const base::Error& why,
                                             std::vector<core::Finding>& found);
  [[nodiscard]] base::Result<bool> line(std::vector<core::Finding>& found);
  [[nodiscard]] base::Result<bool> rows_of_a_place(std::vector<core::Finding>& found);
  [[nodiscard]] base::Result<void> sums(std::vector<core::Finding>& found);

  Db* db_ = nullptr;
  Statement messages_, next_run_, missing_;
  core::Seq crc_from_ = 0;

  // Where it is.
  enum class Part : std::uint8_t { messages, line, places, sums };
  Part part_ = Part::messages;
  core::Seq seq_ = 0;
  bool unreadable_ = false;  // the last read has failed
  std::set<core::QueueId> lost_queues_;
  struct Run {
    std::int64_t queue = INT64_MIN;
    std::int64_t rank = 0;
    std::int64_t order = 0;
    core::Seq key = 0;
    core::Seq first = 1;  // what is left of it
    core::Seq last = 0;
  } run_;
  std::size_t place_ = 0;
  std::optional<std::array<std::string, 4>> last_key_;
};

}  // namespace rq::store::sqlite
