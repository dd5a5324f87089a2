#pragma once
// The files of a store that is open: the database, its log, and the index of the log. While it is
// open their names stay with the very files that were opened, and none becomes shorter: what is
// otherwise, somebody else has done, and what is committed then may be lost.
// Thread: one at a time.
#include <array>
#include <cstdint>
#include <filesystem>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "store/sqlite/db.h"
#include "store/sqlite/store_files.h"

namespace rq::store::sqlite {

class SameFiles {
 public:
  // REQUIRES: they are open.
  [[nodiscard]] base::Result<void> remember(const std::filesystem::path& database);

  enum class State : std::uint8_t {
    same,
    gone,      // another file, or none, has the name of the database or of the index
    log_gone,  // likewise the log: whoever has it open can still read it
    cut,       // one is shorter than it was
  };
  struct Seen {
    State state = State::same;
    base::Error why{};  // unless same
  };
  // `log_bytes`: the log was written up to here. `db` is asked, when the database has become
  // shorter, whether the store has.
  [[nodiscard]] Seen look(Db& db, std::int64_t log_bytes = 0);
  // In the folder, wherever that is by now; without the index of the log, on which no commit
  // depends.
  [[nodiscard]] Seen look_quickly(Db& db, std::int64_t log_bytes);

 private:
  struct File {
    std::filesystem::path path;
    std::string name;  // in the folder
    FileLook seen;     // when it was looked at last
  };
  [[nodiscard]] Seen judge(std::size_t which, const FileLook& now, Db& db, std::int64_t log_bytes);

  static constexpr std::size_t kDatabase = 0;
  static constexpr std::size_t kLog = 1;
  static constexpr std::size_t kIndex = 2;
  base::Fd folder_;  // fewer names to look up than on the whole path
  std::array<File, 3> files_;
};

}  // namespace rq::store::sqlite
