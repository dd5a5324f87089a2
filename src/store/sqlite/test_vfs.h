#pragma once
// For tests: a disk under SQLite that forgets what was never synced, and that fails when told to.
//
// Files are real; beside them stands what would survive a cut of the power: what a successful sync
// has covered. A sync that fails loses its writes for good, as Linux does: a later sync of the same
// file says nothing about them.
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "store/sqlite/db.h"

namespace rq::store::sqlite::test {

class TestVfs {
 public:
  // SQLite's default while it lives.
  TestVfs();
  TestVfs(const TestVfs&) = delete;
  TestVfs& operator=(const TestVfs&) = delete;
  ~TestVfs();

  // The nth write, truncation or sync from now fails with `code` (a sync always with
  // SQLITE_IOERR_FSYNC); with `stays`, all after it do too. 0: none fails.
  void fail_at(int nth, int code, bool stays = false);
  // Only the nth sync fails.
  void fail_sync_at(int nth);
  [[nodiscard]] bool has_failed() const { return failures_ > 0; }
  [[nodiscard]] int syncs() const { return syncs_; }
  // No shared memory: a file system on which a write-ahead log cannot work.
  void forbid_shared_memory() { shared_memory_ = false; }

  // Writes the files of `from` as they would be after a cut of the power into the folder `to`. With
  // a seed, some of what was not synced has reached the disk nevertheless.
  void power_cut(const std::filesystem::path& from, const std::filesystem::path& to,
                 std::uint64_t seed = 0) const;

 private:
  struct Change {
    std::int64_t at = 0;
    std::string bytes;
    bool truncate = false;
  };
  struct Disk {
    bool exists = false;  // it has been synced once
    std::string durable;
    std::vector<Change> pending;  // not synced
  };
  struct File;
  struct Calls;

  static void apply(std::string& content, const Change& change);
  // SQLITE_OK, or what the operation shall fail with.
  [[nodiscard]] int next_operation(bool sync, int failure);

  sqlite3_vfs* real_ = nullptr;
  sqlite3_vfs vfs_{};
  std::string name_;
  std::map<std::string, Disk> disks_;
  int operations_ = 0;
  int syncs_ = 0;
  int failures_ = 0;
  int fail_at_ = 0;
  int fail_sync_at_ = 0;
  int code_ = 0;
  bool stays_ = false;
  bool shared_memory_ = true;
};

}  // namespace rq::store::sqlite::test
