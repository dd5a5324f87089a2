#pragma once
// The SQLite store: one file, nothing to set up. docs/STORAGE.md shows its tables.
#include <array>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "core/store.h"

namespace rq::store::sqlite {

inline constexpr std::int64_t kWalBytes = 64LL * 1024 * 1024;
inline constexpr std::int64_t kCacheBytes = 48LL * 1024 * 1024;

struct Options {
  // The log is copied into the database from this size on.
  std::int64_t wal_bytes = kWalBytes;
  // A thread copies from three quarters of that on, and another reads lines ahead.
  bool threads = false;
  std::size_t line_max = 4096;    // keys kept of the front of each line
  std::size_t line_read = 512;    // messages read at once by the engine
  std::size_t line_ahead = 2048;  // messages read at once by the thread that reads ahead
  // Room on the disk that is kept for what frees room; 0: none.
  std::int64_t room_bytes = 0;
  // Page cache of the writing connection.
  std::int64_t cache_bytes = kCacheBytes;
};

// Where the store of a directory of rq is.
[[nodiscard]] std::filesystem::path store_file(const std::filesystem::path& dir);
// What makes up a store, by the name of its database. Each is a regular file, or not there.
struct StoreFiles {
  std::filesystem::path database, log, index, identity;
  [[nodiscard]] std::array<std::filesystem::path, 4> all() const {
    return {database, log, index, identity};
  }
};
[[nodiscard]] StoreFiles store_files(const std::filesystem::path& file);

// Store::open() opens or creates the file, and migrates an older schema. One process at a time.
// Faults: internal with SQLite's words; disk_full. A newer schema is refused.
[[nodiscard]] std::unique_ptr<Store> make_store(const std::filesystem::path& file,
                                                const Options& options = {});

// A read-only view beside it. The store must have been opened before.
[[nodiscard]] base::Result<std::unique_ptr<Reader>> open_reader(const std::filesystem::path& file);

// What the store refuses at its start, seen without opening it for work: it is gone, another one,
// or older than the file beside it remembers. A file that cannot be read is check_store's to tell
// of.
[[nodiscard]] base::Result<void> check_identity(const std::filesystem::path& file);

// Why nobody but the server is to open the store now: its log has lost something of what its index
// tells, and SQLite makes that anew when it opens the store. Empty: all may. REQUIRES: nobody in
// this process has the store open.
[[nodiscard]] std::optional<std::string> log_for_the_server(const std::filesystem::path& file);

// Reads every page and every row, with their checksums, and compares the tables with each other:
// what is wrong, one line each; empty when all is well. When there is very much, a last line says
// so. For doctor. Beside a running server or without one.
[[nodiscard]] base::Result<std::vector<std::string>> check_store(const std::filesystem::path& file);

// Rows that were set aside (table corrupt): the newest ones first, one line each.
struct RowsSetAside {
  std::int64_t total = 0;
  std::vector<std::string> newest;
};
[[nodiscard]] base::Result<RowsSetAside> set_aside_in(const std::filesystem::path& file);

// While this file is there, the store is rebuilt from its messages when it is opened next.
[[nodiscard]] std::filesystem::path rebuild_mark(const std::filesystem::path& file);

}  // namespace rq::store::sqlite
