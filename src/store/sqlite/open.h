#pragma once
// The SQLite store: one file, nothing to set up. docs/STORAGE.md shows its tables.
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "core/store.h"

namespace rq::store::sqlite {

struct Options {
  // The write-ahead log is copied into the database when it has grown to this, bytes.
  std::int64_t wal_bytes = 32LL * 1024 * 1024;
  // Most of that on a thread of its own, from three quarters of it on; and another one reads the
  // lines ahead.
  bool threads = false;
  // Of the front of each line so many keys are in memory; so many messages are read at once when
  // one is wanted; and so many by that thread.
  std::size_t line_max = 4096;
  std::size_t line_read = 512;
  std::size_t line_ahead = 2048;
  // Room on the disk that is kept for what frees room; 0: none.
  std::int64_t room_bytes = 0;
  // Of the page cache of the writing connection, bytes.
  std::int64_t cache_bytes = 48LL * 1024 * 1024;
};

// Store::open() opens or creates the file, and migrates an older schema. One process at a time.
// Faults: internal with SQLite's words; disk_full. A newer schema is refused.
[[nodiscard]] std::unique_ptr<Store> make_store(const std::filesystem::path& file,
                                                const Options& options = {});

// A read-only view beside it. The store must have been opened before.
[[nodiscard]] base::Result<std::unique_ptr<Reader>> open_reader(const std::filesystem::path& file);

// Reads every page and index and compares the counters with the messages: what is wrong, one line
// each; empty when all is well. For doctor. Beside a running server or without one.
[[nodiscard]] base::Result<std::vector<std::string>> check_store(const std::filesystem::path& file);

}  // namespace rq::store::sqlite
