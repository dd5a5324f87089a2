#pragma once
// Reading on in a line: from a place in it, the next ready messages in the order of leasing.
#include <cstddef>
#include <filesystem>
#include <memory>
#include <vector>

#include "core/health.h"
#include "store/sqlite/aside.h"
#include "store/sqlite/db.h"
#include "store/sqlite/line_windows.h"

namespace rq::store::sqlite {

struct LinePart {
  core::QueueId queue = 0;
  LineKey after;  // where to read on
  std::size_t rows = 0;
};
struct LineRows {
  std::vector<core::Message> messages;
  std::vector<core::Suspect> damaged;  // left out: their rows cannot be read
  LineKey bound;                       // the last one, damaged or not
  bool complete = false;               // the line ends here
};

// The statements on one connection, which sees what that connection sees. Thread: the connection's.
class LineQuery {
 public:
  [[nodiscard]] base::Result<void> prepare(Db& db);
  [[nodiscard]] base::Result<LineRows> read(const LinePart& part);

 private:
  [[nodiscard]] base::Result<core::Message> read_whole(core::Seq seq);

  Statement rows_, whole_;
  core::Seq crc_from_ = 0;
};

// Reads what is committed, on a thread and a connection of its own. The message table of a long
// line is read row by row, which takes long.
using LineAhead = Aside<LinePart, base::Result<LineRows>>;
[[nodiscard]] base::Result<std::unique_ptr<LineAhead>> open_line_ahead(
    const std::filesystem::path& file);

// Payloads read at once, bytes.
inline constexpr std::size_t kLineReadBytesMax = 4 * 1024 * 1024;

}  // namespace rq::store::sqlite
