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
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "store/sqlite/file_bytes.h"

namespace rq::store::sqlite {

struct LogFrames {
  using Number = std::uint32_t;
  std::size_t page_bytes = 0;   // 0: it is no log
  std::size_t whole_bytes = 0;  // SQLite reads it up to here
  std::int64_t commits_behind = 0;
  Number whole = 0;  // frames that SQLite reads
  Number told = 0;   // frames that the index tells of; 0: it tells of none, or of another log
  Number in_file = 0;
  Number strange = 0;  // of those that the index tells of: they have nothing of this log's
  // It is not as it was written. REQUIRES: the machine has not been started since.
  [[nodiscard]] bool is_damaged() const { return commits_behind > 0 || lacks(); }
  // The index tells of more frames than it has, and they are not in the database.
  [[nodiscard]] bool lacks() const { return told > whole; }
  // Some of them are not in its file, or something else stands there: what they told is not known.
  [[nodiscard]] bool is_short() const { return told > in_file || strange > 0; }

  struct Frame {
    Number page = 0;
    Number frame = 0;
  };
  std::vector<Frame> frames;  // of whole commits, in their order
  Number pages = 0;           // of the store, after the last of them
};

// What the index of a log says of it: https://www.sqlite.org/walformat.html Whoever committed last
// has left it so, until SQLite opens the store and makes it anew from the log.
struct LogIndex {
  LogFrames::Number frames = 0;  // of whole commits
  LogFrames::Number copied = 0;  // of them, those that are in the database
  LogFrames::Number pages = 0;   // of the store
  std::string salt;              // of the log
};
// Nothing: it is not there, or not as SQLite leaves it. REQUIRES: nobody in this process has the
// store open, for whoever closes the file gives up SQLite's locks on it.
[[nodiscard]] std::optional<LogIndex> read_index_of(const std::filesystem::path& database);

// How much of it: what SQLite reads, or also all that stands behind a bad frame, with that one, and
// all that the index tells of.
enum class LogPart : std::uint8_t { as_sqlite_reads, all };
[[nodiscard]] base::Result<LogFrames> read_log(FileBytes& log, LogPart part,
                                               const std::optional<LogIndex>& index = {});
// The log of a database, as SQLite reads it.
[[nodiscard]] base::Result<LogFrames> read_log_of(const std::filesystem::path& database,
                                                  const std::optional<LogIndex>& index = {});

// One frame by itself, in three parts: the checksum before it, which stands in the frame before or
// in the head of the log; its head; its page. Whether it passes its checksum.
[[nodiscard]] bool passes(std::string_view sum_before, std::string_view head,
                          std::string_view page);

// Where the page of a frame begins.
[[nodiscard]] std::size_t page_at(const LogFrames& log, LogFrames::Number frame);

}  // namespace rq::store::sqlite
