#pragma once
// Who a store is. Its identity stands in table meta and in a small file beside it, with the boot
// under which it was last opened, and where its tables begin: a database that was emptied, replaced
// or set back is noticed, and not taken for a new store. The file's name is that of the database
// with `.identity`.
// Thread: engine.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "base/result.h"
#include "core/message.h"
#include "store/sqlite/db.h"

namespace rq::store::sqlite {

// Left out where numbers were given of which a store does not know: a backup that was put back, or
// what is left of a log. More than any server gives meanwhile.
inline constexpr core::Seq kNumbersSkipped = 1'000'000'000;

// The file beside a store.
[[nodiscard]] std::filesystem::path identity_of(const std::filesystem::path& database);

// What it remembers of the store.
struct Remembered {
  bool any = false;
  std::int64_t identity = 0;
  core::Boot boot = 0;
  // It was opened last since the machine was started: what was written since is there, whoever
  // was killed.
  bool same_run = false;
  std::map<std::string, std::uint32_t, std::less<>> roots;  // the first page of each table
};

class Identity {
 public:
  explicit Identity(std::filesystem::path file);

  // Before the database is opened: refuses to make a new one where there was one.
  [[nodiscard]] base::Result<void> check_file() const;
  // It is open, and says that it is `identity` and that boots up to `boot` may have been taken.
  // Refuses when the file beside it knows better.
  [[nodiscard]] base::Result<void> check(std::int64_t identity, core::Boot boot);
  // The boot under which it is open now: the file beside it is written anew.
  [[nodiscard]] base::Result<void> remember(core::Boot boot, Db& db) const;

  [[nodiscard]] base::Result<Remembered> read() const;

 private:
  [[nodiscard]] base::Result<void> write(const Remembered& written) const;
  [[nodiscard]] base::Error not_the_one(const char* what) const;

  std::filesystem::path file_;
  std::filesystem::path beside_;
  std::int64_t identity_ = 0;
};

}  // namespace rq::store::sqlite
