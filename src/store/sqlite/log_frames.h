#pragma once
// The frames of a write-ahead log, as they stand in its file:
// https://www.sqlite.org/fileformat2.html#the_write_ahead_log
//
// A log is a row of frames, each a page and a checksum over all before it. SQLite reads it up to
// the first frame that does not pass; what stands behind is mostly left from an older log, which
// had another salt. Whole commits of the same log behind a bad frame are another matter: while the
// machine runs, what was written in front of them is there, so that frame is damaged.
// Thread: any one.
#include <cstdint>
#include <filesystem>
#include <vector>

#include "base/result.h"
#include "store/sqlite/file_bytes.h"

namespace rq::store::sqlite {

struct LogFrames {
  std::size_t page_bytes = 0;   // 0: it is no log
  std::size_t whole_bytes = 0;  // SQLite reads it up to here
  std::int64_t commits_behind = 0;

  using Number = std::uint32_t;
  struct Frame {
    Number page = 0;
    Number frame = 0;
  };
  std::vector<Frame> frames;  // of whole commits, in their order
  Number pages = 0;           // of the store, after the last of them
};

// How much of it: what SQLite reads, or also all that stands behind a bad frame, with that one.
enum class LogPart : std::uint8_t { as_sqlite_reads, all };
[[nodiscard]] base::Result<LogFrames> read_log(FileBytes& log, LogPart part);
// The log of a database, as SQLite reads it.
[[nodiscard]] base::Result<LogFrames> read_log_of(const std::filesystem::path& database);
[[nodiscard]] std::filesystem::path log_of(const std::filesystem::path& database);

// Where the page of a frame begins.
[[nodiscard]] std::size_t page_at(const LogFrames& log, LogFrames::Number frame);

}  // namespace rq::store::sqlite
